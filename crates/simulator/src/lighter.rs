//! What must carry less: places that err or lie, and places that a client group does not reach.
//!
//! Owns the weights as they stood when such a fault began. Refuses to say what is false: that is the watch's.

use crate::faults::{Planned, Side, Whom};
use crate::scenario::{Expect, What};
use crate::units::{MILLI, Nanos, SECOND};
use tidegate_domain::{Fleet, GroupIx, Plan};

/// A place that answers badly.
#[derive(Debug)]
struct Bad {
    whom: Whom,
    from: Nanos,
    to: Nanos,
    /// The sum of its shares when it began.
    carried: Option<u64>,
    lighter: Option<Nanos>,
}

/// A way that is lost.
#[derive(Debug)]
struct Lost {
    whom: Whom,
    group: GroupIx,
    from: Nanos,
    to: Nanos,
    then: Option<Plan>,
    left: Option<Nanos>,
    /// Weights of other groups changed meanwhile.
    others: bool,
}

#[derive(Debug)]
pub(crate) struct Lighter {
    bad: Vec<Bad>,
    lost: Vec<Lost>,
}

/// The sum of the shares of a place, of one group or of all.
fn carried(fleet: &Fleet, plan: &Plan, whom: Whom, group: Option<GroupIx>) -> u64 {
    let splits = plan.splits.iter().filter(|s| group.is_none_or(|g| g == s.group));
    let weights = splits.flat_map(|s| &s.weights).filter(|w| whom.has_region(fleet, w.region));
    weights.map(|w| u64::from(w.share.get())).sum()
}

impl Lighter {
    pub(crate) fn new(all: &[Planned], end: Nanos) -> Self {
        let bad = |f: &Planned| {
            let place = matches!(f.whom, Whom::Provider(_) | Whom::Region(_));
            let ill = matches!(f.fault.what, What::Slow | What::Errs | What::Lies);
            (place && ill).then(|| Bad {
                whom: f.whom,
                from: f.begins,
                to: f.ends.min(end),
                carried: None,
                lighter: None,
            })
        };
        let lost = |f: &Planned| {
            let Some(Side::Group(group)) = f.side else { return None };
            let (from, to) = (f.begins, f.ends.min(end));
            Some(Lost { whom: f.whom, group, from, to, then: None, left: None, others: false })
        };
        Self { bad: all.iter().filter_map(bad).collect(), lost: all.iter().filter_map(lost).collect() }
    }

    /// A fault began or a plan was published.
    pub(crate) fn look(&mut self, fleet: &Fleet, plan: &Plan, now: Nanos) {
        for bad in self.bad.iter_mut().filter(|b| b.lighter.is_none() && (b.from..=b.to).contains(&now)) {
            let carries = carried(fleet, plan, bad.whom, None);
            let then = *bad.carried.get_or_insert(carries);
            bad.lighter = (carries < then).then_some(now);
        }
        for lost in self.lost.iter_mut().filter(|l| (l.from..=l.to).contains(&now)) {
            let then = lost.then.get_or_insert_with(|| plan.clone());
            if lost.left.is_none() && carried(fleet, plan, lost.whom, Some(lost.group)) == 0 {
                lost.left = Some(now);
            }
            let others = plan.splits.iter().filter(|s| s.group != lost.group);
            lost.others |=
                others.into_iter().any(|s| then.split(s.class, s.group).is_none_or(|o| o.weights != s.weights));
        }
    }

    /// From the beginning of each fault that a place with weight has, until it carried less.
    pub(crate) fn times(&self) -> Vec<Nanos> {
        let bad = self.bad.iter().filter_map(|b| Some(b.lighter? - b.from));
        bad.chain(self.lost.iter().filter_map(|l| Some(l.left? - l.from).filter(|t| *t > 0))).collect()
    }

    /// What does not meet the expectations, in sentences.
    pub(crate) fn unmet(&self, fleet: &Fleet, expect: &Expect) -> Vec<String> {
        let mut out = Vec::new();
        let mut say = |whom: Whom, (from, to): (Nanos, Nanos), at: Option<Nanos>, limit: Nanos, what: &str| {
            if to.saturating_sub(from) >= limit && at.is_none_or(|at| at - from > limit) {
                let after = at.map_or("never".to_owned(), |at| format!("after {} ms", (at - from) / MILLI));
                let (name, at, ms) = (whom.name(fleet), from / SECOND, limit / MILLI);
                out.push(format!("{name}, {what} at {at} s, carried less {after}, expected within {ms} ms"));
            }
        };
        if let Some(limit) = expect.lighter_within {
            // What carries nothing cannot carry less.
            for bad in self.bad.iter().filter(|b| b.carried.is_some_and(|c| c > 0)) {
                say(bad.whom, (bad.from, bad.to), bad.lighter, limit.0, "bad");
            }
        }
        if let Some(limit) = expect.path_moved_within {
            for lost in &self.lost {
                say(lost.whom, (lost.from, lost.to), lost.left, limit.0, "lost to one group");
            }
            for lost in self.lost.iter().filter(|l| l.others) {
                let (name, at) = (lost.whom.name(fleet), lost.from / SECOND);
                let group = &fleet.groups[lost.group.at()].name;
                out.push(format!("{name}, lost to {group} at {at} s: the weights of other groups changed too"));
            }
        }
        out
    }
}
