//! `demo`, `rehearse`, `verify-run`: opens a cast, has stories played, prints and writes what came of it.

use crate::cast::{Cast, Options};
use crate::fleet_dir;
use crate::play::Player;
use crate::shape::{Ailing, DemoJson, StoryRow};
use crate::stories::{self, Story};
use crate::summary::Run;
use crate::timeline::{Icon, Timeline};
use std::path::{Path, PathBuf};

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct DemoOptions {
    pub cast: Options,
    pub all: bool,
    pub stories: Vec<String>,
    pub stay: bool,
    pub headless: bool,
    pub json: Option<PathBuf>,
    pub keep_runs: bool,
}

/// Set when the demo only stays up for a person: whether its stories held. A Ctrl-C is then the end that was announced.
pub(crate) static STAYS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();

/// Which stories those options mean.
fn chosen(options: &DemoOptions, network: Option<&str>) -> anyhow::Result<Vec<Story>> {
    let mut all = stories::all(network == Some("loopback"));
    if options.cast.links.is_some() {
        all.insert(0, stories::far());
    }
    if options.stories.is_empty() {
        return Ok(all.into_iter().filter(|s| options.all || s.short).collect());
    }
    let names: Vec<&str> = all.iter().map(|s| s.name).collect();
    for asked in &options.stories {
        anyhow::ensure!(names.contains(&asked.as_str()), "no story `{asked}`; there are: {}", names.join(", "));
    }
    Ok(all.into_iter().filter(|s| options.stories.iter().any(|n| n == s.name)).collect())
}

/// The demo. True where all held.
pub(crate) async fn demo(options: DemoOptions) -> anyhow::Result<bool> {
    let started = crate::clock::now_ns();
    // What cannot be played is said before anything is started.
    chosen(&options, None)?;
    fresh(&options.cast.runs)?;
    let timeline = Timeline::new(options.headless);
    timeline.title("Tidegate", "three clouds, nine regions, real proxies, real load");
    timeline.say(Icon::Note, "plain text between the parts, and minimum residency is 20 s: this is a demo");
    let mut cast = Cast::open(options.cast.clone(), fleet_dir::example()?, &timeline).await?;
    let stories = chosen(&options, Some(cast.network.name()))?;
    cast.write_facts(&stories.iter().map(|s| s.name).collect::<Vec<_>>())?;
    timeline.say(Icon::Held, "everything stands and carries load");
    let mut player = Player::new(cast, &timeline).await?;
    for story in &stories {
        player.play(story).await;
    }
    player.replay_all().await;
    if options.stay {
        // The longest that an answer can take: all lines of the stories are then written.
        tokio::time::sleep(std::time::Duration::from_millis(5_200)).await;
        let ok = report(&timeline, &options)?;
        if let Err(e) = player.make_whole().await {
            timeline.say(Icon::Broken, &format!("not back to normal: {e:#}"));
        }
        STAYS.get_or_init(|| ok);
        stay(&player.cast, &timeline).await;
    }
    player.cast.close().await;
    let ok = report(&timeline, &options)?;
    let took = crate::clock::ms_between(started, crate::clock::now_ns()) / 1000;
    timeline.always(&format!("{} stories in {took} s", stories.len()));
    if !options.keep_runs {
        let _ = std::fs::remove_dir_all(&options.cast.runs);
    }
    Ok(ok)
}

/// Summary from the files alone, printed and written.
fn report(timeline: &Timeline, options: &DemoOptions) -> anyhow::Result<bool> {
    let json = Run::read(&options.cast.runs)?.summarise();
    print_summary(timeline, &json);
    if let Some(path) = &options.json {
        write_json(path, &json)?;
    }
    Ok(json.ok)
}

/// A run's directory must not hold another run's lines.
fn fresh(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let used = dir.join(crate::summary::RUN_FILE).exists() || dir.join("marks.jsonl").exists();
    anyhow::ensure!(!used, "{} holds a run already: name an empty directory", dir.display());
    Ok(())
}

/// The anchor alone.
pub(crate) async fn rehearse(runs: PathBuf, loopback: bool) -> anyhow::Result<bool> {
    fresh(&runs)?;
    let timeline = Timeline::new(false);
    timeline.title("rehearsal", "a static Envoy alone, tuned as well as one can, under the four outages");
    let options = Options {
        runs: runs.clone(),
        loopback,
        control: false,
        anchor: true,
        edges: false,
        subscribers: 0,
        rate: 200,
        links: None,
        hasty: false,
    };
    let mut cast = Cast::open(options, fleet_dir::example()?, &timeline).await?;
    let stories = stories::rehearsal();
    cast.write_facts(&stories.iter().map(|s| s.name).collect::<Vec<_>>())?;
    let mut player = Player::new(cast, &timeline).await?;
    for story in &stories {
        player.play(story).await;
    }
    player.cast.close().await;
    let json = Run::read(&runs)?.summarise();
    for row in &json.stories {
        if let Some(anchor) = &row.anchor {
            timeline.always(&format!("{:<22} {}", row.name, anchor_line(anchor)));
        }
    }
    Ok(json.stories.iter().all(|s| s.anchor.as_ref().is_some_and(|a| a.requests > 0)))
}

fn anchor_line(m: &crate::shape::Measures) -> String {
    format!(
        "{} requests, {} GET + {} POST failed, {} GET over 200 ms, {} tries at the dead",
        m.requests, m.failed_get, m.failed_post, m.over_200ms_get, m.reached_dead_before_ack
    )
}

/// Recomputes and prints. True where all held.
pub(crate) fn verify_run(dir: &Path, json: Option<&Path>) -> anyhow::Result<bool> {
    let found = Run::read(dir)?.summarise();
    print_summary(&Timeline::new(false), &found);
    if let Some(path) = json {
        write_json(path, &found)?;
    }
    Ok(found.ok)
}

fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    std::fs::write(path, text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

fn print_summary(timeline: &Timeline, json: &DemoJson) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(vec![
        "story",
        "verdict",
        "all acked",
        "requests",
        "failed",
        "in flight",
        "late",
        "shed",
        "double",
        "forbidden",
        "over limit",
        "",
    ]);
    for row in &json.stories {
        table.add_row(cells(row));
    }
    timeline.always(&format!("\n{table}"));
    for fault in &json.faults {
        timeline.always(&format!("  {} the run's files: {fault}", timeline.paint("31", "!")));
    }
    for row in &json.stories {
        for broken in &row.broken {
            timeline.always(&format!("  {} {}: {broken}", timeline.paint("31", "!"), row.name));
        }
    }
    for row in &json.stories {
        let ours = row.measures.ailing.as_ref().map(|a| ("ours", a));
        let anchor = row.anchor.as_ref().and_then(|m| m.ailing.as_ref()).map(|a| ("E-t, static", a));
        for (who, ailing) in ours.into_iter().chain(anchor) {
            timeline.always(&format!("  {} · {who}: {}", row.name, ailing_line(ailing)));
        }
    }
    let envoy = if json.envoy_version.is_empty() { "no Envoy" } else { &json.envoy_version };
    let verdict = if json.ok { "every invariant held" } else { "an invariant broke" };
    timeline.always(&format!("{verdict} · Envoy {envoy} · {}", json.network));
}

/// What an ailing place did to one set of proxies, in a line.
fn ailing_line(a: &Ailing) -> String {
    let s =
        |ms: Option<i64>| ms.map_or_else(|| "never".to_owned(), |ms| format!("{}.{:02} s", ms / 1000, ms % 1000 / 10));
    let ms = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), |us| format!("{}.{} ms", us / 1000, us % 1000 / 100));
    format!(
        "{} loses weight after {}, all of it after {}; in {}.{} s {} of {} GETs and {} of {} POSTs failed; {} requests \
         reached it after 15 s; p99 there {} → {}; back {} after the repair, fell {} times again",
        a.place,
        s(a.weight_falls_ms),
        s(a.weight_gone_ms),
        a.judged_ms / 1000,
        a.judged_ms % 1000 / 100,
        a.failed_get,
        a.get,
        a.failed_post,
        a.post,
        a.reached_after_15s,
        ms(a.p99_before_us),
        ms(a.p99_during_us),
        s(a.back_after_repair_ms),
        a.falls_after_repair,
    )
}

fn cells(row: &StoryRow) -> Vec<String> {
    let m = &row.measures;
    let ms = |v: Option<i64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v} ms"));
    let state = match (&row.skipped, row.broken.is_empty()) {
        (Some(_), _) => "not played",
        (None, true) => "✓",
        (None, false) => "!",
    };
    vec![
        row.name.clone(),
        ms(m.fault_to_verdict_ms),
        ms(m.fault_to_all_acked_ms),
        m.requests.to_string(),
        (m.failed_get + m.failed_post).to_string(),
        m.failed_in_flight.to_string(),
        m.over_200ms_get.to_string(),
        m.shed.to_string(),
        m.double_posts.to_string(),
        m.forbidden_requests.to_string(),
        format!("{} ms", m.over_limit_ms),
        state.to_owned(),
    ]
}

/// Stays until interrupted.
async fn stay(cast: &Cast, timeline: &Timeline) {
    let bin = cast.paths.bin.join("tidegate");
    let tidegate = bin.display();
    timeline.always(&format!(
        "\nEverything stays up until Ctrl-C. In another terminal:\n\n  \
         export TIDEGATE_SERVER=http://{api} TIDEGATE_TOKEN_FILE={token}\n  \
         {tidegate} status\n  {tidegate} edges\n  {tidegate} explain region aws/eu-central-1\n  \
         {tidegate} drain azure --reason 'trying it out' --wait\n  {tidegate} restore azure --reason 'done'\n  \
         {tidegate} events --follow\n  curl -H 'host: {host}' -H 'x-residency-class: eu' -i http://{edge}/\n\n  \
         logs: {logs}",
        api = cast.topology.api,
        token = cast.secrets.token_file.display(),
        host = cast.topology.host,
        edge = cast.topology.proxy("edge").map(|p| p.address.to_string()).unwrap_or_default(),
        logs = cast.paths.work.join("logs").display(),
    ));
    if let Some(pid) = cast.pid("server") {
        timeline.always(&format!("  kill -9 {pid}     # the server: watch the edges go on"));
    }
    std::future::pending::<()>().await;
}
