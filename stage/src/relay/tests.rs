//! The matrix as a file, and the queue without devices.

use super::queue::Queue;
use super::{Delays, Matrix};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

const MS: u64 = 1_000_000;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, last)
}

/// A packet of protocol `protocol` that carries `mark`.
fn packet(from: u8, to: u8, protocol: u8, mark: u8) -> Vec<u8> {
    let mut bytes = vec![0_u8; 21];
    bytes[0] = 0x45;
    bytes[9] = protocol;
    bytes[12..16].copy_from_slice(&ip(from).octets());
    bytes[16..20].copy_from_slice(&ip(to).octets());
    bytes[20] = mark;
    bytes
}

/// Site 0 has addresses 1 and 2, site 1 has 3, site 2 has 4.
fn queue(ways: &[(usize, usize, u64)], jitter_per_cent: u32, seed: u64) -> Queue {
    let sites = BTreeMap::from([(ip(1), 0), (ip(2), 0), (ip(3), 1), (ip(4), 2)]);
    let ways = ways.iter().map(|(a, b, ms)| ((*a, *b), Duration::from_millis(*ms))).collect();
    Queue::new(sites, Delays { ways, jitter_per_cent }, seed)
}

fn drain(queue: &mut Queue) -> Vec<(u64, usize, u8)> {
    let mut out = Vec::new();
    while let Some(at) = queue.next_due() {
        assert!(at == 0 || queue.due(at - 1).is_none(), "a packet left before its time");
        while let Some((site, bytes)) = queue.due(at) {
            out.push((at, site, bytes[20]));
        }
    }
    out
}

#[test]
fn every_packet_waits_for_its_own_link() {
    let mut q = queue(&[(0, 1, 40), (1, 0, 7)], 0, 1);
    q.take(&packet(1, 3, 6, 1), 0);
    q.take(&packet(3, 2, 17, 2), MS);
    q.take(&packet(2, 4, 6, 3), 2 * MS);
    assert_eq!(drain(&mut q), [(2 * MS, 2, 3), (8 * MS, 0, 2), (40 * MS, 1, 1)]);
    assert_eq!((q.counts.taken, q.counts.udp, q.counts.astray), (3, 1, 0));
}

#[test]
fn jitter_delays_and_never_overtakes() {
    let mut q = queue(&[(0, 1, 100)], 20, 5);
    for mark in 0..200 {
        q.take(&packet(1, 3, 17, mark), u64::from(mark) * MS / 10);
    }
    let out = drain(&mut q);
    assert!(out.iter().map(|o| o.2).eq(0..200), "in the order in which they came");
    assert!(out.iter().all(|(at, _, mark)| (100 * MS..=140 * MS).contains(&(at - u64::from(*mark) * MS / 10))));
    let latest = out.iter().map(|(at, _, mark)| at - u64::from(*mark) * MS / 10).max();
    assert!(latest > Some(110 * MS), "nothing jittered: {latest:?}");
}

#[test]
fn loss_takes_udp_alone_in_its_share_and_by_its_seed() {
    let lost = |seed: u64| {
        let mut q = queue(&[], 0, seed);
        q.set_loss(500);
        (0..20_000).for_each(|_| q.take(&packet(1, 3, 17, 0), 0));
        (0..20_000).for_each(|_| q.take(&packet(1, 3, 6, 1), 0));
        let came = drain(&mut q);
        assert_eq!(came.iter().filter(|c| c.2 == 1).count(), 20_000, "TCP was lost");
        assert_eq!(came.len() as u64, 40_000 - q.counts.lost);
        q.counts.lost
    };
    // 5 % of 20,000; five standard deviations are 154.
    assert!(lost(1).abs_diff(1_000) < 154, "{}", lost(1));
    assert_eq!(lost(3), lost(3));
}

#[test]
fn what_is_for_nobody_or_does_not_fit_is_counted() {
    let mut q = queue(&[(0, 1, 10)], 0, 1);
    q.take(&packet(1, 9, 17, 0), 0);
    q.take(&packet(9, 1, 17, 0), 0);
    q.take(&[0x60; 40], 0);
    q.take(&[0x45, 0], 0);
    assert_eq!((q.counts.astray, q.next_due()), (4, None));
    (0..65_536 + 3).for_each(|_| q.take(&packet(1, 3, 6, 0), 0));
    assert_eq!(q.counts.overflow, 3);
}

#[test]
fn a_matrix_gives_half_a_round_trip_either_way() {
    let text = "# invented\norigin,a,b,a\na,2,88,500\n\nb,,1,3\n".replace("b,,", "b,90.5,");
    let m = Matrix::parse("x.csv", &text).expect("matrix");
    assert_eq!(m.one_way("a", "b").expect("way"), Duration::from_millis(44));
    assert_eq!(m.one_way("b", "a").expect("way"), Duration::from_micros(45_250));
    assert_eq!(m.one_way("a", "a").expect("way"), Duration::from_millis(1), "a name twice means its first column");
    let half = Matrix::parse("x.csv", "origin,b\na,10\n").expect("matrix");
    assert_eq!(half.one_way("b", "a").expect("way"), Duration::from_millis(5));
}

#[test]
fn a_bad_matrix_says_where_and_what_to_do() {
    let said = |text: &str| format!("{:#}", Matrix::parse("x.csv", text).expect_err("must be refused"));
    assert!(said("").contains("x.csv: no row names the places"));
    let cell = said("# c\norigin,a,b\na,1,x\n");
    assert!(cell.contains("x.csv line 3 (`a`), column `b`: `x` is not 0 to"), "{cell}");
    for bad in ["-1", "nan", "inf", "10001", ""] {
        assert!(said(&format!("origin,a\na,{bad}\n")).contains("is not 0 to"), "{bad}");
    }
    assert!(said("origin,a,b\na,1\n").contains("2 cells under 3 names"));
    let m = Matrix::parse("x.csv", "origin,a\na,1\n").expect("matrix");
    let far = format!("{:#}", m.one_way("a", "aws/x").expect_err("unknown"));
    assert!(far.contains("no round trip from `a` to `aws/x`") && far.contains("--link-name"), "{far}");
}

#[test]
fn the_shipped_matrix_names_every_region_of_the_example() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/simulator/scenarios/latency/invented.csv");
    let m = Matrix::read(std::path::Path::new(path)).expect("matrix");
    let fleet = crate::fleet_dir::example().expect("example").fleet;
    for a in &fleet.regions {
        for b in &fleet.regions {
            m.one_way(&a.name.to_string(), &b.name.to_string()).expect("a way");
        }
    }
}
