//! What every backend must do, as one list of checks. A check panics with what went wrong.

use crate::api::{Condition, LeaseId, OPS_MAX, Op, Store, Txn, Urgency, VALUE_MAX};
use crate::error::StoreError;
use crate::{Clock, WatchEnd};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_domain::{Millis, Mono};
use tidegate_record::BLOB_MAX;

/// A clock that stands until a check moves it.
#[derive(Debug, Clone, Default)]
pub struct Hand(Arc<AtomicU64>);
impl Hand {
    /// Moves it on.
    pub fn pass(&self, time: Millis) {
        self.0.fetch_add(time.0 * 1_000_000, Ordering::SeqCst);
    }
    /// The clock to hand in.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Arc::new(move || Mono(time.load(Ordering::SeqCst)))
    }
}

/// One check.
pub type Check = fn(&dyn Store, &Hand);

/// All checks by name. Each wants an empty store that keeps at least 16 and at most 64 revisions.
pub const CHECKS: &[(&str, Check)] = &[
    ("revisions rise only with changes", revisions),
    ("compares decide over the whole transaction", compares),
    ("ranges are ordered prefixes", ranges),
    ("limits are refused and change nothing", limits),
    ("watches see every change once, in order", watches),
    ("history that is gone is said to be gone", compaction),
    ("a slow reader is told so", lagging),
    ("keys vanish with their lease", leases),
    ("a lease lives by signs of life and is given once", lease_life),
    ("blobs are found by content", blobs),
];

#[track_caller]
fn good<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => fail(&e),
    }
}
#[track_caller]
fn fail(e: &dyn fmt::Display) -> ! {
    panic!("the store failed: {e}")
}
fn put(store: &dyn Store, key: &str, value: &str) -> u64 {
    good(store.txn(Txn::of(vec![Op::put(key, value)]))).revision
}

fn revisions(store: &dyn Store, _: &Hand) {
    assert_eq!(good(store.revision()), 0);
    assert_eq!(put(store, "a", "1"), 1);
    assert_eq!(put(store, "a", "2"), 2);
    let row = good(store.get("a"));
    let found = row.map(|r| (r.value, r.created, r.modified, r.version, r.lease));
    assert_eq!(found, Some((b"2".to_vec(), 1, 2, 2, None)));
    let nothing = good(store.txn(Txn::of(vec![Op::delete("b")])));
    assert_eq!((nothing.revision, nothing.succeeded), (2, true), "a delete of nothing is no change");
    let both = good(store.txn(Txn::of(vec![Op::delete("a"), Op::put("b", "3")])));
    assert_eq!(both.revision, 3, "one transaction, one revision");
    assert_eq!(good(store.get("a")), None);
    assert_eq!(put(store, "a", "4"), 4);
    let again = good(store.get("a")).map(|r| (r.created, r.version));
    assert_eq!(again, Some((4, 1)), "a key made again begins anew");
}

fn compares(store: &dyn Store, _: &Hand) {
    put(store, "head", "1");
    let cases = [
        (Condition::Absent, "head", false),
        (Condition::Absent, "none", true),
        (Condition::Present, "head", true),
        (Condition::Present, "none", false),
        (Condition::Modified(1), "head", true),
        (Condition::Modified(2), "head", false),
        (Condition::Modified(0), "none", false),
        (Condition::Value(b"1".to_vec()), "head", true),
        (Condition::Value(b"2".to_vec()), "head", false),
    ];
    for (condition, key, expected) in cases {
        let before = good(store.revision());
        let said = format!("{condition:?} of `{key}`");
        let outcome = good(store.txn(Txn::of(vec![]).when(key, condition)));
        assert_eq!((outcome.succeeded, outcome.revision), (expected, before), "{said}");
    }
    let lost = Txn::of(vec![Op::put("x", "1"), Op::delete("head")])
        .when("head", Condition::Present)
        .when("head", Condition::Modified(9));
    assert!(!good(store.txn(lost)).succeeded);
    assert_eq!(good(store.get("x")), None, "nothing of a lost transaction happens");
    assert!(good(store.get("head")).is_some());
}

fn ranges(store: &dyn Store, _: &Hand) {
    for key in ["b/2", "a/1", "b/10", "b", "c", "b/1", "b0"] {
        put(store, key, key);
    }
    let (revision, rows) = good(store.range("b/"));
    let keys: Vec<&str> = rows.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!((revision, keys), (7, vec!["b/1", "b/10", "b/2"]));
    assert_eq!(good(store.range("")).1.len(), 7);
    assert_eq!(good(store.range("zz")).1.len(), 0);
}

fn limits(store: &dyn Store, _: &Hand) {
    put(store, "a", "1");
    let many = (0..=OPS_MAX).map(|i| Op::put(format!("k{i}"), "")).collect();
    let cases = vec![
        Txn::of(many),
        Txn::of(vec![Op::put("k", ""), Op::delete("k")]),
        Txn::of(vec![Op::put("", "x")]),
        Txn::of(vec![Op::put("k".repeat(600), "x")]),
        Txn::of(vec![Op::put("k", vec![0; VALUE_MAX + 1])]),
    ];
    for txn in cases {
        let Err(e) = store.txn(txn.clone()) else { fail(&format!("took {} operations", txn.ops.len())) };
        assert!(matches!(e, StoreError::Invalid { .. }) && !e.retry(), "{e}");
    }
    let full: Vec<Op> = (0..OPS_MAX).map(|i| Op::put(format!("k{i}"), "")).collect();
    assert_eq!(good(store.txn(Txn::of(full))).revision, 2);
    assert!(store.put_blob(&vec![0; BLOB_MAX + 1], Urgency::Ordinary).is_err());
    let nobody = Op::Put { key: "l".into(), value: vec![], lease: Some(LeaseId(99)) };
    assert_eq!(store.txn(Txn::of(vec![Op::put("m", ""), nobody])), Err(StoreError::NoLease { lease: 99 }));
    assert_eq!(good(store.get("m")), None);
    assert_eq!(good(store.revision()), 2);
}

fn watches(store: &dyn Store, _: &Hand) {
    put(store, "p/1", "a");
    put(store, "q/1", "b");
    let mut watch = good(store.watch("p/", 1));
    good(store.txn(Txn::of(vec![Op::put("p/2", "c"), Op::put("q/2", "d"), Op::delete("p/1")])));
    put(store, "q/3", "e");
    put(store, "p/3", "f");
    let mut seen = Vec::new();
    loop {
        match watch.try_next() {
            Ok(Some(batch)) => {
                let keys: Vec<_> = batch.changes.into_iter().map(|(k, row)| (k, row.map(|r| r.modified))).collect();
                seen.push((batch.revision, keys));
            }
            Ok(None) => break,
            Err(e) => fail(&e),
        }
    }
    let expected = vec![
        (1, vec![("p/1".to_owned(), Some(1))]),
        (3, vec![("p/2".to_owned(), Some(3)), ("p/1".to_owned(), None)]),
        (5, vec![("p/3".to_owned(), Some(5))]),
    ];
    assert_eq!(seen, expected);
    let mut later = good(store.watch("", 7));
    put(store, "a", "6");
    assert_eq!(later.try_next(), Ok(None), "revision 6 is before the one asked for");
    put(store, "a", "7");
    assert_eq!(later.try_next().map(|b| b.map(|b| b.revision)), Ok(Some(7)));
}

fn compaction(store: &dyn Store, _: &Hand) {
    for i in 0..70 {
        put(store, "a", &i.to_string());
    }
    let Err(StoreError::Compacted { oldest }) = store.watch("", 1) else { fail(&"history is not bounded") };
    assert!(oldest > 1 && oldest <= 70 - 15, "oldest is {oldest}");
    let mut watch = good(store.watch("", oldest));
    for revision in oldest..=70 {
        assert_eq!(watch.try_next().map(|b| b.map(|b| b.revision)), Ok(Some(revision)));
    }
    assert_eq!(watch.try_next(), Ok(None));
    assert!(store.watch("", oldest - 1).is_err());
}

fn lagging(store: &dyn Store, _: &Hand) {
    let mut watch = good(store.watch("", 1));
    let (mut writes, mut reads) = (0_u64, 0_u64);
    // More than any backend queues.
    while writes < 1200 {
        writes += 1;
        put(store, "a", "x");
    }
    let end = loop {
        match watch.try_next() {
            Ok(Some(batch)) => {
                reads += 1;
                assert_eq!(batch.revision, reads, "no gap before the end");
            }
            Ok(None) => fail(&"the reader was not told"),
            Err(end) => break end,
        }
    };
    assert_eq!(end, WatchEnd::Lagged);
    assert!(reads < writes);
}

fn leased(key: &str, lease: LeaseId) -> Op {
    Op::Put { key: key.into(), value: vec![], lease: Some(lease) }
}

fn leases(store: &dyn Store, hand: &Hand) {
    let lease = good(store.grant(Millis(1000)));
    let other = good(store.grant(Millis(5000)));
    good(store.txn(Txn::of(vec![leased("a", lease), leased("b", lease), leased("c", other), Op::put("d", "")])));
    put(store, "b", "no longer leased");
    let mut watch = good(store.watch("", 3));
    hand.pass(Millis(999));
    assert!(good(store.get("a")).is_some());
    hand.pass(Millis(1));
    let keys: Vec<String> = good(store.range("")).1.into_iter().map(|(k, _)| k).collect();
    assert_eq!(keys, ["b", "c", "d"]);
    let seen = watch.try_next().map(|b| b.map(|b| (b.revision, b.changes)));
    assert_eq!(seen, Ok(Some((3, vec![("a".to_owned(), None)]))));
    assert_eq!(store.keep_alive(lease), Err(StoreError::NoLease { lease: lease.0 }));
    assert_eq!(good(store.revoke(other)), 4);
    assert_eq!(good(store.get("c")), None);
    assert_eq!(store.revoke(other), Err(StoreError::NoLease { lease: other.0 }));
}

fn lease_life(store: &dyn Store, hand: &Hand) {
    let lease = good(store.grant(Millis(1000)));
    good(store.txn(Txn::of(vec![leased("a", lease)]).when("a", Condition::Absent)));
    for _ in 0..5 {
        hand.pass(Millis(900));
        assert_eq!(good(store.keep_alive(lease)), Millis(1000));
    }
    assert!(good(store.get("a")).is_some());
    hand.pass(Millis(1000));
    assert_eq!(good(store.get("a")), None);
    let next = good(store.grant(Millis(1)));
    assert!(next > lease, "a lease's number is never given again");
}

fn blobs(store: &dyn Store, _: &Hand) {
    let large = vec![7; BLOB_MAX];
    let hash = good(store.put_blob(&large, Urgency::Ordinary));
    assert_eq!(good(store.put_blob(&large, Urgency::Safety)), hash);
    assert_eq!(good(store.get_blob(hash)), Some(large));
    let other = good(store.put_blob(b"other", Urgency::Ordinary));
    assert_ne!(other, hash);
    assert_eq!(good(store.remove_blobs(&[hash, hash])), 1);
    assert_eq!(good(store.get_blob(hash)), None);
    assert_eq!(good(store.get_blob(other)), Some(b"other".to_vec()));
    assert_eq!(good(store.revision()), 0, "blobs are no keys");
}
