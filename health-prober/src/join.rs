//! The first start of a prober that has a join token and no keyring yet: it asks a server for the keyring and keeps it.
//!
//! Owns the asking, server after server, and the file. What the token proves and how the keyring is sealed is
//! `tidegate_gossip::join`'s. Refuses to touch a keyring that is there.

use crate::targets;
use anyhow::{Context, bail, ensure};
use backon::BackoffBuilder;
use ring::rand::{SecureRandom, SystemRandom};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tidegate_domain::Name;
use tidegate_gossip::join::{Joining, NONCE_BYTES};
use tidegate_proto::v1::prober_feed_client::ProberFeedClient;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// Longer than a server needs to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Writes `keyring` if it is not there, out of a server's answer to the token in `token_file`. Asks on while servers are
/// silent; a refusal by all of them ends it.
pub(crate) async fn keyring(
    keyring: &Path,
    token_file: &Path,
    vantage: &Name,
    servers: &[Endpoint],
) -> anyhow::Result<()> {
    let shown = keyring.display();
    if keyring.exists() {
        tracing::info!(keyring = %shown, "the keyring is here already: the join token is not used");
        return Ok(());
    }
    ensure!(!servers.is_empty(), "--join-token: name the server that gave the token with --server");
    let joining = joining(token_file, vantage)?;
    let backoff = backon::ExponentialBuilder::default().with_jitter().without_max_times();
    let mut delays = backoff.with_min_delay(Duration::from_millis(200)).with_max_delay(Duration::from_secs(5)).build();
    let text = loop {
        match round(&joining, servers).await? {
            Some(text) => break text,
            None => tokio::time::sleep(delays.next().unwrap_or(ANSWER)).await,
        }
    };
    targets::write_as(keyring, text.as_bytes(), 0o600).with_context(|| format!("{shown} cannot be written"))?;
    tracing::info!(keyring = %shown, "let in: the keyring is written; the token is used up");
    Ok(())
}

fn joining(file: &Path, vantage: &Name) -> anyhow::Result<Joining> {
    let shown = file.display();
    let mode = std::fs::metadata(file).with_context(|| format!("--join-token {shown}"))?.permissions().mode();
    ensure!(mode & 0o077 == 0, "--join-token {shown} can be read by others: chmod 600 {shown}");
    let token = std::fs::read_to_string(file).with_context(|| format!("--join-token {shown}"))?;
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut nonce).ok().context("the system gives no randomness")?;
    Joining::new(&token, vantage, nonce).with_context(|| format!("--join-token {shown}"))
}

/// Asks each server once. None: one at least did not answer, and none let the prober in.
async fn round(joining: &Joining, servers: &[Endpoint]) -> anyhow::Result<Option<String>> {
    let mut refusals = Vec::new();
    for server in servers {
        let asked = async {
            let channel = server.connect().await.map_err(|e| Status::unavailable(e.to_string()))?;
            ProberFeedClient::new(channel).join(joining.request()).await
        };
        let answer = tokio::time::timeout(ANSWER, asked).await;
        match answer.unwrap_or_else(|_| Err(Status::unavailable("no answer"))) {
            Ok(reply) => return Ok(Some(joining.open(reply.get_ref())?)),
            Err(status) => {
                tracing::warn!(server = %server.uri(), refusal = status.message(), "not let in");
                if matches!(status.code(), Code::PermissionDenied | Code::Unimplemented | Code::InvalidArgument) {
                    refusals.push(format!("{}: {}", server.uri(), status.message()));
                }
            }
        }
    }
    if refusals.len() == servers.len() {
        bail!("no server lets this prober in: {}", refusals.join("; "));
    }
    Ok(None)
}
