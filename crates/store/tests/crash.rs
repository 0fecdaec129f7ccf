//! The power goes at every write and sync boundary, in every way; the disk runs full; the file is damaged. What stands
//! there afterwards is the old state or the new one, or a clear refusal.

mod disk;

use disk::{Disk, Tear};
use tidegate_domain::Millis;
use tidegate_store::conformance::Hand;
use tidegate_store::{BlobHash, Condition, Embedded, HealthMode, Op, Options, Store, StoreError, Txn, Urgency};

const STEPS: u64 = 5;

fn options() -> Options {
    Options { reserve_bytes: 256 * 1024, history_revisions: 3, cache_bytes: 1 << 20, ..Options::default() }
}
fn open(disk: &Disk, hand: &Hand) -> Result<Embedded, StoreError> {
    Embedded::open_on(Box::new(disk.clone()), options(), hand.clock())
}
fn body(step: u64) -> Vec<u8> {
    vec![step as u8; 9000]
}
/// Step `n` takes the store from revision n-1 to n, and a body to go with it.
fn take(store: &Embedded, step: u64) -> Result<(), StoreError> {
    store.put_blob(&body(step), Urgency::Ordinary)?;
    let value = step.to_string();
    let mut ops = vec![Op::put("head", value.as_bytes()), Op::put("tail", vec![step as u8; 3000])];
    ops.push(Op::put(format!("log/{step}"), value.as_bytes()));
    if step > 2 {
        ops.push(Op::delete(format!("log/{}", step - 2)));
    }
    let txn = Txn::of(ops).when("head", if step == 1 { Condition::Absent } else { Condition::Modified(step - 1) });
    assert!(store.txn(txn)?.succeeded);
    Ok(())
}
/// Panics unless the store is exactly as step `n` left it, for the `n` that it returns.
fn whole(store: &Embedded) -> u64 {
    let (step, rows) = store.range("").unwrap();
    assert_eq!(store.revision().unwrap(), step);
    let mut expected = Vec::new();
    if step > 0 {
        expected.push(("head".to_owned(), step.to_string().into_bytes()));
        for log in step.saturating_sub(1).max(1)..=step {
            expected.push((format!("log/{log}"), log.to_string().into_bytes()));
        }
        expected.push(("tail".to_owned(), vec![step as u8; 3000]));
    }
    assert_eq!(rows.into_iter().map(|(k, r)| (k, r.value)).collect::<Vec<_>>(), expected);
    for step in 1..=step {
        assert_eq!(store.get_blob(BlobHash::of(&body(step))).unwrap(), Some(body(step)), "body of step {step}");
    }
    let oldest = step.saturating_sub(2).max(1);
    let mut watch = store.watch("", oldest).unwrap();
    for revision in oldest..=step {
        assert_eq!(watch.try_next().unwrap().unwrap().revision, revision);
    }
    step
}
/// Works on `disk` until it ends or the power goes; returns the steps that were acknowledged.
fn work(disk: &Disk, from: u64) -> u64 {
    let Ok(store) = open(disk, &Hand::default()) else { return from };
    (from + 1..=STEPS).take_while(|step| take(&store, *step).is_ok()).last().unwrap_or(from)
}

/// Returns the number of cuts, and how many of the lying disks were refused.
fn cut_everywhere(base: &Disk, from: u64) -> (usize, usize) {
    let clean = base.after_power_cut();
    assert_eq!(work(&clean, from), STEPS);
    let tears = [
        Tear::Lost,
        Tear::Kept,
        Tear::Half,
        Tear::Sectors(1),
        Tear::Sectors(2),
        Tear::Sectors(3),
        Tear::Forgot,
        Tear::Lied(4),
    ];
    let (mut cuts, mut refused) = (0, 0);
    for at in 1..=clean.ops() {
        for tear in tears {
            let disk = base.after_power_cut();
            disk.stop_at(at, tear);
            let acknowledged = work(&disk, from);
            let later = disk.after_power_cut();
            cuts += 1;
            let store = match open(&later, &Hand::default()) {
                Ok(store) => store,
                // Where writes pass a sync that was promised, no file can be whole for certain: then it must say so.
                Err(StoreError::Corrupt { .. }) if matches!(tear, Tear::Lied(_)) => {
                    refused += 1;
                    continue;
                }
                Err(e) => panic!("cut {at}, {tear:?}: {e}"),
            };
            let found = whole(&store);
            // A disk that lies about one sync may lose that one acknowledged step, but never leaves a half one.
            let least = if matches!(tear, Tear::Lied(_) | Tear::Forgot) {
                acknowledged.saturating_sub(1)
            } else {
                acknowledged
            };
            assert!((least..=acknowledged + 1).contains(&found), "cut {at}, {tear:?}: {found}, had {acknowledged}");
            for step in found + 1..=STEPS {
                take(&store, step).unwrap();
            }
            assert_eq!(whole(&store), STEPS, "it goes on from there");
        }
    }
    (cuts, refused)
}

#[test]
fn power_cut_at_every_boundary_leaves_old_or_new() {
    let base = Disk::default();
    {
        let store = open(&base, &Hand::default()).unwrap();
        take(&store, 1).unwrap();
        take(&store, 2).unwrap();
    }
    let (cuts, refused) = cut_everywhere(&base.after_power_cut(), 2);
    println!("{cuts} cuts of a running store; {refused} disks that lied about a sync were refused as damaged");
    assert!(cuts > 100, "only {cuts} boundaries were met");
}

#[test]
fn power_cut_while_the_store_is_made() {
    let (cuts, refused) = cut_everywhere(&Disk::default(), 0);
    println!("{cuts} cuts from the first byte on; {refused} disks that lied about a sync were refused as damaged");
}

#[test]
fn the_check_of_a_whole_state_can_fail() {
    let disk = Disk::default();
    let store = open(&disk, &Hand::default()).unwrap();
    take(&store, 1).unwrap();
    store.txn(Txn::of(vec![Op::put("head", "2")])).unwrap();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| whole(&store))).is_err());
}

#[test]
fn a_full_disk_takes_safety_moves_only_and_recovers() {
    let (disk, hand) = (Disk::default(), Hand::default());
    let store = open(&disk, &hand).unwrap();
    disk.set_room(disk.used() + 200 * 1024);
    let mut written = 0_u64;
    let refusal = loop {
        match store.txn(Txn::of(vec![Op::put(format!("k/{written:05}"), vec![1; 2000])])) {
            Ok(_) => written += 1,
            Err(e) => break e,
        }
        assert!(written < 10_000, "the disk never ran full");
    };
    assert!(matches!(refusal, StoreError::Full { .. }) && refusal.retry(), "{refusal}");
    println!("{written} ordinary writes, then: {refusal}");
    assert_eq!(store.range("k/").unwrap().1.len() as u64, written, "reads go on, nothing half is there");
    assert_eq!((store.health().mode, store.health().reserve_bytes), (HealthMode::Full, 256 * 1024));
    hand.pass(Millis(5000));
    assert_eq!(store.range("k/").unwrap().1.len() as u64, written);
    assert_eq!(store.health().mode, HealthMode::Full, "a whole reserve is no sign of room beside it");
    // An hour of moves, one in ten seconds.
    let mut safe = 0;
    for i in 0..360 {
        let txn = Txn::of(vec![Op::put("plan", vec![i as u8; 400])]).urgent();
        assert!(store.txn(txn).unwrap_or_else(|e| panic!("safety move {i}: {e}")).succeeded);
        safe += 1;
    }
    println!("{safe} safety writes from the reserve");
    assert!(matches!(store.txn(Txn::of(vec![Op::put("x", "")])), Err(StoreError::Full { .. })));
    assert!(matches!(store.put_blob(&[1], Urgency::Ordinary), Err(StoreError::Full { .. })));
    assert!(store.put_blob(&[2], Urgency::Safety).is_ok());
    store.grant(Millis(1000)).unwrap();
    disk.set_room(disk.used() + 4 * 1024 * 1024);
    hand.pass(Millis(5000));
    store.txn(Txn::of(vec![Op::put("x", "")])).unwrap();
    assert_eq!((store.health().mode, store.health().reserve_bytes), (HealthMode::Good, 256 * 1024));
    drop(store);
    let store = open(&disk.after_power_cut(), &hand).unwrap();
    assert_eq!(store.get("plan").unwrap().unwrap().value, vec![103; 400]);
    assert_eq!(store.range("k/").unwrap().1.len() as u64, written);
}

#[test]
fn a_spent_reserve_refuses_and_loses_nothing() {
    let (disk, hand) = (Disk::default(), Hand::default());
    let store = open(&disk, &hand).unwrap();
    disk.set_room(disk.used() + 64 * 1024);
    let mut written = 0_u64;
    let refusal = loop {
        match store.txn(Txn::of(vec![Op::put(format!("k/{written:05}"), vec![1; 20_000])]).urgent()) {
            Ok(_) => written += 1,
            Err(e) => break e,
        }
        assert!(written < 10_000, "the disk never ran full");
    };
    println!("{written} writes, then: {refusal}");
    assert_eq!(store.range("k/").map(|r| r.1.len() as u64), Ok(written));
    disk.set_room(disk.used() + 4 * 1024 * 1024);
    hand.pass(Millis(5000));
    store.txn(Txn::of(vec![Op::put("x", "")])).unwrap();
    drop(store);
    let store = open(&disk.after_power_cut(), &hand).unwrap();
    assert_eq!(store.range("k/").unwrap().1.len() as u64, written);
}

/// Ordinary writes until the disk is full.
fn fill(store: &Embedded) -> u64 {
    for written in 0..10_000 {
        match store.txn(Txn::of(vec![Op::put(format!("k/{written:05}"), vec![1; 2000])])) {
            Ok(_) => {}
            Err(StoreError::Full { .. }) => return written,
            Err(e) => panic!("{e}"),
        }
    }
    panic!("the disk never ran full")
}

#[test]
fn who_takes_all_that_is_free_does_not_take_the_reserve() {
    const RESERVE: u64 = 16 * 1024 * 1024;
    let (disk, hand) = (Disk::default(), Hand::default());
    let options = Options { reserve_bytes: RESERVE, ..options() };
    let store = Embedded::open_on(Box::new(disk.clone()), options, hand.clock()).unwrap();
    disk.set_room(disk.used() + 200 * 1024);
    let written = fill(&store);
    disk.compete();
    assert_eq!(store.health().reserve_bytes, RESERVE, "the disk is full, and nothing of the reserve is let go yet");
    // Each move brings a body that nothing in the file has room for; the room that it leaves over is taken at once.
    let mut moves = 0_u8;
    let refusal = loop {
        let body = vec![moves; 100_000];
        let txn = Txn::of(vec![Op::put("plan", vec![moves; 400])]).urgent();
        match store.put_blob(&body, Urgency::Safety).and_then(|_| store.txn(txn)) {
            Ok(_) => moves += 1,
            Err(e) => break e,
        }
        hand.pass(Millis(5000));
        assert!(moves < 250, "the reserve never ended");
    };
    println!("{moves} moves beside somebody who takes all that is free, then: {refusal}");
    assert!(matches!(refusal, StoreError::Full { .. }) && moves >= 16, "{moves}: {refusal}");
    assert_eq!(store.range("k/").unwrap().1.len() as u64, written);
    drop(store);
    let store = open(&disk.after_power_cut(), &hand).unwrap();
    assert_eq!(store.get("plan").unwrap().unwrap().value, vec![moves - 1; 400]);
}

#[test]
fn a_failed_commit_does_not_check_every_page_again() {
    let (disk, hand) = (Disk::default(), Hand::default());
    let store = open(&disk, &hand).unwrap();
    for i in 0..40 {
        store.put_blob(&vec![i; 200_000], Urgency::Ordinary).unwrap();
    }
    disk.set_room(disk.used());
    let before = disk.bytes_read();
    fill(&store);
    let again = disk.bytes_read() - before;
    drop(store);
    let later = disk.after_power_cut();
    drop(open(&later, &hand).unwrap());
    let start = later.bytes_read();
    println!("{again} bytes read after a failed commit, {start} at the start");
    assert!(again * 3 < start * 2, "{again} of {start}");
}

#[test]
fn a_truncated_or_changed_file_is_refused_or_whole() {
    let base = Disk::default();
    assert_eq!(work(&base, 0), STEPS);
    let size = base.durable_len();
    let mut refused = 0;
    let cuts: Vec<usize> = (0..40).map(|i| size * i / 40).chain([1, 100, 4096, size - 4096, size - 1]).collect();
    for cut in cuts {
        let disk = base.after_power_cut();
        disk.damage(|bytes| bytes.truncate(cut));
        match open(&disk, &Hand::default()) {
            Err(e @ StoreError::Corrupt { .. }) => {
                assert!(!e.retry());
                refused += 1;
            }
            Err(e) => panic!("cut to {cut}: {e}"),
            Ok(_) => panic!("cut to {cut} of {size}: it was opened as if nothing had happened"),
        }
    }
    println!("{refused} truncations refused");
    let (mut refused, mut intact) = (0, 0);
    for i in 0..200 {
        let disk = base.after_power_cut();
        disk.damage(|bytes| bytes[size * i / 200 + 7] ^= 0x55);
        match open(&disk, &Hand::default()) {
            Err(StoreError::Corrupt { .. } | StoreError::Newer { .. }) => refused += 1,
            Err(e) => panic!("byte {i}/200 changed: {e}"),
            Ok(store) => {
                let found = whole(&store);
                assert!(found + 1 >= STEPS, "byte {i}/200 changed: back at {found}");
                intact += 1;
            }
        }
    }
    println!("one byte changed: {refused} refused, {intact} whole");
}
