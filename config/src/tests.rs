//! Whole configurations: the example, many faults at once, the revision, the guard, the schema.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tidegate_domain::{Bps, CheckKind, Millis, RegionName, Revision};

/// The example with `from` replaced by `to` in `file`; panics where `from` is not there, so that no test goes stale.
fn edited(edits: &[(&str, &str, &str)]) -> Vec<(String, String)> {
    let mut files = example_payroll();
    for (file, from, to) in edits {
        let text = &mut files.iter_mut().find(|f| f.0 == *file).expect("file of the example").1;
        assert!(text.contains(from), "{file} has no `{from}`");
        *text = text.replacen(from, to, 1);
    }
    files
}

fn faults(edits: &[(&str, &str, &str)]) -> Vec<String> {
    match load_documents(edited(edits)) {
        Ok(loaded) => loaded.warnings.iter().map(|w| format!("warning {w}")).collect(),
        Err(faults) => faults.faults.iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn one(edits: &[(&str, &str, &str)], expected: &str) {
    let got = faults(edits);
    assert!(got.len() == 1 && got[0].contains(expected), "wanted one fault with `{expected}`, got {got:#?}");
}

#[test]
fn the_example_has_no_fault_and_no_warning() {
    let loaded = load_documents(example_payroll()).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(loaded.warnings, []);
    let fleet = &loaded.fleet;
    assert_eq!((fleet.providers.len(), fleet.regions.len(), fleet.endpoints.len()), (4, 10, 18));
    assert_eq!((fleet.vantages.len(), fleet.references.len(), fleet.groups.len()), (8, 3, 2));
    let classes: Vec<String> = (0..5).map(|i| fleet.class_name(i.into())).collect();
    assert_eq!(classes, ["payroll/eu", "payroll/us-ca", "payroll/us", "payroll/apac", "payroll/open"]);
    assert_eq!(fleet.classes[0].provider_share_max, Bps::clamped(6_000));
    assert_eq!(fleet.rules.min_residency, Millis(1_800_000));
    assert_eq!(fleet.services[0].routes[0].timeout, Millis(0));
    let total: u64 = fleet.classes.iter().flat_map(|c| &c.demand).map(|d| d.load.0).sum();
    assert_eq!(total, 400_000);
}

/// What the example promises in its comments, computed: every provider's loss leaves room for every class.
#[test]
fn the_example_holds_the_loss_of_any_provider() {
    let fleet = load_documents(example_payroll()).unwrap_or_else(|f| panic!("{f}")).fleet;
    for lost in 0..fleet.providers.len() {
        let mut room: Vec<u64> = fleet.regions.iter().map(|r| r.safe_utilisation.of(r.capacity.0)).collect();
        for (i, region) in fleet.regions.iter().enumerate() {
            if region.provider.at() == lost {
                room[i] = 0;
            }
        }
        // The strictest classes first; each takes its room where it is permitted.
        for (i, class) in fleet.classes.iter().enumerate() {
            let mut need: u64 = class.demand.iter().map(|d| d.load.0).sum();
            for (r, left) in room.iter_mut().enumerate().filter(|(r, _)| fleet.permits(i.into(), (*r).into())) {
                let take = need.min(*left);
                need -= take;
                *left -= take;
                let _ = r;
            }
            assert_eq!(need, 0, "class {} without provider {lost}", class.name);
        }
    }
}

#[test]
fn belgium_is_the_cheapest_and_aws_the_cheapest_of_the_permitted() {
    let fleet = load_documents(example_payroll()).unwrap_or_else(|f| panic!("{f}")).fleet;
    let serving: Vec<_> = fleet.regions.iter().filter(|r| !r.vantage_only).collect();
    let cheapest = serving.iter().min_by_key(|r| r.cost_per_million).expect("regions");
    assert_eq!(cheapest.name, RegionName::new("gcp/europe-west1").expect("name"));
    for class in fleet.classes.iter().filter(|c| c.name.as_str() != "open") {
        let permitted = serving.iter().filter(|r| class.permitted.holds(r.jurisdiction));
        let cheapest = permitted.min_by_key(|r| r.cost_per_million).expect("a region");
        assert_eq!(cheapest.name.provider.as_str(), "aws", "{}", class.name);
    }
}

#[test]
fn twelve_faults_are_all_reported() {
    let service = "service.yaml";
    let got = faults(&[
        ("clients.yaml", "area: america, jurisdiction: US", "area: america, jurisdiction: US, zoneless: true"),
        (
            "places.yaml",
            "jurisdiction: SG, area: asia, capacity: 160 rps",
            "jurisdiction: SG, area: asia, capacity: 0 rps",
        ),
        ("places.yaml", "[[asia], [europe, america]]", "[[europe], [america]]"),
        ("places.yaml", "capacity: 120 rps", "capacity: 120 requests"),
        ("policy.yaml", "shareCap: 34 %", "shareCap: 134 %"),
        ("policy.yaml", "files: [policy/residency.rego]", "files: [policy/residenz.rego]"),
        ("senses.yaml", "127.0.53.1:9000", "127.0.33.101:9000"),
        ("senses.yaml", "region: aws/us-east-1", "region: aws/us-east-9"),
        (service, "unhealthyAfter: 2", "unhealthyAfter: 0"),
        (service, "timeout: 400ms", "timeout: 1400ms"),
        (service, "permitted: [DE, NL]", "permitted: []"),
        (service, "value: us-ca }", "value: us }"),
        (service, "edge-de: 45 rps, edge-us: 65 rps", "edge-df: 45 rps, edge-us: 65 rps"),
        (service, "region: azure/eastus", "region: outside/frankfurt"),
    ]);
    let expected = [
        "clients.yaml:11: spec.zoneless: `zoneless` is no key here; use one of `area`, `jurisdiction`",
        "spec.capacity: a capacity of 0 carries nothing",
        "spec.rings: the first ring does not hold `asia` itself",
        "spec.capacity: `120 requests` cannot be read; write a load such as `200 rps`, three decimals at most",
        "spec.shareCap: `134 %` cannot be read",
        "spec.files[0]: there is no file `policy/residenz.rego`",
        "spec.address: the reference stands in the fleet: vantage `gcp-2` has the same host",
        "spec.region: there is no Region `aws/us-east-9`",
        "spec.healthCheck.unhealthyAfter: 0 results in a row decide nothing; write 1 or more",
        "spec.healthCheck.timeout: 1.4 s is more than twice the interval of 500 ms: probes would pile up",
        "spec.classes[0].permitted: an empty set permits no place at all",
        "spec.classes[2].match: class `us-ca` has the same match: this class is unreachable",
        "spec.classes[2].demand.edge-df: there is no ClientGroup `edge-df`",
        "spec.endpoints[8].region: `outside/frankfurt` is a place for vantages only",
        "policy/residency.rego: no policy names this file",
    ];
    for want in expected {
        assert!(got.iter().any(|g| g.contains(want)), "missing: {want}\ngot {got:#?}");
    }
    assert_eq!(got.len(), expected.len(), "{got:#?}");
}

#[test]
fn a_fault_reads_as_file_line_key_what_and_mend() {
    let got = faults(&[("service.yaml", "interval: 500ms", "intervall: 500ms")]);
    assert_eq!(
        got,
        ["service.yaml:20: spec.healthCheck.intervall: `intervall` is no key here; did you mean `interval`?"]
    );
    let got = faults(&[("service.yaml", "unhealthyAfter: 2", "unhealthyAfter: two")]);
    assert!(got[0].starts_with("service.yaml:22: spec.healthCheck.unhealthyAfter: "), "{got:?}");
}

#[test]
fn shape_faults_hide_no_other_document() {
    let got = faults(&[
        ("places.yaml", "kind: Region\nname: aws/us-east-1", "kind: Regio\nname: aws/us-east-1"),
        ("senses.yaml", "gossip: \"127.0.11.101:7946\"", "gossip: 7946"),
        ("clients.yaml", "apiVersion: tidegate/v1", "apiVersion: tidegate/v0"),
    ]);
    assert!(got.iter().any(|g| g.contains("`Regio` is not known; did you mean `Region`?")), "{got:#?}");
    assert!(got.iter().any(|g| g.contains("`tidegate/v0` is not known")), "{got:#?}");
    assert!(got.iter().any(|g| g.contains("`7946` is no address")), "{got:#?}");
    // Nothing dangles because of these.
    assert_eq!(got.len(), 3, "{got:#?}");
}

#[test]
fn broken_yaml_is_one_fault_with_its_line() {
    let got = faults(&[("clients.yaml", "spec: { area: europe, jurisdiction: DE }", "spec: { area: europe")]);
    assert_eq!(got.len(), 1, "{got:#?}");
    assert!(got[0].starts_with("clients.yaml:"), "{got:#?}");
}

#[test]
fn each_fault_of_meaning_is_found() {
    let s = "service.yaml";
    one(&[(s, "clientCanSet: false\n      priority: 2", "priority: 2")], "clientCanSet: not stated");
    one(&[(s, "domains: [payroll.example]", "domains: [Payroll.example]")], "is no domain");
    one(&[(s, "prefix: /stream", "prefix: /")], "unreachable: `/` above takes every such request");
    one(&[(s, "perTryTimeout: 250ms", "perTryTimeout: 6s")], "may not outlast");
    let elsewhere = faults(&[(s, "permitted: [US]", "permitted: [FR]")]);
    assert!(elsewhere.iter().any(|f| f.contains("no region with endpoints")), "{elsewhere:#?}");
    one(&[(s, "port: 10000", "port: 0")], "0 is no port");
    one(&[(s, "host: 127.0.34.12", "host: 127.0.34.11")], "is endpoint `payroll-gcp-asia-southeast1-0` already");
    one(&[(s, "region: azure/eastus", "region: outside/frankfurt")], "is a place for vantages only");
    one(&[(s, "interval: 500ms", "interval: 5ms")], "is a storm of probes");
    one(&[(s, "interval: 500ms", "interval: 11m")], "no outage is seen");
    one(&[(s, "timeout: 400ms", "timeout: 5ms")], "too short for any network");
    one(&[(s, "interval: 500ms", "interval: 60s"), (s, "timeout: 400ms", "timeout: 61s")], "finds nothing in time");
    one(&[(s, "path: /healthz", "path: /health z")], "no request line may hold");
    let more = |i| format!("    - {{ region: aws/us-east-1, host: h{i}.example, port: 10000 }}\n");
    let many: String = (0..4_000).map(more).collect();
    one(&[(s, "  endpoints:\n", &format!("  endpoints:\n{many}"))], "takes at most 4000 endpoints");
    one(&[(s, "  routes:", "  unmatched: eux\n  routes:")], "the service has no class `eux`; did you mean `eu`?");
    one(
        &[(s, "header: { name: x-residency-class, value: open }", "host: payroll.example")],
        "can match the same request",
    );
    one(&[("senses.yaml", "127.0.41.102:7946", "127.0.41.101:7946")], "gossips at the same address");
    one(&[("senses.yaml", "name: outside-2", "name: outside-1")], "is declared twice, first at senses.yaml:35");
    one(&[("policy.yaml", "settle: 10s", "settle: 0s")], "a time of 0 disables the rule");
    one(
        &[("places.yaml", "area: asia, capacity: 160 rps, costPerMillion: $0.34", "area: asia, capacity: 160 rps")],
        "spec.costPerMillion: missing",
    );
    let freeze = "freeze: [{ from: 2026-12-27T00:00:00Z, until: 2026-12-24T00:00:00Z, reason: x }]\n  settle: 10s";
    one(&[("policy.yaml", "settle: 10s", freeze)], "the window ends before it begins");
}

/// The whole service in block style: every key on a line of its own.
fn block_style(class: &str, endpoint: &str) -> String {
    let mut files = example_payroll();
    let text = &mut files.iter_mut().find(|f| f.0 == "service.yaml").expect("service").1;
    let (head, rest) = text.split_once("  classes:\n").expect("classes");
    let (_, endpoints) = rest.split_once("  endpoints:\n").expect("endpoints");
    *text = format!("{head}  classes:\n{class}  endpoints:\n{endpoint}{endpoints}");
    load_documents(files)
        .map_or_else(|f| f.to_string(), |l| l.warnings.iter().map(|w| format!("warning: {w}\n")).collect())
}

#[test]
fn faults_of_meaning_name_the_line_of_the_key() {
    let first = example_payroll()
        .into_iter()
        .find(|f| f.0 == "service.yaml")
        .and_then(|f| f.1.lines().position(|l| l == "  classes:"))
        .expect("classes")
        + 2;
    let class = "    - name: eu\n      priority: 0\n      permitted:\n        - DE\n        - NL\n      match:\n        header:\n          name: x\n          value: eu\n      clientCanSet: false\n      demand:\n        edge-us: 1 rps\n      providerShareMax: 20 %\n    - name: open\n      permitted: [anywhere]\n      priority: 1\n      clientCanSet: true\n      match:\n        host: payroll.example\n";
    let endpoint = "    - name: other\n      host: 127.0.11.11\n      port: 8080\n      region: outside/frankfurt\n";
    let got = block_style(class, endpoint);
    for (offset, key) in [
        (11, "spec.classes[0].demand.edge-us: clients of `edge-us` stand in US"),
        (12, "spec.classes[0].providerShareMax: 20 %"),
        (18, "spec.classes[1].match: class `eu` can match the same request"),
        (23, "spec.endpoints[0].region: `outside/frankfurt` is a place for vantages only"),
    ] {
        let want = format!("service.yaml:{}: {key}", first + offset);
        assert!(got.contains(&want), "missing {want}\ngot\n{got}");
    }
}

#[test]
fn whole_fleet_faults_point_at_the_last_document_of_the_kind() {
    let last = example_payroll()
        .into_iter()
        .find(|f| f.0 == "senses.yaml")
        .and_then(|f| f.1.lines().position(|l| l == "name: outside-2"))
        .expect("outside-2")
        + 1;
    let moved = [("senses.yaml", "region: outside/frankfurt", "region: aws/eu-central-1"); 2];
    one(&moved, &format!("warning senses.yaml:{last}: Vantage: no vantage stands outside"));
}

#[test]
fn countries_are_those_of_iso_3166() {
    let s = "service.yaml";
    one(
        &[(s, "permitted: [DE, NL]", "permitted: [DE, NL, UK]")],
        "spec.classes[0].permitted[2]: `UK` is no country; did you mean `GB`?",
    );
    one(&[(s, "permitted: [DE, NL]", "permitted: [DE, NL, XX]")], "`XX` is no country; write a code of ISO 3166-1");
    one(
        &[("clients.yaml", "jurisdiction: DE", "jurisdiction: de")],
        "`de` is no country; write it in upper case: `DE`",
    );
    one(&[("places.yaml", "jurisdiction: BE", "jurisdiction: EU")], "name each country");
}

#[test]
fn a_lone_network_is_warned_of() {
    one(
        &[("senses.yaml", "network: west", "network: south")],
        "spec.network: without reference `reference-1` all others stand in one network",
    );
}

#[test]
fn numbers_and_flow_mappings_are_told_in_words() {
    let s = "service.yaml";
    one(
        &[(s, "host: 127.0.11.12, port: 8080", "host: 127.0.11.12, port: 100000")],
        "spec.endpoints[1].port: the value cannot be read; write a number from 1 to 65535",
    );
    one(
        &[(s, "retries: 7", "retries: 400")],
        "spec.routes[1].retries: the value cannot be read; write a whole number from 0 to 255",
    );
    one(
        &[(s, "clientCanSet: false\n      priority: 2", "clientCanSet: maybe\n      priority: 2")],
        "spec.classes[4].clientCanSet: ",
    );
    let mut files = example_payroll();
    files.push((
        "flow.yaml".to_owned(),
        "# one line\n{ apiVersion: tidegate/v1, kind: Provider, name: x, spec: {} }\n".to_owned(),
    ));
    let got = load_documents(files).expect_err("flow style").to_string();
    assert_eq!(
        got,
        "error: flow.yaml:2: the document is one flow mapping; write it in block style: `apiVersion:`, `kind:`, `name:` and `spec:` in the first column\n"
    );
}

#[test]
fn warnings_do_not_stop_the_fleet() {
    let s = "service.yaml";
    one(&[(s, "permitted: [anywhere]", "permitted: [US, DE, NL, SG]")], "warning service.yaml:");
    one(&[(s, "demand: { edge-de: 90 rps }", "demand: { edge-us: 90 rps }")], "are answered 451");
    one(&[(s, "providerShareMax: 60 %", "providerShareMax: 30 %")], "30 % of each of 3 providers is less than all");
}

#[test]
fn too_few_senses_are_refused() {
    let mut files = example_payroll();
    let senses = files.iter_mut().find(|f| f.0 == "senses.yaml").expect("senses");
    senses.1 = senses
        .1
        .split("---\n")
        .filter(|d| d.contains("aws-") || d.contains("reference-1"))
        .collect::<Vec<_>>()
        .join("---\n");
    let got = load_documents(files).expect_err("too few").faults;
    let got: Vec<String> = got.iter().map(ToString::to_string).collect();
    assert!(got.iter().any(|g| g.contains("all 2 vantages stand in one provider")), "{got:#?}");
    assert!(got.iter().any(|g| g.contains("1 reference is too few")), "{got:#?}");
}

#[test]
fn listeners_do_not_clash() {
    let second = |listener: &str, domain: &str| {
        let mut files = example_payroll();
        let text = files.iter().find(|f| f.0 == "service.yaml").expect("service").1.clone();
        let text = text.replace("name: payroll\n", "name: people\n").replace("payroll.example", domain);
        files.push(("people.yaml".to_owned(), text.replace("name: public, address: 0.0.0.0, port: 10000", listener)));
        load_documents(files).map_or_else(|f| f.to_string(), |_| String::new())
    };
    assert!(second("name: other, address: 127.0.0.1, port: 10000", "a.example").contains("is taken by listener"));
    assert!(second("name: public, address: 0.0.0.0, port: 10001", "a.example").contains("give it one address"));
    assert!(second("name: public, address: 0.0.0.0, port: 10000", "payroll.example").contains("on the same listener"));
    assert_eq!(second("name: public, address: 0.0.0.0, port: 10000", "a.example"), "");
}

#[test]
fn a_directory_is_read_and_an_empty_one_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    assert!(load_dir(dir.path()).expect_err("empty").to_string().contains("there is no configuration here"));
    for (path, text) in example_payroll() {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
    std::fs::write(dir.path().join("README.md"), "not read").expect("file");
    let loaded = load_dir(dir.path()).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(loaded, load_documents(example_payroll()).unwrap_or_else(|f| panic!("{f}")));
    std::fs::write(dir.path().join("bad.yaml"), [0xff_u8, 0xfe]).expect("file");
    assert!(load_dir(dir.path()).expect_err("not UTF-8").to_string().contains("bad.yaml: cannot be read"));
}

#[test]
fn the_revision_is_of_the_content_alone() {
    let base = load_documents(example_payroll()).unwrap_or_else(|f| panic!("{f}")).fleet;
    // Every document in a file of its own, in reverse, with comments and blank lines between.
    let mut files: Vec<(String, String)> = Vec::new();
    for (path, text) in example_payroll() {
        if path.ends_with(".rego") {
            files.push((path, text));
            continue;
        }
        let documents: Vec<&str> = text.split("---\n").collect();
        for (i, document) in documents.iter().enumerate() {
            files.push((format!("{:03}-{path}", 900 - files.len() - i), format!("\n# moved\n---\n{document}\n\n")));
        }
    }
    let moved = load_documents(files).unwrap_or_else(|f| panic!("{f}")).fleet;
    assert_eq!(base, moved);
    let other = edited(&[("places.yaml", "costPerMillion: $0.30", "costPerMillion: $0.300000000001")]);
    let other = load_documents(other).unwrap_or_else(|f| panic!("{f}")).fleet;
    assert_ne!(base.revision, other.revision);
    let same = edited(&[("places.yaml", "costPerMillion: $0.30", "costPerMillion: $0.3")]);
    assert_eq!(base, load_documents(same).unwrap_or_else(|f| panic!("{f}")).fleet);
}

#[test]
fn a_reload_that_removes_much_is_refused() {
    let load = |files| load_documents(files).unwrap_or_else(|f: Faults| panic!("{f}")).fleet;
    let old = load(example_payroll());
    assert!(compare(&old, &old).same);
    let without = |count: usize| {
        let mut files = example_payroll();
        let text = &mut files.iter_mut().find(|f| f.0 == "service.yaml").expect("service").1;
        let mut left = count;
        *text = text
            .lines()
            .filter(|l| {
                let drop = l.contains("- { region:") && l.contains(".12, port") && left > 0;
                left -= usize::from(drop);
                !drop
            })
            .collect::<Vec<_>>()
            .join("\n");
        load(files)
    };
    assert_eq!(guard(&compare(&old, &without(4)), false), Ok(()));
    let change = compare(&old, &without(5));
    assert_eq!(change.removed_endpoints.len(), 5);
    let refused = guard(&change, false).expect_err("5 of 18 are more than a quarter");
    assert_eq!(
        refused[0].to_string(),
        "endpoints: the reload removes 5 of 18 endpoints, more than 25 %; put it back, or repeat with --yes-remove"
    );
    assert_eq!(guard(&change, true), Ok(()));

    let renamed = load(edited(&[("service.yaml", "- name: us-ca", "- name: us-west")]));
    let change = compare(&old, &renamed);
    assert_eq!(change.dropped_classes, ["payroll/us-ca"]);
    assert_eq!(guard(&change, false).expect_err("a class is dropped").len(), 1);

    let wider = load(edited(&[
        ("service.yaml", "permitted: [DE, NL]", "permitted: [DE, NL, BE]"),
        ("service.yaml", "  routes:", "  unmatched: open\n  routes:"),
    ]));
    let change = compare(&old, &wider);
    assert_eq!(
        change.widenings,
        [
            "payroll/eu: now permitted in BE too",
            "payroll: requests that match no class are now served as payroll/open (anywhere) and were refused"
        ]
    );
    assert_eq!(guard(&change, false), Ok(()));
    assert_eq!(
        compare(&wider, &old).narrowings,
        [
            "payroll/eu: no longer permitted in BE",
            "payroll: requests that match no class are now refused and were served as payroll/open (anywhere)"
        ]
    );
}

/// What `compare` says of an edited payroll fleet, line by line.
fn told(edits: &[(&str, &str, &str)]) -> Vec<String> {
    let load = |files| load_documents(files).unwrap_or_else(|f: Faults| panic!("{f}")).fleet;
    compare(&load(example_payroll()), &load(edited(edits))).to_string().lines().map(str::to_owned).collect()
}

#[test]
fn a_request_that_a_wider_class_takes_is_a_widening() {
    let s = "service.yaml";
    let eu = "header: { name: x-residency-class, value: eu }";
    let open = "header: { name: x-residency-class, value: open }";
    let swapped =
        told(&[(s, eu, "header: { name: x, value: y }"), (s, open, eu), (s, "header: { name: x, value: y }", open)]);
    let both = [
        "WIDENS  payroll: requests with header `x-residency-class: eu` are now served as payroll/open (anywhere) and were served as payroll/eu (DE, NL)",
        "narrows payroll: requests with header `x-residency-class: open` are now served as payroll/eu (DE, NL) and were served as payroll/open (anywhere)",
    ];
    for want in both {
        assert!(swapped.iter().any(|l| l == want), "missing {want}\ngot {swapped:#?}");
    }
    // A selector that no class holds any more goes to whichever class takes what matches none.
    let lost = told(&[
        (s, eu, "header: { name: x-residency-class, value: europe }"),
        (s, "  routes:", "  unmatched: open\n  routes:"),
    ]);
    assert!(
        lost.iter().any(|l| l.starts_with(
            "WIDENS  payroll: requests with header `x-residency-class: eu` are now served as payroll/open"
        )),
        "{lost:#?}"
    );
    // A class that goes lets what is left permit more to requests that match none.
    let text = example_payroll().into_iter().find(|f| f.0 == s).expect("service").1;
    let apac = &text[text.find("    - name: apac").expect("apac")..text.find("    - name: open").expect("open")];
    let us_ca = &text[text.find("    - name: us-ca").expect("us-ca")..text.find("    - name: us\n").expect("us")];
    let fewer = told(&[(s, apac, ""), (s, us_ca, "")]);
    assert!(fewer.iter().any(|l| l == "WIDENS  payroll: requests that match no class are now served where every class may be (DE, NL) and were refused"), "{fewer:#?}");
}

#[test]
fn every_key_is_compared() {
    let (s, p) = ("service.yaml", "places.yaml");
    type Edits<'a> = &'a [(&'a str, &'a str, &'a str)];
    let cases: &[(Edits<'_>, &str)] = &[
        (
            &[(s, "clientCanSet: false\n      priority: 2", "clientCanSet: true\n      priority: 2")],
            "WIDENS  payroll/open: a client may now choose this class by itself",
        ),
        (&[(s, "priority: 2", "priority: 3")], "changes class payroll/open priority: 2 -> 3"),
        (
            &[(s, "demand: { edge-de: 90 rps }", "demand: { edge-de: 91 rps }")],
            "changes class payroll/eu demand: edge-de 90.000 req/s -> edge-de 91.000 req/s",
        ),
        (
            &[(s, "providerShareMax: 60 % # so", "providerShareMax: 61 % # so")],
            "changes class payroll/eu providerShareMax: 60 % -> 61 %",
        ),
        (
            &[(s, "port: 10000", "port: 10001")],
            "changes Service payroll listener: public at 0.0.0.0:10000 -> public at 0.0.0.0:10001",
        ),
        (&[(s, "retries: 7", "retries: 3")], "changes Service payroll routes: "),
        (
            &[(s, "path: /healthz", "path: /health")],
            "changes Service payroll healthCheck: http:///healthz -> http:///health",
        ),
        (
            &[(p, "capacity: 120 rps", "capacity: 121 rps")],
            "changes Region gcp/europe-west1 capacity: 120.000 req/s -> 121.000 req/s",
        ),
        (
            &[(p, "costPerMillion: $0.18", "costPerMillion: $0.185")],
            "changes Region gcp/europe-west1 costPerMillion: $0.18 -> $0.185",
        ),
        (
            &[(p, "jurisdiction: BE", "jurisdiction: NL")],
            "WIDENS  gcp/europe-west1: its jurisdiction is now NL and was BE",
        ),
        (
            &[("clients.yaml", "area: europe, jurisdiction: DE", "area: europe, jurisdiction: NL")],
            "WIDENS  clients of edge-de: their jurisdiction is now NL and was DE",
        ),
        (&[("policy.yaml", "shareCap: 34 %", "shareCap: 50 %")], "changes Rules shareCap: 34 % -> 50 %"),
        (
            &[("policy.yaml", "minResidency: 30min", "minResidency: 1ms")],
            "changes Rules minResidency: 1800000 ms -> 1 ms",
        ),
        (&[("senses.yaml", "name: outside-2", "name: outside-3")], "adds    Vantage outside-3"),
        (&[("senses.yaml", "network: north", "network: east")], "changes Reference reference-1 network: north -> east"),
        (
            &[(s, "host: 127.0.34.12, port: 8080", "host: 127.0.34.12, port: 8080, name: last")],
            "changes endpoint 127.0.34.12:8080 of payroll in gcp/asia-southeast1 name: ",
        ),
    ];
    for (edits, want) in cases {
        let got = told(edits);
        assert!(got.iter().any(|l| l.starts_with(want)), "missing {want}\ngot {got:#?}");
    }
    // The order of classes is a part of the revision: it is said too, never an empty answer.
    let text = example_payroll().into_iter().find(|f| f.0 == s).expect("service").1;
    let us_ca = &text[text.find("    - name: us-ca").expect("us-ca")..text.find("    - name: us\n").expect("us")];
    let moved = told(&[(s, us_ca, ""), (s, "  # Where it runs.", &format!("{us_ca}  # Where it runs."))]);
    assert_eq!(
        moved,
        ["changes Service payroll classes in order: eu, us-ca, us, apac, open -> eu, us, apac, open, us-ca"]
    );
}

#[test]
fn a_grpc_check_is_read() {
    let (file, http) = ("service.yaml", "http: { path: /healthz }");
    let fleet = |stated| load_documents(edited(&[(file, http, stated)])).unwrap_or_else(|f| panic!("{f}")).fleet;
    let kind = |stated| fleet(stated).services[0].check.kind.clone();
    assert_eq!(kind("grpc: {}"), CheckKind::Grpc { service: String::new(), tls: false, host: None });
    let (service, host) = ("payroll.v1.Payroll".to_owned(), Some("payroll.example".to_owned()));
    let stated = "grpc: { service: payroll.v1.Payroll, tls: true, host: payroll.example }";
    assert_eq!(kind(stated), CheckKind::Grpc { service, tls: true, host });
    let each = ["tcp: {}", "grpc: {}", "grpc: { service: a }", "grpc: { tls: true }", "grpc: { host: a }"];
    let revisions: BTreeSet<Revision> = each.into_iter().map(|stated| fleet(stated).revision).collect();
    assert_eq!(revisions.len(), each.len(), "each is another fleet");
    let told = told(&[(file, http, "grpc: { service: a.B, tls: true, host: c }")]);
    assert_eq!(told, ["changes Service payroll healthCheck: http:///healthz -> grpc a.B over TLS for host c"]);
    let fault = |stated, expected| one(&[(file, http, stated)], expected);
    fault("grpc: { service: two words }", "spec.healthCheck.grpc.service: `two words` is no gRPC service");
    fault("grpc: { host: no host }", "spec.healthCheck.grpc.host: `no host` is no host");
    fault("grpc: {}\n    tcp: {}", "spec.healthCheck.grpc: `tcp` and `grpc` are stated");
    fault("tcp: {}\n    http: { path: / }\n    grpc: {}", "`tcp` and `http` and `grpc` are stated");
    fault("", "spec.healthCheck: it says neither `tcp` nor `http` nor `grpc`");
}

/// The first provider of the example with this status of its API.
fn asked(stated: &str) -> [(&'static str, &'static str, String); 1] {
    [("places.yaml", "name: aws\nspec: {}", format!("name: aws\nspec: {{ apiStatus: {{ {stated} }} }}"))]
}

#[test]
fn a_providers_api_is_read() {
    let fleet = |stated: &str| {
        let edit = asked(stated);
        let edits: Vec<_> = edit.iter().map(|(f, from, to)| (*f, *from, to.as_str())).collect();
        load_documents(edited(&edits)).unwrap_or_else(|f| panic!("{f}")).fleet
    };
    let plain = load_documents(example_payroll()).unwrap_or_else(|f| panic!("{f}")).fleet;
    let usual = fleet("url: \"https://api.aws.example/ping\"");
    assert_ne!(usual.revision, plain.revision);
    assert_eq!((usual.targets(), usual.apis[0].provider.at()), (usual.endpoints.len() + 1, 0));
    let (api, kind) = (&usual.apis[0], |tls, path: &str| CheckKind::Http { path: path.to_owned(), tls, host: None });
    assert_eq!((api.host.as_str(), api.port, &api.check.kind), ("api.aws.example", 443, &kind(true, "/ping")));
    assert_eq!((api.check.interval, api.check.timeout), (Millis(5_000), Millis(3_000)));
    assert_eq!((api.check.unhealthy_after, api.check.healthy_after), (3, 3));
    let other = fleet("url: \"http://[2001:db8::1]:8080\", interval: 30s, timeout: 1s, unhealthyAfter: 2");
    let api = &other.apis[0];
    assert_eq!((api.host.as_str(), api.port, &api.check.kind), ("2001:db8::1", 8080, &kind(false, "/")));
    assert_eq!((api.check.interval, api.check.unhealthy_after), (Millis(30_000), 2));
    for (stated, fault) in [
        ("url: api.aws.example", "`api.aws.example` is no URL; write `https://host/path`"),
        ("url: \"ftp://api.aws.example\"", "is no URL"),
        ("url: \"https://key:secret@api.aws.example\"", "holds no password"),
        ("url: \"https://api aws\"", "is no host"),
        ("url: \"https://api.aws.example/a b\"", "no request line may hold"),
        ("url: \"https://api.aws.example\", interval: 100ms", "100 ms is out of bounds; write 1.0 s to 10 min"),
        ("url: \"https://api.aws.example\", healthyAfter: 0", "0 results in a row decide nothing"),
    ] {
        let edit = asked(stated);
        let edits: Vec<_> = edit.iter().map(|(f, from, to)| (*f, *from, to.as_str())).collect();
        one(&edits, fault);
    }
    let edit = asked("url: \"https://api.aws.example/ping\"");
    let edits: Vec<_> = edit.iter().map(|(f, from, to)| (*f, *from, to.as_str())).collect();
    let told = told(&edits);
    let change = "changes Provider aws apiStatus: none -> https://api.aws.example:443/ping (every 5000 ms, within 3000 ms, \
                  failing after 3, well after 3)";
    assert_eq!(told, [change]);
}

#[test]
fn the_shipped_schema_is_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/tidegate-v1.json");
    let mut now = serde_json::to_string_pretty(&json_schema()).expect("JSON");
    now.push('\n');
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &now).expect("schema written");
    }
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shipped == now,
        "schemas/tidegate-v1.json is old: run UPDATE_SCHEMA=1 cargo test -p tidegate-config schema"
    );
}

#[test]
fn the_example_policy_is_the_shipped_one() {
    let files = example_payroll();
    let text = |path: &str| files.iter().find(|f| f.0 == path).map(|f| f.1.as_str());
    assert_eq!(text("policy/residency.rego"), Some(DEFAULT_POLICY));
    assert_eq!(text("policy/residency_test.rego"), Some(DEFAULT_POLICY_TESTS));
    let without: Vec<_> = files.iter().filter(|f| !f.0.ends_with(".rego") && f.0 != "policy.yaml").cloned().collect();
    let loaded = load_documents(without).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(loaded.policy, [("builtin/residency.rego".to_owned(), DEFAULT_POLICY.to_owned())]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever a person breaks, the answer is a fleet or faults: never a panic, never faults without an error.
    #[test]
    fn a_damaged_file_is_never_a_panic(file in 0_usize..7, at in 0_usize..4000, cut in 0_usize..40, with in "[ -~\n]{0,6}") {
        let mut files = example_payroll();
        let text = &mut files[file].1;
        let chars: Vec<char> = text.chars().collect();
        let at = at % chars.len();
        let tail = chars.iter().skip(at + cut);
        *text = chars[..at].iter().copied().chain(with.chars()).chain(tail.copied()).collect();
        if let Err(faults) = load_documents(files) {
            prop_assert!(faults.errors() > 0);
        }
    }
}
