//! Where both kinds of members stand: network, files, command lines, and everybody's words in one queue, stamped as they
//! arrive. Refuses to count.

use super::SEEDS;
use crate::clock::now_ns;
use crate::ledger::{Slot, home};
use crate::network::{Network, on_path};
use crate::relay::Relay;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

/// Last number of a member's address.
pub(super) fn last(member: usize) -> u8 {
    u8::try_from(10 + member).unwrap_or(u8::MAX)
}

/// Targets of a reporting prober. All are one address, probed so seldom that probing costs little.
const TARGETS: usize = 100;
const TARGETS_EVERY_MS: u64 = 10_000;
pub(super) const TARGET_PORT: u16 = 9000;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `health-prober` that waits for its first list: gossip alone.
    Ours,
    /// The same with targets that are well and stay so.
    OursReporting,
    /// Debian's serf.
    Serf,
}

/// What a member said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) at_ns: u64,
    pub(super) kind: Kind,
    pub(super) by: usize,
    /// Which start of that member.
    pub(super) run: u64,
    pub(super) who: usize,
    pub(super) up: bool,
}

/// The stand.
#[derive(Debug)]
pub(super) struct Stand {
    slot: Arc<Slot>,
    pub(super) network: Network,
    work: PathBuf,
    prober: PathBuf,
    serf: PathBuf,
    /// The peer as a person would name it.
    pub(super) peer: String,
    tell: mpsc::UnboundedSender<Said>,
    told: Mutex<mpsc::UnboundedReceiver<Said>>,
}

impl Stand {
    pub(super) fn new(slot: Arc<Slot>, network: Network) -> anyhow::Result<Self> {
        let work = home().join(format!("slot-{}.d", slot.number));
        let _ = std::fs::remove_dir_all(&work);
        std::fs::create_dir_all(&work)?;
        let serf = on_path("serf").context("no serf on PATH: `cargo xtask bench detection` brings it")?;
        let bin = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
        let prober = bin.join("health-prober");
        ensure!(prober.is_file(), "no health-prober in {}: build it first", bin.display());
        crate::programs::private(&work.join("gossip.key"), &format!("{}\n", crate::random_hex(32)))?;
        std::fs::write(work.join("targets.json"), targets(&network))?;
        let (tell, told) = mpsc::unbounded_channel();
        let peer = peer(&serf)?;
        Ok(Self { slot, network, work, prober, serf, peer, tell, told: Mutex::new(told) })
    }

    pub(super) fn relay(&self) -> anyhow::Result<&Relay> {
        self.network.relay().context("the stand has no relay")
    }

    /// The next word of anybody.
    pub(super) async fn hear(&self) -> Said {
        let said = self.told.lock().await.recv().await;
        match said {
            Some(said) => said,
            // The stand itself holds a sender.
            None => std::future::pending().await,
        }
    }

    /// The words by which a member is started.
    pub(super) fn command(&self, kind: Kind, member: usize) -> Vec<String> {
        let at = |i: usize, port: u16| format!("{}:{port}", self.network.address(last(i)));
        let file = |name: &str| self.work.join(name).display().to_string();
        let seeds = (0..SEEDS).filter(|seed| *seed != member);
        let name = format!("n{member}");
        if kind == Kind::Serf {
            let mut words = vec![self.serf.display().to_string(), "agent".to_owned()];
            let (bind, rpc) = (at(member, 7947), "127.0.0.1:7373".to_owned());
            for (flag, value) in [("node", name), ("bind", bind), ("rpc-addr", rpc), ("profile", "lan".to_owned())] {
                words.extend([format!("-{flag}"), value]);
            }
            words.extend(["-retry-interval".to_owned(), "1s".to_owned()]);
            words.extend(seeds.flat_map(|seed| ["-retry-join".to_owned(), at(seed, 7947)]));
            return words;
        }
        let mut words = vec![self.prober.display().to_string()];
        let (gossip, metrics) = (at(member, 7946), at(member, 9102));
        for (flag, value) in [("name", name), ("gossip", gossip), ("metrics", metrics), ("keyring", file("gossip.key"))]
        {
            words.extend([format!("--{flag}"), value]);
        }
        words.extend(seeds.flat_map(|seed| ["--seed".to_owned(), at(seed, 7946)]));
        if kind == Kind::OursReporting {
            words.extend(["--targets".to_owned(), file("targets.json")]);
        } else {
            // Nobody hands out a list there: it gossips and has nothing to report.
            words.extend(["--server".to_owned(), format!("http://{}", at(member, 1))]);
            words.push("--insecure-plaintext".to_owned());
        }
        words
    }

    pub(super) fn start(&self, kind: Kind, member: usize, run: u64) -> anyhow::Result<Child> {
        let mut words: Vec<String> = Vec::new();
        if on_path("setpriv").is_some() {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        }
        words.extend(self.network.prefix(&format!("n{member}")));
        words.extend(self.command(kind, member));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("NO_COLOR", "1").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| words.join(" "))?;
        if let Some(pid) = child.id() {
            self.slot.process(pid);
        }
        self.listen(child.stdout.take(), (kind, member, run));
        self.listen(child.stderr.take(), (kind, member, run));
        Ok(child)
    }

    /// Stamps every line as it arrives and passes on what it says of members. The last lines are kept on disk when the
    /// member ends, for a person who asks why.
    fn listen<R: AsyncRead + Send + Unpin + 'static>(&self, from: Option<R>, (kind, by, run): (Kind, usize, u64)) {
        let (Some(from), tell) = (from, self.tell.clone()) else { return };
        let log = self.work.join(format!("{kind:?}-{by}.log"));
        tokio::spawn(async move {
            let mut lines = BufReader::new(from).lines();
            let mut kept = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                let at_ns = now_ns();
                match word(kind, &line) {
                    Some((who, up)) => _ = tell.send(Said { at_ns, kind, by, run, who, up }),
                    None if kept.len() < 16_384 => kept.push_str(&format!("{line}\n")),
                    None => {}
                }
            }
            if !kept.is_empty() {
                let _ = std::fs::write(log, kept);
            }
        });
    }
}

fn targets(network: &Network) -> String {
    let target = |i: usize| {
        serde_json::json!({
            "endpoint": format!("target-{i}"), "host": network.address(1).to_string(), "port": TARGET_PORT,
            "check": {"kind": {"tcp": {}}, "interval_ms": TARGETS_EVERY_MS, "timeout_ms": 2_000, "unhealthy_after": 3,
                "healthy_after": 1},
        })
    };
    serde_json::json!({"format": 1, "targets": (0..TARGETS).map(target).collect::<Vec<_>>()}).to_string()
}

/// `serf 0.9.4~ds1-1+b13 (Serf v0.8.2-dev by its own word)`.
fn peer(serf: &Path) -> anyhow::Result<String> {
    let out = std::process::Command::new(serf).arg("version").output().context("serf does not run")?;
    let own = String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or("").trim().to_owned();
    let package = std::fs::read_to_string(serf.with_file_name("serf.version")).unwrap_or_default();
    let package = package.trim();
    Ok(if package.is_empty() { format!("serf {own}") } else { format!("serf {package} ({own} by its own word)") })
}

/// Which member a line calls up or down.
fn word(kind: Kind, line: &str) -> Option<(usize, bool)> {
    let (up, rest) = match kind {
        Kind::Serf => {
            let (event, rest) = line.split_once("serf: Event")?.1.split_once(": ")?;
            let up = match event {
                "MemberJoin" => true,
                "MemberFailed" | "MemberLeave" => false,
                _ => return None,
            };
            (up, rest)
        }
        Kind::Ours | Kind::OursReporting => {
            let up = line.contains(" member up name=");
            if !up && !line.contains(" no path to member name=") {
                return None;
            }
            (up, line.rsplit_once("name=")?.1)
        }
    };
    let name = rest.split_whitespace().next()?;
    Some((name.strip_prefix('n')?.parse().ok()?, up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_say_is_read() {
        let failed = "    2026/11/25 15:44:27 [INFO] serf: EventMemberFailed: n7 198.18.0.17";
        assert_eq!(word(Kind::Serf, failed), Some((7, false)));
        assert_eq!(word(Kind::Serf, &failed.replace("Failed", "Join")), Some((7, true)));
        assert_eq!(word(Kind::Serf, "[INFO] serf: EventMemberUpdate: n7"), None);
        assert_eq!(word(Kind::Serf, "[INFO] memberlist: Suspect n7 has failed, no acks received"), None);
        let lost = "2026-11-25T15:58:06Z  WARN health_prober::cli: no path to member name=n31";
        assert_eq!(word(Kind::Ours, lost), Some((31, false)));
        assert_eq!(word(Kind::Ours, "INFO health_prober::cli: member up name=n3"), Some((3, true)));
        assert_eq!(word(Kind::Ours, "INFO health_prober::cli: gossip name=n3"), None);
    }
    #[test]
    fn every_member_has_an_address_and_a_hundred_targets() {
        assert_eq!((last(0), last(super::super::N - 1)), (10, 41));
        let text = targets(&Network::Loopback { slot: 3 });
        assert_eq!(text.matches("target-").count(), TARGETS);
    }
}
