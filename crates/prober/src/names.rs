//! Addresses of host names, as the look-ups outside bring them.
//!
//! Owns when a name is asked for again, and that a failed or empty answer keeps the last set. At most one look-up
//! of a name is under way.

use crate::list::List;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tidegate_domain::{Millis, Mono};

/// As often as the servers look names up for the edges: what is judged is what is used.
const RESOLVE_EVERY: Millis = Millis(5_000);
/// After an answer that failed.
const RESOLVE_AGAIN: Millis = Millis(2_000);

#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    ask_at: Mono,
    asked: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Names {
    known: BTreeMap<String, Known>,
}

impl Names {
    /// The address to use for `host`, by turns where it has several; none while it has none.
    pub(crate) fn address(&self, host: &str, turn: usize) -> Option<IpAddr> {
        if let Ok(ip) = host.parse() {
            return Some(ip);
        }
        let known = self.known.get(host)?;
        known.addresses.get(turn % known.addresses.len().max(1)).copied()
    }

    /// Forgets names that `list` does not hold, and starts to know those that it holds.
    pub(crate) fn follow(&mut self, list: &List, now: Mono) {
        let hosts = list.targets.iter().map(|t| &t.host).chain(list.references.iter().map(|r| &r.host));
        let wanted: BTreeSet<&String> = hosts.filter(|host| host.parse::<IpAddr>().is_err()).collect();
        self.known.retain(|host, _| wanted.contains(host));
        for host in wanted {
            let new = || Known { addresses: Vec::new(), ask_at: now, asked: false };
            self.known.entry(host.clone()).or_insert_with(new);
        }
    }

    /// At most `room` names that are due to be looked up; each counts as asked from now on.
    pub(crate) fn due(&mut self, now: Mono, room: usize) -> Vec<String> {
        let due = self.known.iter_mut().filter(|(_, known)| !known.asked && known.ask_at <= now);
        let ask = |(host, known): (&String, &mut Known)| {
            known.asked = true;
            known.ask_at = now + RESOLVE_AGAIN;
            host.clone()
        };
        due.take(room).map(ask).collect()
    }

    /// Takes an answer; an empty one changes nothing but when to ask again.
    pub(crate) fn learn(&mut self, host: &str, addresses: Vec<IpAddr>, now: Mono) {
        let Some(known) = self.known.get_mut(host) else { return };
        known.asked = false;
        if !addresses.is_empty() {
            known.addresses = addresses;
            known.ask_at = now + RESOLVE_EVERY;
        }
    }
}
