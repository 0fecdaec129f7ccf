//! Any text, as the tokens' file: used by the fuzz target and by the test that runs its corpus again.

use tidegate_api::tokens::{PARTS, Tokens};
use tidegate_domain::Wall;

/// Every line that lets somebody in says who, as what, until when, and the hash in one form; nobody comes in without a
/// token. Whether the file was taken.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(tokens) = Tokens::parse(&text) else { return false };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let &[subject, _, end, hash] = &parts[..] else { panic!("{line}: four parts") };
        assert!(!PARTS.contains(&subject), "{line}: a part of Tidegate");
        assert!(end == "-" || end.bytes().all(|b| b.is_ascii_digit()), "{line}: an end");
        assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{line}: a hash");
        count += 1;
    }
    assert_eq!(tokens.count(), count, "one a line");
    assert!(tokens.holder("", Wall(0)).is_none() && tokens.holder(&text, Wall(0)).is_none(), "nobody has this token");
    true
}
