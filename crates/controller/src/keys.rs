//! Names of keys in the store, and the two small values that are no record of their own.

use tidegate_record::Link;

/// End of the journal: every transaction compares and rewrites it, so that two servers can never both write.
pub const END: &str = "tidegate/v1/end";
/// Root blob of the committed plan, 32 bytes.
pub const PLAN: &str = "tidegate/v1/plan";
/// Standing intents, by names.
pub const INTENTS: &str = "tidegate/v1/intents";
/// Term of the newest server, eight bytes big-endian.
pub const TERM: &str = "tidegate/v1/term";
/// Root blob of the configuration's documents, 32 bytes.
pub const DOCUMENTS: &str = "tidegate/v1/documents";
/// Addresses of host names among the endpoints, as they were found last: documents of name and address lines. Written
/// beside the journal, not in it: what stands here decides nothing.
pub const RESOLVED: &str = "tidegate/v1/resolved";
/// Prefix of journal entries.
pub const JOURNAL: &str = "tidegate/v1/journal/";
/// Prefix of decisions: the sequence of their journal entry, eight bytes big-endian.
pub const DECISION: &str = "tidegate/v1/decision/";

/// Key of the journal entry with this sequence; keys sort as sequences do.
#[must_use]
pub fn journal(sequence: u64) -> String {
    format!("{JOURNAL}{sequence:016x}")
}
/// Key of the decision with this id.
#[must_use]
pub fn decision(id: u64) -> String {
    format!("{DECISION}{id:016x}")
}

/// The end of the journal as bytes: format 1, sequence, hash.
#[must_use]
pub fn encode_end(end: &Link) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(end.sequence.to_be_bytes());
    bytes.extend(end.hash);
    bytes
}
/// The end of the journal from bytes; none for another format.
#[must_use]
pub fn decode_end(bytes: &[u8]) -> Option<Link> {
    let (format, rest) = bytes.split_first()?;
    let sequence = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let hash = rest.get(8..)?.try_into().ok()?;
    (*format == 1).then_some(Link { sequence, hash })
}

/// Documents as bytes: format 1, then name and text, each after its length in four bytes big-endian.
#[must_use]
pub fn encode_documents(documents: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![1];
    for (name, text) in documents {
        for part in [name.as_bytes(), text.as_slice()] {
            bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}
/// Documents from bytes; none when they are cut short or of another format.
#[must_use]
pub fn decode_documents(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let (format, mut rest) = bytes.split_first()?;
    let mut part = || -> Option<Vec<u8>> {
        let (length, after) = rest.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let (value, after) = after.split_at_checked(length)?;
        rest = after;
        Some(value.to_vec())
    };
    let mut documents = Vec::new();
    if *format != 1 {
        return None;
    }
    while let Some(name) = part() {
        documents.push((String::from_utf8(name).ok()?, part()?));
    }
    rest.is_empty().then_some(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_come_back() {
        let end = Link { sequence: 7, hash: [9; 32] };
        assert_eq!(decode_end(&encode_end(&end)), Some(end));
        assert_eq!(decode_end(&[1, 2]), None);
        let documents = vec![("a.yaml".to_owned(), b"x: 1".to_vec()), ("b".to_owned(), Vec::new())];
        let bytes = encode_documents(&documents);
        assert_eq!(decode_documents(&bytes), Some(documents));
        for cut in 1..bytes.len() {
            let whole = decode_documents(&bytes[..cut]).is_some_and(|d| encode_documents(&d) == bytes[..cut]);
            assert!(whole || decode_documents(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }
    #[test]
    fn journal_keys_sort_as_numbers() {
        assert!(journal(9) < journal(10) && journal(255) < journal(256));
    }
}
