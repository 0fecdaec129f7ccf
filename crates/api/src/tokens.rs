//! Named tokens: subject, role, end; only their SHA-256 is at rest.
//!
//! Owns who may be called what, the form of a token and of the line that lets it in. Refuses files and clocks: the server
//! reads the one, and asks with the other.

use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::str::FromStr;
use tidegate_domain::Wall;

/// What a token lets its holder do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Drains, restores, pauses, resumes.
    Operator,
    /// Also reloads the configuration and lets probers in.
    Admin,
}

impl Role {
    /// All of them, as they are written.
    pub const WORDS: [&str; 3] = ["viewer", "operator", "admin"];

    /// `viewer`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|r| r.word() == text);
        known.ok_or_else(|| format!("`{text}` is no role; write viewer, operator or admin"))
    }
}

/// Names under which Tidegate's own parts stand in the journal: no person may have one, or the audit would not show them.
pub const PARTS: [&str; 6] = ["electorate", "kernel", "server", "edges", "edge", "expiry"];

fn subject(text: &str) -> Result<String, String> {
    let good =
        !text.is_empty() && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
    if !good {
        return Err(format!("`{text}` is no subject: 1 to 63 letters, digits, `-`, `_`, `.`, `@`"));
    }
    if PARTS.contains(&text) {
        return Err(format!("`{text}` is a part of Tidegate itself: name the person or program that holds the token"));
    }
    Ok(text.to_owned())
}

/// Whom a token lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Stands in the audit.
    pub subject: String,
    /// What it may do.
    pub role: Role,
    /// When it ends; none: never.
    pub until: Option<Wall>,
}

/// All tokens by hash.
#[derive(Debug, Default)]
pub struct Tokens(BTreeMap<[u8; 32], Holder>);

fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
    out
}

/// Lower-case hexadecimal digits, two a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

fn holder(line: &str) -> Result<([u8; 32], Holder), String> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [name, role, end, digest] = parts[..] else {
        return Err("`subject role end hash` is the form; `xds-server token` writes such lines".to_owned());
    };
    let role = role.parse()?;
    let no_end = || format!("`{end}` is no end; write milliseconds since 1970 or `-`");
    let digits = end.bytes().all(|b| b.is_ascii_digit());
    let until = if end == "-" { None } else { Some(end.parse().ok().filter(|_| digits).map(Wall).ok_or_else(no_end)?) };
    let digest = unhex(digest).ok_or("the hash is not 64 hex digits")?;
    Ok((digest, Holder { subject: subject(name)?, role, until }))
}

impl Tokens {
    /// Lines of `subject role end hash`; end is milliseconds since 1970 or `-`. `#` begins a comment.
    ///
    /// # Errors
    /// What is wrong with the first bad line, and its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (number, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (digest, holder) = holder(line).map_err(|fault| format!("line {number}: {fault}"))?;
            if all.insert(digest, holder).is_some() {
                return Err(format!("line {number}: this token stands twice"));
            }
        }
        Ok(Self(all))
    }

    /// Whose token this is, unless it has ended. The look-up is by hash: its time tells nothing of the token.
    #[must_use]
    pub fn holder(&self, token: &str, now: Wall) -> Option<&Holder> {
        self.0.get(&hash(token)).filter(|h| h.until.is_none_or(|u| u > now))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// A new token and its line.
///
/// # Errors
/// When nobody may be called so, or the system gives no randomness.
pub fn new_token(name: &str, role: Role, until: Option<Wall>) -> Result<(String, String), String> {
    let subject = subject(name)?;
    let mut secret = [0_u8; 24];
    SystemRandom::new().fill(&mut secret).map_err(|_| "the system gives no randomness".to_owned())?;
    let token = format!("tg_{}", hex(&secret));
    let end = until.map_or("-".to_owned(), |u| u.0.to_string());
    Ok((token.clone(), format!("{subject} {} {end} {}", role.word(), hex(&hash(&token)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_until_its_end() -> Result<(), String> {
        let (token, line) = new_token("anna", Role::Operator, Some(Wall(1000)))?;
        let tokens = Tokens::parse(&format!("# people\n{line}\n"))?;
        assert_eq!(tokens.holder(&token, Wall(999)).map(|h| h.subject.as_str()), Some("anna"));
        assert_eq!(tokens.holder(&token, Wall(1000)), None);
        assert_eq!(tokens.holder("tg_wrong", Wall(0)), None);
        assert!(!line.contains(&token), "the token itself is never at rest");
        Ok(())
    }
    #[test]
    fn nobody_is_called_like_a_part() {
        for bad in ["kernel", "two words", "line\nbreak", ""] {
            assert!(new_token(bad, Role::Viewer, None).is_err(), "{bad:?}");
        }
    }
    #[test]
    fn bad_lines_are_named() {
        for (text, word) in [
            ("anna operator", "line 1"),
            ("a b - x", "`b` is no role"),
            ("a admin x y", "no end"),
            ("a admin +5 y", "no end"),
            ("a admin - zz", "64 hex"),
            (&format!("a admin - {}", "+f".repeat(32)), "64 hex"),
        ] {
            let error = Tokens::parse(text).err().unwrap_or_default();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
