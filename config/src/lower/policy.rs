//! Policy documents: which Rego texts narrow the classes. The texts are handed on; nothing is evaluated here.

use crate::fault::{Sink, Src};
use crate::raw::{At, Raw};
use std::collections::BTreeSet;

/// The texts, as (path, text), sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Policy {
    pub(crate) files: Vec<(String, String)>,
    pub(crate) tests: Vec<(String, String)>,
}

pub(super) fn lower(raw: &Raw, sink: &mut Sink) -> Policy {
    let mut policy = Policy::default();
    let mut used = BTreeSet::new();
    for doc in &raw.policies {
        let files = &doc.spec.files;
        if files.value.is_empty() {
            let mend = "name a Rego file, or remove the document to use the shipped policy";
            sink.error(&doc.src, files.line, "spec.files", "a policy without a file", mend);
        }
        take(&files.value, "spec.files", &doc.src, raw, &mut used, &mut policy.files, sink);
        take(&doc.spec.tests, "spec.tests", &doc.src, raw, &mut used, &mut policy.tests, sink);
    }
    for path in raw.texts.keys().filter(|p| !used.contains(*p)) {
        if !raw.misses("Policy") {
            let src = Src { file: path.as_str().into(), offset: 0 };
            let mend = "name it under `spec.files` or `spec.tests` of a document of kind Policy, or remove it";
            sink.warn(&src, 0, "", "no policy names this file", mend);
        }
    }
    if raw.policies.is_empty() && !raw.misses("Policy") {
        policy.files.push(("builtin/residency.rego".to_owned(), crate::DEFAULT_POLICY.to_owned()));
    }
    policy.files.sort();
    policy.tests.sort();
    policy
}

fn take(
    paths: &[At<String>],
    key: &str,
    src: &Src,
    raw: &Raw,
    used: &mut BTreeSet<String>,
    into: &mut Vec<(String, String)>,
    sink: &mut Sink,
) {
    for (i, path) in paths.iter().enumerate() {
        let key = format!("{key}[{i}]");
        if !used.insert(path.value.clone()) {
            sink.error(src, path.line, &key, format!("`{}` is named twice", path.value), "name it once");
        } else if let Some(text) = raw.texts.get(&path.value) {
            into.push((path.value.clone(), text.clone()));
        } else {
            let what = format!("there is no file `{}`", path.value);
            let mend = "write the path of a .rego file, relative to and inside the configuration's directory";
            sink.error(src, path.line, &key, what, mend);
        }
    }
}
