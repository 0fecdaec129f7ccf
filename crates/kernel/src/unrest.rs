//! What is still moving: until that has settled, nothing begins that would go where it moves.
//!
//! Owns who disturbs whom: by class and by receiving region, never by the fleet as a whole. Refuses to decide what is
//! worth a move.

use crate::cycle::Work;
use crate::pace::{drained, is_ramping};
use crate::place::Ground;
use tidegate_domain::{Millis, Mono, MoveKind, RegionIx, Wall};

/// A drain or a return that a person asked for waits for others at most so many settle times.
const PATIENCE: u64 = 3;

/// What has moved within the settle time, and what is about to.
#[derive(Debug)]
pub(crate) struct Unrest {
    /// Per class: its newest move that was not economic. Steps of economic moves disturb nobody.
    class: Vec<Option<Mono>>,
    /// Per region: the newest Down of an endpoint there, or such a move of a class that stands there.
    region: Vec<Option<Mono>>,
    /// Per region: a shed split may use it.
    wanted: Vec<bool>,
    /// No economic move may begin or go on anywhere.
    everywhere: bool,
}

impl Unrest {
    /// Looks at the safety tier's work of this cycle and at what the ones before have left.
    pub(crate) fn of(g: &Ground, work: &Work) -> Self {
        let settle = g.q.fleet.rules.settle;
        let recent = |at: &Mono| *at + settle > g.q.now;
        let mut class: Vec<Option<Mono>> = vec![None; g.q.fleet.classes.len()];
        for (to, at) in class.iter_mut().zip(&g.q.state.forced) {
            *to = at.filter(recent);
        }
        let mut wanted = vec![false; g.regions];
        for split in g.sequence.iter().copied() {
            if work.was_moved(split) && !work.fresh[split] {
                class[split / g.groups] = Some(g.q.now);
            }
            if work.now.loose[split] > 0 {
                for region in g.ranked(split).iter().filter(|r| g.may(split, **r, MoveKind::Safety)) {
                    wanted[region.at()] = true;
                }
            }
        }
        let mut region: Vec<Option<Mono>> = vec![None; g.regions];
        for (e, at) in g.q.judged.recent_downs.iter().filter(|d| recent(&d.1)) {
            if let Some(e) = g.q.fleet.endpoints.get(e.at()) {
                region[e.region.at()] = region[e.region.at()].max(Some(*at));
            }
        }
        for split in g.sequence.iter().copied() {
            let Some(at) = class[split / g.groups] else { continue };
            for (region, _) in region.iter_mut().zip(work.now.row(split)).filter(|(_, b)| **b > 0) {
                *region = (*region).max(Some(at));
            }
        }
        // a drain is over when its last step has settled
        let drains = |s: usize| g.ranked(s).iter().any(|r| g.lawful(s, *r) && g.place(s, *r).drain.is_some());
        let draining = |s: &usize| drained(g, &work.now, *s) > 0 || (class[s / g.groups].is_some() && drains(*s));
        let draining = !g.q.view.intents.drains.is_empty() && g.sequence.iter().any(draining);
        let calm = g.safety_on && g.doubted.is_empty() && g.waking.is_empty() && !draining;
        Self { class, region, wanted, everywhere: !calm }
    }

    /// Until when what moved where the split would gain has not settled.
    pub(crate) fn until(&self, g: &Ground, split: usize, gains: &[RegionIx]) -> Option<Mono> {
        let there = gains.iter().filter_map(|r| self.region[r.at()]);
        let newest = there.chain(self.class[split / g.groups]).max()?;
        Some(newest + g.q.fleet.rules.settle).filter(|until| *until > g.q.now)
    }

    /// Until when a drain or a return must not begin that a person asked for at `since`. What is under way goes on, and
    /// nobody is kept waiting for ever by others.
    pub(crate) fn delays(&self, g: &Ground, split: usize, gains: &[RegionIx], since: Option<Wall>) -> Option<Mono> {
        if is_ramping(g, split, MoveKind::Voluntary) {
            return None;
        }
        let settled = self.until(g, split, gains)?;
        let Some(since) = since else { return Some(settled) };
        let patience = since + Millis(g.q.fleet.rules.settle.0 * PATIENCE);
        let last = g.q.now + (patience - g.q.view.wall);
        Some(settled.min(last)).filter(|until| *until > g.q.now)
    }

    /// Something goes first that no time alone ends: a doubt, a drain, what is shed and could use the same places, or
    /// endpoints on their way up there: what the places can take is known in a moment.
    pub(crate) fn forbids(&self, g: &Ground, split: usize, gains: &[RegionIx]) -> bool {
        self.everywhere
            || g.service_is_rising(g.service_of(split))
            || gains.iter().any(|r| self.wanted[r.at()] || g.region_is_rising(*r))
    }
}
