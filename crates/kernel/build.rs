//! Names the code that decides: a hash over the sources of the kernel and of the data that it works on, so that a replay can
//! tell another kernel from a record that was tampered with. Not a seal: FNV-1a, 128 bits.

use std::path::{Path, PathBuf};
use std::{fs, io};

const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|n| n != "tests.rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut hash = BASIS;
    let mut take = |bytes: &[u8]| hash = bytes.iter().fold(hash, |h, b| (h ^ u128::from(*b)).wrapping_mul(PRIME));
    for dir in ["src", "../domain/src"] {
        println!("cargo:rerun-if-changed={dir}");
        let dir = root.join(dir);
        let mut files = Vec::new();
        sources(&dir, &mut files)?;
        files.sort();
        for file in files {
            // The path within the room: where the repository lies changes nothing.
            take(file.strip_prefix(&dir).unwrap_or(&file).to_string_lossy().as_bytes());
            take(&[0]);
            take(&fs::read(&file)?);
            take(&[0]);
        }
    }
    println!("cargo:rustc-env=TIDEGATE_KERNEL_SOURCE={:016x}", hash >> 64);
    Ok(())
}
