//! The fuzzers' corpus, run again.

use crate::fuzzing;
use std::path::Path;

type Door = fn(&[u8]);

#[test]
fn the_corpus_is_taken_without_a_fault() {
    let doors: [(&str, Door); 5] = [
        ("gossip_datagram", fuzzing::datagram),
        ("gossip_report", fuzzing::report),
        ("gossip_codec", fuzzing::codec),
        ("gossip_keyring", fuzzing::keyring),
        ("gossip_join", fuzzing::join),
    ];
    for (target, door) in doors {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut files = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            door(&std::fs::read(entry.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 0, "{} is empty", dir.display());
    }
}
