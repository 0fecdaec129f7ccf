//! Names that a policy may not use: what reads the clock, the network, randomness or the machine. An answer must be a
//! function of the question, else it could neither be kept nor replayed.

/// Heads and, where only one function of a family is impure, its member.
const FORBIDDEN: [(&str, Option<&str>); 7] = [
    ("rand", None),
    ("http", None),
    ("time", None),
    ("uuid", None),
    ("io", None),
    ("opa", Some("runtime")),
    ("net", Some("lookup_ip_addr")),
];

/// The first forbidden name in `text`, with its line from 1.
pub(crate) fn forbidden(text: &str) -> Option<(usize, String)> {
    let code = code_of(text);
    let bytes = code.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut at = 0;
    while at < bytes.len() {
        if !word(bytes[at]) {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|b| word(**b)).count();
        // What follows a dot is a field, as in `input.time`.
        let field = code[..at].trim_end().ends_with('.');
        if let Some(name) = (!field).then(|| family(&code[at..end], code[end..].trim_start())).flatten() {
            return Some((1 + code[..at].matches('\n').count(), name));
        }
        at = end;
    }
    None
}

fn family(head: &str, rest: &str) -> Option<String> {
    let (_, member) = FORBIDDEN.iter().find(|(h, _)| *h == head)?;
    let rest = rest.strip_prefix(['.', '['])?.trim_start();
    let called: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    // `net["lookup_ip_addr"]`: the string was blanked, so an empty name is suspected.
    let hit = member.is_none_or(|m| called == m || called.is_empty());
    hit.then(|| if called.is_empty() { head.to_owned() } else { format!("{head}.{called}") })
}

/// The line on which brackets first stand deeper than `most`.
pub(crate) fn too_deep(text: &str, most: usize) -> Option<usize> {
    let mut depth = 0_usize;
    code_of(text)
        .lines()
        .position(|line| {
            line.chars().any(|c| {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth > most
            })
        })
        .map(|at| at + 1)
}

/// `text` with comments and the insides of strings blanked; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut within: Option<char> = None;
    while let Some(c) = chars.next() {
        match (within, c) {
            (Some('#'), '\n') => within = None,
            (None, '#' | '"' | '`') => within = Some(c),
            (Some('"'), '\\') => {
                chars.next();
                out.push(' ');
            }
            (Some(open @ ('"' | '`')), close) if open == close => within = None,
            _ => {}
        }
        let keep = c == '\n' || (within.is_none() && c.is_ascii() && !matches!(c, '"' | '`'));
        out.push(if keep { c } else { ' ' });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impure_names_are_found_with_their_line() {
        let found = |t: &str| forbidden(t).map(|(line, name)| format!("{line} {name}"));
        assert_eq!(found("package a\nx := rand.intn(\"a\", 5)").as_deref(), Some("2 rand.intn"));
        assert_eq!(found("x := time.now_ns()").as_deref(), Some("1 time.now_ns"));
        assert_eq!(found("x := http.send({})").as_deref(), Some("1 http.send"));
        assert_eq!(found("x := rand[\"intn\"](1)").as_deref(), Some("1 rand"));
        assert_eq!(found("x := rand\n  . intn(1)").as_deref(), Some("1 rand.intn"));
        assert_eq!(found("x := opa.runtime()").as_deref(), Some("1 opa.runtime"));
        assert_eq!(found("x := net.cidr_contains(\"10.0.0.0/8\", input.ip)"), None);
        assert_eq!(found("# rand.intn\nx := \"time.now_ns() \\\" rand.x\" + `http.send`"), None);
        assert_eq!(found("x := input.time.zone; y := timely.x"), None);
    }
}
