//! Where the list comes from: a server's stream, tried in turn, and the copy kept on disk.
//!
//! Owns the client side of `ProberFeed`. Refuses plain text to a server that is not on this machine, unless
//! told; a list that does not pass its checks is not used and not kept.

use crate::targets;
use anyhow::{Context, bail};
use backon::BackoffBuilder;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::Name;
use tidegate_prober::List;
use tidegate_proto::v1::WatchTargets;
use tidegate_proto::v1::prober_feed_client::ProberFeedClient;
use tokio::sync::watch;
use tonic::transport::Endpoint;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that went away without a word is noticed after two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

pub(crate) struct Feed {
    pub(crate) vantage: Name,
    pub(crate) servers: Vec<Endpoint>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) lists: watch::Sender<Option<Arc<List>>>,
}

/// Takes a server's address; plain text is for loopback, or for those who ask for it.
pub(crate) fn server(address: &str, insecure_plaintext: bool) -> anyhow::Result<Endpoint> {
    let uri: http::Uri = address.parse().with_context(|| format!("--server {address}: not an address"))?;
    if uri.scheme_str() != Some("http") {
        bail!("--server {address}: only http:// is spoken so far");
    }
    let host = uri.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !loopback && !insecure_plaintext {
        bail!("--server {address}: not on this machine; pass --insecure-plaintext to speak plain text to it");
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true))
}

impl Feed {
    /// Follows the servers for ever: the first that answers, the next when it ends.
    pub(crate) async fn run(self) {
        let backoff = || {
            let every = backon::ExponentialBuilder::default().with_jitter().without_max_times();
            every.with_min_delay(Duration::from_millis(200)).with_max_delay(Duration::from_secs(5)).build()
        };
        let mut delays = backoff();
        let mut at = 0;
        loop {
            let server = &self.servers[at % self.servers.len()];
            let (got_one, error) = self.follow(server).await;
            if got_one {
                delays = backoff();
            }
            tracing::warn!(server = %server.uri(), error = format!("{error:#}"), "target feed ended; the list in use stays");
            at += 1;
            tokio::time::sleep(delays.next().unwrap_or(CONNECT_TIMEOUT)).await;
        }
    }

    /// Follows one server until it ends; whether it answered at all, and why it ended.
    async fn follow(&self, server: &Endpoint) -> (bool, anyhow::Error) {
        let have = self.lists.borrow().as_ref().map(|list| list.revision.0.to_vec()).unwrap_or_default();
        let watch = WatchTargets { vantage: self.vantage.to_string(), have_revision: have };
        let opened = async {
            let mut client = ProberFeedClient::new(server.connect().await?).max_decoding_message_size(16 << 20);
            anyhow::Ok(client.watch(watch).await?.into_inner())
        };
        let mut stream = match opened.await {
            Ok(stream) => stream,
            Err(error) => return (false, error),
        };
        tracing::info!(server = %server.uri(), "following the target feed");
        loop {
            match stream.message().await {
                Ok(Some(wire)) => match targets::checked(&wire) {
                    Ok(list) => {
                        let kept = self.state_dir.as_ref().map(|folder| targets::keep(folder, &wire));
                        if let Some(Err(error)) = kept {
                            tracing::error!(%error, "the list is used but could not be kept");
                        }
                        self.lists.send_replace(Some(Arc::new(list)));
                    }
                    Err(error) => tracing::error!(%error, "a list was refused; the one in use stays"),
                },
                Ok(None) => return (true, anyhow::anyhow!("the server ended the stream")),
                Err(status) => return (true, status.into()),
            }
        }
    }
}
