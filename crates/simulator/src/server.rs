//! One server in virtual time: the shipped controller on a store in memory.
//!
//! Owns the shell's part: writes and their answers, loading at a start. Refuses to decide.

use crate::check;
use anyhow::{Context, Result};
use std::sync::Arc;
use tidegate_controller::{Candidate, Controller, Effect, Head, Input, Loaded, Now, Stored, keys};
use tidegate_domain::{CycleInput, Mono};
use tidegate_record::{
    BlobHash, CommittedPlan, Decision, Entry, EntryBody, Link, NamedIntents, assemble, decode_committed_plan,
    decode_entry, decode_fleet, decode_named_intents, read_input,
};
use tidegate_store::{Condition, Memory, Op, Store, Txn, Urgency};

/// What hinders the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Trouble {
    #[default]
    None,
    Away,
    Full,
}

pub(crate) struct Server {
    pub(crate) controller: Controller,
    store: Arc<Memory>,
    pub(crate) trouble: Trouble,
    candidate: Candidate,
}

impl Server {
    pub(crate) fn new(candidate: Candidate) -> Self {
        let clock: tidegate_store::Clock = Arc::new(|| Mono(0));
        let store = Arc::new(Memory::new(clock, 64));
        Self { controller: Controller::new(), store, trouble: Trouble::None, candidate }
    }

    /// A process starts on what the store holds; what it is to be fed first.
    pub(crate) fn start(&mut self) -> Result<Input> {
        self.controller = Controller::new();
        Ok(Input::Loaded(Box::new(self.load()?)))
    }

    /// Hands one input over and steps.
    pub(crate) fn feed(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let mut effects = self.controller.handle(input, now);
        effects.extend(self.controller.step(now));
        effects
    }

    /// The store's answer to a write.
    pub(crate) fn write(
        &self,
        end_revision: u64,
        puts: Vec<(String, Vec<u8>)>,
        blobs: &[(BlobHash, Vec<u8>)],
        safety: bool,
    ) -> Result<Stored> {
        match self.trouble {
            Trouble::Away => return Ok(Stored::Unavailable { words: "time-out".to_owned() }),
            Trouble::Full if !safety => return Ok(Stored::Full { words: "no space left on device".to_owned() }),
            Trouble::Full | Trouble::None => {}
        }
        for (_, bytes) in blobs {
            self.store.put_blob(bytes, Urgency::Ordinary)?;
        }
        let condition = if end_revision == 0 { Condition::Absent } else { Condition::Modified(end_revision) };
        let ops = puts.into_iter().map(|(key, value)| Op::put(key, value)).collect();
        let outcome = self.store.txn(Txn::of(ops).when(keys::END, condition))?;
        Ok(if outcome.succeeded { Stored::Done { revision: outcome.revision } } else { Stored::Lost })
    }

    pub(crate) fn head(&self) -> Result<Head> {
        if self.trouble == Trouble::Away {
            return Ok(Head::Unreadable);
        }
        let (end, revision) = self.end()?;
        Ok(Head::Is { end, revision })
    }

    pub(crate) fn end(&self) -> Result<(Link, u64)> {
        let Some(row) = self.store.get(keys::END)? else { return Ok((Link::default(), 0)) };
        Ok((keys::decode_end(&row.value).context("the end of the journal is damaged")?, row.modified))
    }

    fn body(&self, root: BlobHash) -> Result<Vec<u8>> {
        Ok(assemble(root, |hash| self.blob(hash))?)
    }

    fn root(&self, key: &str) -> Result<Option<BlobHash>> {
        let Some(row) = self.store.get(key)? else { return Ok(None) };
        Ok(Some(BlobHash(row.value.as_slice().try_into()?)))
    }

    fn number(&self, key: &str) -> Result<u64> {
        let Some(row) = self.store.get(key)? else { return Ok(0) };
        Ok(u64::from_be_bytes(row.value.as_slice().try_into()?))
    }

    pub(crate) fn committed(&self) -> Result<Option<CommittedPlan>> {
        let Some(root) = self.root(keys::PLAN)? else { return Ok(None) };
        Ok(Some(decode_committed_plan(&self.body(root)?)?))
    }

    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        let (_, rows) = self.store.range(keys::JOURNAL)?;
        rows.iter().map(|(_, row)| decode_entry(&row.value).context("an entry of the journal")).collect()
    }

    fn decisions(&self) -> Result<Vec<Decision>> {
        let decision = |e: Entry| match e.body {
            EntryBody::Decision(d) => Some(d),
            EntryBody::Event(_) => None,
        };
        Ok(self.entries()?.into_iter().filter_map(decision).collect())
    }

    fn load(&self) -> Result<Loaded> {
        let (end, end_revision) = self.end()?;
        let committed = self.committed()?;
        let fleet_then = match &committed {
            Some(c) => Some(decode_fleet(&self.body(c.fleet_blob)?)?),
            None => None,
        };
        let (mut decision_sequence, mut decision) = (0, None);
        if let Some(c) = &committed {
            decision_sequence = self.number(&keys::decision(c.decision))?;
            decision = self.decisions()?.into_iter().find(|d| d.id == c.decision);
        }
        let intents: Option<NamedIntents> = match self.store.get(keys::INTENTS)? {
            Some(row) => Some(decode_named_intents(&row.value)?),
            None => None,
        };
        Ok(Loaded {
            end_revision,
            end,
            term: self.number(keys::TERM)?,
            committed,
            fleet_then,
            decision_sequence,
            decision,
            intents,
            documents: self.root(keys::DOCUMENTS)?,
            candidate: self.candidate.clone(),
            version: "simulated".to_owned(),
        })
    }

    /// The decision of this id, and what it was made of; none where it is not kept.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub(crate) fn decided(&self, id: u64) -> Result<Option<(Decision, CycleInput)>> {
        let Some(row) = self.store.get(&keys::decision(id))? else { return Ok(None) };
        let sequence = u64::from_be_bytes(row.value.as_slice().try_into()?);
        let Some(row) = self.store.get(&keys::journal(sequence))? else { return Ok(None) };
        let EntryBody::Decision(decision) = decode_entry(&row.value)?.body else { return Ok(None) };
        let input = read_input(decision.input, |hash| self.blob(hash))?;
        Ok(Some((decision, input)))
    }

    /// I12, with the shipped kernel. How many decisions replayed.
    ///
    /// # Errors
    /// With what does not hold.
    pub(crate) fn replays(&self) -> Result<u64> {
        let (entries, end) = (self.entries()?, self.end()?.0);
        check::replays(&entries, end, |hash| self.blob(hash), tidegate_kernel::cycle).map_err(anyhow::Error::msg)
    }

    pub(crate) fn blob(&self, hash: BlobHash) -> Option<Vec<u8>> {
        self.store.get_blob(hash).ok().flatten()
    }
}
