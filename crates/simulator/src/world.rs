//! A cell in virtual time: probers, a server, edges that acknowledge, backends, and one queue of events.
//!
//! Owns time and who is told what when. Every process runs the code that ships: the gossip machine, the prober's schedule
//! and judge, the controller with the kernel inside. Refuses real time and real chance: all randomness is the seed's.

use crate::bytes::Bytes;
use crate::edges::Edges;
use crate::faults::{self, Backend, Planned, Whom};
use crate::network::{Network, exponential};
use crate::prober;
use crate::scenario::{How, Scenario, Stalls, What};
use crate::server::{Server, Trouble};
use crate::trace::Trace;
use crate::units::{MILLI, Nanos, SECOND};
use crate::watch::Watch;
use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_controller::{Candidate, Effect, Input, Now, ReportIn};
use tidegate_domain::{EndpointIx, Fleet, Mono, Name, RegionIx, VantageIx, Wall};
use tidegate_gossip::{Config, Effect as Gossip, Event, GossipOutput, Keyring, Node, Role};
use tidegate_prober::{Effect as Want, Ended, Event as Seen, Prober};

/// 2023-11-14; every run begins then.
const START_MS: i64 = 1_700_000_000_000;
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// What one process's socket holds while the process stands still.
const SOCKET_MAX: usize = 400;
const WRITE: Nanos = 8 * MILLI;
/// How often it is looked whether everybody has everybody again.
const MET_EVERY: Nanos = 50 * MILLI;
/// From a publication to the last edge's word.
const ACK: Nanos = 40 * MILLI;

/// What happens next.
#[derive(Debug)]
pub(crate) enum Next {
    Wake,
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Seen(Box<Seen>),
    Confirmed { number: u64, reached: bool },
    Fed(Box<Input>),
}

#[derive(Debug)]
enum Due {
    /// To a process, for the life that it had when this was sent.
    To {
        process: usize,
        life: u64,
        next: Next,
    },
    Begin(usize),
    End(usize),
    Stall(usize),
    Resume(usize),
    Second,
    /// Whether everybody has everybody again.
    Met,
}

struct Entry {
    at: Nanos,
    order: u64,
    due: Due,
}
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One process: a prober, or the server.
pub(crate) struct Process {
    pub(crate) node: Option<Node>,
    prober: Option<Prober>,
    address: SocketAddr,
    life: u64,
    /// Its monotonic clock began so long before the run.
    base: Nanos,
    wall_step: i64,
    /// So many reasons to stand still.
    pub(crate) paused: u32,
    held: Vec<Next>,
    wake_at: Option<Nanos>,
}

pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) processes: Vec<Process>,
    pub(crate) server: Server,
    pub(crate) network: Network,
    pub(crate) faults: Vec<Planned>,
    pub(crate) trace: Trace,
    pub(crate) watch: Watch,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    by_address: BTreeMap<SocketAddr, usize>,
    stalls: Option<Stalls>,
    /// Stalls that came.
    pub(crate) stalled: u64,
    pub(crate) bytes: Bytes,
    pub(crate) edges: Edges,
    /// The number of the server's process; there is none where only gossip runs.
    server_at: usize,
    pub(crate) rng: StdRng,
    seed: u64,
}

impl World {
    pub(crate) fn new(scenario: &Scenario, candidate: Candidate, seed: u64, dense: bool) -> Result<Self> {
        let fleet = Arc::clone(&candidate.fleet);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut places: Vec<RegionIx> = fleet.vantages.iter().map(|v| v.region).collect();
        let server = server_place(scenario, &fleet)?;
        let whole = !scenario.spec.gossip_only;
        places.extend(whole.then_some(server));
        let addresses: Result<Vec<SocketAddr>> = fleet
            .vantages
            .iter()
            .map(|v| v.gossip.parse().with_context(|| format!("vantage `{}`: gossip", v.name)))
            .collect();
        let mut addresses = addresses?;
        addresses.extend(whole.then(|| SocketAddr::from(([10, 255, 0, 1], 8402))));
        let network = Network::new(&scenario.spec.network, &fleet, places, &scenario.folder, seed ^ 0x006e_6574)?;
        let faults = faults::plan(scenario, &fleet, server, &mut rng)?;
        let process = |address: &SocketAddr| Process {
            node: None,
            prober: None,
            address: *address,
            life: 0,
            base: 0,
            wall_step: 0,
            paused: 0,
            held: Vec::new(),
            wake_at: None,
        };
        let mut world = Self {
            now: 0,
            watch: Watch::new(scenario, &fleet, &faults),
            processes: addresses.iter().map(process).collect(),
            by_address: addresses.iter().enumerate().map(|(i, a)| (*a, i)).collect(),
            server: Server::new(candidate),
            network,
            trace: Trace::new(dense),
            queue: BinaryHeap::new(),
            order: 0,
            stalls: scenario.spec.stalls.clone(),
            stalled: 0,
            bytes: Bytes::new(addresses.len(), &faults),
            edges: Edges::new(&fleet, whole),
            server_at: fleet.vantages.len(),
            faults,
            rng,
            seed,
            fleet,
        };
        world.begin()?;
        Ok(world)
    }

    fn begin(&mut self) -> Result<()> {
        for process in 0..self.processes.len() {
            self.processes[process].base = self.rng.random_range(SECOND..1_000_000 * SECOND);
            self.start(process)?;
            self.next_stall(process);
        }
        for (i, (begins, ends)) in
            self.faults.iter().map(|f| (f.begins, f.ends)).collect::<Vec<_>>().into_iter().enumerate()
        {
            self.push(begins, Due::Begin(i));
            if ends > begins {
                self.push(ends, Due::End(i));
            }
        }
        self.push(SECOND, Due::Second);
        Ok(())
    }

    fn push(&mut self, at: Nanos, due: Due) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.now), order: self.order, due }));
    }

    pub(crate) fn send(&mut self, after: Nanos, process: usize, next: Next) {
        let life = self.processes[process].life;
        self.push(self.now + after, Due::To { process, life, next });
    }

    pub(crate) fn server_at(&self) -> usize {
        self.server_at
    }

    /// Counts the starts of a process.
    pub(crate) fn life(&self, process: usize) -> u64 {
        self.processes.get(process).map_or(0, |p| p.life)
    }

    pub(crate) fn mono(&self, process: usize) -> Mono {
        Mono(self.processes[process].base + self.now)
    }

    fn wall(&self, process: usize) -> Wall {
        let ms = i64::try_from(self.now / MILLI).unwrap_or(i64::MAX);
        Wall(START_MS + ms + self.processes[process].wall_step)
    }

    pub(crate) fn server_now(&self) -> Now {
        let server = self.server_at();
        Now { mono: self.mono(server), wall: self.wall(server) }
    }

    /// A process begins a life.
    fn start(&mut self, process: usize) -> Result<()> {
        let (now, wall) = (self.mono(process), self.wall(process));
        let is_server = process == self.server_at();
        let name = match self.fleet.vantages.get(process) {
            Some(vantage) => vantage.name.clone(),
            None => Name::new("server-1")?,
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8..16].copy_from_slice(&(process as u64).to_be_bytes());
        seed[16..24].copy_from_slice(&self.processes[process].life.to_be_bytes());
        let config = Config {
            name,
            incarnation: u64::try_from(wall.0).unwrap_or(0),
            advertise: self.processes[process].address,
            seeds: self.processes.iter().map(|p| p.address).collect(),
            keyring: Keyring::parse(KEY)?,
            role: if is_server { Role::Observer } else { Role::Prober },
            seed,
        };
        let fleet = Arc::clone(&self.fleet);
        let whole = self.processes.len() > self.server_at;
        let of = &mut self.processes[process];
        of.node = Some(Node::new(config, now));
        of.life += 1;
        of.wake_at = None;
        if is_server {
            let loaded = self.server.start()?;
            self.feed(loaded)?;
        } else if whole {
            of.prober = Some(prober::begun(&fleet, VantageIx::from(process), now)?);
        }
        self.rewake(process);
        Ok(())
    }

    fn kill(&mut self, process: usize) {
        let of = &mut self.processes[process];
        (of.node, of.prober, of.wake_at) = (None, None, None);
        of.life += 1;
        of.held.clear();
    }

    fn next_stall(&mut self, process: usize) {
        if let Some(every) = self.stalls.as_ref().map(|s| s.every.0) {
            let after = exponential(&mut self.rng, every as f64);
            self.push(self.now + after, Due::Stall(process));
        }
    }

    /// Runs to the end of the scenario.
    pub(crate) fn run_until(&mut self, end: Nanos) -> Result<()> {
        while let Some(Reverse(Entry { at, .. })) = self.queue.peek() {
            if *at > end {
                break;
            }
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = self.now.max(entry.at);
            self.happen(entry.due)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, due: Due) -> Result<()> {
        match due {
            Due::To { process, life, next } => {
                if self.processes[process].life != life || self.processes[process].node.is_none() {
                    return Ok(());
                }
                if self.processes[process].paused > 0 {
                    let of = &mut self.processes[process];
                    if !matches!(next, Next::Wake) && of.held.len() < SOCKET_MAX {
                        of.held.push(next);
                    }
                    return Ok(());
                }
                self.deliver(process, next)
            }
            Due::Begin(i) => self.turn_fault(i, true),
            Due::End(i) => self.turn_fault(i, false),
            Due::Stall(process) => {
                self.next_stall(process);
                let Some(span) = self.stalls.as_ref().map(|s| s.lasts) else { return Ok(()) };
                let lasts = self.rng.random_range(span.from..=span.to);
                self.stalled += u64::from(self.processes[process].node.is_some());
                self.processes[process].paused += 1;
                self.push(self.now + lasts, Due::Resume(process));
                Ok(())
            }
            Due::Resume(process) => self.resume(process),
            Due::Second => {
                self.push(self.now + SECOND, Due::Second);
                self.bytes.turn(self.now);
                self.traffic();
                self.second();
                Ok(())
            }
            Due::Met => {
                self.meet();
                Ok(())
            }
        }
    }

    /// Whether every member that runs has every other, since the last split was healed.
    fn meet(&mut self) {
        let Some((_, met @ None)) = self.watch.heals.last_mut() else { return };
        let running: Vec<&Process> = self.processes.iter().filter(|p| p.node.is_some()).collect();
        let all = running.iter().filter_map(|p| p.node.as_ref()).all(|n| n.members().len() + 1 == running.len());
        if all {
            *met = Some(self.now);
        } else {
            self.push(self.now + MET_EVERY, Due::Met);
        }
    }

    /// The process goes on: its loop turns first, then what waited in its sockets comes.
    fn resume(&mut self, process: usize) -> Result<()> {
        let of = &mut self.processes[process];
        of.paused = of.paused.saturating_sub(1);
        if of.paused > 0 || of.node.is_none() {
            return Ok(());
        }
        let held = std::mem::take(&mut of.held);
        self.deliver(process, Next::Wake)?;
        for next in held {
            self.deliver(process, next)?;
        }
        Ok(())
    }

    fn deliver(&mut self, process: usize, next: Next) -> Result<()> {
        match next {
            Next::Wake => {
                self.trace.event(self.now, "wake", process, &[]);
                self.gossip(process, Event::Tick)?;
                self.look(process, Seen::Tick)?;
                if process == self.server_at()
                    && self.server.controller.next_deadline().is_some_and(|d| d <= self.mono(process))
                {
                    self.feed(Input::Tick)?;
                }
            }
            Next::Datagram { from, bytes } => {
                self.trace.event(self.now, "datagram", process, &bytes);
                self.gossip(process, Event::Datagram { from, bytes: &bytes })?;
            }
            Next::Confirmed { number, reached } => self.gossip(process, Event::Confirmed { number, reached })?,
            Next::Seen(seen) => {
                if let Seen::Probed { target, ended, .. } = &*seen {
                    self.trace.event(self.now, ended.as_str(), process, &target.to_be_bytes());
                }
                self.look(process, *seen)?;
                // What is ready was fed; the machine tells at a tick.
                self.look(process, Seen::Tick)?;
            }
            Next::Fed(input) => self.feed(*input)?,
        }
        self.rewake(process);
        Ok(())
    }

    /// Sees to it that the process is woken at its next deadline.
    fn rewake(&mut self, process: usize) {
        let of = &self.processes[process];
        let Some(node) = &of.node else { return };
        let own = match &of.prober {
            Some(prober) => prober.next_deadline(),
            None if process == self.server_at => self.server.controller.next_deadline(),
            None => None,
        };
        let Some(next) = node.next_deadline().into_iter().chain(own).min() else { return };
        let at = next.0.saturating_sub(of.base).max(self.now + 1);
        if of.wake_at.is_none_or(|w| w > at || w <= self.now) {
            self.processes[process].wake_at = Some(at);
            self.send(at - self.now, process, Next::Wake);
        }
    }

    fn gossip(&mut self, process: usize, event: Event<'_>) -> Result<()> {
        let now = self.mono(process);
        let Some(node) = self.processes[process].node.as_mut() else { return Ok(()) };
        for effect in node.handle(event, now) {
            match effect {
                Gossip::Send { to, bytes } => {
                    self.bytes.sent(process, bytes.len());
                    let Some(to) = self.by_address.get(&to).copied() else { continue };
                    for after in self.network.datagram(process, to, self.now) {
                        let from = self.processes[process].address;
                        self.send(after, to, Next::Datagram { from, bytes: bytes.clone() });
                    }
                }
                Gossip::Confirm { to, number } => self.confirm(process, to, number),
                Gossip::Output(GossipOutput::Report(report)) if process == self.server_at() => {
                    let (report, fleet) = (taken(report), Arc::clone(&self.fleet));
                    self.watch.reported(&fleet, &report, now, self.now);
                    self.feed(Input::Report(report))?;
                }
                Gossip::Output(GossipOutput::MemberDown(name)) => self.member(process, &name, false),
                Gossip::Output(GossipOutput::MemberUp(name)) => self.member(process, &name, true),
                Gossip::Output(GossipOutput::Report(_)) => {}
            }
        }
        Ok(())
    }

    /// A machine that stands still takes a connection all the same; one whose process is gone refuses it.
    fn confirm(&mut self, process: usize, to: SocketAddr, number: u64) {
        let Some(to) = self.by_address.get(&to).copied() else { return };
        let Some(after) = self.network.connect(process, to, self.now) else { return };
        let reached = self.processes[to].node.is_some();
        self.send(after, process, Next::Confirmed { number, reached });
    }

    /// Tells a prober's machine something, and does what it then wants.
    fn look(&mut self, process: usize, seen: Seen) -> Result<()> {
        let started = self.mono(process);
        let Some(prober) = self.processes[process].prober.as_mut() else { return Ok(()) };
        for want in prober.handle(seen, started) {
            match want {
                Want::Report(report) => self.gossip(process, Event::Publish(report))?,
                Want::Probe { list, target, timeout, .. } => {
                    let limit = timeout.0 * MILLI;
                    let (after, ended, opened) = self.probe(process, EndpointIx::from(target), limit);
                    let took = Duration::from_nanos(after);
                    self.send(
                        after,
                        process,
                        Next::Seen(Box::new(Seen::Probed { list, target, started, ended, took, opened })),
                    );
                }
                Want::Reference { list, index, timeout, .. } => {
                    let limit = timeout.0 * MILLI;
                    let reached = self.network.outside(process, self.now).filter(|t| *t <= limit);
                    let seen = Seen::Reference { list, index, started, reached: reached.is_some() };
                    self.send(reached.unwrap_or(limit), process, Next::Seen(Box::new(seen)));
                }
                // Names of a simulated fleet are not looked up: it is used with addresses.
                Want::Resolve { host } => {
                    self.send(MILLI, process, Next::Seen(Box::new(Seen::Resolved { host, addresses: Vec::new() })));
                }
                Want::Counted { .. } | Want::Skipped(_) | Want::Paused => {}
            }
        }
        Ok(())
    }

    /// After how long a probe ends, and how.
    fn probe(&mut self, process: usize, target: EndpointIx, limit: Nanos) -> (Nanos, Ended, Option<Duration>) {
        let all = self.fleet.endpoints.len();
        let (way, does) = match self.fleet.endpoints.get(target.at()) {
            Some(endpoint) => {
                let way = self.network.exchange(process, endpoint.region, self.now);
                (way, faults::backend(&self.faults, &self.fleet, target))
            }
            // As targets the providers' own APIs follow the endpoints.
            None => {
                let provider = self.fleet.apis.get(target.at() - all).map(|a| a.provider);
                let does = provider.map_or(Backend::Refuses, |p| faults::api(&self.faults, p));
                (self.network.outside(process, self.now), does)
            }
        };
        let work = self.rng.random_range(MILLI / 2..3 * MILLI);
        let (after, ended) = match (way, does) {
            (None, _) | (_, Backend::Hangs) => (limit, Ended::Timeout),
            (Some(way), Backend::Refuses) => (way / 2, Ended::Connect),
            (Some(way), Backend::Errs) => (way + work, Ended::Status),
            (Some(way), Backend::Serves { times, errs }) => {
                let good = self.rng.random_range(0..1_000_000) >= errs;
                (way + work * u64::from(times), if good { Ended::Ok } else { Ended::Status })
            }
        };
        let (after, ended) = if after >= limit { (limit, Ended::Timeout) } else { (after, ended) };
        let refused = ended == Ended::Connect;
        let opened = way.map(|way| way / 2).filter(|opened| *opened < limit && !refused).map(Duration::from_nanos);
        (after, ended, opened)
    }

    pub(crate) fn feed(&mut self, input: Input) -> Result<()> {
        let now = self.server_now();
        for effect in self.server.feed(input, now) {
            self.effect(effect)?;
        }
        let server = self.server_at();
        self.rewake(server);
        Ok(())
    }

    fn effect(&mut self, effect: Effect) -> Result<()> {
        let server = self.server_at();
        match effect {
            Effect::Persist { number, end_revision, puts, blobs, safety } => {
                let answer = self.server.write(end_revision, puts, &blobs, safety)?;
                self.send(WRITE, server, Next::Fed(Box::new(Input::Stored { number, answer })));
            }
            Effect::ReadHead { number } => {
                let head = self.server.head()?;
                self.send(WRITE, server, Next::Fed(Box::new(Input::Head { number, head })));
            }
            Effect::Publish { fleet, plan, generation, decision } => {
                self.trace.event(self.now, "publish", 0, &generation.to_be_bytes());
                let acked = u32::try_from(fleet.groups.len()).unwrap_or(u32::MAX);
                let progress = Input::Progress { generation, acked, outstanding: Vec::new() };
                self.send(ACK, server, Next::Fed(Box::new(progress)));
                self.published(&plan, generation, decision);
            }
            Effect::Tell(told) => {
                self.trace.event(self.now, told.kind, 0, told.text.as_bytes());
                self.trace.note(self.now, || format!("{} {}", told.kind, told.text));
                match told.kind {
                    "verdict" => self.verdicts(),
                    "finding" => self.findings(),
                    _ => {}
                }
            }
            Effect::Stop { why } => self.watch.fault(self.now, &format!("the server stopped: {why}")),
            Effect::Targets(_) | Effect::Acked { .. } | Effect::Detected { .. } | Effect::Answer { .. } => {}
        }
        Ok(())
    }

    fn turn_fault(&mut self, i: usize, begins: bool) -> Result<()> {
        self.faults[i].active = begins && self.faults[i].ends > self.faults[i].begins;
        let Planned { fault, whom, how, .. } = self.faults[i].clone();
        self.trace.event(self.now, if begins { "begin" } else { "end" }, i, &[]);
        let fleet = Arc::clone(&self.fleet);
        self.trace.note(self.now, || {
            let word = if begins { "FAULT" } else { "MENDED" };
            format!("{word} {:?} of {} ({how:?})", fault.what, whom.name(&fleet))
        });
        for process in (0..self.processes.len()).filter(|p| whom.has_process(&fleet, *p)) {
            self.hit(process, &fault, how, begins)?;
        }
        for region in (0..fleet.regions.len()).map(RegionIx::from) {
            let shut = |f: &Planned| {
                f.active
                    && f.whom.has_region(&fleet, region)
                    && (f.fault.what == What::Cut
                        || (f.fault.what == What::Down && f.how == How::BlackHole && f.whom != Whom::Everything))
            };
            self.network.cut[region.at()] = self.faults.iter().any(shut);
            let apart = |f: &Planned| f.active && f.part.contains(&region);
            self.network.part[region.at()] = self.faults.iter().position(apart).map_or(0, |i| i + 1);
        }
        self.sever(&fleet);
        if fault.what == What::Follows && begins {
            self.edges.follow(i, self.watch.plan.clone());
        }
        if fault.what == What::Split && !begins {
            self.watch.heals.push((self.now, None));
            self.push(self.now, Due::Met);
        }
        if whom == Whom::Server {
            self.server.trouble = match (fault.what, begins) {
                (What::StoreAway, true) => Trouble::Away,
                (What::StoreFull, true) => Trouble::Full,
                (What::StoreAway | What::StoreFull, false) => Trouble::None,
                _ => self.server.trouble,
            };
        }
        self.watch.truth(self.now, &self.fleet, &self.faults);
        Ok(())
    }

    /// The ways that are lost from one side.
    fn sever(&mut self, fleet: &Fleet) {
        let regions = || (0..fleet.regions.len()).map(RegionIx::from);
        let mut severed = Vec::new();
        for f in self.faults.iter().filter(|f| f.active) {
            let Some(side) = f.side else { continue };
            for a in regions().filter(|r| side.has_region(fleet, *r)) {
                severed.extend(regions().filter(|b| f.whom.has_region(fleet, *b)).map(|b| (a, b)));
            }
        }
        self.network.severed = severed;
    }

    /// What a fault does to one process.
    fn hit(&mut self, process: usize, fault: &crate::scenario::Fault, how: How, begins: bool) -> Result<()> {
        let hindered = &mut self.network.hindered[process];
        match fault.what {
            What::Crash if begins => self.kill(process),
            What::Down if begins && how == How::Refuse => self.kill(process),
            What::Crash => self.start(process)?,
            What::Down if how == How::Refuse => self.start(process)?,
            What::Pause if begins => self.processes[process].paused += 1,
            What::Down if begins && how == How::Hang => self.processes[process].paused += 1,
            What::Pause => self.resume(process)?,
            What::Down if how == How::Hang => self.resume(process)?,
            What::Mute => hindered.mute = begins,
            What::Deaf => hindered.deaf = begins,
            What::GossipCut => hindered.gossip_cut = begins,
            What::Lossy => hindered.loss = if begins { fault.share } else { crate::units::Share(0) },
            What::Clock if begins => {
                let ms = i64::try_from(fault.step.0 / MILLI).unwrap_or(0);
                self.processes[process].wall_step += if fault.back { -ms } else { ms };
            }
            What::Down | What::Slow | What::Errs | What::Lies | What::Follows | What::Clock => {}
            What::Cut | What::Split | What::Path | What::Api => {}
            What::StoreAway | What::StoreFull => {}
        }
        Ok(())
    }
}

fn server_place(scenario: &Scenario, fleet: &Fleet) -> Result<RegionIx> {
    let Some(name) = &scenario.spec.server else {
        let outside = fleet.regions.iter().position(|r| r.vantage_only).unwrap_or(0);
        return Ok(RegionIx::from(outside));
    };
    let found = fleet.regions.iter().position(|r| r.name.to_string() == *name);
    found.map(RegionIx::from).with_context(|| format!("spec.server: the fleet has no region `{name}`"))
}

fn taken(report: tidegate_gossip::ReportIn) -> ReportIn {
    let tidegate_gossip::ReportIn { vantage, incarnation, sequence, revision_short, own, states, rtt } = report;
    let vantage = vantage.to_string();
    ReportIn { vantage, incarnation, sequence, revision: revision_short, own, targets: states, rtt }
}
