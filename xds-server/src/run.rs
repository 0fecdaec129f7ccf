//! The loop: inputs in, one step, effects out. And what stands around it: listeners, start, end.

use crate::admission::Groups;
use crate::app::App;
use crate::flags::Serve;
use crate::metrics::Metrics;
use crate::publish::{Standing, look_up, publish};
use crate::{clock, feed, http, senses, start};
use anyhow::{Context, Result, bail};
use futures::FutureExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidegate_controller::{Candidate, Controller, Effect, Head, Input, LoadIn, persist};
use tidegate_domain::Fleet;
use tidegate_gossip::{KeyFile, shell::Running};
use tidegate_proto::v1::prober_feed_server::ProberFeedServer;
use tidegate_store::Store;
use tidegate_translate::hosts::{hosts, known, lost};
use tidegate_translate::{Encoder, Resolved};
use tidegate_xds::server::lrs::{self, LoadConfig};
use tidegate_xds::server::{ChannelObserver, Engine, EngineConfig, Limits, TokioClock};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Inputs that may wait; whoever brings more waits too.
const INPUTS: usize = 1_024;
/// Events of subscribers that may wait.
const SUBSCRIBER_EVENTS: usize = 65_536;
/// Load reports that may wait; more are lost, and the next come within a second.
const LOADS: usize = 32_768;
/// Inputs taken before one step.
const BATCH: usize = 256;
/// While edges have not all acknowledged, it is looked at so often.
const UNACKED: Duration = Duration::from_millis(50);
/// Host names are looked up so often.
const RESOLVE: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn serve(flags: Serve) -> Result<()> {
    refuse_plain_text(&flags)?;
    let config_dir = flags.config.clone().context("--config DIR is missing: the configuration of the fleet")?;
    let store_dir = flags.store.clone().context("--store DIR is missing: where decisions are recorded")?;
    let tokens = start::tokens(
        flags.tokens.as_deref().context("--tokens FILE is missing: `xds-server token` writes its lines")?,
    )?;
    let keys = KeyFile::open(
        flags.keyring.as_deref().context("--keyring FILE is missing: `xds-server key` writes its lines")?,
    )?;
    let store = tokio::task::spawn_blocking(move || start::open(&store_dir)).await??;
    let metrics = Metrics::new()?;
    let (candidate, differs) = first_candidate(&config_dir, &*store, &metrics)?;
    let (inputs, input_in) = mpsc::channel(INPUTS);
    let (load_out, load_in) = mpsc::channel(LOADS);
    let groups = Arc::new(Groups::default());
    let (observer, subscriber_events) = ChannelObserver::new(SUBSCRIBER_EVENTS);
    let engine = Engine::new(EngineConfig {
        identifier: flags.name.clone(),
        limits: Limits::default(),
        clock: Arc::new(TokioClock::default()),
        admission: Arc::clone(&groups) as _,
        observer,
    });
    let app = Arc::new(App::new(flags, engine, Arc::clone(&store), inputs, tokens, metrics));
    app.directory.store(differs.map(Arc::new));
    http::preload_events(&app)?;
    let seeds: Vec<_> = candidate.fleet.vantages.iter().filter_map(|v| v.gossip.parse().ok()).collect();
    let Running { handle: gossip, outputs, task: gossip_task, .. } = senses::join(&app, keys, seeds).await?;
    let ending = CancellationToken::new();
    let (fleet_out, fleet_in) = watch::channel(None);
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    tasks.spawn(http::serve(Arc::clone(&app), ending.clone()));
    tasks.spawn(grpc(Arc::clone(&app), (Arc::clone(&groups), senses::LoadPort(load_out)), fleet_in, ending.clone()));
    tasks.spawn(senses::listen(Arc::clone(&app), outputs, gossip.snapshot()).map(Ok));
    tasks.spawn(senses::subscribers(Arc::clone(&app), subscriber_events).map(Ok));
    let loaded = persist::load(&*store, candidate, env!("CARGO_PKG_VERSION"))?;
    let mut the_loop = Loop::new(Arc::clone(&app), groups, fleet_out, persist::resolved(&*store));
    the_loop.take(vec![Input::Loaded(Box::new(loaded))]).await;
    let ended = tokio::select! {
        ended = the_loop.run(input_in, load_in) => ended,
        Some(task) = tasks.join_next() => task.unwrap_or_else(|e| Err(e.into())).and_then(|()| bail!("a part of the server ended")),
        () = signalled() => Ok(()),
    };
    tracing::info!("ending: edges are sent away, spread over {} ms", app.flags.shutdown_spread_ms);
    let spread = Duration::from_millis(app.flags.shutdown_spread_ms);
    app.engine.shutdown(spread);
    gossip.leave().await;
    let waited = tokio::time::timeout(spread + Duration::from_secs(1), async {
        while app.engine.connected() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    if waited.await.is_err() {
        tracing::warn!(left = app.engine.connected(), "some edges did not go");
    }
    ending.cancel();
    let _ = gossip_task.await;
    tasks.shutdown().await;
    ended
}

fn refuse_plain_text(flags: &Serve) -> Result<()> {
    let exposed = flags.exposed();
    if exposed.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = exposed.iter().map(ToString::to_string).collect();
    if !flags.insecure_plaintext {
        bail!(
            "{} would be plain text beyond loopback: bind to loopback behind a TLS proxy, or say --insecure-plaintext where the network itself is trusted",
            list.join(" and ")
        );
    }
    tracing::warn!(addresses = list.join(" "), "INSECURE: plain text beyond loopback, as --insecure-plaintext says");
    Ok(())
}

/// What runs at the start: the configuration that was committed last, or on an empty store the directory's. A reload is
/// the one door for a change, with its guards; a start must not be a way around them. The second value says how the
/// directory differs.
fn first_candidate(dir: &Path, store: &dyn Store, metrics: &Metrics) -> Result<(Candidate, Option<String>)> {
    let fresh = tidegate_config::load_dir(dir).map_err(|faults| anyhow::anyhow!("{faults}"));
    if let Ok(loaded) = &fresh {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
    }
    let ready = |loaded| {
        start::candidate(loaded, &metrics.widenings_refused)
            .map_err(|faults| anyhow::anyhow!("the policy: {}", faults.join("; ")))
    };
    let Some(documents) = persist::documents(store)? else {
        let unusable = || format!("the configuration in {} cannot be used", dir.display());
        return Ok((fresh.and_then(ready).with_context(unusable)?, None));
    };
    let texts = documents.into_iter().map(|(name, text)| (name, String::from_utf8_lossy(&text).into_owned())).collect();
    let stood = match (tidegate_config::load_documents(texts), fresh) {
        (Ok(stood), fresh) => (stood, fresh),
        // A newer program may refuse what an older one took. The directory was just checked by this one.
        (Err(faults), Ok(loaded)) => {
            tracing::error!("the committed configuration cannot be read any more, the directory's is taken: {faults}");
            return Ok((ready(loaded)?, None));
        }
        (Err(faults), Err(error)) => bail!(
            "neither the committed configuration ({faults}) nor the one in {} ({error:#}) can be used: mend the directory",
            dir.display()
        ),
    };
    let (stood, fresh) = stood;
    let differs = match fresh {
        Ok(loaded) if loaded.sources == stood.sources => None,
        Ok(loaded) => {
            let revision = loaded.fleet.revision;
            let fault = ready(loaded).err().map_or(String::new(), |e| format!("; it cannot be used: {e:#}"));
            Some(format!("the configuration in {} (revision {revision}) is not what runs{fault}", dir.display()))
        }
        Err(error) => Some(format!("the configuration in {} cannot be used: {error:#}", dir.display())),
    };
    if let Some(differs) = &differs {
        tracing::error!(
            "{differs}; the one that stood goes on until `tidegate config reload --reason ...` takes another"
        );
    }
    Ok((ready(stood)?, differs))
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut term), Ok(mut int)) = (term, int) else { return std::future::pending().await };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

async fn grpc(
    app: Arc<App>,
    (groups, loads): (Arc<Groups>, senses::LoadPort),
    fleet: watch::Receiver<Option<Arc<Fleet>>>,
    ending: CancellationToken,
) -> Result<()> {
    let address = app.flags.xds;
    let servers = vec![app.flags.advertise.unwrap_or(app.flags.gossip).to_string()];
    let listener =
        tokio::net::TcpListener::bind(address).await.with_context(|| format!("xDS port {address} cannot be had"))?;
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .tcp_nodelay(true)
        .add_service(app.engine.service())
        .add_service(lrs::service(LoadConfig::new(groups, Arc::new(loads))))
        .add_service(ProberFeedServer::new(feed::Feed { fleet, servers, door: feed::Door::of(&app) }))
        .serve_with_incoming_shutdown(
            tokio_stream::wrappers::TcpListenerStream::new(listener),
            ending.cancelled_owned(),
        )
        .await
        .context("the gRPC server ended")
}

struct Loop {
    app: Arc<App>,
    controller: Controller,
    groups: Arc<Groups>,
    fleet_out: watch::Sender<Option<Arc<Fleet>>>,
    resolved: Resolved,
    /// What was published last, encoded.
    encoder: Encoder,
    standing: Option<Standing>,
    /// Not all edges hold the last decision, as far as the last picture knew.
    unacked: bool,
    resolve_at: Instant,
    /// What the store is busy with; each comes back as an input.
    writes: JoinSet<Input>,
    lookups: JoinSet<Resolved>,
    /// Addresses on their way to the store.
    keeps: JoinSet<()>,
}

impl Loop {
    fn new(
        app: Arc<App>,
        groups: Arc<Groups>,
        fleet_out: watch::Sender<Option<Arc<Fleet>>>,
        resolved: Resolved,
    ) -> Self {
        Self {
            app,
            controller: Controller::new(),
            groups,
            fleet_out,
            resolved,
            encoder: Encoder::default(),
            standing: None,
            unacked: false,
            resolve_at: Instant::now() + RESOLVE,
            writes: JoinSet::new(),
            lookups: JoinSet::new(),
            keeps: JoinSet::new(),
        }
    }

    async fn run(&mut self, mut inputs: mpsc::Receiver<Input>, mut loads: mpsc::Receiver<LoadIn>) -> Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut reports = Vec::with_capacity(BATCH);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                n = inputs.recv_many(&mut batch, BATCH) => {
                    if n == 0 {
                        return Ok(());
                    }
                }
                _ = loads.recv_many(&mut reports, BATCH), if !loads.is_closed() => {
                    batch.extend(reports.drain(..).map(Input::Load));
                }
                Some(done) = self.writes.join_next() => {
                    // A write's thread that panicked gave no answer: it is not known whether it was kept.
                    batch.push(done?);
                }
                Some(_) = self.keeps.join_next() => {}
                Some(found) = self.lookups.join_next() => {
                    if let Ok(found) = found {
                        self.looked_up(found);
                    }
                }
                () = sleep_until(deadline) => batch.push(Input::Tick),
            }
            self.take(std::mem::take(&mut batch)).await;
            if self.app.stopped.load(Ordering::Relaxed) {
                bail!("this server has lost its store to another and ends; edges keep what they have");
            }
        }
    }

    fn deadline(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(1);
        let wanted = self
            .controller
            .next_deadline()
            .map_or(far, |at| Instant::now() + Duration::from_nanos(at.0.saturating_sub(clock::mono().0)));
        let poll = if self.unacked && self.app.engine.connected() > 0 { Instant::now() + UNACKED } else { far };
        wanted.min(self.resolve_at).min(far).min(poll)
    }

    async fn take(&mut self, batch: Vec<Input>) {
        let started = Instant::now();
        let mut effects = Vec::new();
        // Also without an event: the last edge that was behind may have gone, or there may be none.
        let progress = senses::progress(&self.app).filter(|_| self.unacked);
        let batch = batch.into_iter().chain(progress);
        for input in batch {
            effects.extend(self.controller.handle(input, clock::now()));
        }
        effects.extend(self.controller.step(clock::now()));
        // Who asked may read at once what came of it: answers go out when the picture shows it.
        let (answers, effects): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|e| matches!(e, Effect::Answer { .. }));
        for effect in effects {
            self.run_effect(effect).await;
        }
        if Instant::now() >= self.resolve_at {
            self.look_up_again();
        }
        if let Some(model) = self.controller.model() {
            self.unacked = model.decision.as_ref().is_some_and(|d| d.acked.is_none());
            self.app.model.store(Some(Arc::new(model)));
        }
        for answer in answers {
            self.run_effect(answer).await;
        }
        self.app.metrics.step_seconds.observe(started.elapsed().as_secs_f64());
    }

    async fn run_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { number, end_revision, puts, blobs, safety } => {
                let store = Arc::clone(&self.app.store);
                self.writes.spawn_blocking(move || {
                    let answer = persist::write(&*store, end_revision, puts, &blobs, safety);
                    Input::Stored { number, answer }
                });
            }
            Effect::ReadHead { number } => {
                let store = Arc::clone(&self.app.store);
                self.writes.spawn_blocking(move || {
                    let head = persist::head(&*store).unwrap_or_else(|error| {
                        tracing::warn!("the head of the store cannot be read: {error}");
                        Head::Unreadable
                    });
                    Input::Head { number, head }
                });
            }
            Effect::Publish { fleet, plan, generation, decision } => {
                if self.standing.as_ref().is_none_or(|s| s.fleet.revision != fleet.revision) {
                    // What is known goes out now; names that are new follow as soon as they are found.
                    self.resolved = known(&fleet, &self.resolved);
                    self.resolve_at = Instant::now();
                }
                self.groups.set(&fleet);
                self.standing = Some(Standing { fleet, plan, generation, decision });
                self.put_out();
            }
            Effect::Targets(fleet) => {
                self.fleet_out.send_replace(Some(fleet));
            }
            Effect::Detected { what, after } => {
                self.app.metrics.detection.with_label_values(&[what]).observe(after.0 as f64 / 1_000.0);
            }
            Effect::Acked { decision, after } => {
                self.app.metrics.decision_to_ack.observe(after.0 as f64 / 1000.0);
                tracing::info!(decision, %after, "acknowledged by all edges");
            }
            Effect::Tell(told) => self.app.events.tell(told),
            Effect::Answer { ticket, answer } => self.app.answer(ticket, answer),
            Effect::Stop { why } => {
                tracing::error!("{why}");
                self.app.stopped.store(true, Ordering::Relaxed);
            }
        }
    }

    fn put_out(&mut self) {
        let Some(Standing { fleet, plan, generation, decision }) = &self.standing else { return };
        let lost = lost(fleet, &self.resolved);
        for place in &lost {
            tracing::error!(decision, generation, "{place}");
        }
        self.app.unresolved.store(Arc::new(lost));
        if let Err(error) = publish(&self.app.engine, &mut self.encoder, fleet, plan, *generation, &self.resolved) {
            self.app.metrics.publish_failures.inc();
            tracing::error!(decision, generation, "not published, what stood before stays: {error:#}");
        } else {
            tracing::info!(decision, generation, "published");
        }
    }

    /// Starts looking all host names up, beside the loop: decisions never wait for a resolver.
    fn look_up_again(&mut self) {
        self.resolve_at = Instant::now() + RESOLVE;
        let Some(standing) = &self.standing else { return };
        let hosts = hosts(&standing.fleet);
        if !hosts.is_empty() && self.lookups.is_empty() {
            self.lookups.spawn(look_up(hosts));
        }
    }

    fn looked_up(&mut self, found: Resolved) {
        let before = self.resolved.clone();
        for (host, addresses) in found {
            if let Some(held) = self.resolved.get_mut(&host) {
                *held = addresses;
            }
        }
        if before != self.resolved {
            let (store, found) = (Arc::clone(&self.app.store), self.resolved.clone());
            self.keeps.spawn_blocking(move || {
                if let Err(error) = persist::keep_resolved(&*store, &found) {
                    tracing::warn!("the addresses of host names are not kept for the next start: {error}");
                }
            });
            self.put_out();
        }
    }
}
