//! Providers' own APIs: which are in trouble, held against which are found to be.
//!
//! Owns the counting. Refuses to say what must stand still meanwhile: that is an invariant, and the checkers'.

use crate::faults::{Planned, Whom};
use crate::scenario::{Expect, What};
use crate::units::{MILLI, Nanos, SECOND};
use crate::watch::Lasted;
use crate::world::World;
use std::collections::BTreeSet;
use tidegate_domain::{Fleet, ProviderIx};

/// What began while an API was in trouble may be found for so long after it.
const LAG: Nanos = 15 * SECOND;

#[derive(Debug)]
struct Trouble {
    provider: ProviderIx,
    from: Nanos,
    to: Nanos,
    found: Option<Nanos>,
}

#[derive(Debug)]
pub(crate) struct Apis {
    troubles: Vec<Trouble>,
    /// As the server finds them now.
    found: BTreeSet<ProviderIx>,
    /// Found in trouble though they were well.
    wrong: u64,
}

impl Apis {
    pub(crate) fn new(all: &[Planned], end: Nanos) -> Self {
        let one = |f: &Planned| match (f.fault.what, f.whom) {
            (What::Api, Whom::Provider(provider)) => {
                Some(Trouble { provider, from: f.begins, to: f.ends.min(end), found: None })
            }
            _ => None,
        };
        Self { troubles: all.iter().filter_map(one).collect(), found: BTreeSet::new(), wrong: 0 }
    }

    /// These are found in trouble now.
    pub(crate) fn look(&mut self, found: BTreeSet<ProviderIx>, now: Nanos) {
        for provider in found.difference(&self.found) {
            let mut own = self.troubles.iter_mut().filter(|t| t.provider == *provider);
            match own.find(|t| (t.from..t.to + LAG).contains(&now)) {
                Some(trouble) => {
                    trouble.found.get_or_insert(now);
                }
                None => self.wrong += 1,
            }
        }
        self.found = found;
    }

    /// Of each trouble, how long it lasted and after how long it was found.
    pub(crate) fn troubles(&self) -> Vec<Lasted> {
        let of = |t: &Trouble| Lasted { lasted: t.to.saturating_sub(t.from), found: t.found.map(|at| at - t.from) };
        self.troubles.iter().map(of).collect()
    }

    /// What does not meet the expectations, in sentences.
    pub(crate) fn unmet(&self, fleet: &Fleet, expect: &Expect) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(most) = expect.false_api_troubles.filter(|most| self.wrong > *most) {
            out.push(format!("{} APIs that were well were found in trouble, expected at most {most}", self.wrong));
        }
        let Some(limit) = expect.api_told_within else { return out };
        let late = |l: &Lasted| l.lasted >= limit.0 && l.found.is_none_or(|after| after > limit.0);
        for (trouble, lasted) in self.troubles.iter().zip(self.troubles()).filter(|(_, l)| late(l)) {
            let after = lasted.found.map_or("never".to_owned(), |after| format!("after {} ms", after / MILLI));
            let (name, at) = (&fleet.providers[trouble.provider.at()].name, trouble.from / SECOND);
            let ms = limit.0 / MILLI;
            out.push(format!("the API of {name}, in trouble at {at} s, was found so {after}, expected within {ms} ms"));
        }
        out
    }
}

impl World {
    /// Findings changed.
    pub(crate) fn findings(&mut self) {
        let Some(model) = self.server.controller.model() else { return };
        let found = model.state.apis.iter().map(|t| t.provider).collect();
        self.watch.apis.look(found, self.now);
    }
}
