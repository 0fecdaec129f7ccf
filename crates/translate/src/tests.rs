//! What Envoy is told, on a fleet small enough to read.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long encoding takes, and ask whether real parts are required"
)]

mod draining;
mod empty;
mod encoded;
mod envoy;
mod fixture;
mod hosts;
mod live;

use crate::{GroupResources, Resolved, TranslateError, bootstrap, names, translate};
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Metadata, address, socket_address};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, lb_endpoint::HostIdentifier};
use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, Route, header_matcher::HeaderMatchSpecifier, route::Action, route_match::PathSpecifier,
};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::value::Kind;
use fixture::{AWS_DE, AZURE_NL, EDGE_DE, EDGE_US, EU, GCP_BE, GCP_US, OPEN, US_CA, fleet, plan};
use proptest::prelude::*;
use prost::Message;
use tidegate_domain::{
    Bps, ClassIx, Fleet, GroupIx, Permitted, Plan, Region, RegionIx, RegionName, ServiceIx, Serving,
};

fn of(group: GroupIx) -> GroupResources {
    let fleet = fleet();
    translate(&fleet, &plan(&fleet)).expect("translates").swap_remove(group.at())
}

fn field(metadata: Option<&Metadata>, key: &str) -> Option<String> {
    let value = metadata?.filter_metadata.get("tidegate")?.fields.get(key)?;
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        Kind::ListValue(list) => Some(
            list.values
                .iter()
                .filter_map(|v| if let Some(Kind::StringValue(s)) = &v.kind { Some(s.as_str()) } else { None })
                .collect::<Vec<_>>()
                .join("+"),
        ),
        _ => None,
    }
}

fn socket(endpoint: &LbEndpoint) -> String {
    let Some(HostIdentifier::Endpoint(e)) = &endpoint.host_identifier else { return "none".to_owned() };
    match e.address.as_ref().and_then(|a| a.address.as_ref()) {
        Some(address::Address::SocketAddress(s)) => match s.port_specifier {
            Some(socket_address::PortSpecifier::PortValue(port)) => format!("{}:{port}", s.address),
            _ => s.address.clone(),
        },
        _ => "none".to_owned(),
    }
}

fn drains(of: &LbEndpoint) -> bool {
    of.health_status == HealthStatus::Draining as i32
}

/// `P0 aws/eu-central-1 w=6000 DE [127.0.1.1:19000]` per locality, and what is shed.
fn read_assignment(of: &ClusterLoadAssignment) -> Vec<String> {
    let mut lines: Vec<String> = of
        .endpoints
        .iter()
        .map(|l| {
            let hosts: Vec<String> = l.lb_endpoints.iter().map(socket).collect();
            format!(
                "P{} {} w={} {} [{}]{}",
                l.priority,
                l.locality.as_ref().map_or("", |x| x.region.as_str()),
                l.load_balancing_weight.map_or(0, |w| w.value),
                field(l.metadata.as_ref(), "jurisdiction").unwrap_or_default(),
                hosts.join(" "),
                if l.lb_endpoints.iter().all(drains) { " draining" } else { "" }
            )
        })
        .collect();
    for drop in of.policy.iter().flat_map(|p| &p.drop_overloads) {
        lines.push(format!("drop {} {}", drop.category, drop.drop_percentage.map_or(0, |p| p.numerator)));
    }
    lines
}

fn read_header(of: &HeaderMatcher) -> String {
    let Some(HeaderMatchSpecifier::StringMatch(m)) = &of.header_match_specifier else { return "?".to_owned() };
    match &m.match_pattern {
        Some(MatchPattern::Exact(text)) if of.invert_match => format!("{}!={text}", of.name),
        Some(MatchPattern::Exact(text)) => format!("{}={text}", of.name),
        Some(MatchPattern::SafeRegex(r)) => format!("{}~{}", of.name, r.regex),
        _ => "?".to_owned(),
    }
}

/// `payroll/eu#1.safe: / x-residency=eu :method~… -> payroll/eu retry …` per route.
fn read_route(of: &Route) -> String {
    let matched = of.r#match.as_ref().expect("matches");
    let Some(PathSpecifier::Prefix(prefix)) = &matched.path_specifier else { return "?".to_owned() };
    let headers: String = matched.headers.iter().map(|h| format!(" {}", read_header(h))).collect();
    let action = match of.action.as_ref().expect("acts") {
        Action::Route(a) => {
            let retry = a.retry_policy.as_ref().map_or_else(String::new, |r| {
                let per_try = r.per_try_timeout.map_or(0, |d| d.nanos / 1_000_000);
                format!(" retry {}x{} per-try {per_try}", r.retry_on, r.num_retries.map_or(0, |n| n.value))
            });
            let idle = if a.idle_timeout.is_some() { " idle-free" } else { "" };
            format!("cluster {}s{idle}{retry}", a.timeout.map_or(0, |t| t.seconds))
        }
        Action::DirectResponse(d) => d.status.to_string(),
        _ => "?".to_owned(),
    };
    format!("{}: {prefix}{headers} -> {action}", of.name)
}

#[test]
fn assignments_hold_weights_then_spill_rings() {
    let got = of(EDGE_DE);
    let read: Vec<(String, Vec<String>)> = got.endpoints.iter().map(|(n, a)| (n.clone(), read_assignment(a))).collect();
    let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let aws = "aws/eu-central-1";
    let azure = "azure/westeurope";
    assert_eq!(
        read,
        vec![
            (
                "payroll/eu".to_owned(),
                // 127.0.1.2 is taken out by the plan.
                strings(&[
                    &format!("P0 {aws} w=6000 DE [127.0.1.1:19000]"),
                    &format!("P0 {azure} w=4000 NL [127.0.2.1:19000 127.0.2.2:19000]"),
                ])
            ),
            (
                "payroll/open".to_owned(),
                strings(&[
                    "P0 gcp/europe-west1 w=10000 BE [127.0.4.1:19000 127.0.4.2:19000]",
                    &format!("P1 {aws} w=5000 DE [127.0.1.1:19000]"),
                    &format!("P1 {azure} w=5000 NL [127.0.2.1:19000 127.0.2.2:19000]"),
                    "P2 gcp/us-east4 w=10000 US [127.0.3.1:19000 127.0.3.2:19000]",
                ])
            ),
        ]
    );
}

#[test]
fn routes_read_as_they_should() {
    let got = of(EDGE_DE);
    assert_eq!(got.routes.len(), 1);
    let hosts: Vec<(String, Vec<String>, Vec<String>)> = got.routes[0]
        .1
        .virtual_hosts
        .iter()
        .map(|v| (v.name.clone(), v.domains.clone(), v.routes.iter().map(read_route).collect()))
        .collect();
    let safe = ":method~GET|HEAD|OPTIONS";
    let any = "retry connect-failure,refused-stream,reset,5xxx2 per-try 250";
    let unsent = "retry connect-failure,refused-streamx2 per-try 0";
    assert_eq!(
        hosts,
        vec![
            (
                "payroll".to_owned(),
                vec!["payroll.example".to_owned()],
                vec![
                    format!(
                        "payroll/eu#0.safe: /stream x-residency=eu x-residency!=us-ca {safe} -> cluster 0s idle-free"
                    ),
                    "payroll/eu#0.other: /stream x-residency=eu x-residency!=us-ca -> cluster 0s idle-free".to_owned(),
                    format!("payroll/eu#1.safe: / x-residency=eu x-residency!=us-ca {safe} -> cluster 2s {any}"),
                    format!("payroll/eu#1.other: / x-residency=eu x-residency!=us-ca -> cluster 2s {unsent}"),
                    "payroll/us-ca!jurisdiction: / x-residency!=eu x-residency=us-ca -> 451".to_owned(),
                    "payroll/none!no-class: / -> 451".to_owned(),
                ]
            ),
            (
                "payroll@open.example".to_owned(),
                vec!["open.example".to_owned()],
                vec![
                    format!("payroll/open#0.safe: /stream {safe} -> cluster 0s idle-free"),
                    "payroll/open#0.other: /stream -> cluster 0s idle-free".to_owned(),
                    format!("payroll/open#1.safe: / {safe} -> cluster 2s {any}"),
                    format!("payroll/open#1.other: / -> cluster 2s {unsent}"),
                ]
            ),
        ]
    );
}

#[test]
fn a_refusal_says_why_and_when_to_come_again() {
    let got = of(EDGE_US);
    let all: Vec<&Route> = got.routes[0].1.virtual_hosts.iter().flat_map(|v| &v.routes).collect();
    let find = |name: &str| *all.iter().find(|r| r.name == name).expect(name);
    let headers = |r: &Route| -> Vec<String> {
        let pairs = r.response_headers_to_add.iter().filter_map(|h| h.header.as_ref());
        pairs.map(|h| format!("{}: {}", h.key, h.value)).collect()
    };
    let body = |r: &Route| match r.action.as_ref() {
        Some(Action::DirectResponse(d)) => format!("{:?}", d.body),
        _ => String::new(),
    };
    let law = find("payroll/eu!jurisdiction");
    assert_eq!(headers(law), ["x-tidegate-refusal: jurisdiction"]);
    assert!(body(law).contains("class `payroll/eu` may not be served from here (US). Permitted: DE, NL."), "{law:?}");
    let none = find("payroll/open!no-place");
    assert_eq!(headers(none), ["x-tidegate-refusal: no-place", "retry-after: 5"]);
    assert_eq!(got.clusters.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["payroll/us-ca"]);
}

/// A plan that lies cannot make an edge in the wrong country serve, nor list a forbidden region (I6).
#[test]
fn a_lying_plan_is_not_followed() {
    let fleet = fleet();
    let mut plan = plan(&fleet);
    plan.splits[1] = fixture::routed(EU, EDGE_US, &[(GCP_US, 10_000)], vec![]);
    plan.splits[0] = fixture::routed(EU, EDGE_DE, &[(GCP_US, 5000), (AWS_DE, 5000)], vec![vec![GCP_BE]]);
    let got = translate(&fleet, &plan).expect("translates");
    assert!(got[EDGE_US.at()].clusters.iter().all(|(n, _)| n != "payroll/eu"));
    let eu = &got[EDGE_DE.at()].endpoints[0].1;
    let rest = "P1 azure/westeurope w=0 NL [127.0.2.1:19000 127.0.2.2:19000] draining";
    assert_eq!(read_assignment(eu), ["P0 aws/eu-central-1 w=5000 DE [127.0.1.1:19000]", rest]);
}

/// What a permitted region still has open must be seen: it is listed after everything that may carry.
#[test]
fn a_permitted_place_without_a_share_is_listed_last_and_draining() {
    let fleet = fleet();
    let mut plan = plan(&fleet);
    plan.splits[0] = fixture::routed(EU, EDGE_DE, &[(AZURE_NL, 10_000)], vec![]);
    plan.splits[4] = fixture::routed(OPEN, EDGE_DE, &[(AZURE_NL, 10_000)], vec![vec![GCP_US]]);
    let got = translate(&fleet, &plan).expect("translates").swap_remove(EDGE_DE.at());
    let azure = "azure/westeurope w=10000 NL [127.0.2.1:19000 127.0.2.2:19000]";
    let aws = "aws/eu-central-1 w=0 DE [127.0.1.1:19000] draining";
    assert_eq!(read_assignment(&got.endpoints[0].1), [format!("P0 {azure}"), format!("P1 {aws}")]);
    let open = [
        format!("P0 {azure}"),
        "P1 gcp/us-east4 w=10000 US [127.0.3.1:19000 127.0.3.2:19000]".to_owned(),
        format!("P2 {aws}"),
        "P2 gcp/europe-west1 w=0 BE [127.0.4.1:19000 127.0.4.2:19000] draining".to_owned(),
    ];
    assert_eq!(read_assignment(&got.endpoints[1].1), open);
}

#[test]
fn shed_goes_into_the_assignment_alone() {
    let fleet = fleet();
    let mut plan = plan(&fleet);
    let before = of(EDGE_DE);
    plan.splits[0].serving = Serving::Routed { shed: Bps::clamped(1250) };
    let got = translate(&fleet, &plan).expect("translates").swap_remove(EDGE_DE.at());
    assert_eq!(read_assignment(&got.endpoints[0].1).last().map(String::as_str), Some("drop shed 1250"));
    assert_eq!((&got.clusters, &got.listeners, &got.routes), (&before.clusters, &before.listeners, &before.routes));
    assert_eq!(got.endpoints[1], before.endpoints[1]);
}

#[test]
fn the_stand_in_is_configured_or_lies_within_every_class() {
    let mut fleet = fleet();
    assert_eq!(names::unmatched(&fleet, ServiceIx(0)), None, "{{DE, NL}} and {{US}} share nothing");
    fleet.classes[US_CA.at()].permitted = Permitted::Only(["US", "DE", "NL"].map(fixture::country).into());
    assert_eq!(names::unmatched(&fleet, ServiceIx(0)), Some(EU));
    fleet.services[0].unmatched = Some(OPEN);
    assert_eq!(names::unmatched(&fleet, ServiceIx(0)), Some(OPEN));
    let got = translate(&fleet, &plan(&fleet)).expect("translates").swap_remove(EDGE_DE.at());
    let routes: Vec<String> = got.routes[0].1.virtual_hosts[0].routes.iter().map(read_route).collect();
    let stands_in = &routes[routes.len() - 2];
    let expected = "unmatched:payroll/open#1.other: / x-residency!=eu x-residency!=us-ca -> cluster";
    assert!(stands_in.starts_with(expected), "{stands_in}");
    assert_eq!(routes.last().map(String::as_str), Some("payroll/none!no-class: / -> 451"), "who claims two");
}

#[test]
fn a_service_without_a_root_route_answers_404_inside_a_class() {
    let mut fleet = fleet();
    fleet.services[0].routes.truncate(1);
    let got = translate(&fleet, &plan(&fleet)).expect("translates").swap_remove(EDGE_DE.at());
    let routes: Vec<String> = got.routes[0].1.virtual_hosts[0].routes.iter().map(read_route).collect();
    assert_eq!(routes[2], "payroll/eu#none!no-route: / x-residency=eu x-residency!=us-ca -> 404");
}

#[test]
fn metadata_names_place_and_class() {
    let got = of(EDGE_DE);
    let host = &got.endpoints[0].1.endpoints[0].lb_endpoints[0];
    let read = |key: &str| field(host.metadata.as_ref(), key).unwrap_or_default();
    assert_eq!([read("jurisdiction"), read("provider"), read("region")], ["DE", "aws", "aws/eu-central-1"]);
    let eu = &got.clusters[0].1;
    assert_eq!(field(eu.metadata.as_ref(), "class").as_deref(), Some("payroll/eu"));
    assert_eq!(field(eu.metadata.as_ref(), "permitted").as_deref(), Some("DE+NL"));
    assert_eq!(
        field(got.clusters[1].1.metadata.as_ref(), "permitted").as_deref(),
        Some("*"),
        "anywhere, and it says so"
    );
}

#[test]
fn cluster_settings_are_the_ones_that_were_measured() {
    let (_, eu) = &of(EDGE_DE).clusters[0];
    let lb = eu.common_lb_config.as_ref().expect("balancing");
    assert_eq!(lb.healthy_panic_threshold.map(|p| p.value), Some(0.0));
    assert_eq!(lb.update_merge_window.map(|d| (d.seconds, d.nanos)), Some((0, 0)));
    assert!(lb.locality_config_specifier.is_some());
    assert_eq!(eu.connect_timeout.map(|d| d.nanos), Some(250_000_000));
    let out = eu.outlier_detection.as_ref().expect("ejection");
    assert!(!out.split_external_local_origin_errors);
    assert_eq!(out.max_ejection_percent.map(|v| v.value), Some(100));
    assert_eq!(out.consecutive_gateway_failure.map(|v| v.value), Some(3));
    assert!(eu.health_checks.is_empty());
}

/// Limits follow capacity: 400 req/s per permitted region, two endpoints each; floors where that is small.
#[test]
fn limits_come_from_what_the_fleet_can_carry() {
    let mut fleet = fleet();
    for region in &mut fleet.regions {
        region.capacity = tidegate_domain::MilliRps(2_000_000);
    }
    let got = translate(&fleet, &plan(&fleet)).expect("translates").swap_remove(EDGE_DE.at());
    let breakers = got.clusters[0].1.circuit_breakers.as_ref().expect("breakers");
    let all = &breakers.thresholds[0];
    assert_eq!(all.max_requests.map(|v| v.value), Some(8000), "DE and NL, 2,000 req/s each, two seconds");
    assert_eq!(breakers.per_host_thresholds[0].max_connections.map(|v| v.value), Some(2000));
    let budget = all.retry_budget.as_ref().expect("a budget");
    assert_eq!(budget.min_retry_concurrency.map(|v| v.value), Some(150), "half a second of 300 req/s");
}

/// A fleet of the size that is planned in 20 ms does not take seconds to put into Envoy's words.
#[test]
fn a_thousand_services_in_thirty_regions() {
    let mut fleet = fleet();
    let (service, class, region, endpoint) =
        (fleet.services[0].clone(), fleet.classes[0].clone(), fleet.regions[0].clone(), fleet.endpoints[0].clone());
    (fleet.services, fleet.classes, fleet.regions, fleet.endpoints) = (vec![], vec![], vec![], vec![]);
    let name = |text: String| tidegate_domain::Name::new(&text).expect("a name");
    for r in 0..30 {
        let full = RegionName::new(&format!("aws/r{r}")).expect("a region");
        fleet.regions.push(Region { name: full, ..region.clone() });
    }
    let mut plan = Plan { fleet: fleet.revision, ..Plan::default() };
    let weights: Vec<(RegionIx, u16)> = (0..10_u16).map(|r| (RegionIx(r), 1000)).collect();
    for s in 0..1000 {
        let (ix, own) = (ServiceIx::from(s), ClassIx::from(s));
        let domains = vec![format!("s{s}.example")];
        let of =
            tidegate_domain::Service { name: name(format!("s{s}")), domains, classes: vec![own], ..service.clone() };
        fleet.services.push(of);
        fleet.classes.push(tidegate_domain::Class { service: ix, ..class.clone() });
        fleet.endpoints.extend((0..30).map(|r| tidegate_domain::Endpoint {
            service: ix,
            region: RegionIx(r),
            ..endpoint.clone()
        }));
        plan.splits.push(fixture::routed(own, EDGE_DE, &weights, vec![(10..30).map(RegionIx).collect()]));
    }
    let got = translate(&fleet, &plan).expect("translates");
    assert_eq!(got[0].clusters.len(), 1000);
    assert!(got[0].endpoints.iter().all(|(_, a)| a.endpoints.len() == 30));
    assert_eq!(got[1].clusters.len(), 0, "no rights in the US");
}

#[test]
fn names_lead_back() {
    let fleet = fleet();
    for class in (0..fleet.classes.len()).map(ClassIx::from) {
        assert_eq!(names::class(&fleet, &names::cluster(&fleet, class)), Some(class));
    }
    assert_eq!(names::class(&fleet, "payroll"), None);
    assert_eq!(names::class(&fleet, "payroll/nowhere"), None);
    let at = "127.0.2.2:19000".parse().expect("an address");
    let found = names::endpoint(&fleet, ServiceIx(0), at).expect("known");
    assert_eq!(fleet.endpoints[found.at()].name.as_str(), "payroll-3");
    let text = names::locality_region(&fleet, AZURE_NL);
    assert_eq!(fleet.region(&RegionName::new(&text).expect("a region")), Some(AZURE_NL));
}

#[test]
fn host_names_need_addresses_and_keep_their_name() {
    let mut fleet = fleet();
    fleet.endpoints[0].host = "Pay.example".to_owned();
    let plan = plan(&fleet);
    let unresolved = TranslateError::Unresolved { endpoint: "payroll-0".to_owned(), host: "pay.example".to_owned() };
    assert_eq!(translate(&fleet, &plan), Err(unresolved));
    let two = vec!["10.0.0.2".parse().expect("ip"), "10.0.0.1".parse().expect("ip")];
    let resolved = Resolved::from([("pay.example".to_owned(), two)]);
    let mut groups = crate::translate_resolved(&fleet, &plan, &resolved).expect("translates");
    let eu = groups.swap_remove(EDGE_DE.at()).endpoints.swap_remove(0).1;
    assert_eq!(read_assignment(&eu)[0], "P0 aws/eu-central-1 w=6000 DE [10.0.0.1:19000 10.0.0.2:19000]");
}

#[test]
fn a_plan_of_another_fleet_is_refused() {
    let fleet = fleet();
    let mut plan = plan(&fleet);
    plan.fleet.0[0] = 9;
    assert!(matches!(translate(&fleet, &plan), Err(TranslateError::OtherFleet { .. })));
}

#[test]
fn a_listener_by_name_is_refused() {
    let mut fleet = fleet();
    fleet.services[0].listener.address = "localhost".to_owned();
    assert!(matches!(translate(&fleet, &plan(&fleet)), Err(TranslateError::ListenerAddress { .. })));
}

/// Every resource as bytes, in order.
fn bytes(all: &[GroupResources]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for r in all {
        out.extend(r.clusters.iter().map(|(_, m)| m.encode_to_vec()));
        out.extend(r.endpoints.iter().map(|(_, m)| m.encode_to_vec()));
        out.extend(r.listeners.iter().map(|(_, m)| m.encode_to_vec()));
        out.extend(r.routes.iter().map(|(_, m)| m.encode_to_vec()));
        out.extend(bootstrap::files(r).into_iter().map(|(_, b)| b));
    }
    out
}

/// Encoded maps keep an order: equal content has equal bytes, or every edge would be sent everything again.
#[test]
fn equal_content_has_equal_bytes() {
    let fleet = fleet();
    let plan = plan(&fleet);
    let first = bytes(&translate(&fleet, &plan).expect("translates"));
    for _ in 0..50 {
        assert_eq!(bytes(&translate(&fleet, &plan).expect("translates")), first);
    }
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let split = (prop::collection::vec(0_u64..5, 4), prop::collection::vec(0_u16..4, 0..4), 0_u16..10_001, 0_u8..6);
    (prop::collection::vec(split, 6), prop::collection::btree_set(0_u32..8, 0..8)).prop_map(|(splits, out)| {
        let fleet = fleet();
        let mut plan = Plan { fleet: fleet.revision, ..Plan::default() };
        for (i, (amounts, spill, shed, kind)) in splits.into_iter().enumerate() {
            let (class, group) = (ClassIx::from(i / 2), GroupIx::from(i % 2));
            let shares = tidegate_domain::apportion(&amounts);
            let weights: Vec<(RegionIx, u16)> =
                shares.iter().enumerate().map(|(r, s)| (RegionIx::from(r), s.get())).filter(|w| w.1 > 0).collect();
            let mut split =
                fixture::routed(class, group, &weights, spill.into_iter().map(|r| vec![RegionIx(r)]).collect());
            split.serving = match kind {
                0 => Serving::NoPlace,
                1 => Serving::WrongJurisdiction,
                _ => Serving::Routed { shed: Bps::clamped(u64::from(shed)) },
            };
            plan.splits.push(split);
        }
        plan.endpoints_out = out.into_iter().map(tidegate_domain::EndpointIx).collect();
        plan
    })
}

fn region_of<'a>(fleet: &'a Fleet, name: &str) -> &'a Region {
    let at = fleet.region(&RegionName::new(name).expect("a region name")).expect("a region of the fleet");
    &fleet.regions[at.at()]
}

proptest! {
    /// I6 at this door: whatever the plan says, no place outside the permitted set is ever told to an edge, and no edge
    /// outside it is told of the class. Weights are the plan's own; nothing is sent twice; priorities have no gap.
    #[test]
    fn whatever_the_plan_says(plan in any_plan()) {
        let fleet = fleet();
        for resources in translate(&fleet, &plan).expect("translates") {
            let named: Vec<&String> = resources.clusters.iter().map(|(n, _)| n).collect();
            prop_assert_eq!(&named, &resources.endpoints.iter().map(|(n, _)| n).collect::<Vec<_>>());
            prop_assert!(named.is_sorted());
            for (name, assignment) in &resources.endpoints {
                let class = names::class(&fleet, name).expect("a class");
                let permitted = &fleet.classes[class.at()].permitted;
                prop_assert!(fleet.permits_group(class, resources.group));
                let split = plan.split(class, resources.group).expect("planned");
                let mut last = 0;
                let mut first_sum = 0;
                let mut drained = std::collections::BTreeSet::new();
                let mut seen = std::collections::BTreeSet::new();
                for l in &assignment.endpoints {
                    let region = &l.locality.as_ref().expect("placed").region;
                    prop_assert!(permitted.holds(region_of(&fleet, region).jurisdiction), "{region} in {name}");
                    prop_assert!(seen.insert(region.clone()), "{region} twice");
                    prop_assert!(!l.lb_endpoints.is_empty());
                    prop_assert!(l.priority == last || l.priority == last + 1);
                    last = l.priority;
                    let weight = l.load_balancing_weight.map_or(0, |w| w.value);
                    let at = fleet.region(&RegionName::new(region).expect("a name")).expect("of the fleet");
                    let planned = split.weights.iter().any(|w| w.region == at)
                        || split.spill.iter().flatten().any(|r| *r == at);
                    prop_assert_eq!(weight > 0, planned, "{} carries exactly what the plan names", region);
                    prop_assert!(weight > 0 || l.priority == assignment.endpoints.iter().map(|l| l.priority).max().unwrap_or(0));
                    prop_assert!(weight == 0 || !drained.contains(&l.priority), "they share no priority");
                    if weight == 0 { drained.insert(l.priority); }
                    if l.priority == 0 { first_sum += weight }
                    for host in &l.lb_endpoints {
                        prop_assert_eq!(drains(host), weight == 0);
                        prop_assert!(drains(host) || host.health_status == 0, "no other health is sent");
                        let at = socket(host).parse().expect("an address");
                        let known = names::endpoint(&fleet, ServiceIx(0), at).expect("known");
                        prop_assert!(!plan.endpoints_out.contains(&known));
                    }
                }
                let whole = split.weights.iter().all(|w| seen.contains(&fleet.regions[w.region.at()].name.to_string()));
                for (at, region) in fleet.regions.iter().enumerate() {
                    let has = (0..fixture::PER_REGION).any(|i| {
                        !plan.endpoints_out.contains(&tidegate_domain::EndpointIx::from(at * fixture::PER_REGION + i))
                    });
                    let listed = seen.contains(&region.name.to_string());
                    prop_assert_eq!(listed, has && permitted.holds(region.jurisdiction), "{} in {}", &region.name, name);
                }
                if whole && !split.weights.is_empty() { prop_assert_eq!(first_sum, 10_000) }
            }
        }
    }

    /// Pure: the same plan twice, the same bytes; and reweights never touch clusters or listeners.
    #[test]
    fn the_same_again(plan in any_plan()) {
        let fleet = fleet();
        let once = translate(&fleet, &plan).expect("translates");
        prop_assert_eq!(bytes(&once), bytes(&translate(&fleet, &plan).expect("translates")));
        for resources in &once {
            prop_assert_eq!(&resources.listeners, &of(resources.group).listeners);
        }
    }
}
