//! The house rules. Prints every breach, then fails if there was one.

mod arrows;
mod pages;
mod parts;
mod sources;

use crate::shell::{output, root};
use anyhow::{Context, Result, bail};

/// Everything that `cargo metadata` says, once.
pub(crate) fn tidy() -> Result<()> {
    let text = output("cargo", &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let mut breaches = Vec::new();
    arrows::check(&metadata, &mut breaches);
    parts::check(&metadata, &mut breaches);
    parts::check_unused(&root(), &metadata, &mut breaches)?;
    sources::check(&root(), &mut breaches)?;
    pages::check(&root(), &mut breaches)?;
    for breach in &breaches {
        println!("tidy: {breach}");
    }
    if breaches.is_empty() {
        println!("tidy: the house is in order");
        return Ok(());
    }
    bail!("{} breaches of the house rules", breaches.len())
}
