//! Every error code of the catalogue has a page, and no page is left without a code.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub(super) fn check(root: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let catalogue = root.join("crates/api/src/error.rs");
    let text = fs::read_to_string(&catalogue).with_context(|| catalogue.display().to_string())?;
    let codes = codes_in(&text);
    let dir = root.join("docs/errors");
    let pages: BTreeSet<String> = fs::read_dir(&dir)
        .with_context(|| dir.display().to_string())?
        .filter_map(|e| e.ok()?.file_name().to_string_lossy().strip_suffix(".md").map(str::to_owned))
        .filter(|name| name.starts_with("TG-"))
        .collect();
    for code in codes.difference(&pages) {
        breaches.push(format!("{code} has no page docs/errors/{code}.md"));
    }
    for page in pages.difference(&codes) {
        breaches.push(format!("docs/errors/{page}.md has no code in the catalogue"));
    }
    Ok(())
}

/// The numbers in lines of the form `Name = "1001", …` of the catalogue's macro call.
fn codes_in(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| {
            let (_, rest) = line.trim().split_once(" = \"")?;
            let number = rest.get(..4)?;
            (number.bytes().all(|b| b.is_ascii_digit()) && rest.get(4..6) == Some("\","))
                .then(|| format!("TG-{number}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::codes_in;

    #[test]
    fn codes_are_read() {
        let found = codes_in("    Unauthenticated = \"1001\", 401, 1, \"x\";\n    let a = \"12\";\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["TG-1001"]);
    }
}
