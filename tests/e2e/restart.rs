//! kill -9 at any time: the store holds what was published, the edges go on, the probers too.

use anyhow::{Result, ensure};
use tidegate_e2e::stand::PATIENCE;
use tidegate_e2e::{Stand, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_comes_back_with_what_it_had_published() -> Result<()> {
    let mut stand = Stand::start().await?;
    let envoy = stand.envoy().await?;
    stand.tidegate(&["automation", "pause", "--only", "economic", "--reason", "practice"])?;
    stand.tidegate(&["drain", "one", "--reason", "practice", "--wait", "--grace", "100ms", "--timeout", "30s"])?;
    let before = stand.splits().await?;
    stand.server.kill_nine()?;
    if envoy.is_some() {
        for _ in 0..20 {
            let (status, place) = stand.request("eu").await?;
            ensure!(status == 200 && place == "two/b", "without a server: {status} {place}");
        }
    }
    stand.restart_server()?;
    until("the server is back with the plan", PATIENCE, || async {
        let after = stand.splits().await?;
        ensure!(after.generation >= before.generation, "an older generation: {}", after.generation);
        ensure!(after.splits == before.splits, "{after:?}");
        let status = stand.status().await?;
        ensure!(status.vantages_eligible == 4, "{status:?}");
        ensure!(!status.automation_economic.on && status.drains.len() == 1, "intents are lost: {status:?}");
        ensure!(status.term == 2, "{}", status.term);
        Ok(())
    })
    .await?;
    if envoy.is_some() {
        until("the Envoy is back", PATIENCE, || async {
            let status = stand.status().await?;
            ensure!(status.edges == 1 && status.edges_acked == 1, "{status:?}");
            Ok(())
        })
        .await?;
    }
    ensure!(stand.cli(&["audit"])?.status.success(), "the journal's chain must hold over the kill");
    ensure!(stand.tidegate(&["replay", "all"])?.lines().all(|l| l.starts_with("+ ok")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_prober_changes_no_verdict() -> Result<()> {
    let mut stand = Stand::start().await?;
    let before = stand.splits().await?;
    stand.probers[2].kill_nine()?;
    until("its vote is gone", PATIENCE, || async {
        let status = stand.status().await?;
        ensure!(status.vantages_eligible == 3, "{status:?}");
        Ok(())
    })
    .await?;
    let after = stand.splits().await?;
    ensure!(before == after, "{after:?}");
    ensure!(stand.status().await?.unwell.is_empty());
    Ok(())
}
