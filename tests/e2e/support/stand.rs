//! The whole stand: a temporary directory, the fleet's files, and the processes.

use crate::backend::Backend;
use crate::fleet::Addresses;
use crate::process::{Process, envoy, program};
use crate::until;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;
use tidegate_api::{Edges, Splits, Status};

const VANTAGES: [&str; 4] = ["one-1", "two-1", "outside-1", "outside-2"];
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
    references: Vec<Backend>,
    /// The operator API.
    pub api: SocketAddr,
    /// gRPC.
    pub xds: SocketAddr,
    gossip: SocketAddr,
    dir: TempDir,
}

fn ip(c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, c, d))
}

/// A TCP address that is free now.
///
/// # Errors
/// When there is none.
pub fn free(ip: IpAddr) -> Result<SocketAddr> {
    Ok(TcpListener::bind((ip, 0))?.local_addr()?)
}

fn free_udp(ip: IpAddr) -> Result<SocketAddr> {
    Ok(UdpSocket::bind((ip, 0))?.local_addr()?)
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
        let dir = tempfile::tempdir()?;
        let mut one = Vec::new();
        let mut two = Vec::new();
        for i in 1..=2 {
            one.push(Backend::start("one/a", (ip(61, i), 0).into()).await?);
            two.push(Backend::start("two/b", (ip(62, i), 0).into()).await?);
        }
        let mut references = Vec::new();
        for i in 1..=3 {
            references.push(Backend::start("reference", (ip(63, i), 0).into()).await?);
        }
        let gossip = [ip(64, 1), ip(65, 1), ip(66, 1), ip(66, 2)].into_iter().map(free_udp).collect::<Result<_>>()?;
        let of = |list: &[Backend]| list.iter().map(|b| b.address).collect::<Vec<_>>();
        let listener = free(ip(0, 1))?;
        let at = Addresses { one: of(&one), two: of(&two), gossip, references: of(&references), listener };
        let (api, xds, gossip) = (free(ip(0, 1))?, free(ip(0, 1))?, free_udp(ip(0, 1))?);
        fs::create_dir_all(dir.path().join("fleet"))?;
        for (name, text) in at.documents() {
            fs::write(dir.path().join("fleet").join(name), text)?;
        }
        secrets(dir.path())?;
        let server = Self::server_process(dir.path(), api, xds, gossip)?;
        let mut stand = Self { at, server, probers: Vec::new(), one, two, references, api, xds, gossip, dir };
        until("the server is alive", PATIENCE, || stand.get("/healthz")).await.with_context(|| stand.server.printed())?;
        for (i, name) in VANTAGES.into_iter().enumerate() {
            stand.probers.push(stand.prober_process(i, name)?);
        }
        let voting = until("every vantage votes and everything is healthy", PATIENCE, || async {
            let status = stand.status().await?;
            ensure!(status.vantages_eligible == 4 && status.summary == "ok", "{status:?}");
            Ok(())
        });
        voting.await.with_context(|| stand.server.printed())?;
        ensure!(stand.references.len() == 3);
        Ok(stand)
    }

    fn server_process(dir: &Path, api: SocketAddr, xds: SocketAddr, gossip: SocketAddr) -> Result<Process> {
        let file = |name: &str| dir.join(name).display().to_string();
        let args = [
            ("--config", file("fleet")),
            ("--store", file("store")),
            ("--tokens", file("tokens")),
            ("--keyring", file("keyring")),
            ("--api", api.to_string()),
            ("--xds", xds.to_string()),
            ("--gossip", gossip.to_string()),
            ("--shutdown-spread-ms", "200".to_owned()),
        ];
        Process::start(&program("xds-server")?, &flat(&args), &dir.join("server.log"))
    }

    fn prober_process(&self, i: usize, name: &str) -> Result<Process> {
        let dir = self.dir.path();
        let args = [
            ("--name", name.to_owned()),
            ("--gossip", self.at.gossip[i].to_string()),
            ("--server", format!("http://{}", self.xds)),
            ("--keyring", dir.join("keyring").display().to_string()),
            ("--state-dir", dir.join(format!("prober-{name}")).display().to_string()),
        ];
        Process::start(&program("health-prober")?, &flat(&args), &dir.join(format!("{name}.log")))
    }

    /// Starts the server again on the same store, addresses and configuration.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_server(&mut self) -> Result<()> {
        self.server = Self::server_process(self.dir.path(), self.api, self.xds, self.gossip)?;
        Ok(())
    }

    /// A second server on the same store, at other addresses.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn second_server(&self) -> Result<Process> {
        let (api, xds, gossip) = (free(ip(0, 1))?, free(ip(0, 1))?, free_udp(ip(0, 1))?);
        Self::server_process(self.dir.path(), api, xds, gossip)
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
        let admin = free(ip(0, 1))?;
        let (xds, admin_text) = (self.xds.to_string(), admin.to_string());
        let written = self.cli(&["bootstrap", "envoy", "--node", "envoy-1", "--group", "edge-de", "--xds", &xds, "--admin", &admin_text])?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let path = self.dir.path().join("envoy.json");
        fs::write(&path, &written.stdout)?;
        let args = [("-c", path.display().to_string()), ("--concurrency", "1".to_owned()), ("--log-level", "warning".to_owned())];
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
        let request = client()?.get(format!("http://{}/x", self.at.listener)).header("host", "shop.test").header("x-class", class);
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

fn flat(args: &[(&str, String)]) -> Vec<String> {
    args.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect()
}

fn secrets(dir: &Path) -> Result<()> {
    let mut lines = String::new();
    for role in ["viewer", "operator", "admin"] {
        let out = Command::new(program("xds-server")?).args(["token", "--subject", &format!("{role}-person"), "--role", role]).output()?;
        lines += &String::from_utf8(out.stdout)?;
        let told = String::from_utf8(out.stderr)?;
        let token = told.split_whitespace().find(|w| w.starts_with("tg_")).context("no token was printed")?;
        write(&dir.join(format!("token-{role}")), token, 0o600)?;
    }
    write(&dir.join("tokens"), &lines, 0o600)?;
    let key = Command::new(program("xds-server")?).arg("key").output()?;
    write(&dir.join("keyring"), &String::from_utf8(key.stdout)?, 0o600)
}
