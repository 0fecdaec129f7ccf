//! Where things stand: a namespace per site, joined by a bridge or by a relay that makes links late, or loopback
//! addresses where namespaces are refused.
//!
//! Owns addresses, namespaces and the rule that drops packets; refuses to know what runs in a site.

use crate::ledger::Slot;
use crate::relay::{Delays, Relay, Wire};
use anyhow::Context;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A namespace to be: its name (`aws`, or `aws/us-east-1` where links are late) and the last numbers of its addresses.
pub(crate) type Site = (String, Vec<u8>);

/// How sites are to be joined.
#[derive(Debug)]
pub(crate) enum Joined {
    /// Not at all: loopback addresses.
    Loopback,
    /// By a bridge: nothing is late, nothing is lost.
    Bridge,
    /// By a relay. Sites are numbered in their order; `loss_bps` of 10,000 UDP packets are lost.
    Relay { delays: Delays, loss_bps: u32, seed: u64 },
}

/// How sites are told apart.
#[derive(Debug)]
pub(crate) enum Network {
    /// `ip netns`, and veth pairs with a bridge in a namespace of its own, or TUN devices with a relay.
    /// 198.18.SLOT.0/24 (RFC 2544: never routed).
    Namespaces { slot: u8, sites: Vec<String>, relay: Option<Relay> },
    /// 127.18.SLOT.0/24. Packets cannot be dropped here.
    Loopback { slot: u8 },
}

impl Network {
    /// Builds namespaces for `sites` if the machine allows it, else answers loopback and why. Late links have no
    /// stand-in: without root they are an error.
    pub(crate) fn open(slot: &Slot, sites: &[Site], joined: Joined) -> anyhow::Result<(Self, Option<String>)> {
        let number = slot.number;
        let root = nix::unistd::geteuid().is_root();
        let loopback = |why: String| Ok((Self::Loopback { slot: number }, Some(why)));
        let names = || sites.iter().map(|s| s.0.clone()).collect();
        match joined {
            Joined::Loopback => loopback("asked for".to_owned()),
            Joined::Bridge if !root => loopback("namespaces need root".to_owned()),
            Joined::Bridge => match bridge(slot, sites) {
                Ok(()) => Ok((Self::Namespaces { slot: number, sites: names(), relay: None }, None)),
                Err(e) => loopback(e.to_string()),
            },
            Joined::Relay { .. } if !root => anyhow::bail!("late or lossy links need namespaces, and these need root"),
            Joined::Relay { delays, loss_bps, seed } => {
                let relay = far(slot, sites, delays, seed).context("late links cannot be made")?;
                relay.set_loss(loss_bps);
                Ok((Self::Namespaces { slot: number, sites: names(), relay: Some(relay) }, None))
            }
        }
    }
    /// As the JSON says it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Namespaces { relay: None, .. } => "namespaces",
            Self::Namespaces { relay: Some(_), .. } => "namespaces with late links",
            Self::Loopback { .. } => "loopback",
        }
    }
    /// The relay, where links are late.
    pub(crate) fn relay(&self) -> Option<&Relay> {
        match self {
            Self::Namespaces { relay, .. } => relay.as_ref(),
            Self::Loopback { .. } => None,
        }
    }
    /// The address with this last number.
    pub(crate) fn address(&self, last: u8) -> Ipv4Addr {
        match self {
            Self::Namespaces { slot, .. } => outer(*slot, last),
            Self::Loopback { slot } => Ipv4Addr::new(127, 18, *slot, last),
        }
    }
    /// Gives `site` the address. Nothing to do on loopback: all of 127/8 is there.
    pub(crate) fn give(&self, site: &str, lasts: &[u8]) -> anyhow::Result<()> {
        let Self::Namespaces { slot, .. } = self else { return Ok(()) };
        let lines: Vec<String> = lasts.iter().map(|l| format!("addr add {}/24 dev eth0", self.address(*l))).collect();
        batch(Some(&namespace(*slot, site)), &lines)
    }
    /// The words before a program's own that make it run at `site`.
    pub(crate) fn prefix(&self, site: &str) -> Vec<String> {
        match self {
            Self::Namespaces { slot, .. } => {
                ["ip", "netns", "exec", &namespace(*slot, site)].map(str::to_owned).to_vec()
            }
            Self::Loopback { .. } => Vec::new(),
        }
    }
    /// Drops every packet that enters or leaves a site of `place`, or lets them pass again. What talks within a site
    /// goes on; where each region is a site, a silent provider's regions do not hear each other either.
    pub(crate) fn drop_packets(&self, place: &str, on: bool) -> anyhow::Result<()> {
        let Self::Namespaces { slot, sites, .. } = self else { anyhow::bail!("packets cannot be dropped on loopback") };
        let rules = if on {
            "table inet stage {\n\
             chain in { type filter hook input priority -300; policy accept; iifname \"eth0\" drop; }\n\
             chain out { type filter hook output priority -300; policy accept; oifname \"eth0\" drop; }\n}\n"
        } else {
            "delete table inet stage\n"
        };
        for site in sites.iter().filter(|s| stands_at(s, place)) {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &namespace(*slot, site), "nft", "-f", "-"]);
            feed(command, rules)?;
        }
        Ok(())
    }
}

/// Whether `site` is `place` or a region of it.
pub(crate) fn stands_at(site: &str, place: &str) -> bool {
    site.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn outer(slot: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, slot, last)
}

fn namespace(slot: u8, site: &str) -> String {
    format!("tg{slot}-{}", site.replace('/', "-"))
}

/// Makes the namespace of a site; it is on record before it is there.
fn space(slot: &Slot, site: &str) -> anyhow::Result<String> {
    let own = namespace(slot.number, site);
    slot.namespace(&own);
    batch(None, &[format!("netns add {own}")])?;
    Ok(own)
}

fn bridge(slot: &Slot, sites: &[Site]) -> anyhow::Result<()> {
    let n = slot.number;
    let bridge = space(slot, "bridge")?;
    batch(Some(&bridge), &["link add br0 type bridge".into(), "link set br0 up".into(), "link set lo up".into()])?;
    for (i, (site, _)) in sites.iter().enumerate() {
        let own = space(slot, site)?;
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
            format!("addr add {}/24 dev {here}", outer(n, HOST)),
            format!("link set {here} up"),
        ],
    )?;
    batch(Some(&bridge), &["link set host master br0".into(), "link set host up".into()])
}

/// Last number of the stage's own address.
const HOST: u8 = 1;

/// The stage itself is the last site: nothing is late to it.
fn far(slot: &Slot, sites: &[Site], delays: Delays, seed: u64) -> anyhow::Result<Relay> {
    let n = slot.number;
    let here = format!("tg{n}-host");
    let wire = |(i, (_, lasts)): (usize, &Site)| Wire {
        device: format!("tg{n}r{i}"),
        addresses: lasts.iter().map(|l| outer(n, *l)).collect(),
    };
    let mut wires: Vec<Wire> = sites.iter().enumerate().map(wire).collect();
    wires.push(Wire { device: here.clone(), addresses: vec![outer(n, HOST)] });
    // The devices go with the descriptors that the relay holds.
    let relay = Relay::open(&wires, delays, seed)?;
    for ((site, _), wire) in sites.iter().zip(&wires) {
        let own = space(slot, site)?;
        let device = &wire.device;
        batch(None, &[format!("link set {device} netns {own}")])?;
        batch(
            Some(&own),
            &["link set lo up".into(), format!("link set {device} name eth0"), "link set eth0 up".into()],
        )?;
    }
    batch(None, &[format!("addr add {}/24 dev {here}", outer(n, HOST)), format!("link set {here} up")])?;
    Ok(relay)
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
