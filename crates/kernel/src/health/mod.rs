//! Verdicts on endpoints, regions and providers, by the electorate's rule.
//!
//! Owns: who may vote, what a quorum is, down fast and up slow, doubt before mass action, and the recognition of
//! all-down. Refuses: weights (Unknown and doubt say *hold*, the planner holds), probing, clocks.

mod api;
mod crowd;
mod cut_off;
mod doubt;
mod electorate;
mod evidence;
mod followed;
mod memory;
mod partition;
mod paths;
mod tellable;
#[cfg(test)]
mod tests;
mod traffic;

pub use api::{asks_api, duties};
pub use electorate::{PROBE_FROM, PROBE_FROM_ALL, Quorum, assigned, not_eligible};
pub use paths::near;
pub use tellable::{Tellable, tellable};

use crowd::Crowd;
use electorate::{Bench, Count, Finding};
use evidence::Sights;
pub(crate) use memory::PRESUMED_WELL;
use memory::{Census, Step};
use tidegate_domain::{
    Accused, ApiTrouble, Blame, ClassIx, CutOff, EndpointHealth, EndpointIx, Fleet, Followed, Health, Mask, Mono,
    Partition, PathFailure, ProviderIx, RegionIx, ServiceIx, State, SuspectedPath, Unheard, Verdict, View,
};
pub(crate) use traffic::ERRORS_MIN;
use traffic::EdgeWord;

/// What was found, and what is to be remembered for the next judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// By endpoint index, for [`State::endpoints`].
    pub endpoints: Vec<EndpointHealth>,
    /// By region index: verdict and since when. A region without endpoints is Healthy: nothing there could fail.
    pub regions: Vec<(Health, Mono)>,
    /// By provider index: verdict and since when.
    pub providers: Vec<(Health, Mono)>,
    /// By endpoint index: the Downs of the doubt window with the moment each began to stand, and Downs that are not
    /// yet acted on (waiting or doubted: the endpoint is Unknown) with the moment a quorum first asked for them.
    pub recent_downs: Vec<(EndpointIx, Mono)>,
    /// Probers that are cut off themselves, by vantage index: their votes count neither for nor against.
    pub cut_off: Vec<CutOff>,
    /// Regions that are not reached from one side, by side and region: no verdict for all.
    pub paths: Vec<PathFailure>,
    /// Services in regions that the edges' own requests find erring or failing, by service and region.
    pub blamed: Vec<Blame>,
    /// Providers whose own API is in trouble, by provider index: nothing is changed there but for safety.
    pub apis: Vec<ApiTrouble>,
    /// The gossip is cut.
    pub partition: Option<Partition>,
    /// Path failures that await the word of those elsewhere, by side and region.
    pub suspected_paths: Vec<SuspectedPath>,
    /// Providers outside which fewer than half of a large fleet are or were just heard, by provider index.
    pub unheard: Vec<Unheard>,
    /// Services whose problem came along when their traffic left a place, by service and place left.
    pub followed: Vec<Followed>,
    /// Providers, regions, endpoints, each in index order; places without endpoints have none. Votes are filled for
    /// providers, regions and the endpoints that are not Healthy.
    pub verdicts: Vec<Verdict>,
    /// Services for which a mass action is not yet allowed: more than half of their capacity is called Down, a probe
    /// period has passed, and still not beyond doubt. The endpoints in doubt are Unknown.
    pub doubted: Vec<ServiceIx>,
    /// Classes whose every permitted region that bears endpoints of the service is Down or Unknown, one at least Down.
    /// A region counts as Down for a class also when all endpoints of the class's service in it are.
    pub all_down: Vec<ClassIx>,
    /// Classes whose every such region is Unknown, none Down, and of which something has been known before: the weights
    /// stay as they do for Unknown, but a person must know. After a start, when nothing is known yet, none.
    pub out_of_sight: Vec<ClassIx>,
    /// The earliest moment, later than now, at which a judgement of the same view could say something else.
    pub wake: Option<Mono>,
}

/// Whether an endpoint is, or stands in, one of these.
pub(crate) fn lies_in(fleet: &Fleet, endpoint: EndpointIx, of: &[Accused]) -> bool {
    let region = fleet.endpoints[endpoint.at()].region;
    of.iter().any(|a| match a {
        Accused::Endpoint(e) => *e == endpoint,
        Accused::Region(r) => *r == region,
        Accused::Provider(p) => fleet.provider_of(region) == *p,
    })
}

impl Judgement {
    /// As this, but that these are Down from `now` on, beyond doubt: for questions of what if. The verdicts' evidence is left
    /// as it is.
    pub(crate) fn without(mut self, fleet: &Fleet, lost_places: &[Accused], now: Mono) -> Self {
        let mut fresh = Vec::new();
        for (e, health) in self.endpoints.iter_mut().enumerate().filter(|(_, h)| h.health != Health::Down) {
            let endpoint = EndpointIx::from(e);
            if lies_in(fleet, endpoint, lost_places) {
                *health = EndpointHealth { health: Health::Down, since: now, well_since: None };
                fresh.push((endpoint, now));
            }
        }
        self.recent_downs.retain(|d| fresh.binary_search_by_key(&d.0, |f| f.0).is_err());
        self.recent_downs.extend(fresh);
        self.recent_downs.sort_unstable();
        let holds = |r: usize| fleet.endpoints.iter().any(|e| e.region.at() == r);
        for r in (0..fleet.regions.len()).filter(|r| holds(*r)) {
            let mut own = self.endpoints.iter().zip(&fleet.endpoints).filter(|(_, e)| e.region.at() == r);
            if own.all(|(h, _)| h.health == Health::Down) && self.regions[r].0 != Health::Down {
                self.regions[r] = (Health::Down, now);
            }
        }
        for (p, provider) in self.providers.iter_mut().enumerate().filter(|(_, p)| p.0 != Health::Down) {
            let regions = (0..fleet.regions.len()).filter(|r| fleet.regions[*r].provider.at() == p && holds(*r));
            if memory::provider_health(regions.map(|r| self.regions[r].0)) == Health::Down {
                *provider = (Health::Down, now);
            }
        }
        (self.all_down, self.out_of_sight) = lost(fleet, &self.endpoints, &self.regions);
        self
    }
}

/// Judges the whole fleet by [`Quorum::RULE`]. Total: bad news are verdicts, not errors.
///
/// `before` gives the memory of the last judgement (shorter lists: never judged); `now` is this process's monotonic
/// clock. The mask and the view's drains decide no verdict, but what a service would lose by one. Judging the same view again before [`Judgement::wake`], with this judgement as memory, finds the same.
///
/// One thing is easier than a verdict: to stay Healthy. Where too few of an electorate are left, but two thirds of
/// those, from two providers, see a place answer, what was Healthy stays so. A probe that is answered proves that the
/// place is alive, however many probers died elsewhere; and the last cloud's regions must not become Unknown when two
/// others have gone. Down, Degraded and the way up always take the whole rule.
#[must_use]
pub fn judge(fleet: &Fleet, mask: &Mask, view: &View, before: &State, now: Mono) -> Judgement {
    judge_by(&Quorum::RULE, fleet, mask, view, before, now)
}

/// As [`judge`], by another rule: for tests that show what the rule prevents. Nothing that ships calls it.
#[must_use]
pub fn judge_by(rule: &Quorum, fleet: &Fleet, mask: &Mask, view: &View, before: &State, now: Mono) -> Judgement {
    let (mut roll, stale_at) = electorate::roll_call(fleet, view, now);
    let (cut_off, cut_wake) = cut_off::strike(fleet, view, &mut roll, &before.cut_off, now);
    let benches: Vec<Bench<'_>> =
        (0..fleet.regions.len()).map(|r| Bench::of(fleet, RegionIx::from(r), &roll, rule)).collect();
    let endpoints = fleet.endpoints.iter().enumerate();
    let mut counts: Vec<Count> =
        endpoints.map(|(i, e)| benches[e.region.at()].count(EndpointIx::from(i), rule)).collect();
    let crowd = Crowd::of(fleet, &roll, &counts, before, now);
    crowd.gate(fleet, &mut counts);

    let sums = traffic::measured(view, before);
    let (followed, follow_wake) = followed::judge(&sums, before, now);
    let (blamed, blame_wake) = traffic::judge(fleet, &sums, &counts, before, (&followed, now));
    let blames = traffic::by_endpoint(fleet, &blamed, &sums);
    let seen = look(fleet, &counts, &blames, before, now);
    let ask = Session { fleet, mask, view, before, now, crowd: &crowd, seen };
    let mut judged = one_look(&ask);
    // What a verdict's own standing changes (a place that no longer holds, a Down that is no longer new) takes effect
    // at once and not with the next cycle: INVARIANT: judging again finds the same (`judging_again_changes_nothing`).
    // In the steady state nothing changed and the first look was the last.
    let mut known = (&before.endpoints, &before.regions, &before.providers, &before.recent_downs);
    let mut memory: State;
    for _ in 1..LOOKS_MAX {
        if known == (&judged.endpoints, &judged.regions, &judged.providers, &judged.recent_downs) {
            break;
        }
        memory = State {
            endpoints: judged.endpoints,
            regions: judged.regions,
            providers: judged.providers,
            recent_downs: judged.recent_downs,
            ..State::default()
        };
        judged = one_look(&Session { before: &memory, seen: look(fleet, &counts, &blames, &memory, now), ..ask });
        known = (&memory.endpoints, &memory.regions, &memory.providers, &memory.recent_downs);
    }
    judged.cut_off = cut_off;
    let sights = Sights::of(fleet, &benches, &counts);
    let (paths, suspected, paths_wake) = paths::judge(fleet, &benches, &sights, &crowd, before, (&judged.regions, now));
    let (apis, apis_wake) = api::judge(fleet, view, &roll, before, now);
    (judged.paths, judged.suspected_paths, judged.blamed, judged.apis) = (paths, suspected, blamed, apis);
    let (partition, heal_wake) = partition::judge(fleet, view, before.partition.as_ref(), (&judged.regions, now));
    (judged.partition, judged.unheard, judged.followed) = (partition, crowd.unheard, followed);
    let wakes = [stale_at, cut_wake, paths_wake, blame_wake, follow_wake, apis_wake, heal_wake];
    judged.wake = judged.wake.into_iter().chain(wakes.into_iter().flatten()).min();
    judged.verdicts = evidence::verdicts(fleet, &benches, &counts, &sights, &judged);
    (judged.all_down, judged.out_of_sight) = lost(fleet, &judged.endpoints, &judged.regions);
    judged
}

/// Looks per judgement at most: enough for each of 20,000 random worlds to settle.
const LOOKS_MAX: usize = 7;

/// From the counted votes and what stood before to what stands; verdicts and all-down are left to the caller.
fn one_look(session: &Session<'_>) -> Judgement {
    let Session { fleet, before, now, .. } = *session;
    let asked = session.places(|i| session.as_seen(i));
    let doubt = doubt::weigh(session, &asked);
    let stands = if doubt.any { session.places(|i| session.beyond_doubt(i, &doubt)) } else { asked.clone() };

    let endpoints: Vec<EndpointHealth> = (0..session.seen.len()).map(|i| session.settle(i, &stands, &doubt)).collect();
    let (recent_downs, doubted, doubt_wake) = doubt.remember(session, &asked, &endpoints);
    let regions = session.since(&stands.regions, &before.regions, |e| fleet.endpoints[e].region.at());
    let providers =
        session.since(&stands.providers, &before.providers, |e| fleet.provider_of(fleet.endpoints[e].region).at());
    let steps = session.seen.iter().filter_map(|s| s.step.wake);
    let wake = steps.chain(doubt_wake).filter(|w| *w > now).min();
    let (verdicts, all_down, out_of_sight) = (Vec::new(), Vec::new(), Vec::new());
    let (cut_off, paths, blamed, apis) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Judgement {
        endpoints,
        regions,
        providers,
        recent_downs,
        cut_off,
        paths,
        blamed,
        apis,
        partition: None,
        suspected_paths: Vec::new(),
        followed: Vec::new(),
        unheard: Vec::new(),
        verdicts,
        doubted,
        all_down,
        out_of_sight,
        wake,
    }
}

/// What the electorates find about one endpoint now.
#[derive(Debug, Clone, Copy)]
struct Seen {
    count: Count,
    /// Where that takes it, by its own votes and the edges' requests.
    step: Step,
    /// What the edges' requests say of its service there.
    edges: EdgeWord,
}

/// One judgement under way.
struct Session<'a> {
    fleet: &'a Fleet,
    mask: &'a Mask,
    view: &'a View,
    before: &'a State,
    now: Mono,
    crowd: &'a Crowd,
    /// By endpoint.
    seen: Vec<Seen>,
}

/// Health of the places, by index. A Down provider's regions are Down.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    regions: Vec<Health>,
    providers: Vec<Health>,
}

fn look(fleet: &Fleet, counts: &[Count], edges: &[EdgeWord], before: &State, now: Mono) -> Vec<Seen> {
    let one = |(i, count): (usize, &Count)| {
        let was = before.endpoints.get(i).copied().unwrap_or_default();
        let finding = traffic::worse(count.outside_region, edges[i]);
        Seen { count: *count, step: memory::step(&was, finding, now, fleet.rules.up_after), edges: edges[i] }
    };
    counts.iter().enumerate().map(one).collect()
}

impl Session<'_> {
    fn was(&self, i: usize) -> EndpointHealth {
        self.before.endpoints.get(i).copied().unwrap_or_default()
    }
    fn was_down(&self, i: usize) -> bool {
        self.was(i).health == Health::Down
    }
    fn region_of(&self, i: usize) -> RegionIx {
        self.fleet.endpoints[i].region
    }
    fn provider_was_down(&self, p: ProviderIx) -> bool {
        self.before.providers.get(p.at()).is_some_and(|h| h.0 == Health::Down)
    }
    fn region_was_down(&self, r: RegionIx) -> bool {
        self.before.regions.get(r.at()).is_some_and(|h| h.0 == Health::Down)
    }

    /// How endpoint `i` counts when its region, and when its provider is accused, before any doubt.
    fn as_seen(&self, i: usize) -> (Health, Health) {
        let s = &self.seen[i];
        // The edges' word is about one service: a place falls by the electorate alone, also while what the edges took out
        // is on its way up again.
        let own = match s.step.health {
            Health::Down if s.edges.blamed.is_some() && !s.count.outside_region.is_down() => Health::Degraded,
            other => other,
        };
        let holds = self.provider_was_down(self.fleet.provider_of(self.region_of(i)));
        let for_provider = match s.count.outside_provider {
            Finding::Down { .. } => Health::Down,
            // Too few can speak of the provider as a whole, but its regions are known to be well.
            Finding::Open | Finding::Thin if own == Health::Healthy => Health::Healthy,
            Finding::Open | Finding::Thin => Health::Unknown,
            // A provider comes up no faster than its endpoints, and does not fall by those that are on their way up.
            Finding::Well | Finding::Slow if own == Health::Down && holds => Health::Down,
            Finding::Well | Finding::Slow if matches!(own, Health::Down | Health::Unknown) => Health::Unknown,
            Finding::Well if own != Health::Degraded => Health::Healthy,
            Finding::Well | Finding::Slow => Health::Degraded,
        };
        (own, for_provider)
    }

    /// As [`Self::as_seen`], but a new Down counts only when the fleet has spoken since it was first asked for, and in places
    /// where a mass action is at stake only beyond doubt.
    fn beyond_doubt(&self, i: usize, doubt: &doubt::Doubt) -> (Health, Health) {
        let (own, for_provider) = self.as_seen(i);
        let (r, s) = (self.region_of(i), &self.seen[i]);
        let p = self.fleet.provider_of(r);
        let ripe = doubt.is_ripe(self, i);
        let admitted = ripe && s.edges.admits_down;
        let keep = |health, at_stake, stood: bool, (finding, spoke): (Finding, bool)| match health {
            Health::Down if at_stake && !(stood && self.was_down(i)) && !(admitted && finding.is_strong()) => {
                Health::Unknown
            }
            Health::Down if !self.was_down(i) && !spoke => Health::Unknown,
            other => other,
        };
        let spoke = self.crowd.spoke_on(self.fleet, r, doubt::asked_since(self, i));
        let (region, provider) = ((s.count.outside_region, spoke.0), (s.count.outside_provider, spoke.1));
        (
            keep(own, doubt.regions[r.at()], self.region_was_down(r), region),
            keep(for_provider, doubt.providers[p.at()], self.provider_was_down(p), provider),
        )
    }

    /// The places' health, each endpoint counted as `counts` says for (its region, its provider).
    fn places(&self, counts: impl Fn(usize) -> (Health, Health)) -> Places {
        let fleet = self.fleet;
        let mut own = vec![Census::default(); fleet.regions.len()];
        let mut for_provider = own.clone();
        for (i, e) in fleet.endpoints.iter().enumerate() {
            let (a, b) = counts(i);
            own[e.region.at()].add(e.service, a);
            for_provider[e.region.at()].add(e.service, b);
        }
        let regions_of = |p: usize| {
            let all = fleet.regions.iter().zip(&for_provider);
            all.filter(move |(r, c)| r.provider.at() == p && c.all > 0).map(|(_, c)| c.health())
        };
        let providers: Vec<Health> =
            (0..fleet.providers.len()).map(|p| memory::provider_health(regions_of(p))).collect();
        let regions = fleet.regions.iter().zip(&own).map(|(r, census)| match providers[r.provider.at()] {
            Health::Down if census.all > 0 => Health::Down,
            _ => census.health(),
        });
        Places { regions: regions.collect(), providers }
    }

    /// Whether endpoint `i` is Down by its own votes or its place's under `places`, before any doubt.
    fn asked_down(&self, i: usize, places: &Places) -> bool {
        self.seen[i].step.health == Health::Down || places.regions[self.region_of(i).at()] == Health::Down
    }

    /// What stands for endpoint `i` from now on.
    fn settle(&self, i: usize, stands: &Places, doubt: &doubt::Doubt) -> EndpointHealth {
        let (was, seen) = (self.was(i), &self.seen[i]);
        let mut step = seen.step;
        if step.health == Health::Down && doubt.withholds(self, i) {
            step = memory::step(&was, Finding::Open, self.now, self.fleet.rules.up_after);
        }
        if stands.regions[self.region_of(i).at()] == Health::Down && step.health != Health::Down {
            // Its own votes call it well: it need not prove that again when its place returns.
            let well = step.health == Health::Healthy && !seen.count.outside_provider.is_down();
            step = Step { health: Health::Down, well_since: well.then_some(PRESUMED_WELL), wake: None };
        }
        let same = was.health == step.health && !memory::unjudged(&was);
        EndpointHealth {
            health: step.health,
            since: if same { was.since } else { self.now },
            well_since: step.well_since,
        }
    }

    /// Adds since when to the health of places; `place_of` gives the place of an endpoint.
    fn since(
        &self,
        healths: &[Health],
        before: &[(Health, Mono)],
        place_of: impl Fn(usize) -> usize,
    ) -> Vec<(Health, Mono)> {
        let mut bears = vec![false; healths.len()];
        let mut judged = vec![false; healths.len()];
        for i in 0..self.seen.len() {
            bears[place_of(i)] = true;
            judged[place_of(i)] |= !memory::unjudged(&self.was(i));
        }
        let one = |(i, health): (usize, &Health)| match before.get(i) {
            Some((was, since)) if was == health && (judged[i] || !bears[i]) => (*health, *since),
            _ => (*health, self.now),
        };
        healths.iter().enumerate().map(one).collect()
    }
}

/// Classes that have lost every place they may be in: one at least is Down; all are only Unknown, but were known before.
fn lost(fleet: &Fleet, endpoints: &[EndpointHealth], regions: &[(Health, Mono)]) -> (Vec<ClassIx>, Vec<ClassIx>) {
    let mut found = (Vec::new(), Vec::new());
    if endpoints.iter().all(|e| !matches!(e.health, Health::Down | Health::Unknown)) {
        return found;
    }
    // By service and region: how many endpoints, Down, Unknown, judged at any time.
    let width = fleet.regions.len();
    let mut counts = vec![[0_u32; 4]; fleet.services.len() * width];
    for (e, h) in fleet.endpoints.iter().zip(endpoints) {
        let c = &mut counts[e.service.at() * width + e.region.at()];
        c[0] += 1;
        c[1] += u32::from(h.health == Health::Down);
        c[2] += u32::from(h.health == Health::Unknown);
        c[3] += u32::from(!memory::never_judged(h));
    }
    'classes: for class in (0..fleet.classes.len()).map(ClassIx::from) {
        let service = fleet.classes[class.at()].service.at();
        let (mut any_down, mut any_known) = (false, false);
        for r in (0..width).filter(|r| fleet.permits(class, RegionIx::from(*r))) {
            let [all, down, unknown, known] = counts[service * width + r];
            let is_down = regions[r].0 == Health::Down || (all > 0 && down == all);
            if all > 0 && !is_down && regions[r].0 != Health::Unknown && down + unknown < all {
                continue 'classes;
            }
            any_down |= all > 0 && is_down;
            any_known |= known > 0;
        }
        if any_down {
            found.0.push(class);
        } else if any_known {
            found.1.push(class);
        }
    }
    found
}
