//! Where may what be: the ground that a cycle stands on, laid out once as dense tables.
//!
//! Owns feasibility (permitted set, policy, endpoints, client group's law), the fitness of every place and the order of
//! preference. Refuses to weigh: no load is placed here. A cost never enters a feasibility test (I7).

use crate::health::Judgement;
use std::collections::BTreeSet;
use tidegate_domain::{
    ClassIx, EndpointIx, Fleet, GroupIx, Health, Jurisdiction, Mask, Millis, Mono, MoveKind, PathFrom, RegionIx, Scope,
    ServiceIx, State, View, Wall,
};

/// Load in units of 10⁻⁸ milli-rps, so that demand × basis points × basis points stays exact.
pub(crate) type Load = u128;

/// How a service stands in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// No endpoint there.
    Empty,
    /// May receive.
    Fit,
    /// Degraded: keeps what it has; receives only what would else be refused.
    Slow,
    /// Unknown: keeps what it has, receives nothing.
    Unsure,
    /// Alive, but not reached from where the group's clients are.
    Cut,
    /// Down, but not acted upon: the senses are doubted or safety moves are switched off.
    Held,
    /// Down.
    Out,
}

/// One service in one region.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) stand: Stand,
    pub(crate) total: u32,
    pub(crate) living: u32,
    /// The drain that asks it to carry nothing.
    pub(crate) drain: Option<u64>,
    /// When a person last gave leave to fill it again.
    pub(crate) restored: Option<Wall>,
    /// Since when an endpoint there serves without a break; none serves: none.
    pub(crate) serves_since: Option<Mono>,
    /// It was Down in the judgement before this one as well.
    pub(crate) was_out: bool,
    /// Degraded, and to be left step by step: what is left so is never more than half of the service.
    pub(crate) gray: bool,
    /// Its provider's own API is in trouble: its share changes for safety only.
    pub(crate) frozen: bool,
    /// Endpoints there that are Down, but answer again and only have to stay well for a time.
    pub(crate) answering: u32,
}

impl Place {
    /// No endpoint stands there.
    const EMPTY: Self = Self {
        stand: Stand::Empty,
        total: 0,
        living: 0,
        drain: None,
        restored: None,
        serves_since: None,
        was_out: true,
        answering: 0,
        gray: false,
        frozen: false,
    };
}

/// What a split can be at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Planned by weights.
    Open,
    /// Everything permitted is down, or was and is only coming back: weights from before stay.
    AllDown,
    /// The group stands under a law that the class forbids.
    WrongJurisdiction,
    /// No permitted place has an endpoint.
    NoPlace,
}

const CONFIG: u8 = 8;
const ANY: u8 = 7;

fn bit(kind: MoveKind) -> u8 {
    match kind {
        MoveKind::Safety => 1,
        MoveKind::Voluntary => 2,
        MoveKind::Economic => 4,
    }
}

/// The question of one cycle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) mask: &'a Mask,
    pub(crate) state: &'a State,
    pub(crate) view: &'a View,
    pub(crate) judged: &'a Judgement,
    pub(crate) now: Mono,
}

/// Dense tables over one fleet revision; splits are numbered class × groups + group.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) q: Question<'a>,
    pub(crate) regions: usize,
    pub(crate) groups: usize,
    /// Service × region.
    places: Vec<Place>,
    /// Class × region.
    leave: Vec<u8>,
    /// Split × region: alive, but not reached from the group's side. Empty where no path fails.
    cut: Vec<bool>,
    /// `places` as they stand for a split that does not reach them.
    cut_places: Vec<Place>,
    /// Per split, in milli-rps.
    pub(crate) demand: Vec<u64>,
    /// Per group: all regions that may hold endpoints, by ring, cost, index.
    pub(crate) order: Vec<Vec<RegionIx>>,
    /// Group × region.
    rings: Vec<u16>,
    /// Per region: capacity × safe utilisation.
    pub(crate) limit: Vec<Load>,
    /// Splits in the order of planning: priority, fewest places, index.
    pub(crate) sequence: Vec<usize>,
    /// Per split: number of places, the second key of `sequence`.
    pub(crate) width: Vec<u16>,
    pub(crate) case: Vec<Case>,
    /// Services whose Down verdicts are not acted upon, by index.
    pub(crate) doubted: BTreeSet<ServiceIx>,
    /// Safety moves are allowed.
    pub(crate) safety_on: bool,
    /// Regions that fill only by a ramp.
    pub(crate) returning: Vec<bool>,
    /// Service × region: the standing plan has weight there. Empty where no region is returning.
    carries: Vec<bool>,
    /// Splits that are coming back from an all-down, and until when at most they may be held.
    pub(crate) waking: Vec<(usize, Mono)>,
    /// Services with endpoints that answer again.
    rising: BTreeSet<ServiceIx>,
    /// No endpoint is Down.
    pub(crate) all_up: bool,
    /// Some place is Down and was so before.
    long_out: bool,
    /// Some place is lost, not known, drained or frozen.
    pub(crate) any_away: bool,
    /// Some place is frozen.
    pub(crate) any_frozen: bool,
    /// Services of which a whole place is on its way up.
    service_rising: BTreeSet<ServiceIx>,
    /// Per region: an endpoint there is on its way up.
    region_rising: Vec<bool>,
}

impl<'a> Ground<'a> {
    pub(crate) fn lay(q: Question<'a>) -> Self {
        let f = q.fleet;
        let (regions, groups) = (f.regions.len(), f.groups.len());
        let mut returning = vec![false; regions];
        for r in &q.state.returning {
            returning[r.at()] = true;
        }
        let mut ground = Self {
            q,
            regions,
            groups,
            places: Vec::new(),
            leave: leave(f, q.mask),
            cut: Vec::new(),
            cut_places: Vec::new(),
            demand: demand(f, q.view),
            order: Vec::new(),
            rings: Vec::new(),
            limit: f.regions.iter().map(|r| limit_of(r.capacity.0, r.safe_utilisation.get())).collect(),
            sequence: Vec::new(),
            width: Vec::new(),
            case: Vec::new(),
            doubted: q.judged.doubted.iter().copied().collect(),
            safety_on: q.view.intents.automation.safety.is_on(q.view.wall),
            returning,
            carries: Vec::new(),
            waking: Vec::new(),
            rising: BTreeSet::new(),
            all_up: true,
            long_out: false,
            any_away: false,
            any_frozen: false,
            service_rising: BTreeSet::new(),
            region_rising: vec![false; regions],
        };
        ground.lay_carries();
        ground.lay_order();
        ground.lay_places();
        ground.lay_intents();
        ground.lay_frozen();
        ground.lay_gray();
        ground.lay_paths();
        ground.lay_cases();
        ground
    }

    pub(crate) fn splits(&self) -> usize {
        self.case.len()
    }
    pub(crate) fn class_of(&self, split: usize) -> ClassIx {
        ClassIx::from(split / self.groups)
    }
    pub(crate) fn group_of(&self, split: usize) -> GroupIx {
        GroupIx::from(split % self.groups)
    }
    pub(crate) fn service_of(&self, split: usize) -> ServiceIx {
        self.q.fleet.classes[split / self.groups].service
    }
    pub(crate) fn priority(&self, split: usize) -> u8 {
        self.q.fleet.classes[split / self.groups].priority
    }
    pub(crate) fn place(&self, split: usize, region: RegionIx) -> &Place {
        let at = self.service_of(split).at() * self.regions + region.at();
        if self.is_cut(split, region) { &self.cut_places[at] } else { &self.places[at] }
    }
    /// Alive, but not reached from where the split's clients are.
    pub(crate) fn is_cut(&self, split: usize, region: RegionIx) -> bool {
        self.cut.get(split * self.regions + region.at()).copied().unwrap_or(false)
    }
    pub(crate) fn place_of(&self, service: ServiceIx, region: RegionIx) -> &Place {
        &self.places[service.at() * self.regions + region.at()]
    }
    pub(crate) fn ring(&self, group: GroupIx, region: RegionIx) -> u16 {
        self.rings[group.at() * self.regions + region.at()]
    }
    /// Regions in the split's order of preference.
    pub(crate) fn ranked(&self, split: usize) -> &[RegionIx] {
        &self.order[split % self.groups]
    }
    /// Permitted by the configuration, whatever policy says.
    pub(crate) fn configured(&self, split: usize, region: RegionIx) -> bool {
        self.leave[split / self.groups * self.regions + region.at()] & CONFIG != 0
    }
    /// Permitted by the configuration and by policy for this kind of move.
    pub(crate) fn may(&self, split: usize, region: RegionIx, kind: MoveKind) -> bool {
        let leave = self.leave[split / self.groups * self.regions + region.at()];
        leave & CONFIG != 0 && leave & bit(kind) != 0
    }
    /// Permitted for some kind of move, and the service has an endpoint there: weight may stand there.
    pub(crate) fn lawful(&self, split: usize, region: RegionIx) -> bool {
        let leave = self.leave[split / self.groups * self.regions + region.at()];
        leave & CONFIG != 0 && leave & ANY != 0 && self.place(split, region).stand != Stand::Empty
    }
    /// What this service alone may put on this region: its limit, less the part of its endpoints that is dead.
    pub(crate) fn service_limit(&self, service: ServiceIx, region: RegionIx) -> Load {
        let place = self.place_of(service, region);
        let all = self.limit[region.at()];
        if place.living >= place.total { all } else { all * Load::from(place.living) / Load::from(place.total.max(1)) }
    }
    /// What this service may keep there: endpoints that answer again count, so that after an all-down a place is not
    /// thinned out because one of its endpoints is a moment ahead of the other.
    pub(crate) fn keeping_limit(&self, service: ServiceIx, region: RegionIx) -> Load {
        let place = self.place_of(service, region);
        let living = (place.living + place.answering).min(place.total);
        self.limit[region.at()] * Load::from(living) / Load::from(place.total.max(1))
    }
    /// A service's verdicts are not acted upon.
    pub(crate) fn is_held(&self, service: ServiceIx) -> bool {
        !self.safety_on || self.doubted.contains(&service)
    }
    /// How many serving regions the split must keep through voluntary and economic moves.
    pub(crate) fn keep_on(&self, split: usize) -> usize {
        usize::from(self.q.fleet.rules.min_regions_on).min(usize::from(self.width[split]))
    }
    /// What one voluntary step moves at most, and when the class may take its next.
    pub(crate) fn next_step(&self, split: usize) -> Option<Mono> {
        let moved = self.q.state.moved.get(split / self.groups).copied().flatten()?;
        Some(moved + self.q.fleet.rules.settle).filter(|at| *at > self.q.now)
    }

    fn lay_carries(&mut self) {
        let f = self.q.fleet;
        if !self.returning.contains(&true) {
            return;
        }
        self.carries = vec![false; f.services.len() * self.regions];
        for s in self.q.state.plan.iter().flat_map(|p| &p.splits).filter(|s| s.class.at() < f.classes.len()) {
            for w in s.weights.iter().filter(|w| w.region.at() < self.regions) {
                self.carries[f.classes[s.class.at()].service.at() * self.regions + w.region.at()] = true;
            }
        }
    }
    /// The service has left the region, or never came: only a ramp fills it. Another service may go on there.
    pub(crate) fn is_returning(&self, service: ServiceIx, region: RegionIx) -> bool {
        let carries = || self.carries.get(service.at() * self.regions + region.at()).copied().unwrap_or(false);
        self.returning[region.at()] && !carries()
    }

    fn lay_order(&mut self) {
        let f = self.q.fleet;
        for g in (0..self.groups).map(GroupIx::from) {
            self.rings
                .extend((0..self.regions).map(|r| u16::try_from(f.ring(g, RegionIx::from(r))).unwrap_or(u16::MAX)));
            let rings = &self.rings;
            let mut order: Vec<RegionIx> =
                (0..self.regions).map(RegionIx::from).filter(|r| !f.regions[r.at()].vantage_only).collect();
            order.sort_by_key(|r| {
                (rings[g.at() * f.regions.len() + r.at()], f.regions[r.at()].cost_per_million, r.at())
            });
            self.order.push(order);
        }
    }

    fn lay_places(&mut self) {
        let f = self.q.fleet;
        self.places = vec![Place::EMPTY; f.services.len() * self.regions];
        // healthy, degraded, unknown endpoints per place; the rest of `total` is Down
        let mut seen = vec![[0_u32; 3]; self.places.len()];
        // endpoints on their way up, but for those that only wait for their place: these may wait as long as it lies
        let mut climbing = vec![false; self.places.len()];
        let fallen: Vec<bool> = (0..self.regions).map(|r| self.region_is_down(RegionIx::from(r))).collect();
        for (i, e) in f.endpoints.iter().enumerate() {
            let at = e.service.at() * self.regions + e.region.at();
            let place = &mut self.places[at];
            let judged = self.q.judged.endpoints.get(i).copied().unwrap_or_default();
            place.total += 1;
            match if fallen[e.region.at()] { Health::Down } else { judged.health } {
                Health::Healthy => seen[at][0] += 1,
                Health::Degraded => seen[at][1] += 1,
                Health::Unknown => seen[at][2] += 1,
                Health::Down => {
                    place.answering += u32::from(judged.well_since.is_some());
                    climbing[at] |= judged.well_since.is_some_and(|s| s != crate::health::PRESUMED_WELL);
                    place.was_out &= self.q.state.endpoints.get(i).is_some_and(|h| h.health == Health::Down);
                    self.all_up = false;
                    continue;
                }
            }
            if judged.health != Health::Unknown {
                place.serves_since = place.serves_since.into_iter().chain([judged.since]).min();
            }
        }
        for (at, [healthy, degraded, unknown]) in seen.into_iter().enumerate() {
            let held = self.is_held(ServiceIx::from(at / self.regions.max(1)));
            let place = &mut self.places[at];
            if place.total == 0 {
                continue;
            }
            if place.answering > 0 {
                self.rising.insert(ServiceIx::from(at / self.regions.max(1)));
            }
            place.living = healthy + degraded + unknown;
            place.stand = match place.living {
                0 if held => Stand::Held,
                0 => Stand::Out,
                living if unknown * 2 > living => Stand::Unsure,
                living if degraded * 2 >= living => Stand::Slow,
                _ => Stand::Fit,
            };
            self.long_out |= place.stand == Stand::Out && place.was_out;
            self.any_away |= matches!(place.stand, Stand::Out | Stand::Held | Stand::Unsure);
            if climbing[at] {
                self.region_rising[at % self.regions.max(1)] = true;
                if matches!(place.stand, Stand::Out | Stand::Held) {
                    self.service_rising.insert(ServiceIx::from(at / self.regions.max(1)));
                }
            }
            if held {
                place.living = place.total;
            }
        }
    }

    /// The verdict on an endpoint, its region's and its provider's Down included.
    pub(crate) fn health_of(&self, endpoint: EndpointIx) -> Health {
        let region = self.q.fleet.endpoints[endpoint.at()].region;
        if self.region_is_down(region) {
            return Health::Down;
        }
        self.q.judged.endpoints.get(endpoint.at()).map_or(Health::Unknown, |e| e.health)
    }
    pub(crate) fn region_is_down(&self, region: RegionIx) -> bool {
        let provider = self.q.fleet.provider_of(region);
        self.q.judged.regions.get(region.at()).is_some_and(|r| r.0 == Health::Down)
            || self.q.judged.providers.get(provider.at()).is_some_and(|p| p.0 == Health::Down)
    }

    fn lay_intents(&mut self) {
        let (f, view) = (self.q.fleet, self.q.view);
        let covers = |scope: Scope, r: usize| match scope {
            Scope::Provider(p) => f.regions[r].provider == p,
            Scope::Region(x) => x.at() == r,
        };
        for (at, place) in self.places.iter_mut().enumerate() {
            let (service, r) = (ServiceIx::from(at / self.regions.max(1)), at % self.regions.max(1));
            let about = |s: Option<ServiceIx>| s.is_none_or(|s| s == service);
            let drains = view.intents.drains.iter().filter(|d| d.until.is_none_or(|u| u > view.wall));
            place.drain = drains.filter(|d| about(d.service) && covers(d.scope, r)).map(|d| d.id).min();
            let restores = view.intents.restores.iter().filter(|x| x.ends() > view.wall);
            place.restored = restores.filter(|x| about(x.service) && covers(x.scope, r)).map(|x| x.at).max();
            self.any_away |= place.drain.is_some() && place.stand != Stand::Empty;
        }
    }

    /// Where nothing is changed but for safety, because the provider's own API is in trouble.
    fn lay_frozen(&mut self) {
        let n = self.regions.max(1);
        for trouble in &self.q.judged.apis {
            let places = self.places.iter_mut().enumerate().filter(|(_, p)| p.stand != Stand::Empty);
            for (_, place) in places.filter(|(at, _)| self.q.fleet.regions[at % n].provider == trouble.provider) {
                place.frozen = true;
                self.any_frozen = true;
            }
        }
        // what is owed there stays owed
        self.any_away |= self.any_frozen;
    }

    /// Which Degraded places are left. By gray alone never more than half of a service's capacity goes: those that have been
    /// so for longest first; the others keep what they have.
    fn lay_gray(&mut self) {
        let f = self.q.fleet;
        let n = self.regions.max(1);
        if self.places.iter().all(|p| p.stand != Stand::Slow) {
            return;
        }
        let since = self.degraded_since();
        let mut slow: Vec<usize> = (0..self.places.len()).filter(|at| self.places[*at].stand == Stand::Slow).collect();
        slow.sort_by_key(|at| (at / n, since[*at], *at));
        let capacity = |at: usize| f.regions[at % n].capacity.0.max(1);
        let whole: Vec<u64> = (0..f.services.len())
            .map(|s| (s * n..(s + 1) * n).filter(|at| self.places[*at].total > 0).map(capacity).sum())
            .collect();
        let mut gone = vec![0_u64; f.services.len()];
        for at in slow {
            let (service, part) = (at / n, capacity(at));
            if (gone[service] + part).saturating_mul(2) <= whole[service] {
                gone[service] += part;
                self.places[at].gray = true;
            }
        }
    }
    /// Service × region: since when the first of its Degraded endpoints is so.
    fn degraded_since(&self) -> Vec<Option<Mono>> {
        let mut since: Vec<Option<Mono>> = vec![None; self.places.len()];
        for (e, judged) in self.q.fleet.endpoints.iter().zip(&self.q.judged.endpoints) {
            if judged.health == Health::Degraded {
                let at = &mut since[e.service.at() * self.regions + e.region.at()];
                *at = at.iter().copied().chain([judged.since]).min();
            }
        }
        since
    }
    /// Which places each group does not reach. A split that reaches none of its living places is left as it is: then it is
    /// rather the probers near it that are cut off.
    fn lay_paths(&mut self) {
        let f = self.q.fleet;
        let mut by_group = vec![false; self.groups * self.regions];
        for p in &self.q.judged.paths {
            if let PathFrom::Group(g) = p.from
                && g.at() < self.groups
                && p.to.at() < self.regions
            {
                by_group[g.at() * self.regions + p.to.at()] = true;
                self.any_away = true;
            }
        }
        if !by_group.contains(&true) {
            return;
        }
        let alive = |stand: Stand| matches!(stand, Stand::Fit | Stand::Slow | Stand::Unsure);
        let mut cut = vec![false; f.classes.len() * by_group.len()];
        for split in 0..f.classes.len() * self.groups {
            let away = |r: &RegionIx| by_group[split % self.groups * self.regions + r.at()];
            let open = |r: &RegionIx| self.lawful(split, *r) && self.place(split, *r).drain.is_none();
            let known = |r: &RegionIx| matches!(self.place(split, *r).stand, Stand::Fit | Stand::Slow);
            let regions = || (0..self.regions).map(RegionIx::from);
            if self.is_held(self.service_of(split)) || !regions().any(|r| open(&r) && known(&r) && !away(&r)) {
                continue;
            }
            for r in regions().filter(|r| away(r) && alive(self.place(split, *r).stand)) {
                cut[split * self.regions + r.at()] = true;
            }
        }
        let stand = |p: &Place| if alive(p.stand) { Stand::Cut } else { p.stand };
        self.cut_places = self.places.iter().map(|p| Place { stand: stand(p), ..*p }).collect();
        self.cut = cut;
    }

    fn lay_cases(&mut self) {
        let f = self.q.fleet;
        let all_down: BTreeSet<ClassIx> = self.q.judged.all_down.iter().copied().collect();
        for split in 0..f.classes.len() * self.groups {
            let (class, group) = (self.class_of(split), self.group_of(split));
            let lawful = || self.order[group.at()].iter().filter(|r| self.lawful(split, **r));
            let width = lawful().count();
            let serving = lawful().any(|r| {
                let place = self.place(split, *r);
                place.drain.is_none() && !matches!(place.stand, Stand::Out | Stand::Cut)
            });
            let all_down = (all_down.contains(&class) && !self.is_held(self.service_of(split))) || !serving;
            let waking = if all_down { None } else { self.waking_until(split) };
            self.waking.extend(waking.map(|until| (split, until)));
            self.width.push(u16::try_from(width).unwrap_or(u16::MAX));
            self.case.push(if !f.permits_group(class, group) {
                Case::WrongJurisdiction
            } else if width == 0 {
                Case::NoPlace
            } else if all_down || waking.is_some() {
                Case::AllDown
            } else {
                Case::Open
            });
        }
        self.sequence = (0..self.case.len()).filter(|s| matches!(self.case[*s], Case::Open | Case::AllDown)).collect();
        let mut sequence = std::mem::take(&mut self.sequence);
        sequence.sort_by_key(|s| (self.priority(*s), self.width[*s], *s));
        self.sequence = sequence;
    }

    /// Until when a split that is coming back from an all-down keeps the weights from before, at most; none: it is not.
    ///
    /// That it is coming back is read off the standing plan: weight on a place that is Down and was so before stands
    /// only after an all-down. (It may stand after a pause or a doubt too; then what lives has lived for long, and the
    /// time is over.)
    fn waking_until(&self, split: usize) -> Option<Mono> {
        if !self.long_out {
            return None;
        }
        let standing = self.q.state.plan.as_ref()?.split(self.class_of(split), self.group_of(split))?;
        let mut on = standing.weights.iter().map(|w| w.region).filter(|r| r.at() < self.regions);
        let still_out = |r: RegionIx| {
            let place = self.place(split, r);
            place.stand == Stand::Out && place.was_out
        };
        if self.is_held(self.service_of(split)) || !on.any(still_out) {
            return None;
        }
        let places = self.ranked(split).iter().filter(|r| self.lawful(split, **r)).map(|r| self.place(split, *r));
        let first = places.filter(|p| p.drain.is_none()).filter_map(|p| p.serves_since).min()?;
        let until = first + Millis(self.q.fleet.rules.up_after.0 * WAKING_TIMES);
        Some(until).filter(|u| *u > self.q.now)
    }
    /// A place that lives enters the spill order when nothing else of its service is on its way up any more, so that
    /// what comes back together enters together; at the latest when it has lived as long as the slow way up takes.
    pub(crate) fn enters(&self, service: ServiceIx, region: RegionIx) -> bool {
        !self.rising.contains(&service) || self.enters_at(service, region).is_none_or(|at| at <= self.q.now)
    }
    fn enters_at(&self, service: ServiceIx, region: RegionIx) -> Option<Mono> {
        self.place_of(service, region).serves_since.map(|since| since + self.q.fleet.rules.up_after)
    }
    /// When the next place would enter by time alone.
    pub(crate) fn next_entry(&self) -> Option<Mono> {
        let regions = || (0..self.regions).map(RegionIx::from);
        let each = self.rising.iter().flat_map(|s| regions().filter_map(|r| self.enters_at(*s, r)));
        each.filter(|at| *at > self.q.now).min()
    }
    /// Something of the service is on its way up.
    pub(crate) fn rises(&self, service: ServiceIx) -> bool {
        self.rising.contains(&service)
    }
    /// A whole place of the service is on its way up: where it would go is known in a moment.
    pub(crate) fn service_is_rising(&self, service: ServiceIx) -> bool {
        self.service_rising.contains(&service)
    }
    /// Endpoints in the region are on their way up: what it can take is known in a moment.
    pub(crate) fn region_is_rising(&self, region: RegionIx) -> bool {
        self.region_rising[region.at()]
    }
    /// Splits that come back from an all-down are planned by what lives.
    pub(crate) fn release(&mut self) {
        for (split, _) in &self.waking {
            self.case[*split] = Case::Open;
        }
    }
    /// Some place under them does not even answer: it will not be back soon.
    pub(crate) fn waits_in_vain(&self) -> bool {
        let under = |split: usize| {
            let plan = self.q.state.plan.as_ref();
            let standing = plan.and_then(|p| p.split(self.class_of(split), self.group_of(split)));
            standing.into_iter().flat_map(|s| &s.weights).map(|w| w.region).filter(|r| r.at() < self.regions)
        };
        let dead = |split: usize, r: RegionIx| {
            let place = self.place(split, r);
            place.stand == Stand::Out && place.answering == 0
        };
        self.waking.iter().any(|(split, _)| under(*split).any(|r| dead(*split, r)))
    }
    /// They keep the weights from before after all.
    pub(crate) fn hold(&mut self) {
        for (split, _) in &self.waking {
            self.case[*split] = Case::AllDown;
        }
    }
}

/// By this many times the slow way up a class is held after the first place came back from an all-down: as long again
/// as the places that came back with it may still need.
const WAKING_TIMES: u64 = 2;

fn limit_of(capacity: u64, utilisation: u16) -> Load {
    Load::from(capacity) * Load::from(utilisation) * 10_000
}

/// Class × region: the configuration's leave and policy's answers as bits. One walk over the mask.
fn leave(f: &Fleet, mask: &Mask) -> Vec<u8> {
    let laws: Vec<Jurisdiction> =
        f.regions.iter().map(|r| r.jurisdiction).collect::<BTreeSet<_>>().into_iter().collect();
    let mut answers = vec![0_u8; f.classes.len() * laws.len()];
    for ((class, law, kind), answer) in &mask.answers {
        if let (true, true, Ok(l)) = (answer.allow, class.at() < f.classes.len(), laws.binary_search(law)) {
            answers[class.at() * laws.len() + l] |= bit(*kind);
        }
    }
    let law_at: Vec<usize> = f.regions.iter().map(|r| laws.binary_search(&r.jurisdiction).unwrap_or(0)).collect();
    let mut leave = Vec::with_capacity(f.classes.len() * f.regions.len());
    for (c, class) in f.classes.iter().enumerate() {
        for (r, region) in f.regions.iter().enumerate() {
            let config = if class.permitted.holds(region.jurisdiction) && !region.vantage_only { CONFIG } else { 0 };
            leave.push(config | answers[c * laws.len() + law_at[r]]);
        }
    }
    leave
}

/// Per split: the declared demand or, where it is larger, the measured one.
fn demand(f: &Fleet, view: &View) -> Vec<u64> {
    let mut demand = vec![0_u64; f.classes.len() * f.groups.len()];
    for (c, class) in f.classes.iter().enumerate() {
        for d in &class.demand {
            demand[c * f.groups.len() + d.group.at()] = d.load.0;
        }
    }
    for (class, group, load) in &view.measured_demand {
        if let Some(at) = demand.get_mut(class.at() * f.groups.len() + group.at()) {
            *at = load.0.max(*at);
        }
    }
    demand
}
