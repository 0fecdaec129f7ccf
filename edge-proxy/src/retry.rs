//! Whether a failed try is followed by another one. Pure.
//!
//! Only GET, HEAD and OPTIONS are ever sent twice. Everything else is tried elsewhere only when no connection was made:
//! then no byte of it left this process. A route's policy can only narrow this.

use crate::model::RetryOn;
use http::Method;

/// How a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: refused, unreachable, or not in time.
    Connect,
    /// The connection ended before the head of an answer.
    Reset,
    /// No head of an answer in time.
    PerTryTimeout,
    /// An answer of 500 and up.
    Status(u16),
}

pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

pub(crate) fn may_retry(method: &Method, on: RetryOn, failure: Failure) -> bool {
    match failure {
        Failure::Connect => on.connect_failure || (is_safe(method) && (on.gateway_error || on.any_5xx)),
        _ if !is_safe(method) => false,
        // Envoy answers these 503 and 504 itself, which `gateway-error` covers.
        Failure::Reset | Failure::PerTryTimeout => on.reset || on.gateway_error || on.any_5xx,
        Failure::Status(502..=504) => on.gateway_error || on.any_5xx,
        Failure::Status(status) => on.any_5xx && status >= 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: RetryOn = RetryOn { connect_failure: true, reset: true, gateway_error: true, any_5xx: true };
    const FAILURES: [Failure; 6] = [
        Failure::Connect,
        Failure::Reset,
        Failure::PerTryTimeout,
        Failure::Status(500),
        Failure::Status(503),
        Failure::Status(504),
    ];

    #[test]
    fn nothing_unsafe_is_repeated_after_a_connection_stood_whatever_the_policy_says() {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::CONNECT, Method::TRACE] {
            for failure in FAILURES {
                let may = may_retry(&method, ALL, failure);
                assert_eq!(may, failure == Failure::Connect, "{method} after {failure:?}");
            }
        }
    }

    #[test]
    fn safe_methods_follow_the_policy() {
        let usual = RetryOn { any_5xx: false, ..ALL };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let may: Vec<bool> = FAILURES.iter().map(|f| may_retry(&method, usual, *f)).collect();
            assert_eq!(may, [true, true, true, false, true, true]);
            assert!(FAILURES.iter().all(|f| !may_retry(&method, RetryOn::default(), *f)));
            let connect = RetryOn { connect_failure: true, ..RetryOn::default() };
            let may: Vec<bool> = FAILURES.iter().map(|f| may_retry(&method, connect, *f)).collect();
            assert_eq!(may, [true, false, false, false, false, false]);
        }
    }
}
