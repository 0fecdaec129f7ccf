//! What all classes of an edge learn in common: how each address fails, and whether each place still answers.
//!
//! A dead endpoint is dead for every class that it serves: what one class has paid for, no other should pay again. What
//! only one class fails at (its own data, its own code) stays that class's affair: see [`super::Host`], which keeps both
//! counts. Owns nothing for longer than some cluster uses it.

use super::host::Health;
use super::pulse::Pulse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Service and region.
type Site = (String, String);

/// Shared by all clusters of an edge.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    addresses: Mutex<BTreeMap<SocketAddr, Weak<Health>>>,
    sites: Mutex<BTreeMap<Site, Weak<Pulse>>>,
}

impl Memory {
    pub(crate) fn address(&self, of: SocketAddr) -> Arc<Health> {
        recall(&self.addresses, of)
    }

    pub(crate) fn site(&self, service: &str, region: &str) -> Arc<Pulse> {
        recall(&self.sites, (service.to_owned(), region.to_owned()))
    }

    /// Forgets what no cluster uses any more.
    pub(crate) fn sweep(&self) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, known| known.strong_count() > 0);
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, known| known.strong_count() > 0);
    }
}

/// The same for as long as anybody holds it, else a new one.
fn recall<K: Ord, V: Default>(known: &Mutex<BTreeMap<K, Weak<V>>>, key: K) -> Arc<V> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = known.entry(key).or_default();
    if let Some(here) = slot.upgrade() {
        return here;
    }
    let made = Arc::new(V::default());
    *slot = Arc::downgrade(&made);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_the_same_and_what_is_not_is_forgotten() {
        let memory = Memory::default();
        let at = SocketAddr::from(([127, 0, 0, 1], 1));
        let (one, two) = (memory.address(at), memory.address(at));
        assert!(Arc::ptr_eq(&one, &two));
        let site = memory.site("payroll", "aws/a");
        assert!(Arc::ptr_eq(&site, &memory.site("payroll", "aws/a")));
        assert!(!Arc::ptr_eq(&site, &memory.site("other", "aws/a")), "another service may be another program");
        drop((one, two));
        memory.sweep();
        assert!(memory.addresses.lock().unwrap().is_empty());
        assert_eq!(memory.sites.lock().unwrap().len(), 1, "the site is still held");
    }
}
