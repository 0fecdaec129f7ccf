//! Services: listener, domains, routes, health check, classes, endpoints.

use super::text::{country, covers, is_domain, is_header, is_host, unit};
use super::{Built, Spot, Tables, name};
use crate::fault::{Sink, Src};
use crate::parse::suggestion;
use crate::raw::{
    At, ClassSpec, Doc, DurationText, GrpcSpec, HealthCheckSpec, HttpSpec, MatchSpec, Raw, RouteSpec, ServiceSpec,
};
use crate::units;
use std::collections::BTreeSet;
use tidegate_domain::{
    Bps, Check, CheckKind, Class, ClassIx, ClassMatch, Demand, Endpoint, GroupIx, Listener, Millis, Permitted,
    PicoDollars, RegionIx, Route, Service, ServiceIx,
};

/// Most retries of one request. The retry budget bounds them all together; this bounds how long one client may wait.
const RETRIES_MAX: u8 = 8;

pub(super) fn lower(raw: &Raw, tables: &Tables, built: &mut Built, sink: &mut Sink) {
    for (i, doc) in raw.services.iter().enumerate() {
        let at = ServiceIx::from(i);
        let (src, spec) = (&doc.src, &doc.spec);
        let listener = listener(doc, built, sink);
        domains(&spec.domains, src, sink);
        let routes = routes(&spec.routes, src, sink);
        let check = check(&spec.health_check, src, sink);
        let classes = classes(doc, at, tables, built, sink);
        let unmatched = unmatched(spec, &classes, src, built, sink);
        endpoints(doc, at, tables, built, sink);
        built.fleet.services.push(Service {
            name: name(&doc.name, src, "name", sink),
            listener,
            domains: spec.domains.value.iter().map(|d| d.value.clone()).collect(),
            routes,
            classes,
            unmatched,
            check,
        });
    }
}

fn listener(doc: &Doc<ServiceSpec>, built: &mut Built, sink: &mut Sink) -> Listener {
    let (src, spec) = (&doc.src, &doc.spec.listener);
    if spec.address.value.parse::<std::net::IpAddr>().is_err() {
        let what = format!("`{}` is no IP address", spec.address.value);
        sink.error(src, spec.address.line, "spec.listener.address", what, "write one, `0.0.0.0` for all interfaces");
    }
    port(&spec.port, src, "spec.listener.port", sink);
    let key = "spec.listener".to_owned();
    let subs = [(".name", spec.name.line), (".address", spec.address.line), (".port", spec.port.line)];
    let subs = subs.map(|(key, line)| (key.to_owned(), line)).to_vec();
    built.listener_at.push(Spot { src: src.clone(), line: spec.name.line, key, subs });
    let name = name(&spec.name, src, "spec.listener.name", sink);
    Listener { name, address: spec.address.value.clone(), port: spec.port.value }
}

fn port(port: &At<u16>, src: &Src, key: &str, sink: &mut Sink) {
    if port.value == 0 {
        sink.error(src, port.line, key, "0 is no port", "write a port from 1 to 65535");
    }
}

fn domains(domains: &At<Vec<At<String>>>, src: &Src, sink: &mut Sink) {
    if domains.value.is_empty() {
        let mend = "name at least one host, or `*` for all";
        sink.error(src, domains.line, "spec.domains", "a service without a domain gets no request", mend);
    }
    let mut seen = BTreeSet::new();
    for (i, domain) in domains.value.iter().enumerate() {
        let key = format!("spec.domains[{i}]");
        if !is_domain(&domain.value) {
            let what = format!("`{}` is no domain", domain.value);
            sink.error(src, domain.line, &key, what, "write a host name in lower case, `*.` and a name, or `*`");
        } else if !seen.insert(&domain.value) {
            sink.error(src, domain.line, &key, format!("`{}` stands twice", domain.value), "keep one of the two");
        }
    }
}

fn routes(specs: &At<Vec<RouteSpec>>, src: &Src, sink: &mut Sink) -> Vec<Route> {
    if specs.value.is_empty() {
        sink.error(src, specs.line, "spec.routes", "a service needs a route", "add one with `prefix: /`");
    }
    let mut routes: Vec<Route> = Vec::new();
    for (i, spec) in specs.value.iter().enumerate() {
        let key = |k: &str| format!("spec.routes[{i}].{k}");
        let (prefix, line) = (&spec.prefix.value, spec.prefix.line);
        if !prefix.starts_with('/') || prefix.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let what = format!("`{prefix}` is no path prefix");
            sink.error(src, line, &key("prefix"), what, "begin with `/` and use no blanks");
        } else if let Some(before) = routes.iter().find(|r| prefix.starts_with(&r.prefix)) {
            let what = format!("unreachable: `{}` above takes every such request", before.prefix);
            sink.error(src, line, &key("prefix"), what, "put the more special prefix first");
        }
        let timeout = unit(&spec.timeout, units::duration_or_none, src, &key("timeout"), sink);
        let per_try = unit(&spec.per_try_timeout, units::duration_or_none, src, &key("perTryTimeout"), sink);
        if timeout.0 > 0 && per_try > timeout {
            let what = format!("one try ({per_try}) may not outlast the whole request ({timeout})");
            sink.error(src, spec.per_try_timeout.line, &key("perTryTimeout"), what, "lower it to `timeout` or less");
        }
        if spec.retries.value > RETRIES_MAX {
            let mend = format!("write at most {RETRIES_MAX}");
            sink.error(src, spec.retries.line, &key("retries"), "so many retries turn trouble into a storm", &mend);
        }
        let prefix = prefix.clone();
        routes.push(Route { prefix, timeout, per_try_timeout: per_try, retries: spec.retries.value });
    }
    routes
}

/// The bounds that probers keep: a check outside them makes each refuse the whole list of targets.
fn times(spec: &HealthCheckSpec, interval: Millis, timeout: Millis, src: &Src, sink: &mut Sink) {
    let (every, longest) = (&spec.interval, &spec.timeout);
    let stated = |text: &At<DurationText>| units::duration(&text.value.0);
    if stated(every).is_ok_and(|t| t < Check::INTERVAL_MIN) {
        let mend = format!("write {} or more", Check::INTERVAL_MIN);
        sink.error(src, every.line, "spec.healthCheck.interval", format!("{interval} is a storm of probes"), &mend);
    } else if interval > Check::INTERVAL_MAX {
        let mend = format!("write {} or less", Check::INTERVAL_MAX);
        let what = format!("no outage is seen within {interval}");
        sink.error(src, every.line, "spec.healthCheck.interval", what, &mend);
    }
    let key = "spec.healthCheck.timeout";
    if stated(longest) == Ok(Millis(0)) {
        sink.error(src, longest.line, key, "a time-out of 0 fails every probe", "write a time above 0");
    } else if stated(longest).is_ok_and(|t| t < Check::TIMEOUT_MIN) {
        let mend = format!("write {} or more", Check::TIMEOUT_MIN);
        sink.error(src, longest.line, key, format!("{timeout} is too short for any network"), &mend);
    } else if timeout > Check::TIMEOUT_MAX {
        let mend = format!("write {} or less", Check::TIMEOUT_MAX);
        sink.error(src, longest.line, key, format!("a probe that may take {timeout} finds nothing in time"), &mend);
    } else if timeout.0 > interval.0.saturating_mul(2) && interval >= Check::INTERVAL_MIN {
        let what = format!("{timeout} is more than twice the interval of {interval}: probes would pile up");
        sink.error(src, longest.line, key, what, "lower the time-out or raise the interval");
    }
}

fn http(spec: &HttpSpec, src: &Src, sink: &mut Sink) -> CheckKind {
    let (path, key) = (&spec.path, "spec.healthCheck.http.path");
    if !path.value.starts_with('/') {
        sink.error(src, path.line, key, format!("`{}` is no path", path.value), "begin with `/`");
    } else if !Check::is_sendable(&path.value) {
        let what = format!("`{}` has a space or a character that no request line may hold", path.value);
        sink.error(src, path.line, key, what, "write it percent-encoded, as in `%20`");
    }
    let host = host(spec.host.as_ref(), "spec.healthCheck.http.host", src, sink);
    CheckKind::Http { path: path.value.clone(), tls: spec.tls, host }
}

fn grpc(spec: &GrpcSpec, src: &Src, sink: &mut Sink) -> CheckKind {
    if let Some(service) = spec.service.as_ref().filter(|s| !Check::is_sendable(&s.value)) {
        let what = format!("`{}` is no gRPC service", service.value);
        let mend = "write its full name, as in `payroll.v1.Payroll`";
        sink.error(src, service.line, "spec.healthCheck.grpc.service", what, mend);
    }
    let host = host(spec.host.as_ref(), "spec.healthCheck.grpc.host", src, sink);
    CheckKind::Grpc {
        service: spec.service.as_ref().map_or_else(String::new, |s| s.value.clone()),
        tls: spec.tls,
        host,
    }
}

fn host(stated: Option<&At<String>>, key: &str, src: &Src, sink: &mut Sink) -> Option<String> {
    if let Some(host) = stated.filter(|h| !is_host(&h.value)) {
        let what = format!("`{}` is no host", host.value);
        sink.error(src, host.line, key, what, "write a host name or an IP address");
    }
    stated.map(|host| host.value.clone())
}

fn check(spec: &HealthCheckSpec, src: &Src, sink: &mut Sink) -> Check {
    let key = |k: &str| format!("spec.healthCheck.{k}");
    let interval = unit(&spec.interval, units::duration, src, &key("interval"), sink);
    let timeout = unit(&spec.timeout, units::duration, src, &key("timeout"), sink);
    times(spec, interval, timeout, src, sink);
    for (count, k) in [(&spec.unhealthy_after, "unhealthyAfter"), (&spec.healthy_after, "healthyAfter")] {
        if count.value == 0 {
            sink.error(src, count.line, &key(k), "0 results in a row decide nothing", "write 1 or more");
        }
    }
    let kind = match (&spec.tcp, &spec.http, &spec.grpc) {
        (Some(_), None, None) => CheckKind::Tcp,
        (None, Some(spec), None) => http(&spec.value, src, sink),
        (None, None, Some(spec)) => grpc(&spec.value, src, sink),
        (None, None, None) => {
            let what = "it says neither `tcp` nor `http` nor `grpc`";
            let mend = "add `tcp: {}`, `http:` with a path or `grpc: {}`";
            sink.error(src, spec.interval.line, "spec.healthCheck", what, mend);
            CheckKind::Tcp
        }
        (tcp, http, grpc) => {
            let tcp = tcp.as_ref().map(|tcp| (tcp.line, "tcp"));
            let http = http.as_ref().map(|http| (http.line, "http"));
            let grpc = grpc.as_ref().map(|grpc| (grpc.line, "grpc"));
            let stated: Vec<(usize, &str)> = [tcp, http, grpc].into_iter().flatten().collect();
            let words: Vec<String> = stated.iter().map(|(_, word)| format!("`{word}`")).collect();
            let what = format!("{} are stated", words.join(" and "));
            let (line, word) = stated.last().copied().unwrap_or((spec.interval.line, "tcp"));
            sink.error(src, line, &key(word), what, "keep one of them");
            CheckKind::Tcp
        }
    };
    let (unhealthy_after, healthy_after) = (spec.unhealthy_after.value, spec.healthy_after.value);
    Check { kind, interval, timeout, unhealthy_after, healthy_after }
}

fn classes(
    doc: &Doc<ServiceSpec>,
    service: ServiceIx,
    tables: &Tables,
    built: &mut Built,
    sink: &mut Sink,
) -> Vec<ClassIx> {
    let (src, specs) = (&doc.src, &doc.spec.classes);
    if specs.value.is_empty() {
        let mend = "add one; `permitted: [anywhere]` where no law binds it";
        sink.error(src, specs.line, "spec.classes", "a service needs a residency class", mend);
    }
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for (i, spec) in specs.value.iter().enumerate() {
        let key = format!("spec.classes[{i}]");
        if !names.insert(&spec.name.value) {
            let what = format!("class `{}` stands twice", spec.name.value);
            sink.error(src, spec.name.line, &format!("{key}.name"), what, "rename one of the two");
        }
        let class = class(spec, doc, service, &key, tables, built, sink);
        found.push(ClassIx::from(built.fleet.classes.len()));
        let subs = class_lines(spec);
        built.class_at.push(Spot { src: src.clone(), line: spec.name.line, key, subs });
        built.fleet.classes.push(class);
    }
    found
}

/// The line of each key that a later check may point at.
fn class_lines(spec: &ClassSpec) -> Vec<(String, usize)> {
    let mut lines = vec![(".permitted".to_owned(), spec.permitted.line), (".match".to_owned(), spec.matched_by.line)];
    lines.extend(spec.matched_by.value.host.as_ref().map(|h| (".match.host".to_owned(), h.line)));
    lines.extend(spec.provider_share_max.as_ref().map(|s| (".providerShareMax".to_owned(), s.line)));
    lines.extend(spec.demand.iter().map(|(group, load)| (format!(".demand.{group}"), load.line)));
    lines
}

fn class(
    spec: &ClassSpec,
    doc: &Doc<ServiceSpec>,
    service: ServiceIx,
    key: &str,
    tables: &Tables,
    built: &mut Built,
    sink: &mut Sink,
) -> Class {
    let src = &doc.src;
    let permitted = permitted(&spec.permitted, src, &format!("{key}.permitted"), built, sink);
    let matched_by = matched_by(&spec.matched_by, doc, key, sink);
    let client_can_set = match (&spec.client_can_set, &spec.matched_by.value.header) {
        (Some(stated), _) => stated.value,
        (None, Some(header)) => {
            let mend = "state `clientCanSet: false` only if something before the edge sets or strips the header";
            let what = "not stated for a class that a header selects";
            sink.error(src, header.name.line, &format!("{key}.clientCanSet"), what, mend);
            true
        }
        // A client always chooses the host it asks for.
        (None, None) => true,
    };
    let mut demand = Vec::new();
    for (group, load) in &spec.demand {
        let key = format!("{key}.demand.{group}");
        let at = tables.groups.find(group, src, load.line, &key, sink);
        let load = unit(load, units::load, src, &key, sink);
        if let Some(at) = at {
            demand.push(Demand { group: GroupIx::from(at), load });
        }
    }
    demand.sort_by_key(|d| d.group);
    let share = spec.provider_share_max.as_ref();
    let share_key = format!("{key}.providerShareMax");
    if let Some(text) = share.filter(|t| units::share(&t.value.0) == Ok(Bps::ZERO)) {
        sink.error(src, text.line, &share_key, "with 0 % no provider may carry it", "write a share above 0 %");
    }
    let cost = spec.migration_cost.as_ref();
    Class {
        name: name(&spec.name, src, &format!("{key}.name"), sink),
        service,
        permitted,
        matched_by,
        client_can_set,
        priority: spec.priority.value,
        demand,
        provider_share_max: share.map_or(Bps::FULL, |t| unit(t, units::share, src, &share_key, sink)),
        migration_cost: cost
            .map_or(PicoDollars(0), |t| unit(t, units::money, src, &format!("{key}.migrationCost"), sink)),
    }
}

fn permitted(list: &At<Vec<At<String>>>, src: &Src, key: &str, built: &mut Built, sink: &mut Sink) -> Permitted {
    if let Some(word) = list.value.iter().find(|w| w.value == "anywhere") {
        if list.value.len() > 1 {
            let what = "`anywhere` stands beside countries";
            sink.error(src, word.line, key, what, "keep the countries, or `anywhere` alone");
        }
        return Permitted::Anywhere;
    }
    if list.value.is_empty() {
        let mend = "name countries, `[DE, NL]`, or `[anywhere]`";
        sink.error(src, list.line, key, "an empty set permits no place at all", mend);
        built.doubtful = true;
    }
    let mut set = BTreeSet::new();
    for (i, text) in list.value.iter().enumerate() {
        match country(text, src, &format!("{key}[{i}]"), sink) {
            Some(law) => {
                set.insert(law);
            }
            None => built.doubtful = true,
        }
    }
    Permitted::Only(set)
}

fn matched_by(spec: &At<MatchSpec>, doc: &Doc<ServiceSpec>, key: &str, sink: &mut Sink) -> ClassMatch {
    let (src, key) = (&doc.src, format!("{key}.match"));
    match (&spec.value.header, &spec.value.host) {
        (Some(header), None) => {
            if !is_header(&header.name.value) {
                let what = format!("`{}` is no header name", header.name.value);
                sink.error(src, header.name.line, &format!("{key}.header.name"), what, "write a token in lower case");
            }
            let value = &header.value;
            if value.value.is_empty() || value.value.trim() != value.value || value.value.chars().any(char::is_control)
            {
                let what = "the value is empty or has blanks at its ends";
                sink.error(src, value.line, &format!("{key}.header.value"), what, "write the exact value");
            }
            ClassMatch::Header { name: header.name.value.clone(), value: value.value.clone() }
        }
        (None, Some(host)) => {
            let covered = doc.spec.domains.value.iter().any(|d| covers(&d.value, &host.value));
            if !is_host(&host.value) {
                let what = format!("`{}` is no single host", host.value);
                sink.error(src, host.line, &format!("{key}.host"), what, "write one host name, without `*`");
            } else if !covered {
                let what = format!("unreachable: `{}` is outside the service's domains", host.value);
                sink.error(src, host.line, &format!("{key}.host"), what, "add it to `spec.domains` or correct it");
            }
            ClassMatch::Host(host.value.clone())
        }
        (header, _) => {
            let what = if header.is_some() { "both `header` and `host` are stated" } else { "it says nothing" };
            sink.error(src, spec.line, &key, what, "state `header` or `host`, one of the two");
            ClassMatch::Host(String::new())
        }
    }
}

fn unmatched(spec: &ServiceSpec, classes: &[ClassIx], src: &Src, built: &Built, sink: &mut Sink) -> Option<ClassIx> {
    let wanted = spec.unmatched.as_ref()?;
    let named = |c: &&ClassIx| built.fleet.classes[c.at()].name.as_str() == wanted.value;
    let found = classes.iter().find(named).copied();
    if found.is_none() {
        let known: Vec<&str> = spec.classes.value.iter().map(|c| c.name.value.as_str()).collect();
        let what = format!("the service has no class `{}`", wanted.value);
        sink.error(src, wanted.line, "spec.unmatched", what, &suggestion(&wanted.value, &known));
    }
    found
}

fn endpoints(doc: &Doc<ServiceSpec>, service: ServiceIx, tables: &Tables, built: &mut Built, sink: &mut Sink) {
    let (src, specs) = (&doc.src, &doc.spec.endpoints);
    if specs.value.is_empty() {
        sink.error(src, specs.line, "spec.endpoints", "a service without an endpoint", "add where it runs");
    }
    let mut count: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    let mut own: Vec<(Endpoint, Spot)> = Vec::new();
    for (i, spec) in specs.value.iter().enumerate() {
        let key = format!("spec.endpoints[{i}]");
        let region = tables.regions.at(&spec.region, src, &format!("{key}.region"), sink);
        built.doubtful |= region.is_none();
        if !is_host(&spec.host.value) {
            let what = format!("`{}` is no host", spec.host.value);
            sink.error(src, spec.host.line, &format!("{key}.host"), what, "write an IP address or a host name");
        }
        port(&spec.port, src, &format!("{key}.port"), sink);
        let nth = count.entry(&spec.region.value).or_default();
        let text = spec.name.clone().unwrap_or_else(|| At {
            value: format!("{}-{}-{nth}", doc.name.value, spec.region.value.replace('/', "-")),
            line: spec.region.line,
        });
        *nth += 1;
        let name = name(&text, src, &format!("{key}.name"), sink);
        // Left out where its region is not known: a fault stands already, and no conclusion should rest on it.
        let Some(region) = region.map(RegionIx::from) else { continue };
        let endpoint = Endpoint { name, service, region, host: spec.host.value.clone(), port: spec.port.value };
        let mut subs = vec![
            (".region".to_owned(), spec.region.line),
            (".host".to_owned(), spec.host.line),
            (".port".to_owned(), spec.port.line),
        ];
        subs.extend(spec.name.as_ref().map(|n| (".name".to_owned(), n.line)));
        own.push((endpoint, Spot { src: src.clone(), line: spec.region.line, key, subs }));
    }
    let all = built.fleet.targets();
    if all <= Check::TARGETS_MAX && all + own.len() > Check::TARGETS_MAX {
        let what = format!(
            "a prober takes at most {} endpoints of all services and providers' APIs together",
            Check::TARGETS_MAX
        );
        sink.error(src, specs.line, "spec.endpoints", what, "put what is behind a balancer there as one endpoint");
    }
    // By region, then name: the order of the file does not reach the target indexes.
    own.sort_by(|a, b| (a.0.region, &a.0.name, &a.0.host).cmp(&(b.0.region, &b.0.name, &b.0.host)));
    for (endpoint, spot) in own {
        built.fleet.endpoints.push(endpoint);
        built.endpoint_at.push(spot);
    }
}
