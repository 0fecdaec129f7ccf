//! The shell on real sockets: two nodes find each other, a report crosses, one leaves.

use super::world::{KEY, name};
use crate::shell::{Clock, Handle, spawn};
use crate::{Config, GossipOutput, Keyring, Node, OwnReport, Role};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_domain::TargetState;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

async fn start(i: usize, seeds: Vec<SocketAddr>) -> (SocketAddr, Handle, Receiver<GossipOutput>, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let advertise = socket.local_addr().unwrap();
    let clock = Clock::start();
    let keyring = Keyring::parse(KEY).unwrap();
    let role = if i == 0 { Role::Observer } else { Role::Prober };
    let config = Config { name: name(i), incarnation: 1_000, advertise, seeds, keyring, role, seed: [i as u8; 32] };
    let (handle, outputs, task) = spawn(Node::new(config, clock.now()), socket, clock);
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
