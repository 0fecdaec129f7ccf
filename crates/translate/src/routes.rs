//! Routes: one configuration per listener, one virtual host per service (and one per host that selects a class).
//!
//! Owns which request belongs to which class, which may be tried again, and the words of a refusal. Refuses to guess: a
//! request of no class meets 451 unless a class stands in for it ([`crate::names::unmatched`]).
//!
//! - Each class is selected by its own header value or host, and only while no other class's value is there too (Envoy
//!   looks at each value of a header that comes twice). So the order of classes has no meaning, and a request that claims
//!   two classes has none: 451, also where a class stands in. On a host that selects a class no header is looked at.
//! - The class header is passed on as it came. Where a class says that clients cannot set it, something in front of the
//!   edge sets and strips it; an edge cannot tell the two apart, so it does neither.
//! - GET, HEAD and OPTIONS are tried again after any failure of the place. Everything else only while it is certain that
//!   no byte of it reached a backend: connection failed, or the stream was refused before it was looked at. (Envoy's
//!   `reset-before-request` would promise the same of a connection already chosen; it is left out, for what it wins is
//!   less than what a misjudged byte would cost.) Such requests have no per-try time-out either: they cannot be repeated,
//!   so giving up early only loses them.

use crate::values::{any, header, inline, millis, text, tidegate, uint};
use crate::{Answer, names, serving};
use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    header_matcher::HeaderMatchSpecifier,
    retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority},
    route::Action,
    route_action::{ClusterSpecifier, UpgradeConfig},
    route_match::PathSpecifier,
};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_domain::{ClassIx, ClassMatch, Fleet, GroupIx, Permitted, Plan, ServiceIx};
use tidegate_proto::{metadata, refusal as words};

/// Why the edge answers by itself: the value of [`refusal::HEADER`](tidegate_proto::refusal::HEADER).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// 451: the class may not be served where this edge stands.
    Jurisdiction,
    /// 451: the request claims no class and none stands in, or it claims two.
    NoClass,
    /// 503: the class has no permitted place at all.
    NoPlace,
    /// 404: the class has no such path.
    NoRoute,
    /// 503: shed, for the survivors cannot hold everything.
    Shed,
}
impl Refusal {
    /// The header's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jurisdiction => "jurisdiction",
            Self::NoClass => "no-class",
            Self::NoPlace => "no-place",
            Self::NoRoute => "no-route",
            Self::Shed => "shed",
        }
    }
    /// The headers of such an answer.
    pub(crate) fn headers(self) -> Vec<HeaderValueOption> {
        let mut all = vec![header(words::HEADER, self.as_str())];
        if matches!(self, Self::NoPlace | Self::Shed) {
            all.push(header("retry-after", words::RETRY_AFTER_SECONDS));
        }
        all
    }
}

/// One configuration per listener, by name.
pub(crate) fn all(fleet: &Fleet, plan: &Plan, group: GroupIx) -> Vec<(String, RouteConfiguration)> {
    let mut by_listener: BTreeMap<String, Vec<VirtualHost>> = BTreeMap::new();
    for (i, service) in fleet.services.iter().enumerate() {
        let hosts = by_listener.entry(names::route_configuration(&service.listener)).or_default();
        hosts.extend(virtual_hosts(&View { fleet, plan, group, service: ServiceIx::from(i) }));
    }
    let config = |(name, virtual_hosts): (String, Vec<VirtualHost>)| {
        let of = RouteConfiguration {
            name: name.clone(),
            virtual_hosts,
            // `example.org:8080` is `example.org`.
            ignore_port_in_host_matching: true,
            ..RouteConfiguration::default()
        };
        (name, of)
    };
    by_listener.into_iter().map(config).collect()
}

/// What one service's routes are made from.
struct View<'a> {
    fleet: &'a Fleet,
    plan: &'a Plan,
    group: GroupIx,
    service: ServiceIx,
}

fn virtual_hosts(view: &View<'_>) -> Vec<VirtualHost> {
    let service = &view.fleet.services[view.service.at()];
    let mut by_host: BTreeMap<String, ClassIx> = BTreeMap::new();
    let mut by_header = Vec::new();
    for class in &service.classes {
        match &view.fleet.classes[class.at()].matched_by {
            ClassMatch::Host(host) => {
                by_host.insert(host.to_ascii_lowercase(), *class);
            }
            ClassMatch::Header { name, value } => by_header.push((*class, name.as_str(), value.as_str())),
        }
    }
    let mut all = Vec::new();
    let shared: BTreeSet<String> = service.domains.iter().map(|d| d.to_ascii_lowercase()).collect();
    let domains: Vec<String> = shared.into_iter().filter(|d| !by_host.contains_key(d)).collect();
    if !domains.is_empty() {
        let mut routes = Vec::new();
        for (class, _, _) in &by_header {
            routes.extend(class_routes(view, *class, &claims(&by_header, Some(*class)), ""));
        }
        if let Some(class) = names::unmatched(view.fleet, view.service) {
            routes.extend(class_routes(view, class, &claims(&by_header, None), "unmatched:"));
        }
        routes.push(no_class(view));
        all.push(VirtualHost { name: service.name.to_string(), domains, routes, ..VirtualHost::default() });
    }
    for (host, class) in by_host {
        all.push(VirtualHost {
            name: format!("{}@{host}", service.name),
            domains: vec![host],
            routes: class_routes(view, class, &[], ""),
            ..VirtualHost::default()
        });
    }
    all
}

/// The header matchers of a request that claims `class` and no other; with `None`, that claims none.
fn claims(by_header: &[(ClassIx, &str, &str)], class: Option<ClassIx>) -> Vec<HeaderMatcher> {
    let matcher = |(of, name, value): &(ClassIx, &str, &str)| {
        let wanted = Some(*of) == class;
        // A header that is not there is not another class's value.
        HeaderMatcher { invert_match: !wanted, treat_missing_header_as_empty: !wanted, ..exactly(name, value) }
    };
    by_header.iter().map(matcher).collect()
}

/// All routes of one class. `select` holds what tells it; empty on a host of its own.
fn class_routes(view: &View<'_>, class: ClassIx, select: &[HeaderMatcher], tag: &str) -> Vec<Route> {
    let name = format!("{tag}{}", view.fleet.class_name(class));
    match serving(view.fleet, view.plan, class, view.group) {
        Answer::Routed => routed(view, class, select, &name),
        Answer::WrongJurisdiction => {
            let body = wrong_jurisdiction(view.fleet, class, view.group);
            vec![refusal(view, Some(class), select, &name, 451, Refusal::Jurisdiction, body)]
        }
        Answer::NoPlace => {
            let body = format!(
                "503: no permitted place can serve class `{}` now. Try again in {} seconds.\n",
                view.fleet.class_name(class),
                words::RETRY_AFTER_SECONDS
            );
            vec![refusal(view, Some(class), select, &name, 503, Refusal::NoPlace, body)]
        }
    }
}

fn routed(view: &View<'_>, class: ClassIx, select: &[HeaderMatcher], name: &str) -> Vec<Route> {
    let service = &view.fleet.services[view.service.at()];
    let mut all = Vec::new();
    for (i, route) in service.routes.iter().enumerate() {
        for (kind, retries) in [("safe", Retries::AnyFailure), ("other", Retries::NeverSent)] {
            let mut headers = select.to_vec();
            if retries == Retries::AnyFailure {
                headers.push(safe_methods());
            }
            let action = RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(names::cluster(view.fleet, class))),
                // 0 means none, to Envoy as to us.
                timeout: millis(route.timeout.0),
                // A stream without an end may be silent for as long as it likes.
                idle_timeout: if route.timeout.0 == 0 { millis(0) } else { None },
                retry_policy: (route.retries > 0).then(|| retry_policy(route, retries)),
                // A WebSocket lives as long as it likes, so only a route without a time may open one. On every other
                // route, and for every other protocol, Envoy answers 403 by itself.
                upgrade_configs: if route.timeout.0 == 0 { vec![websocket()] } else { Vec::new() },
                ..RouteAction::default()
            };
            all.push(Route {
                name: format!("{name}#{i}.{kind}"),
                r#match: matching(&route.prefix, headers),
                metadata: tidegate([(metadata::CLASS, text(view.fleet.class_name(class)))]),
                stat_prefix: stat_prefix(view.fleet, class, kind),
                action: Some(Action::Route(action)),
                ..Route::default()
            });
        }
    }
    if !service.routes.iter().any(|r| r.prefix == "/") {
        let body = "404: no route has this path.\n".to_owned();
        all.push(refusal(view, Some(class), select, &format!("{name}#none"), 404, Refusal::NoRoute, body));
    }
    all
}

fn websocket() -> UpgradeConfig {
    UpgradeConfig { upgrade_type: "websocket".to_owned(), ..UpgradeConfig::default() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retries {
    AnyFailure,
    NeverSent,
}

fn retry_policy(route: &tidegate_domain::Route, retries: Retries) -> RetryPolicy {
    let predicate = RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(any(&PreviousHostsPredicate {}))),
    };
    // A cloud dies with all its hosts: another host of the split is likely to be as dead as the first, a place that is
    // not in the split at all seldom is. So every try goes to another priority: the split, then the spill rings in the
    // order that was authorised, then the split again. All of them are permitted places.
    let elsewhere = RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(any(&PreviousPrioritiesConfig {
            update_frequency: 1,
        }))),
    };
    let (retry_on, per_try_timeout) = match retries {
        // A 500 too: a gray place answers it to a part of its requests, and another place does not. Where all places do, the
        // retry budget bounds what is tried in vain (decision 0056).
        Retries::AnyFailure => {
            ("connect-failure,refused-stream,reset,5xx", Some(route.per_try_timeout.0).filter(|ms| *ms > 0))
        }
        Retries::NeverSent => ("connect-failure,refused-stream", None),
    };
    RetryPolicy {
        retry_on: retry_on.to_owned(),
        num_retries: uint(u32::from(route.retries)),
        per_try_timeout: per_try_timeout.and_then(millis),
        retry_host_predicate: vec![predicate],
        retry_priority: Some(elsewhere),
        // Hosts are drawn again this often to find one that has not been tried. Draws follow the weights, so a living
        // place of few per cent is found only after many; a draw costs less than a microsecond, and only in a retry.
        host_selection_retry_max_attempts: 64,
        // Another place is tried: nothing is won by waiting for this one.
        retry_back_off: Some(RetryBackOff { base_interval: millis(5), max_interval: millis(50) }),
        ..RetryPolicy::default()
    }
}

fn no_class(view: &View<'_>) -> Route {
    let service = &view.fleet.services[view.service.at()];
    let body = format!(
        "451: the request does not name exactly one residency class of service `{}`, and none stands in.\n",
        service.name
    );
    let name = format!("{}/none", service.name);
    refusal(view, None, &[], &name, 451, Refusal::NoClass, body)
}

fn wrong_jurisdiction(fleet: &Fleet, class: ClassIx, group: GroupIx) -> String {
    let permitted = match &fleet.classes[class.at()].permitted {
        Permitted::Anywhere => "anywhere".to_owned(),
        Permitted::Only(set) => set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let (class, here) = (fleet.class_name(class), fleet.groups[group.at()].jurisdiction);
    format!("451: class `{class}` may not be served from here ({here}). Permitted: {permitted}.\n")
}

fn refusal(
    view: &View<'_>,
    class: Option<ClassIx>,
    select: &[HeaderMatcher],
    name: &str,
    status: u32,
    why: Refusal,
    body: String,
) -> Route {
    let of = class.map(|c| view.fleet.class_name(c));
    Route {
        name: format!("{name}!{}", why.as_str()),
        r#match: matching("/", select.to_vec()),
        metadata: of.and_then(|c| tidegate([(metadata::CLASS, text(c))])),
        response_headers_to_add: why.headers(),
        action: Some(Action::DirectResponse(DirectResponseAction {
            status,
            body: inline(body),
            ..DirectResponseAction::default()
        })),
        ..Route::default()
    }
}

/// `payroll.eu.safe`: `vhost.<virtual host>.route.<this>.upstream_rq_*` counts a class's requests at this edge.
fn stat_prefix(fleet: &Fleet, class: ClassIx, kind: &str) -> String {
    let of = &fleet.classes[class.at()];
    format!("{}.{}.{kind}", fleet.services[of.service.at()].name, of.name)
}

fn matching(prefix: &str, headers: Vec<HeaderMatcher>) -> Option<RouteMatch> {
    let path_specifier = Some(PathSpecifier::Prefix(prefix.to_owned()));
    Some(RouteMatch { path_specifier, headers, ..RouteMatch::default() })
}

fn exactly(name: &str, value: &str) -> HeaderMatcher {
    string_match(&name.to_ascii_lowercase(), MatchPattern::Exact(value.to_owned()))
}

fn safe_methods() -> HeaderMatcher {
    let regex = RegexMatcher { regex: "GET|HEAD|OPTIONS".to_owned(), ..RegexMatcher::default() };
    string_match(":method", MatchPattern::SafeRegex(regex))
}

fn string_match(name: &str, pattern: MatchPattern) -> HeaderMatcher {
    let matcher = StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() };
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher)),
        ..HeaderMatcher::default()
    }
}
