//! Runs seeds, several at once, and adds up what came of them.
//!
//! Owns the outcome of a run and the command that plays it again. Refuses to hide a seed that failed to run at all.

use crate::bytes::Pace;
use crate::scenario::{FleetOf, Scenario};
use crate::units::{MILLI, Nanos, SECOND};
pub use crate::watch::Lasted;
use crate::world::World;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_controller::Candidate;
use tidegate_policy::Bundle;

/// What came of one seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// SHA-256 over every event in its order: two runs of one seed have the same.
    pub hash: [u8; 32],
    /// Events.
    pub events: u64,
    /// Virtual seconds, times processes.
    pub node_seconds: u64,
    /// Faults of the scenario that began.
    pub faults: u64,
    /// Stalls of single processes, beside those.
    pub stalls: u64,
    /// Bad times that began on links in use, beside those.
    pub bad_times: u64,
    /// Verdicts checked.
    pub verdicts: u64,
    /// Decisions that replayed to the same bytes.
    pub replayed: u64,
    /// Moves.
    pub moves: u64,
    /// Down verdicts on what was well, within the first 30 s.
    pub false_at_start: u64,
    /// The same later.
    pub false_verdicts: u64,
    /// Well members called down by well ones.
    pub false_member_downs: u64,
    /// New generations of members.
    pub renewals: u64,
    /// Losses of places, and after how long their verdict came.
    pub losses: Vec<Lasted>,
    /// From the beginning of faults of places that serve badly, or are not reached by some, until these carried less.
    pub lighter: Vec<Nanos>,
    /// Troubles of providers' APIs, and after how long they were found.
    pub apis: Vec<Lasted>,
    /// Killed probers, and after how long every member knew.
    pub deaths: Vec<Lasted>,
    /// From the end of each split until every member had every other again; none: it did not come to that.
    pub met: Vec<Option<Nanos>>,
    /// Bytes a second that members sent while nothing disturbed them.
    pub steady: Option<Pace>,
    /// The same in the 10 s after the worst loss.
    pub after_loss: Option<Pace>,
    /// What may never be, or was not expected.
    pub broken: Vec<String>,
    /// Dense lines, where they were asked for.
    pub lines: Vec<String>,
}

/// The fleet of a scenario, its policy compiled.
///
/// # Errors
/// When the configuration or its policy has faults.
pub fn fleet(scenario: &Scenario) -> Result<Candidate> {
    let loaded = match &scenario.spec.fleet {
        Some(FleetOf::Directory(dir)) => tidegate_config::load_dir(&scenario.folder.join(dir)),
        Some(FleetOf::Described(of)) => {
            let documents = of.documents().with_context(|| format!("`{}`: spec.fleet", scenario.name))?;
            tidegate_config::load_documents(documents)
        }
        None => tidegate_config::load_documents(tidegate_config::example_payroll()),
    };
    let loaded = loaded.map_err(|faults| anyhow::anyhow!("the fleet of `{}`: {faults}", scenario.name))?;
    let bundle =
        Bundle::compile(loaded.policy).map_err(|e| anyhow::anyhow!("the policy of `{}`: {e}", scenario.name))?;
    Ok(Candidate { fleet: Arc::new(loaded.fleet), bundle: Arc::new(bundle), sources: loaded.sources })
}

/// One seed.
///
/// # Errors
/// When the run itself cannot go on: a scenario that does not fit its fleet, a store that breaks.
pub fn run(scenario: &Scenario, candidate: &Candidate, seed: u64, dense: bool) -> Result<Outcome> {
    let context = || format!("{}: seed {seed}", scenario.file.display());
    let mut world = World::new(scenario, candidate.clone(), seed, dense).with_context(context)?;
    world.run_until(scenario.spec.lasts.0).with_context(context)?;
    let fleet = Arc::clone(&world.fleet);
    let renewals: u64 = world.processes.iter().filter_map(|p| p.node.as_ref()).map(|n| n.counters().rejoins).sum();
    let mut broken = std::mem::take(&mut world.watch.faults);
    if world.watch.more > 0 {
        broken.push(format!("and {} more", world.watch.more));
    }
    broken.extend(world.watch.unmet(&fleet, renewals));
    let replayed = world.server.replays().unwrap_or_else(|fault| {
        broken.push(format!("{fault:#}"));
        0
    });
    broken.extend(too_much(scenario, &world));
    let injected = world.faults.iter().filter(|f| f.begins <= scenario.spec.lasts.0).count() as u64;
    let watch = &world.watch;
    Ok(Outcome {
        seed,
        events: world.trace.events,
        node_seconds: world.now / SECOND * world.processes.len() as u64,
        faults: injected,
        stalls: world.stalled,
        bad_times: world.network.bad_times,
        verdicts: watch.verdicts,
        replayed,
        moves: watch.moves,
        false_at_start: watch.false_at_start,
        false_verdicts: watch.false_verdicts,
        false_member_downs: watch.false_member_downs,
        renewals,
        losses: watch.losses(),
        lighter: watch.lighter.times(),
        apis: watch.apis.troubles(),
        deaths: watch.deaths(),
        met: watch.heals.iter().map(|(healed, met)| met.map(|at| at - healed)).collect(),
        steady: world.bytes.steady(),
        after_loss: world.bytes.after_loss(),
        broken,
        hash: world.trace.hash(),
        lines: world.trace.lines(),
    })
}

/// Members that send more than is expected.
fn too_much(scenario: &Scenario, world: &World) -> Vec<String> {
    let expect = &scenario.spec.expect;
    let limits = [
        (expect.steady_bytes, world.bytes.steady(), "outside of faults"),
        (expect.loss_bytes, world.bytes.after_loss(), "in the 10 s after a loss"),
    ];
    let over = |(limit, pace, when): (Option<u64>, Option<Pace>, &str)| {
        let (limit, most) = (limit?, pace?.most);
        (most > limit).then(|| format!("a member sent {most} B/s {when}, expected at most {limit}"))
    };
    limits.into_iter().filter_map(over).collect()
}

/// What is expected of all seeds together and does not hold.
#[must_use]
pub fn over_all(scenario: &Scenario, outcomes: &[Outcome]) -> Vec<String> {
    let expect = &scenario.spec.expect;
    let judged = |limit: Option<Nanos>, of: fn(&Outcome) -> &Vec<Lasted>, what: &str| {
        let limit = limit?;
        // What was over sooner need not have been found.
        let long = outcomes.iter().flat_map(of).filter(|l| l.lasted >= limit);
        let mut all: Vec<Nanos> = long.map(|l| l.found.unwrap_or(Nanos::MAX)).collect();
        let n = all.len();
        let p99 = quantile(&mut all, 99)?;
        let ms = if p99 == Nanos::MAX { "never".to_owned() } else { format!("{} ms", p99 / MILLI) };
        (p99 > limit).then(|| format!("p99 of {n} {what} is {ms}, expected within {} ms", limit / MILLI))
    };
    let verdicts = judged(expect.verdict_p99.map(|l| l.0), |o| &o.losses, "losses to their verdicts");
    let all_see = judged(expect.all_see_p99.map(|l| l.0), |o| &o.deaths, "killed probers until all members knew");
    verdicts.into_iter().chain(all_see).collect()
}

/// These seeds of one scenario, on every core; in the order of the seeds.
///
/// # Errors
/// When one cannot run.
pub fn run_all(scenario: &Scenario, candidate: &Candidate, seeds: &[u64]) -> Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied() else { return };
                    let outcome = run(scenario, candidate, seed, false);
                    all.lock().unwrap_or_else(PoisonError::into_inner).push((seed, outcome));
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The `q`-th part of the values, 0 to 100; none where there are none.
#[must_use]
pub fn quantile(values: &mut [Nanos], q: usize) -> Option<Nanos> {
    values.sort_unstable();
    let at = (values.len() * q).div_ceil(100).saturating_sub(1);
    values.get(at).copied()
}

/// One scenario's sum, as lines for people.
#[must_use]
pub fn line(name: &str, outcomes: &[Outcome]) -> String {
    let sum = |get: fn(&Outcome) -> u64| outcomes.iter().map(get).sum::<u64>();
    let hours = sum(|o| o.node_seconds) as f64 / 3600.0;
    let broken = outcomes.iter().filter(|o| !o.broken.is_empty()).count();
    let mut out = format!(
        "{name:<22} {:>6} seeds {hours:>8.1} node-h {:>6} faults {:>7} stalls {:>8} bad times {:>7} verdicts {:>4} false \
         (and {} at the start) {:>4} member downs false {:>4} renewals {:>6} moves   {}",
        outcomes.len(),
        sum(|o| o.faults),
        sum(|o| o.stalls),
        sum(|o| o.bad_times),
        sum(|o| o.verdicts),
        sum(|o| o.false_verdicts),
        sum(|o| o.false_at_start),
        sum(|o| o.false_member_downs),
        sum(|o| o.renewals),
        sum(|o| o.moves),
        if broken == 0 { "held".to_owned() } else { format!("{broken} seeds BROKEN") },
    );
    let found = |of: fn(&Outcome) -> &Vec<Lasted>| outcomes.iter().flat_map(of).filter_map(|l| l.found).collect();
    times(&mut out, "places lost, to the verdict", found(|o| &o.losses));
    let lighter = outcomes.iter().flat_map(|o| &o.lighter).copied().collect();
    times(&mut out, "places that served badly or were not reached, until they carried less", lighter);
    times(&mut out, "APIs in trouble, until they were found so", found(|o| &o.apis));
    times(&mut out, "probers killed, to the last member that knew", found(|o| &o.deaths));
    times(
        &mut out,
        "splits healed, until all had all",
        outcomes.iter().flat_map(|o| o.met.iter().flatten()).copied().collect(),
    );
    paces(
        &mut out,
        "sent by a member outside of faults",
        &outcomes.iter().filter_map(|o| o.steady).collect::<Vec<_>>(),
    );
    paces(
        &mut out,
        "sent by a member in the 10 s after a loss",
        &outcomes.iter().filter_map(|o| o.after_loss).collect::<Vec<_>>(),
    );
    out
}

fn times(out: &mut String, what: &str, mut all: Vec<Nanos>) {
    let n = all.len();
    let mut ms = |q| quantile(&mut all, q).map(|t| t / MILLI);
    if let (Some(p50), Some(p99), Some(max)) = (ms(50), ms(99), ms(100)) {
        *out += &format!("\n    {n} {what}: p50 {p50} ms, p99 {p99} ms, max {max} ms");
    }
}

fn paces(out: &mut String, what: &str, all: &[Pace]) {
    if let Some(most) = all.iter().map(|p| p.most).max() {
        let mean = all.iter().map(|p| p.mean).sum::<u64>() / all.len() as u64;
        *out += &format!("\n    {what}: {mean} B/s on average, at most {most} B/s");
    }
}
