//! Runs tests that are written in Rego: rules named `test_*`, each passing when it is true.

use crate::bundle::{Bundle, PolicyError, RULE, engine, refused};
use regorus::Value;
use std::collections::BTreeSet;

/// How one Rego test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// Path of the rule, `data.tidegate.residency_test.test_x`.
    pub name: String,
    /// Whether it was true.
    pub passed: bool,
    /// What it was instead; empty where it passed.
    pub what: String,
}

/// Runs every `test_*` rule of `tests`, given as (path, text), against `bundle`; sorted by name.
///
/// # Errors
/// When the texts of the tests are refused, as a bundle's are. Nothing was run.
pub fn run_tests(bundle: &Bundle, tests: &[(String, String)]) -> Result<Vec<TestOutcome>, PolicyError> {
    let mut files = bundle.files().to_vec();
    // A file that is both policy and test stands in the bundle already.
    files.extend(tests.iter().filter(|t| !bundle.files().contains(t)).cloned());
    files.sort();
    let (mut engine, _) = engine(&files)?;
    let compiled = engine.compile_with_entrypoint(&RULE.into()).map_err(|e| refused(&e.to_string()))?;
    let is_test = |path: &&String| path.rsplit('.').next().is_some_and(|last| last.starts_with("test_"));
    let names: BTreeSet<String> = compiled.get_rules().keys().filter(is_test).cloned().collect();
    Ok(names
        .into_iter()
        .map(|name| {
            let what = match engine.eval_rule(name.clone()) {
                Ok(Value::Bool(true)) => String::new(),
                Ok(Value::Undefined) => "undefined: an expression of it is not true".to_owned(),
                Ok(other) => format!("{other}, not true"),
                Err(error) => refused(&error.to_string()).to_string(),
            };
            TestOutcome { name, passed: what.is_empty(), what }
        })
        .collect())
}
