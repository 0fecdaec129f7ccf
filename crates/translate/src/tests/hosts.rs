//! Places whose host names are not resolved.

use super::fixture::fleet;
use crate::Resolved;
use crate::hosts::{known, lost};

#[test]
fn a_place_without_any_address_is_named() {
    let mut fleet = fleet();
    assert!(lost(&fleet, &Resolved::new()).is_empty());
    let at = fleet.endpoints[0].region;
    for (i, endpoint) in fleet.endpoints.iter_mut().filter(|e| e.region == at).enumerate() {
        endpoint.host = format!("Host-{i}.example");
    }
    let region = fleet.regions[at.at()].name.to_string();
    let words = lost(&fleet, &known(&fleet, &Resolved::new()));
    assert!(words.len() == 1 && words[0].contains(&region) && words[0].contains("host-0.example"), "{words:?}");
    let one: Resolved = [("host-0.example".to_owned(), vec![[192, 0, 2, 1].into()])].into();
    assert!(lost(&fleet, &known(&fleet, &one)).is_empty(), "one address is enough");
}
