//! Whom this server's gossip hears, and whom it has lost.
//!
//! Owns that memory. Refuses to conclude: a lost member is a fact about the path to a prober.

use std::collections::BTreeSet;
use tidegate_domain::{Fleet, VantageIx};

/// Members by name: of whatever fleet, for a reload changes nothing in who is heard.
#[derive(Debug, Default)]
pub(crate) struct Members {
    heard: BTreeSet<String>,
    /// Heard before, and not now.
    lost: BTreeSet<String>,
}

impl Members {
    /// Takes who is heard now; whether that is news.
    pub(crate) fn take(&mut self, heard: Vec<String>) -> bool {
        let now: BTreeSet<String> = heard.into_iter().collect();
        let gone: Vec<String> = self.heard.difference(&now).cloned().collect();
        self.lost.extend(gone);
        self.lost.retain(|name| !now.contains(name));
        std::mem::replace(&mut self.heard, now.clone()) != now
    }

    /// The configured vantages among the lost, by index.
    pub(crate) fn lost(&self, fleet: &Fleet) -> Vec<VantageIx> {
        let is_lost = |(_, v): &(usize, &tidegate_domain::Vantage)| self.lost.contains(v.name.as_str());
        fleet.vantages.iter().enumerate().filter(is_lost).map(|(i, _)| VantageIx::from(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Members;
    use tidegate_domain::{Fleet, Name, RegionIx, Vantage, VantageIx};

    #[test]
    fn who_was_heard_and_is_not_is_lost_until_heard_again() {
        let vantage = |n: &str| Vantage { name: Name::new(n).unwrap(), region: RegionIx(0), gossip: String::new() };
        let fleet = Fleet { vantages: ["a", "b", "c"].map(vantage).to_vec(), ..Fleet::default() };
        let names = |of: &[&str]| of.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let mut members = Members::default();
        assert!(!members.take(Vec::new()));
        assert_eq!(members.lost(&fleet), [], "who was never heard is not lost");
        assert!(members.take(names(&["a", "b", "server-2"])));
        assert!(!members.take(names(&["b", "a", "server-2"])), "no news");
        assert!(members.take(names(&["a"])));
        assert_eq!(members.lost(&fleet), [VantageIx(1)], "a server that is gone is no vantage");
        assert!(members.take(names(&["a", "b"])));
        assert_eq!(members.lost(&fleet), []);
    }
}
