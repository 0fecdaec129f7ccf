//! The command as a person or a program starts it, without a server: what it prints, how it ends.

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
        stdout(&out).starts_with("WIDENS  payroll: requests with header `x-residency-class: eu` are now served as payroll/open (anywhere)"),
        "{out:?}"
    );

    let rego = [("policy/residency.rego", "package ", "# another text\npackage ")];
    let policy = fleet(home.path(), "policy", &rego);
    let out = run(&["config", "diff", shown(&old), shown(&policy)]);
    assert_eq!(code(&out), 3);
    let line = stdout(&out);
    assert!(line.starts_with("policy  bundle ") && line.contains(" -> ") && line.lines().count() == 1, "{line}");
}
