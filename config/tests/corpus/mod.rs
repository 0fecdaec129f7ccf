//! Any text, as configuration: used by the fuzz target and by the test that runs its corpus again.

use tidegate_config::load_documents;

/// Files of a configuration, each begun by a line `### NAME`; what stands before the first is one file too. Whatever is
/// read, it is read the same again. Whether it is a whole configuration.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut documents = vec![("first.yaml".to_owned(), String::new())];
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix("### ") {
            documents.push((name.trim().to_owned(), String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
        }
    }
    let once = load_documents(documents.clone());
    let again = load_documents(documents);
    match (once, again) {
        (Ok(once), Ok(again)) => {
            assert_eq!(once, again);
            true
        }
        (Err(once), Err(again)) => {
            assert_eq!(once.to_string(), again.to_string());
            false
        }
        _ => panic!("read two ways"),
    }
}
