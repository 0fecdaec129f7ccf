//! Residency policy in Rego, in process: texts in, a [`Mask`] out, with a log of what was decided and by which bundle.
//!
//! Owns compilation, the question's form, the keeping of answers and the rule for a policy that fails. Refuses IO (texts
//! are handed in), impure builtins, floats in the question, and to widen: every answer is intersected with the fleet's
//! permitted sets. The question and the answer are documented in `config/policy/README.md` and at [`question`].
//!
//! [`Mask`]: tidegate_domain::Mask

mod ask;
mod bundle;
mod mask;
mod purity;
mod recursion;
mod rego_tests;
#[cfg(test)]
mod tests;

pub use ask::question;
pub use bundle::{Bundle, EVALUATION_MAX_MS, PolicyError, SIZE_MAX_BYTES};
pub use mask::{DecisionLogEntry, EvaluationFault, MaskOutcome, Origin};
pub use rego_tests::{TestOutcome, run_tests};
