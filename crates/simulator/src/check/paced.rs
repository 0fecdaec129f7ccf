//! I9, I10, I13, I16: what a decision moves that nobody was forced to move, held against the rules, and against when the
//! class moved before. A provider whose own API is in trouble is changed by nobody but for safety: that is I9 too.

use super::Evidence;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_domain::{
    Bps, ClassIx, ClassSplit, CycleInput, Fleet, GroupIx, Mono, MoveKind, Plan, ProviderIx, RegionIx, Serving,
    TargetState, Vantage,
};

/// Shares of a demand that is partly shed are rounded; so much of it may be over the cap.
const ROUNDING: u64 = 40;
/// Steps of one economic move follow each other within this many settle times.
const ONE_RAMP: u64 = 6;

/// Kinds of the moves that a decision has on record.
pub type Kinds = BTreeMap<(ClassIx, GroupIx), MoveKind>;

/// When classes moved.
#[derive(Debug, Clone, Default)]
pub struct Paced {
    /// The newest move of a class, of any kind.
    moved: BTreeMap<ClassIx, Mono>,
    /// The newest step of an economic move of a class.
    economic: BTreeMap<ClassIx, Mono>,
}

/// The part of a split's demand that `region` carries, in hundred-millionths.
fn part(split: &ClassSplit, region: RegionIx) -> u64 {
    let shed = if let Serving::Routed { shed } = split.serving { u64::from(shed.get()) } else { 0 };
    u64::from(split.share(region).get()) * (10_000 - shed)
}

/// A split that a decision changes.
struct Change<'a> {
    old: &'a ClassSplit,
    new: &'a ClassSplit,
    /// None: the record names no move of it.
    kind: Option<MoveKind>,
}

impl Paced {
    /// Takes a decision: its input, the plan before and after, and the moves that it has on record.
    ///
    /// # Errors
    /// With everything in it that may not be.
    pub fn decided(
        &mut self,
        input: &CycleInput,
        before: &Plan,
        after: &Plan,
        kinds: &Kinds,
    ) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        let mut changes = Vec::new();
        for new in &after.splits {
            let old =
                before.split(new.class, new.group).filter(|o| o.weights != new.weights || o.serving != new.serving);
            let kind = kinds.get(&(new.class, new.group)).copied();
            changes.extend(old.map(|old| Change { old, new, kind }));
        }
        for change in &changes {
            self.judge(input, change, &mut faults);
        }
        for change in &changes {
            self.moved.insert(change.new.class, input.now);
            if change.kind == Some(MoveKind::Economic) {
                self.economic.insert(change.new.class, input.now);
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn judge(&self, input: &CycleInput, change: &Change<'_>, faults: &mut Vec<String>) {
        let (fleet, class) = (&*input.fleet, change.new.class);
        let name = format!("{} at {}", fleet.class_name(class), fleet.groups[change.new.group.at()].name);
        let mut say = |invariant: &str, what: &str| faults.push(format!("{invariant}: {name}: {what}"));
        let Some(kind) = change.kind else { return say("I9", "moves, and no move of it is on record") };
        if kind == MoveKind::Safety {
            return;
        }
        let (rules, wall, now) = (&fleet.rules, input.view.wall, input.now);
        if shifted(fleet, change) > cap(rules.share_cap, change) {
            say("I9", &format!("a {} step above the share cap", kind.word()));
        }
        let moved = self.moved.get(&class).copied();
        if moved.is_some_and(|at| at + rules.settle > now) {
            say("I9", &format!("a {} step before the last move has settled", kind.word()));
        }
        let on = change.new.weights.len();
        if on < change.old.weights.len() && on < usize::from(rules.min_regions_on) {
            say("I9", &format!("{on} regions stay on, the rules keep {}", rules.min_regions_on));
        }
        let frozen = rules.freeze.iter().any(|f| f.from <= wall && wall < f.until);
        if frozen {
            let invariant = if kind == MoveKind::Economic { "I16" } else { "I9" };
            say(invariant, &format!("a {} move in a freeze window", kind.word()));
        }
        for region in (0..fleet.regions.len()).map(RegionIx::from) {
            if change.new.share(region) != change.old.share(region) && api_troubled(input, fleet.provider_of(region)) {
                let place = &fleet.regions[region.at()].name;
                say("I9", &format!("a {} step at {place}, whose provider's API is in trouble", kind.word()));
            }
        }
        if kind == MoveKind::Economic {
            if !input.view.intents.automation.economic.is_on(wall) {
                say("I9", "an economic move while automation is off for it");
            }
            self.economic(input, change, moved, &mut say);
        }
    }

    fn economic(&self, input: &CycleInput, change: &Change<'_>, moved: Option<Mono>, say: &mut impl FnMut(&str, &str)) {
        let (fleet, now) = (&*input.fleet, input.now);
        let settle = fleet.rules.settle;
        let last = self.economic.get(&change.new.class).copied();
        let goes_on = last.is_some_and(|at| now.since(at).0 <= ONE_RAMP * settle.0);
        if !goes_on && moved.is_some_and(|at| at + fleet.rules.min_residency > now) {
            say("I10", "an economic move within minimum residency of the class's last move");
        }
        let failing = BTreeSet::new();
        let evidence = Evidence { reports: &input.view.reports, now, failing: &failing, cut_off: &[] };
        for region in (0..fleet.regions.len()).map(RegionIx::from) {
            let gains = part(change.new, region) > part(change.old, region);
            if gains && !evidence.seen_serving(fleet, region) {
                let place = &fleet.regions[region.at()].name;
                say("I13", &format!("an economic move to {place}, of which no quorum knows anything fresh and good"));
            }
        }
    }
}

/// Whether a quorum of those outside the provider sees its own API failing, or a person says so.
fn api_troubled(input: &CycleInput, provider: ProviderIx) -> bool {
    let (fleet, view) = (&*input.fleet, &input.view);
    let word = view.intents.api_words.iter().find(|w| w.provider == provider && view.wall < w.until);
    if let Some(word) = word {
        return word.trouble;
    }
    let Some(api) = fleet.apis.iter().position(|a| a.provider == provider) else { return false };
    let evidence =
        Evidence { reports: &view.reports, now: input.now, failing: &BTreeSet::new(), cut_off: &input.state.cut_off };
    let ask: Vec<usize> = tidegate_kernel::health::asks_api(fleet, provider).into_iter().map(|v| v.at()).collect();
    evidence.probers_see_failing(fleet, fleet.endpoints.len() + api, &ask, &|_| true)
}

/// What changes its place, in hundred-millionths of the demand.
fn shifted(fleet: &Fleet, change: &Change<'_>) -> u64 {
    let gain = |r: RegionIx| part(change.new, r).saturating_sub(part(change.old, r));
    (0..fleet.regions.len()).map(RegionIx::from).map(gain).sum()
}

fn cap(cap: Bps, change: &Change<'_>) -> u64 {
    let sheds = |s: &ClassSplit| matches!(s.serving, Serving::Routed { shed } if shed > Bps::ZERO);
    let slack = if sheds(change.old) || sheds(change.new) { ROUNDING } else { 0 };
    (u64::from(cap.get()) + slack) * 10_000
}

impl Evidence<'_> {
    /// Half of the electorate may vote, and two thirds of these see some endpoint of the region answer.
    fn seen_serving(&self, fleet: &Fleet, region: RegionIx) -> bool {
        let outside = |v: &Vantage| v.region != region;
        let assigned = super::assigned(fleet, region);
        let (mut electorate, mut eligible, mut answers) = (0, 0, 0);
        for v in assigned.into_iter().filter(|v| outside(&fleet.vantages[*v])) {
            electorate += 1;
            let Some(report) = self.voter(fleet, v) else { continue };
            eligible += 1;
            let ends = (0..fleet.endpoints.len()).filter(|e| fleet.endpoints[*e].region == region);
            let seen = |e: usize| matches!(report.targets.get(e), Some(TargetState::Ok | TargetState::Slow));
            answers += usize::from(ends.into_iter().any(seen));
        }
        eligible * 2 >= electorate && answers * 3 >= eligible * 2 && answers > 0
    }
}

#[cfg(test)]
#[path = "paced_tests.rs"]
mod tests;
