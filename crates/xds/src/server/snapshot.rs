//! What is published: per variant and type a sorted table of resources. Owns interning of identical content and the
//! reuse of unchanged tables between publications; refuses to be edited once built.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use super::resource::Resource;
use crate::TypeUrl;

/// Which set of resources a subscriber is given; for instance the name of its client group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant(Arc<str>);

impl Variant {
    /// A variant of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many concatenations a table keeps for streams that ask for the same set.
const CONCATENATIONS_MAX: usize = 8;

/// A list of positions, and the entries at these joined into one buffer.
type Concatenation = (Vec<u32>, Bytes);

/// All resources of one type in one variant, by name. Streams keep positions into `names`.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) names: Arc<[Arc<str>]>,
    pub(crate) resources: Vec<Arc<Resource>>,
    concatenations: Mutex<Vec<Concatenation>>,
}

impl Table {
    fn new(map: &ByName) -> Self {
        let names = map.keys().cloned().collect();
        Self { names, resources: map.values().cloned().collect(), concatenations: Mutex::default() }
    }

    pub(crate) fn empty() -> Arc<Self> {
        Arc::new(Self::new(&BTreeMap::new()))
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|n| n.as_ref().cmp(name)).ok()
    }

    pub(crate) fn content(&self, name: &str) -> Option<u64> {
        self.position(name).map(|p| self.resources[p].content())
    }

    /// The entries at `positions` in one buffer, shared by all streams that ask for the same list.
    pub(crate) fn concatenated(&self, positions: &[u32]) -> Bytes {
        let mut cache = self.concatenations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = cache.iter().find(|(key, _)| key == positions) {
            return bytes.clone();
        }
        let len = positions.iter().map(|&p| self.resources[p as usize].encoded().len()).sum();
        let mut buf = BytesMut::with_capacity(len);
        for &p in positions {
            buf.extend_from_slice(self.resources[p as usize].encoded());
        }
        let bytes = buf.freeze();
        if cache.len() == CONCATENATIONS_MAX {
            cache.remove(0);
        }
        cache.push((positions.to_vec(), bytes.clone()));
        bytes
    }

    /// This table, or `old` where that says the same; equal names and resources are shared with `old`.
    fn reconciled(self: Arc<Self>, old: &Arc<Self>) -> Arc<Self> {
        let same_names = self.names == old.names;
        if same_names && self.resources.iter().zip(&old.resources).all(|(a, b)| a.content() == b.content()) {
            return Arc::clone(old);
        }
        let share = |r: &Arc<Resource>| match old.position(r.name()) {
            Some(p) if old.resources[p].content() == r.content() => Arc::clone(&old.resources[p]),
            _ => Arc::clone(r),
        };
        Arc::new(Self {
            names: if same_names { Arc::clone(&old.names) } else { Arc::clone(&self.names) },
            resources: self.resources.iter().map(share).collect(),
            concatenations: Mutex::default(),
        })
    }
}

pub(crate) type Tables = [Arc<Table>; 4];

/// A whole, consistent set of resources for every variant. Swapped, never edited.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) variants: BTreeMap<Variant, Tables>,
}

impl Snapshot {
    /// A builder of an empty snapshot.
    #[must_use]
    pub fn builder() -> SnapshotBuilder {
        SnapshotBuilder::default()
    }

    /// The variants that it holds.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.variants.keys()
    }

    /// The resources of a variant and type, by name.
    pub fn resources(&self, variant: &Variant, type_url: TypeUrl) -> impl Iterator<Item = &Arc<Resource>> {
        self.variants.get(variant).into_iter().flat_map(move |t| t[type_url.index()].resources.iter())
    }

    /// Shares with `old` whatever did not change; returns how many resources are new or changed, and how many gone,
    /// what variants share being counted once.
    pub(crate) fn reconcile(&mut self, old: &Snapshot) -> (usize, usize) {
        let (mut changed, mut removed) = (0, 0);
        let nothing = empty_tables();
        // Variants that shared a table before and after share the reconciled one too.
        let mut done: Vec<(Arc<Table>, Arc<Table>, Arc<Table>)> = Vec::new();
        for (variant, tables) in &mut self.variants {
            let before = old.variants.get(variant).unwrap_or(&nothing);
            for (table, was) in tables.iter_mut().zip(before) {
                let known = done.iter().find(|(new, old, _)| Arc::ptr_eq(new, table) && Arc::ptr_eq(old, was));
                if let Some((_, _, reconciled)) = known {
                    *table = Arc::clone(reconciled);
                    continue;
                }
                let reconciled = Arc::clone(table).reconciled(was);
                done.push((Arc::clone(table), Arc::clone(was), Arc::clone(&reconciled)));
                *table = reconciled;
                if !Arc::ptr_eq(table, was) {
                    let news = table.resources.iter().filter(|r| was.content(r.name()) != Some(r.content()));
                    changed += news.count();
                    removed += was.names.iter().filter(|n| table.position(n).is_none()).count();
                }
            }
        }
        (changed, removed)
    }
}

pub(crate) fn empty_tables() -> Tables {
    std::array::from_fn(|_| Table::empty())
}

type ByName = BTreeMap<Arc<str>, Arc<Resource>>;

/// Collects resources; identical content of one name is kept once, whatever the number of variants.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    variants: BTreeMap<Variant, [ByName; 4]>,
    interned: BTreeMap<(TypeUrl, Arc<str>, Arc<str>), Arc<Resource>>,
}

impl SnapshotBuilder {
    /// Declares a variant, which may stay empty. A variant without declaration or resource is not served.
    pub fn variant(&mut self, variant: &Variant) -> &mut Self {
        self.variants.entry(variant.clone()).or_default();
        self
    }

    /// Puts a resource into a variant; a second one of the same type and name replaces the first.
    pub fn insert(&mut self, variant: &Variant, resource: Resource) -> &mut Self {
        let key = (resource.type_url(), Arc::clone(resource.name()), Arc::clone(resource.version()));
        let resource = Arc::clone(self.interned.entry(key).or_insert_with(|| Arc::new(resource)));
        self.insert_shared(variant, resource)
    }

    /// Puts an already shared resource into a variant.
    pub fn insert_shared(&mut self, variant: &Variant, resource: Arc<Resource>) -> &mut Self {
        let types = self.variants.entry(variant.clone()).or_default();
        types[resource.type_url().index()].insert(Arc::clone(resource.name()), resource);
        self
    }

    /// The finished snapshot. Variants whose tables say the same share them.
    #[must_use]
    pub fn build(self) -> Snapshot {
        let mut made: [Vec<Arc<Table>>; 4] = Default::default();
        let mut variants = BTreeMap::new();
        for (variant, types) in self.variants {
            let tables = std::array::from_fn(|t| {
                let table = Table::new(&types[t]);
                let same = |o: &&Arc<Table>| o.names == table.names && o.resources == table.resources;
                if let Some(old) = made[t].iter().find(same) {
                    return Arc::clone(old);
                }
                let table = Arc::new(table);
                made[t].push(Arc::clone(&table));
                table
            });
            variants.insert(variant, tables);
        }
        Snapshot { variants }
    }
}

/// A snapshot as it was published.
#[derive(Debug)]
pub struct Published {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The caller's generation; stands in `system_version_info`.
    pub tag: u64,
    /// Position in this process's order of publications, from 1.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eds(name: &str, value: &str) -> Resource {
        Resource::from_any_bytes(TypeUrl::Eds, name, value.as_bytes()).unwrap()
    }

    #[test]
    fn identical_content_is_held_once() {
        let (de, us) = (Variant::new("de"), Variant::new("us"));
        let mut builder = Snapshot::builder();
        builder.insert(&de, eds("a", "1")).insert(&us, eds("a", "1")).insert(&us, eds("b", "1"));
        let snapshot = builder.build();
        let first = |v| Arc::clone(snapshot.resources(v, TypeUrl::Eds).next().unwrap());
        assert!(Arc::ptr_eq(&first(&de), &first(&us)));
    }

    #[test]
    fn unchanged_tables_and_resources_are_shared_between_publications() {
        let de = Variant::new("de");
        let make = |b: &str| {
            let mut builder = Snapshot::builder();
            builder.insert(&de, eds("a", "1")).insert(&de, eds("b", b));
            builder.build()
        };
        let old = make("1");
        let (mut same, mut other) = (make("1"), make("2"));
        assert_eq!(same.reconcile(&old), (0, 0));
        assert!(Arc::ptr_eq(&same.variants[&de][1], &old.variants[&de][1]));
        assert_eq!(other.reconcile(&old), (1, 0));
        let (new, was) = (&other.variants[&de][1], &old.variants[&de][1]);
        assert!(Arc::ptr_eq(&new.names, &was.names));
        assert!(Arc::ptr_eq(&new.resources[0], &was.resources[0]));
    }
}
