//! The way of one request through Pingora's hooks.
//!
//! Owns nothing that outlives a request. Refuses to send a request where its class's table does not lead, and to send
//! it twice where that could be executed twice.

mod attempt;
mod request;

use crate::balance::{Cluster, NoPick, Outcome, Tried};
use crate::model::{Action, DirectResponse, Forward};
use crate::retry::{self, Failure};
use crate::shared::Shared;
use crate::upstream::{self, Late};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use attempt::{Attempt, Permit};
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidegate_proto::refusal;
use tokio::time::Instant;

/// Goes with answers that another moment may change.
const RETRY_AFTER: (&str, &str) = ("retry-after", refusal::RETRY_AFTER_SECONDS);
/// How long an unused connection to a backend is kept.
const IDLE: Duration = Duration::from_secs(30);
/// How long a backend may take nothing of what is sent to it, on a route without any time.
const WRITE_MAX: Duration = Duration::from_secs(60);

/// The edge as one listener sees it.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) shared: Arc<Shared>,
    /// Name of its route configuration.
    pub(crate) routes: Arc<ArcSwap<String>>,
}

/// A cluster's count of requests under way; ends with the request.
#[derive(Debug)]
struct Admitted(Arc<Cluster>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.runtime.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is kept for one request.
#[derive(Debug, Default)]
pub(crate) struct Ctx {
    forward: Option<Arc<Forward>>,
    /// For metrics; `-` when none was told.
    class: Option<String>,
    admitted: Option<Admitted>,
    tried: Tried,
    retries: u32,
    /// Leave for the next try, if that is a retry.
    permit: Option<Permit>,
    /// A kept connection turned out to be closed: that was tried again without counting, once.
    stale_used: bool,
    attempt: Option<Attempt>,
    deadline: Option<Instant>,
    body_sent: bool,
    answering: bool,
    /// The answer that came is not passed on: another try follows.
    again: bool,
    /// What to answer when nothing else follows.
    verdict: Option<(u16, &'static str)>,
    /// Why the edge itself refuses, where it does.
    refusal: Option<&'static str>,
}

impl Edge {
    /// The cluster of a request as it is now: a retry must see the newest law and the newest split.
    fn cluster(&self, forward: &Forward) -> Option<Arc<Cluster>> {
        self.shared.table.load().clusters.get(&forward.cluster).map(|slot| slot.load_full())
    }

    fn refuse(&self, class: Option<&str>, reason: &str) {
        self.shared.metrics.refusals.with_label_values(&[class.unwrap_or("-"), reason]).inc();
    }

    async fn refused(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        status: u16,
        reason: &str,
        body: String,
    ) -> Result<bool> {
        self.refuse(ctx.class.as_deref(), reason);
        let mut headers = vec![(refusal::HEADER, reason)];
        if status == 503 {
            headers.push(RETRY_AFTER);
        }
        answer(session, status, &headers, Bytes::from(body)).await?;
        Ok(true)
    }

    async fn direct(&self, session: &mut Session, ctx: &mut Ctx, of: &DirectResponse) -> Result<bool> {
        ctx.class.clone_from(&of.class);
        let reason = of.headers.iter().find(|(key, _)| key == refusal::HEADER).map_or("direct", |(_, value)| value);
        self.refuse(of.class.as_deref(), reason);
        let headers: Vec<(&str, &str)> = of.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        answer(session, of.status, &headers, of.body.clone()).await?;
        Ok(true)
    }

    async fn forward(&self, session: &mut Session, ctx: &mut Ctx, forward: &Arc<Forward>) -> Result<bool> {
        ctx.class = Some(forward.class.clone());
        let Some(cluster) = self.cluster(forward) else {
            let body = format!("503: the places of class `{}` are not known yet.\n", forward.class);
            return self.refused(session, ctx, 503, "no-place", body).await;
        };
        if cluster.sheds() {
            cluster.runtime.dropped.fetch_add(1, Ordering::Relaxed);
            self.shared.metrics.shed.with_label_values(&[&forward.class]).inc();
            let body = "503: shed, for what is left cannot hold everything. Try again in 5 seconds.\n".to_owned();
            return self.refused(session, ctx, 503, "shed", body).await;
        }
        let before = cluster.runtime.requests.fetch_add(1, Ordering::Relaxed);
        let limit = cluster.spec.requests_max;
        let dropped = Arc::clone(&cluster.runtime);
        ctx.admitted = Some(Admitted(cluster));
        if before >= limit {
            dropped.dropped.fetch_add(1, Ordering::Relaxed);
            let body = "503: too many requests are under way here. Try again in 5 seconds.\n".to_owned();
            return self.refused(session, ctx, 503, "overflow", body).await;
        }
        ctx.forward = Some(Arc::clone(forward));
        Ok(false)
    }

    /// Takes note of a failed try, and says whether another one follows.
    fn failed(&self, session: &Session, ctx: &mut Ctx, failure: Failure, reached: bool) -> bool {
        let (Some(forward), Some(attempt)) = (ctx.forward.clone(), &ctx.attempt) else { return false };
        let outcome = match failure {
            Failure::Status(status) if !(502..=504).contains(&status) => Outcome::ServerError,
            _ => Outcome::Gateway,
        };
        attempt.ended(&self.shared, outcome);
        if !matches!(failure, Failure::Status(_)) {
            attempt.meters().failed();
        }
        ctx.verdict = Some(match failure {
            Failure::Connect => (503, "503: no backend could be connected to.\n"),
            Failure::Reset => (502, "502: the backend ended the connection without an answer.\n"),
            Failure::PerTryTimeout => (504, "504: no answer in time.\n"),
            Failure::Status(_) => (502, "502: the backend failed.\n"),
        });
        let cluster = Arc::clone(&attempt.cluster);
        if !self.follows(session, ctx, &forward, &cluster, failure, reached) {
            return false;
        }
        if let Some(attempt) = ctx.attempt.take() {
            ctx.tried.hosts.push(attempt.host.address);
            ctx.tried.providers.push(Arc::clone(&attempt.cluster.places[attempt.place].provider));
        }
        true
    }

    fn follows(
        &self,
        session: &Session,
        ctx: &mut Ctx,
        forward: &Forward,
        cluster: &Cluster,
        failure: Failure,
        reached: bool,
    ) -> bool {
        // What was read of the body can be sent again only if all of it was kept.
        let truncated = reached && session.as_ref().retry_buffer_truncated();
        if !retry::may_retry(&session.req_header().method, forward.retry_on, failure) || truncated {
            return false;
        }
        let denied = |why: &str| {
            self.shared.metrics.retries_denied.with_label_values(&[forward.class.as_str(), why]).inc();
            false
        };
        if ctx.retries >= forward.retries {
            return denied("count");
        }
        if ctx.deadline.is_some_and(|d| Instant::now() >= d) {
            return denied("deadline");
        }
        let Some(permit) = Permit::take(cluster) else { return denied("budget") };
        ctx.permit = Some(permit);
        ctx.retries += 1;
        let kind = match failure {
            Failure::Connect => "connect",
            Failure::Reset => "reset",
            Failure::PerTryTimeout => "per_try_timeout",
            Failure::Status(_) => "status",
        };
        self.shared.metrics.retries.with_label_values(&[forward.class.as_str(), kind]).inc();
        true
    }

    fn begin_clocks(&self, ctx: &mut Ctx) {
        let Some(forward) = &ctx.forward else { return };
        let now = Instant::now();
        if ctx.deadline.is_none() {
            ctx.deadline = forward.timeout.map(|t| now + t);
        }
        ctx.body_sent = true;
        let (deadline, head) = (ctx.deadline, forward.per_try_timeout.map(|t| now + t));
        let Some(attempt) = &mut ctx.attempt else { return };
        attempt.sent(&self.shared);
        if !attempt.clocks.is_started() {
            attempt.clocks.start(attempt.connection.as_ref(), head, deadline);
        }
    }
}

/// Answers in the place of a backend.
async fn answer(session: &mut Session, status: u16, headers: &[(&str, &str)], body: Bytes) -> Result<()> {
    let mut head = ResponseHeader::build(status, Some(headers.len() + 3))?;
    for (key, value) in headers {
        head.insert_header((*key).to_owned(), *value)?;
    }
    head.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    let bare = session.req_header().method == http::Method::HEAD || body.is_empty();
    session.write_response_header(Box::new(head), bare).await?;
    if !bare {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::default()
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if self.shared.draining.load(Ordering::Relaxed) {
            session.set_keepalive(None);
        }
        if let Some(why) = request::unclean(session) {
            session.set_keepalive(None);
            return self.refused(session, ctx, 400, "malformed", format!("400: {why}.\n")).await;
        }
        if request::normalise_path(session.req_header_mut()).is_err() {
            return self.refused(session, ctx, 400, "malformed", "400: the path leads above the root.\n".into()).await;
        }
        let routes = self.routes.load();
        let table = self.shared.table.load().routes.get(routes.as_str()).cloned();
        let head = session.req_header();
        let action =
            table.as_ref().and_then(|t| t.find(&request::host(head), head.uri.path(), &request::View(head)).cloned());
        match action {
            None => self.refused(session, ctx, 404, "no-route", "404: no route has this host.\n".into()).await,
            Some(Action::Direct(direct)) => self.direct(session, ctx, &direct).await,
            Some(Action::Forward(forward)) => {
                if let Some(protocol) = request::settle_upgrade(session.req_header_mut())
                    && !(forward.websocket && protocol.eq_ignore_ascii_case("websocket"))
                {
                    ctx.class = Some(forward.class.clone());
                    let body = "403: this path does not change the protocol.\n".to_owned();
                    return self.refused(session, ctx, 403, "upgrade", body).await;
                }
                self.forward(session, ctx, &forward).await
            }
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let Some(forward) = &ctx.forward else {
            return Error::e_explain(ErrorType::InternalError, "a request without a route");
        };
        let Some(cluster) = self.cluster(forward) else {
            ctx.verdict = Some((503, "503: the class is no longer served here.\n"));
            return Error::e_explain(ErrorType::HTTPStatus(503), "the cluster is gone");
        };
        let (place, host) = match cluster.pick(&ctx.tried, self.shared.now_ms()) {
            Ok(picked) => picked,
            Err(none) => {
                let (reason, words) = match none {
                    NoPick::Empty => ("no-place", "503: no permitted place can serve this class now.\n"),
                    NoPick::Full => ("overflow", "503: every backend is at its limit.\n"),
                };
                self.refuse(Some(&forward.class), reason);
                (ctx.verdict, ctx.refusal) = (Some((503, words)), Some(reason));
                return Error::e_explain(ErrorType::HTTPStatus(503), "no endpoint");
            }
        };
        let mut peer = HttpPeer::new(host.address, false, String::new());
        peer.options.custom_l4 = Some(Arc::clone(&cluster.dialer) as _);
        peer.options.idle_timeout = Some(IDLE);
        if ctx.tried.hosts.is_empty() {
            cluster.places[place].meters.pick();
        }
        let stream = forward.timeout.is_none();
        ctx.attempt = Some(Attempt::begin(&self.shared, cluster, place, host, stream, ctx.permit.take()));
        Ok(Box::new(peer))
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if let Some(attempt) = &mut ctx.attempt {
            attempt.connection = digest.and_then(|d| d.proxy_digest.clone());
            // The clocks start when a request is sent whole. Until then a backend that has stopped reading is found by this.
            let time = ctx.forward.as_ref().and_then(|f| f.per_try_timeout.or(f.timeout)).unwrap_or(WRITE_MAX);
            if let Some(Err(error)) = attempt.connection.as_deref().map(|c| upstream::bound_writes(c, time)) {
                tracing::debug!(%error, "the connection has no bound on its writes");
            }
        }
        // With a body, the clocks start when all of it has been sent on.
        if session.as_mut().is_body_empty() || ctx.body_sent {
            self.begin_clocks(ctx);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        _: &mut Ctx,
    ) -> Result<()> {
        request::tidy(session, upstream)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if end {
            self.begin_clocks(ctx);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let status = head.status.as_u16();
        if head.status.is_informational() && status != 101 {
            return Ok(());
        }
        let Some(attempt) = &mut ctx.attempt else { return Ok(()) };
        attempt.head_came(&self.shared);
        if !attempt.clocks.head_came() {
            return Error::e_explain(ErrorType::ReadTimedout, "the answer came too late").map_err(Error::into_up);
        }
        let meters = Arc::clone(attempt.meters());
        meters.answered(status);
        if status < 500 {
            attempt.ended(&self.shared, Outcome::Good);
        } else if self.failed(session, ctx, Failure::Status(status), true) {
            ctx.again = true;
            return Error::e_explain(ErrorType::HTTPStatus(status), "tried elsewhere").map_err(Error::into_up);
        }
        ctx.answering = true;
        let empty = session.req_header().method == http::Method::HEAD
            || matches!(status, 101 | 204 | 304)
            || head.headers.get(header::CONTENT_LENGTH).is_some_and(|l| l.as_bytes() == b"0");
        if let (true, Some(attempt)) = (empty, &ctx.attempt) {
            attempt.clocks.done();
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        if let (true, Some(attempt)) = (end, &ctx.attempt) {
            attempt.clocks.done();
        }
        Ok(None)
    }

    async fn response_filter(&self, session: &mut Session, _head: &mut ResponseHeader, _ctx: &mut Ctx) -> Result<()> {
        if self.shared.draining.load(Ordering::Relaxed) {
            session.set_keepalive(None);
        }
        Ok(())
    }

    fn fail_to_connect(&self, session: &mut Session, _: &HttpPeer, ctx: &mut Ctx, mut e: Box<Error>) -> Box<Error> {
        let again = self.failed(session, ctx, Failure::Connect, false);
        e.set_retry(again);
        e
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        e.set_retry(false);
        if std::mem::take(&mut ctx.again) {
            e.set_retry(true);
            return e;
        }
        if *e.esource() == ErrorSource::Downstream {
            return e;
        }
        let late = ctx.attempt.as_ref().and_then(|a| a.clocks.late());
        if ctx.answering || late == Some(Late::Request) {
            if let Some(attempt) = ctx.attempt.take() {
                attempt.ended(&self.shared, Outcome::Gateway);
                attempt.meters().failed();
            }
            ctx.verdict = Some((504, "504: no answer in time.\n"));
            return e;
        }
        let timed_out = late.is_some() || upstream::timed_out(&e);
        // A kept connection that the backend had closed says nothing about the backend; a new one will tell.
        let safe = retry::is_safe(&session.req_header().method) && !session.as_ref().retry_buffer_truncated();
        if reused && !timed_out && safe && !std::mem::replace(&mut ctx.stale_used, true) {
            ctx.permit = ctx.attempt.take().and_then(Attempt::give_permit);
            e.set_retry(true);
            return e;
        }
        let failure = if timed_out { Failure::PerTryTimeout } else { Failure::Reset };
        let again = self.failed(session, ctx, failure, true);
        e.set_retry(again);
        e
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        if session.response_written().is_some() || *e.esource() == ErrorSource::Downstream {
            let status = match e.etype() {
                ErrorType::InvalidHTTPHeader | ErrorType::HTTPStatus(_) => 400,
                _ => 0,
            };
            if status > 0 && session.response_written().is_none() {
                session.respond_error(status).await.ok();
            }
            return FailToProxy { error_code: status, can_reuse_downstream: false };
        }
        let (status, words) = ctx.verdict.unwrap_or((502, "502: the backend failed.\n"));
        let mut headers: Vec<(&str, &str)> = ctx.refusal.map(|reason| (refusal::HEADER, reason)).into_iter().collect();
        headers.extend((status == 503).then_some(RETRY_AFTER));
        session.set_keepalive(None);
        if let Err(error) = answer(session, status, &headers, Bytes::from_static(words.as_bytes())).await {
            tracing::debug!(%error, "the client is gone");
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _e: Option<&Error>, ctx: &mut Ctx) {
        ctx.attempt = None;
        ctx.admitted = None;
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        self.shared.metrics.answered(ctx.class.as_deref().unwrap_or("-"), status);
    }

    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
