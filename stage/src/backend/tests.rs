//! Real backends on loopback: limits, refusals, modes.

use super::*;
use crate::raw::read_lines;

fn spec(dir: &Path, workers: usize) -> BackendSpec {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("port");
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    BackendSpec {
        region: "gcp/europe-west1".into(),
        jurisdiction: "BE".into(),
        endpoints: BTreeMap::from([("one".to_owned(), port)]),
        classes: BTreeMap::from([("eu".to_owned(), set(&["DE", "NL"])), ("open".to_owned(), set(&[]))]),
        workers,
        service_ms: 20,
        raw: dir.join("backend.jsonl"),
        control: dir.join("control"),
    }
}

async fn get(http: &reqwest::Client, address: SocketAddr, path: &str, class: &str, id: &str) -> u16 {
    let request = http.get(format!("http://{address}{path}")).header(CLASS_HEADER, class);
    let answer = request.header(ID_HEADER, id).header(PROXY_HEADER, "envoy").send().await;
    answer.map_or(0, |a| a.status().as_u16())
}

async fn up(spec: &BackendSpec) -> SocketAddr {
    let address = spec.endpoints["one"];
    let running = spec.clone();
    tokio::spawn(async move { serve(running).await.expect("serve") });
    let control = spec.control.clone();
    let ask = || async { order(&control, "erring off").await.ok() };
    crate::process::until("the backend", std::time::Duration::from_secs(10), ask).await.expect("up");
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_and_records_what_may_not_be_here() {
    crate::install_crypto();
    let dir = tempfile::tempdir().expect("dir");
    let spec = spec(dir.path(), 4);
    let address = up(&spec).await;
    let http = reqwest::Client::new();
    assert_eq!(get(&http, address, "/", "open", "a").await, 200);
    assert_eq!(get(&http, address, "/", "eu", "b").await, 421);
    assert_eq!(get(&http, address, "/", "", "c").await, 421, "no class: only where all may be");
    order(&spec.control, "erring on").await.expect("order");
    assert_eq!(get(&http, address, "/", "open", "d").await, 503);
    let health = reqwest::get(format!("http://{address}/healthz")).await.expect("health").status().as_u16();
    assert_eq!(health, 503, "erring answers 503 on everything");
    order(&spec.control, "erring off").await.expect("order");
    order(&spec.control, "health /elsewhere").await.expect("order");
    let health = reqwest::get(format!("http://{address}/healthz")).await.expect("health").status().as_u16();
    assert_eq!(health, 404);
    let lines: Vec<BackendLine> = read_lines(&spec.raw).expect("lines");
    let served: Vec<(String, u16, bool)> = lines
        .into_iter()
        .filter_map(|l| if let BackendLine::Request(s) = l { Some((s.id, s.status, s.forbidden)) } else { None })
        .collect();
    let expected = [("a", 200, false), ("b", 421, true), ("c", 421, true), ("d", 503, false)];
    assert_eq!(served, expected.map(|(i, s, f)| (i.to_owned(), s, f)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_above_its_workers_and_refuses_above_the_queue() {
    crate::install_crypto();
    let dir = tempfile::tempdir().expect("dir");
    let spec = spec(dir.path(), 1);
    let address = up(&spec).await;
    // One worker, 20 ms each, room for 25 in the queue: of 60 at once about half are answered.
    let http = reqwest::Client::new();
    let one = |n: usize| {
        let http = &http;
        async move { get(http, address, "/", "open", &n.to_string()).await }
    };
    let answers = futures::future::join_all((0..60).map(one)).await;
    let (good, full) = (answers.iter().filter(|s| **s == 200).count(), answers.iter().filter(|s| **s == 503).count());
    assert!((10..=40).contains(&good), "{good} answered");
    assert_eq!(good + full, 60);
}

#[test]
fn a_gray_place_fails_twelve_of_a_hundred_and_is_slow_for_one_in_twelve() {
    for start in [0_u64, 700] {
        assert_eq!((start..start + 100).filter(|n| fails_when_gray(*n)).count(), 12);
        assert_eq!((start..start + 300).filter(|n| is_slow_when_gray(*n)).count(), 25);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shallow_place_fails_data_and_not_its_health_path() {
    crate::install_crypto();
    let dir = tempfile::tempdir().expect("dir");
    let spec = spec(dir.path(), 4);
    let address = up(&spec).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("client");
    let health =
        || async { http.get(format!("http://{address}/healthz")).send().await.map_or(0, |a| a.status().as_u16()) };
    for (word, expected) in [("shallow on", 503), ("shallow off", 200)] {
        order(&spec.control, word).await.expect("order");
        assert_eq!(get(&http, address, "/", "open", word).await, expected, "{word}");
        assert_eq!(health().await, 200, "{word}");
    }
    order(&spec.control, "gray on").await.expect("order");
    let mut failed = 0;
    for n in 0..25 {
        failed += u64::from(get(&http, address, "/", "open", &format!("gray-{n}")).await == 500);
        assert_eq!(health().await, 200);
    }
    assert_eq!(failed, 3, "12 % of 25");
}
