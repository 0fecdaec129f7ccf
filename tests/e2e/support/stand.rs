//! The whole stand: a temporary directory, the fleet's files, and the processes.

use crate::backend::Backend;
use crate::fleet::{Addresses, vantages};
use crate::process::{Process, envoy, program};
use crate::until;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tidegate_api::{Edges, Splits, Status};
use tokio::sync::{RwLock, RwLockReadGuard};

/// Stands share the machine with each other, but not with who holds this for writing: see [`crate::parts::alone`].
pub(crate) static MACHINE: RwLock<()> = RwLock::const_new(());

/// Where servers, edges and metrics listen. Not 127.0.0.1: connections go out from there, each with a port of its own,
/// which may be the very one that was free a moment ago.
pub const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 70, 1));
/// Patience for what takes a second or two on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Everything on loopback, ended when dropped.
#[derive(Debug)]
pub struct Stand {
    /// Addresses of the fleet.
    pub at: Addresses,
    /// The server.
    pub server: Process,
    /// Probers, in the order of the vantages.
    pub probers: Vec<Process>,
    /// Backends of `one/a`.
    pub one: Vec<Backend>,
    /// Backends of `two/b`.
    pub two: Vec<Backend>,
    /// Backends of `three/c`; none in the small fleet.
    pub three: Vec<Backend>,
    /// Where each prober shows its metrics.
    pub prober_metrics: Vec<SocketAddr>,
    references: Vec<Backend>,
    /// The operator API.
    pub api: SocketAddr,
    /// gRPC.
    pub xds: SocketAddr,
    /// The server's own gossip.
    pub gossip: SocketAddr,
    store: PathBuf,
    dir: TempDir,
    _machine: RwLockReadGuard<'static, ()>,
}

pub(crate) fn ip(c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, c, d))
}

/// A TCP address that is free now.
///
/// # Errors
/// When there is none.
pub fn free(ip: IpAddr) -> Result<SocketAddr> {
    unused(|| Ok(TcpListener::bind((ip, 0))?.local_addr()?))
}

/// Free for datagrams and for connections: the gossip takes both.
pub(crate) fn free_udp(ip: IpAddr) -> Result<SocketAddr> {
    unused(|| {
        let listener = TcpListener::bind((ip, 0))?;
        Ok(UdpSocket::bind(listener.local_addr()?)?.local_addr()?)
    })
}

/// No port is given twice in one process: it is let go of before its user takes it.
fn unused(found: impl Fn() -> Result<SocketAddr>) -> Result<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..100 {
        let Ok(address) = found() else { continue };
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
            return Ok(address);
        }
    }
    found()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

impl Stand {
    /// Starts backends, references, the server and all probers; returns when a plan is committed and all vote.
    ///
    /// # Errors
    /// When a part does not come up in time: names it and its log.
    pub async fn start() -> Result<Self> {
        Self::with(false, None).await
    }

    /// The same with a third cloud and two vantages everywhere.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn wide() -> Result<Self> {
        Self::with(true, None).await
    }

    /// The small fleet with its store in `store`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn on_store(store: &Path) -> Result<Self> {
        Self::with(false, Some(store.to_owned())).await
    }

    async fn with(wide: bool, store: Option<PathBuf>) -> Result<Self> {
        let machine = MACHINE.read().await;
        let dir = tempfile::tempdir()?;
        let (one, two) = (backends("one/a", 61, 2).await?, backends("two/b", 62, 2).await?);
        let three = if wide { backends("three/c", 67, 2).await? } else { Vec::new() };
        let references = backends("reference", 63, 3).await?;
        let places = if wide { &[64, 64, 65, 65, 68, 68, 66, 66][..] } else { &[64, 65, 66, 66] };
        let gossip = (1..).zip(places).map(|(i, c)| free_udp(ip(*c, i))).collect::<Result<_>>()?;
        let of = |list: &[Backend]| list.iter().map(|b| b.address).collect::<Vec<_>>();
        let listener = free(HOME)?;
        let references_at = of(&references);
        let (one_at, two_at, three_at) = (of(&one), of(&two), of(&three));
        let at = Addresses { one: one_at, two: two_at, three: three_at, gossip, references: references_at, listener };
        let (api, xds, gossip) = (free(HOME)?, free(HOME)?, free_udp(HOME)?);
        let prober_metrics = places.iter().map(|_| free(HOME)).collect::<Result<_>>()?;
        fs::create_dir_all(dir.path().join("fleet"))?;
        for (name, text) in at.documents() {
            fs::write(dir.path().join("fleet").join(name), text)?;
        }
        secrets(dir.path())?;
        let store = store.unwrap_or_else(|| dir.path().join("store"));
        let server = Self::server_process(dir.path(), &store, [api, xds, gossip])?;
        let probers = Vec::new();
        let mut stand = Self {
            at,
            server,
            probers,
            one,
            two,
            three,
            prober_metrics,
            references,
            api,
            xds,
            gossip,
            store,
            dir,
            _machine: machine,
        };
        let alive = until("the server is alive", PATIENCE, || stand.get("/healthz"));
        alive.await.with_context(|| stand.server.printed())?;
        for i in 0..stand.at.gossip.len() {
            stand.probers.push(stand.prober_process(i, None)?);
        }
        stand.whole().await?;
        ensure!(stand.references.len() == 3);
        Ok(stand)
    }

    /// Waits until every vantage votes and everything is healthy.
    ///
    /// # Errors
    /// When it does not come to that in time.
    pub async fn whole(&self) -> Result<()> {
        until("every vantage votes and everything is healthy", PATIENCE, || async {
            let status = self.status().await?;
            ensure!(status.vantages_eligible == status.vantages_configured && status.summary == "ok", "{status:?}");
            Ok(())
        })
        .await
        .with_context(|| self.last_words())
    }

    /// The last lines of the server and of every prober.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for process in [&self.server].into_iter().chain(&self.probers) {
            let printed = process.printed();
            let lines: Vec<&str> = printed.lines().collect();
            let last = lines[lines.len().saturating_sub(12)..].join("\n");
            words += &format!("{}:\n{last}\n", process.log.display());
        }
        words
    }

    fn server_process(dir: &Path, store: &Path, [api, xds, gossip]: [SocketAddr; 3]) -> Result<Process> {
        let file = |name: &str| dir.join(name).display().to_string();
        let args = [
            ("--config", file("fleet")),
            ("--store", store.display().to_string()),
            ("--tokens", file("tokens")),
            ("--keyring", file("keyring")),
            ("--api", api.to_string()),
            ("--xds", xds.to_string()),
            ("--gossip", gossip.to_string()),
            ("--shutdown-spread-ms", "200".to_owned()),
        ];
        Process::start(&program("xds-server")?, &flat(&args), &dir.join("server.log"))
    }

    /// Starts prober `i` as on a new machine: no state, no keyring, a join token.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn new_prober(&self, i: usize, home: &str, token: &str) -> Result<Process> {
        let dir = self.dir.path().join(home);
        fs::create_dir_all(&dir)?;
        write(&dir.join("token"), token, 0o600)?;
        let args = [
            ("--name", self.vantage(i).to_owned()),
            ("--gossip", self.at.gossip[i].to_string()),
            ("--server", format!("http://{}", self.xds)),
            ("--keyring", dir.join("keyring").display().to_string()),
            ("--join-token", dir.join("token").display().to_string()),
        ];
        Process::start(&program("health-prober")?, &flat(&args), &dir.join("log"))
    }

    /// Starts prober `i`; with a list of its own instead of the server's where one is given.
    pub(crate) fn prober_process(&self, i: usize, targets: Option<&Path>) -> Result<Process> {
        let dir = self.dir.path();
        let name = vantages(!self.three.is_empty())[i].0;
        let source = match targets {
            Some(file) => ("--targets", file.display().to_string()),
            None => ("--server", format!("http://{}", self.xds)),
        };
        let args = [
            ("--name", name.to_owned()),
            ("--gossip", self.at.gossip[i].to_string()),
            source,
            ("--keyring", dir.join("keyring").display().to_string()),
            ("--state-dir", dir.join(format!("prober-{name}")).display().to_string()),
            ("--metrics", self.prober_metrics[i].to_string()),
        ];
        let mut args = flat(&args);
        if targets.is_some() {
            args.extend(["--seed".to_owned(), self.gossip.to_string()]);
        }
        Process::start(&program("health-prober")?, &args, &dir.join(format!("{name}.log")))
    }

    /// Starts the server again on the same store, addresses and configuration.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_server(&mut self) -> Result<()> {
        self.server = Self::server_process(self.dir.path(), &self.store, [self.api, self.xds, self.gossip])?;
        Ok(())
    }

    /// A second server on the same store, at other addresses.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn second_server(&self) -> Result<Process> {
        let (api, xds, gossip) = (free(HOME)?, free(HOME)?, free_udp(HOME)?);
        Self::server_process(self.dir.path(), &self.store, [api, xds, gossip])
    }

    /// A server with an empty store, at exactly these addresses: API, xDS, gossip.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn other_server(&self, name: &str, addresses: [SocketAddr; 3]) -> Result<Process> {
        Self::server_process(self.dir.path(), &self.dir.path().join(name), addresses)
    }

    /// Where the server keeps its store.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Starts a real Envoy by our bootstrap; none where there is no Envoy on this machine.
    ///
    /// # Errors
    /// When it is there and does not come up, or when it is missing though it is required.
    pub async fn envoy(&self) -> Result<Option<(Process, SocketAddr)>> {
        let Some(envoy) = envoy() else {
            if crate::real_parts_required() {
                bail!("no Envoy on PATH nor in target/tools: run `cargo xtask setup`");
            }
            eprintln!("skipped: no Envoy here; `cargo xtask test` brings it");
            return Ok(None);
        };
        let admin = free(HOME)?;
        let (xds, admin_text) = (self.xds.to_string(), admin.to_string());
        let written = self.cli(&[
            "bootstrap",
            "envoy",
            "--node",
            "envoy-1",
            "--group",
            "edge-de",
            "--xds",
            &xds,
            "--admin",
            &admin_text,
        ])?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let path = self.dir.path().join("envoy.json");
        fs::write(&path, &written.stdout)?;
        let args = [
            ("-c", path.display().to_string()),
            ("--concurrency", "1".to_owned()),
            ("--log-level", "warning".to_owned()),
        ];
        let mut args = flat(&args);
        args.push("--disable-hot-restart".to_owned());
        let process = Process::start(&envoy, &args, &self.dir.path().join("envoy.log"))?;
        let ready = until("Envoy answers for the class", PATIENCE, || async {
            let (status, body) = self.request("eu").await?;
            ensure!(status == 200, "{status} {body}");
            Ok(())
        });
        ready.await.with_context(|| process.printed())?;
        Ok(Some((process, admin)))
    }

    /// A file of the stand.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `tidegate` with the admin's token.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        self.cli_as("token-admin", args)
    }

    /// Runs `tidegate` with another token.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn cli_as(&self, token: &str, args: &[&str]) -> Result<Output> {
        let out = Command::new(program("tidegate")?)
            .args(args)
            .env("TIDEGATE_SERVER", format!("http://{}", self.api))
            .env("TIDEGATE_TOKEN_FILE", self.file(token))
            .env("NO_COLOR", "1")
            .output()?;
        Ok(out)
    }

    /// What `tidegate` prints, or its error.
    ///
    /// # Errors
    /// When it ends with another code than 0.
    pub fn tidegate(&self, args: &[&str]) -> Result<String> {
        let out = self.cli(args)?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        ensure!(out.status.success(), "tidegate {}: {} {text}", args.join(" "), String::from_utf8_lossy(&out.stderr));
        Ok(text)
    }

    /// GET of the API with the admin's token.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        let token = fs::read_to_string(self.file("token-admin"))?;
        let request = client()?.get(format!("http://{}{path}", self.api)).bearer_auth(token.trim());
        Ok(request.send().await?.error_for_status()?.text().await?)
    }

    /// `/v1/status`.
    ///
    /// # Errors
    /// When it is not answered.
    pub async fn status(&self) -> Result<Status> {
        Ok(serde_json::from_str(&self.get("/v1/status").await?)?)
    }

    /// `/v1/splits`.
    ///
    /// # Errors
    /// When it is not answered.
    pub async fn splits(&self) -> Result<Splits> {
        Ok(serde_json::from_str(&self.get("/v1/splits").await?)?)
    }

    /// `/v1/edges`.
    ///
    /// # Errors
    /// When it is not answered.
    pub async fn edges(&self) -> Result<Edges> {
        Ok(serde_json::from_str(&self.get("/v1/edges").await?)?)
    }

    /// Share of class `eu` at `region` in basis points, by the committed plan.
    ///
    /// # Errors
    /// When the plan cannot be read.
    pub async fn share(&self, region: &str) -> Result<u16> {
        let splits = self.splits().await?;
        let split = splits.splits.iter().find(|s| s.class == "shop/eu").context("no split")?;
        Ok(split.weights.iter().find(|w| w.region == region).map_or(0, |w| w.share_bps))
    }

    /// One request through the edge; status and body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn request(&self, class: &str) -> Result<(u16, String)> {
        let request = client()?
            .get(format!("http://{}/x", self.at.listener))
            .header("host", "shop.test")
            .header("x-class", class);
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}

/// An HTTP client without pool, so that every request is a new connection.
///
/// # Errors
/// When it cannot be made.
pub fn client() -> Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).pool_max_idle_per_host(0).build()?)
}

async fn backends(region: &str, c: u8, count: u8) -> Result<Vec<Backend>> {
    let mut list = Vec::new();
    for i in 1..=count {
        list.push(Backend::start(region, (ip(c, i), 0).into()).await?);
    }
    Ok(list)
}

pub(crate) fn flat(args: &[(&str, String)]) -> Vec<String> {
    args.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect()
}

fn secrets(dir: &Path) -> Result<()> {
    let mut lines = String::new();
    for role in ["viewer", "operator", "admin"] {
        let out = Command::new(program("xds-server")?)
            .args(["token", "--subject", &format!("{role}-person"), "--role", role])
            .output()?;
        lines += &String::from_utf8(out.stdout)?;
        let told = String::from_utf8(out.stderr)?;
        let token = told.split_whitespace().find(|w| w.starts_with("tg_")).context("no token was printed")?;
        write(&dir.join(format!("token-{role}")), token, 0o600)?;
    }
    write(&dir.join("tokens"), &lines, 0o600)?;
    let key = Command::new(program("xds-server")?).arg("key").output()?;
    write(&dir.join("keyring"), &String::from_utf8(key.stdout)?, 0o600)
}
