//! The shell on real sockets: two nodes find each other, a report crosses, one leaves.

use super::world::{KEY, OTHER_KEY, name};
use crate::shell::{Clock, Handle, Ports, Snapshot, Start, StartError, spawn, start as start_shell};
use crate::{Config, DropReason, GossipOutput, KeyFile, Keyring, Node, OwnReport, Role};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_domain::TargetState;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

async fn start(i: usize, seeds: Vec<SocketAddr>) -> (SocketAddr, Handle, Receiver<GossipOutput>, JoinHandle<()>) {
    let ports = Ports::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let advertise = ports.socket.local_addr().unwrap();
    let clock = Clock::start();
    let keyring = Keyring::parse(KEY).unwrap();
    let role = if i == 0 { Role::Observer } else { Role::Prober };
    let config = Config { name: name(i), incarnation: 1_000, advertise, seeds, keyring, role, seed: [i as u8; 32] };
    let (handle, outputs, task) = spawn(Node::new(config, clock.now()), ports, clock, None);
    (advertise, handle, outputs, task)
}

async fn next(outputs: &mut Receiver<GossipOutput>) -> GossipOutput {
    tokio::time::timeout(Duration::from_secs(10), outputs.recv()).await.expect("in time").expect("the node lives")
}

#[tokio::test]
async fn two_nodes_meet_report_and_part() {
    let (observer_addr, observer, mut outputs, observer_task) = start(0, vec![]).await;
    let (_, prober, _prober_outputs, prober_task) = start(1, vec![observer_addr]).await;
    assert_eq!(next(&mut outputs).await, GossipOutput::MemberUp(name(1)));
    let report = OwnReport { revision_short: 9, states: vec![TargetState::Failing], ..OwnReport::default() };
    prober.publish_report(report);
    let GossipOutput::Report(heard) = next(&mut outputs).await else { panic!("a report") };
    assert_eq!((heard.vantage, heard.states), (name(1), vec![TargetState::Failing]));
    prober.leave().await;
    prober_task.await.unwrap();
    loop {
        match next(&mut outputs).await {
            GossipOutput::MemberDown(who) => break assert_eq!(who, name(1)),
            GossipOutput::Report(_) | GossipOutput::MemberUp(_) => {}
        }
    }
    observer.leave().await;
    observer_task.await.unwrap();
}

#[tokio::test]
async fn a_connection_to_the_gossip_port_is_taken_and_closed() {
    let (address, node, _outputs, task) = start(0, vec![]).await;
    // More than are taken in one go: the rest waits its turn.
    for _ in 0..100 {
        let connected = tokio::time::timeout(Duration::from_secs(10), async {
            let mut stream = TcpStream::connect(address).await.expect("taken");
            stream.read(&mut [0; 8]).await
        });
        assert!(matches!(connected.await.expect("closed in time"), Ok(0) | Err(_)));
    }
    node.leave().await;
    task.await.unwrap();
}

#[tokio::test]
async fn a_port_taken_for_connections_still_carries_datagrams() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = Ports::bind(taken.local_addr().unwrap()).await.unwrap();
    assert!(!ports.takes_connections());
    assert!(Ports::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap().takes_connections());
}

fn write_keys(path: &std::path::Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

async fn until(snapshot: &mut watch::Receiver<Snapshot>, what: &str, holds: impl Fn(&Snapshot) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), snapshot.wait_for(|s| holds(s))).await;
    let held = matches!(waited, Ok(Ok(_)));
    drop(waited);
    assert!(held, "{what}: {:?}", snapshot.borrow().counters);
}

#[tokio::test]
async fn a_changed_keyring_file_is_taken_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gossip.key");
    write_keys(&path, KEY, 0o600);
    let join = |i: usize, seeds| Start {
        name: name(i),
        incarnation: 1_000,
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        seeds,
        keys: KeyFile::open(&path).unwrap(),
        role: Role::Prober,
    };
    let one = start_shell(join(0, vec![]), Clock::start()).await.unwrap();
    let two = start_shell(join(1, vec![one.advertise]), Clock::start()).await.unwrap();
    let mut seen = [one.handle.snapshot(), two.handle.snapshot()];
    for snapshot in &mut seen {
        until(snapshot, "they meet", |s| s.members.len() == 1).await;
    }
    write_keys(&path, &format!("{OTHER_KEY}\n{KEY}\n"), 0o644);
    for snapshot in &mut seen {
        until(snapshot, "a wrong mode", |s| s.counters.keyrings_refused == 1).await;
    }
    write_keys(&path, "# nothing\n", 0o600);
    for snapshot in &mut seen {
        until(snapshot, "no key", |s| s.counters.keyrings_refused == 2).await;
    }
    write_keys(&path, &format!("{OTHER_KEY}\n{KEY}\n"), 0o600);
    for snapshot in &mut seen {
        until(snapshot, "the new keys", |s| s.counters.keyrings_taken == 1).await;
        let received = snapshot.borrow().counters.received;
        until(snapshot, "traffic goes on", |s| s.counters.received > received + 5).await;
        assert_eq!(snapshot.borrow().counters.dropped(DropReason::UnknownKey), 0);
        assert_eq!(snapshot.borrow().members.len(), 1);
    }
    for running in [one, two] {
        running.handle.leave().await;
        running.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_start_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gossip.key");
    write_keys(&path, KEY, 0o600);
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let with = |bind: SocketAddr| Start {
        name: name(0),
        incarnation: 1,
        bind,
        advertise: None,
        seeds: vec![],
        keys: KeyFile::open(&path).unwrap(),
        role: Role::Observer,
    };
    let refused = start_shell(with(taken.local_addr().unwrap()), Clock::start()).await;
    assert!(matches!(refused, Err(StartError::Bind { .. })));
    let refused = start_shell(with(SocketAddr::from(([0, 0, 0, 0], 0))), Clock::start()).await;
    assert!(matches!(refused, Err(StartError::Unreachable { .. })));
}
