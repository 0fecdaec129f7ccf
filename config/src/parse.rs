//! Text → documents. Owns the split of a file and the faults of shape: the first of each document. Refuses to guess:
//! a document with a fault of shape is left out and its name kept, so that references to it do not look dangling.

use crate::fault::{Sink, Src};
use crate::raw::{Body, Doc, Raw};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Every kind of document.
const KINDS: [&str; 9] =
    ["Provider", "Area", "Region", "Service", "Vantage", "Reference", "ClientGroup", "Rules", "Policy"];

/// Reads every document of one YAML file into `raw`.
pub(crate) fn file(name: &str, text: &str, raw: &mut Raw, sink: &mut Sink) {
    let file: Arc<str> = Arc::from(name);
    for (offset, text) in split(text) {
        document(&Src { file: Arc::clone(&file), offset }, &text, raw, sink);
    }
}

/// Splits at `---` and `...` in the first column, which YAML reserves for this even inside a block scalar.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut documents = Vec::new();
    let (mut offset, mut current) = (0, String::new());
    for (i, line) in text.lines().enumerate() {
        let marker = line.get(..3).filter(|m| matches!(*m, "---" | "..."));
        let marker = marker.filter(|_| line[3..].is_empty() || line[3..].starts_with([' ', '\t']));
        if marker.is_some() {
            documents.push((offset, std::mem::take(&mut current)));
            offset = i;
            current.push_str("   ");
            current.push_str(&line[3..]);
        } else {
            current.push_str(line);
        }
        current.push('\n');
    }
    documents.push((offset, current));
    documents.retain(|(_, t)| t.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')));
    documents
}

/// The text of a key in the first column, with its line.
fn top<'a>(text: &'a str, key: &str) -> Option<(usize, &'a str)> {
    text.lines().enumerate().find_map(|(i, line)| {
        let rest = line.strip_prefix(key)?.strip_prefix(':')?;
        let value = rest.split(" #").next().unwrap_or(rest).trim().trim_matches(['"', '\'']);
        Some((i + 1, value))
    })
}

/// The line where a document begins that is one flow mapping, `{ apiVersion: … }`: good YAML, but its kind and name are
/// looked for in the first column, so that a document that cannot be read still has both.
fn flow(text: &str) -> Option<usize> {
    let (i, first) =
        text.lines().enumerate().find(|(_, l)| !l.trim().is_empty() && !l.trim_start().starts_with(['#', '%']))?;
    first.trim_start().starts_with('{').then_some(i + 1)
}

fn document(src: &Src, text: &str, raw: &mut Raw, sink: &mut Sink) {
    let kind = top(text, "kind");
    let name = top(text, "name").map_or("", |n| n.1);
    let good = match (top(text, "apiVersion"), kind) {
        (None, _) if flow(text).is_some() => {
            let line = flow(text).unwrap_or(1);
            let mend = "write it in block style: `apiVersion:`, `kind:`, `name:` and `spec:` in the first column";
            sink.error(src, line, "", "the document is one flow mapping", mend);
            false
        }
        (None, _) => {
            let first = text.lines().position(|l| !l.trim().is_empty()).unwrap_or(0) + 1;
            let mend = format!("begin every document with `apiVersion: {}`", crate::API_VERSION);
            sink.error(src, first, "apiVersion", "missing", &mend);
            false
        }
        (Some((line, version)), _) if version != crate::API_VERSION => {
            let mend = format!("write `{}`, the one that this program reads", crate::API_VERSION);
            sink.error(src, line, "apiVersion", format!("`{version}` is not known"), &mend);
            false
        }
        (Some((line, _)), None) => {
            sink.error(src, line, "kind", "missing", &format!("add `kind:`, one of {}", KINDS.join(", ")));
            false
        }
        (Some(_), Some((_, kind))) if KINDS.contains(&kind) => typed(kind, src, text, raw, sink),
        (Some(_), Some((line, kind))) => {
            let mend = suggestion(kind, &KINDS);
            sink.error(src, line, "kind", format!("`{kind}` is not known"), &mend);
            false
        }
    };
    if !good {
        let kind = kind.map(|k| k.1).filter(|k| KINDS.contains(k)).unwrap_or_default();
        raw.broken.insert((kind.to_owned(), name.to_owned()));
    }
}

fn typed(kind: &str, src: &Src, text: &str, raw: &mut Raw, sink: &mut Sink) -> bool {
    match kind {
        "Provider" => take(src, text, &mut raw.providers, sink),
        "Area" => take(src, text, &mut raw.areas, sink),
        "Region" => take(src, text, &mut raw.regions, sink),
        "Service" => take(src, text, &mut raw.services, sink),
        "Vantage" => take(src, text, &mut raw.vantages, sink),
        "Reference" => take(src, text, &mut raw.references, sink),
        "ClientGroup" => take(src, text, &mut raw.groups, sink),
        "Rules" => take(src, text, &mut raw.rules, sink),
        "Policy" => take(src, text, &mut raw.policies, sink),
        _ => false,
    }
}

fn take<S: DeserializeOwned>(src: &Src, text: &str, into: &mut Vec<Doc<S>>, sink: &mut Sink) -> bool {
    match serde_saphyr::from_str::<Body<S>>(text) {
        Ok(Body { name, spec, _api_version: _, _kind: _ }) => {
            into.push(Doc { src: src.clone(), name, spec });
            true
        }
        Err(error) => {
            shape(src, text, &error, sink);
            false
        }
    }
}

/// One fault of shape in a person's words.
fn shape(src: &Src, text: &str, error: &serde_saphyr::Error, sink: &mut Sink) {
    use serde_saphyr::Error as E;
    let error = error.without_snippet();
    let line = error.location().map_or(0, |l| usize::try_from(l.line()).unwrap_or(0));
    let mut key = key_path(text, line);
    // Where a key is missing the place is a mapping, not one of its keys.
    if !matches!(error, E::SerdeMissingField { .. }) {
        let column = error.location().map_or(0, |l| usize::try_from(l.column()).unwrap_or(0));
        let within = flow_path(text.lines().nth(line.saturating_sub(1)).unwrap_or_default(), column);
        if !within.is_empty() && !key.is_empty() {
            key = format!("{key}{within}");
        }
    }
    let (what, mend) = match error {
        E::SerdeUnknownField { field, expected, .. } => {
            if !key.ends_with(field.as_str()) {
                key = if key.is_empty() { field.clone() } else { format!("{key}.{field}") };
            }
            (format!("`{field}` is no key here"), suggestion(field, expected))
        }
        E::SerdeMissingField { field, .. } => {
            (format!("`{field}` is missing"), format!("add `{field}:` to the mapping that begins here"))
        }
        E::DuplicateMappingKey { key, .. } => {
            (format!("`{}` stands twice", key.as_deref().unwrap_or("?")), "keep one of the two".to_owned())
        }
        E::SerdeInvalidType { unexpected, expected, .. } | E::SerdeInvalidValue { unexpected, expected, .. } => {
            (format!("{unexpected} cannot stand here"), format!("write {expected}"))
        }
        E::InvalidScalar { ty, .. } => ("the value cannot be read".to_owned(), format!("write {}", wanted(ty, &key))),
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default().to_owned();
            (format!("not readable: {first}"), "compare the document with schemas/tidegate-v1.json".to_owned())
        }
    };
    sink.error(src, line, &key, what, &mend);
}

/// A type of ours in a person's words.
fn wanted(ty: &str, key: &str) -> String {
    match ty {
        "u16" if key.rsplit('.').next() == Some("port") => "a number from 1 to 65535".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "bool" => "true or false".to_owned(),
        other => format!("a value of type {other}"),
    }
}

/// The path within the flow collections of one line that leads to `column`, from 1: `.port` in `{ host: a, port: 1 }`,
/// `[1]` in `[a, b]`. What stands before the first bracket belongs to the block around.
fn flow_path(line: &str, column: usize) -> String {
    let mut frames: Vec<Frame> = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in line.chars().take(column.saturating_sub(1)) {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') if word.trim().is_empty() => quote = Some(c),
            (None, '{') => frames.push(Frame::Mapping(None)),
            (None, '[') => frames.push(Frame::List(0)),
            (None, '}' | ']') => {
                frames.pop();
            }
            (None, ',') => match frames.last_mut() {
                Some(Frame::Mapping(key)) => *key = None,
                Some(Frame::List(n)) => *n += 1,
                None => {}
            },
            (None, ':') => {
                if let Some(Frame::Mapping(key @ None)) = frames.last_mut() {
                    *key = Some(word.trim().to_owned());
                }
            }
            (_, c) => {
                word.push(c);
                continue;
            }
        }
        word.clear();
    }
    let part = |frame: &Frame| match frame {
        Frame::Mapping(key) => key.as_ref().map_or(String::new(), |k| format!(".{k}")),
        Frame::List(n) => format!("[{n}]"),
    };
    frames.iter().map(part).collect()
}

/// One open bracket of a line.
enum Frame {
    Mapping(Option<String>),
    List(usize),
}

/// The path of keys that leads to `line`, by indentation: good for block style, coarser for flow style.
fn key_path(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let mut parts: Vec<String> = Vec::new();
    let mut limit = usize::MAX;
    let mut index = 0_usize;
    let mut in_list: Option<usize> = None;
    for text in lines.iter().rev() {
        let trimmed = text.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let mut indent = text.len() - trimmed.len();
        let item = trimmed.strip_prefix("- ");
        if let Some(rest) = item {
            match in_list {
                Some(column) if column == indent => index += 1,
                None if indent < limit => (in_list, index) = (Some(indent), 0),
                _ => {}
            }
            indent += 2;
            if indent >= limit {
                continue;
            }
            if let Some(key) = key_of(rest) {
                parts.push(key);
            }
            limit = indent - 1;
        } else if indent < limit && in_list.is_none_or(|column| indent <= column) {
            let Some(key) = key_of(trimmed) else { continue };
            let key = if in_list.take().is_some() { format!("{key}[{index}]") } else { key };
            parts.push(key);
            limit = indent;
        } else if indent < limit
            && let Some(key) = key_of(trimmed)
        {
            parts.push(key);
            limit = indent;
        }
    }
    parts.reverse();
    parts.join(".")
}

fn key_of(text: &str) -> Option<String> {
    let (key, rest) = text.split_once(':')?;
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (plain && (rest.is_empty() || rest.starts_with(' '))).then(|| key.to_owned())
}

/// `did you mean …`, or the list where nothing is near.
pub(crate) fn suggestion(given: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (distance(given, k), *k)).min();
    match near {
        Some((d, k)) if d <= 2.min(given.chars().count() / 2) => format!("did you mean `{k}`?"),
        None => "remove it".to_owned(),
        Some(_) if known.len() > 12 => "declare it, or correct the name".to_owned(),
        Some(_) => format!("use one of {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// Edit distance, without regard to case, capped where it no longer matters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    if a.len().abs_diff(b.len()) > 2 || a.len() > 128 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_split_where_yaml_says() {
        let got = split("# head\n---\na: 1\nb: |\n  ---\n--- # next\nc: 2\n...\n---\n# nothing\n");
        let lines: Vec<usize> = got.iter().map(|d| d.0).collect();
        assert_eq!(lines, [1, 5]);
        assert!(got[1].1.contains("c: 2"));
    }

    #[test]
    fn a_line_names_its_keys() {
        let text = "kind: Service\nspec:\n  classes:\n    - name: eu\n      match:\n        header:\n          nome: x\n    - name: us\n      prio: 1\n";
        assert_eq!(key_path(text, 7), "spec.classes[0].match.header.nome");
        assert_eq!(key_path(text, 9), "spec.classes[1].prio");
        assert_eq!(key_path(text, 8), "spec.classes[1].name");
    }

    #[test]
    fn a_column_names_the_key_within_brackets() {
        let line = "    - { region: aws/us-east-1, host: \"a:b\", port: 100000, tags: [x, { y: 1 }] }";
        let at = |what: &str| flow_path(line, line.find(what).expect("there") + 1);
        assert_eq!(at("aws/us"), ".region");
        assert_eq!(at("100000"), ".port");
        assert_eq!(at("x,"), ".tags[0]");
        assert_eq!(at("1 }"), ".tags[1].y");
        assert_eq!(flow_path("  port: 100000", 9), "");
    }

    #[test]
    fn near_names_are_offered() {
        assert_eq!(suggestion("intervall", &["interval", "timeout"]), "did you mean `interval`?");
        assert_eq!(suggestion("x", &["interval", "timeout"]), "use one of `interval`, `timeout`");
    }
}
