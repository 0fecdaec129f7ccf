//! One running program: started with a log of its own, waited for by a condition, stopped by the pid that was started.
//!
//! Owns starting, signals and readiness; refuses names: no process is ever found by what it is called.

use crate::ledger::Slot;
use crate::network::{Network, on_path};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};

/// How a program is started, kept so that it can be started again.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// `backend aws/us-east-1`.
    pub name: String,
    /// Site on the network.
    pub place: String,
    /// Program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment beside the stage's own.
    pub env: Vec<(String, String)>,
    /// Where its output goes, appended.
    pub log: PathBuf,
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Running {
    /// How it was started.
    pub recipe: Recipe,
    child: Child,
    /// Its standard input.
    pub stdin: Option<ChildStdin>,
}

impl Recipe {
    /// Starts it. It is on record before this returns, and dies with the stage where `setpriv` is there to arrange it.
    pub(crate) fn start(&self, network: &Network, slot: &Arc<Slot>) -> anyhow::Result<Running> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut words: Vec<String> = Vec::new();
        if on_path("setpriv").is_some() {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        }
        words.extend(network.prefix(&self.place));
        words.push(self.program.display().to_string());
        words.extend(self.args.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.env.iter().cloned());
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| anyhow::anyhow!("{}: {e}", self.program.display()))?;
        if let Some(pid) = child.id() {
            slot.process(pid);
        }
        Ok(Running { recipe: self.clone(), stdin: child.stdin.take(), child })
    }
}

impl Running {
    /// Its pid while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
    /// Whether it has ended by itself, with its status.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|s| s.to_string())
    }
    /// Sends a signal; nothing where it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|p| i32::try_from(p).ok()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
    /// Kills it and waits for its end.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::SIGCONT);
        self.signal(Signal::SIGKILL);
        let _ = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
    }
    /// Waits for its own end, so long at most.
    pub(crate) async fn gone(&mut self, bound: Duration) {
        let _ = tokio::time::timeout(bound, self.child.wait()).await;
    }
    /// Asks it to end, kills it after `grace`.
    pub(crate) async fn end(&mut self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }
    /// The last lines of its log, for a person who asks why it ended.
    pub(crate) fn last_words(&self) -> String {
        last_lines(&self.recipe.log, 12)
    }
}

fn last_lines(path: &Path, n: usize) -> String {
    let text = std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(n)..].join("\n")
}

/// Asks again and again, at most for `bound`, until `ask` answers something.
pub(crate) async fn until<T, F, Fut>(what: &str, bound: Duration, mut ask: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let wait = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let out = tokio::time::timeout(bound, wait).await;
    out.map_err(|_| anyhow::anyhow!("{what}: not within {:.1} s", bound.as_secs_f64()))
}

/// Waits until a connection opens.
pub(crate) async fn accepts(what: &str, address: SocketAddr, bound: Duration) -> anyhow::Result<()> {
    let ask = || async move {
        let one = tokio::time::timeout(Duration::from_millis(500), tokio::net::TcpStream::connect(address)).await;
        matches!(one, Ok(Ok(_))).then_some(())
    };
    until(what, bound, ask).await
}
