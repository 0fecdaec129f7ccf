//! A gRPC health check: one `grpc.health.v1.Health/Check` on a connection of its own, as
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md> defines it.
//!
//! SERVING is well. Every other status, an error (an unknown service is NOT_FOUND) and no answer are failures. Refuses
//! to leave anything behind: the connection's tasks belong to the probe and end with it.

#[cfg(test)]
mod tests;

use super::{Rest, USER_AGENT};
use http::Uri;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_prober::Ended;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, TimeoutExpired};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// An answer holds one number.
const ANSWER_MAX: usize = 1_024;

/// What is asked of one target.
#[derive(Debug)]
pub(crate) struct Question {
    endpoint: Endpoint,
    service: String,
}

impl Question {
    /// None when `authority` is none.
    pub(super) fn new(authority: &str, tls: bool, service: &str) -> Option<Self> {
        // The channel is handed a finished connection: a scheme with TLS would make it look for settings of its own.
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).ok()?.user_agent(USER_AGENT).ok()?;
        let origin: Uri = format!("{}://{authority}", if tls { "https" } else { "http" }).parse().ok()?;
        Some(Self { endpoint: endpoint.origin(origin), service: service.to_owned() })
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the connection's tasks. They hold it in turn, so that only [`Owned`] ends them.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);
impl Tasks {
    fn take(&self) -> JoinSet<()> {
        self.0.lock().map(|mut tasks| std::mem::take(&mut *tasks)).unwrap_or_default()
    }
}
impl Executor<Task> for Tasks {
    fn execute(&self, task: Task) {
        if let Ok(mut tasks) = self.0.lock() {
            tasks.spawn(task);
        }
    }
}

/// Ends the tasks where the probe is given up: a time-out drops it in the middle.
struct Owned(Tasks);
impl Drop for Owned {
    fn drop(&mut self) {
        self.0.take().abort_all();
    }
}

/// Asks once, over `stream`. `limit` tells the server when nobody will wait any more; the caller keeps it.
pub(super) async fn check<S>(stream: S, question: &Question, limit: Duration) -> (Ended, Option<Rest>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let owned = Owned(Tasks::default());
    let Ok(channel) = channel(stream, question, owned.0.clone()).await else { return (Ended::Protocol, None) };
    let mut client = HealthClient::new(channel).max_decoding_message_size(ANSWER_MAX);
    let mut request = Request::new(HealthCheckRequest { service: question.service.clone() });
    request.set_timeout(limit);
    let ended = match client.check(request).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ended::Ok,
        Ok(_) => Ended::Status,
        Err(status) => failed(&status),
    };
    drop(client);
    (ended, Some(Rest::Closing(owned.0.take())))
}

async fn channel<S>(stream: S, question: &Question, tasks: Tasks) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // One connection, never another behind the probe's back.
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| std::io::Error::other("a probe has one connection")) }
    });
    question.endpoint.clone().executor(tasks).connect_with_connector(once).await
}

/// A status that the server sent has no source; one that the client made of an error has.
fn failed(status: &Status) -> Ended {
    let sources = || std::iter::successors(status.source(), |error| <dyn Error>::source(*error));
    if sources().any(|error| error.is::<TimeoutExpired>()) {
        return Ended::Timeout;
    }
    if sources().next().is_some() { Ended::Protocol } else { Ended::Status }
}
