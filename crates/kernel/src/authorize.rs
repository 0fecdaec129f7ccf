//! The only door to acting: an output becomes `Authorized` when the linter finds no fault in it.

use crate::lint::{self, Fault};
use std::fmt;
use tidegate_domain::{CycleInput, CycleOutput};

/// Something that passed [`authorize`]. There is no other way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized<T>(T);

impl<T> Authorized<T> {
    /// What was authorised.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }
    /// Takes it out, for the hands that act.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A plan was refused. Nothing changed: the plan before it stands. Asking again with the same input refuses again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Every fault, sorted; at least one.
    pub faults: Vec<Fault>,
}
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plan is refused ({} faults)", self.faults.len())?;
        self.faults.iter().take(3).try_for_each(|fault| write!(f, "; {fault}"))
    }
}
impl std::error::Error for Refusal {}

/// Checks `output` against `input`, independently of the planner: permitted set, mask, limits and every safety rule.
///
/// # Errors
/// With every fault found. The standing plan stays; the caller raises `Alarm::PlanRefused`.
pub fn authorize(input: &CycleInput, output: CycleOutput) -> Result<Authorized<CycleOutput>, Refusal> {
    let faults = lint::check(input, &output);
    if faults.is_empty() { Ok(Authorized(output)) } else { Err(Refusal { faults }) }
}
