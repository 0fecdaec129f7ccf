//! kill -9 of every program at a random moment under load: what is lost is what was in flight at a killed proxy.

use anyhow::{Result, ensure};
use std::time::Duration;
use tidegate_e2e::parts::{Chance, Edge, answers};
use tidegate_e2e::stand::PATIENCE;
use tidegate_e2e::{Backend, Load, Process, Stand, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server,
    Prober(usize),
    Envoy,
    Edge,
}

/// Everything that can be killed.
struct Cast {
    stand: Stand,
    envoy: Option<Process>,
    edge: Edge,
}

impl Cast {
    async fn kill_and_bring_back(&mut self, victim: Victim) -> Result<()> {
        match victim {
            Victim::Server => {
                self.stand.server.kill_nine()?;
                self.stand.restart_server()?;
            }
            Victim::Prober(i) => {
                self.stand.probers[i].kill_nine()?;
                self.stand.restart_prober(i)?;
            }
            Victim::Envoy => {
                if let Some(mut envoy) = self.envoy.take() {
                    envoy.kill_nine()?;
                    self.envoy = self.stand.envoy().await?.map(|(process, _)| process);
                }
            }
            Victim::Edge => {
                self.edge.process.kill_nine()?;
                self.edge.restart()?;
                answers(self.edge.listener).await?;
            }
        }
        self.stand.whole().await?;
        let wanted = 1 + u32::from(self.envoy.is_some());
        until("every edge holds the plan", PATIENCE, || async {
            let status = self.stand.status().await?;
            ensure!(status.edges == wanted && status.edges_acked == wanted, "{status:?}");
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_program_may_be_killed_under_load() -> Result<()> {
    let mut chance = Chance::new();
    let stand = Stand::start().await?;
    let envoy = stand.envoy().await?.map(|(process, _)| process);
    let edge = stand.edge().await?;
    let at_edge = Load::start(edge.listener)?;
    let at_envoy = envoy.is_some().then(|| Load::start(stand.at.listener)).transpose()?;
    let mut cast = Cast { stand, envoy, edge };
    let before = cast.stand.splits().await?;
    let mut victims = vec![Victim::Server, Victim::Envoy, Victim::Edge];
    victims.extend((0..cast.stand.probers.len()).map(Victim::Prober));
    while !victims.is_empty() {
        let pick = chance.below(victims.len() as u64);
        let victim = victims.remove(usize::try_from(pick)?);
        tokio::time::sleep(Duration::from_millis(chance.below(200))).await;
        let failed = |load: &Option<Load>| load.as_ref().map_or(0, |l| l.so_far().1);
        let (edge_before, envoy_before) = (at_edge.so_far().1, failed(&at_envoy));
        cast.kill_and_bring_back(victim).await?;
        let (edge_lost, envoy_lost) = (at_edge.so_far().1 - edge_before, failed(&at_envoy) - envoy_before);
        eprintln!("{victim:?}: {edge_lost} failed at the edge, {envoy_lost} at the Envoy");
        ensure!(edge_lost == 0 || victim == Victim::Edge, "{victim:?} cost the edge {edge_lost} requests");
        ensure!(envoy_lost == 0 || victim == Victim::Envoy, "{victim:?} cost the Envoy {envoy_lost} requests");
        ensure!(envoy_lost > 0 || victim != Victim::Envoy || at_envoy.is_none(), "the load did not see the Envoy die");
        ensure!(cast.stand.splits().await?.splits == before.splits, "{victim:?} moved traffic");
    }
    for load in [Some(at_edge), at_envoy].into_iter().flatten() {
        let (sent, _) = load.end().await?;
        ensure!(sent > 100, "only {sent} requests were sent");
    }
    cast.stand.records_hold()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_writes_has_the_old_or_the_new_state() -> Result<()> {
    let mut chance = Chance::new();
    let mut stand = Stand::start().await?;
    let (mut drained, mut unsure) = (false, 0);
    for round in 0..8_u32 {
        let wish: &[&str] =
            if drained { &["restore", "two", "--reason", "r"] } else { &["drain", "two", "--reason", "d"] };
        let generation = stand.status().await?.generation;
        let (token, api) = (stand.file("token-admin"), stand.api);
        let delay = Duration::from_millis(chance.below(60));
        let killing = async {
            tokio::time::sleep(delay).await;
            stand.server.kill_nine()
        };
        let request = ask(&token, api, wish);
        let (killed, said_yes) = tokio::join!(killing, request);
        killed?;
        let said_yes = said_yes?;
        stand.restart_server()?;
        let status = until("the server is back", PATIENCE, || stand.status()).await?;
        let now = !status.drains.is_empty();
        eprintln!("round {round}: killed after {delay:?}, said yes: {said_yes}, drained: {now}");
        ensure!(!said_yes || now != drained, "round {round}: what was promised is lost: {status:?}");
        ensure!(status.drains.len() <= 1 && status.generation >= generation, "round {round}: {status:?}");
        unsure += u32::from(!said_yes);
        drained = now;
        stand.whole().await?;
        stand.records_hold()?;
    }
    eprintln!("{unsure} of 8 wishes had no answer");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_an_outage_ends_it_after_its_return() -> Result<()> {
    let mut chance = Chance::new();
    let mut stand = Stand::start().await?;
    let edge = stand.edge().await?;
    let (before, generation) = (stand.splits().await?, stand.status().await?.generation);
    stand.one.clear();
    // The verdict comes after 0.5 to 1 s: before it, while it is written, or after it.
    let delay = Duration::from_millis(chance.below(1_200));
    tokio::time::sleep(delay).await;
    stand.server.kill_nine()?;
    stand.restart_server()?;
    let after = until("the server is back", PATIENCE, || stand.splits()).await?;
    let moved = after.splits != before.splits;
    eprintln!("killed after {delay:?}; the move was {}", if moved { "on record" } else { "not yet on record" });
    ensure!(after.generation >= generation && (!moved || after.generation > generation), "{after:?}");
    until("the traffic is gone from the dead place", PATIENCE, || async {
        ensure!(stand.share("one/a").await? == 0);
        let status = stand.status().await?;
        ensure!(status.edges == 1 && status.edges_acked == 1, "{status:?}");
        Ok(())
    })
    .await?;
    answers(edge.listener).await?;
    let carried = |stand: &Stand| stand.two.iter().map(Backend::count).sum::<u64>();
    let served = carried(&stand);
    let load = Load::start(edge.listener)?;
    until("a hundred requests", PATIENCE, || async {
        ensure!(load.so_far().0 >= 100);
        Ok(())
    })
    .await?;
    let (sent, failed) = load.end().await?;
    ensure!(failed == 0, "{failed} of {sent} failed after the move");
    ensure!(carried(&stand) >= served + sent, "they went elsewhere");
    stand.records_hold()
}

/// Runs `tidegate` without standing in the way of the kill; whether it said that the wish was taken.
async fn ask(token: &std::path::Path, api: std::net::SocketAddr, wish: &[&str]) -> Result<bool> {
    let out = tokio::process::Command::new(tidegate_e2e::program("tidegate")?)
        .args(wish)
        .env("TIDEGATE_SERVER", format!("http://{api}"))
        .env("TIDEGATE_TOKEN_FILE", token)
        .output()
        .await?;
    Ok(out.status.success())
}
