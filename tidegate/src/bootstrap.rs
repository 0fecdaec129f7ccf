//! A bootstrap for a real Envoy, on stdout.

use crate::args::BootstrapEnvoy;
use crate::failure::Failure;
use tidegate_translate::bootstrap::{HostPort, Params, Source, envoy as document};

pub(crate) fn envoy(wish: &BootstrapEnvoy) -> Result<u8, Failure> {
    let source = match &wish.static_dir {
        Some(dir) => {
            let whole = std::path::absolute(dir).map_err(|e| Failure::usage(format!("--static {}: {e}", dir.display()), ""))?;
            Source::Files(whole.display().to_string())
        }
        None if wish.xds.is_empty() || wish.xds.len() > 2 => {
            return Err(Failure::usage(format!("{} servers are named", wish.xds.len()), "name one or two with --xds host:port"));
        }
        None => {
            let servers = wish.xds.iter().map(|s| host_port("--xds", s)).collect::<Result<_, _>>()?;
            Source::Servers { servers, tls: None }
        }
    };
    let params = Params {
        node_id: wish.node.clone(),
        node_cluster: wish.group.clone(),
        group: wish.group.clone(),
        admin: host_port("--admin", &wish.admin)?,
        source,
    };
    let text = serde_json::to_string_pretty(&document(&params)).map_err(|e| Failure::new(format!("no JSON: {e}"), ""))?;
    println!("{text}");
    Ok(0)
}

fn host_port(flag: &str, text: &str) -> Result<HostPort, Failure> {
    let bad = || Failure::usage(format!("{flag} `{text}` is no host:port"), "write it as in 10.0.0.1:8401");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() { Err(bad()) } else { Ok(HostPort { host, port }) }
}
