//! The fuzzer's corpus, run again.

#[path = "corpus/mod.rs"]
mod check;

#[test]
fn the_fuzzers_corpus_is_read_without_a_fault() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/config");
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|file| check::check(&std::fs::read(file).unwrap()));
}
