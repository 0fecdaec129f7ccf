//! Values in human units and addresses → domain values, each wrong one a fault with its mend and a stand-in.

use super::countries::{instead, is_country};
use crate::fault::{Sink, Src};
use crate::raw::At;
use crate::units::Expected;
use tidegate_domain::Jurisdiction;

/// Reads `value` by `parse`; a fault and `T::default()` where it is wrong.
pub(crate) fn unit<T: Default, R: AsRef<str>>(
    value: &At<R>,
    parse: fn(&str) -> Result<T, Expected>,
    src: &Src,
    key: &str,
    sink: &mut Sink,
) -> T {
    let text = value.value.as_ref();
    parse(text).unwrap_or_else(|expected| {
        sink.error(src, value.line, key, format!("`{text}` cannot be read"), &format!("write {expected}"));
        T::default()
    })
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl AsRef<str> for crate::raw::$name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
as_text! { DurationText TimeoutText ShareText LoadText MoneyText MomentText }

/// A country; a fault where it is none.
pub(crate) fn country(text: &At<String>, src: &Src, key: &str, sink: &mut Sink) -> Option<Jurisdiction> {
    let read = Jurisdiction::new(&text.value).ok().filter(|_| is_country(&text.value));
    if read.is_none() {
        sink.error(src, text.line, key, format!("`{}` is no country", text.value), &instead(&text.value));
    }
    read
}

/// Whether `text` is an IP address or a host name (RFC 1123).
pub(crate) fn is_host(text: &str) -> bool {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // A last label of digits alone is a mistyped IP address, not a name.
    let numeric = text.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && !numeric
}

/// `host:port` with a port above 0.
pub(crate) fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse::<u16>().ok().filter(|p| *p > 0)?;
    is_host(host).then_some((host, port))
}

/// Whether `text` is a domain as a service may own it: a host name in lower case, `*` or `*.` and a name.
pub(crate) fn is_domain(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    text == "*" || (is_host(name) && !text.bytes().any(|b| b.is_ascii_uppercase()))
}

/// Whether `host` falls under `domain`.
pub(crate) fn covers(domain: &str, host: &str) -> bool {
    match domain.strip_prefix('*') {
        Some("") => true,
        Some(tail) => host.len() > tail.len() && host.ends_with(tail),
        None => domain == host,
    }
}

/// Whether `text` is a header name in lower case (RFC 9110, token).
pub(crate) fn is_header(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= 128 && text.bytes().all(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_domains_and_headers() {
        for good in ["10.0.0.1", "::1", "a.example", "db-1", "xn--bcher-kva.example"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "10.0.0.256", "a..b", "-a", "a_b", "a b", "http://a"] {
            assert!(!is_host(bad), "{bad}");
        }
        assert!(is_domain("*") && is_domain("*.a.example") && !is_domain("A.example") && !is_domain("a.*"));
        assert!(covers("*.a.example", "b.a.example") && !covers("*.a.example", "a.example") && covers("*", "x"));
        assert!(is_header("x-residency-class") && !is_header("X-Class") && !is_header("a b") && !is_header(""));
        assert_eq!(host_port("[::1]:53"), Some(("::1", 53)));
        assert_eq!(host_port("1.2.3.4:0"), None);
    }
}
