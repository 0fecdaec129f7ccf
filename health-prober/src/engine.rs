//! The probe loop: one task that drives [`Prober`] with a clock, sockets and a resolver.
//!
//! Owns the running probes and what is counted of them. Refuses to decide: what starts, what counts and what is
//! told is the machine's.

use crate::metrics::Metrics;
use crate::probe::{Ask, Connectors, Probed, probe};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{Millis, Mono, TargetState};
use tidegate_gossip::OwnReport;
use tidegate_gossip::shell::Clock;
use tidegate_prober::{Effect, Event, List, Prober, Tuning};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Ticks are gathered into steps of this length: fewer wake-ups, at most this much lateness.
const STEP: Millis = Millis(4);
/// A resolver that tries every one of its servers twice is done by then.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Where reports go and lateness is told.
pub(crate) struct Outlets {
    pub(crate) report: Box<dyn FnMut(OwnReport) + Send>,
    /// Microseconds between the planned and the real start of every probe.
    pub(crate) lateness: Box<dyn FnMut(u64) + Send>,
}

pub(crate) struct Engine {
    clock: Clock,
    metrics: Arc<Metrics>,
    outlets: Outlets,
    tls: Connectors,
    prober: Prober,
    /// By target index of the prober's list; none where the target's name fits no question.
    asks: Vec<Option<Ask>>,
    /// When it last reported, and whether it doubted itself then.
    doubted: Option<(Mono, bool)>,
    /// Everything under way, each to end in the one event that it owes. The machine bounds it.
    running: JoinSet<Event>,
}

impl Engine {
    pub(crate) fn new(clock: Clock, tuning: Tuning, metrics: Arc<Metrics>, tls: Connectors, outlets: Outlets) -> Self {
        let (prober, asks, running) = (Prober::new(tuning), Vec::new(), JoinSet::new());
        Self { clock, metrics, outlets, tls, prober, asks, doubted: None, running }
    }

    /// Probes whatever list stands, until it is dropped.
    pub(crate) async fn run(mut self, mut lists: watch::Receiver<Option<Arc<List>>>) {
        lists.mark_changed();
        loop {
            let now = self.clock.now();
            let next = self.prober.next_deadline().unwrap_or(now);
            let step = STEP.0 * 1_000_000;
            let wait = Duration::from_nanos((next.0.div_ceil(step) * step).saturating_sub(now.0));
            tokio::select! {
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    done.into_iter().for_each(|event| self.feed(event));
                }
                Ok(()) = lists.changed() => {
                    let list = lists.borrow_and_update().clone();
                    list.into_iter().for_each(|list| self.switch(list));
                }
                () = sleep(wait) => {}
            }
            while let Some(done) = self.running.try_join_next() {
                done.into_iter().for_each(|event| self.feed(event));
            }
            self.feed(Event::Tick);
        }
    }

    fn switch(&mut self, list: Arc<List>) {
        let ask = list.targets.iter().map(|t| Ask::new(&t.check.kind, &t.host, t.port));
        self.asks = ask.collect();
        tracing::info!(revision = %list.revision, targets = list.targets.len(), "probing a new list");
        self.feed(Event::List(list));
    }

    fn feed(&mut self, event: Event) {
        let now = self.clock.now();
        for effect in self.prober.handle(event, now) {
            self.effect(effect, now);
        }
    }

    fn effect(&mut self, effect: Effect, now: Mono) {
        match effect {
            Effect::Probe { list, target, to, timeout, planned } => match self.asks.get(target).cloned().flatten() {
                Some(ask) => self.probe(ask, (list, target), to, timeout, now.0.saturating_sub(planned.0)),
                None => {
                    self.running.spawn(async move { Event::NotAsked { list, target } });
                }
            },
            Effect::Reference { list, index, to, timeout: limit } => {
                self.running.spawn(async move {
                    let opened = timeout(Duration::from_millis(limit.0), TcpStream::connect(to)).await;
                    Event::Reference { list, index, started: now, reached: matches!(opened, Ok(Ok(_))) }
                });
            }
            Effect::Resolve { host } => {
                self.running.spawn(async move {
                    let found = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host.as_str(), 0))).await;
                    let addresses = found.ok().and_then(Result::ok);
                    let addresses = addresses.map(|all| all.map(|address| address.ip()).collect());
                    Event::Resolved { addresses: addresses.unwrap_or_default(), host }
                });
            }
            Effect::Report(report) => self.report(report),
            Effect::Counted { target, ended, changed } => {
                self.metrics.probes.with_label_values(&[ended.as_str()]).inc();
                if let Some(state) = changed {
                    let endpoint = &self.prober.list().targets[target].endpoint;
                    tracing::info!(%endpoint, ?state, why = ended.as_str(), "target");
                }
            }
            Effect::Skipped(why) => self.metrics.probes.with_label_values(&[why.as_str()]).inc(),
            Effect::Paused => {
                tracing::warn!("the probe loop stood still for over 500 ms; probes in flight do not count");
                self.metrics.pauses.inc();
            }
        }
    }

    fn probe(&mut self, ask: Ask, (list, target): (u64, usize), to: SocketAddr, limit: Millis, late_ns: u64) {
        self.metrics.lateness.observe(Duration::from_nanos(late_ns).as_secs_f64());
        (self.outlets.lateness)(late_ns / 1_000);
        let (limit, tls, clock) = (Duration::from_millis(limit.0), self.tls.clone(), self.clock);
        self.running.spawn(async move {
            let started = clock.now();
            let Probed { ended, at, opened } = probe(ask, to, tls, limit, clock).await;
            let since = |at: Mono| Duration::from_nanos(at.0.saturating_sub(started.0));
            Event::Probed { list, target, started, ended, took: since(at), opened: opened.map(since) }
        });
    }

    fn report(&mut self, report: OwnReport) {
        let words = [TargetState::Unseen, TargetState::Ok, TargetState::Slow, TargetState::Failing];
        for (state, word) in words.iter().zip(["unseen", "ok", "slow", "failing"]) {
            let count = report.states.iter().filter(|s| *s == state).count();
            self.metrics.targets.with_label_values(&[word]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let now = self.clock.now();
        if let Some(since) = self.doubted.replace((now, report.own.self_doubt)).filter(|(_, doubt)| *doubt) {
            self.metrics.self_doubt_seconds.inc_by(now.since(since.0).0 as f64 / 1_000.0);
        }
        self.metrics.self_doubt.set(i64::from(report.own.self_doubt));
        self.metrics.references.set(i64::from(report.own.references_reached));
        (self.outlets.report)(report);
    }
}
