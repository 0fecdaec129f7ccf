//! A scenario: what runs, on what network, what goes wrong and what is expected. A file, so that one is added without
//! touching Rust.
//!
//! Owns the file's form and its check against the fleet. Refuses unknown keys, names that the fleet does not have and
//! expectations of nothing.

use crate::described::Described;
use crate::units::{Length, Share, Span, some_whole, whole};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// A whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// `tidegate/v1`.
    pub api_version: String,
    /// `Scenario`.
    pub kind: String,
    /// How it is called on the command line.
    pub name: String,
    /// The rest.
    pub spec: Spec,
    /// Where it was read from: paths in it are relative to this.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The file itself, for what is said of it.
    #[serde(skip)]
    pub file: PathBuf,
}

/// What is simulated.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// In a sentence, for people.
    pub about: String,
    /// Played only when it is named: too dear for `--scenario all`.
    #[serde(default)]
    pub alone: bool,
    /// Configuration directory, or a description; without it the shipped example.
    pub fleet: Option<FleetOf>,
    /// Members of the gossip and nothing else: no server, no targets, no reports.
    #[serde(default)]
    pub gossip_only: bool,
    /// Virtual time of one seed.
    pub lasts: Length,
    /// Where the server stands; without it the first place for vantages only.
    pub server: Option<String>,
    /// Datagrams and connections.
    pub network: Network,
    /// Every process stands still now and then.
    pub stalls: Option<Stalls>,
    /// What goes wrong, when.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Faults drawn by the seed, beside those.
    pub random: Option<Random>,
    /// What must come of it.
    pub expect: Expect,
}

/// Where a scenario's fleet comes from.
#[derive(Debug, Clone)]
pub enum FleetOf {
    /// A configuration directory, relative to the scenario's file.
    Directory(PathBuf),
    /// Made from a few numbers.
    Described(Described),
}
impl<'de> Deserialize<'de> for FleetOf {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = FleetOf;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a configuration directory, or `{ providers: 5, regionsEach: 4, vantages: 32, endpoints: 64 }`",
                )
            }
            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<FleetOf, E> {
                Ok(FleetOf::Directory(PathBuf::from(path)))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<FleetOf, A::Error> {
                Described::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(FleetOf::Described)
            }
        }
        from.deserialize_any(Either)
    }
}

/// Between any two processes, each direction by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Network {
    /// One way, where no matrix says otherwise.
    pub delay: Span,
    /// Round trips between places.
    pub latency: Option<Latency>,
    /// Added to each datagram's delay, drawn anew.
    #[serde(default)]
    pub jitter: Length,
    /// Each datagram by itself.
    #[serde(default)]
    pub loss: Share,
    /// Loss that comes in bursts, beside it.
    pub bursts: Option<Bursts>,
    /// Arrive twice.
    #[serde(default)]
    pub duplicates: Share,
    /// Arrive up to 50 ms later than they would, behind those sent after them.
    #[serde(default)]
    pub reorders: Share,
}

/// A matrix of round trips in milliseconds: a CSV whose first row and first column name places.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Latency {
    /// The CSV, relative to the scenario's file.
    pub matrix: PathBuf,
    /// Region of the fleet to place of the matrix; a region that is not named here stands under its own name.
    #[serde(default)]
    pub places: std::collections::BTreeMap<String, String>,
    /// The matrix's places are dealt out to the fleet's regions, evenly over its rows; instead of names.
    #[serde(default)]
    pub deal: bool,
}

/// Gilbert-Elliott: a link is good, or bad for a while, and loses only while it is bad (Gilbert 1960, Elliott 1963).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bursts {
    /// Loss over a long time; the rest of the model follows from it.
    pub mean: Share,
    /// Mean length of a bad time; lengths are drawn from an exponential distribution.
    pub lasts: Length,
    /// Loss while it is bad.
    pub loss: Share,
}

/// Each process by itself, at random times.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stalls {
    /// Mean time between two stalls of one process; drawn from an exponential distribution.
    pub every: Length,
    /// How long.
    pub lasts: Span,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fault {
    /// After the start.
    pub at: Span,
    /// Then it is repaired. A step of a clock and a crash without `lasts` are not.
    #[serde(default)]
    pub lasts: Span,
    /// Of what kind.
    pub what: What,
    /// Of whom: a name, or `any-provider`, `any-region`, `any-endpoint`, `any-vantage`, `server`, `everything`.
    pub of: String,
    /// For `down` and `api`.
    #[serde(default)]
    pub how: How,
    /// For `lossy`, `errs`, `lies` and `follows`.
    #[serde(default)]
    pub share: Share,
    /// For `slow`: the latency times this. For `lies`: that of the edges' requests alone.
    #[serde(default, deserialize_with = "whole")]
    pub times: u32,
    /// For `clock`: forwards, or backwards where `back` is true.
    #[serde(default)]
    pub step: Length,
    /// For `clock`.
    #[serde(default)]
    pub back: bool,
    /// For `path`: the provider, region or client group whose way to `of` is lost, both ways.
    pub from: Option<String>,
    /// For `split`: so many regions are on the smaller side, those of `of` among them.
    #[serde(default, deserialize_with = "whole")]
    pub regions: u32,
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Backends of a place do not serve; of a provider, its vantages are gone with it.
    Down,
    /// Backends answer later.
    Slow,
    /// Backends err now and then.
    Errs,
    /// Requests err, or take longer, and the health path answers well and quickly.
    Lies,
    /// Requests err, here and wherever more of them go from now on; the health path answers well.
    Follows,
    /// One side has no way to a place that others reach.
    Path,
    /// A prober's process dies; it starts again when the fault ends.
    Crash,
    /// A process stands still: its timers come late, its datagrams wait.
    Pause,
    /// Nothing that it sends arrives anywhere, whatever the protocol.
    Mute,
    /// Nothing that is sent to it arrives.
    Deaf,
    /// Its datagrams of gossip go nowhere and none reach it; its probes do.
    GossipCut,
    /// The link between it and everybody else loses more.
    Lossy,
    /// A place is cut off from every other.
    Cut,
    /// Its region, and others that the seed draws, have no way to all the rest, nor the rest to them.
    Split,
    /// Its wall clock steps.
    Clock,
    /// The provider's own API does not serve; its backends do.
    Api,
    /// The store gives no answer.
    StoreAway,
    /// The store is full.
    StoreFull,
}

impl What {
    /// As it is written in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Slow => "slow",
            Self::Errs => "errs",
            Self::Lies => "lies",
            Self::Follows => "follows",
            Self::Path => "path",
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::Mute => "mute",
            Self::Deaf => "deaf",
            Self::GossipCut => "gossip-cut",
            Self::Lossy => "lossy",
            Self::Cut => "cut",
            Self::Split => "split",
            Self::Clock => "clock",
            Self::Api => "api",
            Self::StoreAway => "store-away",
            Self::StoreFull => "store-full",
        }
    }

    /// Of whom it can be, in words.
    #[must_use]
    pub fn whose(self) -> &'static str {
        match self {
            Self::Down | Self::Slow | Self::Errs | Self::Lies => "it is of a provider, a region or an endpoint",
            Self::Cut | Self::Path | Self::Follows => "it is of a provider or a region",
            Self::Split => "it is of a region, or of `server`",
            Self::Api => "it is of a provider",
            Self::StoreAway | Self::StoreFull => "it is of `server`",
            Self::Crash | Self::Pause | Self::Mute | Self::Deaf | Self::GossipCut | Self::Lossy | Self::Clock => {
                "it is of a vantage, of `server` or of `everything`"
            }
        }
    }
}

/// How backends fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Drawn by the seed.
    #[default]
    Any,
    /// No process listens.
    Refuse,
    /// Connections open and nothing answers.
    Hang,
    /// Packets are dropped.
    BlackHole,
    /// Every answer is an error.
    Err,
}

/// Faults drawn by the seed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Random {
    /// How many in one run.
    #[serde(deserialize_with = "whole")]
    pub count: u32,
    /// Drawn among these; each is placed in time by itself.
    pub among: Vec<Fault>,
}

/// What must come of it. What is not named is not judged, but for the invariants, which always are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Expect {
    /// Down verdicts on what was well, at most.
    #[serde(deserialize_with = "some_whole")]
    pub false_verdicts: Option<u64>,
    /// Of these, the ones on regions and providers, at most.
    #[serde(deserialize_with = "some_whole")]
    pub false_region_verdicts: Option<u64>,
    /// Down verdicts on what was slow or failed less than half of what it was asked, and was not down, at most.
    #[serde(deserialize_with = "some_whole")]
    pub gray_downs: Option<u64>,
    /// Members called down by a healthy one though they were well, at most.
    #[serde(deserialize_with = "some_whole")]
    pub false_member_downs: Option<u64>,
    /// Members that had to come back under a new generation for nothing, at most.
    #[serde(deserialize_with = "some_whole")]
    pub renewals: Option<u64>,
    /// Published plans whose weights differ from the one before, from 30 s after the start on, at most.
    #[serde(deserialize_with = "some_whole")]
    pub moves: Option<u64>,
    /// Every provider or region that is down for longer than this has its verdict by then.
    pub verdict_within: Option<Length>,
    /// And no weight on it by then.
    pub moved_within: Option<Length>,
    /// Every provider or region that is slow, errs or lies for longer than this carries less by then.
    pub lighter_within: Option<Length>,
    /// After the loss of a `path` from a client group, that group has no weight there by then, and no other group's weights
    /// have changed while it lasted.
    pub path_moved_within: Option<Length>,
    /// A killed prober is down for every other member by then.
    pub member_down_within: Option<Length>,
    /// Over all seeds that are played together: 99 of 100 losses of a provider or region have their verdict by then.
    pub verdict_p99: Option<Length>,
    /// Over all seeds that are played together: 99 of 100 killed probers are down for every other member by then.
    pub all_see_p99: Option<Length>,
    /// Every provider whose `api` is in trouble for longer than this is found so by then.
    pub api_told_within: Option<Length>,
    /// Providers' APIs found in trouble that were well, at most.
    #[serde(deserialize_with = "some_whole")]
    pub false_api_troubles: Option<u64>,
    /// After the end of each `split`, every member has every other one again by then.
    pub converged_within: Option<Length>,
    /// Bytes a second that any one member sends, IP and UDP headers included, outside of faults, at most.
    #[serde(deserialize_with = "some_whole")]
    pub steady_bytes: Option<u64>,
    /// Bytes a second that any one member sends within the 10 s after a loss, on average, at most.
    #[serde(deserialize_with = "some_whole")]
    pub loss_bytes: Option<u64>,
}

impl Expect {
    fn is_empty(&self) -> bool {
        let Self { false_verdicts, false_region_verdicts, false_member_downs, renewals, moves, .. } = self;
        let counts = [false_verdicts, false_region_verdicts, false_member_downs, renewals, moves];
        let bytes = [&self.steady_bytes, &self.loss_bytes, &self.false_api_troubles, &self.gray_downs];
        let times = [self.verdict_within, self.moved_within, self.member_down_within, self.converged_within];
        let shares = [self.verdict_p99, self.all_see_p99, self.lighter_within, self.path_moved_within];
        let shares = shares.into_iter().chain([self.api_told_within]);
        counts.into_iter().chain(bytes).all(Option::is_none) && times.into_iter().chain(shares).all(|t| t.is_none())
    }

    /// What a scenario of gossip alone cannot show.
    fn of_a_server(&self) -> bool {
        let counts = [self.false_verdicts, self.false_region_verdicts, self.moves, self.false_api_troubles];
        let counts = counts.into_iter().chain([self.gray_downs]);
        let moves = [self.moved_within, self.lighter_within, self.path_moved_within];
        let times = [self.verdict_within, self.verdict_p99, self.api_told_within].into_iter().chain(moves);
        counts.into_iter().any(|c| c.is_some()) || times.into_iter().any(|t| t.is_some())
    }
}

impl Spec {
    /// Every fault of the file, and where it stands there: those that are always played, then those that are drawn.
    pub(crate) fn faults_by_place(&self) -> impl Iterator<Item = (String, &Fault)> {
        let place = |list: &str, i: usize, f: &Fault| format!("{list}, number {} (`what: {}`)", i + 1, f.what.word());
        let named = self.faults.iter().enumerate().map(move |(i, f)| (place("spec.faults", i, f), f));
        let drawn = self.random.iter().flat_map(|r| &r.among).enumerate();
        named.chain(drawn.map(move |(i, f)| (place("spec.random.among", i, f), f)))
    }
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no scenario: with file, line and what is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text, path)
    }

    /// Takes the text of the file at `path`.
    ///
    /// # Errors
    /// When it is no scenario.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let at = || path.display().to_string();
        let mut read: Self = serde_saphyr::from_str(text).map_err(|e| anyhow::anyhow!("{}: {e}", at()))?;
        ensure!(read.api_version == "tidegate/v1", "{}: apiVersion: write `tidegate/v1`", at());
        ensure!(read.kind == "Scenario", "{}: kind: write `Scenario`", at());
        let spec = &read.spec;
        ensure!(spec.lasts.0 > 0, "{}: spec.lasts: a run without time shows nothing", at());
        ensure!(!spec.expect.is_empty(), "{}: spec.expect: name at least one expectation", at());
        if let Some(bursts) = &spec.network.bursts {
            let sound = bursts.mean < bursts.loss && bursts.lasts.0 > 0;
            ensure!(sound, "{}: spec.network.bursts: `mean` is below `loss`, and `lasts` above zero", at());
        }
        ensure!(
            !spec.gossip_only || (spec.server.is_none() && !spec.expect.of_a_server()),
            "{}: spec.gossipOnly: no server means no verdicts and no moves; take `server` and what is expected of them out",
            at()
        );
        if let Some(latency) = &spec.network.latency {
            let one = latency.places.is_empty() || !latency.deal;
            ensure!(one, "{}: spec.network.latency: write `places` or `deal: true`, not both", at());
        }
        for (place, fault) in spec.faults_by_place() {
            let begins = fault.at.to <= spec.lasts.0;
            fault
                .check()
                .and_then(|()| {
                    ensure!(begins, "at: it would begin after the run has ended, which `lasts` {}", spec.lasts);
                    Ok(())
                })
                .with_context(|| format!("{}: {place}", at()))?;
        }
        if spec.random.as_ref().is_some_and(|r| r.among.is_empty() && r.count > 0) {
            bail!("{}: spec.random.among: name at least one fault to draw", at());
        }
        read.folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        read.file = path.to_path_buf();
        Ok(read)
    }
}

impl Fault {
    fn check(&self) -> Result<()> {
        let needs_end = !matches!(self.what, What::Clock | What::Crash);
        ensure!(!needs_end || self.lasts.to > 0, "lasts: say for how long");
        let has_from = self.from.is_none() || self.what == What::Path;
        ensure!(has_from, "from: only `path` has a side; `of` says whom the fault is about");
        match self.what {
            What::Slow => ensure!(self.times > 1, "times: write 2 or more"),
            What::Lies => {
                ensure!(self.share.0 > 0 || self.times > 1, "share: write more than `0 %`, or 2 or more as `times`");
            }
            What::Errs | What::Lossy | What::Follows => {
                ensure!(self.share.0 > 0, "share: write more than `0 %`");
            }
            What::Path => {
                ensure!(self.from.is_some(), "from: say whose way is lost: a provider, a region or a client group")
            }
            What::Clock => ensure!(self.step.0 > 0, "step: say how far"),
            What::Split => ensure!(self.regions > 0, "regions: say how many are on the smaller side"),
            _ => {}
        }
        Ok(())
    }
}
