//! Named tokens: subject, role, end; only their SHA-256 is at rest.

use crate::flags::Role;
use anyhow::{Context, Result, bail};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tidegate_domain::{Millis, Wall};

/// Names under which Tidegate's own parts stand in the journal: no person may have one, or the audit would not show them.
pub(crate) const PARTS: [&str; 6] = ["electorate", "kernel", "server", "edges", "edge", "expiry"];

fn subject(text: &str) -> Result<String> {
    let good =
        !text.is_empty() && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
    if !good {
        bail!("`{text}` is no subject: 1 to 63 letters, digits, `-`, `_`, `.`, `@`");
    }
    if PARTS.contains(&text) {
        bail!("`{text}` is a part of Tidegate itself: name the person or program that holds the token");
    }
    Ok(text.to_owned())
}

/// Whom a token lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) subject: String,
    pub(crate) role: Role,
    pub(crate) until: Option<Wall>,
}

/// All tokens by hash.
#[derive(Debug, Default)]
pub(crate) struct Tokens(BTreeMap<[u8; 32], Holder>);

fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

impl Tokens {
    /// Reads a file whose mode lets nobody else in.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let meta = std::fs::metadata(path).with_context(|| format!("token file {shown}"))?;
        if meta.permissions().mode() & 0o077 != 0 {
            bail!("token file {shown} can be read by others: chmod 600 {shown}");
        }
        Self::parse(&std::fs::read_to_string(path).with_context(|| format!("token file {shown}"))?)
            .with_context(|| format!("token file {shown}"))
    }

    /// Lines of `subject role end hash`; end is milliseconds since 1970 or `-`. `#` begins a comment.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut all = BTreeMap::new();
        for (number, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = line.split_whitespace().collect();
            let [subject, role, end, digest] = parts[..] else {
                bail!("line {number}: `subject role end hash` is the form; `xds-server token` writes such lines");
            };
            let role = match role {
                "viewer" => Role::Viewer,
                "operator" => Role::Operator,
                "admin" => Role::Admin,
                other => bail!("line {number}: `{other}` is no role; write viewer, operator or admin"),
            };
            let until = match end {
                "-" => None,
                ms => Some(Wall(ms.parse().with_context(|| {
                    format!("line {number}: `{ms}` is no end; write milliseconds since 1970 or `-`")
                })?)),
            };
            let digest = unhex(digest).with_context(|| format!("line {number}: the hash is not 64 hex digits"))?;
            let subject = self::subject(subject).with_context(|| format!("line {number}"))?;
            if all.insert(digest, Holder { subject, role, until }).is_some() {
                bail!("line {number}: this token stands twice");
            }
        }
        Ok(Self(all))
    }

    /// Whose token this is, unless it has ended. The look-up is by hash: its time tells nothing of the token.
    pub(crate) fn holder(&self, token: &str, now: Wall) -> Option<&Holder> {
        self.0.get(&hash(token)).filter(|h| h.until.is_none_or(|u| u > now))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A new token and its line.
pub(crate) fn new_token(subject: &str, role: Role, until: Option<Wall>) -> Result<(String, String)> {
    let subject = self::subject(subject)?;
    let mut secret = [0_u8; 24];
    SystemRandom::new().fill(&mut secret).ok().context("the system gives no randomness")?;
    let token = format!("tg_{}", hex(&secret));
    let role = match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    let end = until.map_or("-".to_owned(), |u| u.0.to_string());
    Ok((token.clone(), format!("{subject} {role} {end} {}", hex(&hash(&token)))))
}

/// So many days.
pub(crate) fn days(n: u32) -> Millis {
    Millis(u64::from(n) * 86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_until_its_end() -> Result<()> {
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
            ("a admin - zz", "64 hex"),
        ] {
            let error = Tokens::parse(text).err().map(|e| format!("{e:#}")).unwrap_or_default();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
