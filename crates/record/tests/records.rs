//! What is encoded is decoded the same; what we would not have written is refused; formats do not change unnoticed.

mod corpus;
#[path = "../../../fuzz/replay.rs"]
mod replay;
mod values;

use proptest::prelude::*;
use std::collections::BTreeMap;
use tidegate_domain::*;
use tidegate_record::*;
use values::draw;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..1500)
}

macro_rules! round_trips {
    ($($name:ident: $draw:ident, $encode:ident, $decode:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
            $(#[test]
            fn $name(bytes in bytes(), cut in any::<prop::sample::Index>(), flip in 1_u8..) {
                let value = draw(&bytes).$draw();
                let encoded = $encode(&value);
                prop_assert_eq!($decode(&encoded), Ok(value.clone()));
                // A damaged record is refused, or is another record whole: never a panic, never a byte unread.
                let mut damaged = encoded.clone();
                let at = cut.index(damaged.len());
                damaged[at] ^= flip;
                if let Ok(other) = $decode(&damaged) {
                    prop_assert_eq!($encode(&other), damaged);
                }
                if let Ok(other) = $decode(&encoded[..at]) {
                    prop_assert_eq!($encode(&other), &encoded[..at]);
                }
                // A field that no version knows.
                let unknown = [encoded.as_slice(), &[0xf8, 0x06, 0x01]].concat();
                prop_assert_eq!($decode(&unknown), Err(RecordError::NotCanonical));
            })*
        }
    };
}
round_trips! {
    fleet: fleet, encode_fleet, decode_fleet;
    mask: mask, encode_mask, decode_mask;
    view: view, encode_view, decode_view;
    state: state, encode_state, decode_state;
    plan: plan, encode_plan, decode_plan;
    report: report, encode_report, decode_report;
    verdict: verdict, encode_verdict, decode_verdict;
    intents: intents, encode_intents, decode_intents;
    cycle_input: input, encode_cycle_input, decode_cycle_input;
    input_parts: input_parts, encode_input_parts, decode_input_parts;
    cycle_output: output, encode_cycle_output, decode_cycle_output;
    decision: decision, encode_decision, decode_decision;
    committed_plan: committed, encode_committed_plan, decode_committed_plan;
    entry: entry, encode_entry, decode_entry;
    row: row, encode_row, decode_row;
    batch: batch, encode_batch, decode_batch;
    lease: lease, encode_lease, decode_lease;
    named_intents: named, encode_named_intents, decode_named_intents;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_chain_holds_until_any_entry_is_touched(seeds in prop::collection::vec(bytes(), 2..8), at in any::<prop::sample::Index>()) {
        let mut last = Link::default();
        let mut entries = Vec::new();
        for seed in &seeds {
            let entry = Entry::following(&last, Wall(1), draw(seed).body());
            prop_assert!(!entry.sentence().is_empty());
            last = entry.link();
            entries.push(entry);
        }
        prop_assert_eq!(verify_chain(&entries), Ok(()));
        prop_assert_eq!(verify_chain_from(Link::default(), &entries), Ok(last));
        // Any but the last: its successor names another hash.
        let i = at.index(entries.len() - 1);
        let mut changed = entries.clone();
        changed[i].at = Wall(2);
        let broken = BrokenAt { sequence: changed[i].sequence + 1, fault: Fault::Hash };
        prop_assert_eq!(verify_chain(&changed), Err(broken));
        let mut shorter = entries.clone();
        shorter.remove(i);
        prop_assert!(verify_chain(&shorter).is_err());
        // The last: only who remembers the end can tell.
        let mut tail = entries.clone();
        tail.last_mut().unwrap().at = Wall(2);
        prop_assert_ne!(verify_chain_from(Link::default(), &tail), Ok(last));
    }
}

#[test]
fn another_version_or_kind_is_refused() {
    let plan = encode_plan(&Plan::default());
    assert_eq!(&plan[..2], [0x08, 0x01], "the version stands first");
    let newer = [&[0x08, 0x02], &plan[2..]].concat();
    assert_eq!(decode_plan(&newer), Err(RecordError::Version { found: 2, known: 1 }));
    assert_eq!(decode_state(&plan), Err(RecordError::Kind { expected: "kernel state" }));
    assert!(matches!(decode_plan(&plan[..plan.len() - 1]), Err(RecordError::Malformed(_))));
    assert!(decode_plan(&[]).is_err());
}

/// The bytes of format 1 for the values that one fixed seed draws. A change here is a change of what is on people's disks: give it a new version.
#[test]
fn golden_bytes() {
    let seed: Vec<u8> = (0..600).map(|i: u32| (i * 37 % 251) as u8).collect();
    let draw = || draw(&seed);
    let found: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        ("fleet", encode_fleet(&draw().fleet())),
        ("grpc", encode_fleet(&asked_by_grpc())),
        ("mask", encode_mask(&draw().mask())),
        ("view", encode_view(&draw().view())),
        ("state", encode_state(&draw().state())),
        ("plan", encode_plan(&draw().plan())),
        ("report", encode_report(&draw().report())),
        ("verdict", encode_verdict(&draw().verdict())),
        ("intents", encode_intents(&draw().intents())),
        ("input", encode_cycle_input(&draw().input())),
        ("parts", encode_input_parts(&draw().input_parts())),
        ("output", encode_cycle_output(&draw().output())),
        ("decision", encode_decision(&draw().decision())),
        ("committed", encode_committed_plan(&draw().committed())),
        ("entry", encode_entry(&draw().entry())),
        ("row", encode_row(&draw().row())),
        ("batch", encode_batch(&draw().batch())),
        ("lease", encode_lease(&draw().lease())),
        ("named", encode_named_intents(&draw().named())),
        ("blob", chunk(b"blob").unwrap().blobs.remove(0).1),
    ]);
    let lines: String = found.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    let golden = include_str!("golden.txt");
    assert!(lines == golden, "found:\n{lines}");
}

/// What was written before fields were added is read as it was, and written again the same.
#[test]
fn golden_bytes_of_before() {
    let bytes = |line: &str| -> Vec<u8> {
        let digits: Vec<u8> = line.bytes().collect();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    };
    for line in include_str!("golden_before.txt").lines() {
        let (name, digits) = line.split_once(' ').unwrap();
        let old = bytes(digits);
        let again = match name {
            "view" => encode_view(&decode_view(&old).unwrap()),
            "state" => encode_state(&decode_state(&old).unwrap()),
            "report" => encode_report(&decode_report(&old).unwrap()),
            "input" => encode_cycle_input(&decode_cycle_input(&old).unwrap()),
            "parts" => encode_input_parts(&decode_input_parts(&old).unwrap()),
            "output" => encode_cycle_output(&decode_cycle_output(&old).unwrap()),
            "fleet" => encode_fleet(&decode_fleet(&old).unwrap()),
            "intents" => encode_intents(&decode_intents(&old).unwrap()),
            "named" => encode_named_intents(&decode_named_intents(&old).unwrap()),
            "committed" => encode_committed_plan(&decode_committed_plan(&old).unwrap()),
            "entry" => encode_entry(&decode_entry(&old).unwrap()),
            other => panic!("{other} is not read here"),
        };
        assert_eq!(again, old, "{name}");
    }
}

/// A fleet of one service, whose health is asked for by gRPC.
fn asked_by_grpc() -> Fleet {
    let mut service = draw(&[]).service();
    let host = Some("h.example".to_owned());
    service.check.kind = CheckKind::Grpc { service: "a.B".to_owned(), tls: true, host };
    Fleet { services: vec![service], ..Fleet::default() }
}

#[test]
fn large_values_are_cut_and_put_together() {
    for len in [0, 1, BLOB_MAX - 17, BLOB_MAX - 16, BLOB_MAX - 15, BLOB_MAX, 3 * BLOB_MAX + 5] {
        let value: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
        let chunked = chunk(&value).unwrap();
        let mut store: BTreeMap<BlobHash, Vec<u8>> = chunked.blobs.iter().cloned().collect();
        assert!(store.iter().all(|(hash, b)| b.len() <= BLOB_MAX && BlobHash::of(b) == *hash));
        assert_eq!(assemble(chunked.root, |h| store.get(&h).cloned()), Ok(value));
        let parts = parts_of(chunked.root, |h| store.get(&h).cloned()).unwrap();
        assert_eq!(parts, chunked.blobs.iter().map(|b| b.0).collect::<Vec<_>>());
        let first = chunked.blobs[0].0;
        store.get_mut(&first).unwrap()[0] ^= 1;
        assert_eq!(assemble(chunked.root, |h| store.get(&h).cloned()), Err(BlobError::Damaged(first)));
        store.remove(&first);
        assert_eq!(assemble(chunked.root, |h| store.get(&h).cloned()), Err(BlobError::Missing(first)));
    }
}

type Blobs = BTreeMap<BlobHash, Vec<u8>>;

fn decided(input: &CycleInput, output: &CycleOutput) -> (Decision, Blobs) {
    let chunked = chunk_input(input).unwrap();
    let mut decision = draw(&[]).decision();
    decision.input = chunked.root;
    decision.fleet = input.fleet.revision;
    decision.policy = input.mask.bundle;
    decision.output_hash = output_hash(output);
    (decision, chunked.blobs.into_iter().collect())
}

#[test]
fn a_replay_tells_the_same_from_another() {
    let seed: Vec<u8> = (0..900).map(|i: u32| (i * 91 % 253) as u8).collect();
    let (input, output) = (draw(&seed).input(), draw(&seed[300..]).output());
    let (decision, blobs) = decided(&input, &output);
    let get = |h| blobs.get(&h).cloned();
    let run = |got: &CycleInput| {
        assert_eq!(got, &input);
        output.clone()
    };
    let outcome = replay(&decision, get, &decision.kernel_version, run).unwrap();
    assert_eq!(outcome.other_kernel, None);
    assert!(outcome.same && outcome.got_hash == outcome.expected_hash && outcome.output == output);
    let other = |_: &CycleInput| CycleOutput { wake: Some(Mono(77)), ..output.clone() };
    let outcome = replay(&decision, get, "another", other).unwrap();
    assert_eq!(outcome.other_kernel.as_ref(), Some(&decision.kernel_version));
    assert!(!outcome.same && outcome.got_hash != outcome.expected_hash);
    assert!(matches!(replay(&decision, |_| None, "another", other), Err(ReplayError::Input { .. })));
    let elsewhere = Decision { fleet: Revision([9; 32]), ..decision };
    assert!(matches!(replay(&elsewhere, get, "another", other), Err(ReplayError::Mismatch { .. })));
}

#[test]
fn an_input_that_was_kept_whole_is_still_read() {
    let seed: Vec<u8> = (0..900).map(|i: u32| (i * 91 % 253) as u8).collect();
    let (input, output) = (draw(&seed).input(), draw(&seed[300..]).output());
    let (mut decision, _) = decided(&input, &output);
    let whole = chunk(&encode_cycle_input(&input)).unwrap();
    let blobs: Blobs = whole.blobs.into_iter().collect();
    decision.input = whole.root;
    let get = |h| blobs.get(&h).cloned();
    assert_eq!(read_input(decision.input, get), Ok(input));
    assert!(replay(&decision, get, &decision.kernel_version, |_| output.clone()).unwrap().same);
}

#[test]
fn inputs_share_their_fleet_and_mask_and_miss_them_loudly() {
    let seed: Vec<u8> = (0..900).map(|i: u32| (i * 91 % 253) as u8).collect();
    let first = draw(&seed).input();
    let second = CycleInput { now: Mono(first.now.0 ^ 1), ..first.clone() };
    let (one, two) = (chunk_input(&first).unwrap(), chunk_input(&second).unwrap());
    let hashes = |c: &ChunkedInput| c.blobs.iter().map(|b| b.0).collect::<Vec<_>>();
    let (a, b) = (hashes(&one), hashes(&two));
    assert_eq!((a.len(), &a[..2]), (3, &b[..2]));
    assert_ne!(one.root, two.root);
    let blobs: Blobs = one.blobs.into_iter().chain(two.blobs).collect();
    assert_eq!(read_input(one.root, |h| blobs.get(&h).cloned()), Ok(first));
    assert_eq!(read_input(two.root, |h| blobs.get(&h).cloned()), Ok(second));
    for gone in a {
        let get = |h| blobs.get(&h).filter(|_| h != gone).cloned();
        assert_eq!(read_input(one.root, get), Err(InputError::Blob(BlobError::Missing(gone))));
    }
}

#[test]
fn intents_outlive_a_change_of_the_fleet() {
    let name = |n: &str| Name::new(n).unwrap();
    let fleet = |providers: &[&str]| Fleet {
        providers: providers.iter().map(|p| Provider { name: name(p) }).collect(),
        ..Fleet::default()
    };
    let drain = |id, provider| Drain {
        id,
        scope: Scope::Provider(ProviderIx(provider)),
        service: None,
        until: None,
        grace: Millis(0),
        reason: "test".into(),
        by: Subject("ann".into()),
        at: Wall(5),
    };
    let intents = Intents { drains: vec![drain(1, 0), drain(2, 1)], ..Intents::default() };
    let word = |provider| ApiWord {
        provider: ProviderIx(provider),
        trouble: true,
        reason: "test".into(),
        by: Subject("ann".into()),
        until: Wall(9),
    };
    let intents = Intents { api_words: vec![word(0), word(1)], ..intents };
    let named = NamedIntents::of(&intents, &fleet(&["aws", "gcp"]));
    let (moved, gone) = named.resolve(&fleet(&["azure", "aws"]));
    assert_eq!((moved.drains, moved.api_words, gone), (vec![drain(1, 1)], vec![word(1)], vec![2]));
}

#[test]
fn sentences_read_well() {
    let say = |subject: &str, reason: &str, kind| {
        Event { subject: Subject(subject.into()), reason: reason.into(), kind, decision: None }.sentence()
    };
    let place = Place::new("aws/us-east-1").unwrap();
    let until = Some(Wall(1_772_352_000_000));
    let drain = EventKind::DrainRequested { id: 7, place, service: Some(Name::new("payroll").unwrap()), until };
    assert_eq!(
        say("ann", "kernel upgrade", drain),
        "ann asked to drain aws/us-east-1 for payroll until 2026-03-01 08:00:00 UTC (drain 7): kernel upgrade."
    );
    let changed = EventKind::VerdictChanged {
        accused: "aws".into(),
        from: Health::Healthy,
        to: Health::Down,
        evidence: "6 of 6 votes".into(),
    };
    let refused = |reason: &str| {
        let (asked, why) = ("the drain of aws".into(), "shop/eu has no other place".into());
        say("anna", reason, EventKind::Refused { asked, why })
    };
    assert_eq!(refused(""), "anna was refused the drain of aws: shop/eu has no other place.");
    assert_eq!(
        refused("upgrade"),
        "anna was refused the drain of aws (asked for because: upgrade): shop/eu has no other place."
    );
    assert_eq!(say("kernel", "", changed), "aws went from healthy to down (6 of 6 votes).");
}

#[test]
fn the_fuzzers_corpus_is_taken_or_refused_as_its_names_say() {
    replay::replay("record", corpus::check);
    let files = std::fs::read_dir(replay::folder("record")).unwrap();
    let decoders: std::collections::BTreeSet<_> =
        files.filter_map(|file| corpus::decoder_of(&std::fs::read(file.unwrap().path()).unwrap())).collect();
    assert_eq!(decoders.len(), corpus::COUNT, "every decoder has a file that it takes");
}
