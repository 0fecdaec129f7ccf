//! Where things stand: a namespace per place, joined by a bridge, or loopback addresses where namespaces are refused.
//!
//! Owns addresses, namespaces and the rule that drops packets; refuses to know what runs in a place.

use crate::ledger::Slot;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

/// How places are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    /// `ip netns`, veth pairs, a bridge in a namespace of its own. 198.18.SLOT.0/24 (RFC 2544: never routed).
    Namespaces { slot: u8 },
    /// 127.18.SLOT.0/24. Packets cannot be dropped here.
    Loopback { slot: u8 },
}

impl Network {
    /// Builds namespaces for `places` if the machine allows it, else answers loopback and why.
    pub(crate) fn open(slot: &Slot, places: &[String], force_loopback: bool) -> (Self, Option<String>) {
        let number = slot.number;
        if force_loopback {
            return (Self::Loopback { slot: number }, Some("asked for".to_owned()));
        }
        if !nix::unistd::geteuid().is_root() {
            return (Self::Loopback { slot: number }, Some("namespaces need root".to_owned()));
        }
        match build(slot, places) {
            Ok(()) => (Self::Namespaces { slot: number }, None),
            Err(e) => (Self::Loopback { slot: number }, Some(e.to_string())),
        }
    }
    /// As the JSON says it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Namespaces { .. } => "namespaces",
            Self::Loopback { .. } => "loopback",
        }
    }
    /// The address with this last number.
    pub(crate) fn address(&self, last: u8) -> Ipv4Addr {
        match self {
            Self::Namespaces { slot } => Ipv4Addr::new(198, 18, *slot, last),
            Self::Loopback { slot } => Ipv4Addr::new(127, 18, *slot, last),
        }
    }
    /// Gives `place` the address. Nothing to do on loopback: all of 127/8 is there.
    pub(crate) fn give(&self, place: &str, lasts: &[u8]) -> anyhow::Result<()> {
        let Self::Namespaces { slot } = self else { return Ok(()) };
        let lines: Vec<String> = lasts.iter().map(|l| format!("addr add {}/24 dev eth0", self.address(*l))).collect();
        batch(Some(&namespace(*slot, place)), &lines)
    }
    /// The words before a program's own that make it run at `place`.
    pub(crate) fn prefix(&self, place: &str) -> Vec<String> {
        match self {
            Self::Namespaces { slot } => ["ip", "netns", "exec", &namespace(*slot, place)].map(str::to_owned).to_vec(),
            Self::Loopback { .. } => Vec::new(),
        }
    }
    /// Drops every packet that enters or leaves `place`, or lets them pass again. What talks within the place goes on.
    pub(crate) fn drop_packets(&self, place: &str, on: bool) -> anyhow::Result<()> {
        let Self::Namespaces { slot } = self else { anyhow::bail!("packets cannot be dropped on loopback") };
        let rules = if on {
            "table inet stage {\n\
             chain in { type filter hook input priority -300; policy accept; iifname \"eth0\" drop; }\n\
             chain out { type filter hook output priority -300; policy accept; oifname \"eth0\" drop; }\n}\n"
        } else {
            "delete table inet stage\n"
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace(*slot, place), "nft", "-f", "-"]);
        feed(command, rules)
    }
}

fn namespace(slot: u8, place: &str) -> String {
    format!("tg{slot}-{place}")
}

fn build(slot: &Slot, places: &[String]) -> anyhow::Result<()> {
    let n = slot.number;
    let bridge = namespace(n, "bridge");
    slot.namespace(&bridge);
    batch(None, &[format!("netns add {bridge}")])?;
    batch(Some(&bridge), &["link add br0 type bridge".into(), "link set br0 up".into(), "link set lo up".into()])?;
    for (i, place) in places.iter().enumerate() {
        let own = namespace(n, place);
        slot.namespace(&own);
        batch(None, &[format!("netns add {own}")])?;
        let port = format!("port{i}");
        batch(
            Some(&bridge),
            &[
                format!("link add {port} type veth peer name eth0 netns {own}"),
                format!("link set {port} master br0"),
                format!("link set {port} up"),
            ],
        )?;
        batch(Some(&own), &["link set lo up".into(), "link set eth0 up".into()])?;
    }
    // The stage itself, and a person with a terminal, look in from here.
    let here = format!("tg{n}-host");
    slot.link(&here);
    batch(
        None,
        &[
            format!("link add {here} type veth peer name host netns {bridge}"),
            format!("addr add 198.18.{n}.1/24 dev {here}"),
            format!("link set {here} up"),
        ],
    )?;
    batch(Some(&bridge), &["link set host master br0".into(), "link set host up".into()])
}

fn batch(namespace: Option<&str>, lines: &[String]) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    if let Some(name) = namespace {
        command.args(["-n", name]);
    }
    command.args(["-batch", "-"]);
    feed(command, &(lines.join("\n") + "\n"))
}

fn feed(mut command: Command, text: &str) -> anyhow::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "{}: {}", text.lines().next().unwrap_or(""), words.trim());
    Ok(())
}

/// The absolute path of a program on PATH.
pub(crate) fn on_path(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p: &std::path::PathBuf| is_program(p))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}
