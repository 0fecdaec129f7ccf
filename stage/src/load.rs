//! The load generator: an open loop with fixed arrival times, as many clients as there are proxies, in one process.
//!
//! Owns sending and how an answer counts; refuses to slow down when answers are late (a closed loop would hide an
//! outage) and to try again (the proxy's retries are what is measured).

use crate::backend::{CLASS_HEADER, ENDPOINT_HEADER, ID_HEADER, PROXY_HEADER};
use crate::clock::now_ns;
use crate::raw::{Lines, LoadLine, Outcome, Sent};
use crate::schedule::{Due, Part, Schedule};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// No answer by then is a failure.
const DEADLINE: Duration = Duration::from_secs(5);
/// Arrivals later than this by the generator's own doing are left out and said so.
const STALL: Duration = Duration::from_millis(500);

/// What the generator is told, as a JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoadSpec {
    /// The proxies.
    pub proxies: Vec<Target>,
    /// Where raw lines go.
    pub raw: PathBuf,
}

/// One proxy and what is sent through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// `envoy`, `edge`, `edge-us`, `anchor`.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// `Host` to send.
    pub host: String,
    /// Requests per second.
    pub rate: u64,
    /// Classes.
    pub parts: Vec<Part>,
    /// Class of the long stream.
    pub stream_class: String,
}

type Http = Client<HttpConnector, Full<Bytes>>;

/// Sends until its standard input ends, obeying `rate NAME|all N` lines.
pub(crate) async fn run(spec: LoadSpec) -> anyhow::Result<()> {
    let lines = Arc::new(Lines::append(&spec.raw)?);
    let mut paces = BTreeMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (i, target) in spec.proxies.iter().enumerate() {
        let (pace, pace_rx) = watch::channel(target.rate);
        paces.insert(target.name.clone(), pace);
        // Proxies are served out of step, so that they do not burst together.
        let offset = Duration::from_micros(1_300 * i as u64);
        tasks.spawn(arrivals(target.clone(), offset, pace_rx, Arc::clone(&lines)));
        tasks.spawn(long_stream(target.clone(), Arc::clone(&lines)));
    }
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(order)) = orders.next_line().await {
        let words: Vec<&str> = order.split_whitespace().collect();
        if let ["rate", who, n] = words[..]
            && let Ok(rate) = n.parse::<u64>()
        {
            for (name, pace) in paces.iter().filter(|(name, _)| who == "all" || who == name.as_str()) {
                eprintln!("{name}: {rate} requests/s");
                pace.send_replace(rate);
            }
        }
    }
    // Nothing new; what is under way is still worth its lines, the late failures most of all.
    tasks.abort_all();
    let idle = || async { (Arc::strong_count(&lines) == 1).then_some(()) };
    let _ = crate::process::until("the last answers", DEADLINE + Duration::from_millis(500), idle).await;
    Ok(())
}

fn client() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(DEADLINE));
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(512)
        .build(connector)
}

async fn arrivals(target: Target, offset: Duration, mut pace: watch::Receiver<u64>, lines: Arc<Lines>) {
    let http = client();
    let mut schedule = Schedule::new(target.parts.clone(), *pace.borrow_and_update());
    let target = Arc::new(target);
    let mut start = Instant::now() + offset;
    loop {
        if pace.has_changed().unwrap_or(false) {
            start = Instant::now();
            schedule.pace(*pace.borrow_and_update());
        }
        let due_at = start + Duration::from_nanos(schedule.next_after_ns());
        sleep_until(due_at).await;
        let late = Instant::now().saturating_duration_since(due_at);
        if late > STALL {
            let after = Instant::now().saturating_duration_since(start);
            let left_out = schedule.skip_to(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX / 2));
            lines.write(&LoadLine::Stalled { proxy: target.name.clone(), t_ns: now_ns(), left_out });
            continue;
        }
        let due = schedule.take();
        let part = schedule.class(&due).clone();
        let t_sched_ns = now_ns().saturating_sub(u64::try_from(late.as_nanos()).unwrap_or(0));
        let (http, target, lines) = (http.clone(), Arc::clone(&target), Arc::clone(&lines));
        tokio::spawn(async move {
            let line = one(&http, &target, &due, &part, t_sched_ns).await;
            lines.write(&LoadLine::Request(line));
        });
    }
}

async fn one(http: &Http, target: &Target, due: &Due, part: &Part, t_sched_ns: u64) -> Sent {
    let id = format!("{}-{}", target.name, due.number);
    let method = if due.post { Method::POST } else { Method::GET };
    let mut sent = Sent {
        proxy: target.name.clone(),
        t_sched_ns,
        t_done_ns: 0,
        class: part.class.clone(),
        method: method.to_string(),
        id: id.clone(),
        slow: due.slow,
        status: 0,
        error: String::new(),
        refusal: String::new(),
        endpoint: String::new(),
        outcome: Outcome::Failed,
    };
    let path = if due.slow { "/slow" } else { "/" };
    let body = if due.post { Bytes::from(format!("{{\"pay\":\"{id}\"}}")) } else { Bytes::new() };
    let request = request(target, method, path, &part.class, &id, body);
    let exchange = async {
        let response = http.request(request).await.map_err(|e| format!("{e:?}"))?;
        let (head, body) = response.into_parts();
        let whole = body.collect().await.map(|_| ()).map_err(|e| format!("body: {e}"));
        Ok::<_, String>((head, whole))
    };
    match timeout(DEADLINE, exchange).await {
        Err(_) => sent.error = "no answer in 5 s".to_owned(),
        Ok(Err(e)) => sent.error = e.chars().take(160).collect(),
        Ok(Ok((head, whole))) => {
            sent.status = head.status.as_u16();
            sent.refusal = refusal(&head.headers);
            sent.endpoint = text(&head.headers, ENDPOINT_HEADER);
            if let Err(e) = whole {
                sent.error = e;
            }
        }
    }
    sent.t_done_ns = now_ns();
    sent.outcome = classify(sent.status, &sent.error, &sent.refusal, part.refused);
    sent
}

fn request(target: &Target, method: Method, path: &str, class: &str, id: &str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    if let Ok(uri) = format!("http://{}{path}", target.address).parse() {
        *request.uri_mut() = uri;
    }
    for (name, value) in [("host", target.host.as_str()), (CLASS_HEADER, class), (ID_HEADER, id)] {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            request
                .headers_mut()
                .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap_or(http::header::HOST), value);
        }
    }
    if let Ok(value) = http::HeaderValue::from_str(&target.name) {
        request.headers_mut().insert(PROXY_HEADER, value);
    }
    request
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned()
}

/// Why a proxy refused by itself, in its own words.
fn refusal(headers: &HeaderMap) -> String {
    let own = text(headers, "x-tidegate-refusal");
    if !own.is_empty() {
        return own;
    }
    // What Envoy adds when EDS drop_overloads dropped the request.
    let names = ["x-envoy-drop-overload", "x-envoy-unconditional-drop-overload"];
    names.iter().find(|n| headers.contains_key(**n)).map_or_else(String::new, |n| (*n).to_owned())
}

/// How an answer counts. `refused`: this class is to be answered 451 where the proxy stands.
pub(crate) fn classify(status: u16, error: &str, refusal: &str, refused: bool) -> Outcome {
    match status {
        200..=299 if error.is_empty() => Outcome::Ok,
        451 if refused => Outcome::Refused451,
        503 if !refusal.is_empty() && is_shed(refusal) => Outcome::Shed,
        _ => Outcome::Failed,
    }
}

/// A proxy may refuse for want of room or for want of any place; only the first is shedding.
fn is_shed(refusal: &str) -> bool {
    refusal.starts_with("x-envoy-") || refusal.contains("shed") || refusal.contains("overload")
}

/// One long stream, opened again a second after it ends.
async fn long_stream(target: Target, lines: Arc<Lines>) {
    let http = client();
    let mut number = 0_u64;
    loop {
        let t_start_ns = now_ns();
        let id = format!("{}-stream-{number}", target.name);
        number += 1;
        let request = request(&target, Method::GET, "/stream", &target.stream_class, &id, Bytes::new());
        let (mut bytes, mut endpoint) = (0_u64, String::new());
        let end = match timeout(DEADLINE, http.request(request)).await {
            Err(_) => "no answer in 5 s".to_owned(),
            Ok(Err(e)) => format!("{e}"),
            Ok(Ok(response)) if response.status() != 200 => format!("status {}", response.status().as_u16()),
            Ok(Ok(response)) => {
                endpoint = text(response.headers(), ENDPOINT_HEADER);
                let mut body = response.into_body();
                loop {
                    match timeout(DEADLINE, body.frame()).await {
                        Err(_) => break "silent for 5 s".to_owned(),
                        Ok(None) => break "closed".to_owned(),
                        Ok(Some(Err(e))) => break format!("{e}"),
                        Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, |d| d.len() as u64),
                    }
                }
            }
        };
        let proxy = target.name.clone();
        lines.write(&LoadLine::Stream { proxy, t_start_ns, t_end_ns: now_ns(), bytes, endpoint, end });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_as_a_client_would_count_them() {
        use Outcome::{Failed, Ok, Refused451, Shed};
        let cases: [(u16, &str, &str, bool, Outcome); 11] = [
            (200, "", "", false, Ok),
            (200, "body: cut", "", false, Failed),
            (503, "", "", false, Failed),
            (503, "", "shed", false, Shed),
            (503, "", "no-place", false, Failed),
            (503, "", "x-envoy-drop-overload", false, Shed),
            (451, "", "jurisdiction", true, Refused451),
            (451, "", "jurisdiction", false, Failed),
            (0, "no answer in 5 s", "", false, Failed),
            (421, "", "", false, Failed),
            (200, "", "", true, Ok),
        ];
        for (status, error, refusal, refused, expected) in cases {
            assert_eq!(classify(status, error, refusal, refused), expected, "{status} {error} {refusal} {refused}");
        }
    }
}
