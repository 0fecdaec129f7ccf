//! Functions that call themselves, directly or by others. Rego forbids them; the engine finds a rule that needs itself,
//! but follows a function until the stack ends, and with it the process. So they are refused at load.

use crate::purity::code_of;
use regorus::Engine;
use regorus::unstable::{Rule, RuleHead};
use std::collections::{BTreeMap, BTreeSet};

/// A function that can come to call itself: its file, line and name.
pub(crate) fn recursive(engine: &mut Engine) -> Option<(String, usize, String)> {
    let mut places: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut called: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in engine.get_modules() {
        for rule in &module.policy {
            let refr = match rule.as_ref() {
                Rule::Spec { head: RuleHead::Func { refr, .. }, .. } | Rule::Default { refr, .. } => refr,
                Rule::Spec { .. } => continue,
            };
            let span = rule.span();
            let Some(name) = words(refr.span().text()).pop().map(|w| w.text) else { continue };
            let file = module.package.span.source.get_path().clone();
            places.entry(name.clone()).or_insert((file.to_string(), span.line as usize));
            // The head's own `name(` is no call: what follows the first parenthesis is.
            let body = span.text().split_once('(').map_or("", |t| t.1);
            let calls = words(body).into_iter().filter(|w| w.calls).map(|w| w.text);
            called.entry(name).or_default().extend(calls);
        }
    }
    let reaches_itself = |name: &&String| {
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut open: Vec<&String> = called.get(*name).into_iter().flatten().collect();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(called.get(next).into_iter().flatten());
            }
        }
        seen.contains(name)
    };
    let name = called.keys().find(reaches_itself)?;
    places.get(name).map(|(file, line)| (file.clone(), *line, name.clone()))
}

struct Word {
    text: String,
    /// A parenthesis follows, or `as` stands before (`with f as g` calls g).
    calls: bool,
}

fn words(text: &str) -> Vec<Word> {
    // `data.p["f"](x)` calls f: a name in brackets is a word like another.
    let code = code_of(&text.replace("[\"", "[ ").replace("\"]", " ]"));
    let bytes = code.as_bytes();
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let (mut at, mut found): (usize, Vec<Word>) = (0, Vec::new());
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|b| is_word(**b)).count();
        if length > 0 {
            let rest = code[at + length..].trim_start_matches(|c: char| c.is_whitespace() || c == ']');
            let after_as = found.last().is_some_and(|w| w.text == "as");
            // Past `as` a whole path follows; each of its parts counts as called.
            let in_path = found.last().is_some_and(|w| w.calls) && code[..at].trim_end().ends_with('.');
            let calls = rest.starts_with('(') || after_as || in_path;
            found.push(Word { text: code[at..at + length].to_owned(), calls });
        }
        at += length.max(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Option<String> {
        let mut engine = Engine::new();
        let text = format!("package a\n\nimport rego.v1\n\n{body}\n");
        engine.add_policy("a.rego".to_owned(), text).unwrap_or_else(|e| panic!("{e}"));
        recursive(&mut engine).map(|(file, line, name)| format!("{file}:{line} {name}"))
    }

    #[test]
    fn functions_that_come_back_are_found() {
        assert_eq!(of("f(x) := f(x)").as_deref(), Some("a.rego:5 f"));
        assert_eq!(of("f(x) := g(x)\n\ng(x) := x + f(x)").as_deref(), Some("a.rego:5 f"));
        assert_eq!(of("f(x) := y if {\n\ty := data.a.f(x)\n}").as_deref(), Some("a.rego:5 f"));
        assert_eq!(of("f(x) := y if {\n\ty := data.a[\"f\"](x)\n}").as_deref(), Some("a.rego:5 f"));
        assert_eq!(of("g(x) := x\n\nf(x) := y if {\n\ty := g(x) with g as f\n}").as_deref(), Some("a.rego:7 f"));
        assert_eq!(of("g(x) := x\n\nf(x) := y if {\n\ty := g(x) with g as data.a.f\n}").as_deref(), Some("a.rego:7 f"));
        assert_eq!(of("f(x) := count(x)\n\ng(x) := f(f(x)) # g(x)\n\nr := g([\"g(1)\"])"), None);
        assert_eq!(of("f(x) := 1 if x > 1\n\nf(x) := 2 if x <= 1"), None);
    }
}
