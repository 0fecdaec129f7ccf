//! A probe waits as long as the way to its member is.

use super::world::{World, addr};
use crate::Counters;
use crate::identity::{Id, Role, WireCodec};
use crate::probing::{Over, Probing};
use foca::{Codec, Header, Message, Timer};
use std::net::SocketAddr;
use std::sync::Arc;
use tidegate_domain::{Millis, Mono};

const PERIOD: Millis = Millis(500);

fn id(i: usize) -> Id {
    Id { name: Arc::from(format!("v{i}")), addr: addr(i), generation: 1, role: Role::Prober, salt: 0 }
}
fn at(ms: u64) -> Mono {
    Mono(1_000_000_000) + Millis(ms)
}
fn says(from: usize, to: usize, message: Message<Id>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { src: id(from), src_incarnation: 0, dst: id(to), message };
    WireCodec.encode_header(&header, &mut bytes).unwrap();
    bytes
}
fn timers(i: usize) -> [Timer<Id>; 2] {
    [Timer::SendIndirectProbe { probed_id: id(i), token: 0 }, Timer::ProbeRandomMember(0)]
}
/// Member 0 probes `i`; the serial, and after how many milliseconds others are asked.
fn probe(probing: &mut Probing, i: usize, number: u8, ms: u64) -> (u64, u64) {
    let [ask, next] = timers(i);
    let sends: [(SocketAddr, Vec<u8>); 1] = [(addr(i), says(0, i, Message::Ping(number)))];
    let begun = probing.begin((id(i), ask, next), PERIOD, &sends, at(ms));
    assert_eq!(begun.over, at(ms) + PERIOD);
    (begun.serial, begun.ask.since(at(ms)).0)
}
/// A whole probe of `i` that is answered after `trip`.
fn answered(probing: &mut Probing, i: usize, number: u8, ms: u64, trip: u64) {
    let (serial, _) = probe(probing, i, number, ms);
    assert_eq!(probing.heard(&says(i, 0, Message::Ack(number)), at(ms + trip)), Some(serial));
    assert_eq!(probing.heard(&says(i, 0, Message::Ack(number)), at(ms + trip)), None, "an answer counts once");
    assert!(matches!(probing.over(serial, at(ms + trip.max(500))), Over::Fire(..)));
}

#[test]
fn others_are_asked_after_the_round_trip_that_was_learned() {
    let mut probing = Probing::default();
    // Nothing is known of it: as for 200 ms.
    assert_eq!(probe(&mut probing, 1, 1, 0).1, 350);
    // The first sample's variation is half of it: 200 and four times 100.
    answered(&mut probing, 1, 2, 1_000, 200);
    assert_eq!(probe(&mut probing, 1, 3, 2_000).1, 600);
    // It stays the same, so the variation goes and half a round trip and 50 ms are left.
    (0..40).for_each(|n| answered(&mut probing, 1, 10 + n, 10_000 + 1_000 * u64::from(n), 200));
    assert_eq!(probe(&mut probing, 1, 90, 60_000).1, 350);
    // One close by, and one beyond all.
    answered(&mut probing, 2, 91, 61_000, 1);
    assert_eq!(probe(&mut probing, 2, 92, 62_000).1, 150);
    answered(&mut probing, 3, 93, 63_000, 1_500);
    assert_eq!(probe(&mut probing, 3, 94, 65_000).1, 1_000);
    // Whoever comes to an address next may be elsewhere.
    assert_eq!(probing.known(), 3);
    probing.forget(addr(3));
    assert_eq!(probe(&mut probing, 3, 95, 66_000).1, 350);
}

#[test]
fn an_answer_that_is_late_or_of_another_teaches_only_what_it_may() {
    let mut probing = Probing::default();
    let (first, _) = probe(&mut probing, 1, 1, 0);
    assert_eq!(probing.heard(&says(2, 0, Message::Ack(1)), at(10)), None);
    assert_eq!(probing.heard(&says(1, 0, Message::Ack(2)), at(10)), None);
    assert_eq!(probing.known(), 0);
    assert_eq!(probing.abandon().len(), 2);
    let (second, _) = probe(&mut probing, 2, 2, 500);
    // Too late for its own probe, and no answer to the second.
    assert_eq!(probing.heard(&says(1, 0, Message::Ack(1)), at(700)), None);
    assert_eq!(probing.known(), 1);
    assert_eq!(probing.over(first, at(2_000)), Over::Nothing);
    assert_eq!(probing.over(second, at(999)), Over::At(at(1_000)));
    // What came while we stood still is an answer, but no distance.
    probing.stood_still(1_000_000_000);
    assert_eq!(probing.heard(&says(2, 0, Message::Ack(2)), at(2_100)), Some(second));
    assert_eq!(probing.known(), 1);
}

#[test]
fn a_probe_ends_after_the_way_over_those_that_were_asked() {
    let mut probing = Probing::default();
    (0..40).for_each(|n| answered(&mut probing, 1, n, 1_000 * u64::from(n), 300));
    (0..40).for_each(|n| answered(&mut probing, 2, n, 100_000 + 1_000 * u64::from(n), 100));
    let (serial, asks) = probe(&mut probing, 1, 50, 200_000);
    assert_eq!(asks, 500);
    // It is never over before others were asked: foca would throw the probe away.
    assert_eq!(probing.over(serial, at(200_500)), Over::At(at(200_550)));
    assert_eq!(probing.ask(serial), Some(timers(1)[0].clone()));
    assert_eq!(probing.ask(serial), None);
    // Twice the way to the one asked, and the member's own: 500 and 200 and 300 and 50 ms.
    probing.asked(&[addr(2)], at(200_500));
    assert_eq!(probing.over(serial, at(200_550)), Over::At(at(201_050)));
    assert_eq!(
        probing.heard(&says(2, 0, Message::ForwardedAck { origin: id(3), probe_number: 50 }), at(200_600)),
        None
    );
    let forwarded = Message::ForwardedAck { origin: id(1), probe_number: 50 };
    assert_eq!(probing.heard(&says(2, 0, forwarded), at(200_700)), Some(serial));
    assert_eq!(probing.over(serial, at(200_700)), Over::Fire(Millis(700), vec![timers(1)[1].clone()]));
    assert_eq!(probing.over(serial, at(200_700)), Over::Nothing);
    // However far those are that were asked, two seconds are the most.
    answered(&mut probing, 3, 60, 300_000, 1_500);
    let (serial, asks) = probe(&mut probing, 1, 61, 310_000);
    assert!(probing.ask(serial).is_some());
    probing.asked(&[addr(3)], at(310_000 + asks));
    assert_eq!(probing.over(serial, at(311_999)), Over::At(at(312_000)));
    assert_eq!(probing.over(serial, at(312_000)), Over::Fire(Millis(2_000), vec![timers(1)[1].clone()]));
}

#[test]
fn a_far_fleet_is_as_quiet_as_a_near_one() {
    // Bytes that eight members send in a minute, one way of 1 ms and of so many.
    let sent = |ms: u64| {
        let mut world = World::new(8, 0, 61);
        world.one_way = Some(Millis(ms));
        world.run_until_whole(30_000);
        world.run(60_000);
        let sum =
            |world: &World, pick: fn(&Counters) -> u64| world.live().map(|(_, n)| pick(n.counters())).sum::<u64>();
        let counts: [fn(&Counters) -> u64; 2] = [|c| c.sent_bytes, |c| c.suspicions];
        let before = counts.map(|count| sum(&world, count));
        world.run(60_000);
        assert_eq!(sum(&world, counts[1]), before[1], "suspicions at {ms} ms one way");
        sum(&world, counts[0]) - before[0]
    };
    let near = sent(1);
    for ms in [78, 150, 260] {
        let far = sent(ms);
        assert!(far <= near * 11 / 10, "{far} bytes at {ms} ms one way, {near} at 1 ms");
    }
}
