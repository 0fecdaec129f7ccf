//! What comes in from outside: gossip, and what subscribers say.

use crate::app::App;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use tidegate_controller::{ClassLoad, Input, LoadIn, PlaceLoad, ReportIn};
use tidegate_domain::{Millis, Name};
use tidegate_gossip::shell::{self, Clock, Running, Snapshot, Start};
use tidegate_gossip::{GossipOutput, KeyFile, Keyring, Role};
use tidegate_proto::load::RESPONSE_MS;
use tidegate_xds::server::lrs::{ClusterLoad, LoadObserver, LocalityLoad};
use tidegate_xds::server::{Event, NodeInfo};
use tokio::sync::{mpsc, watch};

/// Joins the gossip as a member that does not probe.
pub(crate) async fn join(app: &App, keys: (KeyFile, Keyring), seeds: Vec<SocketAddr>) -> Result<Running> {
    let (name, bind, advertise) = (Name::new(&app.flags.name)?, app.flags.gossip, app.flags.advertise);
    let incarnation = u64::try_from(crate::clock::wall().0).unwrap_or(0);
    let start = Start { name, incarnation, bind, advertise, seeds, keys, role: Role::Observer };
    Ok(shell::start(start, Clock::start()).await?)
}

/// Hands reports to the loop, members to readers.
pub(crate) async fn listen(
    app: Arc<App>,
    mut outputs: mpsc::Receiver<GossipOutput>,
    mut snapshot: watch::Receiver<Snapshot>,
) {
    let mut told: Option<Vec<String>> = None;
    loop {
        tokio::select! {
            output = outputs.recv() => match output {
                Some(GossipOutput::Report(report)) => {
                    if app.inputs.send(Input::Report(taken(report))).await.is_err() {
                        return;
                    }
                }
                Some(GossipOutput::MemberUp(name)) => tracing::info!(member = %name, "member heard"),
                Some(GossipOutput::MemberDown(name)) => tracing::warn!(member = %name, "no path to member"),
                None => return,
            },
            changed = snapshot.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = snapshot.borrow_and_update().clone();
                let members: Vec<String> = now.members.iter().map(|m| m.name.to_string()).collect();
                app.gossip.store(Arc::new(now));
                // what is counted changes all the time, who is there does not
                let news = told.as_ref() != Some(&members);
                told = Some(members.clone());
                if news && app.inputs.send(Input::Members(members)).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn taken(report: tidegate_gossip::ReportIn) -> ReportIn {
    let tidegate_gossip::ReportIn { vantage, incarnation, sequence, revision_short, own, states, rtt } = report;
    ReportIn {
        vantage: vantage.to_string(),
        incarnation,
        sequence,
        revision: revision_short,
        own,
        targets: states,
        rtt,
    }
}

/// Hands load reports to the loop. One that finds the line full is lost: the next comes in a second.
#[derive(Debug)]
pub(crate) struct LoadPort(pub(crate) mpsc::Sender<LoadIn>);

impl LoadPort {
    fn send(&self, load: LoadIn) {
        if self.0.try_send(load).is_err() {
            tracing::debug!("a load report found the line full");
        }
    }
}

fn place(of: LocalityLoad) -> PlaceLoad {
    let took = of.metrics.iter().find(|m| m.name == RESPONSE_MS);
    // a sum that is too large is the largest
    let (timed, took) = took.map_or((0, Millis(0)), |m| (m.finished, Millis(m.total as u64)));
    PlaceLoad { region: of.region, issued: of.issued, errors: of.errors, open: of.in_progress, timed, took }
}

impl LoadObserver for LoadPort {
    fn opened(&self, node: &Arc<NodeInfo>, stream: u64) {
        self.send(LoadIn::Opened { edge: node.id.clone(), stream });
    }

    /// Clusters and localities are called as our classes and regions are (`translate::names`).
    fn reported(&self, node: &Arc<NodeInfo>, stream: u64, clusters: Vec<ClusterLoad>) {
        let classes = clusters.into_iter().map(|of| ClassLoad {
            class: of.cluster,
            interval: Millis(u64::try_from(of.interval.as_millis()).unwrap_or(u64::MAX)),
            dropped: of.dropped,
            places: of.localities.into_iter().map(place).collect(),
        });
        let (edge, group) = (node.id.clone(), node.region.clone());
        self.send(LoadIn::Reported { edge, group, stream, classes: classes.collect() });
    }

    fn gone(&self, node: &Arc<NodeInfo>, stream: u64) {
        self.send(LoadIn::Gone { edge: node.id.clone(), stream });
    }
}

/// Turns acknowledgements into progress, once per burst, and refusals into inputs.
pub(crate) async fn subscribers(app: Arc<App>, mut events: mpsc::Receiver<Event>) {
    let mut burst = Vec::with_capacity(256);
    loop {
        burst.clear();
        if events.recv_many(&mut burst, 256).await == 0 {
            return;
        }
        for event in burst.drain(..) {
            match event {
                Event::Acked(_) => {}
                Event::Nacked(nack) => {
                    app.metrics.nacks.inc();
                    let input = Input::Nacked {
                        node: nack.answer.node.id.clone(),
                        resource_type: nack.answer.type_url.short().to_owned(),
                        generation: nack.answer.tag,
                        words: nack.message,
                    };
                    if app.inputs.send(input).await.is_err() {
                        return;
                    }
                }
                Event::Connected(node, _) => {
                    tracing::info!(node = node.id, group = node.region, agent = node.user_agent, "edge connected")
                }
                Event::Gone(node, _) => tracing::info!(node = node.id, "edge gone"),
            }
        }
        let Some(progress) = progress(&app) else { continue };
        if app.inputs.send(progress).await.is_err() {
            return;
        }
    }
}

/// How far the published generation has come; none before the first.
pub(crate) fn progress(app: &App) -> Option<Input> {
    let generation = app.engine.tag()?;
    let progress = app.engine.acked_by_all(generation);
    let acked = u32::try_from(progress.acked).unwrap_or(u32::MAX);
    Some(Input::Progress { generation, acked, outstanding: progress.outstanding })
}
