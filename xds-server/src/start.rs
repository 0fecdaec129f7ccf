//! Opens the store, and makes candidates of configurations. What stands behind the keys is the controller's.

use anyhow::{Context, Result, ensure};
use prometheus::IntCounter;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tidegate_api::tokens::Tokens;
use tidegate_controller::Candidate;
use tidegate_policy::Bundle;
use tidegate_store::{Embedded, Options, Store};

/// Opens the store in `dir`.
pub(crate) fn open(dir: &Path) -> Result<Arc<dyn Store>> {
    std::fs::create_dir_all(dir).with_context(|| format!("store directory {}", dir.display()))?;
    let store = Embedded::open(dir, Options::default(), Arc::new(crate::clock::mono))
        .with_context(|| format!("the store in {} cannot be used", dir.display()))?;
    Ok(Arc::new(store))
}

/// Reads a token file whose mode lets nobody else in.
pub(crate) fn tokens(path: &Path) -> Result<Tokens> {
    let shown = path.display();
    let mode = std::fs::metadata(path).with_context(|| format!("token file {shown}"))?.permissions().mode();
    ensure!(mode & 0o077 == 0, "token file {shown} can be read by others: chmod 600 {shown}");
    let text = std::fs::read_to_string(path).with_context(|| format!("token file {shown}"))?;
    Tokens::parse(&text).map_err(|fault| anyhow::anyhow!("token file {shown}: {fault}"))
}

/// A candidate from documents that passed every check; policy must compile and answer every question of this fleet. What
/// it answers is logged, and where it would have widened what the configuration permits, counted.
pub(crate) fn candidate(
    loaded: tidegate_config::Loaded,
    widenings_refused: &IntCounter,
) -> Result<Candidate, Vec<String>> {
    let bundle = Bundle::compile(loaded.policy).map_err(|e| vec![e.to_string()])?;
    let outcome = bundle.mask(&loaded.fleet, None);
    let faults =
        outcome.faults.iter().map(|f| format!("{} to {} ({} move): {}", f.class, f.place, f.kind.word(), f.what));
    let faults: Vec<String> = faults.collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let hash = tidegate_api::tokens::hex(&bundle.hash());
    for entry in &outcome.decisions {
        let (allow, reason, question) =
            (entry.answer.allow, &entry.answer.reason, tidegate_api::tokens::hex(&entry.input_hash));
        let (place, kind, widening_refused) = (entry.place.to_string(), entry.kind.word(), entry.widening_refused);
        widenings_refused.inc_by(u64::from(widening_refused));
        let class = &entry.class;
        tracing::info!(target: "tidegate::policy", bundle = hash, question, class, place, kind, allow, widening_refused, reason);
    }
    Ok(Candidate { fleet: Arc::new(loaded.fleet), bundle: Arc::new(bundle), sources: loaded.sources })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_controller::persist::{keep_resolved, resolved};
    use tidegate_translate::Resolved;

    #[test]
    fn addresses_of_host_names_outlive_the_process() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let found: Resolved = [
            ("db.example".to_owned(), vec!["192.0.2.1".parse()?, "2001:db8::1".parse()?]),
            ("lost.example".to_owned(), Vec::new()),
        ]
        .into();
        let store = open(dir.path())?;
        assert_eq!(resolved(&*store), Resolved::new());
        keep_resolved(&*store, &found)?;
        drop(store);
        assert_eq!(resolved(&*open(dir.path())?), found);
        Ok(())
    }
}
