//! What the encoder keeps, against what translating anew gives.

use super::any_plan;
use super::fixture::{AWS_DE, AZURE_NL, EDGE_DE, EDGE_US, EU, OPEN, fleet, plan, routed};
use crate::{EncodedGroup, Encoder, Resolved, translate_resolved};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_domain::{ClassIx, EndpointIx, Fleet, GroupIx, Plan, RegionIx, ServiceIx};
use tidegate_xds::server::Resource;

/// Type, name and version of everything, per group.
type Told = Vec<Vec<(String, String, String)>>;

fn key(of: &Resource) -> (String, String, String) {
    (of.type_url().short().to_owned(), of.name().to_string(), of.version().to_string())
}

fn told(all: &[EncodedGroup]) -> Told {
    let group = |g: &EncodedGroup| {
        let mut keys: Vec<_> = g.resources.iter().map(|r| key(r)).collect();
        keys.sort();
        keys
    };
    all.iter().map(group).collect()
}

fn anew(fleet: &Fleet, plan: &Plan, resolved: &Resolved) -> Vec<Vec<Resource>> {
    let groups = translate_resolved(fleet, plan, resolved).expect("translates");
    groups
        .into_iter()
        .map(|g| {
            let clusters = g.clusters.iter().map(|(n, m)| Resource::from_message(n, m));
            let endpoints = g.endpoints.iter().map(|(n, m)| Resource::from_message(n, m));
            let listeners = g.listeners.iter().map(|(n, m)| Resource::from_message(n, m));
            let routes = g.routes.iter().map(|(n, m)| Resource::from_message(n, m));
            clusters.chain(endpoints).chain(listeners).chain(routes).collect::<Result<_, _>>().expect("names")
        })
        .collect()
}

fn told_anew(fleet: &Fleet, plan: &Plan, resolved: &Resolved) -> Told {
    let keys = |all: &Vec<Resource>| {
        let mut keys: Vec<_> = all.iter().map(key).collect();
        keys.sort();
        keys
    };
    anew(fleet, plan, resolved).iter().map(keys).collect()
}

proptest! {
    #[test]
    fn plans_one_after_the_other_give_what_each_gives_alone(plans in prop::collection::vec(any_plan(), 1..8)) {
        let (fleet, none) = (fleet(), Resolved::new());
        let mut encoder = Encoder::default();
        for plan in &plans {
            let got = encoder.encode(&fleet, plan, &none).expect("encodes");
            prop_assert_eq!(told(&got), told_anew(&fleet, plan, &none));
            encoder.encode(&fleet, plan, &none).expect("encodes");
            prop_assert_eq!(encoder.encoded(), 0, "the same again");
        }
    }
}

#[test]
fn only_what_changed_is_encoded() {
    let (mut fleet, mut resolved) = (fleet(), Resolved::new());
    fleet.endpoints[0].host = "Pay.example".to_owned();
    let mut plan = plan(&fleet);
    let mut encoder = Encoder::default();
    assert!(encoder.encode(&fleet, &plan, &resolved).is_err(), "a name without an address");
    resolved.insert("pay.example".to_owned(), vec!["10.0.0.1".parse().expect("ip")]);
    let mut steps = Vec::new();
    let mut step = |encoder: &mut Encoder, plan: &Plan, resolved: &Resolved| {
        let got = encoder.encode(&fleet, plan, resolved).expect("encodes");
        assert_eq!(told(&got), told_anew(&fleet, plan, resolved));
        steps.push(encoder.encoded());
    };
    step(&mut encoder, &plan, &resolved);
    plan.splits[0] = routed(EU, EDGE_DE, &[(AWS_DE, 5_000), (AZURE_NL, 5_000)], vec![]);
    step(&mut encoder, &plan, &resolved);
    // The other group is told what the first one is: nothing more to encode but its routes.
    plan.splits[5] = tidegate_domain::ClassSplit { group: EDGE_US, ..plan.splits[4].clone() };
    assert_eq!(plan.splits[5].class, OPEN);
    step(&mut encoder, &plan, &resolved);
    // An endpoint that comes back, and an address that changes, touch the assignments of their service.
    plan.endpoints_out = vec![EndpointIx(2)];
    step(&mut encoder, &plan, &resolved);
    resolved.insert("pay.example".to_owned(), vec!["10.0.0.2".parse().expect("ip")]);
    step(&mut encoder, &plan, &resolved);
    // Three assignments; two groups' routes at the start (the failed try made clusters and the listener).
    assert_eq!(steps, [5, 1, 1, 3, 3]);
}

#[test]
fn another_fleet_starts_anew() {
    let mut encoder = Encoder::default();
    let (one, none) = (fleet(), Resolved::new());
    encoder.encode(&one, &plan(&one), &none).expect("encodes");
    let mut two = fleet();
    two.revision.0[0] = 7;
    two.endpoints[0].port = 1;
    let plan = plan(&two);
    let got = encoder.encode(&two, &plan, &none).expect("encodes");
    assert_eq!(told(&got), told_anew(&two, &plan, &none));
}

/// `count` services of one class each, over the fixture's regions, told to both groups.
fn large(count: usize) -> (Fleet, Plan) {
    let mut fleet = fleet();
    let (service, class, endpoints) =
        (fleet.services[0].clone(), fleet.classes[OPEN.at()].clone(), fleet.endpoints.clone());
    (fleet.services, fleet.classes, fleet.endpoints) = Default::default();
    let mut splits = Vec::new();
    for at in 0..count {
        let (ix, own) = (ServiceIx::from(at), ClassIx::from(at));
        let name = tidegate_domain::Name::new(&format!("s{at}")).expect("a name");
        let host = tidegate_domain::ClassMatch::Host(format!("s{at}.example"));
        fleet.services.push(tidegate_domain::Service {
            name,
            classes: vec![own],
            domains: Vec::new(),
            ..service.clone()
        });
        fleet.classes.push(tidegate_domain::Class { service: ix, matched_by: host, ..class.clone() });
        fleet.endpoints.extend(endpoints.iter().map(|e| tidegate_domain::Endpoint { service: ix, ..e.clone() }));
        for group in [EDGE_DE, EDGE_US] {
            splits.push(routed(
                own,
                group,
                &[(AWS_DE, 6_000), (AZURE_NL, 4_000)],
                vec![vec![RegionIx(2)], vec![RegionIx(3)]],
            ));
        }
    }
    let plan = Plan { fleet: fleet.revision, splits, endpoints_out: Vec::new() };
    (fleet, plan)
}

/// One class of a thousand services is reweighted for two groups: what a publication cost, and costs.
#[test]
fn a_reweight_among_a_thousand_services_is_cheap() {
    let ((fleet, mut plan), none) = (large(1_000), Resolved::new());
    let mut encoder = Encoder::default();
    let first = encoder.encode(&fleet, &plan, &none).expect("encodes");
    assert_eq!(first.len(), 2);
    let (mut kept, mut whole) = (Duration::MAX, Duration::MAX);
    for round in 0..3_u32 {
        let at = round as usize * 2;
        for (split, group) in [(at, EDGE_DE), (at + 1, EDGE_US)] {
            plan.splits[split] = routed(ClassIx(round), group, &[(AWS_DE, 1_000), (AZURE_NL, 9_000)], vec![]);
        }
        let began = Instant::now();
        let got = encoder.encode(&fleet, &plan, &none).expect("encodes");
        kept = kept.min(began.elapsed());
        assert_eq!(encoder.encoded(), 1, "both groups share it");
        let began = Instant::now();
        let all = anew(&fleet, &plan, &none);
        whole = whole.min(began.elapsed());
        assert_eq!(all.iter().map(Vec::len).sum::<usize>(), got.iter().map(|g| g.resources.len()).sum::<usize>());
        let shared =
            |group: GroupIx| got[group.at()].resources.iter().find(|r| key(r).1 == "s0/open" && key(r).0 == "EDS");
        assert!(Arc::ptr_eq(shared(EDGE_DE).expect("there"), shared(EDGE_US).expect("there")));
    }
    println!("a reweight of 1 in 1,000 services, 2 groups: {kept:?}, all of it anew {whole:?}");
    assert!(kept * 5 < whole, "{kept:?} against {whole:?}");
}
