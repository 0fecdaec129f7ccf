//! One kind of member, thirty-two times: started, killed, heard, and what they spend. Refuses to judge times.

use super::stand::{Kind, Said, Stand, TARGET_PORT, last};
use super::{HEADERS, N};
use crate::clock::now_ns;
use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::process::Child;

#[derive(Debug, Default)]
struct Member {
    child: Option<Child>,
    alive: bool,
    /// Which start of it.
    run: u64,
    /// Whom it has.
    has: BTreeSet<usize>,
}

/// Members of one kind.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) kind: Kind,
    members: Vec<Member>,
    /// When, by whom, who: every "down" that was said.
    downs: Vec<(u64, usize, usize)>,
    /// Downs of members that ran.
    pub(super) false_downs: u64,
}

/// What all members spent in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    /// Members × seconds.
    pub(super) node_seconds: f64,
    pub(super) datagrams: f64,
    /// Bytes of datagrams.
    pub(super) sealed: f64,
    /// The same before sealing.
    pub(super) payload: f64,
    pub(super) cpu_s: f64,
    pub(super) false_downs: u64,
}

impl Cost {
    /// Bytes per second and node as sent, headers of IP and UDP among them.
    pub(super) fn sealed_rate(&self) -> f64 {
        (self.sealed + HEADERS * self.datagrams) / self.node_seconds
    }
    /// The same before sealing.
    pub(super) fn payload_rate(&self) -> f64 {
        (self.payload + HEADERS * self.datagrams) / self.node_seconds
    }
    pub(super) fn cpu_per_cent(&self) -> f64 {
        self.cpu_s / self.node_seconds * 100.0
    }
}

impl Cluster {
    pub(super) async fn start(stand: &Stand, kind: Kind) -> anyhow::Result<Self> {
        let mut cluster = Self { kind, members: Vec::new(), downs: Vec::new(), false_downs: 0 };
        if kind == Kind::OursReporting {
            let listener = tokio::net::TcpListener::bind((stand.network.address(1), TARGET_PORT)).await?;
            tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        }
        for i in 0..N {
            let child = Some(stand.start(kind, i, 0)?);
            cluster.members.push(Member { child, alive: true, ..Member::default() });
        }
        Ok(cluster)
    }

    pub(super) fn take(&mut self, said: &Said) {
        let alive = self.members.get(said.who).is_some_and(|m| m.alive);
        let by = self.members.get_mut(said.by).filter(|m| m.alive && m.run == said.run);
        let Some(by) = by.filter(|_| said.kind == self.kind && said.who != said.by) else { return };
        if said.up {
            by.has.insert(said.who);
        } else {
            by.has.remove(&said.who);
            self.downs.push((said.at_ns, said.by, said.who));
            self.false_downs += u64::from(alive);
        }
    }

    /// Whether every living member has all other living ones, and no other.
    pub(super) fn whole(&self) -> bool {
        let living: BTreeSet<usize> = (0..self.members.len()).filter(|i| self.members[*i].alive).collect();
        living.iter().all(|i| living.iter().filter(|j| *j != i).eq(self.members[*i].has.iter()))
    }

    /// In words, how far from whole it is.
    pub(super) fn missing(&self) -> String {
        let lacks = |m: &&Member| m.alive && m.has.len() + 1 < self.members.len();
        let count = self.members.iter().filter(lacks).count();
        format!("{:?}: {count} of {} members lack others", self.kind, self.members.len())
    }

    /// When each other member first said, since `since`, that `victim` is down.
    pub(super) fn seen_down(&self, victim: usize, since: u64) -> Vec<u64> {
        let mut seen = BTreeMap::new();
        for (at, by, _) in self.downs.iter().filter(|(at, _, who)| *at >= since && *who == victim) {
            seen.entry(*by).or_insert(*at);
        }
        seen.into_values().collect()
    }

    /// SIGKILL; when it was sent.
    pub(super) async fn kill(&mut self, member: usize) -> anyhow::Result<u64> {
        let m = &mut self.members[member];
        let mut child = m.child.take().context("it does not run")?;
        let pid = child.id().and_then(|p| i32::try_from(p).ok()).context("it has ended by itself")?;
        m.alive = false;
        let at = now_ns();
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        child.wait().await?;
        Ok(at)
    }

    /// Starts it again.
    pub(super) fn again(&mut self, stand: &Stand, member: usize) -> anyhow::Result<()> {
        let run = self.members[member].run + 1;
        let child = Some(stand.start(self.kind, member, run)?);
        self.members[member] = Member { child, alive: true, run, has: BTreeSet::new() };
        Ok(())
    }

    /// What the members spend in `time`, after `settled`.
    pub(super) async fn cost(&mut self, stand: &Stand, settled: Duration, time: Duration) -> anyhow::Result<Cost> {
        self.listen_for(stand, settled).await;
        let (before, began) = (self.spent(stand).await?, now_ns());
        self.listen_for(stand, time).await;
        let (after, seconds) = (self.spent(stand).await?, (now_ns() - began) as f64 / 1e9);
        let of = |i: usize| after[i] - before[i];
        Ok(Cost {
            node_seconds: seconds * self.members.len() as f64,
            datagrams: of(0),
            sealed: of(1),
            payload: of(2),
            cpu_s: of(3),
            false_downs: self.false_downs,
        })
    }

    async fn listen_for(&mut self, stand: &Stand, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(said) = tokio::time::timeout_at(end, stand.hear()).await {
            self.take(&said);
        }
    }

    /// Datagrams, sealed bytes, payload bytes and seconds of CPU of all, since their starts.
    async fn spent(&self, stand: &Stand) -> anyhow::Result<[f64; 4]> {
        const NAMES: [&str; 3] = [
            "tidegate_gossip_datagrams_total{direction=\"sent\"}",
            "tidegate_gossip_sent_bytes_total",
            "tidegate_gossip_payload_bytes_total",
        ];
        let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
        let mut sum = [0.0; 4];
        for (i, member) in self.members.iter().enumerate() {
            let url = format!("http://{}:9102/metrics", stand.network.address(last(i)));
            let page = http.get(url).send().await?.text().await?;
            for (k, name) in NAMES.into_iter().enumerate() {
                let found = page.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok());
                sum[k] += found.with_context(|| format!("member n{i} does not tell {name}"))?;
            }
            let pid = member.child.as_ref().and_then(Child::id).context("a member has ended by itself")?;
            sum[3] += cpu_seconds(pid)?;
        }
        Ok(sum)
    }

    pub(super) async fn end(&mut self) {
        for member in &mut self.members {
            member.alive = false;
            if let Some(mut child) = member.child.take() {
                let _ = child.start_kill();
                let _ = child.wait().await;
            }
        }
    }
}

/// Time of user and system by `/proc/PID/stat`, in seconds.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold blanks.
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("no ticks in /proc/PID/stat");
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok((ticks(11)? + ticks(12)?) / per_second as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let member = || Member { alive: true, run: 1, ..Member::default() };
        Cluster { kind: Kind::Serf, members: vec![member(), member(), member()], downs: Vec::new(), false_downs: 0 }
    }
    fn said(by: usize, run: u64, who: usize, up: bool) -> Said {
        Said { at_ns: 5, kind: Kind::Serf, by, run, who, up }
    }

    #[test]
    fn a_cluster_is_whole_when_all_living_have_all_living() {
        let mut c = cluster();
        assert!(!c.whole());
        for (by, who) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0)] {
            c.take(&said(by, 1, who, true));
        }
        assert!(!c.whole());
        c.take(&said(2, 1, 1, true));
        assert!(c.whole());
        c.members[2].alive = false;
        assert!(!c.whole(), "the dead one is still had");
        c.take(&said(0, 1, 2, false));
        c.take(&said(1, 1, 2, false));
        assert!(c.whole());
        assert_eq!((c.seen_down(2, 5).len(), c.seen_down(2, 6).len(), c.false_downs), (2, 0, 0));
    }
    #[test]
    fn a_down_of_a_living_member_is_false_and_stale_words_do_not_count() {
        let mut c = cluster();
        c.take(&said(0, 0, 1, false));
        c.take(&Said { kind: Kind::Ours, ..said(0, 1, 1, false) });
        assert_eq!((c.downs.len(), c.false_downs), (0, 0), "another run, another cluster");
        c.take(&said(0, 1, 1, false));
        assert_eq!(c.false_downs, 1);
    }
    #[test]
    fn cpu_is_read_of_a_process_that_runs() {
        assert!(cpu_seconds(std::process::id()).is_ok_and(|s| s >= 0.0));
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
