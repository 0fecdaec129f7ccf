//! What the program is started with. Refuses what cannot be meant.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Tidegate's edge proxy: takes requests and sends them where the control plane wants them.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "edge-proxy", version)]
pub struct Args {
    /// Unique name of this edge among all subscribers.
    #[arg(long)]
    pub node: String,
    /// Client group that it belongs to: decides what it is told.
    #[arg(long)]
    pub group: String,
    /// A control-plane server, `http://host:port`; give several for failover.
    #[arg(long = "server", required = true)]
    pub servers: Vec<String>,
    /// Speak plain text beyond this machine too: to servers, and at an --admin address that others can reach.
    #[arg(long)]
    pub insecure_plaintext: bool,
    /// Take the first state that a server sends even if its generation is below the one that is held. For one start,
    /// after the servers' store was restored from a backup on purpose.
    #[arg(long)]
    pub accept_older: bool,
    /// Where the last known good state is kept.
    #[arg(long)]
    pub state_dir: PathBuf,
    /// Address of /metrics, /healthz, /ready and /config_dump; keep it on loopback.
    #[arg(long, default_value = "127.0.0.1:9901")]
    pub admin: SocketAddr,
    /// Binds a listener elsewhere than it says: NAME=ADDRESS:PORT.
    #[arg(long = "listen-override", value_parser = listen_override)]
    pub listen_overrides: Vec<(String, SocketAddr)>,
    /// Share the addresses of listeners with other processes of this user that do the same, so that a successor can
    /// listen before its predecessor stops. Two edges with one configuration by mistake are then no error.
    #[arg(long)]
    pub reuse_port: bool,
    /// How the log is written.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Threads that work on requests; as many as the machine has cores unless given.
    #[arg(long)]
    pub worker_threads: Option<usize>,
    /// How long requests under way may take after SIGTERM, for instance `30s`.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub drain_grace: Duration,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl Args {
    /// Checks what the single values cannot tell.
    ///
    /// # Errors
    /// In words for whoever started the program.
    pub fn check(&self) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
        if self.node.is_empty() || self.group.is_empty() {
            bail!("--node and --group must not be empty");
        }
        if self.worker_threads == Some(0) {
            bail!("--worker-threads must be at least 1");
        }
        if let Some(what) = self.in_plain_text().first().filter(|_| !self.insecure_plaintext) {
            bail!("{what}: not on this machine; pass --insecure-plaintext to speak plain text there");
        }
        let mut overrides = BTreeMap::new();
        for (name, address) in &self.listen_overrides {
            if overrides.insert(name.clone(), *address).is_some() {
                bail!("--listen-override names `{name}` twice");
            }
        }
        Ok(overrides)
    }

    /// What leaves this machine in plain text.
    #[must_use]
    pub fn in_plain_text(&self) -> Vec<String> {
        let servers = self.servers.iter().filter(|s| !on_this_machine(s)).map(|s| format!("--server {s}"));
        let admin = (!self.admin.ip().is_loopback()).then(|| format!("--admin {}", self.admin));
        servers.chain(admin).collect()
    }

    /// Threads for the runtime.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.worker_threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// Whether a server's address is loopback by its literal. A name may be anything tomorrow, so it is not; only `localhost` is.
fn on_this_machine(server: &str) -> bool {
    let Some(authority) = server.strip_prefix("http://") else { return false };
    let host = authority.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn listen_override(text: &str) -> anyhow::Result<(String, SocketAddr)> {
    let (name, address) = text.split_once('=').context("expected NAME=ADDRESS:PORT")?;
    Ok((name.to_owned(), address.parse().with_context(|| format!("`{address}` is not an address and a port"))?))
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let (number, scale) = match text {
        t if t.ends_with("ms") => (&t[..t.len() - 2], 1),
        t if t.ends_with('s') => (&t[..t.len() - 1], 1_000),
        t if t.ends_with('m') => (&t[..t.len() - 1], 60_000),
        t => (t, 1_000),
    };
    let number: u64 = number.trim().parse().with_context(|| format!("`{text}` is not a duration like 30s"))?;
    Ok(Duration::from_millis(number.saturating_mul(scale)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn args(more: &[&str]) -> Args {
        let all = ["edge-proxy", "--node", "n", "--group", "g", "--state-dir", "/nowhere"];
        Args::parse_from(all.iter().chain(more))
    }

    #[test]
    fn plain_text_leaves_the_machine_only_where_that_is_said() {
        for near in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(args(&["--server", near]).check().is_ok(), "{near}");
        }
        for far in ["http://10.0.0.1:1", "http://server.example:1", "http://127.0.0.1.example:1"] {
            let words = args(&["--server", far]).check().err().map(|e| e.to_string()).unwrap_or_default();
            assert!(words.contains("--insecure-plaintext"), "{far}: {words}");
            let said = args(&["--server", far, "--insecure-plaintext"]);
            assert!(said.check().is_ok(), "{far}");
            assert_eq!(said.in_plain_text(), [format!("--server {far}")]);
        }
        let near = ["--server", "http://127.0.0.1:1", "--admin"];
        for admin in ["127.0.0.1:9901", "[::1]:9901"] {
            assert_eq!(args(&[&near[..], &[admin]].concat()).in_plain_text(), [""; 0]);
        }
        for admin in ["0.0.0.0:9901", "10.0.0.1:9901", "[::]:9901"] {
            let words = args(&[&near[..], &[admin]].concat()).check().err().map(|e| e.to_string()).unwrap_or_default();
            assert!(words.contains("--admin") && words.contains("--insecure-plaintext"), "{admin}: {words}");
            assert!(args(&[&near[..], &[admin, "--insecure-plaintext"]].concat()).check().is_ok(), "{admin}");
        }
    }
}
