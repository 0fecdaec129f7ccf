//! A route configuration as a small interpreter: host, then the first route whose matchers all hold.
//!
//! Owns Envoy's rules of matching as far as the control plane uses them: exact host, then the longest `*.suffix`, then
//! `*`; routes in their order; a header that is not there satisfies no value matcher, also no inverted one, unless it
//! counts as empty; each value of a repeated header is looked at by itself. Refuses every other matcher and action.

use super::{Refused, duration, refused, text};
use envoy_types::pb::envoy::config::core::v3::{HeaderValueOption, data_source};
use envoy_types::pb::envoy::config::route::v3::{
    self as pb, DirectResponseAction, RetryPolicy, RouteAction, RouteConfiguration,
    header_matcher::HeaderMatchSpecifier,
    route::Action as PbAction,
    route_action::{ClusterSpecifier, UpgradeConfig},
    route_match::PathSpecifier,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_proto::metadata;

/// What failures send a request to another place. Beyond this, only safe methods are ever sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RetryOn {
    pub(crate) connect_failure: bool,
    pub(crate) reset: bool,
    pub(crate) gateway_error: bool,
    pub(crate) any_5xx: bool,
}

/// Sends a request to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) class: String,
    pub(crate) cluster: String,
    /// Of the whole request; `None`: without end.
    pub(crate) timeout: Option<Duration>,
    /// Until the head of an answer.
    pub(crate) per_try_timeout: Option<Duration>,
    pub(crate) retries: u32,
    pub(crate) retry_on: RetryOn,
    /// A request may change the protocol to WebSocket. No other change is ever made.
    pub(crate) websocket: bool,
}

/// Answers in the place of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectResponse {
    pub(crate) class: Option<String>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: bytes::Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Forward(Arc<Forward>),
    Direct(Arc<DirectResponse>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Present,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// A regular expression that is a list of plain words.
    OneOf(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Matcher {
    name: String,
    pattern: Pattern,
    ignore_case: bool,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Path {
    Prefix(String),
    Exact(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    path: Path,
    case_sensitive: bool,
    matchers: Vec<Matcher>,
    action: Action,
}

/// What the interpreter asks of a request.
pub(crate) trait Host {
    /// Every value of a header, or of `:method`, `:path` and `:authority`. Stops at the first that `holds`; whether any
    /// did, or `None` when there is no such header.
    fn any_value(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool>;
}

/// The routes of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RouteTable {
    hosts: Vec<Vec<Route>>,
    exact: BTreeMap<String, usize>,
    /// Longest first, with the dot: `.example.org`.
    suffixes: Vec<(String, usize)>,
    any: Option<usize>,
    ignore_port: bool,
}

impl RouteTable {
    /// The action for a request, if it has a host and a route here.
    pub(crate) fn find(&self, host: &str, path: &str, request: &dyn Host) -> Option<&Action> {
        let mut host = host.to_ascii_lowercase();
        if self.ignore_port
            && let Some((name, port)) = host.rsplit_once(':')
            && port.bytes().all(|b| b.is_ascii_digit())
            && (!name.contains(':') || name.ends_with(']'))
        {
            host.truncate(name.len());
        }
        let by_suffix = || {
            let fits = |s: &&(String, usize)| host.len() > s.0.len() && host.ends_with(&s.0);
            self.suffixes.iter().find(fits).map(|(_, at)| *at)
        };
        let at = self.exact.get(&host).copied().or_else(by_suffix).or(self.any)?;
        let path = path.split(['?', '#']).next().unwrap_or(path);
        self.hosts[at].iter().find(|r| r.holds(path, request)).map(|r| &r.action)
    }

    /// The names of all clusters that a route leads to.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().flatten().filter_map(|r| match &r.action {
            Action::Forward(forward) => Some(forward.cluster.as_str()),
            Action::Direct(_) => None,
        })
    }
}

impl Route {
    fn holds(&self, path: &str, request: &dyn Host) -> bool {
        let fits = match (&self.path, self.case_sensitive) {
            (Path::Prefix(prefix), true) => path.starts_with(prefix.as_str()),
            (Path::Exact(whole), true) => path == whole,
            (Path::Prefix(prefix), false) => {
                path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            }
            (Path::Exact(whole), false) => path.eq_ignore_ascii_case(whole),
        };
        fits && self.matchers.iter().all(|m| m.holds(request))
    }
}

impl Matcher {
    fn holds(&self, request: &dyn Host) -> bool {
        let found = request.any_value(&self.name, &mut |value| self.value_holds(value));
        match (&self.pattern, found) {
            (Pattern::Present, found) => found.is_some() != self.invert,
            (_, Some(held)) => held != self.invert,
            (_, None) if self.missing_is_empty => self.value_holds(b"") != self.invert,
            (_, None) => false,
        }
    }

    fn value_holds(&self, value: &[u8]) -> bool {
        let folded;
        let value = if self.ignore_case {
            folded = value.to_ascii_lowercase();
            folded.as_slice()
        } else {
            value
        };
        match &self.pattern {
            Pattern::Present => true,
            Pattern::Exact(text) => value == text.as_bytes(),
            Pattern::Prefix(text) => value.starts_with(text.as_bytes()),
            Pattern::Suffix(text) => value.ends_with(text.as_bytes()),
            Pattern::Contains(text) => {
                text.is_empty() || value.windows(text.len().max(1)).any(|part| part == text.as_bytes())
            }
            Pattern::OneOf(words) => words.iter().any(|w| value == w.as_bytes()),
        }
    }
}

pub(crate) fn route_table(name: &str, value: &[u8]) -> Result<RouteTable, Refused> {
    let of = RouteConfiguration::decode(value)
        .map_err(|e| Refused(format!("routes `{name}`: not a RouteConfiguration: {e}")))?;
    if of.name != name {
        return refused(format!("routes `{name}` call themselves `{}`", of.name));
    }
    let mut table = RouteTable { ignore_port: of.ignore_port_in_host_matching, ..RouteTable::default() };
    for (at, host) in of.virtual_hosts.iter().enumerate() {
        if host.matcher.is_some() {
            return refused(format!(
                "routes `{name}`: host `{}` has a matcher tree, which is not understood",
                host.name
            ));
        }
        for domain in &host.domains {
            let domain = domain.to_ascii_lowercase();
            let twice = match domain.as_str() {
                "*" => table.any.replace(at).is_some(),
                suffix if suffix.starts_with('*') => {
                    let suffix = suffix[1..].to_owned();
                    let twice = table.suffixes.iter().any(|(s, _)| *s == suffix);
                    table.suffixes.push((suffix, at));
                    twice
                }
                wild if wild.contains('*') => {
                    return refused(format!("routes `{name}`: domain `{wild}` has a wildcard that is not understood"));
                }
                _ => table.exact.insert(domain.clone(), at).is_some(),
            };
            if twice {
                return refused(format!("routes `{name}`: domain `{domain}` stands there twice"));
            }
        }
        let routes = host.routes.iter().map(|r| route(r).map_err(|e| in_route(name, &r.name, &e)));
        table.hosts.push(routes.collect::<Result<_, _>>()?);
    }
    table.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
    Ok(table)
}

fn in_route(table: &str, route: &str, error: &Refused) -> Refused {
    Refused(format!("routes `{table}`, route `{route}`: {error}"))
}

fn route(of: &pb::Route) -> Result<Route, Refused> {
    let Some(matching) = &of.r#match else { return refused("it matches nothing") };
    let path = match &matching.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => Path::Prefix(prefix.clone()),
        Some(PathSpecifier::Path(path)) => Path::Exact(path.clone()),
        _ => return refused("this kind of path match is not understood"),
    };
    let strange = matching.runtime_fraction.is_some()
        || matching.grpc.is_some()
        || matching.tls_context.is_some()
        || !matching.query_parameters.is_empty()
        || !matching.dynamic_metadata.is_empty()
        || !matching.cookies.is_empty()
        || !matching.filter_state.is_empty();
    if strange {
        return refused("it matches by something else than path and headers");
    }
    let class = text(of.metadata.as_ref(), metadata::CLASS);
    let action = match &of.action {
        Some(PbAction::Route(action)) => Action::Forward(Arc::new(forward(action, class)?)),
        Some(PbAction::DirectResponse(direct)) => Action::Direct(Arc::new(direct_response(of, direct, class)?)),
        _ => return refused("this kind of action is not understood"),
    };
    Ok(Route {
        path,
        case_sensitive: matching.case_sensitive.as_ref().is_none_or(|v| v.value),
        matchers: matching.headers.iter().map(matcher).collect::<Result<_, _>>()?,
        action,
    })
}

fn websocket(of: &UpgradeConfig) -> bool {
    of.upgrade_type.eq_ignore_ascii_case("websocket") && of.enabled.as_ref().is_none_or(|e| e.value)
}

fn forward(of: &RouteAction, class: Option<String>) -> Result<Forward, Refused> {
    let Some(ClusterSpecifier::Cluster(cluster)) = &of.cluster_specifier else {
        return refused("only one cluster by name is understood");
    };
    let policy = of.retry_policy.as_ref();
    let timeout = duration(of.timeout.as_ref()).unwrap_or(Duration::from_secs(15));
    Ok(Forward {
        class: class.unwrap_or_else(|| cluster.clone()),
        cluster: cluster.clone(),
        timeout: (!timeout.is_zero()).then_some(timeout),
        websocket: of.upgrade_configs.iter().any(websocket),
        per_try_timeout: duration(policy.and_then(|p| p.per_try_timeout.as_ref())).filter(|d| !d.is_zero()),
        retries: policy.map_or(0, |p| p.num_retries.as_ref().map_or(1, |n| n.value)),
        retry_on: policy.map_or(Ok(RetryOn::default()), retry_on)?,
    })
}

fn retry_on(of: &RetryPolicy) -> Result<RetryOn, Refused> {
    let mut on = RetryOn::default();
    for word in of.retry_on.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        match word {
            "connect-failure" | "refused-stream" => on.connect_failure = true,
            "reset" => on.reset = true,
            "gateway-error" => on.gateway_error = true,
            "5xx" => on.any_5xx = true,
            other => return refused(format!("retries on `{other}` are not understood")),
        }
    }
    Ok(on)
}

fn direct_response(
    of: &pb::Route,
    direct: &DirectResponseAction,
    class: Option<String>,
) -> Result<DirectResponse, Refused> {
    let status = u16::try_from(direct.status).ok().filter(|s| (200..600).contains(s));
    let Some(status) = status else { return refused(format!("{} is no status", direct.status)) };
    let body = match direct.body.as_ref().and_then(|b| b.specifier.as_ref()) {
        None => bytes::Bytes::new(),
        Some(data_source::Specifier::InlineString(text)) => bytes::Bytes::copy_from_slice(text.as_bytes()),
        Some(data_source::Specifier::InlineBytes(all)) => bytes::Bytes::copy_from_slice(all),
        Some(_) => return refused("a body from elsewhere is not understood"),
    };
    let pair = |h: &HeaderValueOption| h.header.as_ref().map(|h| (h.key.to_ascii_lowercase(), h.value.clone()));
    let headers: Vec<_> = of.response_headers_to_add.iter().filter_map(pair).collect();
    for (key, value) in &headers {
        let fits =
            http::HeaderName::try_from(key.as_str()).is_ok() && http::HeaderValue::try_from(value.as_str()).is_ok();
        if !fits {
            return refused(format!("`{key}: {value}` is no header"));
        }
    }
    Ok(DirectResponse { class, status, headers, body })
}

fn matcher(of: &pb::HeaderMatcher) -> Result<Matcher, Refused> {
    let mut ignore_case = false;
    let mut invert = of.invert_match;
    let pattern = match &of.header_match_specifier {
        None => Pattern::Present,
        Some(HeaderMatchSpecifier::PresentMatch(present)) => {
            invert ^= !present;
            Pattern::Present
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            ignore_case = matcher.ignore_case;
            string_pattern(matcher)?
        }
        Some(_) => return refused(format!("the matcher of header `{}` is not understood", of.name)),
    };
    Ok(Matcher {
        name: of.name.to_ascii_lowercase(),
        pattern,
        ignore_case,
        invert,
        missing_is_empty: of.treat_missing_header_as_empty,
    })
}

fn string_pattern(of: &StringMatcher) -> Result<Pattern, Refused> {
    let fold = |text: &String| if of.ignore_case { text.to_ascii_lowercase() } else { text.clone() };
    match &of.match_pattern {
        Some(MatchPattern::Exact(text)) => Ok(Pattern::Exact(fold(text))),
        Some(MatchPattern::Prefix(text)) => Ok(Pattern::Prefix(fold(text))),
        Some(MatchPattern::Suffix(text)) => Ok(Pattern::Suffix(fold(text))),
        Some(MatchPattern::Contains(text)) => Ok(Pattern::Contains(fold(text))),
        Some(MatchPattern::SafeRegex(regex)) => {
            let words: Vec<String> = regex.regex.split('|').map(str::to_owned).collect();
            let plain =
                |w: &String| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/ ".contains(&b));
            if words.iter().all(plain) {
                Ok(Pattern::OneOf(words))
            } else {
                refused(format!("the expression `{}` is more than a list of words", regex.regex))
            }
        }
        _ => refused("this kind of text match is not understood"),
    }
}
