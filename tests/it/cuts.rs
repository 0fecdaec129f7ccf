//! kill -9 at every write: the server dies with the write kept or not, and another starts on what is there.

use crate::wire;
use crate::world::shell::{Fault, Shelf};
use crate::world::*;
use std::sync::Arc;
use tidegate_store::conformance::Hand;
use tidegate_store::{Embedded, Options};

/// A life with a drain, an outage, a restore and a reload, until the store is cut off or the life is over.
fn life(w: &mut World) {
    w.start();
    w.run(8_000);
    w.ask_only(drain("azure/westeurope"));
    w.run(3_000);
    w.kill("aws");
    w.run(4_000);
    w.dead.clear();
    w.ask_only(restore("azure/westeurope"));
    w.run(3_000);
    let new = payroll(&[("settle: 10s", "settle: 5s")]);
    let ask = reload(&new, w.model().fleet.revision);
    w.ask_only(ask);
    w.run(2_000);
}

#[test]
fn a_kill_at_every_write_leaves_the_old_state_or_the_new() {
    let mut whole = World::new(payroll(&[]));
    life(&mut whole);
    checks::whole(&whole).unwrap();
    let writes = whole.shelf.writes;
    assert!(writes >= 10, "{writes}");
    for at in 1..=writes {
        for kept in [false, true] {
            let mut w = World::new(payroll(&[]));
            w.shelf.cut = Some((at, kept));
            life(&mut w);
            let (found, shown) = (w.shelf.committed(), w.published.last().cloned());
            w.shelf.cut = None;
            w.dead.clear();
            if let Some(then) = found.as_ref().filter(|f| f.fleet != w.candidate.fleet.revision) {
                // The reload was kept: the next start reads the new directory.
                w.candidate = payroll(&[("settle: 10s", "settle: 5s")]);
                assert_eq!(then.fleet, w.candidate.fleet.revision);
            }
            // Old or new: nothing that was shown is missing, and at most the cut write is ahead of it.
            let (has, saw) = (found.map_or(0, |f| f.generation), shown.map_or(0, |s| s.generation));
            assert!(has == saw || (kept && has == saw + 1), "cut {at} (kept: {kept}): {has} stored, {saw} shown");
            w.restart();
            w.run(3_000);
            assert!(!w.stopped && w.published.last().unwrap().generation >= has.max(1), "cut {at}");
            checks::whole(&w).unwrap();
            wire::lawful(&w.fleet(), &w.plan()).unwrap();
        }
    }
}

#[test]
fn the_embedded_store_carries_a_life_and_its_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let options = Options { reserve_bytes: 256 * 1024, ..Options::default() };
        Shelf::on(Arc::new(Embedded::open(dir.path(), options, Hand::default().clock()).unwrap()))
    };
    let mut w = World::new(payroll(&[]));
    w.shelf = open();
    life(&mut w);
    w.candidate = payroll(&[("settle: 10s", "settle: 5s")]);
    let (generation, stood) = (w.published.last().unwrap().generation, w.plan());
    let decisions = checks::whole(&w).unwrap();
    assert!(decisions >= 4, "{decisions} decisions replay");
    // The file is let go of, and opened again.
    w.shelf = Shelf::memory();
    w.shelf = open();
    w.restart();
    let last = w.published.last().unwrap();
    assert_eq!((last.generation, &last.plan), (generation, &stood));
    w.fault(Fault::None);
    w.run(3_000);
    checks::whole(&w).unwrap();
}
