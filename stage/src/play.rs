//! Plays stories on a running cast: does each step, writes the marks, tells a person. Owns acting and waiting; refuses
//! to count requests: `summary` does, from the raw files.

mod ailing;
mod senses;

use crate::backend::ANCHOR;
use crate::cast::{Cast, read_tries};
use crate::clock::now_ns;
use crate::fleet_dir;
use crate::process::until;
use crate::raw::{Lines, Mark, MarkKind, ServerLine};
use crate::server_api::Split;
use crate::stories::{Fault, Step, Story};
use crate::summary::CONTROL;
use crate::timeline::{Icon, Timeline, split_table};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidegate_domain::Fleet;

/// Longer than the fleet's settle time of 10 s.
const SETTLED: Duration = Duration::from_secs(12);

/// A stage on which stories are played one after the other.
#[derive(Debug)]
pub(crate) struct Player<'a> {
    pub cast: Cast,
    marks: Lines,
    timeline: &'a Timeline,
    /// Name of the story that is on, with its control suffix.
    story: String,
    zero_ns: u64,
    /// What fails now.
    failing: Vec<(Fault, String)>,
    /// What was killed and not started again.
    killed: Vec<String>,
    /// Splits at the very start.
    original: Vec<Split>,
    before: Vec<Split>,
    /// Some weight was seen to differ from `before` while nothing was to move.
    moved: bool,
    /// The configuration that the server holds is not the original one.
    changed_config: bool,
    demand_per_cent: u64,
    /// Generation that stood when the server was killed.
    last_generation: u64,
    http: reqwest::Client,
    /// Writes down a region's weight, while a story looks at one.
    scales: Option<tokio::task::AbortHandle>,
}

impl<'a> Player<'a> {
    pub(crate) async fn new(cast: Cast, timeline: &'a Timeline) -> anyhow::Result<Self> {
        let marks = Lines::append(&cast.options.runs.join("marks.jsonl"))?;
        let original = cast.server.splits().await.map(|(_, s)| s).unwrap_or_default();
        let http = reqwest::Client::builder().timeout(Duration::from_millis(800)).no_proxy().build()?;
        Ok(Self {
            cast,
            marks,
            timeline,
            story: String::new(),
            zero_ns: now_ns(),
            failing: Vec::new(),
            killed: Vec::new(),
            original,
            before: Vec::new(),
            moved: false,
            changed_config: false,
            demand_per_cent: 100,
            last_generation: 0,
            http,
            scales: None,
        })
    }

    fn mark(&self, what: MarkKind) {
        self.mark_at(now_ns(), what);
    }
    fn mark_at(&self, t_ns: u64, what: MarkKind) {
        self.marks.write(&Mark { t_ns, story: self.story.clone(), what });
    }
    /// Something that must be so; the summary takes it from the marks.
    fn claim(&self, text: &str, held: bool) {
        self.timeline.say(if held { Icon::Held } else { Icon::Broken }, text);
        self.mark(MarkKind::Claim { text: text.to_owned(), held });
    }
    fn say(&self, icon: Icon, text: &str) {
        self.timeline.say(icon, text);
    }

    /// Plays one story to its end. A step that cannot be done ends the story and is told; the next one is played.
    pub(crate) async fn play(&mut self, story: &Story) {
        let whole = if story.name == "recovery" { Ok(()) } else { self.make_whole().await };
        // A voluntary step waits for what moved before it: the end of the last story's ramp would be counted against this one.
        let ails = |s: &Step| matches!(s, Step::Ail(..));
        let whole = match whole {
            Ok(()) if story.steps.iter().any(ails) => self.settled(Duration::from_secs(120)).await,
            other => other,
        };
        self.timeline.title(story.name, story.headline);
        story.name.clone_into(&mut self.story);
        self.zero_ns = now_ns();
        self.mark(MarkKind::Begin);
        if let Some(fault) = not_restored(&whole) {
            self.claim(&fault, false);
        }
        if let Some(why) = self.cannot(story) {
            self.say(Icon::Note, &format!("not played: {why}"));
            self.mark(MarkKind::Skipped { why });
            self.mark(MarkKind::End);
            return;
        }
        for step in &story.steps {
            if let Err(e) = self.step(step).await {
                self.claim(&format!("{step:?}: {e:#}"), false);
                break;
            }
        }
        for stray in self.cast.strays(&self.killed) {
            self.claim(&stray, false);
        }
        if let Some(scales) = self.scales.take() {
            scales.abort();
        }
        self.mark(MarkKind::End);
    }

    fn cannot(&self, story: &Story) -> Option<String> {
        let holed = story.steps.iter().any(|s| matches!(s, Step::Fault(Fault::BlackHoled, _)));
        if holed && self.cast.network.name() == "loopback" {
            return Some("packets cannot be dropped on loopback".to_owned());
        }
        if story.name == "recovery" && self.failing.is_empty() {
            return Some("nothing has failed: play an outage before it".to_owned());
        }
        None
    }

    /// Every decision of the run again, by the server's own record: the bytes must be the same.
    ///
    /// Told under the name of the last story, so that it breaks that one.
    pub(crate) async fn replay_all(&mut self) {
        self.story = main_of(&self.story).to_owned();
        let all = match self.cast.server.decisions().await {
            Ok(all) => all,
            Err(e) => return self.claim(&format!("the decisions can be read: {e:#}"), false),
        };
        let (mut same, mut other) = (0_u64, Vec::new());
        for decision in &all {
            match self.cast.server.replay(decision.line.id).await {
                Ok(replay) if replay.same => same += 1,
                Ok(replay) => other.push(format!("{} ({} instead of {})", replay.id, replay.got, replay.expected)),
                Err(e) => other.push(format!("{} ({e:#})", decision.line.id)),
            }
        }
        if other.is_empty() {
            self.claim(&format!("{same} decisions, replayed from their record, give the same bytes"), same > 0);
        } else {
            self.claim(&format!("replay differs for: {}", other.join(", ")), false);
        }
    }

    /// Between stories: everything stands, and carries what it carried at the start.
    pub(crate) async fn make_whole(&mut self) -> anyhow::Result<()> {
        let idle =
            self.failing.is_empty() && self.killed.is_empty() && !self.changed_config && self.demand_per_cent == 100;
        // What an earlier story did not get back is this one's to wait for, and to be told of.
        if idle && (self.original.is_empty() || covers(&self.splits().await, &self.original)) {
            return Ok(());
        }
        "between".clone_into(&mut self.story);
        self.timeline.zero(now_ns());
        self.say(Icon::Act, "putting everything back");
        self.repair().await?;
        if self.demand_per_cent != 100 {
            self.demand(100).await?;
        }
        if self.changed_config {
            self.config_back().await?;
        }
        self.shares_back(Duration::from_secs(120)).await
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::Before => (self.before, self.moved) = (self.splits().await, false),
            Step::After => {
                let after = self.splits().await;
                self.timeline.block(&split_table(&self.before, &after));
            }
            Step::Fault(fault, providers) => self.fault(*fault, providers).await?,
            Step::Ail(fault, region) => self.ail(*fault, region).await?,
            Step::Leaves(region, bound) => self.leaves(region, *bound).await?,
            Step::Act(text) => self.act(text),
            Step::Verdict(bound) => self.verdict(*bound).await?,
            Step::Acked(bound) => self.acked(*bound).await?,
            Step::Watch(time) => self.watch(*time).await,
            Step::AllIsWell(time) => self.all_is_well(*time).await?,
            Step::OnlyTheDead => self.only_the_dead()?,
            Step::Repair => self.repair().await?,
            Step::SharesBack(bound) => {
                let back = self.shares_back(*bound).await;
                self.claim("every place carries its part again", back.is_ok());
            }
            Step::Drain(place) => self.drain(place).await?,
            Step::DrainDone(place, bound) => self.drain_done(place, *bound).await?,
            Step::Restore(place) => {
                self.mark(MarkKind::Refilling { provider: provider_of(place).to_owned() });
                self.cast.server.restore(place, "demo: maintenance is over").await?;
                self.say(Icon::Act, &format!("{place} is restored by the operator"));
            }
            Step::Cheapest { region, lawless } => self.cheapest(region, *lawless).await?,
            Step::ConfigBack => self.config_back().await?,
            Step::HealthPath(path) => self.health_path(path).await?,
            Step::AllSeenDown(bound) => self.all_seen_down(*bound).await?,
            Step::Demand(per_cent) => self.demand(*per_cent).await?,
            Step::DemandOver(provider) => {
                let left = |r: &&crate::topology::Region| r.provider != *provider;
                let room: u64 = self.cast.topology.regions.iter().filter(left).map(|r| r.safe_milli_rps).sum();
                let declared: u64 = self.cast.fleet.classes.iter().flat_map(|c| &c.demand).map(|d| d.load.0).sum();
                // A little over all that is left: the high classes may not go everywhere, so that much more would not leave
                // room for them either, and then it is they that would have to be shed.
                self.demand((room * 102).div_ceil(declared.max(1))).await?;
            }
            Step::Pause(time) => self.pause(*time).await,
            Step::KillServer => {
                self.last_generation = self.cast.server.splits().await.map_or(0, |(g, _)| g);
                self.say(Icon::Fault, "the server is killed (SIGKILL)");
                self.mark(MarkKind::ServerKilled);
                self.cast.kill(&["server".to_owned()]).await;
                self.killed.push("server".to_owned());
            }
            Step::ServerBack(bound) => self.server_back(*bound).await?,
            Step::RestartEdge => self.restart_edge().await?,
            Step::Control => self.control(),
            Step::SharesSame => {
                let now = self.splits().await;
                let same = now == self.before && !now.is_empty() && !self.moved;
                self.claim("no weight has moved", same);
            }
            Step::CarriesWithin { class, region, bound } => {
                let what = format!("{region} serves {class}");
                let found =
                    until(&what, *bound, || async { (self.share(class, region).await > 0).then_some(()) }).await;
                self.claim(&format!("without the rule {what}: the counter is put to the test"), found.is_ok());
            }
            Step::Carries { class, region, something } => self.carries(class, region, *something).await,
        }
        Ok(())
    }

    /// The story's clock starts though nothing fails.
    fn act(&mut self, text: &str) {
        self.start_clock();
        self.say(Icon::Act, text);
        self.mark_at(self.zero_ns, MarkKind::Fault { providers: Vec::new() });
    }

    /// Goes on under load, and looks several times a second whether a weight has moved.
    async fn watch(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while tokio::time::timeout_at(end, ticks.tick()).await.is_ok() {
            // While the server is dead it says nothing, and nothing moves.
            if let Ok(Ok((_, now))) = tokio::time::timeout_at(end, self.cast.server.splits()).await {
                self.moved |= now != self.before;
            }
        }
    }

    fn start_clock(&mut self) {
        self.zero_ns = now_ns();
        self.timeline.zero(self.zero_ns);
    }

    async fn splits(&self) -> Vec<Split> {
        self.cast.server.splits().await.map(|(_, s)| s).unwrap_or_default()
    }

    async fn fault(&mut self, fault: Fault, providers: &[&str]) -> anyhow::Result<()> {
        self.read_all_tries().await;
        self.start_clock();
        let names: Vec<String> = providers.iter().map(|p| (*p).to_owned()).collect();
        self.mark_at(self.zero_ns, MarkKind::Fault { providers: names.clone() });
        let mut dead: Vec<String> = Vec::new();
        for provider in &names {
            let there = self.cast.at(provider);
            match fault {
                Fault::Refused => dead.extend(there.clone()),
                Fault::Hung => there.iter().for_each(|n| self.cast.signal(n, Signal::SIGSTOP)),
                Fault::BlackHoled => self.cast.network.drop_packets(provider, true)?,
                Fault::Erring | Fault::Gray | Fault::Shallow => {
                    self.cast.order(provider, order_of(fault, true)).await?
                }
            }
            self.failing.push((fault, provider.clone()));
            let what = match fault {
                Fault::Refused => "killed",
                Fault::Hung => "stopped",
                Fault::BlackHoled => "cut off, every packet dropped",
                Fault::Erring => "answering 503 to everything",
                Fault::Gray => "failing some requests, its health path well",
                Fault::Shallow => "answering 503 to data, its health path well",
            };
            let (backends, probers) = (there.iter().filter(|n| n.starts_with("backend")).count(), there.len());
            let probers = probers - backends;
            let with = if fault == Fault::Erring { String::new() } else { format!(" with its {probers} probers") };
            self.say(Icon::Fault, &format!("{provider}: {backends} regions{with} {what}"));
        }
        if !dead.is_empty() {
            // Every process gets its signal before the first is waited for.
            self.cast.kill(&dead).await;
            self.killed.extend(dead);
        }
        Ok(())
    }

    async fn verdict(&mut self, bound: Duration) -> anyhow::Result<()> {
        let providers: Vec<String> = self.failing.iter().map(|(_, p)| p.clone()).collect();
        let (feed, server, zero) = (self.cast.feed.clone(), self.cast.server.clone(), self.zero_ns);
        let mut last = 0_u64;
        for provider in providers {
            let what = format!("verdict on {provider}");
            let at = until(&what, bound, || {
                let (feed, server, provider) = (feed.clone(), server.clone(), provider.clone());
                async move {
                    if let Some(t) = feed.provider_down(&provider, zero) {
                        return Some(t);
                    }
                    // Asked as well as told: an event can be late, a level cannot be missed.
                    let down = server.providers_down().await.ok()?;
                    down.contains(&provider).then(|| feed.provider_down(&provider, zero).unwrap_or_else(now_ns))
                }
            })
            .await?;
            if self.cast.feed.provider_down(&provider, zero).is_none() {
                // Seen as a level before its event came.
                self.cast.feed.write(&ServerLine::Verdict { t_ns: at, provider: provider.clone(), down: true });
            }
            let evidence = self.evidence(&provider).await;
            self.timeline.say_at(at, Icon::Seen, &format!("verdict: {provider} is down{evidence}"));
            last = last.max(at);
        }
        self.mark_at(last, MarkKind::Verdict);
        Ok(())
    }

    async fn evidence(&self, provider: &str) -> String {
        let Ok(status) = self.cast.server.status().await else { return String::new() };
        let of = format!("provider {provider}");
        status.unwell.iter().find(|u| u.what == of).map_or_else(String::new, |u| format!(" ({})", u.evidence))
    }

    /// Until a plan without the dead is committed and everybody has acknowledged it.
    async fn acked(&mut self, bound: Duration) -> anyhow::Result<()> {
        let dead: BTreeSet<String> = self.failing.iter().map(|(_, p)| p.clone()).collect();
        let server = self.cast.server.clone();
        let found: (u64, Vec<String>) = until("a plan without the dead provider", bound, || async {
            let (generation, splits) = server.splits().await.ok()?;
            let carries: BTreeSet<String> = splits.iter().flat_map(|s| s.shares.keys().cloned()).collect();
            let left = carries.iter().any(|r| dead.contains(provider_of(r)));
            (!left && !splits.is_empty()).then(|| (generation, carries.into_iter().collect()))
        })
        .await?;
        let (generation, carries) = found;
        self.cast.feed.write(&ServerLine::Plan { t_ns: now_ns(), generation, carries });
        self.say(Icon::Moved, &format!("plan {generation}: nothing goes there any more"));
        let mut waiting: Vec<String> =
            self.cast.proxies().into_iter().map(|p| p.name).filter(|n| n != ANCHOR).collect();
        let expected = self.cast.subscribers();
        let deadline = now_ns() + u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX / 2);
        loop {
            if let Ok(edges) = server.edges().await {
                let t = now_ns();
                let synced = |node: &str| edges.edges.iter().any(|e| e.node == node && e.state == "synced");
                let all = edges.edges.iter().filter(|e| e.state == "synced").count() as u64;
                let proxies = self.cast.proxies().into_iter().map(|p| p.name).filter(|n| synced(n)).collect();
                self.cast.feed.write(&ServerLine::Edges { t_ns: t, synced: proxies, all });
                for proxy in waiting.extract_if(.., |n| synced(n)).collect::<Vec<_>>() {
                    self.mark_at(t, MarkKind::ProxyAcked { proxy: proxy.clone() });
                    // The anchor's tries are cut where ours are: it is read at the same moment.
                    for p in self.cast.proxies().into_iter().filter(|p| p.name == proxy || p.name == ANCHOR) {
                        self.read_one(&p).await;
                    }
                }
                if waiting.is_empty() && all >= expected {
                    self.mark_at(t, MarkKind::AllAcked { subscribers: all });
                    self.timeline.say_at(t, Icon::Held, &format!("all {all} subscribers have acknowledged it"));
                    return Ok(());
                }
                anyhow::ensure!(
                    t < deadline,
                    "{all} of {expected} subscribers acknowledged in {} s, {waiting:?} have not",
                    bound.as_secs()
                );
            }
            anyhow::ensure!(now_ns() < deadline, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    async fn read_one(&self, proxy: &crate::topology::Proxy) {
        if let Ok(lines) = Lines::append(&self.cast.options.runs.join("proxies.jsonl"))
            && let Some(counts) = self.cast.counts.get(&proxy.name)
        {
            read_tries(&self.http, &self.cast.topology, proxy, counts, &lines).await;
        }
    }
    /// All at the same time: who is read earlier would have what it still rightly sent counted for longer.
    async fn read_all_tries(&self) {
        let proxies = self.cast.proxies();
        futures::future::join_all(proxies.iter().map(|proxy| self.read_one(proxy))).await;
    }

    async fn repair(&mut self) -> anyhow::Result<()> {
        if !self.failing.is_empty() {
            self.read_all_tries().await;
            self.mark(MarkKind::Repaired);
        }
        for (fault, provider) in std::mem::take(&mut self.failing) {
            match fault {
                Fault::Refused => {}
                Fault::Hung => self.cast.at(&provider).iter().for_each(|n| self.cast.signal(n, Signal::SIGCONT)),
                Fault::BlackHoled => self.cast.network.drop_packets(&provider, false)?,
                Fault::Erring | Fault::Gray | Fault::Shallow => {
                    self.cast.order(&provider, order_of(fault, false)).await?;
                }
            }
            self.say(Icon::Act, &format!("{provider} is back"));
        }
        let killed = std::mem::take(&mut self.killed);
        self.cast.again(&killed)
    }

    /// Until every place has at least nine tenths of its first share.
    async fn shares_back(&mut self, bound: Duration) -> anyhow::Result<()> {
        let (original, server) = (self.original.clone(), self.cast.server.clone());
        let mut last: Vec<Split> = Vec::new();
        let timeline = self.timeline;
        let deadline = now_ns() + u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX / 2);
        loop {
            if let Ok((generation, now)) = server.splits().await {
                if !last.is_empty() && now != last {
                    timeline.say(Icon::Moved, &format!("plan {generation}: {}", step_in_words(&last, &now)));
                }
                if covers(&now, &original) {
                    return Ok(());
                }
                last = now;
            }
            anyhow::ensure!(now_ns() < deadline, "not within {} s", bound.as_secs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Until no plan has followed another for a settle time and a little.
    async fn settled(&self, bound: Duration) -> anyhow::Result<()> {
        let (server, began) = (self.cast.server.clone(), Instant::now());
        let (mut last, mut since) = (0, began);
        while since.elapsed() < SETTLED {
            if let Ok((generation, _)) = server.splits().await
                && generation != last
            {
                (last, since) = (generation, Instant::now());
            }
            anyhow::ensure!(began.elapsed() < bound, "plans go on following each other after {} s", bound.as_secs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn drain(&mut self, place: &str) -> anyhow::Result<()> {
        let answer = self.cast.server.drain(place, "demo: maintenance").await?;
        for step in answer.steps {
            let short: String = step.chars().take(100).collect();
            let more = if short.len() < step.len() { " …" } else { "" };
            self.say(Icon::Note, &format!("{short}{more}"));
        }
        Ok(())
    }

    async fn drain_done(&mut self, place: &str, bound: Duration) -> anyhow::Result<()> {
        let server = self.cast.server.clone();
        let (mut steps, mut widest) = (0_u32, 0_u64);
        let mut last = self.before.clone();
        let deadline = now_ns() + u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX / 2);
        loop {
            if let Ok((generation, now)) = server.splits().await {
                if now != last {
                    steps += 1;
                    widest = widest.max(points_moved(&last, &now));
                    self.say(Icon::Moved, &format!("plan {generation}: {}", step_in_words(&last, &now)));
                    last = now;
                }
                let empty = !last.iter().flat_map(|s| s.shares.keys()).any(|r| r.starts_with(place));
                if empty && !last.is_empty() {
                    break;
                }
            }
            anyhow::ensure!(now_ns() < deadline, "{place} still carries something after {} s", bound.as_secs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let cap = u64::from(self.cast.fleet.rules.share_cap.get());
        let text = format!(
            "{place} is empty after {steps} steps, the widest of {} percentage points under the cap of {}",
            widest / 100,
            cap / 100
        );
        self.claim(&text, steps >= 2 && widest <= cap);
        let left = until("the drain's end", bound, || async {
            let drains = server.drains().await.ok()?;
            drains.iter().find(|d| d.place == place && d.phase == "done").map(|_| ())
        });
        let done = left.await.is_ok();
        self.mark(MarkKind::Emptied { provider: provider_of(place).to_owned() });
        self.claim(&format!("{place} sees no new request and its streams have ended or had their grace"), done);
        Ok(())
    }

    async fn reload(&mut self, fleet: &Fleet, why: &str) -> anyhow::Result<()> {
        let documents = fleet_dir::documents(fleet, &self.cast.policy)?;
        fleet_dir::write(&self.cast.paths.file("fleet"), &documents)?;
        let documents =
            documents.into_iter().map(|(name, text)| tidegate_api::Document { name, text }).collect::<Vec<_>>();
        self.cast.server.reload(documents, why).await?;
        Ok(())
    }

    async fn cheapest(&mut self, region: &str, lawless: bool) -> anyhow::Result<()> {
        let mut fleet = self.cast.fleet.clone();
        fleet_dir::free(&mut fleet, region);
        if lawless {
            fleet_dir::permit_everywhere(&mut fleet);
        }
        self.changed_config = true;
        self.reload(&fleet, "demo: Belgium costs nothing").await
    }

    async fn health_path(&mut self, path: &str) -> anyhow::Result<()> {
        let mut fleet = self.cast.fleet.clone();
        fleet_dir::health_path(&mut fleet, path);
        self.changed_config = true;
        self.mark(MarkKind::LimitsJudged { judged: false });
        self.reload(&fleet, "demo: a wrong health-check path").await?;
        self.say(Icon::Fault, &format!("every health check now asks for {path} and gets 404"));
        Ok(())
    }

    async fn all_seen_down(&mut self, bound: Duration) -> anyhow::Result<()> {
        let (server, n) = (self.cast.server.clone(), self.cast.fleet.endpoints.len());
        until("every endpoint seen down", bound, || async {
            // Unknown and held states count as seen: what matters is that the alarm stands.
            let status = server.status().await.ok()?;
            let down = server.endpoints_down().await.ok()?;
            (down == n || status.alarms.iter().any(|a| a.contains("all_down") || a.contains("all down"))).then_some(())
        })
        .await?;
        self.say(Icon::Seen, "the probers call everything down; the alarm stands");
        Ok(())
    }

    async fn config_back(&mut self) -> anyhow::Result<()> {
        let fleet = self.cast.fleet.clone();
        self.reload(&fleet, "demo: the configuration as shipped").await?;
        self.changed_config = false;
        self.say(Icon::Act, "the configuration is as it was");
        if self.story == "all-down" {
            self.mark(MarkKind::LimitsJudged { judged: true });
        }
        Ok(())
    }

    async fn demand(&mut self, per_cent: u64) -> anyhow::Result<()> {
        let mut fleet = self.cast.fleet.clone();
        fleet_dir::demand_times(&mut fleet, per_cent);
        self.reload(&fleet, "demo: demand changes").await?;
        let rate = self.cast.options.rate * per_cent / 100;
        // The anchor cannot shed; more load on it would only slow the machine for all.
        for proxy in self.cast.proxies().into_iter().filter(|p| p.name != ANCHOR) {
            self.cast.pace(&proxy.name, rate).await?;
        }
        self.demand_per_cent = per_cent;
        self.say(Icon::Act, &format!("demand is {per_cent} % of normal: {rate} requests/s through each proxy"));
        Ok(())
    }

    async fn pause(&mut self, time: Duration) {
        self.say(Icon::Fault, &format!("every process is stopped for {} s, clients too", time.as_secs()));
        self.cast.signal_all(Signal::SIGSTOP);
        tokio::time::sleep(time).await;
        self.cast.signal_all(Signal::SIGCONT);
        self.say(Icon::Act, "and goes on");
    }

    async fn server_back(&mut self, bound: Duration) -> anyhow::Result<()> {
        self.killed.retain(|n| n != "server");
        self.cast.again(&["server".to_owned()])?;
        let server = self.cast.server.clone();
        until("the server's return", bound, || async { server.status().await.ok().map(|_| ()) }).await?;
        self.mark(MarkKind::ServerBack);
        self.say(Icon::Seen, "the server is back, and serves what it had committed before it decides anew");
        let (generation, splits) = self.cast.server.splits().await.unwrap_or_default();
        let whole = !splits.is_empty() && generation >= self.last_generation;
        self.claim("its first plan is neither empty nor older than the last one", whole);
        Ok(())
    }

    async fn restart_edge(&mut self) -> anyhow::Result<()> {
        let stands = self.cast.proxies().into_iter().find(|p| p.name == "edge");
        let Some(edge) = stands else { return Ok(()) };
        self.say(Icon::Act, "the edge is restarted; there is no server to ask");
        self.cast.succeed("edge", Duration::from_secs(10))?;
        let (http, host) = (self.http.clone(), self.cast.topology.host.clone());
        // The predecessor never says this of itself: it has had a server.
        let from_disk = until("the edge's own word that it serves from disk", Duration::from_secs(20), || async {
            let said = http.get(format!("http://{}/metrics", edge.admin)).send().await.ok()?.text().await.ok()?;
            said.lines().any(|l| l == "tidegate_edge_booted_from_disk 1").then_some(())
        });
        let from_disk = from_disk.await.is_ok();
        let asked = http
            .get(format!("http://{}/", edge.address))
            .header("host", host)
            .header(crate::backend::CLASS_HEADER, "eu")
            .send()
            .await;
        let served = asked.is_ok_and(|a| a.status() == 200);
        self.claim("it serves again from its last good snapshot on disk", from_disk && served);
        Ok(())
    }

    fn control(&mut self) {
        self.mark(MarkKind::End);
        self.story.push_str(CONTROL);
        self.mark(MarkKind::Begin);
    }

    /// Basis points of `class` at `region`, all client groups together.
    async fn share(&self, class: &str, region: &str) -> u64 {
        let splits = self.splits().await;
        let of = |s: &&Split| s.class.rsplit('/').next() == Some(class);
        splits.iter().filter(of).filter_map(|s| s.shares.get(region)).sum()
    }

    async fn carries(&self, class: &str, region: &str, something: bool) {
        let share = self.share(class, region).await;
        let text =
            if something { format!("{region} serves {class}") } else { format!("{region} serves nothing of {class}") };
        self.claim(&text, (share > 0) == something);
    }
}

/// What the backends are told for a fault that they show themselves.
fn order_of(fault: Fault, on: bool) -> &'static str {
    match (fault, on) {
        (Fault::Gray, true) => "gray on",
        (Fault::Gray, false) => "gray off",
        (Fault::Shallow, true) => "shallow on",
        (Fault::Shallow, false) => "shallow off",
        (_, true) => "erring on",
        (_, false) => "erring off",
    }
}

/// The story that a control run belongs to, or the story itself.
fn main_of(story: &str) -> &str {
    story.strip_suffix(CONTROL).unwrap_or(story)
}

/// What to hold against a story that begins on a stage which was not put back.
fn not_restored(whole: &anyhow::Result<()>) -> Option<String> {
    whole.as_ref().err().map(|e| format!("the stage was not back to normal when it began: {e:#}"))
}

fn provider_of(region: &str) -> &str {
    region.split('/').next().unwrap_or("")
}

/// Whether each first share is there again, to nine tenths.
fn covers(now: &[Split], original: &[Split]) -> bool {
    original.iter().all(|o| {
        let found = now.iter().find(|n| n.class == o.class && n.group == o.group);
        found.is_some_and(|n| {
            n.shed_bps <= o.shed_bps
                && o.shares.iter().all(|(r, b)| n.shares.get(r).copied().unwrap_or(0) * 10 >= b * 9)
        })
    })
}

/// The most that any class was moved by between two plans, in basis points.
fn points_moved(before: &[Split], after: &[Split]) -> u64 {
    let gained = |a: &Split| {
        let b = before.iter().find(|b| b.class == a.class && b.group == a.group)?;
        let gain = |(r, n): (&String, &u64)| n.saturating_sub(b.shares.get(r).copied().unwrap_or(0));
        Some(a.shares.iter().map(gain).sum::<u64>())
    };
    after.iter().filter_map(gained).max().unwrap_or(0)
}

/// `payroll/eu at de: aws 60 → 26 %`, of the class that moved most.
fn step_in_words(before: &[Split], after: &[Split]) -> String {
    let sum = |s: &Split, p: &str| s.shares.iter().filter(|(r, _)| provider_of(r) == p).map(|(_, b)| *b).sum::<u64>();
    let mut best: Option<(u64, String)> = None;
    for a in after {
        let Some(b) = before.iter().find(|b| b.class == a.class && b.group == a.group) else { continue };
        let providers: BTreeSet<&str> = a.shares.keys().chain(b.shares.keys()).map(|r| provider_of(r)).collect();
        for p in providers {
            let (was, now) = (sum(b, p), sum(a, p));
            if was.abs_diff(now) > best.as_ref().map_or(0, |x| x.0) {
                let text = format!("{} at {}: {p} {} → {} %", a.class, a.group, was / 100, now / 100);
                best = Some((was.abs_diff(now), text));
            }
        }
    }
    best.map_or_else(|| "weights within providers".to_owned(), |x| x.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn split(aws: u64, azure: u64) -> Split {
        Split {
            class: "payroll/eu".into(),
            group: "de".into(),
            serving: "routed".into(),
            shed_bps: 0,
            shares: BTreeMap::from([("aws/eu-central-1".to_owned(), aws), ("azure/westeurope".to_owned(), azure)]),
        }
    }

    #[test]
    fn a_stage_that_is_not_put_back_is_held_against_the_next_story() {
        assert_eq!(not_restored(&Ok(())), None);
        let said = not_restored(&Err(anyhow::anyhow!("not within 120 s")));
        assert!(said.is_some_and(|s| s.contains("not within 120 s")));
        assert_eq!(main_of("forbidden-cheapest/control"), "forbidden-cheapest");
        assert_eq!(main_of("recovery"), "recovery");
    }
    #[test]
    fn nine_tenths_are_back() {
        let original = [split(6_000, 4_000)];
        assert!(covers(&[split(5_500, 4_500)], &original));
        assert!(!covers(&[split(5_000, 5_000)], &original));
        assert!(!covers(&[], &original));
    }
    #[test]
    fn a_step_names_what_moved_most() {
        assert_eq!(points_moved(&[split(6_000, 4_000)], &[split(2_600, 7_400)]), 3_400);
        let words = step_in_words(&[split(6_000, 4_000)], &[split(2_600, 7_400)]);
        assert_eq!(words, "payroll/eu at de: aws 60 → 26 %");
    }
}
