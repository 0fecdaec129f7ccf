//! What a reload would change, in the words that a person must read before it happens. Owns the guard against losing
//! a class or many endpoints by a slip; refuses to decide whether a widening is right: it prints it.

use crate::fault::{Fault, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tidegate_domain::{Bps, Fleet, Permitted};

/// The largest part of the endpoints that a reload drops without `--yes-remove`.
const REMOVE_MAX_BPS: u64 = 2_500;

/// The differences between two fleets that matter to a person. Names only: indexes of the two differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Whether the two have the same revision.
    pub same: bool,
    /// `service/class` that no longer exists.
    pub dropped_classes: Vec<String>,
    /// `service/class` that is new.
    pub added_classes: Vec<String>,
    /// Endpoints of the old fleet.
    pub endpoints_before: usize,
    /// Endpoints whose address the new fleet no longer serves from, as `name (host:port)`.
    pub removed_endpoints: Vec<String>,
    /// Endpoints with an address that the old fleet did not serve from.
    pub added_endpoints: Vec<String>,
    /// What may now be somewhere it could not be before, as sentences.
    pub widenings: Vec<String>,
    /// What may no longer be somewhere it could be before, as sentences.
    pub narrowings: Vec<String>,
}

impl Change {
    /// The part of the old endpoints that is removed.
    #[must_use]
    pub fn removed_share(&self) -> Bps {
        if self.endpoints_before == 0 {
            return Bps::ZERO;
        }
        Bps::clamped((self.removed_endpoints.len() as u64 * 10_000).div_ceil(self.endpoints_before as u64))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.same {
            return writeln!(f, "no change");
        }
        for (word, lines) in [
            ("WIDENS  ", &self.widenings),
            ("narrows ", &self.narrowings),
            ("drops   ", &self.dropped_classes),
            ("adds    ", &self.added_classes),
            ("removes ", &self.removed_endpoints),
            ("adds    ", &self.added_endpoints),
        ] {
            for line in lines {
                writeln!(f, "{word}{line}")?;
            }
        }
        Ok(())
    }
}

/// Compares two validated fleets.
#[must_use]
pub fn compare(old: &Fleet, new: &Fleet) -> Change {
    let (before, after) = (classes(old), classes(new));
    let mut change =
        Change { same: old.revision == new.revision, endpoints_before: old.endpoints.len(), ..Change::default() };
    change.dropped_classes = before.keys().filter(|k| !after.contains_key(*k)).cloned().collect();
    change.added_classes = after.keys().filter(|k| !before.contains_key(*k)).cloned().collect();
    for (name, was) in &before {
        if let Some(is) = after.get(name) {
            permitted(name, was, is, &mut change);
        }
    }
    let (was, is) = (addresses(old), addresses(new));
    change.removed_endpoints = was.iter().filter(|(k, _)| !is.contains_key(*k)).map(|(_, v)| v.clone()).collect();
    change.added_endpoints = is.iter().filter(|(k, _)| !was.contains_key(*k)).map(|(_, v)| v.clone()).collect();
    for service in &new.services {
        let Some(class) = service.unmatched else { continue };
        let known = old.service(&service.name).and_then(|s| old.services[s.at()].unmatched);
        let class = new.class_name(class);
        if known.map(|c| old.class_name(c)).as_ref() != Some(&class) {
            let line = format!("{}: requests that match no class are now served as {class}", service.name);
            change.widenings.push(line);
        }
    }
    for (name, region) in new.regions.iter().map(|r| (&r.name, r)) {
        let was = old.region(name).map(|r| old.regions[r.at()].jurisdiction);
        if let Some(was) = was.filter(|w| *w != region.jurisdiction) {
            let line = format!("{name}: its jurisdiction is now {} and was {was}", region.jurisdiction);
            change.widenings.push(line);
        }
    }
    change
}

/// Refuses a reload that drops a class or more than 25 % of the endpoints, unless `yes_remove`.
///
/// # Errors
/// Every reason to refuse. Nothing was changed; a person repeats it with `--yes-remove`.
pub fn guard(change: &Change, yes_remove: bool) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    let mut refuse = |key: &str, what: String| {
        let (mend, severity) = ("put it back, or repeat with --yes-remove".to_owned(), Severity::Error);
        faults.push(Fault { file: String::new(), line: None, key: key.to_owned(), what, mend, severity });
    };
    for class in &change.dropped_classes {
        refuse(class, "the reload drops this residency class".to_owned());
    }
    let most = Bps::clamped(REMOVE_MAX_BPS);
    if change.removed_share() > most {
        let (gone, all) = (change.removed_endpoints.len(), change.endpoints_before);
        refuse("endpoints", format!("the reload removes {gone} of {all} endpoints, more than {most}"));
    }
    if faults.is_empty() || yes_remove { Ok(()) } else { Err(faults) }
}

fn classes(fleet: &Fleet) -> BTreeMap<String, Permitted> {
    (0..fleet.classes.len()).map(|i| (fleet.class_name(i.into()), fleet.classes[i].permitted.clone())).collect()
}

/// Endpoints by what a connection sees; names may be derived from positions and say less.
fn addresses(fleet: &Fleet) -> BTreeMap<(String, String, String, u16), String> {
    let key = |e: &tidegate_domain::Endpoint| {
        let (service, region) = (&fleet.services[e.service.at()].name, &fleet.regions[e.region.at()].name);
        (service.to_string(), region.to_string(), e.host.clone(), e.port)
    };
    fleet.endpoints.iter().map(|e| (key(e), format!("{} ({}:{})", e.name, e.host, e.port))).collect()
}

fn permitted(name: &str, was: &Permitted, is: &Permitted, change: &mut Change) {
    let join = |set: &BTreeSet<_>| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (was, is) {
        (Permitted::Anywhere, Permitted::Anywhere) => {}
        (Permitted::Only(_), Permitted::Anywhere) => change.widenings.push(format!("{name}: now permitted anywhere")),
        (Permitted::Anywhere, Permitted::Only(set)) => {
            change.narrowings.push(format!("{name}: now permitted in {} only", join(set)));
        }
        (Permitted::Only(was), Permitted::Only(is)) => {
            let more: BTreeSet<_> = is.difference(was).copied().collect();
            let less: BTreeSet<_> = was.difference(is).copied().collect();
            if !more.is_empty() {
                change.widenings.push(format!("{name}: now permitted in {} too", join(&more)));
            }
            if !less.is_empty() {
                change.narrowings.push(format!("{name}: no longer permitted in {}", join(&less)));
            }
        }
    }
}
