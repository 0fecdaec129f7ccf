//! Who may say that a place is down: the dead take nobody along, one liar moves nothing, silence counts as death.

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tidegate_e2e::stand::PATIENCE;
use tidegate_e2e::{Backend, Stand, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_minority_of_probers_hides_no_dead_cloud_and_harms_no_living_one() -> Result<()> {
    let mut stand = Stand::wide().await?;
    ensure!(stand.share("one/a").await? > 0 && stand.share("two/b").await? > 0);
    // The cloud dies with its own two probers, and two more die elsewhere: four of eight are left.
    stand.one.clear();
    for i in [0, 1, 3] {
        stand.probers[i].kill_nine()?;
    }
    until("the verdict comes", PATIENCE, || async {
        ensure!(stand.verdict("provider", "one").await? == "down");
        ensure!(stand.share("one/a").await? == 0);
        Ok(())
    })
    .await?;
    stand.probers[7].kill_nine()?;
    until("four votes are left", PATIENCE, || async {
        let status = stand.status().await?;
        ensure!(status.vantages_eligible == 4, "{status:?}");
        Ok(())
    })
    .await?;
    let seen = stand.status().await?.generation;
    until("the verdict has stood for two more seconds", PATIENCE, || async {
        let status = stand.status().await?;
        let dead = status.unwell.iter().any(|u| u.what == "provider one" && u.health == "down" && u.for_ms > 4_000);
        ensure!(dead, "{:?}", status.unwell);
        ensure!(status.unwell.iter().all(|u| !u.what.contains("two") && !u.what.contains("three")), "{status:?}");
        Ok(())
    })
    .await?;
    ensure!(stand.share("one/a").await? == 0, "the dead came back");
    let (two, three) = (stand.share("two/b").await?, stand.share("three/c").await?);
    ensure!(two > 0 && two + three == 10_000, "the living lost weight: {two} and {three}");
    ensure!(stand.status().await?.generation == seen, "a dead prober moved traffic");
    stand.records_hold()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lying_vantage_moves_nothing() -> Result<()> {
    let mut stand = Stand::start().await?;
    let before = stand.splits().await?;
    stand.make_prober_lie(3).await?;
    let name = stand.vantage(3);
    until("the lie is heard and counts as a vote", PATIENCE, || async {
        let verdicts = stand.verdicts().await?.verdicts;
        for region in ["one/a", "two/b"] {
            let votes = verdicts.iter().filter(|v| v.kind == "region" && v.name == region).flat_map(|v| &v.votes);
            ensure!(votes.into_iter().any(|v| v.vantage == name && v.vote == "down"), "{verdicts:?}");
        }
        ensure!(stand.status().await?.vantages_eligible == 4, "the liar must be eligible, or nothing is tested");
        Ok(())
    })
    .await?;
    let heard = Instant::now();
    until("two seconds of lies", PATIENCE, || async {
        let status = stand.status().await?;
        ensure!(status.unwell.iter().all(|u| u.health != "down"), "a lie became a verdict: {:?}", status.unwell);
        ensure!(stand.splits().await? == before, "a lie moved traffic");
        ensure!(heard.elapsed() > Duration::from_secs(2), "not long enough yet");
        Ok(())
    })
    .await?;
    ensure!(stand.splits().await? == before, "a lie moved traffic");
    let status = stand.status().await?;
    ensure!(status.unwell.iter().all(|u| u.health != "down"), "{:?}", status.unwell);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_accept_and_never_answer_are_down_within_four_seconds() -> Result<()> {
    let stand = Stand::start().await?;
    stand.one.iter().for_each(Backend::hold);
    let hung = Instant::now();
    until("nothing goes to the hung place", PATIENCE, || async {
        ensure!(stand.share("one/a").await? == 0);
        Ok(())
    })
    .await?;
    let took = hung.elapsed();
    eprintln!("moved {} ms after it hung", took.as_millis());
    ensure!(stand.verdict("region", "one/a").await? == "down");
    ensure!(took < Duration::from_secs(4), "{took:?}");
    ensure!(stand.share("two/b").await? == 10_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_automation_sees_an_outage_says_so_and_acts_when_resumed() -> Result<()> {
    let mut stand = Stand::start().await?;
    let before = stand.splits().await?;
    stand.tidegate(&["automation", "pause", "--only", "safety", "--reason", "hands off"])?;
    stand.one.clear();
    stand.probers[0].kill_nine()?;
    until("the verdict has stood for two seconds", PATIENCE, || async {
        let status = stand.status().await?;
        let seen = status.unwell.iter().any(|u| u.what == "provider one" && u.health == "down" && u.for_ms > 2_000);
        ensure!(seen, "{:?}", status.unwell);
        Ok(())
    })
    .await?;
    ensure!(stand.splits().await?.splits == before.splits, "a paused automation moved traffic");
    let shown = stand.tidegate(&["status"])?;
    ensure!(shown.contains("hands off") && shown.contains("admin-person"), "{shown}");
    ensure!(shown.lines().any(|l| l.starts_with("down") && l.contains("one")), "{shown}");
    stand.tidegate(&["automation", "resume", "--only", "safety", "--reason", "go on"])?;
    let resumed = Instant::now();
    until("it acts", PATIENCE, || async {
        ensure!(stand.share("one/a").await? == 0);
        Ok(())
    })
    .await?;
    let took = resumed.elapsed();
    ensure!(took < Duration::from_millis(1_500), "it acted only after {took:?}");
    stand.records_hold()
}
