//! The shell: a tower service for tonic's router, and the response body that drives one session. It owns no rules. The
//! body is polled only when the connection can take more, so a client that does not read costs what it cost when it
//! stopped: the machine's state and at most one message's frames.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use super::admission::PeerInfo;
use super::engine::{Shared, Signal};
use super::inbound::Inbound;
use super::machine::StreamRefusal;
use super::session::Session;

/// Requests taken in one go before responses are made: a client that comes back asks for its types in one burst, and
/// the order between types is right only if all are known.
const REQUESTS_PER_POLL: usize = 64;

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`.
#[derive(Clone)]
pub struct AdsService {
    shared: Arc<Shared>,
}

impl fmt::Debug for AdsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdsService").finish_non_exhaustive()
    }
}

impl AdsService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn open(&self, request: http::Request<Body>) -> http::Response<Body> {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        if method != "DeltaAggregatedResources" {
            let text = "only DeltaAggregatedResources is served: set api_type DELTA_GRPC in ads_config";
            return Status::unimplemented(text).into_http();
        }
        if self.shared.draining() {
            return Status::unavailable("shutting down").into_http();
        }
        if self.shared.current.load().is_none() {
            return Status::unavailable("not ready: no configuration has been published yet").into_http();
        }
        let peer = peer_of(request.extensions());
        let session = match Session::new(Arc::clone(&self.shared), peer) {
            Ok(session) => session,
            Err(refusal) => return status_of(refusal).into_http(),
        };
        let inbound = Inbound::new(request.into_body(), self.shared.config.limits.request_bytes_max);
        let body = DeltaBody {
            session,
            inbound,
            signal: WatchStream::new(self.shared.signal.subscribe()),
            frames: VecDeque::new(),
            timer: None,
            closes_at: None,
            end: None,
            done: false,
            shared: Arc::clone(&self.shared),
        };
        let mut response = http::Response::new(Body::new(body));
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
        response
    }
}

pub(super) fn peer_of(extensions: &http::Extensions) -> PeerInfo {
    if let Some(peer) = extensions.get::<PeerInfo>() {
        return peer.clone();
    }
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    let tcp = tls.or_else(|| extensions.get::<TcpConnectInfo>());
    PeerInfo { address: tcp.and_then(TcpConnectInfo::remote_addr), identity: None }
}

impl NamedService for AdsService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl tower::Service<http::Request<Body>> for AdsService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(self.open(request)))
    }
}

struct DeltaBody {
    session: Session,
    inbound: Inbound,
    signal: WatchStream<Signal>,
    /// What is left of the message being written.
    frames: VecDeque<Bytes>,
    timer: Option<Pin<Box<Sleep>>>,
    closes_at: Option<Instant>,
    end: Option<Status>,
    done: bool,
    shared: Arc<Shared>,
}

impl DeltaBody {
    /// Takes all input that is ready. Returns whether some was left for the next poll.
    fn take_input(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        while let Poll::Ready(Some(signal)) = Pin::new(&mut self.signal).poll_next(cx) {
            self.session.on_signal().map_err(status_of)?;
            if let (Some(spread), None) = (signal.draining, self.closes_at) {
                self.closes_at = Some(Instant::now() + share_of(spread, self.session.stream));
            }
        }
        for _ in 0..REQUESTS_PER_POLL {
            match self.inbound.poll_next(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => return Err(Status::ok("")),
                Poll::Ready(Some(Err(status))) => return Err(status),
                Poll::Ready(Some(Ok(request))) => self.session.on_request(&request).map_err(status_of)?,
            }
        }
        Ok(true)
    }

    fn take_time(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let now = Instant::now();
        if self.closes_at.is_some_and(|at| at <= now) {
            return Err(Status::unavailable("shutting down; reconnect"));
        }
        if self.session.is_late() {
            return Err(Status::deadline_exceeded("no request came on the stream"));
        }
        let machine = self.session.deadline_in_ms().map(|ms| now + Duration::from_millis(ms));
        let Some(at) = self.closes_at.into_iter().chain(machine).min() else {
            self.timer = None;
            return Ok(());
        };
        let mut timer = Box::pin(sleep_until(at));
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.timer = Some(timer);
        Ok(())
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let more = self.take_input(cx)?;
        if let Some(response) = self.session.next_response() {
            self.frames.extend(response.frames(&self.shared.config.identifier));
            return Ok(());
        }
        self.take_time(cx)?;
        if more {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

impl http_body::Body for DeltaBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        if this.frames.is_empty()
            && this.end.is_none()
            && let Err(status) = this.advance(cx)
        {
            this.end = Some(status);
        }
        if let Some(frame) = this.frames.pop_front() {
            if this.frames.is_empty() {
                this.frames = VecDeque::new();
            }
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        let Some(status) = this.end.take() else { return Poll::Pending };
        this.done = true;
        let mut trailers = http::HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }
}

fn status_of(refusal: StreamRefusal) -> Status {
    match refusal {
        StreamRefusal::InvalidArgument(m) => Status::invalid_argument(m),
        StreamRefusal::ResourceExhausted(m) => Status::resource_exhausted(m),
        StreamRefusal::Unavailable(m) => Status::unavailable(m),
        StreamRefusal::Denied(m) => Status::permission_denied(m),
        StreamRefusal::Unauthenticated(m) => Status::unauthenticated(m),
    }
}

/// A stream's moment within `spread`: multiples of the golden ratio fall evenly, whichever streams are still open.
fn share_of(spread: Duration, stream: u64) -> Duration {
    let part = stream.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_nanos(((spread.as_nanos() * u128::from(part)) >> 32) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutdown_is_spread_evenly() {
        let spread = Duration::from_secs(8);
        let mut tenths = [0; 8];
        for stream in 1..=800 {
            tenths[share_of(spread, stream).as_secs() as usize] += 1;
        }
        assert!(tenths.iter().all(|&n| (95..=105).contains(&n)), "{tenths:?}");
    }
}
