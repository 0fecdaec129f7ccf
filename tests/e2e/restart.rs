//! kill -9 at any time: the store holds what was published, the edges go on, the probers too.

use anyhow::{Result, ensure};
use tidegate_e2e::parts::answers;
use tidegate_e2e::stand::{PATIENCE, client};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_restarted_without_any_server_serves_from_its_disk() -> Result<()> {
    let mut stand = Stand::start().await?;
    let mut edge = stand.edge().await?;
    stand.tidegate(&["drain", "one", "--reason", "practice", "--wait", "--grace", "100ms", "--timeout", "30s"])?;
    let before = stand.splits().await?;
    stand.server.kill_nine()?;
    edge.process.kill_nine()?;
    edge.restart()?;
    answers(edge.listener).await?;
    let ask = client()?;
    let place = async || -> Result<String> {
        let request =
            ask.get(format!("http://{}/x", edge.listener)).header("host", "shop.test").header("x-class", "eu");
        Ok(request.send().await?.error_for_status()?.text().await?)
    };
    for _ in 0..50 {
        ensure!(place().await? == "two/b", "the drained place got a request from an edge that started from its disk");
    }
    // One of the two hosts dies with nobody to say so: the edge finds another by itself.
    stand.two.pop();
    for _ in 0..50 {
        ensure!(place().await? == "two/b");
    }
    stand.restart_server()?;
    until("the edge holds what the server publishes, and that is not older", PATIENCE, || async {
        ensure!(place().await? == "two/b", "an older snapshot was sent");
        let status = stand.status().await?;
        ensure!(status.edges == 1 && status.edges_acked == 1 && status.generation >= before.generation, "{status:?}");
        Ok(())
    })
    .await?;
    stand.records_hold()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prober_restarted_without_any_server_probes_by_its_kept_list() -> Result<()> {
    let mut stand = Stand::start().await?;
    stand.server.kill_nine()?;
    stand.probers[2].kill_nine()?;
    stand.restart_prober(2)?;
    let url = format!("http://{}/metrics", stand.prober_metrics[2]);
    let ask = client()?;
    until("it probes all endpoints", PATIENCE, || async {
        let page = ask.get(&url).send().await?.text().await?;
        for state in ["unseen", "failing"] {
            ensure!(page.contains(&format!("tidegate_prober_targets{{state=\"{state}\"}} 0")), "{page}");
        }
        Ok(())
    })
    .await?;
    // What happens while no server lives is known as soon as one does.
    stand.one.clear();
    stand.restart_server()?;
    until("the outage is known and the traffic gone", PATIENCE, || async {
        ensure!(stand.share("one/a").await? == 0);
        ensure!(stand.verdict("region", "one/a").await? == "down");
        Ok(())
    })
    .await?;
    stand.records_hold()
}
