//! A running Envoy on loopback, fed by the files: skipped, with a line, on a machine without it.

use super::envoy::{params, present};
use super::fixture::{EDGE_DE, EDGE_US, PER_REGION, fleet, plan};
use crate::bootstrap::{Source, envoy, files};
use crate::translate;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ends its process when the test does.
pub(super) struct Running(Child);
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tries until there is something, at most ten seconds.
pub(super) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = attempt() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("{what} within ten seconds")
}

/// Answers every request with its region's index; returns its port.
fn backend(region: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, region));
        }
    });
    port
}

fn serve(mut stream: TcpStream, region: usize) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        // One write: several small ones would each wait for the other side's delayed acknowledgement.
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{region}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Status, headers and body of one request.
pub(super) fn ask(to: SocketAddr, method: &str, path: &str, headers: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut all = String::new();
    stream.read_to_string(&mut all).ok()?;
    let (head, body) = all.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

/// The process, its admin page and its listener.
pub(super) fn launch(dir: &Path, bootstrap: &serde_json::Value) -> (Running, SocketAddr, SocketAddr) {
    let config = dir.join("bootstrap.json");
    std::fs::write(&config, bootstrap.to_string()).expect("written");
    let admin_at = dir.join("admin");
    let child = Command::new("envoy")
        .args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"])
        .arg("-c")
        .arg(&config)
        .arg("--admin-address-path")
        .arg(&admin_at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let running = Running(child);
    let admin: SocketAddr = until("an admin address", || std::fs::read_to_string(&admin_at).ok()?.trim().parse().ok());
    let edge = until("a listener", || {
        let (_, body) = ask(admin, "GET", "/listeners", "host: admin\r\n")?;
        body.lines().find_map(|line| line.strip_prefix("edge::")?.trim().parse().ok())
    });
    (running, admin, edge)
}

/// Weights are kept, refusals say why, and with every place of priority 0 gone the plan's first spill ring carries:
/// no place beyond it, and no forbidden one, sees a request.
#[test]
fn a_running_envoy_follows_the_plan_and_its_spill_order() {
    if !present() {
        return;
    }
    let mut fleet = fleet();
    fleet.services[0].listener.port = 0;
    for (i, endpoint) in fleet.endpoints.iter_mut().enumerate() {
        endpoint.host = "127.0.0.1".to_owned();
        let region = i / PER_REGION;
        // Nothing listens where Belgium should be: a port taken and given back at once.
        endpoint.port = match region {
            3 => TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port(),
            _ => backend(region),
        };
    }
    let resources = translate(&fleet, &plan(&fleet)).expect("translates");
    let dir = tempfile::tempdir().expect("a directory");
    for (name, content) in files(&resources[EDGE_DE.at()]) {
        std::fs::write(dir.path().join(name), content).expect("written");
    }
    let by_file = envoy(&params(Source::Files(dir.path().display().to_string())));
    let (_running, _, edge) = launch(dir.path(), &by_file);
    let eu = "host: payroll.example:8080\r\nx-residency: eu\r\n";
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..100 {
        let (head, body) = ask(edge, "GET", "/", eu).expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        *seen.entry(body).or_default() += 1;
    }
    // Envoy deals localities by turns; where in the turn it starts is its own choice.
    let first = seen.get("0").copied().unwrap_or(0);
    assert!(first.abs_diff(60) <= 3 && seen.keys().all(|k| k == "0" || k == "1"), "60 % and 40 %: {seen:?}");

    let open = "host: open.example\r\n";
    // Priority 0 of `open` is Belgium alone: until both of its hosts are ejected some fail, then the ring carries.
    until("the spill ring", || {
        Some(()).filter(|()| ask(edge, "POST", "/", open).is_some_and(|a| a.0.contains(" 200")))
    });
    for method in ["GET", "POST"].repeat(20) {
        let (head, body) = ask(edge, method, "/", open).expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200") && (body == "0" || body == "1"), "{head} {body}");
    }
    // A change of protocol: refused by Envoy itself, but on the route without a time the backend is asked.
    let change = format!("{eu}connection: upgrade\r\nupgrade: websocket\r\n");
    let (head, _) = ask(edge, "GET", "/", &change).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let (head, _) = ask(edge, "GET", "/stream", &change).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let refused = ask(edge, "GET", "/", "host: payroll.example\r\nx-residency: us-ca\r\n").expect("an answer");
    assert!(
        refused.0.starts_with("HTTP/1.1 451") && refused.0.contains("x-tidegate-refusal: jurisdiction"),
        "{refused:?}"
    );
    let nobody = ask(edge, "GET", "/", "host: payroll.example\r\nx-residency: eu\r\nx-residency: us-ca\r\n");
    assert!(nobody.as_ref().is_some_and(|a| a.0.contains("x-tidegate-refusal: no-class")), "two classes: {nobody:?}");
    assert_eq!(resources[EDGE_US.at()].clusters.len(), 1);
}
