//! The command as a person or a program starts it: what it prints, how it ends. Owns the helpers and the verbs that need
//! no server; `online` has a server that says what a test tells it to.

mod online;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).stdin(Stdio::null()).env_remove("TIDEGATE_SERVER").env_remove("TIDEGATE_TOKEN_FILE");
    command
}

fn run(args: &[&str]) -> Output {
    tidegate(args).output().expect("the program starts")
}

fn code(out: &Output) -> i32 {
    out.status.code().unwrap_or_else(|| panic!("ended by a signal: {out:?}"))
}

fn stdout(out: &Output) -> &str {
    std::str::from_utf8(&out.stdout).expect("UTF-8")
}

fn stderr(out: &Output) -> &str {
    std::str::from_utf8(&out.stderr).expect("UTF-8")
}

/// The example fleet in a folder of its own, with `from` replaced by `to` in `file`.
fn fleet(home: &Path, name: &str, edits: &[(&str, &str, &str)]) -> PathBuf {
    let dir = home.join(name);
    for (path, mut text) in tidegate_config::example_payroll() {
        for (_, from, to) in edits.iter().filter(|(file, _, _)| *file == path) {
            assert!(text.contains(from), "{path} has no `{from}`");
            text = text.replacen(from, to, 1);
        }
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
    dir
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_diff_names_what_widens_and_the_policy() {
    let home = tempfile::tempdir().expect("temporary folder");
    let old = fleet(home.path(), "old", &[]);
    let same = run(&["config", "diff", shown(&old), shown(&old)]);
    assert_eq!((code(&same), stdout(&same)), (0, "no change\n"));

    let swap = [
        ("service.yaml", "value: eu }", "value: once }"),
        ("service.yaml", "value: open }", "value: eu }"),
        ("service.yaml", "value: once }", "value: open }"),
    ];
    let swapped = fleet(home.path(), "swapped", &swap);
    let out = run(&["config", "diff", shown(&old), shown(&swapped)]);
    assert_eq!(code(&out), 3);
    assert!(
        stdout(&out).starts_with(
            "WIDENS  payroll: requests with header `x-residency-class: eu` are now served as payroll/open (anywhere)"
        ),
        "{out:?}"
    );

    let rego = [("policy/residency.rego", "package ", "# another text\npackage ")];
    let policy = fleet(home.path(), "policy", &rego);
    let out = run(&["config", "diff", shown(&old), shown(&policy)]);
    assert_eq!(code(&out), 3);
    let line = stdout(&out);
    assert!(line.starts_with("policy  bundle ") && line.contains(" -> ") && line.lines().count() == 1, "{line}");
}

#[test]
fn a_write_is_never_watched() {
    // No server is needed: the refusal comes before anything is sent. The address is one where nothing listens.
    let cases: &[&[&str]] = &[
        &["drain", "aws", "--reason", "x"],
        &["drain", "aws", "--reason", "x", "--dry-run"],
        &["restore", "aws", "--reason", "x"],
        &["ramp", "pause", "--reason", "x"],
        &["join-token", "aws-1", "--reason", "x"],
        &["automation", "pause", "--reason", "x"],
        &["provider", "api", "aws", "--well", "--reason", "x"],
        &["config", "reload", "--reason", "x"],
        &["config", "schema"],
        &["replay", "all"],
        &["events", "--follow"],
        &["bootstrap", "envoy", "--node", "n", "--group", "g", "--xds", "127.0.0.1:1"],
        &["completions", "bash"],
    ];
    for verb in cases {
        let out = run(&[*verb, &["-w", "--server", "http://127.0.0.1:1"]].concat());
        assert_eq!(code(&out), 2, "{verb:?}: {out:?}");
        assert!(stderr(&out).contains("nothing was done") && stdout(&out).is_empty(), "{verb:?}: {out:?}");
    }
    let drain = run(&["drain", "aws", "--reason", "x", "-w"]);
    assert!(stderr(&drain).contains("say --wait"), "{drain:?}");
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_but_a_reader_that_left_is_none() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    for verb in [&["config", "schema"][..], &["completions", "bash"], &["explain", "TG-2001"]] {
        let out =
            tidegate(verb).stdout(full.try_clone().expect("a second handle")).output().expect("the program starts");
        assert_eq!(code(&out), 1, "{verb:?}: {out:?}");
        assert!(stderr(&out).contains("could not be written"), "{out:?}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let out = tidegate(verb).stdout(writer).output().expect("the program starts");
        assert_eq!((code(&out), stderr(&out)), (0, ""), "{verb:?}");
    }
}

#[test]
fn what_is_explained_is_checked_before_a_server_is_asked() {
    let cases: &[(&[&str], &str)] = &[
        (&["explain", "region", "aws"], "PROVIDER/REGION"),
        (&["explain", "decision", "first"], "a decision has a number"),
        (&["explain", "TG-7777"], "there is no code TG-7777"),
        (&["explain", "service"], "lacks a name"),
        (&["replay", "first"], "a decision has a number"),
    ];
    for (verb, words) in cases {
        let out = run(&[*verb, &["--server", "http://127.0.0.1:1"]].concat());
        assert_eq!(code(&out), 2, "{verb:?}: {out:?}");
        assert!(stderr(&out).contains(words), "{verb:?}: {out:?}");
    }
    let lower = run(&["explain", "tg-2001"]);
    assert!(code(&lower) == 0 && stdout(&lower).starts_with("# TG-2001"), "{lower:?}");
}

#[test]
fn a_bootstrap_names_two_servers_and_no_far_one_unasked() {
    let base = ["bootstrap", "envoy", "--node", "edge-1", "--group", "edge-de"];
    let with = |more: &[&str]| run(&[&base[..], more].concat());
    let two = with(&["--xds", "127.0.0.1:8401", "--xds", "localhost:8402"]);
    assert_eq!((code(&two), stderr(&two)), (0, ""));
    let one = with(&["--xds", "[::1]:8401"]);
    assert!(code(&one) == 0 && stderr(&one).contains("only one server is named"), "{one:?}");
    let far = ["--xds", "127.0.0.1:8401", "--xds", "10.0.0.1:8401"];
    let refused = with(&far);
    assert!(
        code(&refused) == 2 && stderr(&refused).contains("10.0.0.1:8401") && stdout(&refused).is_empty(),
        "{refused:?}"
    );
    let taken = with(&[&far[..], &["--insecure-plaintext"]].concat());
    assert!(code(&taken) == 0 && stdout(&taken).contains("10.0.0.1"), "{taken:?}");
}

/// The JSON that programs read, byte for byte. After a change that is meant: `UPDATE_GOLDEN=1 cargo test -p tidegate`.
#[track_caller]
fn golden(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
        std::fs::write(&path, got).expect("golden written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, kept, "{name}: other JSON than programs rely on");
    let first: serde_json::Value =
        serde_json::Deserializer::from_str(got).into_iter().next().expect("a document").expect("JSON");
    assert_eq!(first["api_version"], "tidegate/v1", "{name}");
}

#[test]
fn json_of_the_verbs_that_need_no_server() {
    let home = tempfile::tempdir().expect("temporary folder");
    let good = fleet(home.path(), "good", &[]);
    let tight = fleet(home.path(), "tight", &[("places.yaml", "capacity: 120 rps", "capacity: 121 rps")]);
    let bad = fleet(home.path(), "bad", &[("service.yaml", "permitted: [DE, NL]", "permitted: [DE, Germany]")]);
    let cases: &[(&str, i32, &[&str])] = &[
        ("config-check.json", 0, &["config", "check", shown(&good)]),
        ("config-check-faults.json", 1, &["config", "check", shown(&bad)]),
        ("config-diff.json", 3, &["config", "diff", shown(&good), shown(&tight)]),
        ("config-diff-same.json", 0, &["config", "diff", shown(&good), shown(&good)]),
        ("policy-check.json", 0, &["policy", "check", shown(&good)]),
        ("plan.json", 0, &["plan", "--config", shown(&good), "--lose", "aws"]),
        ("explain-code.json", 0, &["explain", "TG-2001"]),
    ];
    for (name, exit, verb) in cases {
        let out = run(&[*verb, &["-o", "json"]].concat());
        assert_eq!(code(&out), *exit, "{verb:?}: {out:?}");
        golden(name, stdout(&out));
    }
}
