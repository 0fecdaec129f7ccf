//! `bench failover`: the four outages, many times, with the anchor beside. `bench stories`: what people and a dead server
//! do to requests. `bench detection`: how soon a killed member is seen. Owns the rows and their targets; refuses to judge what `summary` did not count.

mod detection;

use crate::backend::ANCHOR;
use crate::cast::{Cast, Options};
use crate::fleet_dir;
use crate::play::Player;
use crate::shape::{Ailing, BenchJson, BenchRow, Machine, Measures, ProxyCount, StoryRow};
use crate::stories::{self, Story};
use crate::summary::Run;
use crate::timeline::{Icon, Timeline};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Subscribers beside the proxies.
const SUBSCRIBERS: usize = 200;

/// Proxies that stand where the anchor stands and are asked for the same classes: like is held against like.
const BESIDE_THE_ANCHOR: [&str; 2] = ["envoy", "edge"];
/// Stories of the second bench: a drain and a restore, configuration reloads, places that ail behind a well health path,
/// two clouds at once, a dead server.
const STORIES: [&str; 6] =
    ["operator-drain", "forbidden-cheapest", "gray", "shallow-check", "two-providers", "control-plane-death"];

/// What is asked of a bench.
#[derive(Debug, Clone)]
pub(crate) struct BenchOptions {
    /// `failover`, `stories` or `detection`.
    pub name: String,
    /// How often each story is played.
    pub runs: u32,
    /// Where the rows go.
    pub json: Option<PathBuf>,
    /// Targets.
    pub targets: PathBuf,
    /// Pictures go here, where the bench draws some.
    pub plots: Option<PathBuf>,
    /// Raw files of all runs are kept here; else they are counted and removed.
    pub keep: Option<PathBuf>,
}

/// Runs, prints, writes. True where every row with a target met it.
pub(crate) async fn bench(options: BenchOptions) -> anyhow::Result<bool> {
    if options.name == "detection" {
        return detection::bench(&options).await;
    }
    let failover = options.name == "failover";
    let stories: Vec<Story> = match options.name.as_str() {
        "failover" => stories::outages(),
        "stories" => stories::all(false).into_iter().filter(|s| STORIES.contains(&s.name)).collect(),
        other => anyhow::bail!("no bench is called `{other}`; there are `failover`, `stories` and `detection`"),
    };
    let targets = read_targets(&options.targets, &options.name)?;
    let timeline = Timeline::new(true);
    let ours = crate::ledger::home().join(format!("bench-{}", std::process::id()));
    let base = options.keep.clone().unwrap_or_else(|| ours.clone());
    let (mut rows, mut machine): (Vec<StoryRow>, Option<Machine>) = (Vec::new(), None);
    let runs = options.runs;
    for n in 0..runs {
        timeline.always(&format!("run {} of {runs}", n + 1));
        let dir = base.join(format!("run-{n:02}"));
        let cast_options = Options {
            runs: dir.clone(),
            loopback: false,
            control: true,
            anchor: failover,
            edges: true,
            subscribers: if failover { SUBSCRIBERS } else { 2 },
            rate: 200,
            links: None,
            hasty: failover,
        };
        let load = load_average();
        let mut cast = Cast::open(cast_options, fleet_dir::example()?, &timeline).await?;
        anyhow::ensure!(cast.envoy.is_some(), "no Envoy: `cargo xtask setup` brings it, or name one in TIDEGATE_ENVOY");
        cast.write_facts(&stories.iter().map(|s| s.name).collect::<Vec<_>>())?;
        machine.get_or_insert_with(|| this_machine(load, cast.network.name()));
        let mut player = Player::new(cast, &timeline).await?;
        for story in &stories {
            player.play(story).await;
        }
        player.cast.close().await;
        let found = Run::read(&dir)?.summarise();
        anyhow::ensure!(found.faults.is_empty(), "the run's files do not fit together: {}", found.faults.join("; "));
        for row in &found.stories {
            anyhow::ensure!(row.skipped.is_none(), "{} cannot be played here: nothing is measured", row.name);
            for broken in &row.broken {
                timeline.say(Icon::Broken, &format!("{}: {broken}", row.name));
            }
        }
        rows.extend(found.stories);
        if options.keep.is_none() {
            // Twenty runs of lines are gigabytes; what is counted is kept.
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
    let _ = std::fs::remove_dir_all(&ours);
    let machine = machine.ok_or_else(|| anyhow::anyhow!("no run was asked for"))?;
    let measured = if failover { measure(&rows) } else { measure_stories(&rows) };
    let bench = BenchJson { bench: options.name.clone(), machine, rows: judge(measured, &targets) };
    timeline.always(&table(&bench));
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&bench)? + "\n")?;
    }
    Ok(bench.rows.iter().all(|r| r.met != Some(false)) && rows.iter().all(|r| r.broken.is_empty()))
}

/// Rows without targets, out of many stories' rows.
fn measure(rows: &[StoryRow]) -> Vec<BenchRow> {
    let mut out = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|r| r.skipped.is_none()) {
        if !names.contains(&row.name.as_str()) {
            names.push(&row.name);
        }
    }
    for name in &names {
        let of: Vec<&StoryRow> = rows.iter().filter(|r| r.name == *name && r.skipped.is_none()).collect();
        out.push(worst(name, "fault_to_verdict_ms", &of, |m| m.fault_to_verdict_ms));
        out.push(worst(name, "fault_to_all_acked_ms", &of, |m| m.fault_to_all_acked_ms));
        let share = of.iter().map(|r| per_cent(r.measures.failed_get_10s, r.measures.get_10s));
        out.push(row(format!("{name}.failed_get_share.max"), share.collect(), "%", None));
        let share = of.iter().map(|r| per_cent(r.measures.over_200ms_get_10s, r.measures.get_10s));
        out.push(row(format!("{name}.over_200ms_get_share.max"), share.collect(), "%", None));
        out.push(against(name, "failed_get_share.sum", &of, |p| (p.failed_get_10s, p.answerable_get_10s)));
        out.push(against(name, "over_200ms_get_share.sum", &of, |p| (p.over_200ms_get_10s, p.answerable_get_10s)));
        out.push(against(name, "reached_dead_before_ack_share.sum", &of, |p| {
            (p.reached_dead_before_ack, p.answerable)
        }));
        let shed = of.iter().map(|r| r.measures.shed as f64);
        out.push(row(format!("{name}.shed.max"), shed.collect(), "requests", None));
        let after = of.iter().map(|r| r.measures.reached_dead_after_ack as f64);
        out.push(row(format!("{name}.reached_dead_after_ack.max"), after.collect(), "tries", None));
    }
    for (id, get) in [
        ("double_posts.sum", (|m| m.double_posts) as fn(&Measures) -> u64),
        ("forbidden_requests.sum", |m| m.forbidden_requests),
    ] {
        let mut r = row(id.to_owned(), rows.iter().map(|r| get(&r.measures) as f64).collect(), "requests", None);
        r.value = rows.iter().map(|r| get(&r.measures)).sum::<u64>() as f64;
        out.push(r);
    }
    out
}

/// Rows of the second bench.
fn measure_stories(rows: &[StoryRow]) -> Vec<BenchRow> {
    let of = |name: &str| rows.iter().filter(|r| r.name == name).map(|r| r.measures.clone()).collect::<Vec<_>>();
    let most = |id: &str, unit: &str, samples: Vec<f64>| row(id.to_owned(), samples, unit, None);
    let count = |m: &[Measures], get: fn(&Measures) -> u64| m.iter().map(|m| get(m) as f64).collect::<Vec<_>>();
    let failed = |m: &Measures| m.failed_get + m.failed_post;
    let share = |part: &Option<ProxyCount>| part.as_ref().map_or(100.0, |p| per_cent(p.failed, p.requests));
    let (drain, reload) = (of("operator-drain"), of("forbidden-cheapest"));
    let (two, dead) = (of("two-providers"), of("control-plane-death"));
    let mut out = vec![
        most("operator-drain.failed.max", "requests", count(&drain, failed)),
        most("operator-drain.reached_drained.max", "requests", count(&drain, |m| m.reached_drained)),
        most("config-reload.failed.max", "requests", count(&reload, failed)),
        most("config-reload.forbidden.max", "requests", count(&reload, |m| m.forbidden_requests)),
        most(
            "two-providers.failed_share.max",
            "%",
            two.iter().map(|m| per_cent(m.failed_10s, m.requests_10s)).collect(),
        ),
        most("two-providers.failed_high_get.max", "requests", count(&two, |m| m.failed_high_get + m.shed_high)),
        most("two-providers.failed_high_post.max", "requests", count(&two, |m| m.failed_high_post)),
        most("two-providers.failed_high_after_ack.max", "requests", count(&two, |m| m.failed_high_after_ack)),
        most("two-providers.over_limit_ms.max", "ms", count(&two, |m| m.over_limit_ms)),
        most("server-dead.failed_share.max", "%", dead.iter().map(|m| share(&m.server_dead_alone)).collect()),
        most(
            "server-and-provider-dead.failed_share.max",
            "%",
            dead.iter().map(|m| share(&m.server_dead_and_fault)).collect(),
        ),
        most("server-and-provider-dead.forbidden.max", "requests", count(&dead, |m| m.forbidden_requests)),
        most("server-back.empty_or_older.max", "responses", count(&dead, |m| m.empty_or_older)),
    ];
    for name in ["gray", "shallow-check"] {
        out.extend(measure_ailing(name, &of(name)));
    }
    out
}

/// Rows of a place that ails behind a well health path; a run that has no value counts as endless.
fn measure_ailing(name: &str, of: &[Measures]) -> Vec<BenchRow> {
    let most = |what: &str, unit: &str, get: &dyn Fn(&Ailing) -> Option<f64>| {
        let value = |m: &Measures| m.ailing.as_ref().and_then(get).unwrap_or(f64::from(u32::MAX));
        row(format!("{name}.{what}.max"), of.iter().map(value).collect(), unit, None)
    };
    vec![
        most("weight_falls_ms", "ms", &|a| a.weight_falls_ms.map(|ms| ms as f64)),
        most("weight_gone_ms", "ms", &|a| a.weight_gone_ms.map(|ms| ms as f64)),
        most("reached_after_15s", "requests", &|a| Some(a.reached_after_15s as f64)),
        most("failed_get_share", "%", &|a| Some(per_cent(a.failed_get, a.get))),
        most("failed_post_share", "%", &|a| Some(per_cent(a.failed_post, a.post))),
        most("back_after_repair_ms", "ms", &|a| a.back_after_repair_ms.map(|ms| ms as f64)),
        most("falls_after_repair", "times", &|a| Some(a.falls_after_repair as f64)),
    ]
}

/// The largest of all runs; a run that has none counts as endless.
fn worst(name: &str, what: &str, of: &[&StoryRow], get: impl Fn(&Measures) -> Option<i64>) -> BenchRow {
    let samples = of.iter().map(|r| get(&r.measures).map_or(f64::from(u32::MAX), |v| v as f64)).collect();
    row(format!("{name}.{what}.max"), samples, "ms", None)
}

/// Ours beside the anchor and the anchor's, each in per cent of what each was sent and may answer, all runs together.
fn against(name: &str, what: &str, of: &[&StoryRow], get: impl Fn(&ProxyCount) -> (u64, u64)) -> BenchRow {
    let counts = |m: &Measures, who: &[&str]| {
        let found: Vec<(u64, u64)> = who.iter().filter_map(|p| m.by_proxy.get(*p)).map(&get).collect();
        found.into_iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    let all = of.iter().map(|r| counts(&r.measures, &BESIDE_THE_ANCHOR));
    let ours = all.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let all = of.iter().filter_map(|r| r.anchor.as_ref()).map(|m| counts(m, &[ANCHOR]));
    let theirs = all.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let peer = (theirs.1 > 0).then(|| per_cent(theirs.0, theirs.1));
    let mut r = row(format!("{name}.{what}"), vec![per_cent(ours.0, ours.1)], "%", peer);
    r.samples = of.len() as u64;
    r
}

fn row(id: String, mut samples: Vec<f64>, unit: &str, peer: Option<f64>) -> BenchRow {
    samples.sort_by(f64::total_cmp);
    let at = |q: f64| samples.get(((samples.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied();
    let value = samples.last().copied().unwrap_or(0.0);
    BenchRow {
        id,
        value,
        unit: unit.to_owned(),
        target: None,
        met: None,
        peer: peer.map(|_| "E-t".to_owned()),
        peer_value: peer,
        ratio: peer.filter(|p| *p > 0.0).map(|p| value / p),
        samples: samples.len() as u64,
        p50: if samples.len() > 1 { at(0.5) } else { None },
        p99: if samples.len() > 1 { at(0.99) } else { None },
    }
}

fn per_cent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A target is a number that the value may not pass, or, under `ID.times_peer` and `ID.plus`, a factor of the peer's
/// value and an allowance on top of it.
fn judge(mut rows: Vec<BenchRow>, targets: &BTreeMap<String, f64>) -> Vec<BenchRow> {
    for r in &mut rows {
        // `*.fault_to_verdict_ms.max` stands for every story.
        let general = r.id.split_once('.').map(|(_, rest)| format!("*.{rest}")).unwrap_or_default();
        let find = |suffix: &str| {
            targets.get(&format!("{}{suffix}", r.id)).or_else(|| targets.get(&format!("{general}{suffix}"))).copied()
        };
        let factor = find(".times_peer");
        r.target = match (factor, r.peer_value) {
            (Some(f), Some(peer)) => Some(peer * f + find(".plus").unwrap_or(0.0)),
            (Some(_), None) => None,
            (None, _) => find(""),
        };
        // A target that has nothing to be held against is not met.
        r.met = match (factor, r.target) {
            (_, Some(target)) => Some(r.value <= target && r.samples > 0),
            (Some(_), None) => Some(false),
            (None, None) => None,
        };
    }
    rows
}

/// One table of a TOML file of plain numbers: `[section]` and `"key" = 1.5`.
fn read_targets(path: &Path, section: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let text = std::fs::read_to_string(path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    let mut out = BTreeMap::new();
    let mut here = false;
    for (n, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            here = name.trim().trim_matches('"') == section;
        } else if here && !line.is_empty() {
            let bad = || anyhow::anyhow!("{} line {}: `{line}` is not `\"key\" = number`", path.display(), n + 1);
            let (key, value) = line.split_once('=').ok_or_else(bad)?;
            let value = value.trim().replace('_', "").parse().map_err(|_| bad())?;
            out.insert(key.trim().trim_matches('"').to_owned(), value);
        }
    }
    Ok(out)
}

fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|w| w.parse().ok()).unwrap_or(0.0)
}

fn this_machine(load: f64, network: &str) -> Machine {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split_once(':'));
    Machine {
        cores: std::thread::available_parallelism().map_or(0, |n| n.get() as u64),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        cpu: model.map(|m| m.1.trim().to_owned()).unwrap_or_default(),
        load,
        network: network.to_owned(),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
    }
}

fn table(bench: &BenchJson) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(vec!["row", "value", "p50", "p99", "target", "met", "peer", "ratio", "n"]);
    let number = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    for r in &bench.rows {
        table.add_row(vec![
            r.id.clone(),
            format!("{:.3} {}", r.value, r.unit),
            number(r.p50),
            number(r.p99),
            number(r.target),
            r.met.map_or("-", |m| if m { "yes" } else { "NO" }).to_owned(),
            number(r.peer_value),
            number(r.ratio),
            r.samples.to_string(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(verdict: i64, failed: u64, anchor_failed: u64) -> StoryRow {
        let m = |failed| {
            let count = ProxyCount { answerable_get_10s: 1_600, failed_get_10s: failed, ..ProxyCount::default() };
            Measures {
                fault_to_verdict_ms: Some(verdict),
                requests: 2_000,
                get_10s: 1_600,
                failed_get_10s: failed,
                by_proxy: [("edge", count.clone()), (ANCHOR, count)].map(|(n, c)| (n.to_owned(), c)).into(),
                ..Measures::default()
            }
        };
        StoryRow {
            name: "provider-hung".into(),
            measures: m(failed),
            anchor: Some(m(anchor_failed)),
            skipped: None,
            broken: Vec::new(),
        }
    }

    #[test]
    fn targets_judge_values_and_peers() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("targets.toml");
        let text = "[other]\nx = 1\n[failover] # ours\n\"*.fault_to_verdict_ms.max\" = 3_000\n\
                    \"*.failed_get_share.sum.times_peer\" = 1.0\n\"*.failed_get_share.sum.plus\" = 0.02\n";
        std::fs::write(&path, text).expect("write");
        let targets = read_targets(&path, "failover").expect("targets");
        let rows = judge(measure(&[story(1_500, 0, 1), story(2_900, 1, 0)]), &targets);
        let find = |id: &str| rows.iter().find(|r| r.id == id).expect(id);
        let verdict = find("provider-hung.fault_to_verdict_ms.max");
        assert_eq!((verdict.value, verdict.p50, verdict.met, verdict.samples), (2_900.0, Some(1_500.0), Some(true), 2));
        assert_eq!(find("provider-hung.failed_get_share.sum").met, Some(true));
        let worse = judge(measure(&[story(3_100, 4, 0)]), &targets);
        let met = |id: &str| worse.iter().find(|r| r.id == id).expect(id).met;
        assert_eq!(met("provider-hung.fault_to_verdict_ms.max"), Some(false));
        assert_eq!(met("provider-hung.failed_get_share.sum"), Some(false));
        assert!(read_targets(&path, "other").is_ok_and(|t| t.len() == 1));
    }
    #[test]
    fn a_target_without_a_peer_is_not_met() {
        let mut alone = story(1_000, 0, 0);
        alone.anchor = None;
        let targets = BTreeMap::from([("*.failed_get_share.sum.times_peer".to_owned(), 1.0)]);
        let rows = judge(measure(&[alone]), &targets);
        let sum = rows.iter().find(|r| r.id == "provider-hung.failed_get_share.sum").expect("row");
        assert_eq!((sum.met, sum.target), (Some(false), None));
    }
    #[test]
    fn a_run_without_a_verdict_fails_its_target() {
        let mut without = story(0, 0, 0);
        without.measures.fault_to_verdict_ms = None;
        let targets = BTreeMap::from([("*.fault_to_verdict_ms.max".to_owned(), 3_000.0)]);
        let rows = judge(measure(&[story(1_000, 0, 0), without]), &targets);
        assert_eq!(rows[0].met, Some(false));
    }
}
