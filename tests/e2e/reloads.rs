//! Reloads that are refused whole: a policy that is broken or fails, a loss without a plan.

use anyhow::{Result, ensure};
use std::fs;
use std::process::Output;
use tidegate_e2e::Stand;

const POLICY: &str = "apiVersion: tidegate/v1\nkind: Policy\nname: residency\nspec:\n  files: [policy/test.rego]\n";

/// Rego text, and a word that the refusal must have.
const BROKEN: &[(&str, &str, &str)] = &[
    ("does not compile", "package tidegate.residency\n\ndecision := {\"allow\": true", "test.rego"),
    (
        "throws",
        "package tidegate.residency\n\nimport rego.v1\n\ndecision := {\"allow\": true, \"reason\": \"\"} if true\n\n\
         decision := {\"allow\": false, \"reason\": \"no\"} if true\n",
        "shop/eu",
    ),
    ("answers nonsense", "package tidegate.residency\n\ndecision := \"certainly\"\n", "shop/eu"),
    ("does not answer", "package tidegate.residency\n\nother := 1\n", ""),
];

fn reload(stand: &Stand, more: &[&str]) -> Result<Output> {
    stand.cli(&[&["config", "reload", "--reason", "test"], more].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_policy_is_refused_and_changes_nothing() -> Result<()> {
    let stand = Stand::start().await?;
    let (before, splits) = (stand.status().await?, stand.splits().await?);
    fs::create_dir_all(stand.file("fleet/policy"))?;
    fs::write(stand.file("fleet/policy.yaml"), POLICY)?;
    for (what, text, word) in BROKEN {
        fs::write(stand.file("fleet/policy/test.rego"), text)?;
        let out = reload(&stand, &[])?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.code() == Some(4), "{what}: exit {:?}: {said}", out.status.code());
        ensure!(said.contains("TG-2004") && said.contains(word) && said.contains("next:"), "{what}: {said}");
        let now = stand.status().await?;
        ensure!(now.policy == before.policy && now.fleet == before.fleet, "{what}: it was taken all the same");
        ensure!(stand.splits().await? == splits, "{what}: traffic moved");
        let check = stand.cli(&["policy", "check", &stand.file("fleet").display().to_string()])?;
        ensure!(check.status.code() == Some(4), "{what}: `policy check` says {check:?}");
    }
    // One that answers is taken: the refusals above were not for the way it is brought.
    let good = "package tidegate.residency\n\ndecision := {\"allow\": true, \"reason\": \"\"}\n";
    fs::write(stand.file("fleet/policy/test.rego"), good)?;
    let out = reload(&stand, &[])?;
    ensure!(out.status.success(), "{out:?}");
    ensure!(stand.status().await?.policy != before.policy);
    stand.records_hold()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_without_a_plan_is_refused_unless_accepted_and_then_listed() -> Result<()> {
    let stand = Stand::start().await?;
    let before = stand.status().await?;
    ensure!(before.unprotected.is_empty(), "{:?}", before.unprotected);
    let path = stand.file("fleet/places.yaml");
    let good = fs::read_to_string(&path)?;
    // 100 rps of demand, of which a place of 60 rps at 80 % can hold 48: losing the other leaves a gap.
    let small = good.replacen(
        "capacity: 1000 rps\n  safeUtilisation: 80 %\n  costPerMillion: $0.30",
        "capacity: 60 rps\n  safeUtilisation: 80 %\n  costPerMillion: $0.30",
        1,
    );
    ensure!(small != good);
    fs::write(&path, small)?;
    let out = reload(&stand, &[])?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.code() == Some(6), "exit {:?}: {said}", out.status.code());
    ensure!(said.contains("TG-2005") && said.contains("--accept-gap") && said.contains("one"), "{said}");
    ensure!(stand.status().await?.fleet == before.fleet, "a refused reload changed the fleet");
    let out = reload(&stand, &["--accept-gap"])?;
    ensure!(out.status.success(), "{out:?}");
    let status = stand.status().await?;
    ensure!(status.fleet != before.fleet);
    ensure!(status.unprotected.iter().any(|u| u.starts_with("losing one")), "{:?}", status.unprotected);
    let shown = stand.tidegate(&["status"])?;
    ensure!(shown.lines().any(|l| l.starts_with("unprotected") && l.contains("losing one")), "{shown}");
    fs::write(&path, good)?;
    let out = reload(&stand, &[])?;
    ensure!(out.status.success(), "{out:?}");
    ensure!(stand.status().await?.unprotected.is_empty());
    stand.records_hold()
}
