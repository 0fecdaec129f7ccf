//! From a bundle and a fleet to the whole mask. Owns the rule for failures: the last answer of the same bundle stands,
//! without one the move is denied; and the intersection with the configuration, last and always.

use crate::ask::{hash, question};
use crate::bundle::{Asked, Bundle};
use std::collections::BTreeSet;
use tidegate_domain::{ClassIx, Fleet, Jurisdiction, Mask, MoveKind, PolicyAnswer};

/// Where an answer of the log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Evaluated now.
    Evaluated,
    /// Evaluation failed; the last mask's answer stands.
    LastAnswer,
    /// Evaluation failed and there was no answer before: denied.
    Denied,
}

/// One decision of policy. An answer that was kept from before is not logged anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionLogEntry {
    /// SHA-256 of the bundle that was asked.
    pub bundle: [u8; 32],
    /// SHA-256 of `input`.
    pub input_hash: [u8; 32],
    /// The question, canonical JSON.
    pub input: String,
    /// `service/class`.
    pub class: String,
    /// The receiver's country.
    pub place: Jurisdiction,
    /// The kind of move.
    pub kind: MoveKind,
    /// The answer as it stands in the mask.
    pub answer: PolicyAnswer,
    /// Where it came from.
    pub origin: Origin,
    /// Policy allowed what the configuration forbids; the configuration won.
    pub widening_refused: bool,
}

/// One question that policy failed to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationFault {
    /// `service/class`.
    pub class: String,
    /// The receiver's country.
    pub place: Jurisdiction,
    /// The kind of move.
    pub kind: MoveKind,
    /// SHA-256 of the question.
    pub input_hash: [u8; 32],
    /// What went wrong, with file and line where known.
    pub what: String,
    /// Whether the last mask's answer stands; else the move is denied.
    pub stands: bool,
}

/// A whole mask and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskOutcome {
    /// One answer per class, country of a serving region and kind of move.
    pub mask: Mask,
    /// What was decided now, in the mask's order.
    pub decisions: Vec<DecisionLogEntry>,
    /// What failed. At load any fault refuses the revision; at run time it is an alarm.
    pub faults: Vec<EvaluationFault>,
}

impl Bundle {
    /// Asks for every (class, country of a serving region, kind of move) of `fleet`.
    ///
    /// `previous` must be a mask of the same fleet revision: its class indexes are read. Where evaluation fails, its
    /// answer stands if this very bundle gave it, narrowed to the fleet's permitted sets; else the move is denied.
    #[must_use]
    pub fn mask(&self, fleet: &Fleet, previous: Option<&Mask>) -> MaskOutcome {
        let bundle = self.hash();
        let previous = previous.filter(|p| p.bundle == bundle);
        let serving = fleet.regions.iter().filter(|r| !r.vantage_only);
        let places: BTreeSet<Jurisdiction> = serving.map(|r| r.jurisdiction).collect();
        let mask = Mask { bundle, ..Mask::default() };
        let mut out = MaskOutcome { mask, decisions: Vec::new(), faults: Vec::new() };
        for class in (0..fleet.classes.len()).map(ClassIx::from) {
            for place in &places {
                for kind in MoveKind::ALL {
                    self.one(fleet, (class, *place, kind), previous, &mut out);
                }
            }
        }
        out
    }

    fn one(
        &self,
        fleet: &Fleet,
        key: (ClassIx, Jurisdiction, MoveKind),
        previous: Option<&Mask>,
        out: &mut MaskOutcome,
    ) {
        let (class, place, kind) = key;
        let input = question(fleet, class, place, kind);
        let input_hash = hash(&input);
        let (answer, origin) = match self.ask(&input, input_hash) {
            Asked::Kept(answer) => (answer, None),
            Asked::Fresh(answer) => (answer, Some(Origin::Evaluated)),
            Asked::Failed(what) => {
                let last = previous.and_then(|p| p.answers.get(&key)).cloned();
                let name = fleet.class_name(class);
                let stands = last.is_some();
                out.faults.push(EvaluationFault { class: name, place, kind, input_hash, what: what.clone(), stands });
                let denied = || PolicyAnswer { allow: false, reason: format!("policy failed: {what}") };
                let origin = if stands { Origin::LastAnswer } else { Origin::Denied };
                (last.unwrap_or_else(denied), Some(origin))
            }
        };
        let permitted = fleet.classes[class.at()].permitted.holds(place);
        let widening_refused = answer.allow && !permitted;
        let answer = if widening_refused {
            PolicyAnswer { allow: false, reason: format!("the configuration does not permit {place}") }
        } else {
            answer
        };
        if let Some(origin) = origin {
            out.decisions.push(DecisionLogEntry {
                bundle: self.hash(),
                input_hash,
                input,
                class: fleet.class_name(class),
                place,
                kind,
                answer: answer.clone(),
                origin,
                widening_refused,
            });
        }
        out.mask.answers.insert(key, answer);
    }
}
