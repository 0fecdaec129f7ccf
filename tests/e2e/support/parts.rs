//! What only some tests need: our own edge, a lying prober, a small disk, chance, and the machine for oneself.

use crate::fleet::vantages;
use crate::process::{Process, program};
use crate::stand::{HOME, MACHINE, PATIENCE, Stand, client, flat, free, ip};
use crate::{real_parts_required, until};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate_api::{DecisionDetail, Verdicts};
use tokio::sync::RwLockWriteGuard;

/// The machine without any stand beside: for what measures times.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

/// Seeded chance; the seed is printed, and `TIDEGATE_SEED` plays it again.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// A new seed, or the one that was asked for.
    #[must_use]
    pub fn new() -> Self {
        let asked = std::env::var("TIDEGATE_SEED").ok().and_then(|s| s.parse().ok());
        let seed = asked.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("TIDEGATE_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit` (SplitMix64).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}

/// Our own edge.
#[derive(Debug)]
pub struct Edge {
    /// The process.
    pub process: Process,
    /// Where it takes requests.
    pub listener: SocketAddr,
    /// Where it shows its metrics.
    pub admin: SocketAddr,
    args: Vec<String>,
}

impl Edge {
    /// Starts it again, at the same addresses and with the same state on disk.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.process = Process::start(&program("edge-proxy")?, &self.args, &self.process.log)?;
        Ok(())
    }
}

impl Stand {
    /// Starts our edge beside the Envoy, on a listener of its own; returns when it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn edge(&self) -> Result<Edge> {
        let (listener, admin) = (free(HOME)?, free(HOME)?);
        let args = flat(&[
            ("--node", "edge-1".to_owned()),
            ("--group", "edge-de".to_owned()),
            ("--server", format!("http://{}", self.xds)),
            ("--state-dir", self.file("edge-state").display().to_string()),
            ("--admin", admin.to_string()),
            ("--listen-override", format!("public={listener}")),
        ]);
        let process = Process::start(&program("edge-proxy")?, &args, &self.file("edge.log"))?;
        let edge = Edge { process, listener, admin, args };
        answers(listener).await.with_context(|| edge.process.printed())?;
        Ok(edge)
    }

    /// Starts prober `i` again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_prober(&mut self, i: usize) -> Result<()> {
        self.probers[i] = self.prober_process(i, None)?;
        Ok(())
    }

    /// Ends prober `i` and starts it with a list of its own, in which the targets at `dead` stand at a port where
    /// nobody listens: it will swear that they are dead.
    ///
    /// # Errors
    /// When the revision cannot be learnt or the prober cannot be started.
    pub async fn make_prober_lie(&mut self, i: usize, dead: &[SocketAddr]) -> Result<()> {
        let decision = self.status().await?.decision.context("nothing is decided yet")?;
        let detail: DecisionDetail = serde_json::from_str(&self.get(&format!("/v1/decisions/{}", decision.id)).await?)?;
        let closed = free(ip(69, 1))?;
        let check = serde_json::json!({
            "kind": { "http": { "path": "/healthz", "host": "shop.test" } },
            "interval_ms": 250, "timeout_ms": 250, "unhealthy_after": 2, "healthy_after": 2,
        });
        // The order of the configuration, which is the order of the server's own list.
        let all = [&self.at.one, &self.at.two, &self.at.three].into_iter().flatten();
        let targets = all.enumerate().map(|(n, address)| {
            let at = if dead.contains(address) { closed } else { *address };
            serde_json::json!({ "endpoint": format!("t{n}"), "host": at.ip(), "port": at.port(), "check": check })
        });
        let references = self.at.references.iter().enumerate().map(|(n, address)| {
            serde_json::json!({ "name": format!("ref-{n}"), "address": address, "network": format!("net-{n}") })
        });
        let list = serde_json::json!({
            "format": 1,
            "revision": detail.fleet,
            "targets": targets.collect::<Vec<_>>(),
            "references": references.collect::<Vec<_>>(),
            "peers": self.at.gossip,
        });
        let path = self.file(&format!("lies-{i}.json"));
        fs::write(&path, list.to_string())?;
        self.probers[i].kill_nine()?;
        self.probers[i] = self.prober_process(i, Some(&path))?;
        Ok(())
    }

    /// Every backend's address.
    #[must_use]
    pub fn everything(&self) -> Vec<SocketAddr> {
        [&self.at.one, &self.at.two, &self.at.three].into_iter().flatten().copied().collect()
    }

    /// Name of vantage `i`.
    #[must_use]
    pub fn vantage(&self, i: usize) -> &'static str {
        vantages(!self.three.is_empty())[i].0
    }

    /// `/v1/verdicts`.
    ///
    /// # Errors
    /// When it is not answered.
    pub async fn verdicts(&self) -> Result<Verdicts> {
        Ok(serde_json::from_str(&self.get("/v1/verdicts").await?)?)
    }

    /// The verdict on `kind name`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn verdict(&self, kind: &str, name: &str) -> Result<String> {
        let verdicts = self.verdicts().await?.verdicts;
        let found = verdicts.into_iter().find(|v| v.kind == kind && v.name == name);
        found.map(|v| v.health).with_context(|| format!("no verdict on {kind} {name}"))
    }

    /// Every decision replays to the same bytes, and the journal's chain holds.
    ///
    /// # Errors
    /// When one does not.
    pub fn records_hold(&self) -> Result<()> {
        let replayed = self.tidegate(&["replay", "all"])?;
        ensure!(replayed.lines().count() > 0 && replayed.lines().all(|l| l.starts_with("+ ok")), "{replayed}");
        self.tidegate(&["audit"])?;
        Ok(())
    }
}

/// Waits until the proxy at `listener` answers for the class.
///
/// # Errors
/// When it does not in time.
pub async fn answers(listener: SocketAddr) -> Result<()> {
    let client = client()?;
    until("the proxy answers for the class", PATIENCE, || async {
        let request = client.get(format!("http://{listener}/x")).header("host", "shop.test").header("x-class", "eu");
        let status = request.send().await?.status();
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await
}

/// A file system of its own, small enough to fill; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts `mebibytes` at `at`; none where this machine refuses that.
    ///
    /// # Errors
    /// When it fails for another reason than a missing right, though real parts are required and we are root.
    pub fn mount(at: &Path, mebibytes: u32) -> Result<Option<Self>> {
        fs::create_dir_all(at)?;
        let root = nix::unistd::geteuid().is_root();
        let options = format!("size={mebibytes}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tidegate-test"]).arg(at);
        let refused = match mount.output() {
            _ if !root => "mounting needs root".to_owned(),
            Ok(out) if out.status.success() => return Ok(Some(Self { at: at.to_owned() })),
            Ok(out) => String::from_utf8_lossy(&out.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        // A root without the right to mount (a plain container) cannot be given one by any setup.
        let forbidden = ["permission denied", "not permitted"].iter().any(|w| refused.to_lowercase().contains(w));
        if root && real_parts_required() && !forbidden {
            bail!("a small file system could not be mounted: {refused}");
        }
        eprintln!("skipped: {refused}");
        Ok(None)
    }

    /// Writes until nothing fits any more, but at most `limit` bytes; how many did.
    ///
    /// # Errors
    /// When writing fails for another reason than a full disk.
    pub fn fill(&self, name: &str, limit: u64) -> Result<u64> {
        let mut file = fs::File::create(self.at.join(name))?;
        let mut written = 0;
        for block in [vec![7_u8; 64 * 1024], vec![7_u8; 512]] {
            while written < limit {
                match file.write(&block) {
                    Ok(n) => written += n as u64,
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(written)
    }

    /// Removes what [`Self::fill`] wrote.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn free(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.at.join(name))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server's last files may still be open.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
