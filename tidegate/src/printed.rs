//! Every command that a page, an alert or a hint prints is one that the command line takes: whoever follows a hint at
//! 03:00 must not be told that a flag is missing. A test only.

use crate::args::Cli;
use clap::{CommandFactory, Parser};
use std::path::{Path, PathBuf};

/// Where commands are printed; files or folders below the repository's root.
const PLACES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs",
    "deploy",
    "config/policy",
    "config/examples",
    "tidegate/src",
    "xds-server/src",
    "stage/src",
    "crates",
];

fn files(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_file() {
        let wanted = ["md", "yml", "yaml", "service", "rs"];
        let wanted = path.extension().is_some_and(|e| wanted.iter().any(|w| e == *w));
        // A test's text is no hint.
        let test = ["tests.rs", "alerts_test.yml", "printed.rs"].iter().any(|name| path.ends_with(name));
        if wanted && !test {
            into.push(path.to_owned());
        }
        return;
    }
    for entry in std::fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
        let path = entry.expect("an entry").path();
        if !path.ends_with("tests") && !path.ends_with("target") {
            files(&path, into);
        }
    }
}

/// The commands of one file: whole lines of code blocks, and spans between back-quotes.
fn commands(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut prose = String::new();
    let mut fenced = false;
    let rust = path.extension().is_some_and(|e| e == "rs");
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.extend(trimmed.trim_start_matches("$ ").strip_prefix("tidegate ").map(str::to_owned));
        } else if !(rust && trimmed.starts_with("//")) {
            // A span may be broken over two lines of a paragraph, never over paragraphs or lines of a program.
            prose.push_str(trimmed.trim_end());
            prose.push_str(if rust || trimmed.is_empty() { "\n" } else { " " });
        }
    }
    for paragraph in prose.lines() {
        let spans = paragraph.split('`').skip(1).step_by(2);
        found.extend(spans.filter_map(|s| s.strip_prefix("tidegate ")).map(str::to_owned));
    }
    found
}

/// Words as a shell gives them to the program, up to a comment, a pipe or another command.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote, mut open) = (String::new(), None, false);
    // Hints stand in strings of programs, where quotes are escaped.
    for c in command.replace("\\\"", "\"").chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => (quote, open) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if open {
                    words.push(std::mem::take(&mut word));
                    open = false;
                }
            }
            (_, c) => {
                word.push(c);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    let end = words.iter().position(|w| w.starts_with('#') && w.len() == 1 || [">", "|", "&&", "2>"].contains(&&**w));
    words.truncate(end.unwrap_or(words.len()));
    words
}

/// `pause|resume` stands for each of the two.
fn alternatives(words: &[String]) -> Vec<Vec<String>> {
    let Some(at) = words.iter().position(|w| w.contains('|')) else { return vec![words.to_vec()] };
    let one = |choice: &str| {
        let mut words = words.to_vec();
        words[at] = choice.to_owned();
        words
    };
    words[at].split('|').map(one).collect()
}

/// Names of verbs alone, as prose speaks of them: `tidegate drain`, `tidegate config check`.
fn names_a_verb(words: &[String]) -> bool {
    let mut tree = Cli::command();
    words.iter().all(|word| match tree.find_subcommand(word).cloned() {
        Some(next) => {
            tree = next;
            true
        }
        None => false,
    })
}

#[test]
fn every_command_that_is_printed_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = Vec::new();
    PLACES.iter().for_each(|place| files(&root.join(place), &mut paths));
    let (mut count, mut bad) = (0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        // A page explains verbs by their names too. A hint or an alert says what to type.
        let prose = path.extension().is_some_and(|e| e == "md");
        for command in commands(&path, &text) {
            for words in alternatives(&words(&command)) {
                count += 1;
                if let Err(error) = Cli::try_parse_from(std::iter::once("tidegate".to_owned()).chain(words.clone()))
                    // Help is an answer, not a fault.
                    && error.use_stderr()
                    && !(prose && names_a_verb(&words))
                {
                    let why = error.to_string().lines().take(2).collect::<Vec<_>>().join(" ");
                    bad.push(format!("{}: `tidegate {command}`: {why}", path.display()));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(count > 80, "only {count} commands were found: is the reading of pages broken?");
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    assert_eq!(words("drain aws --reason \\\"a b\\\"   # why"), ["drain", "aws", "--reason", "a b"]);
    assert_eq!(words("bootstrap envoy > file"), ["bootstrap", "envoy"]);
    assert_eq!(alternatives(&words("ramp pause|abort --reason x")).len(), 2);
    let page = "see `tidegate status\n-w`.\n\n```sh\ntidegate drains   # now\n```\n";
    assert_eq!(commands(Path::new("a.md"), page), ["drains   # now", "status -w"]);
    assert!(names_a_verb(&words("config check")) && !names_a_verb(&words("automation resume")));
}
