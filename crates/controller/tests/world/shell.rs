//! The store's shell, as the server has it, on a store in memory that fails when told to.

use std::fmt;
use std::sync::Arc;
use tidegate_controller::{Candidate, Head, Loaded, Stored, keys};
use tidegate_record::*;
use tidegate_store::conformance::Hand;
use tidegate_store::{Condition, Memory, Op, Store, Txn};

/// What the store does with writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Keeps them.
    None,
    /// The disk is full; the reserve takes safety moves.
    Full,
    /// The reserve is used up too.
    FullForAll,
    /// Gives no answer; the write was kept all the same, or not; and the head can be read, or not.
    Away { kept: bool, head: bool },
    /// Hangs: there is no answer until [`super::World::unhang`].
    Hung,
    /// A shell that lies: says Done and writes nothing. For tests of the checks.
    Liar,
    /// Keeps the record of a decision without its plan: a write that was torn. For tests of the checks.
    Torn,
}

/// The store.
#[derive(Clone)]
pub struct Shelf {
    pub store: Arc<dyn Store>,
    pub fault: Fault,
    /// Writes that were asked for, and how many of them were kept.
    pub writes: usize,
    pub kept: usize,
    /// The server is killed at this write: it is kept, or not, and nothing is after it.
    pub cut: Option<(usize, bool)>,
}
impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl Shelf {
    pub fn memory() -> Self {
        Self::on(Arc::new(Memory::new(Hand::default().clock(), 64)))
    }
    pub fn on(store: Arc<dyn Store>) -> Self {
        Self { store, fault: Fault::None, writes: 0, kept: 0, cut: None }
    }

    pub fn write(
        &mut self,
        end_revision: u64,
        puts: Vec<(String, Vec<u8>)>,
        blobs: &[(BlobHash, Vec<u8>)],
        safety: bool,
    ) -> Stored {
        self.writes += 1;
        if let Some((at, kept)) = self.cut
            && self.writes >= at
        {
            if self.writes == at && kept {
                self.keep(end_revision, puts, blobs);
            }
            return Stored::Unavailable { words: "killed".to_owned() };
        }
        let words = || "no space left on device".to_owned();
        match self.fault {
            Fault::Liar => Stored::Done { revision: end_revision + 1 },
            Fault::Full if !safety => Stored::Full { words: words() },
            Fault::FullForAll => Stored::Full { words: words() },
            Fault::None | Fault::Full | Fault::Hung => self.keep(end_revision, puts, blobs),
            Fault::Torn => {
                let rest = puts.into_iter().filter(|(key, _)| key != keys::PLAN);
                self.keep(end_revision, rest.collect(), blobs)
            }
            Fault::Away { kept, .. } => {
                if kept {
                    self.keep(end_revision, puts, blobs);
                }
                Stored::Unavailable { words: "time-out".to_owned() }
            }
        }
    }

    fn keep(&mut self, end_revision: u64, puts: Vec<(String, Vec<u8>)>, blobs: &[(BlobHash, Vec<u8>)]) -> Stored {
        for (hash, bytes) in blobs {
            assert_eq!(self.store.put_blob(bytes, tidegate_store::Urgency::Ordinary).unwrap(), *hash);
        }
        let condition = if end_revision == 0 { Condition::Absent } else { Condition::Modified(end_revision) };
        let ops = puts.into_iter().map(|(key, value)| Op::put(key, value)).collect();
        let outcome = self.store.txn(Txn::of(ops).when(keys::END, condition)).unwrap();
        self.kept += usize::from(outcome.succeeded);
        if outcome.succeeded { Stored::Done { revision: outcome.revision } } else { Stored::Lost }
    }

    pub fn head(&self) -> Head {
        match self.fault {
            Fault::Away { head: false, .. } => Head::Unreadable,
            _ => Head::Is { end: self.end().0, revision: self.end().1 },
        }
    }

    pub fn end(&self) -> (Link, u64) {
        let row = self.store.get(keys::END).unwrap();
        row.map_or((Link::default(), 0), |row| (keys::decode_end(&row.value).unwrap(), row.modified))
    }
    /// Another server writes.
    pub fn usurp(&self) {
        let other = Link { sequence: 1 << 40, hash: [9; 32] };
        self.store.txn(Txn::of(vec![Op::put(keys::END, keys::encode_end(&other))])).unwrap();
    }

    pub fn body(&self, root: BlobHash) -> Vec<u8> {
        assemble(root, |hash| self.store.get_blob(hash).unwrap()).unwrap()
    }
    fn root(&self, key: &str) -> Option<BlobHash> {
        self.store.get(key).unwrap().map(|row| BlobHash(row.value.try_into().unwrap()))
    }
    pub fn committed(&self) -> Option<CommittedPlan> {
        self.root(keys::PLAN).map(|root| decode_committed_plan(&self.body(root)).unwrap())
    }
    pub fn intents(&self) -> Option<NamedIntents> {
        self.store.get(keys::INTENTS).unwrap().map(|row| decode_named_intents(&row.value).unwrap())
    }
    pub fn entries(&self) -> Vec<Entry> {
        self.store.range(keys::JOURNAL).unwrap().1.iter().map(|(_, row)| decode_entry(&row.value).unwrap()).collect()
    }

    pub fn load(&self, candidate: Candidate) -> Loaded {
        let (end, end_revision) = self.end();
        let committed = self.committed();
        let number =
            |key: &str| self.store.get(key).unwrap().map_or(0, |row| u64::from_be_bytes(row.value.try_into().unwrap()));
        Loaded {
            end_revision,
            end,
            term: number(keys::TERM),
            fleet_then: committed.as_ref().map(|c| decode_fleet(&self.body(c.fleet_blob)).unwrap()),
            decision_sequence: committed.as_ref().map_or(0, |c| number(&keys::decision(c.decision))),
            decision: committed.as_ref().and_then(|c| {
                self.entries().into_iter().find_map(|e| match e.body {
                    EntryBody::Decision(d) if d.id == c.decision => Some(d),
                    EntryBody::Decision(_) | EntryBody::Event(_) => None,
                })
            }),
            committed,
            intents: self.intents(),
            documents: self.root(keys::DOCUMENTS),
            candidate,
            version: "test".to_owned(),
        }
    }
}
