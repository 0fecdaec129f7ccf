//! A bootstrap for a real Envoy, on stdout; with `--static`, the last good resources as files beside it.

use crate::args::BootstrapEnvoy;
use crate::failure::{Failure, TIMED_OUT};
use crate::ui::out;
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tidegate_domain::GroupIx;
use tidegate_translate::GroupResources;
use tidegate_translate::bootstrap::{HostPort, Params, Source, envoy as document, files};
use tidegate_xds::TypeUrl;
use tidegate_xds::client::{AdsClient, ClientConfig, ClientEvent, NodeIdentity};

/// Patience for the resources of one group.
const PULL: Duration = Duration::from_secs(10);

pub(crate) async fn envoy(wish: &BootstrapEnvoy) -> Result<u8, Failure> {
    if wish.xds.is_empty() || wish.xds.len() > 2 {
        return Err(Failure::usage(
            format!("{} servers are named", wish.xds.len()),
            "name one or two with --xds host:port",
        ));
    }
    let servers = wish.xds.iter().map(|s| host_port("--xds", s)).collect::<Result<Vec<_>, _>>()?;
    if let Some(far) = servers.iter().find(|s| !on_this_machine(&s.host)).filter(|_| !wish.insecure_plaintext) {
        return Err(Failure::usage(
            format!("--xds {}:{}: not on this machine, and Envoy would speak plain text to it", far.host, far.port),
            "name the near end of a tunnel, or say --insecure-plaintext where the network itself is trusted",
        ));
    }
    if servers.len() == 1 && wish.static_dir.is_none() {
        eprintln!(
            "tidegate: only one server is named: an Envoy that restarts while it is away serves nothing; name two with --xds"
        );
    }
    let source = match &wish.static_dir {
        Some(dir) => {
            let whole =
                std::path::absolute(dir).map_err(|e| Failure::usage(format!("--static {}: {e}", dir.display()), ""))?;
            write(&whole, &pull(wish).await?)?;
            Source::Files(whole.display().to_string())
        }
        None => Source::Servers { servers, tls: None },
    };
    let params = Params {
        node_id: wish.node.clone(),
        node_cluster: wish.group.clone(),
        group: wish.group.clone(),
        admin: host_port("--admin", &wish.admin)?,
        source,
    };
    let text =
        serde_json::to_string_pretty(&document(&params)).map_err(|e| Failure::new(format!("no JSON: {e}"), ""))?;
    out!("{text}");
    Ok(0)
}

fn host_port(flag: &str, text: &str) -> Result<HostPort, Failure> {
    let bad = || Failure::usage(format!("{flag} `{text}` is no host:port"), "write it as in 10.0.0.1:8401");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() { Err(bad()) } else { Ok(HostPort { host, port }) }
}

fn on_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What the group's Envoys are served now, asked for as one of them would.
async fn pull(wish: &BootstrapEnvoy) -> Result<GroupResources, Failure> {
    let failed = |e: &dyn std::fmt::Display| {
        Failure::new(
            format!("the resources could not be pulled: {e}"),
            "is the server up, and --group one of its client groups?",
        )
    };
    let node = NodeIdentity {
        id: format!("{}-files", wish.node),
        cluster: wish.group.clone(),
        region: wish.group.clone(),
        user_agent: "tidegate".to_owned(),
        user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..NodeIdentity::default()
    };
    let servers = wish.xds.iter().map(|s| format!("http://{s}")).collect();
    let everything = || vec!["*".to_owned()];
    let mut config = ClientConfig::new(servers, node);
    config.subscriptions = vec![(TypeUrl::Cds, everything()), (TypeUrl::Lds, everything())];
    let (client, mut events, task) = AdsClient::spawn(config).map_err(|e| failed(&e))?;
    let mut held: BTreeMap<TypeUrl, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    let mut last = "no server has answered yet".to_owned();
    let pulled = tokio::time::timeout(PULL, async {
        while let Some(event) = events.recv().await {
            let update = match event {
                ClientEvent::Update(update) => update,
                ClientEvent::Disconnected { server, reason } => {
                    last = format!("{server}: {reason}");
                    continue;
                }
                ClientEvent::Connected { .. } => continue,
            };
            let kind = update.token.type_url;
            let names: Vec<String> = update.added.iter().map(|a| a.name.clone()).collect();
            held.entry(kind).or_default().extend(update.added.into_iter().map(|a| (a.name, a.value.to_vec())));
            client.ack(&update.token).await.map_err(|e| failed(&e))?;
            match kind {
                TypeUrl::Cds => client.subscribe(TypeUrl::Eds, names).await.map_err(|e| failed(&e))?,
                TypeUrl::Lds => client.subscribe(TypeUrl::Rds, names).await.map_err(|e| failed(&e))?,
                TypeUrl::Eds | TypeUrl::Rds => {}
            }
            if whole(&held) {
                return Ok(());
            }
        }
        Err(failed(&"the stream ended"))
    });
    let outcome = pulled.await;
    drop(client);
    task.abort();
    outcome.map_err(|_| failed(&last).with_code(TIMED_OUT))??;
    decode(&held).map_err(|e| failed(&e))
}

/// Every cluster has its endpoints, every listener its routes.
fn whole(held: &BTreeMap<TypeUrl, BTreeMap<String, Vec<u8>>>) -> bool {
    let covered = |of: TypeUrl, by: TypeUrl| {
        held.get(&of).is_some_and(|of| held.get(&by).is_some_and(|by| of.keys().all(|name| by.contains_key(name))))
    };
    covered(TypeUrl::Cds, TypeUrl::Eds) && covered(TypeUrl::Lds, TypeUrl::Rds)
}

fn decode(held: &BTreeMap<TypeUrl, BTreeMap<String, Vec<u8>>>) -> Result<GroupResources, prost::DecodeError> {
    fn of<M: Message + Default>(
        held: &BTreeMap<TypeUrl, BTreeMap<String, Vec<u8>>>,
        kind: TypeUrl,
    ) -> Result<Vec<(String, M)>, prost::DecodeError> {
        held.get(&kind)
            .into_iter()
            .flatten()
            .map(|(name, bytes)| Ok((name.clone(), M::decode(bytes.as_slice())?)))
            .collect()
    }
    Ok(GroupResources {
        // The files speak in names; the index means nothing outside the server.
        group: GroupIx(0),
        clusters: of(held, TypeUrl::Cds)?,
        endpoints: of(held, TypeUrl::Eds)?,
        listeners: of(held, TypeUrl::Lds)?,
        routes: of(held, TypeUrl::Rds)?,
    })
}

/// Each file whole or not at all: written aside, then renamed, which is also what Envoy watches for.
fn write(dir: &Path, resources: &GroupResources) -> Result<(), Failure> {
    let failed = |path: &Path, e: std::io::Error| {
        Failure::new(format!("{}: {e}", path.display()), "name a directory that can be written")
    };
    std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    for (name, bytes) in files(resources) {
        let (part, path) = (dir.join(format!("{name}.part")), dir.join(name));
        std::fs::write(&part, &bytes).map_err(|e| failed(&part, e))?;
        std::fs::rename(&part, &path).map_err(|e| failed(&path, e))?;
        eprintln!("{}: {} bytes", path.display(), bytes.len());
    }
    Ok(())
}
