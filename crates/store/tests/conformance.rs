//! Every backend against the one list of checks, and against each other on arbitrary histories.

use proptest::prelude::*;
use std::sync::Arc;
use tidegate_domain::Millis;
use tidegate_store::conformance::{CHECKS, Hand};
use tidegate_store::{Condition, Embedded, LeaseId, Memory, Op, Options, Store, Txn, Urgency, off_runtime};

fn options() -> Options {
    Options { reserve_bytes: 4096, history_revisions: 32, ..Options::default() }
}

#[test]
fn memory_conforms() {
    for (name, check) in CHECKS {
        println!("{name}");
        let hand = Hand::default();
        check(&Memory::new(hand.clock(), 32), &hand);
    }
}

#[test]
fn embedded_conforms() {
    for (name, check) in CHECKS {
        println!("{name}");
        let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
        check(&Embedded::open(dir.path(), options(), hand.clock()).unwrap(), &hand);
    }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
    let store = Embedded::open(dir.path(), options(), hand.clock()).unwrap();
    let lease = store.grant(Millis(1000)).unwrap();
    let op = Op::Put { key: "l".into(), value: b"x".to_vec(), lease: Some(lease) };
    store.txn(Txn::of(vec![op, Op::put("a", "1")])).unwrap();
    let blob = store.put_blob(b"body", Urgency::Ordinary).unwrap();
    hand.pass(Millis(900));
    drop(store);
    let store = Embedded::open(dir.path(), options(), hand.clock()).unwrap();
    assert_eq!(store.revision().unwrap(), 1);
    assert_eq!(store.get_blob(blob).unwrap(), Some(b"body".to_vec()));
    assert_eq!(store.watch("", 1).unwrap().try_next().unwrap().unwrap().changes.len(), 2, "history outlives a restart");
    hand.pass(Millis(999));
    assert!(store.get("l").unwrap().is_some(), "a wait starts again in full");
    hand.pass(Millis(1));
    assert!(store.get("l").unwrap().is_none());
    assert!(store.get("a").unwrap().is_some());
}

#[test]
fn leases_end_without_anyone_asking() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
    let store = Embedded::open(dir.path(), options(), hand.clock()).unwrap();
    let lease = store.grant(Millis(1000)).unwrap();
    store.txn(Txn::of(vec![Op::Put { key: "l".into(), value: vec![], lease: Some(lease) }])).unwrap();
    let mut watch = store.watch("", 2).unwrap();
    hand.pass(Millis(1000));
    assert_eq!(watch.blocking_next().unwrap().changes, [("l".to_owned(), None)]);
}

#[test]
fn async_code_goes_around_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store: Arc<dyn Store> = Arc::new(Memory::new(Hand::default().clock(), 8));
    let done = runtime.block_on(off_runtime(Arc::clone(&store), |s| s.txn(Txn::of(vec![Op::put("a", "1")]))));
    assert_eq!(done.unwrap().revision, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Txn(Txn),
    Grant(u64),
    KeepAlive(u64),
    Revoke(u64),
    Pass(u64),
    Range(String),
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop::sample::select(vec!["a", "a/1", "a/2", "b", "b/1"]);
    let op = (key.clone(), prop::option::weighted(0.7, (0_u8..4, prop::option::weighted(0.3, 1_u64..4)))).prop_map(
        |(key, put)| match put {
            None => Op::delete(key),
            Some((value, lease)) => Op::Put { key: key.into(), value: vec![value], lease: lease.map(LeaseId) },
        },
    );
    let condition = prop_oneof![
        Just(Condition::Absent),
        Just(Condition::Present),
        (0_u64..20).prop_map(Condition::Modified),
        (0_u8..4).prop_map(|v| Condition::Value(vec![v])),
    ];
    let txn = (prop::collection::vec(op, 0..4), prop::option::weighted(0.3, (key.clone(), condition)));
    prop_oneof![
        6 => txn.prop_map(|(ops, when)| match when {
            None => Step::Txn(Txn::of(ops)),
            Some((key, condition)) => Step::Txn(Txn::of(ops).when(key, condition)),
        }),
        1 => (100_u64..2000).prop_map(Step::Grant),
        1 => (1_u64..4).prop_map(Step::KeepAlive),
        1 => (1_u64..4).prop_map(Step::Revoke),
        1 => (1_u64..900).prop_map(Step::Pass),
        1 => key.prop_map(|k| Step::Range(k.into())),
    ]
}

/// What a caller sees of one step.
fn take(store: &dyn Store, step: &Step) -> String {
    match step {
        Step::Txn(txn) => format!("{:?}", store.txn(txn.clone())),
        Step::Grant(ttl) => format!("{:?}", store.grant(Millis(*ttl))),
        Step::KeepAlive(lease) => format!("{:?}", store.keep_alive(LeaseId(*lease))),
        Step::Revoke(lease) => format!("{:?}", store.revoke(LeaseId(*lease))),
        Step::Pass(_) => format!("{:?}", store.revision()),
        Step::Range(prefix) => format!("{:?}", store.range(prefix)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn embedded_and_the_model_cannot_be_told_apart(steps in prop::collection::vec(step(), 1..40)) {
        let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
        let model = Memory::new(hand.clock(), 8);
        let options = Options { history_revisions: 8, ..options() };
        let store = Embedded::open(dir.path(), options, hand.clock()).unwrap();
        for step in &steps {
            if let Step::Pass(time) = step {
                hand.pass(Millis(*time));
            }
            prop_assert_eq!(take(&store, step), take(&model, step));
        }
        for from in 1..50 {
            let drain = |s: &dyn Store| match s.watch("", from) {
                Err(e) => vec![format!("{e}")],
                Ok(mut w) => std::iter::from_fn(|| w.try_next().unwrap()).map(|b| format!("{b:?}")).collect(),
            };
            prop_assert_eq!(drain(&store), drain(&model));
        }
    }
}
