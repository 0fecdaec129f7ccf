//! A full disk under the store: the server goes on, a wish is refused, an outage still moves the traffic.

use anyhow::{Context, Result, ensure};
use std::fs;
use tidegate_e2e::parts::SmallDisk;
use tidegate_e2e::stand::PATIENCE;
use tidegate_e2e::{Backend, Stand, until};

const MEBIBYTE: u64 = 1024 * 1024;

/// Writes until the store says that it is full: redb has some room inside its file.
async fn until_refused(stand: &Stand) -> Result<()> {
    let path = stand.file("fleet/service.yaml");
    let good = fs::read_to_string(&path)?;
    let filler = "0123456789abcdef".repeat(256);
    let round = std::cell::Cell::new(0_u64);
    until("a write is refused", PATIENCE, || async {
        round.set(round.get() + 1);
        // Another demand and text that no earlier revision had, so that nothing is stored once for both.
        let n = round.get();
        let demand = format!("edge-de: {} rps", 100 + n % 2);
        let comment: String = (0..48).map(|line| format!("# {n} {line} {filler}\n")).collect();
        fs::write(&path, good.replace("edge-de: 100 rps", &demand) + &comment)?;
        let out = stand.cli(&["config", "reload", "--reason", "growing"])?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(!out.status.success(), "it still fits");
        ensure!(said.contains("TG-3001"), "refused for another reason: {said}");
        Ok(())
    })
    .await?;
    Ok(fs::write(&path, good)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_wishes_and_still_records_an_outage() -> Result<()> {
    let disk_dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(disk_dir.path(), 48)? else { return Ok(()) };
    let mut stand = Stand::on_store(&disk_dir.path().join("store")).await?;
    let envoy = stand.envoy().await?;
    let full = disk.fill("others-1", u64::MAX)?;
    until_refused(&stand).await?;
    // Others take a part of the room that the reserve has left, so that the store cannot think that all is well again.
    let more = disk.fill("others-2", 8 * MEBIBYTE)?;
    eprintln!("{} and then {} KiB were taken by others", full / 1024, more / 1024);
    let out = stand.cli(&["drain", "one", "--reason", "on a full disk"])?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.code() == Some(1) && said.contains("TG-3001") && said.contains("free space"), "{said}");
    let status = stand.status().await?;
    ensure!(status.drains.is_empty() && status.store.starts_with("FULL"), "{status:?}");
    if envoy.is_some() {
        ensure!(stand.request("eu").await?.0 == 200, "it serves no more");
    }
    let before = status.generation;
    let dead: Vec<_> = stand.one.iter().map(|b| b.address).collect();
    stand.one.clear();
    until("an outage moves the traffic all the same", PATIENCE, || async {
        let status = stand.status().await?;
        ensure!(stand.share("one/a").await? == 0 && status.generation > before, "{status:?}");
        ensure!(status.edges_acked == status.edges, "{status:?}");
        ensure!(status.store.starts_with("FULL"), "a full disk must not look well: {}", status.store);
        Ok(())
    })
    .await?;
    disk.free("others-1")?;
    disk.free("others-2")?;
    until("the store is well again", PATIENCE, || async {
        let status = stand.status().await?;
        ensure!(status.store == "ok", "{}", status.store);
        Ok(())
    })
    .await?;
    for address in dead {
        stand.one.push(Backend::start("one/a", address).await.context("the backend's address")?);
    }
    stand.whole().await?;
    stand.tidegate(&["drain", "one", "--reason", "there is room"])?;
    ensure!(stand.status().await?.drains.len() == 1);
    stand.records_hold()
}
