//! How much goes where: a ledger of loads over all classes and groups, and the passes that fill it.
//!
//! Owns the arithmetic of shares, room and shedding. Refuses to decide when or why: the tiers call it.

use crate::pace::comes_back;
use crate::place::{Case, Ground, Load, Place, Stand};
use tidegate_domain::{Bps, ClassSplit, Health, MoveKind, Plan, RegionIx, Serving, Weight, apportion};

/// A shed class fills again only where it gains so much at once: below, it would twitch with every rounding.
const WORTH_FILLING: u16 = 100;
/// What a further region gets where the assertion asks for more regions than load alone fills.
const FOOTHOLD: u16 = 500;

/// Basis points of each split's *demand* per region, and the part that nobody takes.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    regions: usize,
    /// Split × region.
    bps: Vec<u16>,
    /// Per split: not placed. After the safety tier: shed.
    pub(crate) loose: Vec<u16>,
    /// Per region, all services.
    load: Vec<Load>,
    /// Service × region.
    service_load: Vec<Load>,
}

/// Which places a pass may fill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) kind: MoveKind,
    /// Keep to the provider's share.
    pub(crate) capped: bool,
    pub(crate) to: Receivers,
}

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receivers {
    /// Fit places that have not to be ramped up.
    Settled,
    /// Fit places that fill by ramp.
    Returning,
    /// Both.
    Fit,
    /// Both, and those to which a person has given leave to return: a voluntary move there need not be economic.
    Goal,
    /// As [`Self::Goal`], as if no provider's API were in trouble: to tell what that holds.
    Thawed,
    /// Fit places and those of which nothing is known yet: for a first plan.
    Unjudged,
    /// Degraded places.
    Slow,
    /// All but drained ones: nothing better is left.
    Any,
}

impl Ledger {
    pub(crate) fn empty(g: &Ground) -> Self {
        let services = g.q.fleet.services.len();
        Self {
            regions: g.regions,
            bps: vec![0; g.splits() * g.regions],
            loose: vec![0; g.splits()],
            load: vec![0; g.regions],
            service_load: vec![0; services * g.regions],
        }
    }
    pub(crate) fn get(&self, split: usize, region: RegionIx) -> u16 {
        self.bps[split * self.regions + region.at()]
    }
    pub(crate) fn row(&self, split: usize) -> &[u16] {
        &self.bps[split * self.regions..(split + 1) * self.regions]
    }
    pub(crate) fn service_load(&self, g: &Ground, split: usize, region: RegionIx) -> Load {
        self.service_load[g.service_of(split).at() * self.regions + region.at()]
    }
    /// Puts `amount` on a region, whatever the limit says.
    pub(crate) fn put(&mut self, g: &Ground, split: usize, region: RegionIx, amount: u16) {
        let load = quantum(g, split) * Load::from(amount);
        self.bps[split * self.regions + region.at()] += amount;
        self.load[region.at()] += load;
        self.service_load[g.service_of(split).at() * self.regions + region.at()] += load;
    }
    /// Takes up to `amount` from a region; returns what was there to take.
    pub(crate) fn take(&mut self, g: &Ground, split: usize, region: RegionIx, amount: u16) -> u16 {
        let at = split * self.regions + region.at();
        let taken = amount.min(self.bps[at]);
        let load = quantum(g, split) * Load::from(taken);
        self.bps[at] -= taken;
        self.load[region.at()] -= load;
        self.service_load[g.service_of(split).at() * self.regions + region.at()] -= load;
        taken
    }
    /// How many basis points of the split's demand still fit there, up to `want`.
    pub(crate) fn room(&self, g: &Ground, split: usize, region: RegionIx, want: u16) -> u16 {
        let one = quantum(g, split);
        if one == 0 {
            return want;
        }
        let service = g.service_of(split);
        let all = g.limit[region.at()].saturating_sub(self.load[region.at()]);
        let own = g.service_limit(service, region);
        let own = own.saturating_sub(self.service_load[service.at() * self.regions + region.at()]);
        let room = all.min(own);
        if room >= one * Load::from(want) { want } else { (room / one) as u16 }
    }
    /// How far a region is over what the split's service may keep there.
    pub(crate) fn over(&self, g: &Ground, split: usize, region: RegionIx) -> Load {
        let service = g.service_of(split);
        let all = self.load[region.at()].saturating_sub(g.limit[region.at()]);
        let own = self.service_load[service.at() * self.regions + region.at()];
        all.max(own.saturating_sub(g.keeping_limit(service, region)))
    }
    /// Fills up to `want` by the order of preference; returns what was placed.
    pub(crate) fn fill(&mut self, g: &Ground, split: usize, want: u16, pass: Pass) -> u16 {
        if want == 0 {
            return 0;
        }
        let fleet = g.q.fleet;
        let max = fleet.classes[split / g.groups].provider_share_max.get();
        let mut left = want;
        for region in g.ranked(split) {
            if left == 0 {
                break;
            }
            if !receives(g, split, *region, pass) {
                continue;
            }
            let mut wish = left;
            if pass.capped && max < 10_000 {
                wish = wish.min(max.saturating_sub(self.provider_share(g, split, *region)));
            }
            let fits = self.room(g, split, *region, wish);
            self.put(g, split, *region, fits);
            left -= fits;
        }
        want - left
    }
    /// What the region's provider carries of the split.
    pub(crate) fn provider_share(&self, g: &Ground, split: usize, region: RegionIx) -> u16 {
        let regions = &g.q.fleet.regions;
        let provider = regions[region.at()].provider;
        let row = self.row(split).iter().zip(regions);
        row.filter(|(_, r)| r.provider == provider).map(|(b, _)| *b).sum()
    }
    /// Gives the split the footholds that the assertion asks for, out of its largest share.
    pub(crate) fn spread(&mut self, g: &Ground, split: usize, pass: Pass) {
        let stays = |p: &Place| pinned(&Place { frozen: is_frozen(p, pass), ..*p });
        for region in g.ranked(split) {
            let on = self.row(split).iter().filter(|b| **b > 0).count();
            if on >= g.keep_on(split) {
                return;
            }
            let Some(largest) = (0..g.regions).max_by_key(|r| (self.row(split)[*r], std::cmp::Reverse(*r))) else {
                return;
            };
            let largest = RegionIx::from(largest);
            let wish = FOOTHOLD.min(self.get(split, largest) / 2);
            if self.get(split, *region) == 0 && receives(g, split, *region, pass) && !stays(g.place(split, largest)) {
                let fits = self.room(g, split, *region, wish);
                self.take(g, split, largest, fits);
                self.put(g, split, *region, fits);
            }
        }
    }
    /// After the fill of a shed split: one basis point per region back, so that rounding cannot pass a limit.
    pub(crate) fn round_down(&mut self, g: &Ground, split: usize) {
        for region in (0..g.regions).map(RegionIx::from) {
            if self.loose[split] > 0 && self.get(split, region) > 0 {
                self.loose[split] += self.take(g, split, region, 1);
            }
        }
    }
    /// What stood was taken for up to a basis point more than it was, and kept because it was not: a split that is written
    /// anew must not stand on that.
    pub(crate) fn shave(&mut self, g: &Ground, split: usize) {
        for region in (0..g.regions).map(RegionIx::from).filter(|r| g.place(split, *r).stand != Stand::Held) {
            let over = self.over(g, split, region);
            if over > 0 && over <= quantum(g, split) && self.get(split, region) > 0 {
                self.loose[split] += self.take(g, split, region, 1);
            }
        }
    }
    /// Whether what a split that stood still has gained over `row` of its `loose` part is worth a change.
    pub(crate) fn worth_filling(&self, g: &Ground, split: usize, row: &[u16], loose: u16, noise: &[Load]) -> bool {
        let gain = |r: usize| self.row(split)[r].saturating_sub(row[r]);
        let placed: u16 = (0..g.regions).map(gain).sum();
        let real = (0..g.regions).any(|r| quantum(g, split) * Load::from(gain(r)) > noise[r]);
        (placed == loose || placed >= WORTH_FILLING) && (real || quantum(g, split) == 0)
    }
    /// Per region: the room that rounding alone may leave: up to two basis points of every shed split there.
    pub(crate) fn noise(&self, g: &Ground) -> Vec<Load> {
        let mut noise = vec![0; g.regions];
        for split in g.sequence.iter().copied().filter(|s| self.loose[*s] > 0) {
            for (noise, has) in noise.iter_mut().zip(self.row(split)) {
                *noise += if *has > 0 { 2 * quantum(g, split) } else { 0 };
            }
        }
        noise
    }
    /// A split that is shed no longer leaves no room to rounding.
    pub(crate) fn quieten(&self, g: &Ground, split: usize, noise: &mut [Load]) {
        for (noise, has) in noise.iter_mut().zip(self.row(split)) {
            *noise -= if *has > 0 { 2 * quantum(g, split) } else { 0 };
        }
    }
}

/// Load of one basis point of the split's demand.
pub(crate) fn quantum(g: &Ground, split: usize) -> Load {
    Load::from(g.demand[split]) * 10_000
}

/// A place whose share only its own rule may change.
pub(crate) fn pinned(place: &Place) -> bool {
    match place.stand {
        Stand::Slow | Stand::Unsure | Stand::Cut | Stand::Held | Stand::Out => true,
        Stand::Empty | Stand::Fit => place.drain.is_some() || place.frozen,
    }
}

/// Whether a pass is kept from changing the place by its provider's API. A first plan is bound by nothing that stands.
fn is_frozen(place: &Place, pass: Pass) -> bool {
    place.frozen && pass.kind != MoveKind::Safety && !matches!(pass.to, Receivers::Unjudged | Receivers::Thawed)
}

/// Whether a pass may fill the region.
pub(crate) fn receives(g: &Ground, split: usize, region: RegionIx, pass: Pass) -> bool {
    let place = g.place(split, region);
    let goal = matches!(pass.to, Receivers::Goal | Receivers::Thawed);
    let owed = || place.restored.is_some() || comes_back(g, split, region);
    let back = || goal && owed() && g.may(split, region, MoveKind::Voluntary);
    let may = g.may(split, region, pass.kind) || back();
    if place.drain.is_some() || !may || is_frozen(place, pass) || g.q.view.held_receivers.contains(&region) {
        return false;
    }
    let returning = || g.is_returning(g.service_of(split), region);
    match place.stand {
        Stand::Empty => false,
        Stand::Fit => match pass.to {
            Receivers::Settled => !returning(),
            Receivers::Returning => returning(),
            Receivers::Slow => false,
            Receivers::Fit | Receivers::Goal | Receivers::Thawed | Receivers::Unjudged | Receivers::Any => true,
        },
        Stand::Unsure => matches!(pass.to, Receivers::Unjudged | Receivers::Any),
        Stand::Slow => matches!(pass.to, Receivers::Slow | Receivers::Any),
        Stand::Cut | Stand::Held | Stand::Out => pass.to == Receivers::Any,
    }
}

/// The standing plan as basis points of demand. A split that is not in it, or carries nothing, is fresh.
pub(crate) fn standing(g: &Ground) -> (Ledger, Vec<bool>) {
    let mut ledger = Ledger::empty(g);
    let mut fresh = vec![true; g.splits()];
    let Some(plan) = &g.q.state.plan else { return (ledger, fresh) };
    for s in &plan.splits {
        let split = s.class.at() * g.groups + s.group.at();
        let known =
            s.group.at() < g.groups && split < g.splits() && matches!(g.case[split], Case::Open | Case::AllDown);
        let Serving::Routed { shed } = s.serving else { continue };
        if !known {
            continue;
        }
        fresh[split] = s.weights.is_empty();
        lay_weights(g, &mut ledger, split, &s.weights, shed);
    }
    (ledger, fresh)
}

/// The standing plan's loads, without any rounding.
pub(crate) struct Standing {
    load: Vec<Load>,
    service_load: Vec<Load>,
}
impl Standing {
    pub(crate) fn of(g: &Ground) -> Self {
        let mut load = vec![0; g.regions];
        let mut service_load = vec![0; g.q.fleet.services.len() * g.regions];
        for s in g.q.state.plan.iter().flat_map(|p| &p.splits) {
            let split = s.class.at() * g.groups + s.group.at();
            let (Serving::Routed { shed }, true) = (s.serving, s.group.at() < g.groups && split < g.splits()) else {
                continue;
            };
            for w in s.weights.iter().filter(|w| w.region.at() < g.regions) {
                let carried = Load::from(10_000 - shed.get());
                let here = Load::from(g.demand[split]) * carried * Load::from(w.share.get());
                load[w.region.at()] += here;
                service_load[g.service_of(split).at() * g.regions + w.region.at()] += here;
            }
        }
        Self { load, service_load }
    }
    /// Whether the region is over what the split's service may keep there.
    pub(crate) fn is_over(&self, g: &Ground, split: usize, region: RegionIx) -> bool {
        let service = g.service_of(split);
        let own = self.service_load[service.at() * g.regions + region.at()];
        self.load[region.at()] > g.limit[region.at()] || own > g.keeping_limit(service, region)
    }
}

/// Puts a split's weights into the ledger; what rounding or unlawful places leave is loose.
pub(crate) fn lay_weights(g: &Ground, ledger: &mut Ledger, split: usize, weights: &[Weight], shed: Bps) {
    let carried = 10_000 - u32::from(shed.get());
    let mut placed = 0_u16;
    for w in weights.iter().filter(|w| w.region.at() < g.regions) {
        // rounded up: what stands may never be taken for less than it is
        let part = (u32::from(w.share.get()) * carried).div_ceil(10_000).min(u32::from(10_000 - placed)) as u16;
        ledger.put(g, split, w.region, part);
        placed += part;
    }
    ledger.loose[split] = if weights.is_empty() { 0 } else { 10_000 - placed };
}

/// The plan's form of one split.
pub(crate) fn shares(g: &Ground, ledger: &Ledger, split: usize) -> (Serving, Vec<Weight>) {
    let amounts: Vec<u64> = ledger.row(split).iter().map(|b| u64::from(*b)).collect();
    let mut weights: Vec<Weight> = apportion(&amounts)
        .into_iter()
        .enumerate()
        .filter(|(_, share)| *share > Bps::ZERO)
        .map(|(r, share)| Weight { region: RegionIx::from(r), share })
        .collect();
    if weights.is_empty() {
        // Everything is shed. The weights say where the first request goes once something fits again.
        let live = |r: &&RegionIx| {
            let place = g.place(split, **r);
            g.lawful(split, **r) && place.drain.is_none() && !matches!(place.stand, Stand::Out | Stand::Cut)
        };
        weights.extend(g.ranked(split).iter().find(live).map(|r| Weight { region: *r, share: Bps::FULL }));
    }
    (Serving::Routed { shed: Bps::clamped(u64::from(ledger.loose[split])) }, weights)
}

/// Where the data plane may go by itself: permitted, undrained places besides, by rings.
pub(crate) fn spill(g: &Ground, split: usize, weights: &[Weight]) -> Vec<Vec<RegionIx>> {
    let mut rings: Vec<(u16, Vec<RegionIx>)> = Vec::new();
    let plan = g.q.state.plan.as_ref().filter(|_| g.rises(g.service_of(split)));
    let standing = plan.and_then(|p| p.split(g.class_of(split), g.group_of(split)));
    let stood =
        |r: &RegionIx| standing.is_none_or(|s| s.share(*r) > Bps::ZERO || s.spill.iter().any(|ring| ring.contains(r)));
    for region in g.ranked(split) {
        let place = g.place(split, *region);
        let open = place.stand != Stand::Empty && place.drain.is_none();
        let fit = !matches!(place.stand, Stand::Out | Stand::Cut)
            && (g.enters(g.service_of(split), *region) || stood(region));
        let alive = fit || g.case[split] == Case::AllDown;
        let carries = weights.iter().any(|w| w.region == *region);
        if !open || !alive || carries || !g.may(split, *region, MoveKind::Safety) {
            continue;
        }
        let ring = g.ring(g.group_of(split), *region);
        match rings.last_mut() {
            Some((last, list)) if *last == ring => list.push(*region),
            _ => rings.push((ring, vec![*region])),
        }
    }
    rings.into_iter().map(|(_, list)| list).collect()
}

/// The whole plan of a ledger. A split whose ledger row did not change keeps its standing weights to the basis point.
pub(crate) fn write(g: &Ground, before: &Ledger, after: &Ledger, rewrite: &[bool]) -> Plan {
    let mut splits = Vec::with_capacity(g.splits());
    for (split, rewrite) in rewrite.iter().enumerate() {
        let (class, group) = (g.class_of(split), g.group_of(split));
        let closed = |serving| ClassSplit { class, group, serving, weights: Vec::new(), spill: Vec::new() };
        splits.push(match g.case[split] {
            Case::WrongJurisdiction => closed(Serving::WrongJurisdiction),
            Case::NoPlace => closed(Serving::NoPlace),
            Case::Open | Case::AllDown => {
                let same =
                    !rewrite && before.row(split) == after.row(split) && before.loose[split] == after.loose[split];
                let old = g.q.state.plan.as_ref().and_then(|p| p.split(class, group)).filter(|_| same);
                let (serving, weights) =
                    old.map_or_else(|| shares(g, after, split), |s| (s.serving, s.weights.clone()));
                let spill = spill(g, split, &weights);
                ClassSplit { class, group, serving, weights, spill }
            }
        });
    }
    let endpoints_out = endpoints_out(g, &splits);
    Plan { fleet: g.q.fleet.revision, splits, endpoints_out }
}

/// Endpoints that are Down beside living siblings, where the plan sends anyone. While a service is doubted, only those
/// that were out already; and one that answers again is not taken out anew. One that was out stays out while nobody can
/// tell what became of it: Unknown holds. But never the last of a place.
fn endpoints_out(g: &Ground, splits: &[ClassSplit]) -> Vec<tidegate_domain::EndpointIx> {
    let f = g.q.fleet;
    let before = g.q.state.plan.as_ref().map(|p| p.endpoints_out.as_slice()).unwrap_or_default();
    if g.all_up && before.is_empty() {
        return Vec::new();
    }
    let mut used = vec![false; f.services.len() * g.regions];
    for s in splits {
        let service = f.classes[s.class.at()].service.at();
        for r in s.weights.iter().map(|w| w.region).chain(s.spill.iter().flatten().copied()) {
            used[service * g.regions + r.at()] = true;
        }
    }
    let is = |i: usize, health: Health| g.health_of(i.into()) == health;
    let out = |i: &usize| before.binary_search(&(*i).into()).is_ok();
    let mut all: Vec<usize> = (0..f.endpoints.len())
        .filter(|i| {
            let e = &f.endpoints[*i];
            let place = g.place_of(e.service, e.region);
            let beside_living = !matches!(place.stand, Stand::Out | Stand::Held | Stand::Empty);
            let answers = g.q.judged.endpoints.get(*i).is_some_and(|h| h.well_since.is_some());
            let acted = !(g.is_held(e.service) || answers) || out(i);
            let goes = is(*i, Health::Down) && acted && beside_living;
            let untold = is(*i, Health::Unknown) || (is(*i, Health::Down) && place.stand == Stand::Held);
            let stays = untold && out(i) && !matches!(place.stand, Stand::Out | Stand::Empty);
            used[e.service.at() * g.regions + e.region.at()] && (goes || stays)
        })
        .collect();
    if all.iter().any(|i| is(*i, Health::Unknown)) {
        let site = |i: usize| f.endpoints[i].service.at() * g.regions + f.endpoints[i].region.at();
        let mut left = vec![0_i64; f.services.len() * g.regions];
        (0..f.endpoints.len()).for_each(|i| left[site(i)] += 1);
        all.iter().for_each(|i| left[site(*i)] -= 1);
        all.retain(|i| is(*i, Health::Down) || left[site(*i)] > 0);
    }
    all.into_iter().map(Into::into).collect()
}

/// The layout that configuration, health and demand ask for, with nothing to move away from but what is pinned: the
/// goal of the economic tier.
pub(crate) fn target(g: &Ground, now: &Ledger) -> Ledger {
    target_for(g, now, Receivers::Goal)
}

/// The same as if no provider's API were in trouble.
pub(crate) fn thawed_target(g: &Ground, now: &Ledger) -> Ledger {
    target_for(g, now, Receivers::Thawed)
}

fn target_for(g: &Ground, now: &Ledger, to: Receivers) -> Ledger {
    let stays = |place: &Place| pinned(&Place { frozen: place.frozen && to != Receivers::Thawed, ..*place });
    let mut goal = Ledger::empty(g);
    let open = || g.sequence.iter().copied();
    for split in open() {
        for region in (0..g.regions).map(RegionIx::from) {
            if now.get(split, region) > 0 && (g.case[split] == Case::AllDown || stays(g.place(split, region))) {
                goal.put(g, split, region, now.get(split, region));
            }
        }
        goal.loose[split] = 10_000 - goal.row(split).iter().sum::<u16>();
    }
    for split in open().filter(|s| g.case[*s] == Case::Open) {
        let pass = |capped| Pass { kind: MoveKind::Economic, capped, to };
        for capped in [true, false] {
            goal.loose[split] -= goal.fill(g, split, goal.loose[split], pass(capped));
        }
        goal.spread(g, split, pass(true));
    }
    goal
}
