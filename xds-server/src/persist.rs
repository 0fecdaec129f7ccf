//! The store's shell: writes in order on the store's own thread, and reading it at start-up.

use anyhow::{Context, Result};
use prometheus::IntCounter;
use std::path::Path;
use std::sync::Arc;
use tidegate_controller::{Candidate, Head, Loaded, Stored, keys};
use tidegate_domain::Fleet;
use tidegate_policy::Bundle;
use tidegate_record::{
    BlobHash, CommittedPlan, Entry, EntryBody, Link, assemble, decode_committed_plan, decode_entry, decode_fleet,
    decode_named_intents,
};
use tidegate_store::{Condition, Embedded, Op, Options, Store, StoreError, Txn, Urgency};
use tidegate_translate::Resolved;

/// Opens the store in `dir`.
pub(crate) fn open(dir: &Path) -> Result<Arc<dyn Store>> {
    std::fs::create_dir_all(dir).with_context(|| format!("store directory {}", dir.display()))?;
    let store = Embedded::open(dir, Options::default(), Arc::new(crate::clock::mono))
        .with_context(|| format!("the store in {} cannot be used", dir.display()))?;
    Ok(Arc::new(store))
}

/// Writes one transaction. Blocks.
pub(crate) fn write(
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

/// Reads a chunked value.
pub(crate) fn body(store: &dyn Store, root: BlobHash) -> Result<Vec<u8>> {
    assemble(root, |hash| store.get_blob(hash).ok().flatten()).context("a blob of the store cannot be read")
}

fn root_at(store: &dyn Store, key: &str) -> Result<Option<BlobHash>> {
    let Some(row) = store.get(key)? else { return Ok(None) };
    let bytes: [u8; 32] = row.value.try_into().ok().with_context(|| format!("the store's `{key}` is damaged"))?;
    Ok(Some(BlobHash(bytes)))
}

/// The end of the journal and the revision that wrote it.
pub(crate) fn end(store: &dyn Store) -> Result<(Link, u64)> {
    match store.get(keys::END)? {
        None => Ok((Link::default(), 0)),
        Some(row) => {
            let end = keys::decode_end(&row.value)
                .context("the store's end of the journal is damaged; restore a copy of the store")?;
            Ok((end, row.modified))
        }
    }
}

/// Names and texts.
type Documents = Vec<(String, Vec<u8>)>;

/// The documents of the fleet that stood.
pub(crate) fn documents(store: &dyn Store) -> Result<Option<Documents>> {
    let Some(root) = root_at(store, keys::DOCUMENTS)? else { return Ok(None) };
    let bytes = body(store, root)?;
    keys::decode_documents(&bytes).context("the store's documents are damaged").map(Some)
}

/// The addresses of host names that were found last; none where they were never kept, or cannot be read.
pub(crate) fn resolved(store: &dyn Store) -> Resolved {
    let row = store.get(keys::RESOLVED).ok().flatten();
    let Some(named) = row.and_then(|row| keys::decode_documents(&row.value)) else { return Resolved::new() };
    let addresses = |text: &[u8]| String::from_utf8_lossy(text).lines().filter_map(|l| l.parse().ok()).collect();
    named.into_iter().map(|(host, text)| (host, addresses(&text))).collect()
}

/// Keeps the addresses of host names for the next start. Blocks. A failure costs no more than that start.
pub(crate) fn keep_resolved(store: &dyn Store, resolved: &Resolved) {
    let lines = |all: &[std::net::IpAddr]| all.iter().map(|a| format!("{a}\n")).collect::<String>().into_bytes();
    let named: Vec<(String, Vec<u8>)> = resolved.iter().map(|(host, all)| (host.clone(), lines(all))).collect();
    if let Err(error) = store.txn(Txn::of(vec![Op::put(keys::RESOLVED, keys::encode_documents(&named))])) {
        tracing::warn!("the addresses of host names are not kept for the next start: {error}");
    }
}

/// Everything that the controller starts from.
pub(crate) fn load(store: &dyn Store, candidate: Candidate) -> Result<Loaded> {
    let (end, end_revision) = end(store)?;
    let committed = committed(store)?;
    let fleet_then = committed.as_ref().map(|c| fleet_of(store, c)).transpose()?;
    let term = match store.get(keys::TERM)? {
        None => 0,
        Some(row) => u64::from_be_bytes(row.value.try_into().ok().context("the store's term is damaged")?),
    };
    let intents = match store.get(keys::INTENTS)? {
        None => None,
        Some(row) => Some(decode_named_intents(&row.value).context("the store's intents are damaged")?),
    };
    let decision_sequence = match &committed {
        None => 0,
        Some(committed) => decision_sequence(store, committed.decision)?,
    };
    let decision = entry_at(store, decision_sequence)?.and_then(|entry| match entry.body {
        EntryBody::Decision(decision) => Some(decision),
        EntryBody::Event(_) => None,
    });
    let documents = root_at(store, keys::DOCUMENTS)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
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

fn entry_at(store: &dyn Store, sequence: u64) -> Result<Option<Entry>> {
    let row = store.get(&keys::journal(sequence))?;
    row.map(|row| decode_entry(&row.value).context("an entry of the store's journal is damaged")).transpose()
}

fn decision_sequence(store: &dyn Store, id: u64) -> Result<u64> {
    let row = store.get(&keys::decision(id))?.with_context(|| format!("the store names no entry for decision {id}"))?;
    Ok(u64::from_be_bytes(row.value.try_into().ok().with_context(|| format!("decision {id} is damaged in the store"))?))
}

/// The head as it stands now, for a write that got no clear answer. Blocks.
pub(crate) fn head(store: &dyn Store) -> Head {
    match end(store) {
        Ok((end, revision)) => Head::Is { end, revision },
        Err(error) => {
            tracing::warn!("the head of the store cannot be read: {error:#}");
            Head::Unreadable
        }
    }
}

fn committed(store: &dyn Store) -> Result<Option<CommittedPlan>> {
    let Some(root) = root_at(store, keys::PLAN)? else { return Ok(None) };
    Ok(Some(decode_committed_plan(&body(store, root)?).context("the store's plan cannot be decoded")?))
}

fn fleet_of(store: &dyn Store, committed: &CommittedPlan) -> Result<Fleet> {
    decode_fleet(&body(store, committed.fleet_blob)?).context("the store's fleet cannot be decoded")
}

/// A candidate from documents that passed every check; policy must compile and answer every question of this fleet. What
/// it answers is logged, and where it would have widened what the configuration permits, counted.
pub(crate) fn candidate(
    loaded: tidegate_config::Loaded,
    widenings_refused: &IntCounter,
) -> Result<Candidate, Vec<String>> {
    let bundle = Bundle::compile(loaded.policy).map_err(|e| vec![e.to_string()])?;
    let outcome = bundle.mask(&loaded.fleet, None);
    let faults =
        outcome.faults.iter().map(|f| format!("{} to {} ({} move): {}", f.class, f.place, f.kind.word(), f.what));
    let faults: Vec<String> = faults.collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let hash = crate::tokens::hex(&bundle.hash());
    for entry in &outcome.decisions {
        let (allow, reason, question) =
            (entry.answer.allow, &entry.answer.reason, crate::tokens::hex(&entry.input_hash));
        let (place, kind, widening_refused) = (entry.place.to_string(), entry.kind.word(), entry.widening_refused);
        widenings_refused.inc_by(u64::from(widening_refused));
        let class = &entry.class;
        tracing::info!(target: "tidegate::policy", bundle = hash, question, class, place, kind, allow, widening_refused, reason);
    }
    Ok(Candidate { fleet: Arc::new(loaded.fleet), bundle: Arc::new(bundle), sources: loaded.sources })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_host_names_outlive_the_process() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let found: Resolved = [
            ("db.example".to_owned(), vec!["192.0.2.1".parse()?, "2001:db8::1".parse()?]),
            ("lost.example".to_owned(), Vec::new()),
        ]
        .into();
        let store = open(dir.path())?;
        assert_eq!(resolved(&*store), Resolved::new());
        keep_resolved(&*store, &found);
        drop(store);
        assert_eq!(resolved(&*open(dir.path())?), found);
        Ok(())
    }
}
