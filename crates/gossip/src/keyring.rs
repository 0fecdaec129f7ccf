//! The shared keys, and the file in which they stand.
//!
//! Owns what a keyring file may look like and who may read it, and notices that it has changed. Refuses a file
//! that others may read.

use ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::digest::{SHA256, digest};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Keys in one ring. A rotation needs two.
const KEYS_MAX: usize = 8;
/// Bytes of a file that are read.
const FILE_MAX: u64 = 64 * 1024;

/// Why a keyring was refused. Nothing changed; a retry helps only after the file is mended.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// No key in it.
    #[error("the keyring holds no key; write one line of 64 hexadecimal digits (32 random bytes)")]
    Empty,
    /// A line is no key.
    #[error("line {line} of the keyring is no key: 64 hexadecimal digits are expected")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// More keys than a rotation needs.
    #[error("the keyring holds over {max} keys")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Two keys share their short id, or a key stands there twice.
    #[error("line {line} of the keyring repeats a key")]
    Repeated {
        /// Counted from 1.
        line: usize,
    },
    /// Others may read the file.
    #[error("{path} may be read by others (mode {mode:04o}); run `chmod 600 {path}`")]
    Mode {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Shared keys. The first seals, all open: to rotate, append the new key everywhere, then move it to the
/// front everywhere, then take the old one away.
pub struct Keyring {
    keys: Vec<(u32, LessSafeKey)>,
}
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| format!("{id:08x}"))).finish()
    }
}

/// So many bytes out of twice as many hexadecimal digits.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut key = [0_u8; N];
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(key)
}

/// Lower-case digits.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Keyring {
    /// Takes the text of a keyring: one key of 64 hexadecimal digits per line; `#` starts a comment.
    ///
    /// # Errors
    /// When a line is no key, a key repeats, or there are none or over eight.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<(u32, LessSafeKey)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let bytes = hex(line).ok_or(KeyringError::Line { line: at + 1 })?;
            let (id, key) = key_of(&bytes).ok_or(KeyringError::Line { line: at + 1 })?;
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(KeyringError::Repeated { line: at + 1 });
            }
            if keys.len() == KEYS_MAX {
                return Err(KeyringError::TooMany { max: KEYS_MAX });
            }
            keys.push((id, key));
        }
        if keys.is_empty() { Err(KeyringError::Empty) } else { Ok(Self { keys }) }
    }

    /// The key that seals, and its id.
    pub(crate) fn sealing(&self) -> Option<(u32, &LessSafeKey)> {
        self.keys.first().map(|(id, key)| (*id, key))
    }

    /// All keys with their ids; the first one seals.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, &LessSafeKey)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }
}

fn key_of(bytes: &[u8; 32]) -> Option<(u32, LessSafeKey)> {
    let mut named = b"tidegate gossip key".to_vec();
    named.extend_from_slice(bytes);
    let hash = digest(&SHA256, &named);
    let id = hash.as_ref().iter().take(4).fold(0_u32, |id, b| id << 8 | u32::from(*b));
    Some((id, LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?)))
}

/// What tells one state of a file from the next: whichever way it was changed or exchanged, one of these differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}
impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), length: metadata.len(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

/// A keyring file that may change while the program runs.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// None: it was not there.
    seen: Option<Stamp>,
}

impl KeyFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it cannot be read, has a mode with group or other bits, or is no keyring.
    pub fn open(path: &Path) -> Result<(Self, Keyring), KeyringError> {
        let (seen, read) = read(path);
        Ok((Self { path: path.to_owned(), seen }, read?))
    }

    /// The file's text, whole and read as a keyring, for whoever may have it.
    ///
    /// # Errors
    /// As [`KeyFile::open`].
    pub fn text(path: &Path) -> Result<String, KeyringError> {
        let (_, read) = read_text(path);
        let text = read?;
        Keyring::parse(&text).map(|_| text)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it again when it has changed since the last look; none when it has not. A state of the file is told
    /// once, good or bad. Waits for the disk.
    ///
    /// # Errors
    /// As [`KeyFile::open`]; the keys that are in use are not touched.
    pub fn look(&mut self) -> Option<Result<Keyring, KeyringError>> {
        let now = std::fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if now == self.seen {
            return None;
        }
        let (seen, read) = read(&self.path);
        self.seen = seen;
        Some(read)
    }
}

fn read(path: &Path) -> (Option<Stamp>, Result<Keyring, KeyringError>) {
    let (stamp, text) = read_text(path);
    (stamp, text.and_then(|text| Keyring::parse(&text)))
}

fn read_text(path: &Path) -> (Option<Stamp>, Result<String, KeyringError>) {
    let io = |source| KeyringError::Io { path: path.display().to_string(), source };
    let (metadata, file) = match File::open(path).and_then(|file| Ok((file.metadata()?, file))) {
        Ok(opened) => opened,
        // A file that may not be opened has a state too, so that it is told once.
        Err(error) => return (std::fs::metadata(path).ok().map(|found| Stamp::of(&found)), Err(io(error))),
    };
    // The mode of the open file, not of the path: it cannot be exchanged in between. And the stamp from before the
    // reading: what is written meanwhile shows at the next look.
    let (stamp, mode) = (Stamp::of(&metadata), metadata.mode() & 0o777);
    if mode & 0o077 != 0 {
        return (Some(stamp), Err(KeyringError::Mode { path: path.display().to_string(), mode }));
    }
    let mut text = String::new();
    let read = file.take(FILE_MAX).read_to_string(&mut text).map_err(io);
    (Some(stamp), read.map(|_| text))
}
