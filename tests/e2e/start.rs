//! What keeps a server from starting, and what does not.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use std::fs;
use std::net::SocketAddr;
use tidegate_e2e::stand::{HOME, PATIENCE, free};
use tidegate_e2e::{Stand, until};

async fn stop(stand: &mut Stand) -> Result<()> {
    stand.server.signal(Signal::SIGTERM)?;
    let ended = stand.server.end(PATIENCE).await?;
    ensure!(ended.success(), "{ended}: {}", stand.server.printed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_store_is_refused_with_its_name_and_the_mend() -> Result<()> {
    let mut stand = Stand::start().await?;
    let before = stand.splits().await?;
    stop(&mut stand).await?;
    let file = stand.store().join("store.redb");
    let whole = fs::read(&file)?;
    ensure!(whole.len() > 8_192, "{} bytes", whole.len());
    for len in [0, 100, whole.len() / 2, whole.len() - 4_096] {
        fs::write(&file, &whole[..len])?;
        let already = stand.server.printed().len();
        stand.restart_server()?;
        let ended = stand.server.end(PATIENCE).await?;
        let printed = stand.server.printed();
        let said = &printed[already..];
        ensure!(!ended.success(), "cut to {len} of {} bytes it ended well: {said}", whole.len());
        ensure!(said.contains(&file.display().to_string()), "cut to {len}: the file is not named: {said}");
        ensure!(said.contains("bring back a copy"), "cut to {len}: no mend: {said}");
        ensure!(fs::read(&file)?.len() == len, "cut to {len}: it wrote into a damaged file");
    }
    fs::write(&file, &whole)?;
    stand.restart_server()?;
    until("the copy serves", PATIENCE, || async {
        let after = stand.splits().await?;
        ensure!(after.splits == before.splits, "{after:?}");
        Ok(())
    })
    .await?;
    stand.records_hold()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_with_what_it_is_for() -> Result<()> {
    let stand = Stand::start().await?;
    let taken = [("API", stand.api), ("xDS", stand.xds), ("gossip", stand.gossip)];
    for (i, (what, address)) in taken.into_iter().enumerate() {
        let mut addresses = [SocketAddr::from((HOME, 0)); 3];
        for free_one in &mut addresses {
            *free_one = free(HOME)?;
        }
        addresses[i] = address;
        let mut other = stand.other_server(&format!("store-{what}"), addresses)?;
        let ended = other.end(PATIENCE).await.with_context(|| format!("with the {what} port taken"))?;
        let printed = other.printed();
        let wanted = format!("{what} port {address} cannot be had");
        ensure!(!ended.success() && printed.contains(&wanted), "{what}: {ended}: {printed}");
    }
    ensure!(stand.status().await?.summary == "ok", "the first goes on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prober_names_the_port_that_it_cannot_have() -> Result<()> {
    let mut stand = Stand::start().await?;
    stand.probers[0].kill_nine()?;
    let at = stand.at.gossip[0];
    let held = std::net::UdpSocket::bind(at)?;
    stand.restart_prober(0)?;
    let ended = stand.probers[0].end(PATIENCE).await?;
    let said = stand.probers[0].printed();
    ensure!(!ended.success() && said.contains(&at.to_string()), "gossip: {ended}: {said}");
    drop(held);
    let metrics = stand.prober_metrics[0];
    let held = std::net::TcpListener::bind(metrics)?;
    stand.restart_prober(0)?;
    let ended = stand.probers[0].end(PATIENCE).await?;
    let said = stand.probers[0].printed();
    ensure!(!ended.success() && said.contains(&metrics.to_string()), "metrics: {ended}: {said}");
    drop(held);
    stand.restart_prober(0)?;
    stand.whole().await
}

const NO_REGO: &str =
    "---\napiVersion: tidegate/v1\nkind: Policy\nname: broken\nspec:\n  files: [policy/broken.rego]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_configuration_at_a_restart_leaves_the_fleet_that_stood() -> Result<()> {
    let mut stand = Stand::start().await?;
    let (fleet, before) = (stand.status().await?.fleet, stand.splits().await?);
    let path = stand.file("fleet/service.yaml");
    let good = fs::read_to_string(&path)?;
    fs::create_dir_all(stand.file("fleet/policy"))?;
    let dir = stand.file("fleet").display().to_string();
    let faults =
        [(good.replace("permitted: [DE, NL]", "permited: [DE, NL]"), "permited"), (format!("{good}{NO_REGO}"), &*dir)];
    for (broken, word) in faults {
        stop(&mut stand).await?;
        fs::write(&path, broken)?;
        if word == dir {
            fs::write(stand.file("fleet/policy/broken.rego"), "package tidegate.residency\n\ndecision := {")?;
        }
        let already = stand.server.printed().len();
        stand.restart_server()?;
        until("the server serves what stood", PATIENCE, || async {
            let status = stand.status().await?;
            ensure!(status.fleet == fleet, "another fleet: {}", status.fleet);
            ensure!(stand.splits().await?.splits == before.splits);
            ensure!(status.vantages_eligible == 4, "{status:?}");
            Ok(())
        })
        .await
        .with_context(|| stand.server.printed()[already..].to_owned())?;
        let printed = stand.server.printed();
        let said = &printed[already..];
        ensure!(said.contains("the one that stood goes on") && said.contains(word), "{said}");
    }
    stand.records_hold()
}
