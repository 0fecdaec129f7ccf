//! `policy check`: compiles, runs the policy's own tests, lists every denial: those that the permitted sets ask for too.

use crate::args::{Output, PolicyVerb};
use crate::config::{hex, load};
use crate::failure::Failure;
use crate::show;
use crate::ui::out;
use crate::ui::state;
use serde::Serialize;
use tidegate_policy::{Bundle, run_tests};

#[derive(Debug, Serialize)]
struct Checked {
    api_version: &'static str,
    bundle: String,
    tests: Vec<(String, bool, String)>,
    denials: Vec<String>,
    /// What policy allowed and the configuration forbids: the configuration won.
    widenings_refused: Vec<String>,
    faults: Vec<String>,
}

/// `an economic move`, `a safety move`.
fn kind(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word} move")
}

pub(crate) fn policy(out: Output, verb: &PolicyVerb) -> Result<u8, Failure> {
    let PolicyVerb::Check { dir } = verb;
    let loaded = load(dir)?;
    let mend = |e: tidegate_policy::PolicyError| {
        Failure::new(format!("TG-2004 {e}"), "mend the policy; `tidegate explain TG-2004`").with_code(4)
    };
    let bundle = Bundle::compile(loaded.policy.clone()).map_err(mend)?;
    let tests = run_tests(&bundle, &loaded.policy_tests).map_err(mend)?;
    let outcome = bundle.mask(&loaded.fleet, None);
    let denials = outcome
        .decisions
        .iter()
        .filter(|d| !d.answer.allow)
        .map(|d| format!("{} may not go to {} for {}: {}", d.class, d.place, kind(d.kind.word()), d.answer.reason));
    let widenings = outcome
        .decisions
        .iter()
        .filter(|d| d.widening_refused)
        .map(|d| format!("{} to {} for {}", d.class, d.place, kind(d.kind.word())));
    let faults = outcome.faults.iter().map(|f| format!("{} to {} ({}): {}", f.class, f.place, f.kind.word(), f.what));
    let checked = Checked {
        api_version: tidegate_api::VERSION,
        bundle: hex(&bundle.hash()),
        tests: tests.into_iter().map(|t| (t.name, t.passed, t.what)).collect(),
        denials: denials.collect(),
        widenings_refused: widenings.collect(),
        faults: faults.collect(),
    };
    let failed = checked.tests.iter().any(|t| !t.1) || !checked.faults.is_empty();
    show(out, &checked, |c| {
        for (name, passed, what) in &c.tests {
            out!("{} {name} {what}", state(if *passed { "ok" } else { "failed" }));
        }
        for fault in &c.faults {
            out!("{} {fault}", state("failed"));
        }
        for denial in &c.denials {
            out!("- {denial}");
        }
        for widening in &c.widenings_refused {
            out!("{} the policy allows {widening}; the configuration forbids it and wins", state("warning"));
        }
        eprintln!(
            "bundle {} · {} tests · {} denials · {} widenings refused",
            c.bundle.get(..12).unwrap_or_default(),
            c.tests.len(),
            c.denials.len(),
            c.widenings_refused.len()
        );
    })?;
    Ok(if failed { 4 } else { 0 })
}
