//! Command lines of the other programs, in one place. Owns their flags; refuses to know what they do.

use crate::network::on_path;
use crate::process::Recipe;
use crate::raw::Count;
use crate::topology::{OUTSIDE, Proxy, Topology, Vantage};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where programs and files of a run are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Working directory of the run: short, for sockets have short names.
    pub work: PathBuf,
    /// Directory of the built programs.
    pub bin: PathBuf,
}

impl Paths {
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let beside = self.bin.join(name);
        if beside.is_file() {
            return Ok(beside);
        }
        let found = on_path(name);
        found
            .ok_or_else(|| anyhow::anyhow!("`{name}` is neither in {} nor on PATH: build it first", self.bin.display()))
    }
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.work.join("logs").join(format!("{}.log", name.replace(['/', ' '], "-")))
    }
}

fn recipe(paths: &Paths, name: &str, place: &str, program: PathBuf, args: &[(&str, String)]) -> Recipe {
    Recipe {
        name: name.to_owned(),
        place: place.to_owned(),
        program,
        args: args.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect(),
        env: vec![("NO_COLOR".to_owned(), "1".to_owned())],
        log: paths.log(name),
    }
}

/// Files of secrets, written once per run.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    /// Token of an operator, in clear.
    pub token: String,
    /// File that holds it, for people.
    pub token_file: PathBuf,
    /// The server's file of tokens.
    pub tokens: PathBuf,
    /// Gossip keyring.
    pub keyring: PathBuf,
}

/// `xds-server`.
pub(crate) fn server(paths: &Paths, topology: &Topology, secrets: &Secrets) -> anyhow::Result<Recipe> {
    let args = [
        ("--config", paths.file("fleet").display().to_string()),
        ("--store", paths.file("store").display().to_string()),
        ("--tokens", secrets.tokens.display().to_string()),
        ("--keyring", secrets.keyring.display().to_string()),
        ("--api", topology.api.to_string()),
        ("--xds", topology.ads.to_string()),
        ("--gossip", format!("{}:7946", topology.api.ip())),
        ("--name", "server-1".to_owned()),
    ];
    let mut recipe = recipe(paths, "server", OUTSIDE, paths.program("xds-server")?, &args);
    recipe.args.push("--insecure-plaintext".to_owned());
    Ok(recipe)
}

/// `health-prober`.
pub(crate) fn prober(paths: &Paths, topology: &Topology, secrets: &Secrets, v: &Vantage) -> anyhow::Result<Recipe> {
    let args = [
        ("--name", v.name.clone()),
        ("--gossip", v.gossip.to_string()),
        ("--metrics", v.metrics().to_string()),
        ("--server", format!("http://{}", topology.ads)),
        ("--keyring", secrets.keyring.display().to_string()),
        ("--state-dir", paths.file(&format!("prober-{}", v.name)).display().to_string()),
    ];
    let mut recipe = recipe(paths, &format!("prober {}", v.name), &v.place, paths.program("health-prober")?, &args);
    recipe.args.push("--insecure-plaintext".to_owned());
    Ok(recipe)
}

/// `edge-proxy`.
pub(crate) fn edge(paths: &Paths, topology: &Topology, proxy: &Proxy) -> anyhow::Result<Recipe> {
    let args = [
        ("--node", proxy.name.clone()),
        ("--group", proxy.group.clone()),
        ("--server", format!("http://{}", topology.ads)),
        ("--state-dir", paths.file(&format!("state-{}", proxy.name)).display().to_string()),
        ("--admin", proxy.admin.to_string()),
        ("--listen-override", format!("{}={}", topology.listener, proxy.address)),
        ("--drain-grace", "2s".to_owned()),
    ];
    let mut recipe = recipe(paths, &proxy.name, &proxy.name, paths.program("edge-proxy")?, &args);
    recipe.args.push("--insecure-plaintext".to_owned());
    Ok(recipe)
}

/// The words that write the steered Envoy's bootstrap.
pub(crate) fn bootstrap(topology: &Topology, proxy: &Proxy) -> Vec<String> {
    let mut words: Vec<String> = ["bootstrap", "envoy"].map(str::to_owned).to_vec();
    for (flag, value) in [
        ("--node", proxy.name.clone()),
        ("--group", proxy.group.clone()),
        ("--xds", topology.ads.to_string()),
        ("--admin", proxy.admin.to_string()),
    ] {
        words.extend([flag.to_owned(), value]);
    }
    words.push("--insecure-plaintext".to_owned());
    words
}

/// Writes a keyring and tokens for one run.
pub(crate) fn secrets(paths: &Paths) -> anyhow::Result<Secrets> {
    let token = crate::random_hex(32);
    let secrets = Secrets {
        token_file: paths.file("token"),
        tokens: paths.file("tokens"),
        keyring: paths.file("gossip.key"),
        token,
    };
    private(&secrets.token_file, &format!("{}\n", secrets.token))?;
    // Subject, role, end (`-`: none), SHA-256 of the token.
    let hash = crate::sha256_hex(secrets.token.as_bytes());
    private(&secrets.tokens, &format!("demo admin - {hash}\n"))?;
    private(&secrets.keyring, &format!("{}\n", crate::random_hex(32)))?;
    Ok(secrets)
}

/// Writes a file that only its owner reads.
pub(crate) fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// Counted when a try begins: nothing of it comes later.
const EDGE_TRIES: &str = "tidegate_edge_upstream_tries_total{";

/// Tries per provider out of an edge's metrics.
pub(crate) fn edge_tries(metrics: &str, topology: &Topology) -> BTreeMap<String, Count> {
    let mut sums: BTreeMap<String, Count> = topology.providers().into_iter().map(|p| (p, Count::default())).collect();
    for line in metrics.lines().filter(|l| l.starts_with(EDGE_TRIES)) {
        let (Some((_, value)), Some(region)) = (line.rsplit_once(' '), label(line, "region")) else { continue };
        let provider = region.split('/').next().unwrap_or("");
        if let (Some(sum), Ok(n)) = (sums.get_mut(provider), value.parse::<u64>()) {
            (sum.tries, sum.begun) = (sum.tries + n, sum.begun + n);
        }
    }
    sums
}

fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let from = line.find(&format!("{name}=\""))? + name.len() + 2;
    line[from..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_of_an_edge_are_summed_by_provider() {
        let topology = crate::topology::tests::topology();
        let text = "# HELP x\ntidegate_edge_upstream_tries_total{class=\"payroll/eu\",region=\"aws/eu-central-1\"} 7\n\
                    tidegate_edge_upstream_tries_total{class=\"payroll/us\",region=\"aws/us-east-1\"} 3\n\
                    tidegate_edge_upstream_failures_total{class=\"payroll/us\",region=\"aws/us-east-1\"} 2\nother 9\n";
        assert_eq!(edge_tries(text, &topology)["aws"], Count { tries: 10, begun: 10 });
    }
}
