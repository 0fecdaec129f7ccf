//! The subscription: responses in, judged, answered, put to use, kept on disk.
//!
//! One task owns the state. Refuses to act on silence: with every server away the edge goes on as it is.

use crate::listen::{Bound, Listeners};
use crate::lkg::Writer;
use crate::model::Refused;
use crate::shared::Shared;
use crate::state::{Incoming, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate_xds::TypeUrl;
use tidegate_xds::client::{AdsClient, ClientConfig, ClientError, ClientEvent, NodeIdentity, Update};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

/// How often a state that the server still stands by is written anew, so that its age on disk is that of the last word.
const TOUCH: Duration = Duration::from_secs(30);

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
    /// Why listeners could not be bound, as it was logged last.
    pub(crate) complaint: Vec<String>,
    /// Types to which this connection's server has answered, and nothing of it was refused.
    pub(crate) answered: BTreeSet<TypeUrl>,
    /// The next response may be of an older generation.
    pub(crate) accept_older: bool,
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
        let mut retries = ticks(Duration::from_millis(200));
        let mut touches = ticks(TOUCH);
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = retries.tick() => {
                    self.listen();
                    continue;
                }
                _ = touches.tick() => {
                    self.keep_if_confirmed();
                    continue;
                }
            };
            let Some(event) = event else { return };
            let done = match event {
                ClientEvent::Connected { server, .. } => {
                    self.connected(server);
                    Ok(())
                }
                ClientEvent::Disconnected { server, reason } => {
                    self.disconnected(&server, &reason);
                    Ok(())
                }
                ClientEvent::Update(update) => self.update(&client, update).await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    fn connected(&mut self, server: String) {
        tracing::info!(server, "subscribed");
        self.answered.clear();
        self.shared.metrics.ads_connected.set(1);
        self.server.clone_from(&server);
        self.reports_to.send_replace(Some(server.clone()));
        self.shared.note(|s| s.server = Some(server));
    }

    fn disconnected(&mut self, server: &str, reason: &str) {
        tracing::warn!(server, reason, "no control plane; going on with the last good state");
        // Until now it was good, whenever it last changed.
        self.keep_if_confirmed();
        self.answered.clear();
        self.shared.metrics.ads_connected.set(0);
        self.reports_to.send_replace(None);
        self.shared.note(|s| s.server = None);
    }

    /// The server of this connection has said all that it had to say, if only that it is nothing: it answers each new
    /// wildcard, and listeners last but routes.
    fn is_confirmed(&self) -> bool {
        [TypeUrl::Cds, TypeUrl::Lds].iter().all(|t| self.answered.contains(t))
    }

    fn keep_if_confirmed(&self) {
        if self.is_confirmed() {
            self.keep();
        }
    }

    /// Half a state, between two responses, would be a poor thing to start from.
    fn keep(&self) {
        if self.state.is_whole() {
            self.writer.write(self.state.save(&self.group, &self.server, self.shared.source().generation));
        }
    }

    /// Makes the sockets those that the accepted state wants. Somebody may hold the address of one (a predecessor for a
    /// moment, another program for good): that is said once, shown, and tried again; the others do not wait for it.
    fn listen(&mut self) {
        let (bound, unbound) = self.listeners.bind(&self.state.listeners, &self.waiting);
        self.follow(bound);
        if self.complaint == unbound {
            return;
        }
        for why in unbound.iter().filter(|why| !self.complaint.contains(why)) {
            tracing::error!(why, "tried again until it can be had");
        }
        self.shared.metrics.unbound.set(i64::try_from(unbound.len()).unwrap_or(i64::MAX));
        self.shared.note(|s| s.unbound.clone_from(&unbound));
        self.complaint = unbound;
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
        let updates = self.shared.metrics.updates.clone();
        let count = |answer: &str| updates.with_label_values(&[type_url.short(), answer]).inc();
        if let Some(why) = self.is_older(&update) {
            count("nack");
            self.shared.metrics.older_refused.inc();
            tracing::error!(
                server = self.server,
                why,
                "a server with an older state is left; the last good state stays"
            );
            self.shared.note(|s| s.last_refusal = Some(why.clone()));
            client.nack(&update.token, &why).await?;
            return client.leave(&update.token, &why).await;
        }
        let before = [TypeUrl::Eds, TypeUrl::Rds].map(|t| (t, self.state.wanted(t)));
        let refused = self.take(&update);
        if refused.is_empty() {
            count("ack");
            client.ack(&update.token).await?;
        } else {
            count("nack");
            let why = refused.values().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::error!(r#type = %type_url, why, "refused of the control plane's response; the last good stays");
            self.shared.note(|s| s.last_refusal = Some(why.clone()));
            client.nack_in_part(&update.token, refused.into_keys().collect(), &why).await?;
        }
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

    /// Why a response is not even looked at. A second server whose store lags, or was restored, would take back what the
    /// first one decided since, drains among it.
    fn is_older(&mut self, update: &Update) -> Option<String> {
        let let_through = std::mem::replace(&mut self.accept_older, false);
        let (offered, held) = (update.tag?, self.shared.source().generation?);
        if offered >= held {
            return None;
        }
        if let_through {
            tracing::warn!(offered, held, server = self.server, "an older generation is taken, as --accept-older says");
            return None;
        }
        Some(format!(
            "generation {offered} is older than {held}, which this edge holds (if the store was restored on purpose, \
             restart the edge with --accept-older)"
        ))
    }

    /// Takes what is good of a response; the rest, by name.
    fn take(&mut self, update: &Update) -> BTreeMap<String, Refused> {
        let incoming = |r: &tidegate_xds::client::AddedResource| Incoming {
            name: r.name.clone(),
            version: r.version.clone(),
            value: r.value.clone(),
        };
        let added: Vec<Incoming> = update.added.iter().map(incoming).collect();
        let mut change = self.state.judge(update.token.type_url, &added, &update.removed);
        let refused = std::mem::take(&mut change.refused);
        if !added.is_empty() && refused.len() == added.len() && update.removed.is_empty() {
            return refused;
        }
        self.state.commit(change, &self.shared);
        self.listen();
        if refused.is_empty() {
            self.answered.insert(update.token.type_url);
        }
        let (metrics, now) = (&self.shared.metrics, SystemTime::now());
        metrics.last_update.set(unix_seconds(now));
        if let Some(generation) = update.tag {
            metrics.ads_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        }
        let (whole, confirmed) = (self.state.is_whole(), self.is_confirmed());
        self.shared.note(|s| {
            s.accepted_at = Some(now);
            s.generation = update.tag.or(s.generation);
            s.ready |= whole;
            if confirmed {
                s.disk_good_at = None;
            }
        });
        if confirmed {
            metrics.from_disk.set(0);
        }
        self.keep();
        refused
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}
