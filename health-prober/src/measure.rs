//! `health-prober measure`: how late probes start and what they cost, on this machine.
//!
//! The targets run in a process of their own, so that only the prober's CPU is counted.

use crate::engine::{Engine, Outlets};
use crate::metrics::Metrics;
use crate::probe::connectors;
use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{Check, CheckKind, Millis, Revision};
use tidegate_gossip::shell::Clock;
use tidegate_prober::{List, Target, Tuning};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::server::health_reporter;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n";

/// How targets are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    Http,
    Grpc,
}
impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
    fn kind(self) -> CheckKind {
        match self {
            Self::Http => CheckKind::Http { path: "/healthz".to_owned(), tls: false, host: None },
            Self::Grpc => CheckKind::Grpc { service: String::new(), tls: false, host: None },
        }
    }
}

/// Serves `count` targets on loopback, prints their ports in one line, ends with its standard input.
pub(crate) async fn serve(count: usize, by: By) -> anyhow::Result<()> {
    let mut serving = tokio::task::JoinSet::new();
    let mut ports = Vec::new();
    // The server as a whole is serving for as long as the reporter lives.
    let (_reporter, health) = health_reporter();
    for _ in 0..count {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ports.push(listener.local_addr()?.port().to_string());
        let server = Server::builder().add_service(health.clone());
        serving.spawn(async move {
            match by {
                By::Http => answer(listener).await,
                By::Grpc => server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap_or_default(),
            }
        });
    }
    println!("{}", ports.join(" "));
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    serving.shutdown().await;
    Ok(())
}

async fn answer(listener: TcpListener) {
    let mut head = [0; 1024];
    while let Ok((mut stream, _)) = listener.accept().await {
        let read = stream.read(&mut head).await;
        if read.is_ok() {
            let _ = stream.write_all(ANSWER).await;
        }
    }
}

fn cpu() -> nix::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = |t: nix::sys::time::TimeVal| {
        let micros = t.tv_sec() * 1_000_000 + t.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// Probes `count` targets every 500 ms for `seconds` and prints what it took.
pub(crate) async fn run(count: usize, seconds: u64, by: By) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("own path")?;
    let mut child = tokio::process::Command::new(program)
        .args(["serve-targets", "--targets", &count.to_string(), "--by", by.as_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("output of the targets")?).read_line(&mut line).await?;
    let ports: Vec<u16> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let check =
        Check { kind: by.kind(), interval: Millis(500), timeout: Millis(1_000), unhealthy_after: 3, healthy_after: 2 };
    let target = |(i, port): (usize, &u16)| Target {
        endpoint: format!("target-{i}"),
        host: "127.0.0.1".to_owned(),
        port: *port,
        check: check.clone(),
        assigned: true,
    };
    let targets = ports.iter().enumerate().map(target).collect();
    let list = List { revision: Revision([1; 32]), targets, references: vec![], peers: vec![] };
    let (_keep, lists) = watch::channel(Some(Arc::new(list)));
    let metrics = Arc::new(Metrics::new()?);
    let (tell, mut told) = mpsc::unbounded_channel();
    let lateness = Box::new(move |micros| {
        let _ = tell.send(micros);
    });
    let outlets = Outlets { report: Box::new(|_| {}), lateness };
    let engine = Engine::new(Clock::start(), Tuning::default(), Arc::clone(&metrics), connectors()?, outlets);
    let measured = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        while told.try_recv().is_ok() {}
        let before = cpu()?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let spent = cpu()? - before;
        let mut late: Vec<u64> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        late.sort_unstable();
        anyhow::Ok((spent, late))
    };
    let (spent, late) = tokio::select! {
        () = engine.run(lists) => unreachable!("the probe loop has no end"),
        result = measured => result?,
    };
    let at = |part: usize| late.get((late.len() * part / 100).min(late.len().saturating_sub(1))).copied().unwrap_or(0);
    let ms = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1e3;
    let share = spent.as_secs_f64() / Duration::from_secs(seconds).as_secs_f64() * 100.0;
    println!("targets {count} · by {} · interval 500 ms · {seconds} s · {} probes started", by.as_str(), late.len());
    println!("start lateness  p50 {:.1} ms  p99 {:.1} ms  max {:.1} ms", ms(at(50)), ms(at(99)), ms(at(100)));
    println!("cpu  {share:.1} % of one core");
    for word in ["ok", "connect", "timeout", "status", "protocol", "still_running", "voided", "too_far"] {
        println!("  {word:14} {}", metrics.probes.with_label_values(&[word]).get());
    }
    child.kill().await.context("stopping the targets")
}
