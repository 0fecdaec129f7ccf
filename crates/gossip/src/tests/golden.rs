//! The bytes of every format, kept. After a change that is meant: `UPDATE_GOLDEN=1 cargo test -p tidegate-gossip golden`,
//! and a new version where an older member could not read it.

use super::world::{KEY, START_MS, name};
use crate::identity::{BROADCAST, Id, Role, WireCodec, parts_of, tag_of};
use crate::report::{Unread, decode, encode_digest, encode_full};
use crate::seal::Sealer;
use crate::spread::{Heard, ReportSpread};
use crate::wire::{Content, Named, Rest, Update, read, write};
use crate::{DropReason, Keyring, OwnReport};
use foca::{BroadcastHandler, Codec, Header, Member, Message, State};
use prost::Message as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use tidegate_domain::{RttClass, TargetState, VantageSelf};

type Lines = Vec<(String, Vec<u8>)>;

fn line(name: &str, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{name} {hex}\n")
}
fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// The kept lines of `file`, after a look that what is made now is the same.
fn golden(file: &str, made: &Lines) -> Lines {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    let text: String = made.iter().map(|(name, bytes)| line(name, bytes)).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    for (made, kept) in text.lines().zip(kept.lines()) {
        assert_eq!(made, kept, "{file}");
    }
    assert_eq!(text.lines().count(), kept.lines().count(), "{file}");
    let split = |line: &str| line.split_once(' ').map(|(name, hex)| (name.to_owned(), unhex(hex)));
    kept.lines().filter_map(split).collect()
}

fn id(name: &str, addr: &str, generation: u64, role: Role) -> Id {
    Id { name: Arc::from(name), addr: addr.parse::<SocketAddr>().unwrap(), generation, role, salt: 0x0a0b_0c0d }
}
fn ids() -> [Id; 3] {
    let long = "n".repeat(63);
    [
        id("aws-1", "192.0.2.7:7946", START_MS, Role::Prober),
        id(&long, "[2001:db8::7]:8402", u64::MAX, Role::Observer),
        Id::at("198.51.100.1:1".parse().unwrap()),
    ]
}

fn headers() -> Vec<(String, Header<Id>)> {
    let [a, b, nobody] = ids();
    let messages = [
        ("ping", Message::Ping(7)),
        ("ack", Message::Ack(255)),
        ("ping-req", Message::PingReq { target: b.clone(), probe_number: 8 }),
        ("indirect-ping", Message::IndirectPing { origin: a.clone(), probe_number: 9 }),
        ("indirect-ack", Message::IndirectAck { target: a.clone(), probe_number: 10 }),
        ("forwarded-ack", Message::ForwardedAck { origin: b.clone(), probe_number: 11 }),
        ("announce", Message::Announce),
        ("feed", Message::Feed),
        ("gossip", Message::Gossip),
        ("broadcast", Message::Broadcast),
        ("turn-undead", Message::TurnUndead),
    ];
    let header = |(at, (name, message)): (usize, (&str, Message<Id>))| {
        let (src, dst) = if at % 2 == 0 { (a.clone(), b.clone()) } else { (b.clone(), nobody.clone()) };
        (format!("header-{name}"), Header { src, src_incarnation: 513, dst, message })
    };
    messages.into_iter().enumerate().map(header).collect()
}

fn members() -> Vec<(String, Member<Id>)> {
    let states = [("alive", State::Alive), ("suspect", State::Suspect), ("down", State::Down)];
    let of = |(id, (name, state)): (Id, (&str, State))| (format!("member-{name}"), Member::new(id, 65_534, state));
    ids().into_iter().zip(states).map(of).collect()
}

/// Every message as a datagram's content: by turns with names whole and by hash, with and without incarnation and rest.
fn contents() -> Vec<(String, Content<'static>)> {
    let of = |(at, (name, header)): (usize, (String, Header<Id>))| {
        let named = |id: &Id| if at % 2 == 0 { Named::Whole(id.clone()) } else { Named::Hash(id.hash()) };
        let update = |(_, member): (String, Member<Id>)| Update {
            who: named(member.id()),
            incarnation: member.incarnation(),
            state: member.state(),
        };
        let (number, about) = parts_of(&header.message);
        let (tag, number, about) = (tag_of(&header.message), number.unwrap_or(0), about.map(named));
        let rest = match (tag == BROADCAST, at % 3) {
            (true, _) => Rest::Broadcast(&[0, 1, 0xee]),
            (false, 0) => Rest::Updates(members().into_iter().map(update).collect()),
            (false, _) => Rest::Updates(Vec::new()),
        };
        let whole = (at % 2 == 0).then_some((header.src, START_MS + 40));
        let incarnation = if at % 4 < 2 { header.src_incarnation } else { 0 };
        (name, Content { whole, incarnation, tag, number, about, rest })
    };
    headers().into_iter().enumerate().map(of).collect()
}

#[test]
fn foca_reads_its_own_headers_again() {
    for (name, header) in headers() {
        let mut bytes = Vec::new();
        WireCodec.encode_header(&header, &mut bytes).unwrap();
        assert_eq!(WireCodec.decode_header(&bytes[..]).unwrap(), header, "{name}");
        for length in 0..bytes.len() {
            assert!(WireCodec.decode_header(&bytes[..length]).is_err(), "{name} cut to {length}");
        }
    }
}

#[test]
fn contents_and_members_keep_their_bytes() {
    let mut made: Lines = contents().into_iter().map(|(name, content)| (name, write(&content))).collect();
    for (name, member) in members() {
        let mut bytes = Vec::new();
        WireCodec.encode_member(&member, &mut bytes).unwrap();
        made.push((name, bytes));
    }
    let kept = golden("codec.txt", &made);
    let (contents, mut members) = (contents(), members().into_iter());
    let mut contents = contents.into_iter();
    for (name, bytes) in kept {
        let mut rest = &bytes[..];
        let mut again = Vec::new();
        if name.starts_with("header-") {
            let content = read(&bytes).unwrap();
            assert_eq!(content, contents.next().unwrap().1, "{name}");
            again = write(&content);
            rest = &[];
            // Cut anywhere it is another content or none, and says that in its own bytes.
            for length in 0..bytes.len() {
                assert!(
                    read(&bytes[..length]).is_ok_and(|cut| write(&cut) == bytes[..length])
                        || read(&bytes[..length]).is_err()
                );
            }
        } else {
            let member = WireCodec.decode_member(&mut rest).unwrap();
            assert_eq!(member, members.next().unwrap().1, "{name}");
            WireCodec.encode_member(&member, &mut again).unwrap();
        }
        assert_eq!((again, rest), (bytes.clone(), &[][..]), "{name}");
    }
}

fn report(targets: usize) -> OwnReport {
    let state = |i: usize| [TargetState::Ok, TargetState::Slow, TargetState::Failing, TargetState::Unseen][i % 4];
    OwnReport {
        revision_short: 0x0102_0304_0506_0708,
        own: VantageSelf { references_reached: 3, reference_networks: 2, self_doubt: targets % 2 == 1 },
        states: (0..targets).map(state).collect(),
        rtt: (0..targets).map(|i| RttClass((i % 16) as u8)).collect(),
    }
}

#[test]
fn reports_keep_their_bytes() {
    let bare = OwnReport { rtt: Vec::new(), ..report(6) };
    let made = vec![
        ("full".to_owned(), encode_full("aws-1", START_MS, 1, &report(9)).unwrap()),
        ("full-no-rtt".to_owned(), encode_full("aws-1", START_MS, 2, &bare).unwrap()),
        ("full-no-target".to_owned(), encode_full("v", 1, u64::MAX, &report(0)).unwrap()),
        ("digest".to_owned(), encode_digest("aws-1", START_MS, 3, &report(9), 1)),
    ];
    let kept = golden("report.txt", &made);
    let sent = [report(9), bare, report(0), report(9)];
    for ((name, bytes), sent) in kept.iter().zip(&sent) {
        let parsed = decode(bytes).unwrap();
        let (vantage, revision_short) = (parsed.vantage.as_str(), parsed.revision);
        let again = if let Some((states, rtt)) = parsed.body.clone() {
            let own = OwnReport { revision_short, own: parsed.own, states, rtt };
            assert_eq!(&own, sent, "{name}");
            encode_full(vantage, parsed.incarnation, parsed.sequence, &own).unwrap()
        } else {
            let own = OwnReport { revision_short, own: parsed.own, ..sent.clone() };
            assert_eq!(Some(parsed.hash), decode(&kept[0].1).ok().map(|full| full.hash), "{name}");
            encode_digest(vantage, parsed.incarnation, parsed.sequence, &own, 1)
        };
        assert_eq!(&again, bytes, "{name}");
    }
}

#[test]
fn a_report_of_another_format_is_dropped_and_told_apart() {
    let full = encode_full("v1", 5, 1, &report(3)).unwrap();
    for (format, expected) in [(0, Unread::OtherFormat), (1, Unread::OtherFormat), (u32::MAX, Unread::OtherFormat)] {
        let mut wire = tidegate_proto::v1::VantageReport::decode(&full[..]).unwrap();
        wire.format = format;
        // A later format may give every field another meaning.
        wire.target_count = 77;
        let bytes = wire.encode_to_vec();
        assert_eq!(decode(&bytes), Err(expected));
        let (tell, heard) = channel();
        let sender = ids()[0].clone();
        let mut spread = ReportSpread::new(name(0), Role::Prober, tell);
        assert!(matches!(spread.receive_item(&bytes, Some(&sender)), Ok(None)));
        assert!(matches!(heard.try_recv(), Ok(Heard::Unread(Unread::OtherFormat))));
        assert!(heard.try_recv().is_err(), "it is not passed on");
    }
    assert_eq!(decode(&full[..full.len() - 1]), Err(Unread::Malformed));
    // What version 1 wrote.
    let kept = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/report-1.txt")).unwrap();
    let old: Vec<_> = kept.lines().map(|line| decode(&unhex(line.split_once(' ').unwrap().1))).collect();
    assert_eq!(old, vec![Err(Unread::OtherFormat); 4]);
}

#[test]
fn sealed_datagrams_keep_their_bytes() {
    let [from, _, _] = ids();
    let to = id("gcp-1", "192.0.2.8:7946", START_MS, Role::Prober);
    let payloads = [("empty", &b""[..]), ("hello", &b"hello"[..]), ("block", &[0xa5; 64][..])];
    let mut sealer = Sealer::new(Keyring::parse(KEY).unwrap(), from.hash());
    let seal = |(name, payload): (&str, &[u8])| (format!("sealed-{name}"), sealer.seal(payload, to.hash()).unwrap());
    let made: Lines = payloads.into_iter().map(seal).collect();
    let kept = golden("sealed.txt", &made);
    let receiver = Sealer::new(Keyring::parse(KEY).unwrap(), to.hash());
    for (i, ((name, bytes), (_, payload))) in kept.iter().zip(payloads).enumerate() {
        let opened = receiver.open(bytes, &[to.hash()]).unwrap();
        assert_eq!((opened.from, opened.counter), (from.hash(), i as u32 + 1), "{name}");
        assert_eq!(opened.content, payload, "{name}");
        for version in (0..=255).filter(|version| *version != bytes[0]) {
            let mut other = bytes.clone();
            other[0] = version;
            let expected = if version == 1 { DropReason::OldFormat } else { DropReason::Version };
            assert_eq!(receiver.open(&other, &[to.hash()]), Err(expected));
        }
    }
}

/// What version 1 wrote, by a key that is held.
#[test]
fn datagrams_of_the_version_before_are_refused_as_such() {
    let kept = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/sealed-1.txt")).unwrap();
    let mut node = super::world::node(0, START_MS, 1, tidegate_domain::Mono(1));
    let mut count = 0;
    for bytes in kept.lines().map(|line| unhex(line.split_once(' ').unwrap().1)) {
        let event = crate::Event::Datagram { from: super::world::addr(1), bytes: &bytes };
        node.handle(event, tidegate_domain::Mono(1));
        count += 1;
        assert_eq!(node.counters().dropped(DropReason::OldFormat), count);
    }
    assert_eq!((count, node.counters().received), (3, 0));
}
