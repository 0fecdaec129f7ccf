//! Everything that runs: backends, references, probers, server, proxies, subscribers, load. Owns starting, killing and
//! bringing back by place ("what dies, dies with everything placed there"); refuses to measure and to tell stories.

use crate::backend::{self, ANCHOR, BackendSpec};
use crate::envoy;
use crate::fleet_dir::{self, Shipped};
use crate::ledger::{Slot, home};
use crate::load::{LoadSpec, Target};
use crate::network::{Joined, Network, Site, stands_at};
use crate::process::{Recipe, Running, accepts, until};
use crate::programs::{self, Paths, Secrets};
use crate::raw::{Count, Lines, Tries};
use crate::relay::{Delays, Matrix};
use crate::server_api::{Feed, Server};
use crate::subscribers::SubscriberSpec;
use crate::summary::{RUN_FILE, RunFacts};
use crate::timeline::{Icon, Timeline};
use crate::topology::{Groups, OUTSIDE, Proxy, Sites, Topology, lay_out};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::Fleet;
use tokio::io::AsyncWriteExt;

/// Loss and jitter are the same for the same packets.
const SEED: u64 = 1;
/// How long a request is worked on.
const SERVICE_MS: u64 = 10;

/// What is to stand on the stage.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Raw files go here.
    pub runs: PathBuf,
    /// Loopback even where namespaces would do.
    pub loopback: bool,
    /// Server, probers and steered proxies; without them the anchor stands alone.
    pub control: bool,
    /// The anchor.
    pub anchor: bool,
    /// Our own edges beside the real Envoy.
    pub edges: bool,
    /// Synthetic subscribers.
    pub subscribers: usize,
    /// Requests per second and proxy.
    pub rate: u64,
    /// Links as late and lossy as this says, each region a site.
    pub links: Option<Links>,
    /// Short settle time and residency, so that a bench returns to normal soon; an outage is bound by neither.
    pub hasty: bool,
}

/// Late and lossy links.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Links {
    /// CSV of round trips.
    pub matrix: PathBuf,
    /// Region of the fleet to row of the matrix, where they are called differently.
    pub names: BTreeMap<String, String>,
    /// UDP packets that are lost, of 10,000.
    pub loss_bps: u32,
}

/// Up to so much of a link's delay on top, in per cent.
const JITTER_PER_CENT: u32 = 5;

impl Links {
    /// One way between all pairs of `sites`, in their order.
    fn delays(&self, sites: &[Site], topology: &Topology, fleet: &Fleet) -> anyhow::Result<Delays> {
        let matrix = Matrix::read(&self.matrix)?;
        let row = |site: &str| {
            let region = topology.row_of(site, fleet);
            let region = region.ok_or_else(|| anyhow::anyhow!("no region of the fleet stands at `{site}`"))?;
            Ok::<_, anyhow::Error>(self.names.get(&region).cloned().unwrap_or(region))
        };
        for name in self.names.keys() {
            let known = fleet.regions.iter().any(|r| r.name.to_string() == *name);
            anyhow::ensure!(known, "--link-name: the fleet has no region `{name}`");
        }
        let rows = sites.iter().map(|(site, _)| row(site)).collect::<anyhow::Result<Vec<String>>>()?;
        let mut delays = Delays { jitter_per_cent: JITTER_PER_CENT, ..Delays::default() };
        for (a, from) in rows.iter().enumerate() {
            for (b, to) in rows.iter().enumerate().filter(|(b, _)| *b != a) {
                delays.ways.insert((a, b), matrix.one_way(from, to)?);
            }
        }
        Ok(delays)
    }
}

/// The running cast.
#[derive(Debug)]
pub(crate) struct Cast {
    pub topology: Topology,
    pub network: Network,
    /// The fleet as the server holds it at the start, and the policy beside it.
    pub fleet: Fleet,
    pub policy: Vec<(String, String)>,
    pub paths: Paths,
    pub options: Options,
    pub server: Server,
    pub feed: Arc<Feed>,
    pub secrets: Secrets,
    pub envoy: Option<PathBuf>,
    running: BTreeMap<String, Running>,
    tasks: tokio::task::JoinSet<()>,
    /// By proxy; shared by the steady reader and the readings at a mark.
    pub counts: BTreeMap<String, Counts>,
    // Last: what it has on record is removed after all else is gone.
    slot: Arc<Slot>,
}

impl Cast {
    /// Lays out the network and starts everything in order; returns when all of it answers.
    pub(crate) async fn open(options: Options, shipped: Shipped, timeline: &Timeline) -> anyhow::Result<Self> {
        let slot = Arc::new(Slot::take(&home())?);
        let work = home().join(format!("slot-{}.d", slot.number));
        let _ = std::fs::remove_dir_all(&work);
        std::fs::create_dir_all(work.join("logs"))?;
        std::fs::create_dir_all(&options.runs)?;
        let bin = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
        let paths = Paths { work, bin };
        let groups = Groups::of(&shipped.fleet)?;
        let by = if options.links.is_some() { Sites::Region } else { Sites::Provider };
        // Sites do not depend on the kind of network; only addresses do.
        let draft = lay_out(&shipped.fleet, &Network::Loopback { slot: slot.number }, &groups, by)?;
        let sites: Vec<Site> = draft.sites().into_iter().collect();
        let joined = match &options.links {
            Some(links) => Joined::Relay {
                delays: links.delays(&sites, &draft, &shipped.fleet)?,
                loss_bps: links.loss_bps,
                seed: SEED,
            },
            None if options.loopback => Joined::Loopback,
            None => Joined::Bridge,
        };
        let (network, why) = Network::open(&slot, &sites, joined)?;
        let topology = lay_out(&shipped.fleet, &network, &groups, by)?;
        for (site, lasts) in topology.sites() {
            network.give(&site, &lasts)?;
        }
        timeline.say(Icon::Note, &joined_in_words(&options, sites.len(), why.as_deref()));
        let envoy = envoy::find(std::env::var_os("TIDEGATE_ENVOY").map(PathBuf::from).as_deref());
        let stands = |p: &&Proxy| match p.name.as_str() {
            ANCHOR => false,
            "envoy" => envoy.is_some(),
            _ => options.edges,
        };
        let steered = topology.proxies.iter().filter(stands);
        let mut loads: BTreeMap<String, u64> = BTreeMap::new();
        for proxy in steered {
            *loads.entry(proxy.group.clone()).or_default() += options.rate;
        }
        let mut fleet = fleet_dir::at_home(shipped.fleet, &topology, &loads);
        if options.hasty {
            fleet_dir::hasten(&mut fleet);
        }
        let secrets = programs::secrets(&paths)?;
        let server = Server::new(topology.api, &secrets.token)?;
        let feed = Feed::to(&options.runs.join("server.jsonl"), topology.providers())?;
        let mut cast = Self {
            topology,
            network,
            fleet,
            policy: shipped.policy,
            paths,
            options,
            server,
            feed: Arc::new(feed),
            secrets,
            envoy,
            running: BTreeMap::new(),
            tasks: tokio::task::JoinSet::new(),
            counts: BTreeMap::new(),
            slot,
        };
        cast.start_all(timeline).await?;
        Ok(cast)
    }

    async fn start_all(&mut self, timeline: &Timeline) -> anyhow::Result<()> {
        self.start_backends()?;
        for (name, at) in self.topology.references.clone() {
            self.own(&format!("reference {name}"), OUTSIDE, &["reference", &at.to_string()])?;
        }
        if self.options.control {
            let documents = fleet_dir::documents(&self.fleet, &self.policy)?;
            fleet_dir::write(&self.paths.file("fleet"), &documents)?;
            self.start(&programs::server(&self.paths, &self.topology, &self.secrets)?)?;
            self.await_server().await?;
            for vantage in self.topology.vantages.clone() {
                self.start(&programs::prober(&self.paths, &self.topology, &self.secrets, &vantage)?)?;
            }
            let server = self.server.clone();
            self.tasks.spawn(server.follow(Arc::clone(&self.feed)));
            self.await_senses(timeline).await?;
        }
        self.start_proxies(timeline).await?;
        if self.options.control && self.options.subscribers > 0 {
            let spec = SubscriberSpec {
                ads: self.topology.ads,
                count: self.options.subscribers,
                groups: self.groups(),
                raw: self.options.runs.join("subscribers.jsonl"),
            };
            self.own_spec("subscribers", OUTSIDE, "subscribers", &spec)?;
            self.await_edges().await?;
        }
        self.start_load().await?;
        self.watch_tries()
    }

    fn groups(&self) -> Vec<String> {
        let mut out: Vec<String> = self.topology.proxies.iter().map(|p| p.group.clone()).collect();
        out.sort();
        out.dedup();
        out
    }

    fn start_backends(&mut self) -> anyhow::Result<()> {
        for region in self.topology.regions.clone() {
            let rps = region.capacity_milli_rps / 1000;
            let spec = BackendSpec {
                classes: self.topology.classes.iter().map(|c| (c.name.clone(), c.permitted.clone())).collect(),
                // A sleep of 10 ms takes about 11: workers for the declared capacity, and no more.
                workers: usize::try_from((rps * (SERVICE_MS + 1)).div_ceil(1000)).unwrap_or(1).max(1),
                service_ms: SERVICE_MS,
                raw: self.options.runs.join(format!("backend-{}.jsonl", region.name.replace('/', "-"))),
                control: self.control_of(&region.name),
                region: region.name.clone(),
                jurisdiction: region.jurisdiction.clone(),
                endpoints: region.endpoints.clone(),
            };
            self.own_spec(&format!("backend {}", region.name), &region.site, "backend", &spec)?;
        }
        Ok(())
    }

    fn control_of(&self, region: &str) -> PathBuf {
        self.paths.file(&format!("{}.sock", region.replace('/', "-")))
    }

    async fn start_proxies(&mut self, timeline: &Timeline) -> anyhow::Result<()> {
        for proxy in self.proxies() {
            match (proxy.name.as_str(), self.envoy.clone()) {
                (ANCHOR, Some(envoy)) => {
                    let shares = self.anchor_shares().await;
                    let bootstrap = envoy::anchor_bootstrap(&self.topology, &proxy, &shares);
                    let path = self.paths.file("anchor.json");
                    std::fs::write(&path, serde_json::to_vec_pretty(&bootstrap)?)?;
                    self.start_envoy(&envoy, &proxy, &path, 2)?;
                }
                ("envoy", Some(envoy)) => {
                    let path = self.paths.file("envoy.yaml");
                    let words = programs::bootstrap(&self.topology, &proxy);
                    let program = self.paths.program("tidegate")?;
                    let out = tokio::process::Command::new(program).args(words).output().await?;
                    let said = String::from_utf8_lossy(&out.stderr);
                    anyhow::ensure!(out.status.success(), "tidegate bootstrap envoy: {said}");
                    std::fs::write(&path, out.stdout)?;
                    self.start_envoy(&envoy, &proxy, &path, 1)?;
                }
                ("envoy" | ANCHOR, None) => continue,
                _ => self.start(&programs::edge(&self.paths, &self.topology, &proxy)?)?,
            }
            let what = format!("{} on {}", proxy.name, proxy.address);
            if let Err(e) = accepts(&what, proxy.address, Duration::from_secs(20)).await {
                anyhow::bail!("{e}\n{}", self.last_words(&proxy.name));
            }
        }
        if self.envoy.is_none() {
            timeline.say(Icon::Note, "no Envoy found: neither the steered one nor the anchor stands");
        }
        Ok(())
    }

    fn start_envoy(&mut self, envoy: &Path, proxy: &Proxy, bootstrap: &Path, base_id: u32) -> anyhow::Result<()> {
        let id = base_id + u32::from(self.slot.number) * 10;
        self.start(&Recipe {
            name: proxy.name.clone(),
            place: proxy.name.clone(),
            program: envoy.to_path_buf(),
            args: envoy::arguments(bootstrap, id),
            env: Vec::new(),
            log: self.paths.log(&proxy.name),
        })
    }

    /// The proxies that stand here.
    pub(crate) fn proxies(&self) -> Vec<Proxy> {
        let stands = |p: &&Proxy| match p.name.as_str() {
            ANCHOR => self.options.anchor && self.envoy.is_some(),
            "envoy" => self.options.control && self.envoy.is_some(),
            _ => self.options.control && self.options.edges,
        };
        self.topology.proxies.iter().filter(stands).cloned().collect()
    }

    /// The split that Tidegate serves before any fault; by capacity where nobody can be asked.
    async fn anchor_shares(&self) -> envoy::Shares {
        let mut shares = envoy::shares_by_capacity(&self.topology);
        let group = self.topology.proxy(ANCHOR).map(|p| p.group.clone());
        if let Ok((_, splits)) = self.server.splits().await {
            for split in splits.into_iter().filter(|s| Some(&s.group) == group.as_ref() && s.serving == "routed") {
                let class = split.class.rsplit('/').next().unwrap_or("").to_owned();
                shares.insert(class, split.shares);
            }
        }
        shares
    }

    /// Writes down what this run is: before its first story.
    pub(crate) fn write_facts(&mut self, stories: &[&str]) -> anyhow::Result<()> {
        let facts = RunFacts {
            version: 2,
            envoy_version: self.envoy.as_deref().and_then(envoy::version).unwrap_or_default(),
            topology: self.topology.clone(),
            proxies: self.proxies().into_iter().map(|p| p.name).collect(),
            subscribers: if self.options.control { self.subscribers() } else { 0 },
            stories: stories.iter().map(|s| (*s).to_owned()).collect(),
        };
        std::fs::write(self.options.runs.join(RUN_FILE), serde_json::to_vec_pretty(&facts)?)?;
        Ok(())
    }

    async fn start_load(&mut self) -> anyhow::Result<()> {
        let targets = self.proxies().into_iter().map(|p| {
            let parts = self.topology.parts(&p);
            // A class that may be anywhere, so that the stream never ends for a reason of law.
            let widest = parts.iter().filter(|x| !x.refused).max_by_key(|x| {
                self.topology.class(&x.class).map_or(0, |c| if c.permitted.is_empty() { 99 } else { c.permitted.len() })
            });
            Target {
                stream_class: widest.map(|x| x.class.clone()).unwrap_or_default(),
                name: p.name,
                address: p.address,
                host: self.topology.host.clone(),
                rate: self.options.rate,
                parts,
            }
        });
        let spec = LoadSpec { proxies: targets.collect(), raw: self.options.runs.join("load.jsonl") };
        self.own_spec("load", OUTSIDE, "load", &spec)?;
        let raw = self.options.runs.join("load.jsonl");
        let flows = || {
            let raw = raw.clone();
            async move { std::fs::metadata(&raw).is_ok_and(|m| m.len() > 2_000).then_some(()) }
        };
        until("the first requests", Duration::from_secs(10), flows).await
    }

    /// Reads each proxy's own count of tries five times a second.
    fn watch_tries(&mut self) -> anyhow::Result<()> {
        let lines = Arc::new(Lines::append(&self.options.runs.join("proxies.jsonl"))?);
        let http = reqwest::Client::builder().timeout(Duration::from_millis(800)).no_proxy().build()?;
        for proxy in self.proxies() {
            let (topology, lines, http) = (self.topology.clone(), Arc::clone(&lines), http.clone());
            let counts = Counts::default();
            self.counts.insert(proxy.name.clone(), Arc::clone(&counts));
            self.tasks.spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(200));
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    read_tries(&http, &topology, &proxy, &counts, &lines).await;
                }
            });
        }
        Ok(())
    }

    fn own(&mut self, name: &str, place: &str, args: &[&str]) -> anyhow::Result<()> {
        let program = std::env::current_exe()?;
        self.start(&Recipe {
            name: name.to_owned(),
            place: place.to_owned(),
            program,
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            env: Vec::new(),
            log: self.paths.log(name),
        })
    }

    fn own_spec<T: serde::Serialize>(&mut self, name: &str, place: &str, verb: &str, spec: &T) -> anyhow::Result<()> {
        let path = self.paths.file(&format!("{}.json", name.replace(['/', ' '], "-")));
        std::fs::write(&path, serde_json::to_vec_pretty(spec)?)?;
        self.own(name, place, &[verb, &path.display().to_string()])
    }

    fn start(&mut self, recipe: &Recipe) -> anyhow::Result<()> {
        let running = recipe.start(&self.network, &self.slot)?;
        self.running.insert(recipe.name.clone(), running);
        Ok(())
    }

    async fn await_server(&mut self) -> anyhow::Result<()> {
        let server = self.server.clone();
        let asked = until("the server's operator API", Duration::from_secs(30), || async {
            server.status().await.ok().map(|_| ())
        });
        if let Err(e) = asked.await {
            anyhow::bail!("{e}\n{}", self.last_words("server"));
        }
        Ok(())
    }

    async fn await_senses(&mut self, timeline: &Timeline) -> anyhow::Result<()> {
        let server = self.server.clone();
        let all = until("all probers heard and a plan committed", Duration::from_secs(60), || async {
            let s = server.status().await.ok()?;
            let heard = s.vantages_eligible == s.vantages_configured && s.vantages_configured > 0;
            (heard && s.generation > 0 && s.unwell.is_empty()).then_some(s)
        });
        let status = match all.await {
            Ok(status) => status,
            Err(e) => {
                let seen = server.status().await.map(|s| format!("{s:?}")).unwrap_or_default();
                anyhow::bail!("{e}\n{seen}\n{}", self.last_words("server"));
            }
        };
        let (n, generation) = (status.vantages_eligible, status.generation);
        timeline.say(Icon::Seen, &format!("{n} probers vote, plan {generation} is committed"));
        Ok(())
    }

    /// Waits until all edges and subscribers have acknowledged the newest plan.
    pub(crate) async fn await_edges(&self) -> anyhow::Result<()> {
        let expected = self.subscribers();
        until("all edges and subscribers synced", Duration::from_secs(30), || async {
            let s = self.server.status().await.ok()?;
            (u64::from(s.edges) >= expected && s.edges == s.edges_acked).then_some(())
        })
        .await
    }

    /// Edges and synthetic subscribers that should be connected.
    pub(crate) fn subscribers(&self) -> u64 {
        let edges = self.proxies().iter().filter(|p| p.name != ANCHOR).count();
        (edges + self.options.subscribers) as u64
    }

    fn last_words(&self, name: &str) -> String {
        self.running.get(name).map(Running::last_words).unwrap_or_default()
    }

    /// Names of what runs at `place`.
    pub(crate) fn at(&self, place: &str) -> Vec<String> {
        self.running.values().filter(|r| stands_at(&r.recipe.place, place)).map(|r| r.recipe.name.clone()).collect()
    }
    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        if let Some(running) = self.running.get(name) {
            running.signal(signal);
        }
    }
    /// Everything, the load too, for a pause of the whole machine.
    pub(crate) fn signal_all(&self, signal: Signal) {
        self.running.values().for_each(|r| r.signal(signal));
    }
    /// Sends SIGKILL to all of `names` before it waits for the first.
    pub(crate) async fn kill(&mut self, names: &[String]) {
        for name in names {
            self.signal(name, Signal::SIGKILL);
        }
        for name in names {
            if let Some(running) = self.running.get_mut(name) {
                running.kill().await;
            }
        }
    }
    /// Asks a program to end and starts its successor at once, as an upgrade does: the old one ends its streams beside it.
    pub(crate) fn succeed(&mut self, name: &str, grace: Duration) -> anyhow::Result<()> {
        let Some(mut old) = self.running.remove(name) else { return Ok(()) };
        let recipe = old.recipe.clone();
        old.signal(Signal::SIGTERM);
        self.tasks.spawn(async move { old.end(grace).await });
        self.start(&recipe)
    }
    /// Starts again what was killed.
    pub(crate) fn again(&mut self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            if let Some(recipe) = self.running.get(name).map(|r| r.recipe.clone()) {
                self.start(&recipe)?;
            }
        }
        Ok(())
    }
    /// Sends an order to every backend of a provider, or of one region.
    pub(crate) async fn order(&self, place: &str, text: &str) -> anyhow::Result<()> {
        for region in self.topology.regions.iter().filter(|r| r.provider == place || r.name == place) {
            backend::order(&self.control_of(&region.name), text).await?;
        }
        Ok(())
    }
    /// Sets the pace of one proxy's load, or of `all`.
    pub(crate) async fn pace(&mut self, who: &str, rate: u64) -> anyhow::Result<()> {
        let stdin = self.running.get_mut("load").and_then(|r| r.stdin.as_mut());
        let stdin = stdin.ok_or_else(|| anyhow::anyhow!("the load generator does not run"))?;
        stdin.write_all(format!("rate {who} {rate}\n").as_bytes()).await?;
        Ok(stdin.flush().await?)
    }
    /// What has ended though nobody killed it, with its last words.
    pub(crate) fn strays(&mut self, killed: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        for (name, running) in self.running.iter_mut().filter(|(n, _)| !killed.contains(n)) {
            if let Some(status) = running.ended() {
                out.push(format!("{name} ended by itself ({status}): {}", running.last_words()));
            }
        }
        out
    }
    /// Ends everything in a good order.
    pub(crate) async fn close(mut self) {
        self.tasks.abort_all();
        if let Some(load) = self.running.get_mut("load") {
            // The end of its input is its order to finish and write the last lines.
            load.stdin = None;
            load.gone(Duration::from_secs(7)).await;
        }
        for running in self.running.values_mut() {
            running.signal(Signal::SIGCONT);
            running.signal(Signal::SIGTERM);
        }
        for running in self.running.values_mut() {
            running.end(Duration::from_millis(1_500)).await;
        }
    }
    /// Pid of a running part, for people.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        self.running.get(name).and_then(Running::pid)
    }
}

fn joined_in_words(options: &Options, sites: usize, loopback: Option<&str>) -> String {
    match (loopback, &options.links) {
        (Some(why), _) => format!("loopback addresses ({why}); packets cannot be dropped here"),
        (None, None) => format!("{sites} network namespaces, joined by a bridge"),
        (None, Some(links)) => {
            let (file, loss) = (links.matrix.display(), f64::from(links.loss_bps) / 100.0);
            format!("{sites} network namespaces, links as late as {file} says, {loss} % of the UDP packets lost")
        }
    }
}

/// Host counts of one proxy.
pub(crate) type Counts = Arc<tokio::sync::Mutex<envoy::HostCounts>>;

/// One reading, written down with the time when the answer was whole.
pub(crate) async fn read_tries(
    http: &reqwest::Client,
    topology: &Topology,
    proxy: &Proxy,
    counts: &Counts,
    lines: &Lines,
) {
    // Held over the exchange, so that readings are taken over in the order in which they were made.
    let mut counts = counts.lock().await;
    let envoy = !proxy.name.starts_with("edge");
    let path = if envoy { "clusters" } else { "metrics" };
    let Ok(answer) = http.get(format!("http://{}/{path}", proxy.admin)).send().await else { return };
    let Ok(text) = answer.text().await else { return };
    let t_ns = crate::clock::now_ns();
    let tries = if envoy { counts.read(&text, topology) } else { programs::edge_tries(&text, topology) };
    for (provider, Count { tries, begun }) in tries {
        lines.write(&Tries { t_ns, proxy: proxy.name.clone(), provider, tries, begun });
    }
}
