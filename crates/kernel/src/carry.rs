//! The way of memory and plan into a new fleet revision, by names.
//!
//! Owns the mapping. Refuses to plan: a removed region loses its weight in proportion, everything else is left to the
//! next cycle, which vacates what is no longer lawful.

use std::collections::BTreeMap;
use tidegate_domain::{
    ApiTrouble, Blame, ClassIx, ClassSplit, CutOff, Displaced, EndpointIx, Fleet, Followed, GroupIx, Mono, Partition,
    PathFailure, PathFrom, Plan, ProviderIx, Ramp, Received, RegionIx, ServiceIx, Serving, State, SuspectedPath,
    Unheard, VantageIx, Weight, WeightSnapshot, apportion,
};

struct Names {
    regions: Vec<Option<RegionIx>>,
    providers: Vec<Option<ProviderIx>>,
    classes: Vec<Option<ClassIx>>,
    groups: Vec<Option<GroupIx>>,
    endpoints: Vec<Option<EndpointIx>>,
    vantages: Vec<Option<VantageIx>>,
    services: Vec<Option<ServiceIx>>,
}

/// For each old thing the new index of the same name.
fn by_name<K: Ord, I: From<usize> + Copy>(
    old: impl Iterator<Item = K>,
    new: impl Iterator<Item = K>,
) -> Vec<Option<I>> {
    let new: BTreeMap<K, usize> = new.enumerate().map(|(i, k)| (k, i)).collect();
    old.map(|k| new.get(&k).map(|i| I::from(*i))).collect()
}

impl Names {
    fn new(old: &Fleet, new: &Fleet) -> Self {
        fn class_keys(f: &Fleet) -> impl Iterator<Item = (&tidegate_domain::Name, &tidegate_domain::Name)> {
            f.classes.iter().map(|c| (&f.services[c.service.at()].name, &c.name))
        }
        /// An endpoint that moved to another region or service is another endpoint.
        fn endpoint_keys(f: &Fleet) -> impl Iterator<Item = (&tidegate_domain::Name, String)> {
            f.endpoints.iter().map(|e| {
                let place = &f.regions[e.region.at()].name;
                (&e.name, format!("{place} {} {}:{}", f.services[e.service.at()].name, e.host, e.port))
            })
        }
        Self {
            regions: by_name(old.regions.iter().map(|r| &r.name), new.regions.iter().map(|r| &r.name)),
            providers: by_name(old.providers.iter().map(|p| &p.name), new.providers.iter().map(|p| &p.name)),
            classes: by_name(class_keys(old), class_keys(new)),
            groups: by_name(old.groups.iter().map(|g| &g.name), new.groups.iter().map(|g| &g.name)),
            endpoints: by_name(endpoint_keys(old), endpoint_keys(new)),
            services: by_name(old.services.iter().map(|s| &s.name), new.services.iter().map(|s| &s.name)),
            vantages: by_name(old.vantages.iter().map(|v| &v.name), new.vantages.iter().map(|v| &v.name)),
        }
    }
}

fn found<I: Copy>(map: &[Option<I>], at: usize) -> Option<I> {
    map.get(at).copied().flatten()
}

/// Maps the memory of one revision onto another, by the names of providers, regions, services, classes, groups and
/// endpoints. What is new is Unknown and unplanned; what is gone is dropped at once. The weights of every split that
/// remains are a valid plan: above zero, summing to 10,000.
#[must_use]
pub fn carry_over(old: &Fleet, state: &State, new: &Fleet) -> State {
    let names = Names::new(old, new);
    let endpoints = placed(|i| Some(found(&names.endpoints, i)?.at()), &state.endpoints, new.endpoints.len());
    let regions = placed(|i| Some(found(&names.regions, i)?.at()), &state.regions, new.regions.len());
    let providers = placed(|i| Some(found(&names.providers, i)?.at()), &state.providers, new.providers.len());
    let moments = |each: &[Option<Mono>]| placed(|i| Some(found(&names.classes, i)?.at()), each, new.classes.len());
    let snapshot = |s: &WeightSnapshot| WeightSnapshot { at: s.at, plan: plan(&names, new, &s.plan) };
    let downs = state.recent_downs.iter();
    let mut recent_downs: Vec<(EndpointIx, Mono)> =
        downs.filter_map(|(e, at)| Some((found(&names.endpoints, e.at())?, *at))).collect();
    recent_downs.sort();
    let mut returning: Vec<RegionIx> = state.returning.iter().filter_map(|r| found(&names.regions, r.at())).collect();
    returning.sort();
    let ramps = ramps(&names, &state.ramps);
    let mut displaced: Vec<Displaced> = state
        .displaced
        .iter()
        .filter_map(|d| {
            let (class, group) = (found(&names.classes, d.class.at())?, found(&names.groups, d.group.at())?);
            Some(Displaced { class, group, region: found(&names.regions, d.region.at())?, share: d.share })
        })
        .collect();
    displaced.sort();
    let (cut_off, paths, blamed) = besides(&names, state);
    let (suspected_paths, unheard) = awaited(&names, state);
    let (received, followed) = left(&names, state);
    State {
        endpoints,
        regions,
        providers,
        recent_downs,
        plan: state.plan.as_ref().map(|p| plan(&names, new, p)),
        before_downs: state.before_downs.iter().map(snapshot).collect(),
        ramps,
        moved: moments(&state.moved),
        forced: moments(&state.forced),
        returning,
        displaced,
        cut_off,
        paths,
        blamed,
        apis: apis(&names, &state.apis),
        partition: state.partition.as_ref().map(|p| partition(&names, p)),
        suspected_paths,
        unheard,
        received,
        followed,
    }
}

/// Each of `old` where its name is now; what is new is as by default.
fn placed<T: Clone + Default>(to: impl Fn(usize) -> Option<usize>, old: &[T], count: usize) -> Vec<T> {
    let mut placed = vec![T::default(); count];
    for (i, value) in old.iter().enumerate() {
        if let Some(to) = to(i) {
            placed[to] = value.clone();
        }
    }
    placed
}

/// What no longer holds (a provider that is not probed any more) ends with the next judgement.
fn apis(names: &Names, old: &[ApiTrouble]) -> Vec<ApiTrouble> {
    let one = |t: &ApiTrouble| Some(ApiTrouble { provider: found(&names.providers, t.provider.at())?, ..t.clone() });
    let mut apis: Vec<ApiTrouble> = old.iter().filter_map(one).collect();
    apis.sort();
    apis
}

fn ramps(names: &Names, old: &[Ramp]) -> Vec<Ramp> {
    let mut ramps: Vec<Ramp> = old
        .iter()
        .filter_map(|r| {
            let (class, group) = (found(&names.classes, r.class.at())?, found(&names.groups, r.group.at())?);
            Some(Ramp { class, group, ..*r })
        })
        .collect();
    ramps.sort_by_key(|r| (r.class, r.group));
    ramps
}

/// What was found besides verdicts.
fn besides(names: &Names, state: &State) -> (Vec<CutOff>, Vec<PathFailure>, Vec<Blame>) {
    let cut = |c: &CutOff| Some(CutOff { vantage: found(&names.vantages, c.vantage.at())?, ..*c });
    let mut cut_off: Vec<CutOff> = state.cut_off.iter().filter_map(cut).collect();
    cut_off.sort();
    let mut paths: Vec<PathFailure> = state.paths.iter().filter_map(|p| path(names, p)).collect();
    paths.sort();
    let blame = |b: &Blame| {
        let (service, region) = (found(&names.services, b.service.at())?, found(&names.regions, b.region.at())?);
        Some(Blame { service, region, ..*b })
    };
    let mut blamed: Vec<Blame> = state.blamed.iter().filter_map(blame).collect();
    blamed.sort();
    (cut_off, paths, blamed)
}

/// What waits for more to be heard.
fn awaited(names: &Names, state: &State) -> (Vec<SuspectedPath>, Vec<Unheard>) {
    let suspect = |p: &SuspectedPath| {
        let (from, to) = (side(names, p.from)?, found(&names.regions, p.to.at())?);
        Some(SuspectedPath { from, to, since: p.since })
    };
    let mut suspected_paths: Vec<SuspectedPath> = state.suspected_paths.iter().filter_map(suspect).collect();
    suspected_paths.sort();
    let quiet = |u: &Unheard| Some(Unheard { provider: found(&names.providers, u.provider.at())?, until: u.until });
    let mut unheard: Vec<Unheard> = state.unheard.iter().filter_map(quiet).collect();
    unheard.sort();
    (suspected_paths, unheard)
}

/// Who took what left a blamed place, and what came along.
fn left(names: &Names, state: &State) -> (Vec<Received>, Vec<Followed>) {
    let ends =
        |from: RegionIx, to: RegionIx| Some((found(&names.regions, from.at())?, found(&names.regions, to.at())?));
    let took = |r: &Received| {
        let ((from, to), service) = (ends(r.from, r.to)?, found(&names.services, r.service.at())?);
        Some(Received { service, from, to, ..*r })
    };
    let mut received: Vec<Received> = state.received.iter().filter_map(took).collect();
    received.sort();
    let came = |f: &Followed| {
        let ((from, to), service) = (ends(f.from, f.to)?, found(&names.services, f.service.at())?);
        Some(Followed { service, from, to, ..*f })
    };
    let mut followed: Vec<Followed> = state.followed.iter().filter_map(came).collect();
    followed.sort();
    (received, followed)
}

fn partition(names: &Names, p: &Partition) -> Partition {
    let mut lost: Vec<VantageIx> = p.lost.iter().filter_map(|v| found(&names.vantages, v.at())).collect();
    lost.sort();
    Partition { since: p.since, lost }
}

fn path(names: &Names, p: &PathFailure) -> Option<PathFailure> {
    Some(PathFailure { from: side(names, p.from)?, to: found(&names.regions, p.to.at())?, ..*p })
}

fn side(names: &Names, from: PathFrom) -> Option<PathFrom> {
    Some(match from {
        PathFrom::Group(g) => PathFrom::Group(found(&names.groups, g.at())?),
        PathFrom::Provider(p) => PathFrom::Provider(found(&names.providers, p.at())?),
    })
}

fn plan(names: &Names, new: &Fleet, old: &Plan) -> Plan {
    let mut splits: Vec<ClassSplit> = old.splits.iter().filter_map(|s| split(names, s)).collect();
    splits.sort_by_key(|s| (s.class, s.group));
    let mut out: Vec<EndpointIx> = old.endpoints_out.iter().filter_map(|e| found(&names.endpoints, e.at())).collect();
    out.sort();
    Plan { fleet: new.revision, splits, endpoints_out: out }
}

/// None where class or group are gone, or every region that carried is: the next cycle plans it afresh.
fn split(names: &Names, s: &ClassSplit) -> Option<ClassSplit> {
    let (class, group) = (found(&names.classes, s.class.at())?, found(&names.groups, s.group.at())?);
    let Serving::Routed { .. } = s.serving else {
        return Some(ClassSplit { class, group, serving: s.serving, weights: Vec::new(), spill: Vec::new() });
    };
    let mut kept: Vec<(RegionIx, u64)> = s
        .weights
        .iter()
        .filter_map(|w| Some((found(&names.regions, w.region.at())?, u64::from(w.share.get()))))
        .collect();
    kept.sort();
    let shares = apportion(&kept.iter().map(|k| k.1).collect::<Vec<_>>());
    let weights: Vec<Weight> =
        kept.iter().zip(shares).map(|((region, _), share)| Weight { region: *region, share }).collect();
    if weights.is_empty() {
        return None;
    }
    let ring = |ring: &Vec<RegionIx>| ring.iter().filter_map(|r| found(&names.regions, r.at())).collect::<Vec<_>>();
    let spill = s.spill.iter().map(ring).filter(|r| !r.is_empty()).collect();
    Some(ClassSplit { class, group, serving: s.serving, weights, spill })
}
