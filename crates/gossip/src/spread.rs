//! Which reports are news and are passed on, and what a report plus the digests after it come to.
//!
//! Owns, per vantage, the last full report and the newest digest. Refuses what is older than what is known,
//! reports in our own name, and digests of states that we do not hold (they are passed on, not believed).

use crate::identity::{Id, Role};
use crate::report::{Parsed, ReportIn, Unread, decode};
use foca::{BroadcastHandler, Invalidates};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::mpsc::Sender;
use tidegate_domain::Name;

/// Vantages remembered at once: far above any fleet; more can only come from a holder of the key gone wrong.
const VANTAGES_MAX: usize = 4096;

/// foca is given nothing to pass on: whoever hears a report from its own vantage passes it on once ([`crate::pass`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nothing {}
impl Invalidates for Nothing {
    fn invalidates(&self, _: &Self) -> bool {
        match *self {}
    }
}

/// What came of a broadcast.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A report that is fresh now.
    Report(ReportIn),
    /// News that came from its own vantage, as bytes: pass it on.
    Pass(Vec<u8>),
    /// A digest of states that are not held here.
    Unresolved,
    /// Bytes that are no report.
    Unread(Unread),
}

#[derive(Debug, Clone)]
struct Known {
    incarnation: u64,
    full: Option<Parsed>,
    digest: Option<Parsed>,
}

/// foca's handler of custom broadcasts.
#[derive(Debug)]
pub(crate) struct ReportSpread {
    own: Name,
    /// A prober passes on; a server is where reports end.
    passes: bool,
    known: BTreeMap<Name, Known>,
    heard: Sender<Heard>,
}

impl ReportSpread {
    pub(crate) fn new(own: Name, role: Role, heard: Sender<Heard>) -> Self {
        Self { own, passes: role == Role::Prober, known: BTreeMap::new(), heard }
    }

    /// Whether `parsed` is news.
    fn learn(&mut self, parsed: &Parsed) -> bool {
        if !self.known.contains_key(&parsed.vantage) && self.known.len() >= VANTAGES_MAX {
            return false;
        }
        let fresh = Known { incarnation: parsed.incarnation, full: None, digest: None };
        let known = self.known.entry(parsed.vantage.clone()).or_insert_with(|| fresh.clone());
        if parsed.incarnation < known.incarnation {
            return false;
        }
        if parsed.incarnation > known.incarnation {
            *known = fresh;
        }
        let place = if parsed.body.is_some() { &mut known.full } else { &mut known.digest };
        if place.as_ref().is_some_and(|held| held.sequence >= parsed.sequence) {
            return false;
        }
        let overtaken = known.full.as_ref().is_some_and(|full| full.sequence >= parsed.sequence);
        if parsed.body.is_none() && overtaken {
            return false;
        }
        let before = known.full.as_ref().map(|full| full.hash);
        let last = known.digest.as_ref().max_by_sequence(known.full.as_ref()).map_or(0, |held| held.sequence);
        if parsed.body.is_some() {
            known.full = Some(parsed.clone());
        } else {
            known.digest = Some(parsed.clone());
        }
        let newest = known.digest.as_ref().max_by_sequence(known.full.as_ref());
        let outcome = match (&known.full, newest) {
            (Some(full), Some(newest)) if full.hash == newest.hash && full.revision == newest.revision => {
                // A full report that arrives after its digest is news although its number is lower.
                let news = newest.sequence > last || before != Some(full.hash);
                news.then(|| Heard::Report(report_of(full, newest)))
            }
            _ => Some(Heard::Unresolved),
        };
        // The receiver lives in the same node; it goes only when the node goes.
        outcome.map(|heard| self.heard.send(heard));
        true
    }
}

trait MaxBySequence<'a> {
    fn max_by_sequence(self, other: Option<&'a Parsed>) -> Option<&'a Parsed>;
}
impl<'a> MaxBySequence<'a> for Option<&'a Parsed> {
    fn max_by_sequence(self, other: Option<&'a Parsed>) -> Option<&'a Parsed> {
        self.into_iter().chain(other).max_by_key(|parsed| parsed.sequence)
    }
}

fn report_of(full: &Parsed, newest: &Parsed) -> ReportIn {
    let (states, rtt) = full.body.clone().unwrap_or_default();
    ReportIn {
        vantage: full.vantage.clone(),
        incarnation: full.incarnation,
        sequence: newest.sequence,
        revision_short: full.revision,
        own: newest.own,
        states,
        rtt,
    }
}

impl BroadcastHandler<Id> for ReportSpread {
    type Key = Nothing;
    // A bad report must not cost the datagram's other content: it is counted, never an error.
    type Error = Infallible;

    fn receive_item(&mut self, data: &[u8], sender: Option<&Id>) -> Result<Option<Nothing>, Infallible> {
        let parsed = match decode(data) {
            Ok(parsed) => parsed,
            Err(unread) => {
                let _ = self.heard.send(Heard::Unread(unread));
                return Ok(None);
            }
        };
        let Some(sender) = sender.filter(|_| parsed.vantage != self.own) else { return Ok(None) };
        let first_hand = *sender.name == *parsed.vantage.as_str();
        if self.learn(&parsed) && first_hand && self.passes {
            // The receiver lives in the same node; it goes only when the node goes.
            let _ = self.heard.send(Heard::Pass(data.to_vec()));
        }
        Ok(None)
    }
}
