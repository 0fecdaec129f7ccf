//! What if: the plan that would follow at once if places were lost now, made from the picture that readers have.
//!
//! Owns the names of what is lost. Refuses to ask the loop: the question is answered while the store is away too, and costs
//! no safety move any time.

use crate::effect::{Denial, DenialKind};
use crate::input::Now;
use crate::intents;
use crate::model::Model;
use std::sync::Arc;
use tidegate_domain::{Accused, CycleInput, Plan, Scope, View};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatIf {
    /// What stands.
    pub before: Arc<Plan>,
    /// What would follow; none: the checker found a fault in it, and the weights would stay.
    pub after: Option<Plan>,
    /// What would then not be served, or run over a limit, in sentences. Empty: the loss is covered.
    pub gaps: Vec<String>,
}

impl Model {
    /// The plan that would follow if these providers and regions were lost at `now`, all at once and beyond doubt. Drains,
    /// verdicts, measured demand and switches are as they stand.
    ///
    /// # Errors
    /// When nothing is named, a name is no place of the fleet, or no plan stands yet.
    pub fn what_if(&self, lose: &[String], now: Now) -> Result<WhatIf, Denial> {
        let lost = lose.iter().map(|place| match intents::scope(&self.fleet, place)? {
            Scope::Provider(p) => Ok(Accused::Provider(p)),
            Scope::Region(r) => Ok(Accused::Region(r)),
        });
        let lost = lost.collect::<Result<Vec<_>, Denial>>()?;
        if lost.is_empty() {
            let lift = "name a provider or a region, such as `aws` or `aws/us-east-1`";
            return Err(Denial::new(DenialKind::BadRequest, "it is not said what is lost", lift));
        }
        let Some(before) = self.plan.clone() else {
            let lift = "the first plan comes with the first cycle; try again in a moment";
            return Err(Denial::new(DenialKind::NotReady, "no plan is committed yet", lift));
        };
        let view = View {
            reports: self.reports.as_ref().clone(),
            measured_demand: self.at_edges.demand.clone(),
            traffic: self.at_edges.traffic.clone(),
            lost_members: self.lost_members.clone(),
            held_receivers: Vec::new(),
            intents: self.intents.as_ref().clone(),
            wall: now.wall,
        };
        let (fleet, mask, state) = (Arc::clone(&self.fleet), Arc::clone(&self.mask), self.state.as_ref().clone());
        let found = tidegate_kernel::what_if(&CycleInput { fleet, mask, state, view, now: now.mono }, &lost);
        Ok(WhatIf { before, after: found.plan, gaps: found.gaps })
    }
}
