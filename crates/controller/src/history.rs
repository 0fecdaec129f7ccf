//! Reads the journal back in slices: what was, for the audit, for followers that come again, for replays.
//!
//! Owns where a slice begins and ends, and the check that slices follow each other. Refuses to hold a journal whole: a
//! long one costs a reader no more memory than a short one.

use crate::keys;
use std::ops::RangeInclusive;
use tidegate_record::{Decision, Entry, EntryBody, Link, RecordError, Row, decode_entry, verify_chain_from};
use tidegate_store::{Store, StoreError};

/// Entries of one slice at most.
pub const SLICE_MAX: usize = 1_000;
/// Keys are read in blocks that share all digits but the last of these.
const BLOCK_BITS: u32 = 8;

/// Why the journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is no entry.
    #[error("entry {sequence} of the journal is damaged: {why}")]
    Entry {
        /// Which.
        sequence: u64,
        /// What the decoder says.
        why: RecordError,
    },
    /// A small value of the store has another form.
    #[error("{what} is damaged in the store; restore a copy of the store")]
    Damaged {
        /// Which.
        what: String,
    },
}

/// The rows behind `prefix` whose number is in `among`, in order, `limit` at most. Holes cost next to nothing.
fn numbered(
    store: &dyn Store,
    prefix: &str,
    among: RangeInclusive<u64>,
    limit: usize,
) -> Result<Vec<(u64, Row)>, ReadError> {
    let mut found = Vec::new();
    let (mut block, last) = (*among.start() >> BLOCK_BITS, *among.end() >> BLOCK_BITS);
    let digits = 16 - BLOCK_BITS as usize / 4;
    while block <= last && found.len() < limit && !among.is_empty() {
        let (_, rows) = store.range(&format!("{prefix}{block:0digits$x}"))?;
        for (key, row) in rows {
            let number = key.strip_prefix(prefix).and_then(|n| u64::from_str_radix(n, 16).ok());
            let number = number.ok_or_else(|| ReadError::Damaged { what: format!("the key `{key}`") })?;
            if among.contains(&number) && found.len() < limit {
                found.push((number, row));
            }
        }
        block += 1;
    }
    Ok(found)
}

fn entry(sequence: u64, row: &Row) -> Result<Entry, ReadError> {
    decode_entry(&row.value).map_err(|why| ReadError::Entry { sequence, why })
}

/// Entries under the number of their key, which is theirs unless somebody has changed the journal.
fn slice(store: &dyn Store, after: u64, last: u64, limit: usize) -> Result<Vec<(u64, Entry)>, ReadError> {
    let rows = numbered(store, keys::JOURNAL, after.saturating_add(1)..=last, limit.min(SLICE_MAX))?;
    rows.iter().map(|(number, row)| Ok((*number, entry(*number, row)?))).collect()
}

/// The end of the journal.
///
/// # Errors
/// When the store does not answer or holds no end that can be read.
pub fn end(store: &dyn Store) -> Result<Link, ReadError> {
    end_at(store).map(|(end, _)| end)
}

/// The end of the journal and the revision that wrote it.
pub(crate) fn end_at(store: &dyn Store) -> Result<(Link, u64), ReadError> {
    let Some(row) = store.get(keys::END)? else { return Ok((Link::default(), 0)) };
    let end = keys::decode_end(&row.value);
    let end = end.ok_or_else(|| ReadError::Damaged { what: "the end of the journal".to_owned() })?;
    Ok((end, row.modified))
}

/// The entries after `after` and up to `last`, in order, `limit` at most and never more than [`SLICE_MAX`].
///
/// # Errors
/// When the store does not answer, or an entry is damaged.
pub fn entries(store: &dyn Store, after: u64, last: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
    let whole = |(number, entry): (u64, Entry)| match entry.sequence {
        sequence if sequence == number => Ok(entry),
        other => {
            Err(ReadError::Damaged { what: format!("entry {number} of the journal, which calls itself {other},") })
        }
    };
    slice(store, after, last, limit)?.into_iter().map(whole).collect()
}

/// A slice of the journal, checked.
#[derive(Debug)]
pub struct Checked {
    /// Its entries.
    pub entries: Vec<Entry>,
    /// Where the chain breaks, in words.
    pub fault: Option<String>,
    /// Where the next slice begins; none: this one reached the end.
    pub next: Option<u64>,
}

/// A slice of the journal after `after`, its hashes checked from the entry `after` on; the last slice is held against
/// the end that the store remembers. Slices that follow each other check the whole chain.
///
/// # Errors
/// When the store does not answer, or an entry is damaged.
pub fn checked(store: &dyn Store, after: u64, limit: usize) -> Result<Checked, ReadError> {
    let end = end(store)?;
    let before = match after {
        0 => Some(Link::default()),
        after => slice(store, after - 1, after, 1)?.first().map(|(_, entry)| entry.link()),
    };
    let slice = slice(store, after, end.sequence, limit.max(1))?;
    let next = slice.last().map(|(number, _)| *number).filter(|s| *s < end.sequence);
    let entries: Vec<Entry> = slice.into_iter().map(|(_, entry)| entry).collect();
    let fault = match before.map(|before| verify_chain_from(before, &entries)) {
        None => Some(format!("entry {after} is missing")),
        Some(Err(broken)) => Some(broken.to_string()),
        Some(Ok(last)) if next.is_none() && last.sequence < end.sequence => {
            Some(format!("entries after {} are missing", last.sequence))
        }
        Some(Ok(last)) if last.sequence == end.sequence && last.hash != end.hash => {
            Some("the last entry was changed".to_owned())
        }
        Some(Ok(_)) => None,
    };
    Ok(Checked { entries, fault, next })
}

/// The decision of this id, if it is on record.
///
/// # Errors
/// When the store does not answer, or what it holds is damaged.
pub fn decision(store: &dyn Store, id: u64) -> Result<Option<Decision>, ReadError> {
    match store.get(&keys::decision(id))? {
        Some(row) => decision_of(store, id, &row),
        None => Ok(None),
    }
}

fn decision_of(store: &dyn Store, id: u64, index: &Row) -> Result<Option<Decision>, ReadError> {
    let bytes: Result<[u8; 8], _> = index.value.as_slice().try_into();
    let bytes = bytes.map_err(|_| ReadError::Damaged { what: format!("the index of decision {id}") })?;
    let sequence = u64::from_be_bytes(bytes);
    let Some(row) = store.get(&keys::journal(sequence))? else { return Ok(None) };
    match entry(sequence, &row)?.body {
        EntryBody::Decision(decision) => Ok(Some(decision)),
        EntryBody::Event(_) => Ok(None),
    }
}

/// Decisions in order, `limit` at most: those after the id `after`, or the newest up to the id `last`.
///
/// # Errors
/// When the store does not answer, or what it holds is damaged.
pub fn decisions(store: &dyn Store, after: Option<u64>, last: u64, limit: usize) -> Result<Vec<Decision>, ReadError> {
    let limit = limit.clamp(1, SLICE_MAX);
    // Ids rise one by one, so that the newest are found by counting back.
    let after = after.unwrap_or(last.saturating_sub(limit as u64));
    let mut found = Vec::new();
    for (id, index) in numbered(store, keys::DECISION, after.saturating_add(1)..=last, limit)? {
        found.extend(decision_of(store, id, &index)?);
    }
    Ok(found)
}
