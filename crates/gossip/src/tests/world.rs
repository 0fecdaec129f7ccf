//! Nodes on a simulated network: seeded loss and delay, no real time.

use crate::{Config, Effect, Event, GossipOutput, Keyring, Node, OwnReport, Role};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tidegate_domain::{Millis, Mono, Name};

pub(crate) const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub(crate) const OTHER_KEY: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub(crate) const START_MS: u64 = 1_790_000_000_000;

pub(crate) fn addr(i: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1000 + i as u16))
}
/// Whose address it is; nobody's is beyond all nodes.
fn place(addr: SocketAddr) -> usize {
    usize::from(addr.port()).wrapping_sub(1000)
}
pub(crate) fn name(i: usize) -> Name {
    Name::new(&format!("v{i}")).unwrap()
}

pub(crate) fn node(i: usize, incarnation: u64, seed: u64, now: Mono) -> Node {
    node_as(Role::Prober, i, incarnation, seed, now)
}

pub(crate) fn node_as(role: Role, i: usize, incarnation: u64, seed: u64, now: Mono) -> Node {
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&(i as u64).to_be_bytes());
    bytes[16..24].copy_from_slice(&incarnation.to_be_bytes());
    let config = Config {
        name: name(i),
        incarnation,
        advertise: addr(i),
        seeds: vec![addr(0), addr(1)],
        keyring: Keyring::parse(KEY).unwrap(),
        role,
        seed: bytes,
    };
    Node::new(config, now)
}

/// What is on its way to a node.
pub(crate) enum Parcel {
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Answer { number: u64, reached: bool },
}
impl Parcel {
    fn event(&self) -> Event<'_> {
        match self {
            Self::Datagram { from, bytes } => Event::Datagram { from: *from, bytes },
            Self::Answer { number, reached } => Event::Confirmed { number: *number, reached: *reached },
        }
    }
}

pub(crate) struct World {
    pub(crate) now: Mono,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) outputs: Vec<(Mono, usize, GossipOutput)>,
    /// Whether a datagram from .0 to .1 is cut off.
    pub(crate) cut: Box<dyn Fn(usize, usize) -> bool>,
    /// Whether TCP alone gets through where `cut` cuts.
    pub(crate) tcp_passes: bool,
    /// How late every datagram and answer is; none is 0.2 to 2 ms.
    pub(crate) one_way: Option<Millis>,
    /// The first so many are servers.
    servers: usize,
    paused: Option<usize>,
    held: Vec<Parcel>,
    wire: BTreeMap<(Mono, u64), (usize, Parcel)>,
    sent: u64,
    /// Deadlines that came.
    pub(crate) ticks: u64,
    seed: u64,
    loss: u32,
    rng: StdRng,
}

impl World {
    pub(crate) fn new(n: usize, loss_percent: u32, seed: u64) -> Self {
        let now = Mono(1_000_000_000);
        let nodes = (0..n).map(|i| Some(node(i, START_MS, seed, now))).collect();
        let rng = StdRng::seed_from_u64(seed);
        let wire = BTreeMap::new();
        let cut = Box::new(|_, _| false);
        let (outputs, paused, held) = (Vec::new(), None, Vec::new());
        let (loss, servers, tcp_passes, one_way) = (loss_percent, 0, false, None);
        Self {
            now,
            nodes,
            outputs,
            cut,
            tcp_passes,
            one_way,
            servers,
            paused,
            held,
            wire,
            sent: 0,
            ticks: 0,
            seed,
            loss,
            rng,
        }
    }

    /// The same, the first `servers` of them servers.
    pub(crate) fn with_servers(n: usize, servers: usize, loss_percent: u32, seed: u64) -> Self {
        let mut world = Self::new(n, loss_percent, seed);
        world.servers = servers;
        for i in 0..servers {
            world.nodes[i] = Some(node_as(Role::Observer, i, START_MS, seed, world.now));
        }
        world
    }

    pub(crate) fn restart(&mut self, i: usize) {
        let role = if i < self.servers { Role::Observer } else { Role::Prober };
        self.nodes[i] = Some(node_as(role, i, START_MS + self.now.0 / 1_000_000, self.seed, self.now));
    }

    pub(crate) fn event(&mut self, i: usize, event: Event<'_>) {
        if self.paused == Some(i) {
            match event {
                Event::Datagram { from, bytes } => self.held.push(Parcel::Datagram { from, bytes: bytes.to_vec() }),
                Event::Confirmed { number, reached } => self.held.push(Parcel::Answer { number, reached }),
                Event::Tick | Event::Publish(_) | Event::Seeds(_) | Event::Keyring(_) | Event::Leave => {}
            }
            return;
        }
        let Some(node) = self.nodes.get_mut(i).and_then(Option::as_mut) else { return };
        for effect in node.handle(event, self.now) {
            match effect {
                Effect::Output(output) => self.outputs.push((self.now, i, output)),
                Effect::Send { to, bytes } => {
                    assert!(bytes.len() <= crate::MAX_DATAGRAM);
                    let to = place(to);
                    if !self.lost(i, to) {
                        self.carry(to, Parcel::Datagram { from: addr(i), bytes });
                    }
                }
                Effect::Confirm { to, number } => {
                    let to = place(to);
                    self.connect(i, to, number);
                }
            }
        }
    }

    fn lost(&mut self, from: usize, to: usize) -> bool {
        self.rng.random_range(0..100) < self.loss || (self.cut)(from, to)
    }

    fn carry(&mut self, to: usize, parcel: Parcel) {
        let near = self.rng.random_range(200_000..2_000_000);
        let delay = self.one_way.map_or(near, |ms| ms.0 * 1_000_000);
        self.sent += 1;
        self.wire.insert((Mono(self.now.0 + delay), self.sent), (to, parcel));
    }

    /// A TCP connection: a lost segment would be sent again after the question's time, so it is no answer. Of dead
    /// members the even ones refuse (the process died), the odd ones are silent (the machine did). A process that
    /// stands still is reached: its system takes the connection.
    fn connect(&mut self, from: usize, to: usize, number: u64) {
        let lost = self.lost(from, to) || self.lost(to, from);
        let reached = self.nodes.get(to).is_some_and(Option::is_some);
        if (reached || to.is_multiple_of(2)) && (self.tcp_passes || !lost) {
            self.carry(from, Parcel::Answer { number, reached });
        }
    }

    pub(crate) fn publish(&mut self, i: usize, report: &OwnReport) {
        self.event(i, Event::Publish(report.clone()));
    }

    /// Runs to `until`, every event in its order.
    pub(crate) fn run_until(&mut self, until: Mono) {
        loop {
            let node = self.nodes.iter().enumerate();
            let node = node.filter(|(i, _)| self.paused != Some(*i));
            let node = node.filter_map(|(i, n)| Some((n.as_ref()?.next_deadline()?, i))).min();
            let wire = self.wire.keys().next().map(|key| key.0);
            let Some(next) = node.map(|n| n.0).into_iter().chain(wire).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            if wire == Some(next) {
                if let Some((_, (to, parcel))) = self.wire.pop_first() {
                    self.event(to, parcel.event());
                }
            } else if let Some((_, i)) = node {
                self.ticks += 1;
                self.event(i, Event::Tick);
            }
        }
        self.now = until;
    }

    pub(crate) fn run(&mut self, ms: u64) {
        self.run_until(self.now + Millis(ms));
    }

    /// Node `i` stands still for `ms`, like a stopped process: its datagrams wait in its socket.
    pub(crate) fn pause(&mut self, i: usize, ms: u64) {
        self.paused = Some(i);
        self.run(ms);
        self.paused = None;
        for parcel in std::mem::take(&mut self.held) {
            self.event(i, parcel.event());
        }
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(i, n)| Some((i, n.as_ref()?)))
    }

    /// Whether every live node has all other live ones as members.
    pub(crate) fn whole(&self) -> bool {
        let live = self.live().count();
        self.live().all(|(_, node)| node.members().len() + 1 == live)
    }

    pub(crate) fn run_until_whole(&mut self, within_ms: u64) -> u64 {
        let start = self.now;
        while !self.whole() {
            assert!(self.now.since(start).0 < within_ms, "not whole within {within_ms} ms (seed {})", self.seed);
            self.run(50);
        }
        self.now.since(start).0
    }

    pub(crate) fn downs(&self) -> Vec<(Mono, usize, Name)> {
        let down = |(at, i, output): &(Mono, usize, GossipOutput)| match output {
            GossipOutput::MemberDown(name) => Some((*at, *i, name.clone())),
            GossipOutput::MemberUp(_) | GossipOutput::Report(_) => None,
        };
        self.outputs.iter().filter_map(down).collect()
    }
}
