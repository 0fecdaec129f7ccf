//! A socket and a clock for [`Node`]: one task owns it, everything else talks to the task.
//!
//! Owns the bounded queues and what happens when they are full: datagrams that the socket cannot take are
//! counted and dropped, outputs that the program does not fetch are dropped and counted (a report comes again
//! within a second; [`Snapshot::members`] always tells the present). On the gossip's port it also takes TCP
//! connections and closes them at once: to be reached is the whole answer. Refuses to outlive its [`Handle`].

use crate::counters::Counters;
use crate::node::{Effect, Event, GossipOutput, MemberInfo, Node};
use crate::report::OwnReport;
use crate::seal::{DropReason, MAX_DATAGRAM};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_domain::Mono;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
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
const RENEW: Duration = Duration::from_millis(250);

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

/// Runs `node` on `socket` (already bound). Returns the program's end, the outputs, and the task to be joined.
/// `clock` must be the one whose `now` made the node. To be called within a tokio runtime.
#[must_use]
pub fn spawn(node: Node, socket: UdpSocket, clock: Clock) -> (Handle, mpsc::Receiver<GossipOutput>, JoinHandle<()>) {
    let (commands, command_in) = mpsc::channel(COMMANDS);
    let (outputs, output_in) = mpsc::channel(OUTPUTS);
    let (report, report_in) = watch::channel(None);
    let (snapshot_out, snapshot) = watch::channel(Snapshot::default());
    let listener = listen(&socket).inspect_err(|error| {
        tracing::warn!(%error, "no TCP on the gossip's port: a suspicion of this node cannot be doubted by reaching it");
    });
    let (listener, questions) = (listener.ok(), JoinSet::new());
    let task = Task {
        node,
        socket,
        clock,
        outputs,
        snapshot_out,
        outputs_dropped: 0,
        listener,
        accepts_left: ACCEPTS,
        questions,
    };
    let joined = tokio::spawn(task.run(command_in, report_in));
    (Handle { commands, report, snapshot }, output_in, joined)
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

    fn renew(&mut self) {
        self.accepts_left = ACCEPTS;
        let (members, counters) = (self.node.members(), *self.node.counters());
        let (outputs_dropped, doubts_itself) = (self.outputs_dropped, self.node.doubts_itself(self.clock.now()));
        self.snapshot_out.send_replace(Snapshot { members, counters, outputs_dropped, doubts_itself });
    }

    fn read(&mut self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((length, _)) => self.step(Event::Datagram(&buffer[..length])),
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
