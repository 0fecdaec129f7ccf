//! Vantage reports on arrival: the newest per vantage, under a revision that is known.

use crate::input::ReportIn;
use crate::latency::FirstFailing;
use std::collections::BTreeMap;
use tidegate_domain::{Fleet, Mono, Name, ProviderApi, Revision, RttClass, TargetState, VantageIx, VantageReport};

/// Why a report was not used. Counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unused {
    /// No such vantage is configured.
    UnknownVantage,
    /// Not newer than what is held.
    Old,
    /// Of a revision that is neither this one nor the one before.
    UnknownRevision,
    /// More targets than that revision has.
    Absurd,
}

/// How the indexes of the revision before map onto this one's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    revision: Revision,
    /// Old target index to new one; none where the endpoint is gone or has moved, or the API is asked otherwise.
    to_new: Vec<Option<usize>>,
}

impl Mapping {
    /// By name, and only where the endpoint is still the same address of the same place: a moved one must be seen anew.
    pub(crate) fn between(old: &Fleet, new: &Fleet) -> Self {
        let place: BTreeMap<&Name, usize> = new.endpoints.iter().enumerate().map(|(i, e)| (&e.name, i)).collect();
        let to_new = old.endpoints.iter().map(|e| {
            let at = *place.get(&e.name)?;
            let n = &new.endpoints[at];
            let same_region = old.regions[e.region.at()].name == new.regions[n.region.at()].name;
            (same_region && e.host == n.host && e.port == n.port).then_some(at)
        });
        let apis = old.apis.iter().map(|a| {
            let provider = new.provider(&old.providers[a.provider.at()].name)?;
            let at = new.apis.iter().position(|n| ProviderApi { provider, ..a.clone() } == *n)?;
            Some(new.endpoints.len() + at)
        });
        Self { revision: old.revision, to_new: to_new.chain(apis).collect() }
    }

    fn apply<T: Copy + Default>(&self, old: &[T], len: usize) -> Vec<T> {
        let mut new = vec![T::default(); len];
        for (value, to) in old.iter().zip(&self.to_new) {
            if let Some(to) = to {
                new[*to] = *value;
            }
        }
        new
    }
}

/// The newest report per vantage.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pub(crate) newest: Vec<Option<VantageReport>>,
    pub(crate) unused: BTreeMap<Unused, u64>,
    /// Since when endpoints fail for somebody.
    pub(crate) failing: FirstFailing,
    before: Option<Mapping>,
}

impl Reports {
    /// Starts over for `new`; reports of `old` go on to count, mapped, until its successor's come in.
    pub(crate) fn turn(&mut self, old: Option<&Fleet>, new: &Fleet) {
        self.newest = old.map_or_else(|| vec![None; new.vantages.len()], |old| self.turned(old, new));
        self.before = old.map(|old| Mapping::between(old, new));
        self.failing.turn(&self.newest);
    }

    /// What is known, in the indexes of `new`.
    pub(crate) fn turned(&self, old: &Fleet, new: &Fleet) -> Vec<Option<VantageReport>> {
        let mapping = Mapping::between(old, new);
        let mut newest = vec![None; new.vantages.len()];
        for (report, vantage) in self.newest.iter().zip(&old.vantages) {
            let Some(at) = new.vantage(&vantage.name) else { continue };
            newest[at.at()] = report.as_ref().map(|r| VantageReport {
                vantage: at,
                revision: new.revision,
                targets: mapping.apply(&r.targets, new.targets()),
                rtt: mapping.apply(&r.rtt, new.targets()),
                ..r.clone()
            });
        }
        newest
    }

    /// Takes a report; the reason when it is of no use.
    pub(crate) fn take(&mut self, fleet: &Fleet, report: ReportIn, arrived: Mono) -> Result<VantageIx, Unused> {
        let taken = self.place(fleet, report, arrived);
        if let Err(unused) = taken {
            *self.unused.entry(unused).or_default() += 1;
        }
        taken
    }

    fn place(&mut self, fleet: &Fleet, report: ReportIn, arrived: Mono) -> Result<VantageIx, Unused> {
        let vantage = Name::new(&report.vantage).ok().and_then(|n| fleet.vantage(&n)).ok_or(Unused::UnknownVantage)?;
        if let Some(held) = &self.newest[vantage.at()]
            && (held.incarnation, held.sequence) >= (report.incarnation, report.sequence)
        {
            return Err(Unused::Old);
        }
        let count = fleet.targets();
        let (targets, rtt) = if report.revision == fleet.revision.short() {
            (fit(report.targets, count)?, fit(report.rtt, count)?)
        } else {
            let mapping = self.before.as_ref().filter(|m| m.revision.short() == report.revision);
            let mapping = mapping.ok_or(Unused::UnknownRevision)?;
            let old_count = mapping.to_new.len();
            let (targets, rtt): (Vec<TargetState>, Vec<RttClass>) =
                (fit(report.targets, old_count)?, fit(report.rtt, old_count)?);
            (mapping.apply(&targets, count), mapping.apply(&rtt, count))
        };
        let report = VantageReport {
            vantage,
            incarnation: report.incarnation,
            sequence: report.sequence,
            revision: fleet.revision,
            arrived,
            own: report.own,
            targets,
            rtt,
        };
        let slot = &mut self.newest[vantage.at()];
        self.failing.take(slot.as_ref(), &report);
        *slot = Some(report);
        Ok(vantage)
    }
}

fn fit<T: Copy + Default>(mut values: Vec<T>, count: usize) -> Result<Vec<T>, Unused> {
    if values.len() > count {
        return Err(Unused::Absurd);
    }
    values.resize(count, T::default());
    Ok(values)
}
