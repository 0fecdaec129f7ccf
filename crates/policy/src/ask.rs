//! The question that a policy is asked, as canonical JSON.

use ring::digest::{SHA256, digest};
use serde_json::json;
use std::collections::BTreeSet;
use tidegate_domain::{ClassIx, Fleet, Jurisdiction, MoveKind, Permitted};

/// The question for (`class`, `place`, `kind`): JSON with its keys in alphabetical order, no float in it.
///
/// | key | value |
/// |---|---|
/// | `version` | 1 |
/// | `service`, `class` | names |
/// | `priority` | 0 is the highest |
/// | `client_can_set` | whether a client can choose the class by itself |
/// | `permitted` | `{"anywhere": bool, "countries": [..]}`, sorted |
/// | `place` | `{"jurisdiction": "DE", "providers": [..]}`: the receiver's country and who serves there, sorted |
/// | `kind` | `safety`, `voluntary` or `economic` |
#[must_use]
pub fn question(fleet: &Fleet, class: ClassIx, place: Jurisdiction, kind: MoveKind) -> String {
    let of = &fleet.classes[class.at()];
    let (anywhere, countries) = match &of.permitted {
        Permitted::Anywhere => (true, Vec::new()),
        Permitted::Only(set) => (false, set.iter().map(Jurisdiction::as_str).collect()),
    };
    let there = fleet.regions.iter().filter(|r| r.jurisdiction == place && !r.vantage_only);
    let providers: BTreeSet<&str> = there.map(|r| fleet.providers[r.provider.at()].name.as_str()).collect();
    // Written in alphabetical order: whether serde_json sorts or keeps the order, the bytes are the same.
    json!({
        "class": of.name.as_str(),
        "client_can_set": of.client_can_set,
        "kind": kind.word(),
        "permitted": { "anywhere": anywhere, "countries": countries },
        "place": { "jurisdiction": place.as_str(), "providers": providers },
        "priority": of.priority,
        "service": fleet.services[of.service.at()].name.as_str(),
        "version": 1,
    })
    .to_string()
}

/// SHA-256 of a question's bytes.
pub(crate) fn hash(question: &str) -> [u8; 32] {
    let mut hash = [0_u8; 32];
    hash.copy_from_slice(digest(&SHA256, question.as_bytes()).as_ref());
    hash
}
