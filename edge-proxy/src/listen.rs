//! Listeners: sockets that follow what the control plane wants.
//!
//! Owns accepting: each listener has its own proxy and its own shutdown, so that one can go while the others stay.
//! Refuses connections over a written limit rather than running out of files.

use crate::model::ListenerSpec;
use crate::proxy::Edge;
use crate::shared::Shared;
use arc_swap::ArcSwap;
use pingora::apps::HttpServerApp;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Connections of clients at one time, over all listeners.
const CONNECTIONS_MAX: usize = 20_000;
const BACKLOG: u32 = 4_096;
/// How long after the last accept the connections that wait for a request are closed: one that was opened just before has
/// this long to send its first, and a kept one that is in use hears `Connection: close` first.
const LINGER: Duration = Duration::from_millis(200);

struct Running {
    wanted: SocketAddr,
    bound: SocketAddr,
    stop: watch::Sender<bool>,
    routes: Arc<ArcSwap<String>>,
}

/// All listeners.
pub(crate) struct Listeners {
    shared: Arc<Shared>,
    conf: Arc<ServerConf>,
    overrides: BTreeMap<String, SocketAddr>,
    /// Another process that does the same may listen at the same addresses: a predecessor or a successor.
    reuse_port: bool,
    running: Mutex<BTreeMap<String, Running>>,
    connections: Arc<AtomicUsize>,
    pub(crate) tasks: TaskTracker,
}

/// A socket that was bound before the change that wants it is accepted. Connections wait in its queue.
pub(crate) struct Bound(ListenerSpec, SocketAddr, TcpListener);

impl Bound {
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

impl Listeners {
    pub(crate) fn new(
        shared: Arc<Shared>,
        overrides: BTreeMap<String, SocketAddr>,
        reuse_port: bool,
        threads: usize,
    ) -> Self {
        let conf =
            ServerConf { threads, upstream_keepalive_pool_size: 1_024, max_retries: 32, ..ServerConf::default() };
        Self {
            shared,
            conf: Arc::new(conf),
            overrides,
            reuse_port,
            running: Mutex::default(),
            connections: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    fn wanted(&self, spec: &ListenerSpec) -> SocketAddr {
        self.overrides.get(&spec.name).copied().unwrap_or(spec.address)
    }

    /// Binds what is not bound yet; also why what could not be was not. Nothing is served until [`Listeners::follow`].
    pub(crate) fn bind(&self, wanted: &BTreeMap<String, ListenerSpec>, waiting: &[Bound]) -> (Vec<Bound>, Vec<String>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut bound, mut unbound) = (Vec::new(), Vec::new());
        for spec in wanted.values() {
            let address = self.wanted(spec);
            let waits = waiting.iter().any(|b| b.name() == spec.name && b.1 == address);
            if waits || running.get(&spec.name).is_some_and(|r| r.wanted == address) {
                continue;
            }
            match listen(address, self.reuse_port) {
                Ok(listener) => bound.push(Bound(spec.clone(), address, listener)),
                Err(error) => {
                    unbound.push(format!("listener `{}` cannot be bound to {address}: {error}", spec.name));
                }
            }
        }
        (bound, unbound)
    }

    /// Makes the running listeners those that are wanted.
    pub(crate) fn follow(&self, wanted: &BTreeMap<String, ListenerSpec>, bound: Vec<Bound>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for Bound(spec, address, listener) in bound {
            match self.start(&spec, address, listener) {
                Ok(new) => {
                    tracing::info!(listener = spec.name, address = %new.bound, "listening");
                    if let Some(old) = running.insert(spec.name.clone(), new) {
                        retire(&old);
                    }
                }
                Err(error) => tracing::error!(listener = spec.name, %error, "could not listen"),
            }
        }
        let gone: Vec<String> = running.keys().filter(|n| !wanted.contains_key(*n)).cloned().collect();
        for name in gone {
            if let Some(old) = running.remove(&name) {
                tracing::info!(listener = name, "no longer listening");
                retire(&old);
            }
        }
        for (name, of) in running.iter() {
            if let Some(spec) = wanted.get(name) {
                of.routes.store(Arc::new(spec.routes.clone()));
            }
        }
    }

    /// Where each listener really listens.
    pub(crate) fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|(name, r)| (name.clone(), r.bound)).collect()
    }

    /// Stops accepting, after what already waits in the queue; connections end after the request that they are at.
    pub(crate) fn stop_all(&self) {
        let all = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        all.values().for_each(retire);
        self.tasks.close();
    }

    fn start(&self, spec: &ListenerSpec, wanted: SocketAddr, listener: TcpListener) -> std::io::Result<Running> {
        let bound = listener.local_addr()?;
        let routes = Arc::new(ArcSwap::from_pointee(spec.routes.clone()));
        let edge = Edge { shared: Arc::clone(&self.shared), routes: Arc::clone(&routes) };
        let proxy = Arc::new(http_proxy(&self.conf, edge));
        let (stop, stopping) = watch::channel(false);
        let accept = Accept {
            proxy,
            stopping,
            shared: Arc::clone(&self.shared),
            connections: Arc::clone(&self.connections),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn(accept.run(listener));
        Ok(Running { wanted, bound, stop, routes })
    }
}

fn retire(old: &Running) {
    old.stop.send_replace(true);
}

fn listen(address: SocketAddr, reuse_port: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The accept loop of one listener.
struct Accept {
    proxy: Arc<HttpProxy<Edge>>,
    stopping: watch::Receiver<bool>,
    shared: Arc<Shared>,
    connections: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

impl Accept {
    async fn run(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                changed = self.stopping.changed() => {
                    if changed.is_err() || *self.stopping.borrow() {
                        break;
                    }
                    continue;
                }
            };
            match accepted {
                Ok((socket, _)) => self.serve(socket),
                Err(error) => {
                    // Out of files, mostly: the connection stays in the queue until one is free.
                    tracing::warn!(%error, "could not accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.take_the_rest(listener);
        tokio::time::sleep(LINGER).await;
        self.proxy.http_cleanup().await;
    }

    /// To its client a connection in the queue stands: closing the socket would reset it. So the queue is emptied first,
    /// past tokio, which may not have heard of the newest ones.
    fn take_the_rest(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..2 * BACKLOG {
            match listener.accept() {
                Ok((socket, _)) => {
                    let taken = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
                    if let Ok(socket) = taken {
                        self.serve(socket);
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => return,
            }
        }
    }

    fn serve(&self, socket: TcpStream) {
        let metrics = &self.shared.metrics;
        if self.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            metrics.connections_refused.inc();
            return;
        }
        metrics.connections.inc();
        let _ = socket.set_nodelay(true);
        let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
        let mut stream = Stream::from(socket);
        stream.set_socket_digest(digest);
        let (proxy, stopping) = (Arc::clone(&self.proxy), self.stopping.clone());
        let counted = Counted(Arc::clone(&self.shared), Arc::clone(&self.connections));
        self.tasks.spawn(async move {
            let _counted = counted;
            Service::<HttpProxy<Edge>>::handle_event(Box::new(stream), proxy, stopping).await;
        });
    }
}

/// One connection in the count, until it ends in whatever way.
struct Counted(Arc<Shared>, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections.dec();
    }
}
