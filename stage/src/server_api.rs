//! What the stage asks of the server, in one place. Owns the adaptation of the operator API to the few questions that
//! stories have; refuses to know more of it.

use crate::clock::{monotonic_ns, now_ns};
use crate::raw::{Lines, ServerLine};
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_api::{
    DecisionDetail, Document, Done, DrainAnswer, DrainRequest, DrainState, Drains, Edges, EventLine, ReloadRequest,
    Replay, RestoreRequest, Splits, Status, Verdicts,
};

/// One class at one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// `payroll/eu`.
    pub class: String,
    /// Client group.
    pub group: String,
    /// `routed`, `wrong-jurisdiction`, `no-place`.
    pub serving: String,
    /// Shed part, basis points.
    pub shed_bps: u64,
    /// Region → basis points.
    pub shares: BTreeMap<String, u64>,
}

/// The operator API of one server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Server {
    pub(crate) fn new(api: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { base: format!("http://{api}"), token: token.to_owned(), http })
    }
    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await?;
        read(path, answer).await
    }
    async fn post<B: Serialize + Sync, T: DeserializeOwned>(&self, path: &str, body: &B) -> anyhow::Result<T> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        // A reload plans every contingency before it answers.
        read(path, request.json(body).timeout(Duration::from_secs(30)).send().await?).await
    }
    pub(crate) async fn status(&self) -> anyhow::Result<Status> {
        self.get("/v1/status").await
    }
    pub(crate) async fn edges(&self) -> anyhow::Result<Edges> {
        self.get("/v1/edges").await
    }
    /// Generation and splits.
    pub(crate) async fn splits(&self) -> anyhow::Result<(u64, Vec<Split>)> {
        let all: Splits = self.get("/v1/splits").await?;
        let splits = all.splits.into_iter().map(|s| Split {
            class: s.class,
            group: s.group,
            serving: s.serving,
            shed_bps: u64::from(s.shed_bps),
            shares: s.weights.into_iter().map(|w| (w.region, u64::from(w.share_bps))).filter(|(_, b)| *b > 0).collect(),
        });
        Ok((all.generation, splits.collect()))
    }
    /// Providers with a standing verdict of Down.
    pub(crate) async fn providers_down(&self) -> anyhow::Result<Vec<String>> {
        let all: Verdicts = self.get("/v1/verdicts").await?;
        let down = all.verdicts.into_iter().filter(|v| v.kind == "provider" && v.health == "down");
        Ok(down.map(|v| v.name).collect())
    }
    /// How many of the endpoints are Down.
    pub(crate) async fn endpoints_down(&self) -> anyhow::Result<usize> {
        let all: Verdicts = self.get("/v1/verdicts").await?;
        Ok(all.verdicts.iter().filter(|v| v.kind == "endpoint" && v.health == "down").count())
    }
    pub(crate) async fn drain(&self, place: &str, reason: &str) -> anyhow::Result<DrainAnswer> {
        let request = DrainRequest {
            place: place.to_owned(),
            service: None,
            for_ms: None,
            grace_ms: Some(2_000),
            reason: reason.to_owned(),
            dry_run: false,
        };
        self.post("/v1/drains", &request).await
    }
    pub(crate) async fn drains(&self) -> anyhow::Result<Vec<DrainState>> {
        Ok(self.get::<Drains>("/v1/drains").await?.drains)
    }
    pub(crate) async fn restore(&self, place: &str, reason: &str) -> anyhow::Result<DrainAnswer> {
        let request =
            RestoreRequest { place: place.to_owned(), service: None, reason: reason.to_owned(), dry_run: false };
        self.post("/v1/restores", &request).await
    }
    /// Hands in a whole configuration.
    pub(crate) async fn reload(&self, documents: Vec<Document>, reason: &str) -> anyhow::Result<Done> {
        let request =
            ReloadRequest { documents, yes_remove: false, accept_gap: true, dry_run: false, reason: reason.to_owned() };
        self.post("/v1/config/reload", &request).await
    }
    /// Every decision on record, page by page.
    pub(crate) async fn decisions(&self) -> anyhow::Result<Vec<DecisionDetail>> {
        #[derive(serde::Deserialize)]
        struct Page {
            decisions: Vec<DecisionDetail>,
        }
        let mut all: Vec<DecisionDetail> = Vec::new();
        loop {
            let after = all.last().map_or(0, |d| d.line.id);
            let page: Page = self.get(&format!("/v1/decisions?after={after}")).await?;
            let before = all.len();
            all.extend(page.decisions.into_iter().filter(|d| d.line.id > after));
            if all.len() == before {
                return Ok(all);
            }
        }
    }
    pub(crate) async fn replay(&self, id: u64) -> anyhow::Result<Replay> {
        self.post(&format!("/v1/decisions/{id}/replay"), &serde_json::json!({})).await
    }
    /// Follows the events for ever; goes on where it was after a break.
    pub(crate) async fn follow(self, feed: Arc<Feed>) {
        // The event stream stays open: no time-out on the whole of it.
        let Ok(http) = reqwest::Client::builder().no_proxy().build() else { return };
        let mut next = 0_u64;
        loop {
            let url = format!("{}/v1/events?follow=true&from={next}", self.base);
            if let Ok(answer) = http.get(&url).bearer_auth(&self.token).send().await {
                let (mut bytes, mut rest) = (answer.bytes_stream(), Vec::<u8>::new());
                while let Some(Ok(chunk)) = bytes.next().await {
                    rest.extend_from_slice(&chunk);
                    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                        let line: Vec<u8> = rest.drain(..=end).collect();
                        if let Ok(event) = serde_json::from_slice::<EventLine>(&line) {
                            next = next.max(event.sequence);
                            feed.put(event);
                        }
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn read<T: DeserializeOwned>(path: &str, answer: reqwest::Response) -> anyhow::Result<T> {
    let status = answer.status();
    let body = answer.bytes().await?;
    if !status.is_success() {
        let words = String::from_utf8_lossy(&body).chars().take(600).collect::<String>();
        anyhow::bail!("{path}: {status}: {words}");
    }
    serde_json::from_slice(&body).map_err(|e| anyhow::anyhow!("{path}: {e}"))
}

/// Events as they came, each with the stage's own time.
#[derive(Debug)]
pub(crate) struct Feed {
    events: Mutex<Vec<(u64, EventLine)>>,
    lines: Lines,
    providers: Vec<String>,
}

impl Feed {
    /// Writes what it hears of `providers` to `path`, and what is asked of the server beside it.
    pub(crate) fn to(path: &Path, providers: Vec<String>) -> std::io::Result<Self> {
        Ok(Self { events: Mutex::default(), lines: Lines::append(path)?, providers })
    }
    pub(crate) fn write(&self, line: &ServerLine) {
        self.lines.write(line);
    }
    fn put(&self, event: EventLine) {
        let arrived = now_ns();
        // The server's stamp is nearer to the truth than the arrival here, if it is of this boot.
        let stamped = event.mono_ns.saturating_add(arrived.saturating_sub(monotonic_ns()));
        let at = if arrived.abs_diff(stamped) < 2_000_000_000 { stamped.min(arrived) } else { arrived };
        let named = event.about.strip_prefix("provider ").unwrap_or(&event.about);
        if let (true, Some(provider)) = (event.kind == "verdict", self.providers.iter().find(|p| *p == named)) {
            let down = says_down(&event, provider);
            self.write(&ServerLine::Verdict { t_ns: at, provider: provider.clone(), down });
        }
        self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, event));
    }
    /// When the verdict "down" on `provider` came, if it has since `since_ns`.
    pub(crate) fn provider_down(&self, provider: &str, since_ns: u64) -> Option<u64> {
        let events = self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = events.iter().find(|(t, e)| *t >= since_ns && says_down(e, provider));
        found.map(|(t, _)| *t)
    }
    /// What was called down, degraded or unreachable since `since_ns`, by name.
    pub(crate) fn accused(&self, since_ns: u64) -> Vec<String> {
        let events = self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        events.iter().filter(|(t, e)| *t >= since_ns && accuses(e)).map(|(_, e)| e.about.clone()).collect()
    }
}

fn accuses(event: &EventLine) -> bool {
    let text = event.text.to_lowercase();
    event.kind == "verdict" && [" to down", " to degraded", " to unknown"].iter().any(|end| text.contains(end))
}

fn says_down(event: &EventLine, provider: &str) -> bool {
    let about = event.about.strip_prefix("provider ").unwrap_or(&event.about);
    event.kind == "verdict" && about == provider && event.text.to_lowercase().contains("down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_not_its_region() {
        let event = |about: &str, text: &str| EventLine {
            sequence: 1,
            at_ms: 0,
            mono_ns: 0,
            kind: "verdict".into(),
            decision: None,
            about: about.into(),
            by: None,
            text: text.into(),
        };
        assert!(says_down(&event("provider aws", "provider aws is down"), "aws"));
        assert!(says_down(&event("aws", "healthy → Down"), "aws"));
        assert!(!says_down(&event("region aws/us-east-1", "down"), "aws"));
        assert!(!says_down(&event("provider aws", "healthy again"), "aws"));
    }
}
