//! What a reload would change, in the words that a person must read before it happens. Owns the guard against losing
//! a class or many endpoints by a slip; refuses to decide whether a widening is right: it prints it.
//!
//! Everything is compared (`facts`). What may now be served where it could not be before is named besides, as a
//! widening: a class's own set, a request that another class takes now, a place or a client group under another law.

use crate::facts::{self, endpoint_fact, facts};
use crate::fault::{Fault, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tidegate_domain::{Bps, ClassIx, ClassMatch, Fleet, Permitted, Service};

/// The largest part of the endpoints that a reload drops without `--yes-remove`.
const REMOVE_MAX_BPS: u64 = 2_500;

/// The differences between two fleets. Names only: indexes of the two differ.
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
    /// Any other thing that is new, as `Region aws/us-east-1`.
    pub added: Vec<String>,
    /// Any other thing that is gone.
    pub removed: Vec<String>,
    /// What a key says now, and what it said: `class payroll/eu priority: 0 -> 1`.
    pub changes: Vec<String>,
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
            ("removes ", &self.removed),
            ("adds    ", &self.added),
            ("changes ", &self.changes),
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
        if let Some(known) = old.service(&service.name) {
            requests((old, &old.services[known.at()]), (new, service), &mut change);
        }
    }
    laws(old, new, &mut change);
    all_keys(old, new, &mut change);
    if !change.same
        && change == (Change { same: false, endpoints_before: change.endpoints_before, ..Change::default() })
    {
        // An empty answer would read as no change. The facts are complete, so this stands for an order alone.
        change
            .changes
            .push(format!("the order in which things are declared (revision {} -> {})", old.revision, new.revision));
    }
    change
}

/// Where each request of a service may be served, before and after: another class may take it now.
fn requests(was: (&Fleet, &Service), is: (&Fleet, &Service), change: &mut Change) {
    let told = |service: &Service, fleet: &Fleet| -> BTreeMap<ClassMatch, ClassIx> {
        service.classes.iter().map(|c| (fleet.classes[c.at()].matched_by.clone(), *c)).collect()
    };
    let (before, after) = (told(was.1, was.0), told(is.1, is.0));
    let selectors: BTreeSet<&ClassMatch> = before.keys().chain(after.keys()).collect();
    for selector in selectors {
        let what = format!("{}: requests with {}", is.1.name, facts::matched(selector));
        let (then, now) = (before.get(selector).copied(), after.get(selector).copied());
        taken(&what, (was, then.or(was.1.unmatched)), (is, now.or(is.1.unmatched)), change);
    }
    taken(
        &format!("{}: requests that match no class", is.1.name),
        (was, was.1.unmatched),
        (is, is.1.unmatched),
        change,
    );
}

/// One sort of request: which class took it, which takes it now. Where it is the same class, that class's own line
/// has said what widens.
fn taken(
    what: &str,
    (was, then): ((&Fleet, &Service), Option<ClassIx>),
    (is, now): ((&Fleet, &Service), Option<ClassIx>),
    change: &mut Change,
) {
    let name = |fleet: &Fleet, class: Option<ClassIx>| class.map(|c| fleet.class_name(c));
    let (then_name, now_name) = (name(was.0, then), name(is.0, now));
    if then_name.is_some() && then_name == now_name {
        return;
    }
    let (could, can) = (reach(was, then), reach(is, now));
    let served = |name: Option<String>, places: &Permitted| match name {
        Some(name) => format!("served as {name} ({})", facts::permitted(places)),
        None => match places {
            Permitted::Only(set) if set.is_empty() => "refused".to_owned(),
            all => format!("served where every class may be ({})", facts::permitted(all)),
        },
    };
    let line = format!("{what} are now {} and were {}", served(now_name, &can), served(then_name, &could));
    if !within(&can, &could) {
        change.widenings.push(line);
    } else if !within(&could, &can) {
        change.narrowings.push(line);
    }
}

/// Where a request may be served that `class` takes; without one, where every class of the service may be.
fn reach((fleet, service): (&Fleet, &Service), class: Option<ClassIx>) -> Permitted {
    let of = |c: &ClassIx| fleet.classes[c.at()].permitted.clone();
    match class {
        Some(class) => of(&class),
        None => service.classes.iter().map(of).fold(Permitted::Anywhere, |all, one| match (all, one) {
            (Permitted::Anywhere, other) | (other, Permitted::Anywhere) => other,
            (Permitted::Only(a), Permitted::Only(b)) => Permitted::Only(a.intersection(&b).copied().collect()),
        }),
    }
}

fn within(inner: &Permitted, outer: &Permitted) -> bool {
    match (inner, outer) {
        (_, Permitted::Anywhere) => true,
        (Permitted::Anywhere, Permitted::Only(_)) => false,
        (Permitted::Only(inner), Permitted::Only(outer)) => inner.is_subset(outer),
    }
}

/// Places and edges that are said to stand under another law than before, and classes that clients may now choose.
fn laws(old: &Fleet, new: &Fleet, change: &mut Change) {
    for region in &new.regions {
        let was = old.region(&region.name).map(|r| old.regions[r.at()].jurisdiction);
        if let Some(was) = was.filter(|w| *w != region.jurisdiction) {
            let line = format!("{}: its jurisdiction is now {} and was {was}", region.name, region.jurisdiction);
            change.widenings.push(line);
        }
    }
    for group in &new.groups {
        let was = old.group(&group.name).map(|g| old.groups[g.at()].jurisdiction);
        if let Some(was) = was.filter(|w| *w != group.jurisdiction) {
            let line =
                format!("clients of {}: their jurisdiction is now {} and was {was}", group.name, group.jurisdiction);
            change.widenings.push(line);
        }
    }
    let chosen = |fleet: &Fleet| -> BTreeMap<String, bool> {
        (0..fleet.classes.len()).map(|i| (fleet.class_name(i.into()), fleet.classes[i].client_can_set)).collect()
    };
    let before = chosen(old);
    for (name, can) in chosen(new) {
        if can && before.get(&name) == Some(&false) {
            change.widenings.push(format!("{name}: a client may now choose this class by itself"));
        }
    }
}

/// Every key of everything, so that no difference is left unsaid.
fn all_keys(old: &Fleet, new: &Fleet, change: &mut Change) {
    let (before, after) = (facts(old), facts(new));
    // Classes and endpoints have lists of their own.
    let other = |thing: &&String| !thing.starts_with("class ") && !thing.starts_with("endpoint ");
    change.removed = before.keys().filter(|k| !after.contains_key(*k)).filter(other).cloned().collect();
    change.added = after.keys().filter(|k| !before.contains_key(*k)).filter(other).cloned().collect();
    for (thing, keys) in &after {
        let Some(was) = before.get(thing) else { continue };
        for (key, value) in keys {
            // A permitted set is told as a widening or narrowing.
            let told = key == "permitted";
            match was.get(key) {
                Some(before) if before != value && !told => {
                    change.changes.push(format!("{thing} {key}: {before} -> {value}"));
                }
                _ => {}
            }
        }
    }
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
fn addresses(fleet: &Fleet) -> BTreeMap<String, String> {
    let shown = |e: &tidegate_domain::Endpoint| format!("{} ({}:{})", e.name, e.host, e.port);
    fleet.endpoints.iter().map(|e| (endpoint_fact(e, fleet), shown(e))).collect()
}

fn permitted(name: &str, was: &Permitted, is: &Permitted, change: &mut Change) {
    let join = |set: &BTreeSet<_>| facts::permitted(&Permitted::Only(set.clone()));
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
