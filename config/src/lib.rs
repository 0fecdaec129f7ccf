//! Configuration: a directory of YAML and Rego files → a validated [`Fleet`], the whole or nothing.
//!
//! Owns the files' format (`apiVersion: tidegate/v1`), every check of shape and meaning, the revision, the comparison
//! of two fleets and the shipped example. Refuses unknown keys, values that would be rounded, and to decide anything
//! about traffic; it never evaluates the policy texts that it hands on.

mod canon;
mod compare;
mod facts;
mod fault;
mod lower;
mod parse;
mod raw;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod units;

pub use compare::{Change, compare, guard};
pub use fault::{Fault, Faults, Severity};
pub use read::load_dir;
pub use schema::json_schema;

use fault::Sink;
use raw::Raw;
use tidegate_domain::Fleet;

/// The version that every document states.
pub const API_VERSION: &str = "tidegate/v1";

/// The shipped policy; used where a fleet names none.
pub const DEFAULT_POLICY: &str = include_str!("../policy/residency.rego");

/// The shipped policy's own tests.
pub const DEFAULT_POLICY_TESTS: &str = include_str!("../policy/residency_test.rego");

/// Largest file that is read, in bytes.
pub const FILE_MAX_BYTES: usize = 8 << 20;

/// A configuration that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The fleet; its revision is the hash of its content, whatever the files' order and layout.
    pub fleet: Fleet,
    /// What a person should look at.
    pub warnings: Vec<Fault>,
    /// Rego texts to ask, as (path, text), sorted by path.
    pub policy: Vec<(String, String)>,
    /// Rego tests, as (path, text), sorted by path.
    pub policy_tests: Vec<(String, String)>,
    /// Every file as it was read, sorted by path: for hashing and audit.
    pub sources: Vec<(String, Vec<u8>)>,
}

/// Checks documents given as (path, text); `.rego` paths are policy texts, all others are YAML.
///
/// # Errors
/// Everything that is wrong: the first fault of shape of each document and all faults of meaning. Nothing was changed;
/// trying again helps only after a mend.
pub fn load_documents(mut documents: Vec<(String, String)>) -> Result<Loaded, Faults> {
    documents.sort();
    let (mut raw, mut sink) = (Raw::default(), Sink::default());
    for (path, text) in &documents {
        if text.len() > FILE_MAX_BYTES {
            sink.file(path, format!("{} bytes are too many", text.len()), "split the file");
            raw.broken.insert((String::new(), String::new()));
        } else if path.ends_with(".rego") {
            raw.texts.insert(path.clone(), text.clone());
        } else {
            parse::file(path, text, &mut raw, &mut sink);
        }
    }
    let (mut fleet, policy) = lower::lower(raw, &mut sink);
    let warnings = sink.finish()?;
    fleet.revision = canon::revision(&fleet);
    let sources = documents.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    Ok(Loaded { fleet, warnings, policy: policy.files, policy_tests: policy.tests, sources })
}

/// The shipped example `payroll` as (path, text): programs and tests need no path to it.
#[must_use]
pub fn example_payroll() -> Vec<(String, String)> {
    const FILES: [(&str, &str); 7] = [
        ("clients.yaml", include_str!("../examples/payroll/clients.yaml")),
        ("places.yaml", include_str!("../examples/payroll/places.yaml")),
        ("policy.yaml", include_str!("../examples/payroll/policy.yaml")),
        ("policy/residency.rego", include_str!("../examples/payroll/policy/residency.rego")),
        ("policy/residency_test.rego", include_str!("../examples/payroll/policy/residency_test.rego")),
        ("senses.yaml", include_str!("../examples/payroll/senses.yaml")),
        ("service.yaml", include_str!("../examples/payroll/service.yaml")),
    ];
    FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}
