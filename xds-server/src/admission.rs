//! Who is served what: a node names its client group as its locality's region.

use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidegate_domain::Fleet;
use tidegate_xds::server::{Admission, Denied, NodeInfo, Variant};

/// The groups of the fleet that is published.
#[derive(Debug, Default)]
pub(crate) struct Groups(ArcSwap<BTreeSet<String>>);

impl Groups {
    pub(crate) fn set(&self, fleet: &Fleet) {
        self.0.store(Arc::new(fleet.groups.iter().map(|g| g.name.to_string()).collect()));
    }
}

impl Admission for Groups {
    fn admit(&self, node: &NodeInfo) -> Result<Variant, Denied> {
        let groups = self.0.load();
        if groups.is_empty() {
            return Err(Denied::NotNow("the fleet is not loaded yet".to_owned()));
        }
        if groups.contains(&node.region) {
            return Ok(Variant::new(&node.region));
        }
        let known: Vec<&str> = groups.iter().map(String::as_str).collect();
        Err(Denied::Permission(format!(
            "node `{}` has the locality region `{}`, which is no client group of the fleet; set node.locality.region to one of: {}",
            node.id,
            node.region,
            known.join(", ")
        )))
    }
}
