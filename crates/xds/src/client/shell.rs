//! The subscriber's tokio shell: connections over tonic, failover, backoff. It never gives up: with every server away
//! the caller simply keeps what it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{ClientTlsConfig, Endpoint};

use super::machine::{ClientMachine, NodeIdentity, Update, UpdateToken};
use crate::TypeUrl;

/// Requests that may wait for a server that does not read; one more and the connection counts as dead.
const REQUESTS_MAX: usize = 256;

/// How to subscribe.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Server addresses (`http://host:port` or `https://…`), in order of preference. At least one.
    pub servers: Vec<String>,
    /// Who we are.
    pub node: NodeIdentity,
    /// What is wanted from the start: names, or `*`.
    pub subscriptions: Vec<(TypeUrl, Vec<String>)>,
    /// What an earlier run had accepted and still holds: type → name → version.
    pub known: BTreeMap<TypeUrl, BTreeMap<String, String>>,
    /// TLS for `https` servers.
    pub tls: Option<ClientTlsConfig>,
    /// Bound on one attempt to connect and open the stream.
    pub connect_timeout: Duration,
    /// HTTP/2 PING interval, and the bound on its answer: finds a server that hangs.
    pub keepalive: Duration,
    /// First pause after every server failed in turn; doubles, with jitter.
    pub backoff_min: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
    /// Largest response taken, in bytes.
    pub response_bytes_max: usize,
    /// Events that may wait for the caller. When full, nothing more is read from the server.
    pub events_max: usize,
    /// Accept every update unseen and drop its content (names and versions remain). For load tools: a process can
    /// hold thousands of such clients on one runtime.
    pub light: bool,
}

impl ClientConfig {
    /// The usual settings.
    #[must_use]
    pub fn new(servers: Vec<String>, node: NodeIdentity) -> Self {
        Self {
            servers,
            node,
            subscriptions: Vec::new(),
            known: BTreeMap::new(),
            tls: None,
            connect_timeout: Duration::from_secs(2),
            keepalive: Duration::from_secs(3),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            response_bytes_max: 16 << 20,
            events_max: 64,
            light: false,
        }
    }
}

/// Why a client could not be made. Nothing was started; the same configuration fails again.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No server address.
    #[error("no server address is configured")]
    NoServer,
    /// A server address, or TLS with it, cannot be used.
    #[error("server address {address}: {reason}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client's task has ended.
    #[error("the client has ended")]
    Ended,
}

/// What the caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// A stream stands.
    Connected {
        /// The server's address.
        server: String,
        /// Counts connections from 1.
        connection: u64,
    },
    /// A stream ended, or an attempt failed. The next attempt is under way.
    Disconnected {
        /// The server's address.
        server: String,
        /// Why, in the server's or the transport's words.
        reason: String,
    },
    /// A response, to be answered with [`AdsClient::ack`] or [`AdsClient::nack`] (in light mode it already was).
    Update(Update),
}

#[derive(Debug)]
enum Command {
    Subscribe(TypeUrl, Vec<String>),
    Unsubscribe(TypeUrl, Vec<String>),
    Answer(UpdateToken, Option<String>),
    AnswerInPart(UpdateToken, BTreeSet<String>, String),
    Leave(u64, String),
}

/// The caller's handle. When the last clone is dropped, the client ends.
#[derive(Debug, Clone)]
pub struct AdsClient {
    commands: mpsc::Sender<Command>,
}

impl AdsClient {
    /// A client, the receiving end of its events, and its task, which the caller runs.
    ///
    /// # Errors
    /// [`ClientError`] when an address cannot be used.
    pub fn new(config: ClientConfig) -> Result<(Self, mpsc::Receiver<ClientEvent>, ClientTask), ClientError> {
        if config.servers.is_empty() {
            return Err(ClientError::NoServer);
        }
        let endpoints = config.servers.iter().map(|address| endpoint(address, &config)).collect::<Result<_, _>>()?;
        let (commands, commands_rx) = mpsc::channel(64);
        let (events, events_rx) = mpsc::channel(config.events_max.max(1));
        let mut machine = ClientMachine::new(config.node.clone());
        for (type_url, known) in &config.known {
            machine.seed(*type_url, known.clone());
        }
        for (type_url, names) in &config.subscriptions {
            machine.subscribe(*type_url, names);
        }
        let task = ClientTask {
            config,
            endpoints,
            machine,
            commands: commands_rx,
            events,
            queue: VecDeque::new(),
            requests: None,
            leaving: None,
        };
        Ok((Self { commands }, events_rx, task))
    }

    /// [`AdsClient::new`], with the task spawned; the caller joins or aborts it.
    ///
    /// # Errors
    /// [`ClientError`] when an address cannot be used.
    pub fn spawn(config: ClientConfig) -> Result<(Self, mpsc::Receiver<ClientEvent>, JoinHandle<()>), ClientError> {
        let (client, events, task) = Self::new(config)?;
        Ok((client, events, tokio::spawn(task.run())))
    }

    async fn send(&self, command: Command) -> Result<(), ClientError> {
        self.commands.send(command).await.map_err(|_| ClientError::Ended)
    }

    /// Wants more names (`*`: all) of a type.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn subscribe(&self, type_url: TypeUrl, names: Vec<String>) -> Result<(), ClientError> {
        self.send(Command::Subscribe(type_url, names)).await
    }

    /// Wants names of a type no more.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn unsubscribe(&self, type_url: TypeUrl, names: Vec<String>) -> Result<(), ClientError> {
        self.send(Command::Unsubscribe(type_url, names)).await
    }

    /// The update is in use.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn ack(&self, token: &UpdateToken) -> Result<(), ClientError> {
        self.send(Command::Answer(token.clone(), None)).await
    }

    /// The update is refused, for a reason that an operator will read.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn nack(&self, token: &UpdateToken, reason: &str) -> Result<(), ClientError> {
        self.send(Command::Answer(token.clone(), Some(reason.to_owned()))).await
    }

    /// What is in `refused` is refused, for a reason that names each of them; the rest of the update is in use.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn nack_in_part(
        &self,
        token: &UpdateToken,
        refused: BTreeSet<String>,
        reason: &str,
    ) -> Result<(), ClientError> {
        self.send(Command::AnswerInPart(token.clone(), refused, reason.to_owned())).await
    }

    /// Nothing of this server can be used now: its connection is ended after what has been said so far, and the next
    /// server is tried. The attempt counts as failed, so that the pause between attempts grows.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn leave(&self, token: &UpdateToken, reason: &str) -> Result<(), ClientError> {
        self.send(Command::Leave(token.connection, reason.to_owned())).await
    }
}

pub(super) fn endpoint(address: &str, config: &ClientConfig) -> Result<Endpoint, ClientError> {
    let wrong = |reason: String| ClientError::Address { address: address.to_owned(), reason };
    let mut endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|e| wrong(e.to_string()))?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(config.keepalive)
        .keep_alive_timeout(config.keepalive)
        .keep_alive_while_idle(true);
    if let Some(tls) = &config.tls {
        endpoint = endpoint.tls_config(tls.clone()).map_err(|e| wrong(e.to_string()))?;
    }
    Ok(endpoint)
}

/// The caller dropped its handle or its receiver.
struct Ended;

/// The client's work; [`ClientTask::run`] it.
#[derive(Debug)]
pub struct ClientTask {
    config: ClientConfig,
    endpoints: Vec<Endpoint>,
    machine: ClientMachine,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<ClientEvent>,
    /// Events that the caller has not taken; while there is one, nothing is read from the server.
    queue: VecDeque<ClientEvent>,
    requests: Option<mpsc::Sender<DeltaDiscoveryRequest>>,
    /// Why the caller left the server of this connection, and until when that server may still read.
    leaving: Option<(String, Instant)>,
}

impl ClientTask {
    /// Runs until the caller drops its handles or its receiver.
    pub async fn run(mut self) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.config.backoff_min)
            .with_max_delay(self.config.backoff_max)
            .without_max_times()
            .with_jitter();
        let mut pauses = backoff.build();
        let (mut server, mut failed) = (0, 0);
        loop {
            let served = match self.connection(server).await {
                Ok(served) => served,
                Err(Ended) => return,
            };
            server = (server + 1) % self.endpoints.len();
            if served {
                // A stream that had served and then closed is no error (gRPC A57), but all of a dead server's clients
                // must not come to the next one in the same moment.
                pauses = backoff.build();
                failed = 0;
            } else {
                failed += 1;
            }
            if served || failed % self.endpoints.len() == 0 {
                let pause = pauses.next().unwrap_or(self.config.backoff_max);
                let pause = if served { pause / 4 } else { pause.min(self.config.backoff_max) };
                if self.meanwhile(sleep(pause)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// One connection from its making to its end. Returns whether it ever served a response.
    async fn connection(&mut self, server: usize) -> Result<bool, Ended> {
        let address = self.config.servers[server].clone();
        let endpoint = self.endpoints[server].clone();
        let limit = self.config.connect_timeout;
        let connecting = async move { timeout(limit, endpoint.connect()).await };
        let channel = match self.meanwhile(connecting).await? {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return self.disconnected(address, &error_text(&error)).map(|()| false),
            Err(_) => return self.disconnected(address, "time-out while connecting").map(|()| false),
        };
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        let opening = self.machine.on_connected();
        self.requests = Some(requests);
        for request in opening {
            self.request(Some(request));
        }
        let mut rpc =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(self.config.response_bytes_max);
        let call = async move { timeout(limit, rpc.delta_aggregated_resources(ReceiverStream::new(outgoing))).await };
        let (served, reason) = match self.meanwhile(call).await? {
            Err(_) => (false, "time-out while opening the stream".to_owned()),
            Ok(Err(status)) => (false, status_text(&status)),
            Ok(Ok(response)) => self.stream(&address, response.into_inner()).await?,
        };
        (self.requests, self.leaving) = (None, None);
        self.machine.on_disconnected();
        self.disconnected(address, &reason)?;
        Ok(served)
    }

    async fn stream(
        &mut self,
        address: &str,
        mut responses: Streaming<DeltaDiscoveryResponse>,
    ) -> Result<(bool, String), Ended> {
        let connection = self.machine.connection();
        self.queue.push_back(ClientEvent::Connected { server: address.to_owned(), connection });
        let events = self.events.clone();
        let mut served = false;
        loop {
            let left = self.leaving.clone();
            if self.requests.is_none() && left.is_none() {
                return Ok((served, "the server does not read requests".to_owned()));
            }
            tokio::select! {
                command = self.commands.recv() => self.command(command)?,
                () = until(left.as_ref()), if left.is_some() => return Ok((false, left.map(|l| l.0).unwrap_or_default())),
                permit = events.reserve(), if !self.queue.is_empty() => {
                    let permit = permit.map_err(|_| Ended)?;
                    if let Some(event) = self.queue.pop_front() {
                        permit.send(event);
                    }
                }
                message = responses.message(), if self.queue.is_empty() => match message {
                    // Its requests have ended: the server reads them all, and then ends the responses.
                    Ok(Some(_)) if left.is_some() => {}
                    Ok(None) | Err(_) if left.is_some() => return Ok((false, left.map(|l| l.0).unwrap_or_default())),
                    Ok(Some(response)) => {
                        served = true;
                        self.response(response);
                    }
                    Ok(None) => return Ok((served, "the server closed the stream".to_owned())),
                    Err(status) => return Ok((served, status_text(&status))),
                },
            }
        }
    }

    fn response(&mut self, response: DeltaDiscoveryResponse) {
        let light = self.config.light;
        let Some(update) = self.machine.on_response(response, !light) else { return };
        if light {
            let answer = self.machine.answer(&update.token, None);
            self.request(answer);
        }
        self.queue.push_back(ClientEvent::Update(update));
    }

    fn disconnected(&mut self, server: String, reason: &str) -> Result<(), Ended> {
        tracing::debug!(server, reason, "xDS stream ended");
        // While the caller does not listen, only the last failure is worth keeping.
        if matches!(self.queue.back(), Some(ClientEvent::Disconnected { .. })) {
            self.queue.pop_back();
        }
        self.queue.push_back(ClientEvent::Disconnected { server, reason: reason.to_owned() });
        if self.events.is_closed() { Err(Ended) } else { Ok(()) }
    }

    /// Awaits `work` while commands are taken and events handed out.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::pin!(work);
        let events = self.events.clone();
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                command = self.commands.recv() => self.command(command)?,
                permit = events.reserve(), if !self.queue.is_empty() => {
                    let permit = permit.map_err(|_| Ended)?;
                    if let Some(event) = self.queue.pop_front() {
                        permit.send(event);
                    }
                }
            }
        }
    }

    fn command(&mut self, command: Option<Command>) -> Result<(), Ended> {
        let request = match command.ok_or(Ended)? {
            Command::Subscribe(type_url, names) => self.machine.subscribe(type_url, &names),
            Command::Unsubscribe(type_url, names) => self.machine.unsubscribe(type_url, &names),
            Command::Answer(token, refusal) => self.machine.answer(&token, refusal),
            Command::AnswerInPart(token, refused, words) => self.machine.answer_in_part(&token, &refused, words),
            Command::Leave(connection, reason) => {
                if connection == self.machine.connection() && self.requests.take().is_some() {
                    self.leaving = Some((reason, Instant::now() + self.config.connect_timeout));
                }
                return Ok(());
            }
        };
        self.request(request);
        Ok(())
    }

    fn request(&mut self, request: Option<DeltaDiscoveryRequest>) {
        let Some(request) = request.filter(|_| self.leaving.is_none()) else { return };
        let sent = self.requests.as_ref().is_some_and(|r| r.try_send(request).is_ok());
        if !sent {
            // Losing a request would lose a subscription: start over instead.
            self.requests = None;
        }
    }
}

async fn until(left: Option<&(String, Instant)>) {
    if let Some((_, at)) = left {
        sleep_until(*at).await;
    }
}

pub(super) fn status_text(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

pub(super) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
