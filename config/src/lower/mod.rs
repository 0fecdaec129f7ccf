//! Documents → `domain::Fleet`. Owns every check of meaning; reports all faults at once and goes on with a stand-in
//! where a value is wrong, so that one fault does not hide another. Refuses to decide anything about traffic.

mod api;
mod check;
mod countries;
mod place;
mod policy;
mod rules;
mod service;
mod text;

use crate::fault::{Severity, Sink, Src};
use crate::parse::suggestion;
use crate::raw::{At, Doc, Raw};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_domain::{Fleet, Name};

pub(crate) use policy::Policy;

/// Most entries of one kind; below what the domain's indexes can name.
const FEW_MAX: usize = 65_000;
/// Most classes or endpoints of a fleet.
const MANY_MAX: usize = 1_000_000;

/// Names of one kind, in the order of the fleet.
#[derive(Debug)]
pub(crate) struct Table {
    kind: &'static str,
    by_name: BTreeMap<String, usize>,
    broken: BTreeSet<String>,
    /// A document of unknown name or kind could not be read: silence is better than a false alarm.
    blind: bool,
}

impl Table {
    fn new(kind: &'static str, names: impl Iterator<Item = String>, raw: &Raw) -> Self {
        let mut by_name = BTreeMap::new();
        for (i, name) in names.enumerate() {
            by_name.entry(name).or_insert(i);
        }
        let broken = raw.broken.iter().filter(|(k, _)| k == kind || k.is_empty()).map(|(_, n)| n.clone()).collect();
        let blind = raw.broken.iter().any(|(k, n)| (k.is_empty() || k == kind) && n.is_empty());
        Self { kind, by_name, broken, blind }
    }
    /// The position of the entry so named; a fault where there is none.
    fn find(&self, name: &str, src: &Src, line: usize, key: &str, sink: &mut Sink) -> Option<usize> {
        if let Some(at) = self.by_name.get(name) {
            return Some(*at);
        }
        if !self.blind && !self.broken.contains(name) {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            let hint = suggestion(name, &known);
            let mend = format!("declare a document of kind {} with this name, or {hint}", self.kind);
            let mend = if known.is_empty() { mend.trim_end_matches(", or remove it").to_owned() } else { mend };
            sink.error(src, line, key, format!("there is no {} `{name}`", self.kind), &mend);
        }
        None
    }
    fn at(&self, name: &At<String>, src: &Src, key: &str, sink: &mut Sink) -> Option<usize> {
        self.find(&name.value, src, name.line, key, sink)
    }
}

/// All tables; made before anything is lowered, so that order of files does not matter.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) providers: Table,
    pub(crate) areas: Table,
    pub(crate) regions: Table,
    pub(crate) groups: Table,
}

/// What was lowered, with the places that later checks point at.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) fleet: Fleet,
    /// Per class: where it stands.
    pub(crate) class_at: Vec<Spot>,
    /// Per endpoint: where it stands.
    pub(crate) endpoint_at: Vec<Spot>,
    /// Per reference: where it stands.
    pub(crate) reference_at: Vec<Spot>,
    /// Per service: its listener.
    pub(crate) listener_at: Vec<Spot>,
    /// Regions, classes or endpoints had faults: conclusions over all of them would mislead.
    pub(crate) doubtful: bool,
}

/// A place in a file.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) src: Src,
    pub(crate) line: usize,
    pub(crate) key: String,
    /// Lines of single keys below it, as `(".match", 12)`: in block style each has its own.
    pub(crate) subs: Vec<(String, usize)>,
}

impl Spot {
    /// The line of the key `sub` below this place, else of the nearest key above it that has one.
    fn line_of(&self, sub: &str) -> usize {
        let above =
            |key: &str| sub.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        let best = self.subs.iter().filter(|(key, _)| above(key)).max_by_key(|(key, _)| key.len());
        best.map_or(self.line, |(_, line)| *line)
    }
}

/// Where the last document of a kind begins: what a whole fleet lacks is added behind it.
fn last_of<'a>(raw: &'a Raw, kind: &str) -> Option<(&'a Src, usize)> {
    fn last<S>(docs: &[Doc<S>]) -> Option<(&Src, usize)> {
        let place = |d: &&Doc<S>| (d.src.file.to_string(), d.src.offset);
        docs.iter().max_by_key(place).map(|d| (&d.src, d.name.line))
    }
    match kind {
        "Provider" => last(&raw.providers),
        "Area" => last(&raw.areas),
        "Region" => last(&raw.regions),
        "Vantage" => last(&raw.vantages),
        "Reference" => last(&raw.references),
        "ClientGroup" => last(&raw.groups),
        _ => last(&raw.services),
    }
}

/// Everything that meaning can say about `raw`.
pub(crate) fn lower(mut raw: Raw, sink: &mut Sink) -> (Fleet, Policy) {
    sort(&mut raw.providers, "Provider", sink);
    sort(&mut raw.areas, "Area", sink);
    sort(&mut raw.regions, "Region", sink);
    sort(&mut raw.services, "Service", sink);
    sort(&mut raw.vantages, "Vantage", sink);
    sort(&mut raw.references, "Reference", sink);
    sort(&mut raw.groups, "ClientGroup", sink);
    sort(&mut raw.rules, "Rules", sink);
    sort(&mut raw.policies, "Policy", sink);
    bounds(&raw, sink);
    let tables = Tables {
        providers: Table::new("Provider", names(&raw.providers), &raw),
        areas: Table::new("Area", names(&raw.areas), &raw),
        regions: Table::new("Region", names(&raw.regions), &raw),
        groups: Table::new("ClientGroup", names(&raw.groups), &raw),
    };
    let mut built = Built { doubtful: !raw.broken.is_empty(), ..Built::default() };
    place::lower(&raw, &tables, &mut built, sink);
    service::lower(&raw, &tables, &mut built, sink);
    built.fleet.rules = rules::lower(&raw, sink);
    check::whole(&raw, &built, sink);
    let policy = policy::lower(&raw, sink);
    (built.fleet, policy)
}

fn names<S>(docs: &[Doc<S>]) -> impl Iterator<Item = String> {
    docs.iter().map(|d| d.name.value.clone())
}

/// Sorts by name and takes duplicates out, each a fault.
fn sort<S>(docs: &mut Vec<Doc<S>>, kind: &str, sink: &mut Sink) {
    docs.sort_by(|a, b| {
        let key = |d: &Doc<S>| (d.name.value.clone(), d.src.file.to_string(), d.src.offset);
        key(a).cmp(&key(b))
    });
    let mut first: Option<(String, String)> = None;
    docs.retain(|d| {
        let here = format!("{}:{}", d.src.file, d.src.offset + d.name.line);
        match &first {
            Some((name, place)) if *name == d.name.value => {
                let what = format!("{kind} `{name}` is declared twice, first at {place}");
                sink.error(&d.src, d.name.line, "name", what, "keep one of the two or rename one");
                false
            }
            _ => {
                first = Some((d.name.value.clone(), here));
                true
            }
        }
    });
}

fn bounds(raw: &Raw, sink: &mut Sink) {
    let classes = raw.services.iter().map(|s| s.spec.classes.value.len()).sum();
    let endpoints = raw.services.iter().map(|s| s.spec.endpoints.value.len()).sum();
    let counts: [(&str, usize, usize); 9] = [
        ("Provider", raw.providers.len(), FEW_MAX),
        ("Area", raw.areas.len(), FEW_MAX),
        ("Region", raw.regions.len(), FEW_MAX),
        ("Vantage", raw.vantages.len(), FEW_MAX),
        ("Reference", raw.references.len(), FEW_MAX),
        ("ClientGroup", raw.groups.len(), FEW_MAX),
        ("Service", raw.services.len(), MANY_MAX),
        ("residency class", classes, MANY_MAX),
        ("endpoint", endpoints, MANY_MAX),
    ];
    for (kind, count, most) in counts {
        if count > most {
            let what = format!("{count} entries of {kind} are more than {most}");
            sink.whole(Severity::Error, last_of(raw, kind), "", what, "split the fleet");
        }
    }
    let least = [
        ("Provider", raw.providers.len()),
        ("Region", raw.regions.len()),
        ("Service", raw.services.len()),
        ("ClientGroup", raw.groups.len()),
    ];
    for (kind, count) in least {
        if count == 0 && !raw.misses(kind) {
            let mend = format!("declare at least one document of kind {kind}");
            sink.whole(Severity::Error, None, "", format!("the fleet has no {kind}"), &mend);
        }
    }
}

/// A checked name; a stand-in and a fault where it is none.
fn name(text: &At<String>, src: &Src, key: &str, sink: &mut Sink) -> Name {
    Name::new(&text.value).unwrap_or_else(|error| {
        sink.error(src, text.line, key, format!("`{}` is no name", text.value), &format!("write {}", error.expected));
        stand_in()
    })
}

/// Stands where a name could not be read; never leaves this room, because a fault stands beside it.
fn stand_in() -> Name {
    // "x" satisfies every rule of `Name`; the loop-free fallback keeps this total without an unwrap.
    ["x", "0"].iter().find_map(|t| Name::new(t).ok()).unwrap_or_else(|| unreachable!("`x` is a name"))
}
