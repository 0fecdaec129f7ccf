//! Connections to backends, and the clocks of a try.
//!
//! Owns the connect time-out, the time until the head of an answer and the time of the whole request. Pingora knows only
//! a time per read, which would also cut a stream that is silent for a while; so a connection keeps a second handle of
//! its socket, by which a clock can end it. The clock and the answer settle by one compare-and-set who was first, so a
//! clock never ends a connection that has gone back to the pool.

use async_trait::async_trait;
use nix::sys::socket::{setsockopt, sockopt};
use pingora::connectors::L4Connect;
use pingora::protocols::GetProxyDigest;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::{Error, ErrorType, Result};
use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Opens connections within a time.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) timeout: Duration,
}

/// The second handle of a connection's socket.
struct SecondHandle(StdTcpStream);

#[async_trait]
impl L4Connect for Dialer {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(address) = address else {
            return Error::e_explain(ErrorType::ConnectError, "only IP addresses are connected to");
        };
        let socket = match tokio::time::timeout(self.timeout, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                let kind = match error.kind() {
                    ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
                    ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                    _ => ErrorType::ConnectError,
                };
                return Err(Error::because(kind, "connecting", error));
            }
            Err(late) => return Err(Error::because(ErrorType::ConnectTimedout, "connecting", late)),
        };
        let second = socket.as_fd().try_clone_to_owned();
        let second = second.map_err(|e| Error::because(ErrorType::SocketError, "no second handle", e))?;
        let head = pingora::http::ResponseHeader::build(200, None)?;
        let mut stream = Stream::from(socket);
        stream.set_proxy_digest(ProxyDigest::new(Box::new(head), Some(Box::new(SecondHandle(second.into())))));
        Ok(stream)
    }
}

/// Ends a connection when its other side has taken nothing for `time` of what is sent to it. The kernel does that, whoever
/// waits: Pingora goes on reading after a write that timed out, and no clock of the answer runs before all is sent.
pub(crate) fn bound_writes(connection: &ProxyDigest, time: Duration) -> std::io::Result<()> {
    let Some(handle) = second_handle(connection) else { return Ok(()) };
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    Ok(setsockopt(&handle.0, sockopt::TcpUserTimeout, &millis)?)
}

/// Whether that is how a connection ended.
pub(crate) fn timed_out(error: &Error) -> bool {
    let cause = error.cause.as_ref().and_then(|c| c.downcast_ref::<std::io::Error>());
    cause.is_some_and(|e| e.kind() == ErrorKind::TimedOut)
}

fn second_handle(connection: &ProxyDigest) -> Option<&SecondHandle> {
    connection.user_data.as_ref().and_then(|d| d.downcast_ref::<SecondHandle>())
}

const WAITING: u8 = 0;
const ANSWERING: u8 = 1;
const DONE: u8 = 2;
const HEAD_LATE: u8 = 3;
const REQUEST_LATE: u8 = 4;

/// Which clock ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// No head of an answer in time for one try.
    Head,
    /// The whole request took too long.
    Request,
}

/// The clocks of one try. Stops them when dropped.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    state: Arc<AtomicU8>,
    task: Option<JoinHandle<()>>,
}

impl Clocks {
    /// Starts the clocks on a connection. Without any time, nothing is started.
    pub(crate) fn start(
        &mut self,
        connection: Option<&Arc<ProxyDigest>>,
        head: Option<Instant>,
        request: Option<Instant>,
    ) {
        let Some(first) = head.into_iter().chain(request).min() else { return };
        let Some(connection) = connection.map(Arc::clone) else { return };
        let state = Arc::clone(&self.state);
        let run = async move {
            let end = |from: u8, to: u8| {
                let first = state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
                if let (true, Some(handle)) = (first, second_handle(&connection)) {
                    // A connection that is gone already needs no end.
                    let _ = handle.0.shutdown(Shutdown::Both);
                }
                first
            };
            tokio::time::sleep_until(first).await;
            let late = if request == Some(first) { REQUEST_LATE } else { HEAD_LATE };
            if end(WAITING, late) {
                return;
            }
            if let Some(request) = request {
                tokio::time::sleep_until(request).await;
                end(ANSWERING, REQUEST_LATE);
            }
        };
        self.task = Some(tokio::spawn(run));
    }

    /// Whether they were started.
    pub(crate) fn is_started(&self) -> bool {
        self.task.is_some()
    }

    /// The head of the answer came. False: too late, the connection has been ended.
    pub(crate) fn head_came(&self) -> bool {
        self.state.compare_exchange(WAITING, ANSWERING, Ordering::AcqRel, Ordering::Acquire).is_ok()
            || self.state.load(Ordering::Acquire) < HEAD_LATE
    }

    /// The answer is whole, or its time no longer matters.
    pub(crate) fn done(&self) {
        let _ = self.state.compare_exchange(ANSWERING, DONE, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn late(&self) -> Option<Late> {
        match self.state.load(Ordering::Acquire) {
            HEAD_LATE => Some(Late::Head),
            REQUEST_LATE => Some(Late::Request),
            _ => None,
        }
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
