//! What may never be, as plain functions over what was said: each returns the fault in words. They derive everything anew
//! from the fleet, and share no code with the rooms that they watch.

use std::collections::BTreeSet;
use tidegate_domain::{
    Accused, Alarm, CutOff, CycleInput, CycleOutput, Endpoint, Fleet, Health, Mono, Plan, ProviderIx, Region, RegionIx,
    ServiceIx, Serving, TargetState, Vantage, VantageReport, Verdict,
};
use tidegate_record::{BlobHash, CommittedPlan, Entry, EntryBody, Link, replay, verify_chain_from};

/// I2: a generation only rises.
///
/// # Errors
/// Where it falls.
pub fn rises(last: Option<u64>, next: u64) -> Result<(), String> {
    match last {
        Some(last) if next < last => Err(format!("I2: generation {next} was published after {last}")),
        _ => Ok(()),
    }
}

/// I6: no weight and no spill outside the permitted set, and nothing for a group under the wrong law.
///
/// # Errors
/// With the first that is.
pub fn permitted(fleet: &Fleet, plan: &Plan) -> Result<(), String> {
    for split in &plan.splits {
        for region in split.weights.iter().map(|w| w.region).chain(split.spill.iter().flatten().copied()) {
            if !fleet.permits(split.class, region) || !fleet.permits_group(split.class, split.group) {
                let (class, place) = (fleet.class_name(split.class), &fleet.regions[region.at()].name);
                return Err(format!("I6: {class} at {place} for {}", fleet.groups[split.group.at()].name));
            }
        }
    }
    Ok(())
}

/// I8: no region above its safe utilisation by our weights at declared demand; not judged in all-down.
///
/// # Errors
/// With the first that is.
pub fn within_limits(fleet: &Fleet, plan: &Plan, alarms: &[Alarm]) -> Result<(), String> {
    if alarms.iter().any(|a| matches!(a, Alarm::AllDown { .. })) {
        return Ok(());
    }
    let mut load = vec![0_u64; fleet.regions.len()];
    for split in &plan.splits {
        let shed = if let Serving::Routed { shed } = split.serving { u64::from(shed.get()) } else { 0 };
        let demand = fleet.demand(split.class, split.group).0 * (10_000 - shed) / 10_000;
        for weight in &split.weights {
            load[weight.region.at()] += weight.share.of(demand);
        }
    }
    let limit = |r: &Region| r.safe_utilisation.of(r.capacity.0);
    match fleet.regions.iter().zip(&load).find(|(r, load)| **load > limit(r)) {
        Some((r, load)) => Err(format!("I8: {} carries {load} mrps, its limit is {}", r.name, limit(r))),
        None => Ok(()),
    }
}

/// I14: no class that may be served somewhere at a group loses its routes.
///
/// # Errors
/// With the first that does.
pub fn routes_stay(fleet: &Fleet, before: &Plan, after: &Plan) -> Result<(), String> {
    for old in before.splits.iter().filter(|s| matches!(s.serving, Serving::Routed { .. })) {
        let new = after.split(old.class, old.group);
        let stays = new.is_some_and(|n| matches!(n.serving, Serving::Routed { .. }) && !n.weights.is_empty());
        if !stays {
            let (class, group) = (fleet.class_name(old.class), &fleet.groups[old.group.at()].name);
            return Err(format!("I14: {class} at {group} has no routes any more"));
        }
    }
    Ok(())
}

/// What the server knew when it judged: the newest report per vantage, and when.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// By vantage index.
    pub reports: &'a [Option<VantageReport>],
    /// By the server's clock.
    pub now: Mono,
    /// Services in regions where at least half of the requests failed that edges reported lately.
    pub failing: &'a BTreeSet<(ServiceIx, RegionIx)>,
    /// Probers that were told to be cut off: their votes do not count.
    pub cut_off: &'a [CutOff],
}

impl Evidence<'_> {
    /// The report of a vantage that may vote: fresh, of this revision, connected to two networks, without doubt of itself.
    fn voter(&self, fleet: &Fleet, vantage: usize) -> Option<&VantageReport> {
        let fresh =
            |r: &&VantageReport| self.now <= r.arrived + fleet.rules.report_fresh && r.revision == fleet.revision;
        let fit =
            |r: &&VantageReport| r.own.references_reached >= 2 && r.own.reference_networks >= 2 && !r.own.self_doubt;
        let heard = |r: &&VantageReport| !self.cut_off.iter().any(|c| c.vantage == r.vantage);
        self.reports.get(vantage)?.as_ref().filter(fresh).filter(fit).filter(heard)
    }

    /// Half of the configured vantages `outside` that probe the endpoint's region may vote, two thirds of these see it fail,
    /// from two providers; and of all vantages `outside`, half may vote.
    fn seen_failing(&self, fleet: &Fleet, endpoint: usize, outside: &impl Fn(&Vantage) -> bool) -> bool {
        let probers = assigned(fleet, fleet.endpoints[endpoint].region);
        self.is_heard(fleet, outside) && self.probers_see_failing(fleet, endpoint, &probers, outside)
    }

    /// Whether half of all configured vantages `outside` may vote.
    fn is_heard(&self, fleet: &Fleet, outside: &impl Fn(&Vantage) -> bool) -> bool {
        let all: Vec<usize> = (0..fleet.vantages.len()).filter(|v| outside(&fleet.vantages[*v])).collect();
        all.iter().filter(|v| self.voter(fleet, **v).is_some()).count() * 2 >= all.len()
    }

    fn probers_see_failing(
        &self,
        fleet: &Fleet,
        target: usize,
        probers: &[usize],
        outside: &impl Fn(&Vantage) -> bool,
    ) -> bool {
        let (mut electorate, mut eligible, mut agree, mut from) = (0, 0, 0, BTreeSet::new());
        for v in probers.iter().filter(|v| outside(&fleet.vantages[**v])) {
            electorate += 1;
            let Some(report) = self.voter(fleet, *v) else { continue };
            eligible += 1;
            if report.targets.get(target) == Some(&TargetState::Failing) {
                agree += 1;
                from.insert(fleet.provider_of(fleet.vantages[*v].region));
            }
        }
        eligible * 2 >= electorate && agree * 3 >= eligible * 2 && from.len() >= 2
    }

    /// 60 % of a region's endpoints fail, of two services where it has two.
    fn region_fails(&self, fleet: &Fleet, region: RegionIx, outside: &impl Fn(&Vantage) -> bool) -> bool {
        if !self.is_heard(fleet, outside) {
            return false;
        }
        let probers = assigned(fleet, region);
        let of = (0..fleet.endpoints.len()).filter(|e| fleet.endpoints[*e].region == region);
        let (mut all, mut bad, mut services, mut hit) = (0, 0, BTreeSet::new(), BTreeSet::new());
        for endpoint in of {
            all += 1;
            services.insert(fleet.endpoints[endpoint].service);
            if self.probers_see_failing(fleet, endpoint, &probers, outside) {
                bad += 1;
                hit.insert(fleet.endpoints[endpoint].service);
            }
        }
        all > 0 && bad * 10 >= all * 6 && hit.len() >= services.len().min(2)
    }

    fn provider_fails(&self, fleet: &Fleet, provider: ProviderIx) -> bool {
        let outside = |v: &Vantage| fleet.provider_of(v.region) != provider;
        let serving: BTreeSet<RegionIx> =
            fleet.endpoints.iter().map(|e| e.region).filter(|r| fleet.provider_of(*r) == provider).collect();
        let bad = serving.iter().filter(|r| self.region_fails(fleet, **r, &outside)).count();
        bad >= 2 || (bad > 0 && bad == serving.len())
    }
}

/// I15: a Down verdict by the rule of the electorate, judged anew from the reports: that of the region's probers, and half of
/// the whole fleet is heard (with up to nine vantages everybody probes everything, and that is one rule). A region of a provider that is down, and an endpoint of a region that is, are down with it; so is
/// an endpoint whose service fails the edges' own requests there.
///
/// # Errors
/// Where the reports do not bear it out.
pub fn by_the_rule(fleet: &Fleet, verdict: &Verdict, evidence: Evidence<'_>) -> Result<(), String> {
    if verdict.health != Health::Down {
        return Ok(());
    }
    let region_fails = |region: RegionIx| {
        let outside = |v: &Vantage| v.region != region;
        evidence.region_fails(fleet, region, &outside) || evidence.provider_fails(fleet, fleet.provider_of(region))
    };
    let borne_out = match verdict.accused {
        Accused::Provider(p) => evidence.provider_fails(fleet, p),
        Accused::Region(r) => region_fails(r),
        Accused::Endpoint(e) => {
            let Endpoint { service, region, .. } = fleet.endpoints[e.at()];
            let outside = |v: &Vantage| v.region != region;
            evidence.failing.contains(&(service, region))
                || evidence.seen_failing(fleet, e.at(), &outside)
                || region_fails(region)
        }
    };
    let name = fleet.accused_name(verdict.accused);
    if borne_out { Ok(()) } else { Err(format!("I15: {name} is called down, and the reports do not bear it out")) }
}

/// Up to nine vantages, where everybody probes everything; in larger fleets, those of the region's electorate.
fn assigned(fleet: &Fleet, region: RegionIx) -> Vec<usize> {
    tidegate_kernel::health::assigned(fleet, region).into_iter().map(|v| v.at()).collect()
}

/// I11: what is published is what is committed.
///
/// # Errors
/// Where it is not.
pub fn is_committed(committed: Option<&CommittedPlan>, generation: u64, plan: &Plan) -> Result<(), String> {
    match committed {
        Some(c) if c.generation == generation && c.plan == *plan => Ok(()),
        _ => Err(format!("I11: generation {generation} was published and is not what is committed")),
    }
}

/// I12: the journal is one chain from its beginning to `end`, and every decision in it replays by `run` to the bytes on
/// record. How many decisions.
///
/// # Errors
/// With what does not hold.
pub fn replays(
    entries: &[Entry],
    end: Link,
    blob: impl Fn(BlobHash) -> Option<Vec<u8>>,
    run: impl Fn(&CycleInput) -> CycleOutput,
) -> Result<u64, String> {
    let last = verify_chain_from(Link::default(), entries).map_err(|e| format!("I12: {e}"))?;
    if last != end {
        return Err(format!("I12: the chain ends at {}, the head says {}", last.sequence, end.sequence));
    }
    let mut count = 0;
    for entry in entries {
        let EntryBody::Decision(decision) = &entry.body else { continue };
        let outcome = replay(decision, &blob, tidegate_kernel::VERSION, &run).map_err(|e| format!("I12: {e}"))?;
        if !outcome.same {
            return Err(format!("I12: decision {} replays to other bytes", decision.id));
        }
        count += 1;
    }
    Ok(count)
}

pub mod paced;
#[cfg(test)]
mod tests;
