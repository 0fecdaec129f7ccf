//! What a request may look like, and how it is passed on.
//!
//! Owns hygiene: framing that two parsers could read differently is refused; headers that only the inside may set are
//! taken away. Matching looks at the request as the client sent it, with the path in its normal form.

use crate::balance::random;
use crate::model::Host;
use http::header::{self, HeaderName};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;

/// Why a request cannot be passed on without two readings of it.
pub(super) fn unclean(session: &Session) -> Option<&'static str> {
    let head = session.req_header();
    if head.headers.contains_key(header::TRANSFER_ENCODING)
        && let ServerSession::H1(raw) = session.as_downstream()
        && names_content_length(&raw.get_headers_raw_bytes())
    {
        // The parser has dropped the length by now; what stood on the wire decides.
        return Some("a request has Content-Length or Transfer-Encoding, not both");
    }
    if head.headers.get_all(header::HOST).iter().count() > 1 {
        return Some("a request has one host");
    }
    None
}

fn names_content_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    raw.split(|b| *b == b'\n').any(|line| {
        line.len() > NAME.len()
            && line[..NAME.len()].eq_ignore_ascii_case(NAME)
            && line[NAME.len()..].trim_ascii_start().starts_with(b":")
    })
}

/// The host that the client asked for; empty when it did not say.
pub(super) fn host(head: &RequestHeader) -> String {
    let from_uri = || head.uri.authority().map(|a| a.as_str().to_owned());
    let named = head.headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(str::to_owned);
    named.or_else(from_uri).unwrap_or_default()
}

/// A request as the matchers of a route see it.
pub(super) struct View<'a>(pub(super) &'a RequestHeader);

impl Host for View<'_> {
    fn any_value(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        match name {
            ":method" => Some(holds(self.0.method.as_str().as_bytes())),
            ":path" => Some(holds(self.0.uri.path_and_query().map_or("/", |p| p.as_str()).as_bytes())),
            ":authority" => Some(holds(host(self.0).as_bytes())),
            _ => {
                let mut values = self.0.headers.get_all(name).iter().peekable();
                values.peek()?;
                Some(values.any(|v| holds(v.as_bytes())))
            }
        }
    }
}

/// The path leads above the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AboveRoot;

/// Resolves `.` and `..`, also where their dots are encoded, so that routes see what a backend will.
pub(super) fn normalise_path(head: &mut RequestHeader) -> std::result::Result<(), AboveRoot> {
    let path = head.uri.path();
    let Some(normal) = normal_path(path)? else { return Ok(()) };
    let whole = match head.uri.query() {
        Some(query) => format!("{normal}?{query}"),
        None => normal,
    };
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = whole.parse().ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        head.set_uri(uri);
    }
    Ok(())
}

/// `None`: it is in its normal form.
fn normal_path(path: &str) -> std::result::Result<Option<String>, AboveRoot> {
    fn dots(segment: &str) -> Option<usize> {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        matches!(plain.as_str(), "." | "..").then_some(plain.len())
    }
    if !path.split('/').any(|s| dots(s).is_some()) {
        return Ok(None);
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match dots(segment) {
            Some(2) => {
                kept.pop().ok_or(AboveRoot)?;
            }
            Some(_) => {}
            None => kept.push(segment),
        }
        if last && dots(segment).is_some() {
            kept.push("");
        }
    }
    Ok(Some(format!("/{}", kept.join("/"))))
}

/// The protocol that a request asks to change to. As Envoy does, a wish for HTTP/2 is passed over, and so is one that the
/// `Connection` header does not repeat: such a request goes on as it is.
pub(super) fn settle_upgrade(head: &mut RequestHeader) -> Option<String> {
    let wanted = head.headers.get(header::UPGRADE).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())?;
    let mut options = head.headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let repeated = options.any(|line| line.split(',').any(|o| o.trim().eq_ignore_ascii_case("upgrade")));
    if repeated && !wanted.eq_ignore_ascii_case("h2c") {
        return Some(wanted);
    }
    head.remove_header(&header::UPGRADE);
    head.remove_header("http2-settings");
    None
}

/// Takes away what only the inside may say, and adds who asked.
pub(super) fn tidy(session: &Session, upstream: &mut RequestHeader) -> Result<()> {
    let inner = |n: &&HeaderName| n.as_str().starts_with("x-tidegate-") || n.as_str().starts_with("x-envoy-");
    let inside: Vec<HeaderName> = upstream.headers.keys().filter(inner).cloned().collect();
    for name in inside {
        upstream.remove_header(&name);
    }
    if let Some(client) = session.client_addr().and_then(|a| a.as_inet()) {
        let before: Vec<String> = upstream
            .headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|v| v.to_str().ok().map(str::to_owned))
            .chain([client.ip().to_string()])
            .collect();
        upstream.insert_header("x-forwarded-for", before.join(", "))?;
    }
    upstream.insert_header("x-forwarded-proto", "http")?;
    if !upstream.headers.contains_key("x-request-id") {
        upstream.insert_header("x-request-id", format!("{:016x}{:016x}", random(), random()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_also_when_encoded() {
        let normal = |path: &str| normal_path(path).map(|p| p.unwrap_or_else(|| path.to_owned()));
        assert_eq!(normal("/a/b").unwrap(), "/a/b");
        assert_eq!(normal("/stream/../admin").unwrap(), "/admin");
        assert_eq!(normal("/a/./b/%2e%2E/c").unwrap(), "/a/c");
        assert_eq!(normal("/a/b/..").unwrap(), "/a/");
        assert_eq!(normal("/a//b/..").unwrap(), "/a//");
        assert_eq!(normal("/a/..b/...").unwrap(), "/a/..b/...");
        assert_eq!(normal("/../x"), Err(AboveRoot));
    }

    #[test]
    fn a_change_of_protocol_is_one_only_where_both_headers_say_so() {
        let settled = |upgrade: &str, connection: &str| {
            let mut head = RequestHeader::build("GET", b"/", None).unwrap();
            head.insert_header("upgrade", upgrade).unwrap();
            head.insert_header("connection", connection).unwrap();
            let protocol = settle_upgrade(&mut head);
            (protocol, head.headers.contains_key("upgrade"))
        };
        assert_eq!(settled("websocket", "keep-alive, Upgrade"), (Some("websocket".into()), true));
        assert_eq!(settled("WebSocket", "upgrade"), (Some("WebSocket".into()), true));
        assert_eq!(settled("h2c", "Upgrade, HTTP2-Settings"), (None, false));
        assert_eq!(settled("websocket", "keep-alive"), (None, false));
    }

    #[test]
    fn a_length_is_seen_however_it_is_written() {
        assert!(names_content_length(b"POST / HTTP/1.1\r\nCoNtent-LENGTH: 3\r\nTransfer-Encoding: chunked\r\n\r\n"));
        assert!(names_content_length(b"content-length : 3\n"));
        assert!(!names_content_length(b"x-content-length: 3\r\ncontent-length-x: 3\r\n"));
    }
}
