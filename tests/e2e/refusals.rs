//! What is refused, with its reason and what would lift it.

use anyhow::{Result, ensure};
use std::fs;
use std::process::Output;
use tidegate_e2e::Stand;
use tidegate_e2e::stand::PATIENCE;

fn refused(out: &Output, exit: i32, words: &[&str]) -> Result<()> {
    let text = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.code() == Some(exit), "exit {:?}, expected {exit}: {text}", out.status.code());
    for word in words {
        ensure!(text.contains(word), "`{word}` is not in: {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_the_reason_and_the_way_out() -> Result<()> {
    let stand = Stand::start().await?;
    let before = stand.splits().await?;
    let why = ["--reason", "test"];
    let with = |args: &[&'static str]| [args, &why].concat();
    refused(&stand.cli_as("token-viewer", &with(&["drain", "one"]))?, 1, &["TG-1002", "operator", "viewer"])?;
    refused(&stand.cli_as("token-operator", &with(&["config", "reload"]))?, 1, &["TG-1002", "admin"])?;
    refused(&stand.cli(&with(&["drain", "nowhere"]))?, 2, &["TG-1004", "one/a"])?;
    fs::write(stand.file("token-wrong"), "tg_0000")?;
    fs::set_permissions(stand.file("token-wrong"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    refused(&stand.cli_as("token-wrong", &["status"])?, 1, &["TG-1001"])?;
    fs::set_permissions(stand.file("token-wrong"), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    refused(&stand.cli_as("token-wrong", &["status"])?, 2, &["chmod 600"])?;
    // A drain of everything: the second of two is refused, for the class would have no place left.
    stand.tidegate(&["drain", "one", "--reason", "first", "--wait", "--grace", "100ms", "--timeout", "30s"])?;
    refused(&stand.cli(&with(&["drain", "two"]))?, 6, &["TG-2001", "shop/eu"])?;
    stand.tidegate(&["restore", "one", "--reason", "done"])?;
    reloads_are_whole_or_nothing(&stand).await?;
    let audit = stand.tidegate(&["audit"])?;
    ensure!(audit.contains("viewer-person"), "refused attempts are audited: {audit}");
    ensure!(before.splits.len() == stand.splits().await?.splits.len());
    Ok(())
}

async fn reloads_are_whole_or_nothing(stand: &Stand) -> Result<()> {
    let fleet = stand.status().await?.fleet;
    let path = stand.file("fleet/service.yaml");
    let good = fs::read_to_string(&path)?;
    fs::write(&path, good.replace("permitted: [DE, NL]", "permited: [DE, NL]"))?;
    refused(&stand.cli(&["config", "reload", "--reason", "test"])?, 1, &["TG-2003", "service.yaml", "permited"])?;
    let fewer: String = good.lines().filter(|l| !l.contains("shop-b-")).map(|l| format!("{l}\n")).collect();
    fs::write(&path, fewer)?;
    refused(&stand.cli(&["config", "reload", "--reason", "test"])?, 6, &["TG-2002", "--yes-remove"])?;
    fs::write(&path, good)?;
    ensure!(stand.status().await?.fleet == fleet, "a refused reload changed the fleet");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_never_share_a_store() -> Result<()> {
    let stand = Stand::start().await?;
    let mut second = stand.second_server()?;
    let ended = second.end(PATIENCE).await?;
    ensure!(!ended.success());
    ensure!(second.printed().contains("two servers must not share one store"), "{}", second.printed());
    ensure!(stand.status().await?.summary == "ok", "the first goes on");
    Ok(())
}
