//! `bench detection`: how soon all others see that a member was killed, and what that costs. Thirty-two of our probers and
//! as many agents of serf stand in the same thirty-two namespaces, and the same relay loses the same share of both.
//!
//! Owns the trials, their counting and the rows. Refuses polled times: a member is seen down when the process that sees it
//! writes its line, and lines are stamped as they arrive.

mod cluster;
mod plot;
mod stand;

use super::{BenchOptions, judge, load_average, read_targets, row, table, this_machine};
use crate::ledger::{Slot, home};
use crate::network::{Joined, Network, Site};
use crate::relay::Delays;
use crate::shape::{BenchJson, BenchRow};
use crate::timeline::Timeline;
use anyhow::{Context, ensure};
use cluster::{Cluster, Cost};
use stand::{Kind, Stand, last};
use std::sync::Arc;
use std::time::Duration;

/// Members of each cluster.
const N: usize = 32;
/// Killed members of a trial: the first two are the seeds by which the others come back.
const SEEDS: usize = 2;
/// Longer than either takes by its own settings, many times over.
const SEEN_WITHIN: Duration = Duration::from_secs(90);
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// A cost is measured for so long, after everything that was new has been said often enough.
const COST_FOR: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(20);
/// Seed of the losses.
const LOSSES: u64 = 7;
/// IP and UDP headers of a datagram, in bytes.
const HEADERS: f64 = 28.0;

/// What one kill came to, in ms.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trial {
    first: f64,
    all: f64,
}

/// All trials at one loss.
#[derive(Debug, Default)]
struct Trials {
    loss_per_cent: u32,
    ours: Vec<Trial>,
    serf: Vec<Trial>,
}

/// Runs, prints, writes. True where every row with a target met it.
pub(super) async fn bench(options: &BenchOptions) -> anyhow::Result<bool> {
    let timeline = Timeline::new(true);
    let targets = read_targets(&options.targets, "detection")?;
    let (load, trials) = (load_average(), options.runs);
    ensure!(trials > 0, "--runs 0 measures nothing");
    let slot = Arc::new(Slot::take(&home())?);
    let sites: Vec<Site> = (0..N).map(|i| (format!("n{i}"), vec![last(i)])).collect();
    let joined = Joined::Relay { delays: Delays::default(), loss_bps: 0, seed: LOSSES };
    let (network, _) = Network::open(&slot, &sites, joined)?;
    for (site, lasts) in &sites {
        network.give(site, lasts)?;
    }
    let machine = this_machine(load, network.name());
    let stand = Stand::new(Arc::clone(&slot), network)?;
    timeline.always(&format!(
        "{N} members, kill -9, datagrams lost by one relay for both; peer: {}; load {load} on {} cores, {} build\n  \
         ours: {}\n  peer: {}",
        stand.peer,
        machine.cores,
        machine.profile,
        stand.command(Kind::Ours, SEEDS).join(" "),
        stand.command(Kind::Serf, SEEDS).join(" "),
    ));
    let mut ours = Cluster::start(&stand, Kind::Ours).await?;
    let mut serf = Cluster::start(&stand, Kind::Serf).await?;
    let mut all = Vec::new();
    let mut swim = None;
    for (loss, count) in [(0, trials.div_ceil(3)), (5, trials), (10, trials)] {
        stand.relay()?.set_loss(loss * 100);
        if loss == 5 {
            whole(&stand, &mut [&mut ours, &mut serf]).await?;
            swim = Some(ours.cost(&stand, SETTLED, COST_FOR).await?);
        }
        all.push(run(&stand, &mut ours, &mut serf, loss, count, &timeline).await?);
    }
    let false_downs = (ours.false_downs, serf.false_downs);
    serf.end().await;
    ours.end().await;
    let swim = swim.context("the cost was not measured")?;
    let reports = with_reports(&stand).await?;
    let counts = stand.relay()?.counts();
    timeline.always(&format!(
        "relay: {} packets, {} of them UDP, {} lost, {} for nobody, {} without room",
        counts.taken, counts.udp, counts.lost, counts.astray, counts.overflow
    ));
    let false_downs = (false_downs.0 + reports.false_downs, false_downs.1);
    let rows = judge(rows(&all, &swim, &reports, false_downs, &stand.peer), &targets);
    let bench = BenchJson { bench: "detection".to_owned(), machine, rows };
    timeline.always(&table(&bench));
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&bench)? + "\n")?;
    }
    if let Some(dir) = &options.plots {
        plot::write(dir, &all, &swim, &reports, &stand.peer)?;
    }
    Ok(bench.rows.iter().all(|r| r.met != Some(false)))
}

/// Kills one of ours, then one of serf's, and so on: both under the same conditions. While one cluster is watched the
/// other takes its member back.
async fn run(
    stand: &Stand,
    ours: &mut Cluster,
    serf: &mut Cluster,
    loss: u32,
    count: u32,
    timeline: &Timeline,
) -> anyhow::Result<Trials> {
    let mut trials = Trials { loss_per_cent: loss, ..Trials::default() };
    for n in 0..count as usize {
        whole(stand, &mut [ours, serf]).await?;
        let victim = SEEDS + (n * 7 + loss as usize) % (N - SEEDS);
        let ours_saw = kill(stand, ours, serf, victim).await?;
        ours.again(stand, victim)?;
        let serf_saw = kill(stand, serf, ours, victim).await?;
        serf.again(stand, victim)?;
        timeline.always(&format!(
            "{loss} % lost, trial {}: first · all saw it: ours {:.0} · {:.0} ms, serf {:.0} · {:.0} ms",
            n + 1,
            ours_saw.first,
            ours_saw.all,
            serf_saw.first,
            serf_saw.all
        ));
        trials.ours.push(ours_saw);
        trials.serf.push(serf_saw);
    }
    whole(stand, &mut [ours, serf]).await?;
    Ok(trials)
}

async fn kill(stand: &Stand, of: &mut Cluster, other: &mut Cluster, victim: usize) -> anyhow::Result<Trial> {
    let killed = of.kill(victim).await?;
    let deadline = tokio::time::Instant::now() + SEEN_WITHIN;
    while of.seen_down(victim, killed).len() < N - 1 {
        let said = tokio::time::timeout_at(deadline, stand.hear()).await;
        let said = said.with_context(|| {
            format!("{:?}: seen down by {} of {}", of.kind, of.seen_down(victim, killed).len(), N - 1)
        })?;
        of.take(&said);
        other.take(&said);
    }
    let seen = of.seen_down(victim, killed);
    let ms = |at: Option<&u64>| at.map_or(f64::NAN, |at| at.saturating_sub(killed) as f64 / 1e6);
    Ok(Trial { first: ms(seen.iter().min()), all: ms(seen.iter().max()) })
}

/// Until every living member of each has all other living ones.
async fn whole(stand: &Stand, clusters: &mut [&mut Cluster]) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + WHOLE_WITHIN;
    while clusters.iter().any(|c| !c.whole()) {
        let said = tokio::time::timeout_at(deadline, stand.hear()).await;
        let said = said.with_context(|| clusters.iter().map(|c| c.missing()).collect::<Vec<_>>().join("; "))?;
        clusters.iter_mut().for_each(|c| c.take(&said));
    }
    Ok(())
}

/// The cost again, with a hundred targets that stay as they are.
async fn with_reports(stand: &Stand) -> anyhow::Result<Cost> {
    stand.relay()?.set_loss(500);
    let mut ours = Cluster::start(stand, Kind::OursReporting).await?;
    whole(stand, &mut [&mut ours]).await?;
    let cost = ours.cost(stand, SETTLED, COST_FOR).await?;
    ours.end().await;
    Ok(cost)
}

fn rows(all: &[Trials], swim: &Cost, reports: &Cost, false_downs: (u64, u64), peer: &str) -> Vec<BenchRow> {
    let mut out = Vec::new();
    for trials in all {
        let loss = trials.loss_per_cent;
        let of = |t: &[Trial], get: fn(&Trial) -> f64| t.iter().map(get).collect::<Vec<f64>>();
        let (mine, theirs) = (of(&trials.ours, |t| t.all), of(&trials.serf, |t| t.all));
        let p50 = |v: &[f64]| row(String::new(), v.to_vec(), "ms", None).p50.or(v.first().copied()).unwrap_or(f64::NAN);
        let against = |id: &str, value: f64, samples: &[f64], peer_value: f64| {
            let mut r = row(format!("loss_{loss}.{id}"), samples.to_vec(), "ms", Some(peer_value));
            (r.value, r.peer, r.ratio) = (value, Some(peer.to_owned()), Some(value / peer_value));
            r
        };
        out.push(against("all_see_ms.p50", p50(&mine), &mine, p50(&theirs)));
        // Of fewer than a hundred trials the slowest is the ninety-ninth.
        let most =
            |v: &[f64]| row(String::new(), v.to_vec(), "ms", None).p99.or(v.first().copied()).unwrap_or(f64::NAN);
        out.push(against("all_see_ms.p99", most(&mine), &mine, most(&theirs)));
        let (first, their_first) = (of(&trials.ours, |t| t.first), of(&trials.serf, |t| t.first));
        out.push(against("first_sees_ms.p50", p50(&first), &first, p50(&their_first)));
        let mut ratio = row(format!("loss_{loss}.all_see_of_peer"), vec![p50(&mine) / p50(&theirs)], "x", None);
        ratio.samples = mine.len() as u64;
        out.push(ratio);
    }
    let mut wrong = row("false_downs.sum".to_owned(), vec![false_downs.0 as f64], "downs", Some(false_downs.1 as f64));
    wrong.peer = Some(peer.to_owned());
    out.push(wrong);
    let per_node = |id: &str, value: f64, unit: &str| {
        let mut r = row(id.to_owned(), vec![value], unit, None);
        r.samples = N as u64;
        r
    };
    out.push(per_node("swim.payload_and_headers_bytes_per_s", swim.payload_rate(), "B/s"));
    out.push(per_node("swim.sealed_bytes_per_s", swim.sealed_rate(), "B/s"));
    out.push(per_node("swim.datagrams_per_s", swim.datagrams / swim.node_seconds, "/s"));
    out.push(per_node("swim.cpu_percent_of_a_core", swim.cpu_per_cent(), "%"));
    out.push(per_node("reports_100.bytes_per_s", reports.sealed_rate() - swim.sealed_rate(), "B/s"));
    out.push(per_node("with_reports_100.bytes_per_s", reports.sealed_rate(), "B/s"));
    out.push(per_node("with_reports_100.cpu_percent_of_a_core", reports.cpu_per_cent(), "%"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(loss_per_cent: u32, ours: &[f64], serf: &[f64]) -> Trials {
        let of = |all: &[f64]| all.iter().map(|all| Trial { first: all / 2.0, all: *all }).collect();
        Trials { loss_per_cent, ours: of(ours), serf: of(serf) }
    }
    fn cost(sealed: f64, payload: f64) -> Cost {
        Cost { node_seconds: 10.0, datagrams: 50.0, sealed, payload, cpu_s: 0.01, false_downs: 0 }
    }

    #[test]
    fn rows_are_judged_by_the_shipped_targets() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/targets.toml");
        let targets = read_targets(&path, "detection").expect("targets");
        let judged = |all: &[Trials], swim: &Cost, reports: &Cost, wrong: u64| {
            let rows = judge(rows(all, swim, reports, (wrong, 0), "serf"), &targets);
            let missed = rows.iter().filter(|r| r.met == Some(false)).map(|r| r.id.clone()).collect::<Vec<_>>();
            (missed, rows.iter().filter(|r| r.met == Some(true)).count())
        };
        let good = [trials(5, &[3_000.0, 3_400.0], &[9_000.0; 2]), trials(10, &[3_100.0], &[9_000.0])];
        let (swim, reports) = (cost(5_000.0, 2_000.0), cost(13_000.0, 9_000.0));
        assert_eq!(judged(&good, &swim, &reports, 0), (Vec::new(), 11));
        let slow = [trials(5, &[3_600.0, 5_600.0], &[7_000.0; 2])];
        let missed = judged(&slow, &cost(6_000.0, 2_200.0), &cost(15_000.0, 9_000.0), 1).0;
        let want = [
            "loss_5.all_see_ms.p50",
            "loss_5.all_see_ms.p99",
            "loss_5.all_see_of_peer",
            "false_downs.sum",
            "swim.payload_and_headers_bytes_per_s",
            "swim.sealed_bytes_per_s",
            "with_reports_100.bytes_per_s",
        ];
        assert_eq!(missed, want);
    }
}
