//! A socket and a clock for [`Node`]: one task owns it, everything else talks to the task.
//!
//! Owns the bounded queues and what happens when they are full: datagrams that the socket cannot take are
//! counted and dropped, outputs that the program does not fetch are dropped and counted (a report comes again
//! within a second; [`Snapshot::members`] always tells the present). On the gossip's port it also takes TCP
//! connections and closes them at once: to be reached is the whole answer. It looks for a changed keyring file every
//! two seconds and at SIGHUP. Refuses to outlive its [`Handle`], and to give up good keys for a bad file.

use crate::counters::Counters;
use crate::identity::Role;
use crate::keyring::{KeyFile, Keyring, KeyringError};
use crate::node::{Config, Effect, Event, GossipOutput, MemberInfo, Node};
use crate::report::OwnReport;
use crate::seal::{DropReason, MAX_DATAGRAM};
use ring::rand::{SecureRandom, SystemRandom};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_domain::{Mono, Name};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Commands that wait at most; senders wait when it is full.
const COMMANDS: usize = 16;
/// Outputs that wait at most; further ones are dropped and counted.
const OUTPUTS: usize = 1024;
/// Datagrams handled between two looks at the other inputs.
const BATCH: usize = 64;
/// TCP connections taken between two renewals of the snapshot; more wait in the system's own queue.
const ACCEPTS: usize = 64;
/// Questions by TCP that are open at once. Further ones are not asked: without an answer a suspicion just ends.
const QUESTIONS: usize = 64;
/// A question that takes longer is answered by no.
const QUESTION: Duration = Duration::from_millis(500);
/// Free ports tried until one is free for datagrams and connections both.
const PORTS_TRIED: usize = 32;
const RENEW: Duration = Duration::from_millis(250);
/// The keyring file is looked at so often.
const LOOK: Duration = Duration::from_secs(2);

/// A clock that never steps back, starting when it is made. A node and its shell share one.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);
impl Clock {
    /// Starts at a second, so that no moment of the program is [`Mono`]'s zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now() - Duration::from_secs(1))
    }
    /// Now.
    #[must_use]
    pub fn now(&self) -> Mono {
        Mono(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
    fn instant(&self, at: Mono) -> Instant {
        self.0 + Duration::from_nanos(at.0)
    }
}

/// What the task last saw; renewed at least every second.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Members that are up or suspect.
    pub members: Vec<MemberInfo>,
    /// Counts.
    pub counters: Counters,
    /// Outputs dropped because the program did not fetch them.
    pub outputs_dropped: u64,
    /// [`Node::doubts_itself`].
    pub doubts_itself: bool,
}

#[derive(Debug)]
enum Command {
    Seeds(Vec<SocketAddr>),
    Leave(oneshot::Sender<()>),
}

/// The program's end. When it is dropped the task ends without a word to the others; [`Handle::leave`] is the
/// polite way.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    report: watch::Sender<Option<OwnReport>>,
    snapshot: watch::Receiver<Snapshot>,
}

impl Handle {
    /// Sets the node's newest view; only the newest counts. Never waits.
    pub fn publish_report(&self, report: OwnReport) {
        self.report.send_replace(Some(report));
    }
    /// Replaces the seeds. Does nothing when the task has ended.
    pub async fn set_seeds(&self, seeds: Vec<SocketAddr>) {
        let _ = self.commands.send(Command::Seeds(seeds)).await;
    }
    /// Members and counts as of at most a second ago.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }
    /// Tells the others that this node goes, and ends the task.
    pub async fn leave(self) {
        let (done, gone) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).await.is_ok() {
            let _ = gone.await;
        }
    }
}

/// What a program says to join the gossip.
#[derive(Debug)]
pub struct Start {
    /// Name of the vantage or server, unique in the fleet.
    pub name: Name,
    /// [`Config::incarnation`].
    pub incarnation: u64,
    /// Where to listen.
    pub bind: SocketAddr,
    /// Where others reach it, when that is another address.
    pub advertise: Option<SocketAddr>,
    /// [`Config::seeds`].
    pub seeds: Vec<SocketAddr>,
    /// Keys, and the file from which they come.
    pub keys: (KeyFile, Keyring),
    /// Whether it probes.
    pub role: Role,
}

/// Why the gossip did not start. Nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had; another program may hold it.
    #[error("gossip port {address} cannot be had")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others would be told an address that is none.
    #[error("{address} is no gossip address that others could reach: pass --advertise ip:port")]
    Unreachable {
        /// It.
        address: SocketAddr,
    },
    /// The system's random source failed.
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// A node that runs: the program's end, the outputs, and the task to be joined.
#[derive(Debug)]
pub struct Running {
    /// Commands to it.
    pub handle: Handle,
    /// What it says.
    pub outputs: mpsc::Receiver<GossipOutput>,
    /// Ends after [`Handle::leave`], or when the handle is dropped.
    pub task: JoinHandle<()>,
    /// Where others reach it.
    pub advertise: SocketAddr,
}

/// Binds the socket and runs a node on it. To be called within a tokio runtime.
///
/// # Errors
/// When the address cannot be had or told to others.
pub async fn start(start: Start, clock: Clock) -> Result<Running, StartError> {
    let Start { name, incarnation, bind, advertise, seeds, keys: (file, keyring), role } = start;
    let refused = |source| StartError::Bind { address: bind, source };
    let ports = Ports::bind(bind).await.map_err(refused)?;
    let advertise = advertise.map_or_else(|| ports.socket.local_addr(), Ok).map_err(refused)?;
    if advertise.ip().is_unspecified() || advertise.port() == 0 {
        return Err(StartError::Unreachable { address: advertise });
    }
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| StartError::NoRandomness)?;
    let node = Node::new(Config { name, incarnation, advertise, seeds, keyring, role, seed }, clock.now());
    let (handle, outputs, task) = spawn(node, ports, clock, Some(file));
    Ok(Running { handle, outputs, task, advertise })
}

/// The gossip's port: datagrams, and connections that are taken and closed, by which others doubt a suspicion.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) socket: UdpSocket,
    listener: Option<TcpListener>,
}

impl Ports {
    /// Binds both to `address`. A port of 0 stands for any that is free for both; with a port that is given, the
    /// datagrams alone are enough.
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let mut left = if address.port() == 0 { PORTS_TRIED } else { 1 };
        loop {
            left -= 1;
            let socket = UdpSocket::bind(address).await?;
            // The system picked a port that no datagram socket holds, but a connection may.
            match listen(&socket) {
                Ok(listener) => return Ok(Self { socket, listener: Some(listener) }),
                Err(error) if left == 0 => {
                    tracing::warn!(%error, "no TCP on the gossip's port: a suspicion of this node cannot be doubted by reaching it");
                    return Ok(Self { socket, listener: None });
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
impl Ports {
    pub(crate) fn takes_connections(&self) -> bool {
        self.listener.is_some()
    }
}

/// Runs `node` on `ports`. Returns the program's end, the outputs, and the task to be joined.
/// `clock` must be the one whose `now` made the node; `keys` is the file of its keyring, if that may change. To be
/// called within a tokio runtime.
#[must_use]
pub(crate) fn spawn(
    node: Node,
    ports: Ports,
    clock: Clock,
    keys: Option<KeyFile>,
) -> (Handle, mpsc::Receiver<GossipOutput>, JoinHandle<()>) {
    let (commands, command_in) = mpsc::channel(COMMANDS);
    let (outputs, output_in) = mpsc::channel(OUTPUTS);
    let (report, report_in) = watch::channel(None);
    let (snapshot_out, snapshot) = watch::channel(Snapshot::default());
    let (key_out, keyrings) = mpsc::channel(1);
    let mut watcher = JoinSet::new();
    if let Some(file) = keys {
        watcher.spawn(follow(file, key_out));
    }
    let Ports { socket, listener } = ports;
    let task = Task {
        node,
        socket,
        clock,
        outputs,
        snapshot_out,
        outputs_dropped: 0,
        listener,
        accepts_left: ACCEPTS,
        questions: JoinSet::new(),
        keyrings,
        _watcher: watcher,
    };
    let joined = tokio::spawn(task.run(command_in, report_in));
    (Handle { commands, report, snapshot }, output_in, joined)
}

/// Tells every new state of the keyring file. Beside the node's task, which must not wait for a disk.
async fn follow(mut file: KeyFile, to: mpsc::Sender<Result<Keyring, KeyringError>>) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            Some(()) = async { hangup.as_mut()?.recv().await } => {}
        }
        let looked = tokio::task::spawn_blocking(move || {
            let look = file.look();
            (file, look)
        });
        let Ok((back, look)) = looked.await else { return };
        file = back;
        if let Some(read) = look
            && to.send(read).await.is_err()
        {
            return;
        }
    }
}

fn listen(socket: &UdpSocket) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(socket.local_addr()?)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Takes one connection, which is closed by being dropped.
async fn accept(listener: Option<&TcpListener>) {
    match listener {
        Some(listener) => drop(listener.accept().await),
        None => std::future::pending().await,
    }
}

struct Task {
    node: Node,
    socket: UdpSocket,
    clock: Clock,
    outputs: mpsc::Sender<GossipOutput>,
    snapshot_out: watch::Sender<Snapshot>,
    outputs_dropped: u64,
    listener: Option<TcpListener>,
    accepts_left: usize,
    questions: JoinSet<(u64, bool)>,
    keyrings: mpsc::Receiver<Result<Keyring, KeyringError>>,
    /// Ends with the task.
    _watcher: JoinSet<()>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut report: watch::Receiver<Option<OwnReport>>) {
        // One byte more than is taken: a longer datagram shows.
        let mut buffer = [0_u8; MAX_DATAGRAM + 1];
        let mut renew = Instant::now();
        loop {
            let deadline = self.node.next_deadline().map_or_else(Instant::now, |at| self.clock.instant(at));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Seeds(seeds)) => self.step(Event::Seeds(seeds)),
                    Some(Command::Leave(done)) => {
                        self.leave().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                Ok(()) = report.changed() => {
                    let newest = report.borrow_and_update().clone();
                    if let Some(newest) = newest {
                        self.step(Event::Publish(newest));
                    }
                }
                ready = self.socket.readable() => {
                    match ready {
                        Ok(()) => self.read(&mut buffer),
                        Err(error) => tracing::warn!(%error, "gossip socket"),
                    }
                }
                () = accept(self.listener.as_ref()), if self.accepts_left > 0 => self.accepts_left -= 1,
                Some(read) = self.keyrings.recv() => self.keyring(read),
                Some(Ok((number, reached))) = self.questions.join_next() => {
                    self.step(Event::Confirmed { number, reached });
                }
                () = tokio::time::sleep_until(deadline) => self.step(Event::Tick),
            }
            if renew <= Instant::now() {
                renew = Instant::now() + RENEW;
                self.renew();
            }
        }
    }

    fn keyring(&mut self, read: Result<Keyring, KeyringError>) {
        match read {
            Ok(keyring) => {
                tracing::info!(keys = ?keyring, "keyring read anew; the first key seals from now on");
                self.step(Event::Keyring(keyring));
            }
            Err(error) => {
                self.node.counters_mut().keyrings_refused += 1;
                tracing::error!(%error, "the changed keyring is refused; the keys before it stand");
            }
        }
    }

    fn renew(&mut self) {
        self.accepts_left = ACCEPTS;
        let (members, counters) = (self.node.members(), *self.node.counters());
        let (outputs_dropped, doubts_itself) = (self.outputs_dropped, self.node.doubts_itself(self.clock.now()));
        self.snapshot_out.send_replace(Snapshot { members, counters, outputs_dropped, doubts_itself });
    }

    fn read(&mut self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => self.step(Event::Datagram { from, bytes: &buffer[..length] }),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => return tracing::debug!(%error, "gossip socket"),
            }
        }
    }

    fn step(&mut self, event: Event<'_>) {
        for effect in self.node.handle(event, self.clock.now()) {
            match effect {
                Effect::Send { to, bytes } => {
                    if self.socket.try_send_to(&bytes, to).is_err() {
                        self.node.counters_mut().drop_one(DropReason::NotSent);
                    }
                }
                Effect::Confirm { to, number } => {
                    if self.questions.len() < QUESTIONS {
                        self.questions.spawn(async move {
                            let connected = tokio::time::timeout(QUESTION, TcpStream::connect(to)).await;
                            (number, matches!(connected, Ok(Ok(_))))
                        });
                    }
                }
                Effect::Output(output) => {
                    if let Err(mpsc::error::TrySendError::Full(_)) = self.outputs.try_send(output) {
                        self.outputs_dropped += 1;
                    }
                }
            }
        }
    }

    /// The last words may wait for the socket: there is nobody to send them again.
    async fn leave(&mut self) {
        for effect in self.node.handle(Event::Leave, self.clock.now()) {
            if let Effect::Send { to, bytes } = effect {
                let _ = self.socket.send_to(&bytes, to).await;
            }
        }
    }
}
