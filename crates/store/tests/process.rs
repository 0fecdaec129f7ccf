//! Real files and real processes: killed at any time, two at once, files cut short or gone.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tidegate_store::conformance::Hand;
use tidegate_store::{BlobHash, Embedded, Op, Options, Store, StoreError, Txn, Urgency};

const KILLS: u64 = 100;
const CHILD: &str = "TIDEGATE_STORE_TEST_CHILD";

fn open(dir: &Path) -> Result<Embedded, StoreError> {
    let options = Options { reserve_bytes: 64 * 1024, history_revisions: 64, ..Options::default() };
    Embedded::open(dir, options, Hand::default().clock())
}

/// What the child does until it is killed: every step is one transaction over two keys and a body before it. It prints
/// a step when it was acknowledged.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&dir)).unwrap();
    let mut out = std::io::stdout();
    for step in store.revision().unwrap() + 1.. {
        store.put_blob(&step.to_be_bytes(), Urgency::Ordinary).unwrap();
        let value = step.to_be_bytes();
        let txn = Txn::of(vec![
            Op::put("left", value),
            Op::put(format!("log/{}", step % 50), value),
            Op::put("right", value),
        ]);
        assert_eq!(store.txn(txn).unwrap().revision, step);
        // The test's own frame prints lines too: mark ours.
        writeln!(out, "\nacknowledged {step}").unwrap();
        out.flush().unwrap();
    }
}

/// Lets a child work until `acks` steps were acknowledged and a little longer, kills it, and returns its last step.
fn run_and_kill(dir: &Path, acks: u64, spin: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let step = |line: String| line.strip_prefix("acknowledged ").and_then(|s| s.parse::<u64>().ok());
    let mut last = 0;
    let mut left = acks;
    while left > 0 {
        let Some(line) = lines.next() else { break };
        if let Some(step) = step(line) {
            (last, left) = (step, left - 1);
        }
    }
    (0..spin).for_each(|_| std::hint::spin_loop());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    // What the pipe still holds was acknowledged as well.
    last = lines.filter_map(step).last().unwrap_or(last);
    assert!(!child.wait().unwrap().success());
    last
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut seed, mut acknowledged, mut beyond) = (0x9e37_79b9_u64, 0, 0);
    for round in 0..KILLS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let seen = run_and_kill(dir.path(), (seed >> 33) % 8, (seed >> 40) % 400_000);
        acknowledged = seen.max(acknowledged);
        let store = open(dir.path()).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let revision = store.revision().unwrap();
        assert!((acknowledged..=acknowledged + 1).contains(&revision), "round {round}: {revision}, had {acknowledged}");
        beyond += revision - acknowledged;
        acknowledged = revision;
        if revision > 0 {
            let value = revision.to_be_bytes().to_vec();
            for key in ["left", "right", &format!("log/{}", revision % 50)] {
                assert_eq!(store.get(key).unwrap().unwrap().value, value, "round {round}: {key}");
            }
            assert!(store.get_blob(BlobHash::of(&value)).unwrap().is_some());
        }
    }
    println!("{KILLS} kills, {acknowledged} steps, {beyond} of them on disk before they were acknowledged");
    assert!(acknowledged > 0);
}

#[test]
fn two_servers_cannot_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let Err(StoreError::Locked { file, by }) = open(dir.path()) else { panic!("opened twice") };
    assert!(file.ends_with("lock"));
    assert_eq!(by, format!("process {}", std::process::id()));
    first.txn(Txn::of(vec![Op::put("a", "1")])).unwrap();
    drop(first);
    assert_eq!(open(dir.path()).unwrap().revision().unwrap(), 1);
}

#[test]
fn a_file_cut_short_empty_or_gone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.txn(Txn::of(vec![Op::put("a", vec![7; 60_000])])).unwrap();
    drop(store);
    let path = dir.path().join("store.redb");
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 1, 511, 4096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let Err(e) = open(dir.path()) else { panic!("opened a file cut to {cut}") };
        let StoreError::Corrupt { file, .. } = &e else { panic!("cut to {cut}: {e}") };
        assert!(file.ends_with("store.redb") && !e.retry());
        assert_eq!(std::fs::read(&path).unwrap().len(), cut, "a refused file is left as it was");
        println!("cut to {cut}: {e}");
    }
    std::fs::write(&path, b"this is no database, but someone's notes").unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Corrupt { .. })));
    std::fs::remove_file(&path).unwrap();
    let Err(e) = open(dir.path()) else { panic!("made a new store where one was lost") };
    println!("gone: {e}");
    assert!(matches!(e, StoreError::Corrupt { .. }));
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(open(dir.path()).unwrap().revision().unwrap(), 1);
}
