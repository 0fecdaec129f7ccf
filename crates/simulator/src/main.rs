//! `cargo xtask simulate`: plays scenarios over many seeds, and one seed as a trace.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tidegate_simulator::run::{self, Outcome};
use tidegate_simulator::scenario::Scenario;
use tidegate_simulator::{LEGEND, SHIPPED};

/// Plays scenarios in virtual time. Exit code 0: everything held; 1: something did not.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask simulate")]
struct Cli {
    /// Name of a shipped scenario, path of a file, or `all`: then the seeds take turns among all that are shipped, but for
    /// those that are played alone.
    #[arg(long, default_value = "all")]
    scenario: String,
    /// `A..B`: from A to below B.
    #[arg(long, default_value = "0..20", value_parser = seeds)]
    seeds: Range<u64>,
    /// Print what happens in the first of the seeds, second by second.
    #[arg(long)]
    trace: bool,
    /// List the shipped scenarios.
    #[arg(long)]
    list: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("`{text}` is no range of seeds: write `0..100`, the second above the first");
    let (from, to) = text.split_once("..").ok_or_else(bad)?;
    let (from, to): (u64, u64) = (from.parse().map_err(|_| bad())?, to.parse().map_err(|_| bad())?);
    if from < to { Ok(from..to) } else { Err(bad()) }
}

/// The shipped scenarios, by name.
fn shipped() -> Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(SHIPPED)
        .context(SHIPPED)?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    all.sort();
    ensure!(!all.is_empty(), "{SHIPPED} holds no scenario");
    Ok(all)
}

fn chosen(name: &str) -> Result<Vec<PathBuf>> {
    if name == "all" {
        let mut all = Vec::new();
        for file in shipped()? {
            if !Scenario::read(&file)?.spec.alone {
                all.push(file);
            }
        }
        return Ok(all);
    }
    let of_file = Path::new(name);
    let by_name = Path::new(SHIPPED).join(format!("{name}.yaml"));
    match [of_file, &by_name].into_iter().find(|p| p.is_file()) {
        Some(path) => Ok(vec![path.to_path_buf()]),
        None => {
            let names: Vec<String> =
                shipped()?.iter().filter_map(|p| Some(p.file_stem()?.to_string_lossy().into_owned())).collect();
            bail!("there is no file and no scenario `{name}`; shipped are: {}", names.join(", "))
        }
    }
}

/// The seeds that scenario `i` of `n` plays.
fn turn(seeds: &Range<u64>, i: u64, n: u64) -> Vec<u64> {
    seeds.clone().filter(|s| s % n == i).collect()
}

fn told(scenario: &Scenario, named: &str, outcomes: &[Outcome]) -> bool {
    println!("{}", run::line(&scenario.name, outcomes));
    for broken in outcomes.iter().filter(|o| !o.broken.is_empty()).take(5) {
        println!("  seed {} of `{}`:", broken.seed, scenario.name);
        broken.broken.iter().for_each(|fault| println!("    {fault}"));
        let (from, to) = (broken.seed, broken.seed + 1);
        println!("    again: cargo xtask simulate --scenario {named} --seeds {from}..{to} --trace");
    }
    let over_all = run::over_all(scenario, outcomes);
    over_all.iter().for_each(|fault| println!("  all seeds of `{}` together: {fault}", scenario.name));
    over_all.is_empty() && outcomes.iter().all(|o| o.broken.is_empty())
}

fn play(cli: &Cli) -> Result<bool> {
    let files = chosen(&cli.scenario)?;
    let began = Instant::now();
    let (mut held, mut node_seconds, mut faults, mut verdicts, mut replayed) = (true, 0, 0, 0, 0);
    let (mut stalls, mut bad_times) = (0, 0);
    for (i, file) in files.iter().enumerate() {
        let scenario = Scenario::read(file)?;
        let candidate = run::fleet(&scenario)?;
        let named = if cli.scenario == "all" { scenario.name.clone() } else { cli.scenario.clone() };
        if cli.trace {
            let outcome = run::run(&scenario, &candidate, cli.seeds.start, true)?;
            println!("{LEGEND}\n");
            outcome.lines.iter().for_each(|line| println!("{line}"));
            let hash: String = outcome.hash.iter().map(|b| format!("{b:02x}")).collect();
            println!("{} events, trace {hash}", outcome.events);
            held &= told(&scenario, &named, &[outcome]);
            continue;
        }
        let seeds = turn(&cli.seeds, i as u64, files.len() as u64);
        if seeds.is_empty() {
            continue;
        }
        let outcomes = run::run_all(&scenario, &candidate, &seeds)?;
        held &= told(&scenario, &named, &outcomes);
        for o in &outcomes {
            node_seconds += o.node_seconds;
            faults += o.faults;
            stalls += o.stalls;
            bad_times += o.bad_times;
            verdicts += o.verdicts;
            replayed += o.replayed;
        }
    }
    println!(
        "{} node-hours of virtual time, {faults} faults, {stalls} stalls and {bad_times} bad times injected, {verdicts} \
         verdicts checked, {replayed} decisions replayed, in {} s: {}",
        node_seconds / 3600,
        began.elapsed().as_secs(),
        if held { "everything held" } else { "BROKEN" }
    );
    Ok(held)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = if cli.list {
        shipped().and_then(|all| {
            for file in all {
                let scenario = Scenario::read(&file)?;
                let alone = if scenario.spec.alone { " (played when named, not by `all`)" } else { "" };
                println!("{:<22} {}{alone}", scenario.name, scenario.spec.about);
            }
            Ok(true)
        })
    } else {
        play(&cli)
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
