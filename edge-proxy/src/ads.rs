//! The subscription: responses in, judged, answered, put to use, kept on disk.
//!
//! One task owns the state. Refuses to act on silence: with every server away the edge goes on as it is.

use crate::listen::{Bound, Listeners};
use crate::lkg::Writer;
use crate::shared::Shared;
use crate::state::{Incoming, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate_xds::TypeUrl;
use tidegate_xds::client::{AdsClient, ClientConfig, ClientError, ClientEvent, NodeIdentity, Update};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

/// The owner of the accepted state.
pub(crate) struct Subscriber {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) state: State,
    /// Sockets of listeners whose routes or endpoints are not known yet: nothing is accepted there until they are.
    pub(crate) waiting: Vec<Bound>,
    pub(crate) writer: Writer,
    pub(crate) group: String,
    pub(crate) server: String,
    /// Why a listener could not be bound, as it was logged last.
    pub(crate) complaint: Option<String>,
    /// Where load is reported: to the server of the subscription.
    pub(crate) reports_to: watch::Sender<Option<String>>,
}

/// How this edge subscribes: everything known, and what it holds already.
pub(crate) fn client_config(servers: Vec<String>, node: &str, group: &str, state: &State) -> ClientConfig {
    let identity = NodeIdentity {
        id: node.to_owned(),
        cluster: "edge-proxy".to_owned(),
        region: group.to_owned(),
        zone: String::new(),
        user_agent: "tidegate-edge".to_owned(),
        user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut config = ClientConfig::new(servers, identity);
    config.backoff_max = Duration::from_secs(2);
    let names = |type_url| state.wanted(type_url).into_iter().collect::<Vec<String>>();
    config.subscriptions = TypeUrl::ALL.map(|t| (t, names(t))).into_iter().filter(|(_, n)| !n.is_empty()).collect();
    config.known = state.known();
    config
}

impl Subscriber {
    pub(crate) async fn run(mut self, client: AdsClient, mut events: Receiver<ClientEvent>) {
        let mut retries = tokio::time::interval(Duration::from_millis(200));
        retries.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = retries.tick() => {
                    self.bind_missing();
                    continue;
                }
            };
            let Some(event) = event else { return };
            let done = match event {
                ClientEvent::Connected { server, .. } => {
                    tracing::info!(server, "subscribed");
                    self.shared.metrics.ads_connected.set(1);
                    self.server.clone_from(&server);
                    self.reports_to.send_replace(Some(server.clone()));
                    self.shared.note(|s| s.server = Some(server));
                    Ok(())
                }
                ClientEvent::Disconnected { server, reason } => {
                    tracing::warn!(server, reason, "no control plane; going on with the last good state");
                    self.shared.metrics.ads_connected.set(0);
                    self.reports_to.send_replace(None);
                    self.shared.note(|s| s.server = None);
                    Ok(())
                }
                ClientEvent::Update(update) => self.update(&client, update).await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Somebody may still hold the address of a saved listener for a moment: it is tried again.
    fn bind_missing(&mut self) {
        match self.listeners.bind(&self.state.listeners, &self.waiting) {
            Ok(bound) if bound.is_empty() => self.complaint = None,
            Ok(bound) => self.follow(bound),
            Err(why) if self.complaint.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::error!(why, "tried again until it can be had");
                self.complaint = Some(why);
            }
        }
    }

    fn follow(&mut self, bound: Vec<Bound>) {
        let (state, waiting) = (&self.state, std::mem::take(&mut self.waiting));
        // A later binding of the same listener replaces the one that waits.
        let stays = |b: &Bound| state.listeners.contains_key(b.name()) && !bound.iter().any(|n| n.name() == b.name());
        let mut all: Vec<Bound> = waiting.into_iter().filter(stays).collect();
        all.extend(bound);
        let (warm, cold) = all.into_iter().partition(|b| state.is_warm(b.name()));
        self.listeners.follow(&state.listeners, warm);
        self.waiting = cold;
    }

    async fn update(&mut self, client: &AdsClient, update: Update) -> Result<(), ClientError> {
        let type_url = update.token.type_url;
        let before = [TypeUrl::Eds, TypeUrl::Rds].map(|t| (t, self.state.wanted(t)));
        let updates = self.shared.metrics.updates.clone();
        let count = |answer: &str| updates.with_label_values(&[type_url.short(), answer]).inc();
        if let Err(why) = self.take(&update) {
            count("nack");
            tracing::error!(r#type = %type_url, why, "a response of the control plane is refused; the last good state stays");
            self.shared.note(|s| s.last_refusal = Some(why.clone()));
            return client.nack(&update.token, &why).await;
        }
        count("ack");
        client.ack(&update.token).await?;
        for (type_url, before) in before {
            let after = self.state.wanted(type_url);
            let difference = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
            let (new, gone) = (difference(&after, &before), difference(&before, &after));
            if !new.is_empty() {
                client.subscribe(type_url, new).await?;
            }
            if !gone.is_empty() {
                client.unsubscribe(type_url, gone).await?;
            }
        }
        Ok(())
    }

    fn take(&mut self, update: &Update) -> Result<(), String> {
        let incoming = |r: &tidegate_xds::client::AddedResource| Incoming {
            name: r.name.clone(),
            version: r.version.clone(),
            value: r.value.clone(),
        };
        let added: Vec<Incoming> = update.added.iter().map(incoming).collect();
        let change = self.state.judge(update.token.type_url, &added, &update.removed).map_err(|e| e.to_string())?;
        let bound = self.listeners.bind(&change.next.listeners, &self.waiting)?;
        self.state.commit(change, &self.shared);
        self.follow(bound);
        let (metrics, now) = (&self.shared.metrics, SystemTime::now());
        metrics.last_update.set(unix_seconds(now));
        metrics.from_disk.set(0);
        if let Some(generation) = update.tag {
            metrics.ads_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        }
        let whole = self.state.is_whole();
        self.shared.note(|s| {
            (s.accepted_at, s.disk_good_at) = (Some(now), None);
            s.generation = update.tag.or(s.generation);
            s.ready |= whole;
        });
        // Half a state, between two responses, would be a poor thing to start from.
        if whole {
            self.writer.write(self.state.save(&self.group, &self.server, self.shared.source().generation));
        }
        Ok(())
    }
}

pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}
