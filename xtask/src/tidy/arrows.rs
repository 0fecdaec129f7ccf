//! Which room may depend on which. The table of ARCHITECTURE.md, checked.

use serde_json::Value;

const DOMAIN: &str = "tidegate-domain";

/// Room, what it may depend on besides `domain`. `*`: anything but the stage.
const ARROWS: &[(&str, &[&str])] = &[
    ("tidegate-domain", &[]),
    ("tidegate-kernel", &[]),
    ("tidegate-proto", &[]),
    ("tidegate-config", &[]),
    ("tidegate-record", &["tidegate-proto"]),
    ("tidegate-gossip", &["tidegate-proto"]),
    ("tidegate-prober", &["tidegate-gossip", "tidegate-proto"]),
    ("tidegate-policy", &["tidegate-kernel"]),
    ("tidegate-store", &["tidegate-record"]),
    ("tidegate-xds", &[]),
    ("tidegate-translate", &["tidegate-xds", "tidegate-proto"]),
    ("tidegate-controller", &["tidegate-kernel", "tidegate-policy", "tidegate-record", "tidegate-store"]),
    ("tidegate-api", &[]),
    ("tidegate-simulator", &["*"]),
    ("health-prober", &["tidegate-prober", "tidegate-gossip", "tidegate-proto", "tidegate-config"]),
    ("xds-server", &["*"]),
    ("edge-proxy", &["tidegate-xds", "tidegate-proto", "tidegate-config"]),
    (
        "tidegate",
        &[
            "tidegate-api",
            "tidegate-config",
            "tidegate-kernel",
            "tidegate-policy",
            "tidegate-translate",
            "tidegate-record",
            "tidegate-xds",
        ],
    ),
    ("tidegate-stage", &["tidegate-api", "tidegate-config", "tidegate-proto", "tidegate-xds"]),
    ("tidegate-it", &["*"]),
    ("tidegate-e2e", &["*", "tidegate-stage"]),
    ("tidegate-benches", &["*", "tidegate-stage"]),
    ("xtask", &[]),
];

/// `domain` has no arrow at all, `xds` and `xtask` none even to `domain`.
const WITHOUT_DOMAIN: &[&str] = &["tidegate-domain", "tidegate-xds", "tidegate-proto", "xtask"];

/// What a room's tests and benches may use besides its own arrows: single doors, not a pass for everything.
const DEV_ARROWS: &[(&str, &[&str])] = &[
    // Load reports are told by the names that the translation gave out: its test asks for both.
    ("tidegate-controller", &["tidegate-config", "tidegate-translate"]),
    ("tidegate-it", &["*"]),
    ("tidegate-e2e", &["*", "tidegate-stage"]),
    ("tidegate-benches", &["*", "tidegate-stage"]),
];

/// Sockets, disks, runtimes, randomness: what brings the world into a room.
const WORLD: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "futures",
    "hyper",
    "hyper-util",
    "tonic",
    "axum",
    "tower",
    "reqwest",
    "http",
    "pingora",
    "rustls",
    "tokio-rustls",
    "redb",
    "foca",
    "nix",
    "tempfile",
    "rand",
    "getrandom",
    "fastrand",
    "tracing",
    "tracing-subscriber",
    "prometheus",
    "clap",
    "arc-swap",
    "backon",
    "mimalloc",
    "anyhow",
];
/// Encodings and hashes: a pure room's values have their adapters elsewhere.
const ENCODINGS: &[&str] = &["serde", "serde_json", "serde-saphyr", "schemars", "utoipa", "prost", "ring", "regorus"];

/// What a room must never touch, beyond the arrows.
const NEVER: &[(&str, &[&[&str]])] = &[
    ("tidegate-domain", &[WORLD, ENCODINGS]),
    ("tidegate-kernel", &[WORLD, ENCODINGS]),
    ("tidegate-record", &[WORLD]),
    ("tidegate-prober", &[WORLD, ENCODINGS]),
    ("tidegate-policy", &[WORLD]),
    ("tidegate-translate", &[WORLD]),
    ("tidegate-controller", &[WORLD, ENCODINGS]),
    ("tidegate-api", &[WORLD]),
];
/// What a pure room's tests may use of these: they run finished bytes through real parts.
const NEVER_BUT_IN_TESTS: &[(&str, &[&str])] =
    &[("tidegate-translate", &["tempfile", "tokio", "tokio-stream", "tonic"])];

pub(super) fn check(metadata: &Value, breaches: &mut Vec<String>) {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let members: Vec<&Value> = packages.iter().filter(|p| p["source"].is_null()).collect();
    for package in &members {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == name) else {
            breaches.push(format!("room `{name}` is not in the table of arrows (xtask/src/tidy/arrows.rs)"));
            continue;
        };
        let never = NEVER.iter().find(|(room, _)| *room == name).map_or(&[][..], |(_, lists)| lists);
        let in_tests = list(NEVER_BUT_IN_TESTS, name);
        let also = list(DEV_ARROWS, name);
        for dependency in package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let dev = dependency["kind"].as_str() == Some("dev");
            if never.iter().any(|list| list.contains(&to)) && !(dev && in_tests.contains(&to)) {
                breaches.push(format!("`{name}` must never touch `{to}`"));
            }
            let ours = members.iter().any(|m| m["name"].as_str() == Some(to));
            let excused = dev && may(name, to, also);
            if ours && !excused && !may(name, to, allowed) {
                breaches.push(format!("`{name}` depends on `{to}`: the table of arrows has no such arrow"));
            }
        }
    }
}

fn list<'a>(table: &[(&str, &'a [&'a str])], room: &str) -> &'a [&'a str] {
    table.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, list)| list)
}

fn may(from: &str, to: &str, allowed: &[&str]) -> bool {
    if to == from {
        return true;
    }
    if to == DOMAIN {
        return !WITHOUT_DOMAIN.contains(&from);
    }
    if matches!(to, "tidegate-stage") {
        return allowed.contains(&to);
    }
    allowed.contains(&to) || (allowed.contains(&"*") && to.starts_with("tidegate-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn breaches_of(name: &str, dependencies: &[&str]) -> Vec<String> {
        breaches_of_kind(name, dependencies, None)
    }

    fn breaches_of_kind(name: &str, dependencies: &[&str], kind: Option<&str>) -> Vec<String> {
        let deps: Vec<Value> = dependencies.iter().map(|d| json!({"name": d, "kind": kind})).collect();
        let mut packages = vec![json!({"name": name, "source": null, "dependencies": deps})];
        packages.extend(
            dependencies
                .iter()
                .filter(|d| d.starts_with("tidegate"))
                .map(|d| json!({"name": d, "source": null, "dependencies": []})),
        );
        let mut found = Vec::new();
        check(&json!({ "packages": packages }), &mut found);
        found
    }

    #[test]
    fn a_forbidden_arrow_is_found() {
        assert_eq!(breaches_of("tidegate-kernel", &["tidegate-config"]).len(), 1);
        assert_eq!(breaches_of("tidegate-kernel", &["serde"]).len(), 1);
        assert_eq!(breaches_of("tidegate-api", &["tidegate-stage"]).len(), 1);
        assert_eq!(breaches_of("room-nobody-knows", &[]).len(), 1);
        assert_eq!(breaches_of("tidegate-domain", &["tidegate-api"]).len(), 1);
    }
    #[test]
    fn the_world_stays_outside_pure_rooms() {
        for part in ["hyper", "tonic", "axum", "reqwest", "futures", "ring", "rand", "tracing"] {
            assert_eq!(breaches_of("tidegate-kernel", &[part]).len(), 1, "{part}");
            assert_eq!(breaches_of_kind("tidegate-kernel", &[part], Some("dev")).len(), 1, "{part} in tests");
        }
        assert_eq!(breaches_of("tidegate-translate", &["tokio"]).len(), 1);
        assert!(breaches_of_kind("tidegate-translate", &["tokio"], Some("dev")).is_empty());
    }
    #[test]
    fn arrows_of_tests_are_listed_one_by_one() {
        assert!(breaches_of_kind("tidegate-controller", &["tidegate-config"], Some("dev")).is_empty());
        assert_eq!(breaches_of("tidegate-controller", &["tidegate-config"]).len(), 1);
        assert_eq!(breaches_of_kind("tidegate-kernel", &["tidegate-config"], Some("dev")).len(), 1);
    }
    #[test]
    fn a_drawn_arrow_is_fine() {
        assert!(breaches_of("tidegate-policy", &["tidegate-domain", "tidegate-kernel"]).is_empty());
    }
}
