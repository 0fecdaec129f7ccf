//! The table as a whole: what is sent, against where requests would go.

#[path = "../tests/loopback/resources.rs"]
pub(crate) mod resources;

use crate::balance::{Cluster, Memory, NoPick, Outcome, Tried};
use crate::metrics::Metrics;
use crate::model::{self, Action, Host, RouteTable};
use crate::shared::Shared;
use crate::state::{Incoming, State};
use proptest::prelude::*;
use prost::Message;
use resources as of;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tidegate_xds::TypeUrl;

const EU: &str = "payroll/eu";
const US: &str = "payroll/us";

fn incoming<M: Message>(name: &str, message: &M) -> Incoming {
    Incoming { name: name.into(), version: "1".into(), value: message.encode_to_vec().into() }
}

fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], n))
}

fn build(permitted: &[&str], places: &[of::At]) -> Cluster {
    let spec = model::cluster(EU, &of::cluster(EU, permitted).encode_to_vec()).unwrap();
    let assignment = model::assignment(EU, &of::assignment(EU, places, 0).encode_to_vec()).unwrap();
    Cluster::build(Arc::new(spec), &assignment, None, &Memory::default(), &Metrics::new().unwrap(), Default::default())
}

fn count(cluster: &Cluster, n: usize) -> BTreeMap<String, usize> {
    let mut got = BTreeMap::new();
    for _ in 0..n {
        let (place, _) = cluster.pick(&Tried::default(), 0).unwrap();
        *got.entry(cluster.places[place].region.to_string()).or_default() += 1;
    }
    got
}

fn take_out(cluster: &Cluster, fits: impl Fn(u16) -> bool) {
    let rules = cluster.spec.ejection.clone().unwrap();
    for host in cluster.places.iter().flat_map(|p| &p.hosts).filter(|h| fits(h.address.port())) {
        for _ in 0..3 {
            host.record(Outcome::Gateway, &rules, 1);
        }
    }
    cluster.refresh();
}

#[derive(Default)]
struct Asked(Vec<(&'static str, &'static str)>);

impl Host for Asked {
    fn any_value(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        let mut values = self.0.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_bytes()).peekable();
        values.peek()?;
        Some(values.any(holds))
    }
}

fn routes() -> RouteTable {
    model::route_table("public", &of::routes("public", &[EU, "payroll/open"], &[US], of::TIMES).encode_to_vec())
        .unwrap()
}

/// `class path-kind` or the status of a direct answer.
fn asked(host: &str, path: &str, headers: &[(&'static str, &'static str)]) -> String {
    match routes().find(host, path, &Asked(headers.to_vec())) {
        None => "none".into(),
        Some(Action::Forward(f)) => format!("{} {:?} {}", f.class, f.timeout.map(|t| t.as_millis()), f.retry_on.reset),
        Some(Action::Direct(d)) => format!("{} {}", d.status, d.headers[0].1),
    }
}

#[test]
fn an_inverted_match_needs_the_header_unless_missing_counts_as_empty() {
    for (missing_is_empty, want) in [(false, "451 no-class"), (true, "payroll/eu")] {
        let mut of = of::routes("public", &[EU], &[], of::TIMES);
        for route in of.virtual_hosts[0].routes.iter_mut().filter(|r| r.name.starts_with(EU)) {
            let matcher = &mut route.r#match.as_mut().unwrap().headers[0];
            (matcher.invert_match, matcher.treat_missing_header_as_empty) = (true, missing_is_empty);
        }
        let table = model::route_table("public", &of.encode_to_vec()).unwrap();
        let got = match table.find("payroll.example", "/x", &Asked(vec![(":method", "POST")])) {
            Some(Action::Forward(f)) => f.class.clone(),
            Some(Action::Direct(d)) => format!("{} {}", d.status, d.headers[0].1),
            None => "none".into(),
        };
        assert_eq!(got, want);
    }
}

/// Host, path, headers, and what comes of it.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

#[test]
fn requests_go_where_the_routes_say_in_their_order() {
    const GET: (&str, &str) = (":method", "GET");
    const fn class(c: &'static str) -> (&'static str, &'static str) {
        ("x-residency-class", c)
    }
    const TABLE: &[Row] = &[
        ("payroll.example", "/x", &[GET, class("eu")], "payroll/eu Some(3000) true"),
        ("payroll.example", "/x", &[(":method", "POST"), class("eu")], "payroll/eu Some(3000) false"),
        ("payroll.example", "/x", &[(":method", "GETX"), class("eu")], "payroll/eu Some(3000) false"),
        ("payroll.example", "/stream/1", &[GET, class("open")], "payroll/open None false"),
        ("PAYROLL.example:443", "/?a=/stream", &[GET, class("eu")], "payroll/eu Some(3000) true"),
        ("x.wide.example", "/x", &[GET, class("eu")], "payroll/eu Some(3000) true"),
        (".wide.example", "/x", &[GET, class("eu")], "none"),
        ("own.payroll.example", "/x", &[GET, class("us")], "payroll/eu Some(3000) true"),
        ("payroll.example", "/x", &[GET, class("us")], "451 jurisdiction"),
        ("payroll.example", "/x", &[GET], "451 no-class"),
        ("payroll.example", "/x", &[GET, class("eu"), class("open")], "451 no-class"),
        ("payroll.example", "/x", &[GET, class("open"), class("eu")], "451 no-class"),
        ("payroll.example", "/x", &[GET, class("eu"), class("us")], "451 no-class"),
        ("payroll.example", "/x", &[GET, class("eu"), class("eu")], "payroll/eu Some(3000) true"),
        ("payroll.example", "/x", &[GET, class("eu,open")], "451 no-class"),
        ("other.example", "/x", &[GET, class("eu")], "none"),
    ];
    for (host, path, headers, want) in TABLE {
        assert_eq!(asked(host, path, headers), *want, "{host}{path} {headers:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused_in_words() {
    let words = |result: Result<(), model::Refused>| result.unwrap_err().to_string();
    let mut routes = of::routes("public", &[EU], &[], of::TIMES);
    routes.virtual_hosts[0].domains = vec!["payroll.*".into()];
    let refused = model::route_table("public", &routes.encode_to_vec()).map(drop);
    assert_eq!(words(refused), "routes `public`: domain `payroll.*` has a wildcard that is not understood");
    let mut cluster = of::cluster(EU, &["DE"]);
    cluster.cluster_discovery_type = None;
    let refused = model::cluster(EU, &cluster.encode_to_vec()).map(drop);
    assert_eq!(words(refused), "cluster `payroll/eu`: only endpoint discovery (EDS) is understood");
    let refused = model::cluster(EU, &of::cluster(EU, &[]).encode_to_vec()).map(drop);
    assert_eq!(words(refused), "cluster `payroll/eu`: it does not say where its class is permitted (`*` for anywhere)");
    let refused = model::cluster(EU, &of::cluster(EU, &["*", "DE"]).encode_to_vec()).map(drop);
    assert!(words(refused).contains("anywhere and in single countries"));
    assert_eq!(model::cluster(EU, &of::cluster(EU, &["*"]).encode_to_vec()).unwrap().permitted, None);
    let mut gap = of::at("aws/eu-central-1", "DE", 1, &[address(1)]);
    gap.priority = 2;
    let refused = model::assignment(EU, &of::assignment(EU, &[gap], 0).encode_to_vec()).map(drop);
    assert_eq!(words(refused), "assignment `payroll/eu`: priority 0 is missing below 2");
    let mut two = of::assignment(EU, &[of::at("aws/eu-central-1", "DE", 1, &[address(1)])], 0);
    two.endpoints[0].metadata = of::assignment(EU, &[of::at("x/y", "BE", 1, &[])], 0).endpoints[0].metadata.clone();
    let refused = model::assignment(EU, &two.encode_to_vec()).map(drop);
    assert!(words(refused).contains("says it stands in DE, its place aws/eu-central-1 in BE"));
    assert!(words(model::listener("public", b"\xff").map(drop)).contains("not a Listener"));
}

#[test]
fn a_place_that_is_out_gives_its_share_to_the_others_and_the_ring_only_takes_what_they_cannot() {
    let ring = of::At { priority: 1, ..of::at("gcp/europe-west4", "NL", 10_000, &[address(30), address(31)]) };
    let places = [
        of::at("aws/eu-central-1", "DE", 6_000, &[address(10), address(11), address(12)]),
        of::at("azure/westeurope", "NL", 4_000, &[address(20), address(21), address(22)]),
        ring,
    ];
    let cluster = build(&["DE", "NL"], &places);
    let got = count(&cluster, 1_000);
    assert!((595..=605).contains(&got["aws/eu-central-1"]), "{got:?}");
    assert!(!got.contains_key("gcp/europe-west4"));
    // One host of six: nobody's share moves, by the factor of 140.
    take_out(&cluster, |port| port == 20);
    let got = count(&cluster, 1_000);
    assert!((590..=645).contains(&got["aws/eu-central-1"]), "{got:?}");
    assert!(!got.contains_key("gcp/europe-west4"), "{got:?}");
    // All of aws: 2 of 6 left × 1.4 = 46.7 % stay in priority 0, azure's (two of three hosts).
    take_out(&cluster, |port| port < 20);
    let got = count(&cluster, 1_000);
    assert!(!got.contains_key("aws/eu-central-1"), "{got:?}");
    assert!((455..=475).contains(&got["azure/westeurope"]), "{got:?}");
    // Priority 0 gone: the ring.
    take_out(&cluster, |port| port < 30);
    assert_eq!(count(&cluster, 100), BTreeMap::from([("gcp/europe-west4".to_owned(), 100)]));
    // Everything: everything in priority 0, as it was weighted.
    take_out(&cluster, |_| true);
    let got = count(&cluster, 1_000);
    assert!((595..=605).contains(&got["aws/eu-central-1"]), "{got:?}");
    // And back.
    cluster.tick(60_000);
    assert!(cluster.refresh_if_stale() && !cluster.refresh_if_stale());
    assert_eq!(cluster.places.iter().flat_map(|p| &p.hosts).filter(|h| h.is_out()).count(), 0);
}

#[test]
fn an_empty_permitted_set_is_no_choice_at_all() {
    let cluster = build(&["DE"], &[of::at("gcp/europe-west1", "BE", 10_000, &[address(1)])]);
    assert_eq!(cluster.pick(&Tried::default(), 0).unwrap_err(), NoPick::Empty);
    assert_eq!(cluster.forbidden, 1);
    let nowhere = build(&["DE"], &[of::at("gcp/europe-west1", "", 10_000, &[address(1)])]);
    assert_eq!(
        nowhere.pick(&Tried::default(), 0).unwrap_err(),
        NoPick::Empty,
        "who does not say where it is, is nowhere"
    );
}

#[test]
fn what_drains_is_counted_and_not_even_the_last_resort() {
    let all = [of::at("aws/a", "DE", 1, &[address(1)]), of::at("gcp/b", "NL", 0, &[address(2), address(3)])];
    let mut mixed = of::assignment(EU, &all, 0);
    mixed.endpoints[1].priority = 1;
    let spec = Arc::new(model::cluster(EU, &of::cluster(EU, &["DE", "NL"]).encode_to_vec()).unwrap());
    let read = model::assignment(EU, &mixed.encode_to_vec()).unwrap();
    let cluster = Cluster::build(
        Arc::clone(&spec),
        &read,
        None,
        &Memory::default(),
        &Metrics::new().unwrap(),
        Default::default(),
    );
    assert_eq!(cluster.places.iter().map(|p| (p.hosts.len(), p.draining)).collect::<Vec<_>>(), [(1, 0), (0, 2)]);
    take_out(&cluster, |port| port == 1);
    let tried = Tried { hosts: vec![address(1)], ..Tried::default() };
    for tried in [Tried::default(), tried] {
        assert_eq!(
            cluster.pick(&tried, 0).map(|(_, host)| host.address.port()),
            Ok(1),
            "fail-open stays with what carries"
        );
    }
    let alone = build(&["NL"], &all[1..]);
    assert_eq!(alone.pick(&Tried::default(), 0).map(drop), Err(NoPick::Empty));
    // Another health is still refused: half obeyed, it would mislead.
    mixed.endpoints[0].lb_endpoints[0].health_status = 2;
    assert!(model::assignment(EU, &mixed.encode_to_vec()).unwrap_err().to_string().contains("has a health status"));
}

const COUNTRIES: [&str; 5] = ["DE", "NL", "BE", "US", ""];
const REGIONS: [&str; 6] = ["aws/a", "aws/b", "azure/a", "azure/b", "gcp/a", "gcp/b"];

fn places() -> impl Strategy<Value = Vec<of::At>> {
    // Without a weight it is draining.
    let weight = prop_oneof![1 => Just(0), 4 => 1_u32..10_000];
    let place = (0..COUNTRIES.len(), weight, 0_u32..3, 1_usize..4);
    prop::collection::vec(place, 1..=REGIONS.len()).prop_map(|all| {
        let mut next = 1;
        let mut made: Vec<of::At> = all
            .into_iter()
            .zip(REGIONS)
            .map(|((country, weight, priority, hosts), region)| {
                let endpoints: Vec<SocketAddr> = (0..hosts)
                    .map(|_| {
                        next += 1;
                        address(next)
                    })
                    .collect();
                of::At { priority, ..of::at(region, COUNTRIES[country], weight, &endpoints) }
            })
            .collect();
        // Priorities without a gap.
        let used: BTreeSet<u32> = made.iter().map(|p| p.priority).collect();
        for place in &mut made {
            place.priority = used.range(..place.priority).count() as u32;
        }
        made
    })
}

/// Drives a cluster through ejections and retries; the endpoints that were ever picked.
fn ever_picked(cluster: &Cluster, outs: &[bool]) -> BTreeSet<u16> {
    let mut picked = BTreeSet::new();
    for round in 0..4 {
        take_out(cluster, |port| outs.get(usize::from(port) * round % outs.len().max(1)).copied().unwrap_or(false));
        for _ in 0..20 {
            let mut tried = Tried::default();
            for _ in 0..6 {
                let Ok((place, host)) = cluster.pick(&tried, 0) else { break };
                picked.insert(host.address.port());
                tried.hosts.push(host.address);
                tried.providers.push(Arc::clone(&cluster.places[place].provider));
            }
        }
    }
    picked
}

proptest! {
    /// Weights, spill, ejection, fail-open and retries: none of them leads outside the permitted countries, nor to an
    /// endpoint that is draining.
    #[test]
    fn nothing_ever_leaves_the_permitted_countries(
        places in places(),
        permitted in prop::collection::btree_set(0..4_usize, 1..4),
        outs in prop::collection::vec(any::<bool>(), 1..24),
    ) {
        let permitted: Vec<&str> = permitted.into_iter().map(|c| COUNTRIES[c]).collect();
        let allowed: BTreeSet<u16> = places.iter().filter(|p| p.weight > 0 && permitted.contains(&p.jurisdiction))
            .flat_map(|p| &p.endpoints).map(SocketAddr::port).collect();
        let picked = ever_picked(&build(&permitted, &places), &outs);
        prop_assert!(picked.is_subset(&allowed), "{picked:?} outside {allowed:?}");
        prop_assert_eq!(picked.is_empty(), allowed.is_empty());
    }
}

/// The same drive without the law reaches forbidden places: the property above can fail.
#[test]
fn without_the_law_the_same_drive_leaves_the_permitted_countries() {
    let places = [
        of::at("aws/a", "DE", 9_000, &[address(1)]),
        of::At { priority: 1, ..of::at("gcp/a", "BE", 10_000, &[address(2)]) },
    ];
    assert_eq!(ever_picked(&build(&["DE"], &places), &[false]), BTreeSet::from([1]));
    assert_eq!(ever_picked(&build(&["*"], &places), &[false]), BTreeSet::from([1, 2]));
}

#[test]
fn a_retry_looks_for_another_provider_first_and_takes_anything_at_last() {
    let ring = of::At { priority: 1, ..of::at("gcp/a", "NL", 10_000, &[address(5)]) };
    let places =
        [of::at("aws/a", "DE", 9_000, &[address(1), address(2)]), of::at("aws/b", "DE", 1_000, &[address(3)]), ring];
    let cluster = build(&["DE", "NL"], &places);
    for _ in 0..50 {
        let mut tried = Tried { hosts: vec![address(1)], providers: vec!["aws".into()] };
        assert_eq!(
            cluster.pick(&tried, 0).unwrap().1.address,
            address(5),
            "another provider, though it is a spill ring"
        );
        tried.hosts.push(address(5));
        tried.providers.push("gcp".into());
        assert!([address(2), address(3)].contains(&cluster.pick(&tried, 0).unwrap().1.address), "another endpoint");
        tried.hosts.extend([address(2), address(3)]);
        assert!(cluster.pick(&tried, 0).is_ok(), "any");
    }
}

#[test]
fn retries_stay_within_their_budget_and_come_back_to_it() {
    let runtime = crate::balance::Runtime::default();
    let budget = model::Budget::Share { percent: 50.0, floor: 3 };
    assert_eq!((0..10).filter(|_| runtime.begin_retry(budget)).count(), 3, "the floor");
    runtime.requests.store(20, std::sync::atomic::Ordering::Relaxed);
    assert_eq!((0..20).filter(|_| runtime.begin_retry(budget)).count(), 7, "half of 20");
    runtime.end_retry();
    assert_eq!((0..20).filter(|_| runtime.begin_retry(budget)).count(), 1);
}

#[test]
fn the_number_of_labels_is_bounded() {
    let metrics = Metrics::new().unwrap();
    for n in 0..10_000 {
        metrics.place(&format!("class-{n}"), "aws/a").pick();
    }
    let lines = metrics.text().lines().filter(|l| l.starts_with("tidegate_edge_split_picked_total")).count();
    assert_eq!(lines, 4_001);
    assert_eq!(metrics.place("class-99999", "aws/a").picked(), 6_000, "the rest shares one");
}

fn shared() -> Shared {
    Shared::new(Arc::new(Metrics::new().unwrap()))
}

fn take(state: &mut State, shared: &Shared, type_url: TypeUrl, added: &[Incoming]) -> Result<(), model::Refused> {
    let mut change = state.judge(type_url, added, &[]);
    let refused = change.refused.pop_first();
    state.commit(change, shared);
    refused.map_or(Ok(()), |(_, why)| Err(why))
}

fn eu_state(shared: &Shared) -> State {
    let mut state = State::default();
    take(
        &mut state,
        shared,
        TypeUrl::Cds,
        &[incoming(EU, &of::cluster(EU, &["DE", "NL"])), incoming(US, &of::cluster(US, &["US"]))],
    )
    .unwrap();
    let eu = of::assignment(EU, &[of::at("aws/a", "DE", 1, &[address(1)])], 0);
    let us = of::assignment(US, &[of::at("aws/c", "US", 1, &[address(9)])], 0);
    take(&mut state, shared, TypeUrl::Eds, &[incoming(EU, &eu), incoming(US, &us)]).unwrap();
    take(&mut state, shared, TypeUrl::Lds, &[incoming("public", &of::listener("public", address(80)))]).unwrap();
    take(&mut state, shared, TypeUrl::Rds, &[incoming("public", &of::routes("public", &[EU, US], &[], of::TIMES))])
        .unwrap();
    state
}

#[test]
fn a_reweight_swaps_one_cluster_and_keeps_what_is_known_of_its_hosts() {
    let shared = shared();
    let mut state = eu_state(&shared);
    let table = shared.table.load_full();
    let (eu, us) = (table.clusters[EU].load_full(), table.clusters[US].load_full());
    eu.places[0].hosts[0].enter();
    take_out(&eu, |port| port == 1);
    let new = of::assignment(EU, &[of::at("aws/a", "DE", 5, &[address(1), address(2)])], 0);
    take(&mut state, &shared, TypeUrl::Eds, &[incoming(EU, &new)]).unwrap();
    assert!(Arc::ptr_eq(&table, &shared.table.load_full()), "the table itself stays");
    assert!(Arc::ptr_eq(&us, &table.clusters[US].load_full()));
    let now = table.clusters[EU].load_full();
    assert!(!Arc::ptr_eq(&eu, &now));
    let known = &now.places[0].hosts[0];
    assert!(known.is_out() && known.in_flight() == 1, "who was out stays out");
    assert_eq!(now.pick(&Tried::default(), 0).unwrap().1.address, address(2));
}

#[test]
fn of_a_bad_resource_the_last_good_stays_and_the_good_ones_are_taken() {
    let shared = shared();
    let mut state = eu_state(&shared);
    let (table, known) = (shared.table.load_full(), state.known());
    let us = table.clusters[US].load_full();
    let good = of::assignment(EU, &[of::at("aws/a", "NL", 1, &[address(3)])], 0);
    let bad = of::assignment(US, &[of::at("aws/d", "DE", 1, &[address(4)])], 0);
    let newer = |name, message| Incoming { version: "2".into(), ..incoming(name, message) };
    let error = take(&mut state, &shared, TypeUrl::Eds, &[newer(US, &bad), newer(EU, &good)]).unwrap_err();
    assert!(error.to_string().contains("stands in DE; class `payroll/us` is permitted in US only"), "{error}");
    assert!(Arc::ptr_eq(&us, &table.clusters[US].load_full()));
    assert_eq!(table.clusters[EU].load().pick(&Tried::default(), 0).unwrap().1.address, address(3));
    let versions = |of: &BTreeMap<TypeUrl, BTreeMap<String, String>>| {
        (of[&TypeUrl::Eds][EU].clone(), of[&TypeUrl::Eds][US].clone())
    };
    assert_eq!((versions(&known), versions(&state.known())), (("1".into(), "1".into()), ("2".into(), "1".into())));
}

#[test]
fn a_removed_assignment_or_route_that_is_still_wanted_is_kept() {
    let shared = shared();
    let mut state = eu_state(&shared);
    for (type_url, name) in [(TypeUrl::Eds, EU), (TypeUrl::Rds, "public")] {
        let change = state.judge(type_url, &[], &[name.to_owned()]);
        state.commit(change, &shared);
    }
    assert!(state.is_whole());
    assert!(shared.table.load().clusters[EU].load().pick(&Tried::default(), 0).is_ok());
    let change = state.judge(TypeUrl::Cds, &[], &[US.to_owned()]);
    state.commit(change, &shared);
    assert!(!shared.table.load().clusters.contains_key(US));
    assert!(!state.is_whole(), "a route leads to a cluster that is gone");
}

#[test]
fn a_saved_state_restores_to_the_same_table_and_the_same_versions() {
    let state = eu_state(&shared());
    let saved = state.save("edge-de", "gate-1", Some(7));
    let restored = State::restore(&saved).unwrap().next;
    assert!(restored.is_whole());
    assert_eq!(restored.known(), state.known());
    let mut partial = saved.clone();
    partial.resources.retain(|r| r.type_url != TypeUrl::Rds.as_str());
    assert_eq!(State::restore(&partial).unwrap_err().to_string(), "the saved state is not whole");
    // A file that was tampered with and hashed anew does not get around the law.
    let mut tampered = saved;
    let bad = of::assignment(EU, &[of::at("gcp/x", "BE", 1, &[address(4)])], 0).encode_to_vec();
    for resource in tampered.resources.iter_mut().filter(|r| r.type_url == TypeUrl::Eds.as_str() && r.name == EU) {
        resource.value = bad.clone().into();
    }
    assert!(State::restore(&tampered).unwrap_err().to_string().contains("stands in BE"));
}
