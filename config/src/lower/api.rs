//! Where a provider's own API says how it does: a URL → a target to be probed.

use super::Built;
use super::text::{host_port, is_host, unit};
use crate::fault::{Sink, Src};
use crate::raw::{ApiStatusSpec, At, DurationText, Raw};
use crate::units;
use std::collections::BTreeSet;
use tidegate_domain::{Check, CheckKind, Millis, ProviderApi, ProviderIx};

/// An API is asked now and then only: it is somebody else's, and what follows is no haste.
const INTERVAL: Millis = Millis(5_000);
const TIMEOUT: Millis = Millis(3_000);
const IN_A_ROW: u8 = 3;
const URL: &str = "spec.apiStatus.url";

pub(super) fn lower(provider: ProviderIx, spec: &At<ApiStatusSpec>, src: &Src, built: &mut Built, sink: &mut Sink) {
    let ApiStatusSpec { url, interval, timeout, unhealthy_after, healthy_after } = &spec.value;
    let bounds = (Check::INTERVAL_MIN.max(Millis(1_000)), Check::INTERVAL_MAX);
    let interval = time(interval.as_ref(), "interval", (INTERVAL, bounds), src, sink);
    let bounds = (Check::TIMEOUT_MIN, Check::TIMEOUT_MAX);
    let timeout = time(timeout.as_ref(), "timeout", (TIMEOUT, bounds), src, sink);
    let mut count = |stated: &Option<At<u8>>, key: &str| {
        if let Some(zero) = stated.as_ref().filter(|c| c.value == 0) {
            let key = format!("spec.apiStatus.{key}");
            sink.error(src, zero.line, &key, "0 results in a row decide nothing", "write 1 or more");
        }
        stated.as_ref().map_or(IN_A_ROW, |c| c.value)
    };
    let (unhealthy_after, healthy_after) =
        (count(unhealthy_after, "unhealthyAfter"), count(healthy_after, "healthyAfter"));
    let Some((host, port, kind)) = read(url, src, sink) else { return };
    let check = Check { kind, interval, timeout, unhealthy_after, healthy_after };
    built.fleet.apis.push(ProviderApi { provider, host, port, check });
}

/// A time that may be left out, within bounds.
fn time(
    stated: Option<&At<DurationText>>,
    key: &str,
    (usual, (least, most)): (Millis, (Millis, Millis)),
    src: &Src,
    sink: &mut Sink,
) -> Millis {
    let Some(text) = stated else { return usual };
    let key = format!("spec.apiStatus.{key}");
    let time = unit(text, units::duration, src, &key, sink);
    if units::duration(&text.value.0).is_ok() && !(least..=most).contains(&time) {
        sink.error(src, text.line, &key, format!("{time} is out of bounds"), &format!("write {least} to {most}"));
    }
    time
}

/// `https://host:port/path` taken apart.
fn read(url: &At<String>, src: &Src, sink: &mut Sink) -> Option<(String, u16, CheckKind)> {
    let mut bad = |what: String, mend: &str| {
        sink.error(src, url.line, URL, what, mend);
        None
    };
    let text = url.value.as_str();
    let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return bad(format!("`{text}` is no URL"), "write `https://host/path`"),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    if authority.contains('@') {
        return bad("a URL that is probed holds no password".to_owned(), "name a path that answers without one");
    }
    if path.contains('#') || !Check::is_sendable(path) {
        let what = format!("`{path}` has a character that no request line may hold");
        return bad(what, "write it percent-encoded, without `#`");
    }
    let usual = if tls { 443 } else { 80 };
    let (host, port) = match host_port(authority) {
        Some(pair) => pair,
        None if is_host(authority) => (authority, usual),
        None => return bad(format!("`{authority}` is no host"), "write a host name or an IP address, `:` and a port"),
    };
    Some((host.to_owned(), port, CheckKind::Http { path: path.to_owned(), tls, host: None }))
}

/// An API that too few can judge is never found in trouble.
pub(super) fn judged(raw: &Raw, built: &Built, sink: &mut Sink) {
    let fleet = &built.fleet;
    for api in &fleet.apis {
        let of = |v: &tidegate_domain::Vantage| fleet.provider_of(v.region);
        let outside: BTreeSet<ProviderIx> = fleet.vantages.iter().map(of).filter(|p| *p != api.provider).collect();
        let spec = raw.providers.get(api.provider.at()).and_then(|d| Some((&d.src, d.spec.api_status.as_ref()?)));
        if let (true, Some((src, spec))) = (outside.len() < 2, spec) {
            let what = "vantages of fewer than two other providers see it: its trouble is never found";
            sink.warn(src, spec.line, "spec.apiStatus", what, "place a vantage in another provider");
        }
    }
}
