//! Runs a target's corpus again: included by the tests of the room that owns the decoder.
//!
//! A file is meant to be taken, unless its name begins with `refused-`. One that a fuzzer has just written (its name is the
//! SHA-1 of its content) may be either: it is run, and waits for somebody to name it or to delete it.

use std::path::{Path, PathBuf};

/// The corpus' folder, from wherever this package stands.
pub(crate) fn folder(target: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.ancestors().find(|dir| dir.join("fuzz/corpus").is_dir()).unwrap_or(own);
    root.join("fuzz/corpus").join(target)
}

/// Gives every file of the corpus to `door`, which says whether the bytes were taken.
///
/// # Panics
/// When no file is meant to be taken, or one is taken that must not be, or the other way round.
pub(crate) fn replay(target: &str, door: fn(&[u8]) -> bool) {
    let (mut taken, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder(target)).expect("a corpus") {
        let path = entry.expect("a file").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let took = door(&std::fs::read(&path).expect("a file's content"));
        if name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
            continue;
        }
        if took == name.starts_with("refused-") {
            wrong.push(format!("{target}/{name} is {}", if took { "taken" } else { "refused" }));
        }
        taken += usize::from(took);
    }
    assert_eq!(wrong, Vec::<String>::new(), "not as the names say");
    assert!(taken > 0, "{target}: nothing is taken");
}
