//! Who may say that a place is down: the dead take nobody along, one liar moves nothing, silence counts as death.

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tidegate_api::Splits;
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

/// Waits until every one of `liars` votes against `region`, and is eligible to.
async fn heard(stand: &Stand, region: &str, liars: &[usize]) -> Result<()> {
    until("the lies are heard and count as votes", PATIENCE, || async {
        let verdicts = stand.verdicts().await?.verdicts;
        let votes: Vec<_> =
            verdicts.iter().filter(|v| v.kind == "region" && v.name == region).flat_map(|v| &v.votes).collect();
        for liar in liars {
            let name = stand.vantage(*liar);
            ensure!(votes.iter().any(|v| v.vantage == name && v.vote == "down"), "{name} does not vote: {votes:?}");
        }
        let status = stand.status().await?;
        ensure!(status.vantages_eligible == status.vantages_configured, "a liar must be eligible: {status:?}");
        Ok(())
    })
    .await
}

/// For two seconds nothing is down for all and the splits stay as they are. A path that one provider's probers lose may be
/// told: no weight follows from it.
async fn nothing_moves(stand: &Stand, before: &Splits) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        let status = stand.status().await?;
        let for_all = status.unwell.iter().filter(|u| !u.what.starts_with("path from"));
        ensure!(for_all.clone().all(|u| u.health != "down"), "a lie became a verdict: {:?}", status.unwell);
        ensure!(stand.splits().await? == *before, "a lie moved traffic");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}

/// The control: enough voices, from two clouds, do move it. So those before did not count for nothing.
async fn now_it_moves(stand: &Stand) -> Result<()> {
    until("enough voices move the traffic", PATIENCE, || async {
        ensure!(stand.verdict("region", "one/a").await? == "down");
        ensure!(stand.share("one/a").await? == 0);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lying_vantage_moves_nothing() -> Result<()> {
    let mut stand = Stand::start().await?;
    let before = stand.splits().await?;
    stand.make_prober_lie(3, &stand.at.one.clone()).await?;
    heard(&stand, "one/a", &[3]).await?;
    nothing_moves(&stand, &before).await?;
    stand.make_prober_lie(1, &stand.at.one.clone()).await?;
    now_it_moves(&stand).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vantage_that_alone_sees_everything_dead_loses_its_vote() -> Result<()> {
    let mut stand = Stand::start().await?;
    let before = stand.splits().await?;
    stand.make_prober_lie(3, &stand.everything()).await?;
    let liar = stand.vantage(3);
    until("its vote is struck", PATIENCE, || async {
        let verdicts = stand.verdicts().await?.verdicts;
        let votes: Vec<_> = verdicts.iter().filter(|v| v.kind == "region").flat_map(|v| &v.votes).collect();
        let struck = |v: &&&tidegate_api::VoteLine| v.vantage == liar && v.vote == "cut-off";
        ensure!(votes.iter().any(|v| struck(&v)), "{votes:?}");
        Ok(())
    })
    .await?;
    nothing_moves(&stand, &before).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_alone_sees_the_biggest_cloud_dead_moves_nothing() -> Result<()> {
    let mut stand = Stand::wide().await?;
    let before = stand.splits().await?;
    let biggest = stand.at.one.clone();
    ensure!(stand.share("one/a").await? == 6_000, "the biggest carries 60 %: {before:?}");
    // Both vantages of one place have lost their path to the biggest cloud, and see everything else.
    for i in [4, 5] {
        stand.make_prober_lie(i, &biggest).await?;
    }
    heard(&stand, "one/a", &[4, 5]).await?;
    nothing_moves(&stand, &before).await?;
    for i in [2, 3] {
        stand.make_prober_lie(i, &biggest).await?;
    }
    now_it_moves(&stand).await
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_machine_comes_in_by_a_join_token_once() -> Result<()> {
    let mut stand = Stand::wide().await?;
    let name = stand.vantage(0).to_owned();
    stand.probers[0].kill_nine()?;
    until("its vote is missed", PATIENCE, || async {
        let status = stand.status().await?;
        ensure!(status.vantages_eligible + 1 == status.vantages_configured, "{status:?}");
        Ok(())
    })
    .await?;
    let token = stand.tidegate(&["join-token", &name, "--for", "10m", "--reason", "a new machine"])?;
    let unknown = stand.cli(&["join-token", "nobody", "--reason", "a typing error"])?;
    ensure!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains(&name), "{unknown:?}");
    stand.probers[0] = stand.new_prober(0, "new-machine", &token)?;
    stand.whole().await?;
    // A copy of the token is of no use to anybody else.
    let thief = stand.new_prober(0, "thief", &token)?;
    until("the copy is refused", PATIENCE, || async {
        ensure!(thief.printed().contains("used already"), "{}", thief.printed());
        Ok(())
    })
    .await?;
    let audit = stand.tidegate(&["audit"])?;
    for words in [format!("join token for vantage {name}"), format!("vantage {name} was let in"), "nobody".to_owned()] {
        ensure!(audit.contains(&words), "no `{words}` in\n{audit}");
    }
    ensure!(!audit.contains(token.trim()), "the token is never at rest");
    stand.records_hold()
}
