//! Runs seeds, several at once, and adds up what came of them.
//!
//! Owns the outcome of a run and the command that plays it again. Refuses to hide a seed that failed to run at all.

use crate::scenario::Scenario;
use crate::units::{MILLI, Nanos, SECOND};
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
    /// Faults injected.
    pub faults: u64,
    /// Verdicts checked.
    pub verdicts: u64,
    /// Decisions that replayed to the same bytes.
    pub replayed: u64,
    /// Moves.
    pub moves: u64,
    /// Down verdicts on what was well.
    pub false_verdicts: u64,
    /// Well members called down by well ones.
    pub false_member_downs: u64,
    /// New generations of members.
    pub renewals: u64,
    /// From each loss of a place to its verdict, in nanoseconds.
    pub detection: Vec<Nanos>,
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
        Some(dir) => tidegate_config::load_dir(&scenario.folder.join(dir)),
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
    let context = || format!("scenario `{}`, seed {seed}", scenario.name);
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
    let injected = world.faults.iter().filter(|f| f.begins <= scenario.spec.lasts.0).count() as u64;
    let events = world.trace.events;
    let node_seconds = world.now / SECOND * world.processes.len() as u64;
    let watch = &world.watch;
    let (verdicts, moves, detection) = (watch.verdicts, watch.moves, watch.detection());
    let (false_verdicts, false_member_downs) = (watch.false_verdicts, watch.false_member_downs);
    let (hash, lines) = world.trace.end();
    Ok(Outcome {
        seed,
        hash,
        events,
        node_seconds,
        faults: injected,
        verdicts,
        replayed,
        moves,
        false_verdicts,
        false_member_downs,
        renewals,
        detection,
        broken,
        lines,
    })
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

/// One scenario's sum, as a line for people.
#[must_use]
pub fn line(name: &str, outcomes: &[Outcome]) -> String {
    let sum = |get: fn(&Outcome) -> u64| outcomes.iter().map(get).sum::<u64>();
    let mut detection: Vec<Nanos> = outcomes.iter().flat_map(|o| o.detection.clone()).collect();
    let ms = |q: usize, of: &mut [Nanos]| quantile(of, q).map_or("-".to_owned(), |t| format!("{} ms", t / MILLI));
    let (p50, p99, max) = (ms(50, &mut detection), ms(99, &mut detection), ms(100, &mut detection));
    let hours = sum(|o| o.node_seconds) as f64 / 3600.0;
    let broken = outcomes.iter().filter(|o| !o.broken.is_empty()).count();
    format!(
        "{name:<22} {:>6} seeds {hours:>8.1} node-h {:>6} faults {:>7} verdicts {:>4} false {:>4} member downs false \
         {:>4} renewals {:>6} moves   found in p50 {p50}, p99 {p99}, max {max}   {}",
        outcomes.len(),
        sum(|o| o.faults),
        sum(|o| o.verdicts),
        sum(|o| o.false_verdicts),
        sum(|o| o.false_member_downs),
        sum(|o| o.renewals),
        sum(|o| o.moves),
        if broken == 0 { "held".to_owned() } else { format!("{broken} seeds BROKEN") },
    )
}
