//! Sizes and left-overs in our own sources, read from the syntax.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;
/// Lines of a whole room, tests apart. A budget may only shrink.
const ROOMS: &[(&str, usize)] = &[("xds-server/src/", 2_735)];

pub(super) fn check(root: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let mut rooms = vec![0; ROOMS.len()];
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        check_text(&shown, &text, breaches);
        for ((room, _), lines) in ROOMS.iter().zip(&mut rooms) {
            // Tests have files of their own, or stand last in one.
            let tests = shown.ends_with("/tests.rs") || shown.contains("/tests/");
            if shown.starts_with(room) && !tests {
                *lines += text.lines().take_while(|line| *line != "#[cfg(test)]").count();
            }
        }
    }
    for ((room, budget), lines) in ROOMS.iter().zip(rooms) {
        if lines > *budget {
            breaches.push(format!("{room}: {lines} lines; {budget} are the room's budget: move what others could use"));
        }
    }
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') && name != "generated" {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_text(shown: &str, text: &str, breaches: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > FILE_LINES {
        breaches.push(format!("{shown}: {lines} lines; {FILE_LINES} are the limit"));
    }
    if !text.trim_start().starts_with("//!") {
        breaches.push(format!("{shown}: no header that says what the file owns"));
    }
    match syn::parse_file(text) {
        Ok(file) => {
            let mut visitor = Visitor { shown, breaches };
            visitor.visit_file(&file);
        }
        Err(error) => breaches.push(format!("{shown}: is no Rust: {error}")),
    }
}

struct Visitor<'a> {
    shown: &'a str,
    breaches: &'a mut Vec<String>,
}

impl Visitor<'_> {
    fn function(&mut self, name: &syn::Ident, attributes: &[syn::Attribute], body: &syn::Block) {
        let (from, to) = (name.span().start().line, body.span().end().line);
        let lines = to.saturating_sub(from) + 1;
        if lines > FUNCTION_LINES {
            self.breaches
                .push(format!("{}:{from}: `{name}` has {lines} lines; {FUNCTION_LINES} are the limit", self.shown));
        }
        for attribute in attributes {
            if attribute.path().is_ident("ignore") && !has_reason(&attribute.meta) {
                self.breaches.push(format!("{}:{from}: `{name}` is ignored without a reason", self.shown));
            }
        }
    }
}

/// `ignore = "words"`; an empty text is no reason.
fn has_reason(meta: &syn::Meta) -> bool {
    let syn::Meta::NameValue(pair) = meta else { return false };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else { return false };
    !text.value().trim().is_empty()
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, &item.attrs, &item.block);
        visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.attrs, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig.ident, &item.attrs, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        for banned in ["todo", "unimplemented", "dbg"] {
            // By whatever path it is called: `std::todo!()` too.
            if item.path.segments.last().is_some_and(|s| s.ident == banned) {
                self.breaches.push(format!("{}:{}: `{banned}!`", self.shown, item.span().start().line));
            }
        }
        visit::visit_macro(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::check_text;

    fn count(text: &str) -> usize {
        let mut breaches = Vec::new();
        check_text("a.rs", text, &mut breaches);
        breaches.len()
    }

    #[test]
    fn breaches_are_found() {
        let long_function = format!("//! x\nfn f() {{\n{}}}\n", "    let _ = 1;\n".repeat(70));
        let long_default = format!("//! x\ntrait T {{\nfn f() {{\n{}}}\n}}\n", "    let _ = 1;\n".repeat(70));
        let just_right = format!("//! x\nfn f() {{\n{}}}\n", "    let _ = 1;\n".repeat(68));
        let long_file = format!("//! x\n{}", "// y\n".repeat(800));
        let cases: &[(&str, usize)] = &[
            (&long_function, 1),
            (&just_right, 0),
            (&long_file, 1),
            ("fn f() {}", 1),
            ("//! x\nfn f() { todo!() }", 1),
            ("//! x\nfn f() { std::todo!() }", 1),
            ("//! x\nfn f() { ::core::unimplemented!() }", 1),
            ("//! x\n#[test]\n#[ignore = \"\"]\nfn f() {}", 1),
            ("//! x\n#[test]\n#[ignore(\"x\")]\nfn f() {}", 1),
            (&long_default, 1),
            ("//! x\ntrait T { fn f(&self); fn g(&self) {} }", 0),
            ("//! x\n#[test]\n#[ignore]\nfn f() {}", 1),
            ("//! x\n#[test]\n#[ignore = \"needs a moon\"]\nfn f() {}", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text), *expected, "{}", &text[..text.len().min(60)]);
        }
    }
}
