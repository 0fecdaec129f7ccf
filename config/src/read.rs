//! The directory on disk: which files are read, and how much of them. The only IO of this crate.

use crate::fault::{Faults, Sink};
use crate::{FILE_MAX_BYTES, Loaded, load_documents};
use std::path::Path;

/// Most files of one configuration.
const FILES_MAX: usize = 10_000;
/// Deepest folder below the directory.
const DEPTH_MAX: usize = 8;

/// Reads `*.yaml`, `*.yml` and `*.rego` below `path` and checks them. Names that begin with `.` are left out (mounted
/// secrets and config maps keep their versions there); other files are no part of the configuration.
///
/// # Errors
/// Everything that is wrong, files that could not be read among it. Nothing was changed.
pub fn load_dir(path: &Path) -> Result<Loaded, Faults> {
    let mut sink = Sink::default();
    let mut documents = Vec::new();
    walk(path, "", 0, &mut documents, &mut sink);
    if documents.is_empty() {
        let mend = "name a directory with .yaml files; `config/examples/payroll` is one to copy";
        sink.file(&path.display().to_string(), "there is no configuration here", mend);
    }
    match sink.finish() {
        Ok(_) => load_documents(documents),
        Err(mut unread) => {
            // A file that cannot be read must not hide the faults of the others.
            if let (Err(more), false) = (load_documents(documents.clone()), documents.is_empty()) {
                unread.faults.extend(more.faults);
            }
            Err(unread)
        }
    }
}

fn walk(dir: &Path, prefix: &str, depth: usize, into: &mut Vec<(String, String)>, sink: &mut Sink) {
    let shown = if prefix.is_empty() { dir.display().to_string() } else { prefix.to_owned() };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            return sink.file(&shown, format!("cannot be read: {error}"), "check the path and its permissions");
        }
    };
    let mut names: Vec<_> = entries.filter_map(Result::ok).map(|e| e.file_name()).collect();
    names.sort();
    for name in names {
        let path = dir.join(&name);
        let Some(name) = name.to_str() else {
            sink.file(&path.display().to_string(), "the name is not UTF-8", "rename the file");
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let shown = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let wanted = [".yaml", ".yml", ".rego"].iter().any(|end| name.ends_with(end));
        if path.is_dir() {
            if depth == DEPTH_MAX {
                sink.file(&shown, "the folder is too deep", "move it up");
            } else {
                walk(&path, &shown, depth + 1, into, sink);
            }
        } else if wanted && into.len() == FILES_MAX {
            return sink.file(&shown, format!("more than {FILES_MAX} files"), "put several documents into one file");
        } else if wanted {
            file(&path, shown, into, sink);
        }
    }
}

fn file(path: &Path, shown: String, into: &mut Vec<(String, String)>, sink: &mut Sink) {
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    if size > FILE_MAX_BYTES as u64 {
        return sink.file(&shown, format!("{size} bytes are too many"), "split the file");
    }
    match std::fs::read_to_string(path) {
        Ok(text) => into.push((shown, text)),
        Err(error) => {
            sink.file(&shown, format!("cannot be read: {error}"), "check permissions; the text must be UTF-8")
        }
    }
}
