//! Bought parts: licences, one crypto provider, exact pins.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Words that may stand in a licence expression of a part that we link.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "Unlicense",
    "0BSD",
    "MPL-2.0",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "OpenSSL",
    "Apache-2.0-LLVM",
];
const SECOND_PROVIDERS: &[&str] = &["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "boring", "native-tls"];
/// What we lean on unusually stays where it was checked.
const PINNED: &[(&str, &str)] = &[("pingora", "0.9.1"), ("foca", "2.0.0"), ("regorus", "0.14.1")];

pub(super) fn check(metadata: &Value, breaches: &mut Vec<String>) {
    for package in metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        if SECOND_PROVIDERS.contains(&name) {
            breaches.push(format!("`{name}` is a second crypto provider: ring is the one"));
        }
        if let Some((_, pin)) = PINNED.iter().find(|(n, _)| *n == name)
            && version != *pin
        {
            breaches.push(format!("`{name}` is {version}, but {pin} is what was checked"));
        }
        if package["source"].is_null() {
            continue;
        }
        let licence = package["license"].as_str().unwrap_or_default();
        if !licence_is_fine(licence) && package["license_file"].is_null() {
            breaches.push(format!("`{name} {version}` has the licence `{licence}`, which nobody has agreed to"));
        }
    }
}

/// A part that the workspace names and no room uses is bought for nothing, and its version is nobody's care.
pub(super) fn check_unused(root: &Path, metadata: &Value, breaches: &mut Vec<String>) -> Result<()> {
    let path = root.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let manifest: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    unused(&manifest, metadata, breaches);
    Ok(())
}

fn unused(manifest: &toml::Table, metadata: &Value, breaches: &mut Vec<String>) {
    let ours = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = ours.iter().filter(|p| p["source"].is_null());
    let used: BTreeSet<&str> = ours
        .flat_map(|p| p["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default())
        .filter_map(|d| d["name"].as_str())
        .collect();
    let named = manifest.get("workspace").and_then(|w| w.get("dependencies")).and_then(toml::Value::as_table);
    for (name, said) in named.into_iter().flatten() {
        let package = said.get("package").and_then(toml::Value::as_str).unwrap_or(name);
        if !used.contains(package) {
            breaches.push(format!("`{name}` stands in [workspace.dependencies] and no room uses it"));
        }
    }
}

/// One agreed word of an `OR` is enough; all words of an `AND` are needed.
fn licence_is_fine(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let all_of = |part: &str| {
        part.split(" AND ").all(|word| {
            let base = word.trim().split(" WITH ").next().unwrap_or_default().trim();
            LICENCES.contains(&base)
        })
    };
    flat.split(" OR ").any(all_of)
}

#[cfg(test)]
mod tests {
    use super::{licence_is_fine, unused};

    #[test]
    fn a_part_that_nobody_uses_is_found() {
        let manifest: toml::Table =
            "[workspace.dependencies]\na = \"1\"\nb = { version = \"1\" }\nc = { package = \"d\", version = \"1\" }"
                .parse()
                .expect("TOML");
        let metadata = serde_json::json!({"packages": [
            {"source": null, "dependencies": [{"name": "a"}, {"name": "d"}]},
            {"source": "registry", "dependencies": [{"name": "b"}]},
        ]});
        let mut breaches = Vec::new();
        unused(&manifest, &metadata, &mut breaches);
        assert_eq!(breaches, ["`b` stands in [workspace.dependencies] and no room uses it"]);
    }

    #[test]
    fn licences_are_read() {
        for good in
            ["MIT", "MIT OR Apache-2.0", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"]
        {
            assert!(licence_is_fine(good), "{good}");
        }
        for bad in ["GPL-3.0", "", "GPL-3.0 AND MIT"] {
            assert!(!licence_is_fine(bad), "{bad}");
        }
    }
}
