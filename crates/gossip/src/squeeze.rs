//! Runs of equal bytes in few: what a vantage of a large fleet says of the thousands of targets that it does not probe.
//!
//! A byte below 128 stands before so many bytes and one, as they are; one from 128 on stands before a byte that comes 126
//! times less than it says. Refuses to make more out of a text than its reader asks for.

const PLAIN_MAX: usize = 128;
const RUN_MIN: usize = 2;
const RUN_MAX: usize = 129;

pub(crate) fn squeeze(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 4 + 8);
    let mut plain = 0..0;
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().take(RUN_MAX).take_while(|b| **b == bytes[at]).count();
        // A run of two within plain bytes saves nothing.
        if run > RUN_MIN || (run == RUN_MIN && plain.is_empty()) {
            put_plain(&mut out, &bytes[plain]);
            out.extend([(run + 126) as u8, bytes[at]]);
            plain = at + run..at + run;
        } else {
            plain.end = at + run;
        }
        at += run;
    }
    put_plain(&mut out, &bytes[plain]);
    out
}

fn put_plain(out: &mut Vec<u8>, bytes: &[u8]) {
    for part in bytes.chunks(PLAIN_MAX) {
        out.push((part.len() - 1) as u8);
        out.extend_from_slice(part);
    }
}

/// None unless `text` comes to exactly `length` bytes.
pub(crate) fn expand(mut text: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(length);
    while let Some((first, rest)) = text.split_first() {
        let first = usize::from(*first);
        if first < PLAIN_MAX {
            let (part, rest) = rest.split_at_checked(first + 1)?;
            out.extend_from_slice(part);
            text = rest;
        } else {
            let (byte, rest) = rest.split_first()?;
            out.resize(out.len() + first - 126, *byte);
            text = rest;
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}
