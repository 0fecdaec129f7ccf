//! What the store holds, written and read: one transaction for each write of the loop, and everything that it starts from.
//!
//! Owns the keys' use and their order; all calls block. Refuses to open a store, and to guess what a damaged one held.

use crate::history::{self, ReadError};
use crate::input::{Candidate, Head, Loaded, Stored};
use crate::keys;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tidegate_domain::Fleet;
use tidegate_record::{
    BlobHash, CommittedPlan, EntryBody, assemble, decode_committed_plan, decode_fleet, decode_named_intents,
};
use tidegate_store::{Condition, Op, Store, StoreError, Txn, Urgency};

/// Writes one transaction.
#[must_use]
pub fn write(
    store: &dyn Store,
    end_revision: u64,
    puts: Vec<(String, Vec<u8>)>,
    blobs: &[(BlobHash, Vec<u8>)],
    safety: bool,
) -> Stored {
    let urgency = if safety { Urgency::Safety } else { Urgency::Ordinary };
    for (_, bytes) in blobs {
        if let Err(error) = store.put_blob(bytes, urgency) {
            return answer(&error);
        }
    }
    let condition = if end_revision == 0 { Condition::Absent } else { Condition::Modified(end_revision) };
    let mut txn =
        Txn::of(puts.into_iter().map(|(key, value)| Op::put(key, value)).collect()).when(keys::END, condition);
    txn.urgency = urgency;
    match store.txn(txn) {
        Ok(outcome) if outcome.succeeded => Stored::Done { revision: outcome.revision },
        Ok(_) => Stored::Lost,
        Err(error) => answer(&error),
    }
}

fn answer(error: &StoreError) -> Stored {
    let words = error.to_string();
    match error {
        StoreError::Full { .. } => Stored::Full { words },
        _ => Stored::Unavailable { words },
    }
}

fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged { what: what.into() }
}

/// Reads a chunked value.
///
/// # Errors
/// When a part of it is missing or no longer what its hash says.
pub fn body(store: &dyn Store, root: BlobHash) -> Result<Vec<u8>, ReadError> {
    let get = |hash| store.get_blob(hash).ok().flatten();
    assemble(root, get).map_err(|why| damaged(format!("the blob {root} ({why})")))
}

fn root_at(store: &dyn Store, key: &str) -> Result<Option<BlobHash>, ReadError> {
    let Some(row) = store.get(key)? else { return Ok(None) };
    let bytes: [u8; 32] = row.value.try_into().map_err(|_| damaged(format!("`{key}`")))?;
    Ok(Some(BlobHash(bytes)))
}

/// Names and texts.
type Documents = Vec<(String, Vec<u8>)>;

/// The documents of the fleet that stood.
///
/// # Errors
/// When the store does not answer, or they are damaged.
pub fn documents(store: &dyn Store) -> Result<Option<Documents>, ReadError> {
    let Some(root) = root_at(store, keys::DOCUMENTS)? else { return Ok(None) };
    let bytes = body(store, root)?;
    keys::decode_documents(&bytes).ok_or_else(|| damaged("the configuration")).map(Some)
}

/// The addresses of host names that were found last; none where they were never kept, or cannot be read.
#[must_use]
pub fn resolved(store: &dyn Store) -> BTreeMap<String, Vec<IpAddr>> {
    let row = store.get(keys::RESOLVED).ok().flatten();
    let named = row.and_then(|row| keys::decode_documents(&row.value)).unwrap_or_default();
    let addresses = |text: &[u8]| String::from_utf8_lossy(text).lines().filter_map(|l| l.parse().ok()).collect();
    named.into_iter().map(|(host, text)| (host, addresses(&text))).collect()
}

/// Keeps the addresses of host names for the next start. A failure costs no more than that start.
///
/// # Errors
/// When the store is full or does not answer.
pub fn keep_resolved(store: &dyn Store, resolved: &BTreeMap<String, Vec<IpAddr>>) -> Result<(), StoreError> {
    let lines = |all: &[IpAddr]| all.iter().map(|a| format!("{a}\n")).collect::<String>().into_bytes();
    let named: Vec<(String, Vec<u8>)> = resolved.iter().map(|(host, all)| (host.clone(), lines(all))).collect();
    store.txn(Txn::of(vec![Op::put(keys::RESOLVED, keys::encode_documents(&named))])).map(|_| ())
}

/// Everything that the controller starts from; `version` is the program's.
///
/// # Errors
/// When the store does not answer, or anything in it is damaged: nothing is guessed.
pub fn load(store: &dyn Store, candidate: Candidate, version: &str) -> Result<Loaded, ReadError> {
    let (end, end_revision) = history::end_at(store)?;
    let committed = committed(store)?;
    let fleet_then = committed.as_ref().map(|c| fleet_of(store, c)).transpose()?;
    let term = match store.get(keys::TERM)? {
        None => 0,
        Some(row) => u64::from_be_bytes(row.value.try_into().map_err(|_| damaged("the term"))?),
    };
    let intents = match store.get(keys::INTENTS)? {
        None => None,
        Some(row) => {
            let intents = decode_named_intents(&row.value);
            Some(intents.map_err(|why| damaged(format!("the record of what people asked for ({why})")))?)
        }
    };
    let (decision_sequence, decision) = match &committed {
        None => (0, None),
        Some(committed) => decision(store, committed.decision)?,
    };
    let documents = root_at(store, keys::DOCUMENTS)?;
    let version = version.to_owned();
    Ok(Loaded {
        end_revision,
        end,
        term,
        committed,
        fleet_then,
        decision_sequence,
        decision,
        intents,
        documents,
        candidate,
        version,
    })
}

/// The decision of the committed plan, and where it stands.
fn decision(store: &dyn Store, id: u64) -> Result<(u64, Option<tidegate_record::Decision>), ReadError> {
    let row = store.get(&keys::decision(id))?.ok_or_else(|| damaged(format!("the index of decision {id}")))?;
    let bytes: [u8; 8] = row.value.try_into().map_err(|_| damaged(format!("the index of decision {id}")))?;
    let sequence = u64::from_be_bytes(bytes);
    let entry = history::entries(store, sequence.saturating_sub(1), sequence, 1)?.pop();
    let decision = entry.and_then(|entry| match entry.body {
        EntryBody::Decision(decision) => Some(decision),
        EntryBody::Event(_) => None,
    });
    Ok((sequence, decision))
}

/// The head as it stands now, for a write that got no clear answer.
///
/// # Errors
/// When it cannot be read now: then it is not known whether that write was kept.
pub fn head(store: &dyn Store) -> Result<Head, ReadError> {
    history::end_at(store).map(|(end, revision)| Head::Is { end, revision })
}

fn committed(store: &dyn Store) -> Result<Option<CommittedPlan>, ReadError> {
    let Some(root) = root_at(store, keys::PLAN)? else { return Ok(None) };
    let plan = decode_committed_plan(&body(store, root)?);
    Ok(Some(plan.map_err(|why| damaged(format!("the plan ({why})")))?))
}

fn fleet_of(store: &dyn Store, committed: &CommittedPlan) -> Result<Fleet, ReadError> {
    decode_fleet(&body(store, committed.fleet_blob)?).map_err(|why| damaged(format!("the fleet ({why})")))
}
