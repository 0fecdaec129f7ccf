//! The run's own configuration: the shipped example with the stage's addresses, written as the documents that the
//! server reads. Owns writing a fleet as documents; refuses to invent anything: what is not an address, a price or a
//! rule that a story changes stays as shipped.

use crate::topology::Topology;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tidegate_domain::{CheckKind, ClassMatch, Fleet, Millis, Permitted, PicoDollars, Service};

/// A fleet and the policy documents that stand beside it.
#[derive(Debug, Clone)]
pub(crate) struct Shipped {
    /// The fleet of the example.
    pub fleet: Fleet,
    /// Policy documents, (path, text), as shipped.
    pub policy: Vec<(String, String)>,
}

/// Reads the shipped example.
pub(crate) fn example() -> anyhow::Result<Shipped> {
    let loaded = tidegate_config::load_documents(tidegate_config::example_payroll())
        .map_err(|e| anyhow::anyhow!("the shipped example: {e:?}"))?;
    let names = |texts: &[(String, String)]| texts.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let spec = json!({"files": names(&loaded.policy), "tests": names(&loaded.policy_tests)});
    let mut policy = vec![file("policy.yaml", &[document("Policy", "residency", &spec)])?];
    policy.extend(loaded.policy);
    policy.extend(loaded.policy_tests);
    Ok(Shipped { fleet: loaded.fleet, policy })
}

/// Puts the stage's addresses into `fleet`, 20 s for minimum residency (a demo has no half hour), and declares the load
/// that is really sent: `loads` is requests per second by client group.
pub(crate) fn at_home(mut fleet: Fleet, topology: &Topology, loads: &BTreeMap<String, u64>) -> Fleet {
    for endpoint in &mut fleet.endpoints {
        if let Some(at) = topology.regions.iter().find_map(|r| r.endpoints.get(endpoint.name.as_str())) {
            endpoint.host = at.ip().to_string();
            endpoint.port = at.port();
        }
    }
    for vantage in &mut fleet.vantages {
        if let Some(at) = topology.vantages.iter().find(|v| v.name == vantage.name.as_str()) {
            vantage.gossip = at.gossip.to_string();
        }
    }
    for reference in &mut fleet.references {
        if let Some(at) = topology.references.get(reference.name.as_str()) {
            reference.address = at.to_string();
        }
    }
    for (group, rps) in loads {
        let of = |d: &tidegate_domain::Demand| fleet.groups[d.group.at()].name.as_str() == group;
        let declared: u64 = fleet.classes.iter().flat_map(|c| &c.demand).filter(|d| of(d)).map(|d| d.load.0).sum();
        let groups = fleet.groups.clone();
        for demand in fleet.classes.iter_mut().flat_map(|c| c.demand.iter_mut()) {
            if declared > 0 && groups[demand.group.at()].name.as_str() == group {
                demand.load.0 = demand.load.0 * rps * 1000 / declared;
            }
        }
    }
    // Without namespaces all proxies share one machine's ports: the steered Envoy gets an address of its own, edges are
    // told theirs by a flag.
    if topology.network == "loopback"
        && let Some(envoy) = topology.proxy("envoy")
    {
        for service in &mut fleet.services {
            service.listener.address = envoy.address.ip().to_string();
        }
    }
    fleet.rules.min_residency = Millis(20_000);
    fleet
}

/// Returns to normal sooner; what an outage does is bound by none of these.
pub(crate) fn hasten(fleet: &mut Fleet) {
    fleet.rules.min_residency = Millis(1_000);
    fleet.rules.settle = Millis(1_000);
}

/// Makes `region` cost nothing.
pub(crate) fn free(fleet: &mut Fleet, region: &str) {
    for r in fleet.regions.iter_mut().filter(|r| r.name.to_string() == region) {
        r.cost_per_million = PicoDollars(0);
    }
}

/// Lets every class be where `region` is: what the control run takes away.
pub(crate) fn permit_everywhere(fleet: &mut Fleet) {
    for class in &mut fleet.classes {
        class.permitted = Permitted::Anywhere;
    }
}

/// Another health-check path for every service.
pub(crate) fn health_path(fleet: &mut Fleet, wrong: &str) {
    for service in &mut fleet.services {
        if let CheckKind::Http { path, .. } = &mut service.check.kind {
            wrong.clone_into(path);
        }
    }
}

/// Multiplies every declared demand.
pub(crate) fn demand_times(fleet: &mut Fleet, per_cent: u64) {
    for demand in fleet.classes.iter_mut().flat_map(|c| c.demand.iter_mut()) {
        demand.load.0 = demand.load.0 * per_cent / 100;
    }
}

/// The documents of `fleet` and the policy beside it.
pub(crate) fn documents(fleet: &Fleet, policy: &[(String, String)]) -> anyhow::Result<Vec<(String, String)>> {
    anyhow::ensure!(fleet.rules.freeze.is_empty(), "the stage does not write freeze windows");
    let mut out = vec![
        file("places.yaml", &places(fleet))?,
        file("senses.yaml", &senses(fleet))?,
        file("clients.yaml", &clients(fleet))?,
        file("service.yaml", &fleet.services.iter().map(|s| service(fleet, s)).collect::<Vec<_>>())?,
    ];
    out.extend(policy.iter().cloned());
    Ok(out)
}

/// Writes documents under `dir`.
pub(crate) fn write(dir: &Path, documents: &[(String, String)]) -> anyhow::Result<()> {
    for (path, text) in documents {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text)?;
    }
    Ok(())
}

/// One document after the other.
fn file(name: &str, documents: &[String]) -> anyhow::Result<(String, String)> {
    Ok((name.to_owned(), documents.join("---\n")))
}

/// The head as people write it; the rest as JSON, which is YAML.
fn document(kind: &str, name: &str, spec: &Value) -> String {
    format!("apiVersion: {}\nkind: {kind}\nname: {name}\nspec: {spec:#}\n", tidegate_config::API_VERSION)
}

fn places(fleet: &Fleet) -> Vec<String> {
    let mut out: Vec<String> =
        fleet.providers.iter().map(|p| document("Provider", p.name.as_str(), &json!({}))).collect();
    let area_name = |ix: tidegate_domain::AreaIx| fleet.areas[ix.at()].name.to_string();
    for area in &fleet.areas {
        let rings: Vec<Vec<String>> =
            area.rings.iter().map(|ring| ring.iter().map(|a| area_name(*a)).collect()).collect();
        out.push(document("Area", area.name.as_str(), &json!({ "rings": rings })));
    }
    for region in &fleet.regions {
        let mut spec = json!({"jurisdiction": region.jurisdiction.as_str(), "area": area_name(region.area)});
        if let Some(zone) = &region.zone {
            spec["zone"] = json!(zone.as_str());
        }
        if region.vantage_only {
            spec["vantageOnly"] = json!(true);
        } else {
            spec["capacity"] = json!(load(region.capacity.0));
            spec["safeUtilisation"] = json!(share(region.safe_utilisation.get()));
            spec["costPerMillion"] = json!(money(region.cost_per_million));
        }
        out.push(document("Region", &region.name.to_string(), &spec));
    }
    out
}

fn senses(fleet: &Fleet) -> Vec<String> {
    let mut out = Vec::new();
    for vantage in &fleet.vantages {
        let region = fleet.regions[vantage.region.at()].name.to_string();
        out.push(document("Vantage", vantage.name.as_str(), &json!({"region": region, "gossip": vantage.gossip})));
    }
    for reference in &fleet.references {
        let spec = json!({"address": reference.address, "network": reference.network.as_str()});
        out.push(document("Reference", reference.name.as_str(), &spec));
    }
    out
}

fn clients(fleet: &Fleet) -> Vec<String> {
    let mut out = Vec::new();
    for group in &fleet.groups {
        let area = fleet.areas[group.area.at()].name.as_str();
        let spec = json!({"area": area, "jurisdiction": group.jurisdiction.as_str()});
        out.push(document("ClientGroup", group.name.as_str(), &spec));
    }
    let rules = &fleet.rules;
    let spec = json!({
        "minRegionsOn": rules.min_regions_on,
        "shareCap": share(rules.share_cap.get()),
        "settle": time(rules.settle),
        "minResidency": time(rules.min_residency),
        "reportFresh": time(rules.report_fresh),
        "doubtWindow": time(rules.doubt_window),
        "unknownAlarm": time(rules.unknown_alarm),
        "upAfter": time(rules.up_after),
        "economicMargin": share(rules.economic_margin.get()),
    });
    out.push(document("Rules", "rules", &spec));
    out
}

fn service(fleet: &Fleet, service: &Service) -> String {
    let limit = |m: Millis| if m.0 == 0 { "none".to_owned() } else { time(m) };
    let routes: Vec<Value> = service
        .routes
        .iter()
        .map(|r| {
            json!({"prefix": r.prefix, "timeout": limit(r.timeout), "perTryTimeout": limit(r.per_try_timeout),
                "retries": r.retries})
        })
        .collect();
    let mut check = json!({"interval": time(service.check.interval), "timeout": time(service.check.timeout),
        "unhealthyAfter": service.check.unhealthy_after, "healthyAfter": service.check.healthy_after});
    match &service.check.kind {
        CheckKind::Tcp => check["tcp"] = json!({}),
        CheckKind::Http { path, tls, host } => {
            check["http"] = json!({"path": path, "tls": tls});
            if let Some(host) = host {
                check["http"]["host"] = json!(host);
            }
        }
        CheckKind::Grpc { service, tls, host } => {
            check["grpc"] = json!({"service": service, "tls": tls});
            if let Some(host) = host {
                check["grpc"]["host"] = json!(host);
            }
        }
    }
    let classes: Vec<Value> = service.classes.iter().map(|c| class(fleet, &fleet.classes[c.at()])).collect();
    let own = |e: &&tidegate_domain::Endpoint| fleet.services[e.service.at()].name == service.name;
    let endpoints: Vec<Value> = fleet
        .endpoints
        .iter()
        .filter(own)
        .map(|e| {
            json!({"name": e.name.as_str(), "region": fleet.regions[e.region.at()].name.to_string(), "host": e.host,
                "port": e.port})
        })
        .collect();
    let mut spec = json!({
        "listener": {"name": service.listener.name.as_str(), "address": service.listener.address,
            "port": service.listener.port},
        "domains": service.domains,
        "routes": routes,
        "healthCheck": check,
        "classes": classes,
        "endpoints": endpoints,
    });
    if let Some(class) = service.unmatched {
        spec["unmatched"] = json!(fleet.classes[class.at()].name.as_str());
    }
    document("Service", service.name.as_str(), &spec)
}

fn class(fleet: &Fleet, class: &tidegate_domain::Class) -> Value {
    let permitted: Vec<String> = match &class.permitted {
        Permitted::Anywhere => vec!["anywhere".to_owned()],
        Permitted::Only(set) => set.iter().map(ToString::to_string).collect(),
    };
    let mut spec = json!({
        "name": class.name.as_str(),
        "permitted": permitted,
        "priority": class.priority,
        "providerShareMax": share(class.provider_share_max.get()),
        "migrationCost": money(class.migration_cost),
    });
    match &class.matched_by {
        ClassMatch::Header { name, value } => {
            spec["match"] = json!({"header": {"name": name, "value": value}});
            spec["clientCanSet"] = json!(class.client_can_set);
        }
        ClassMatch::Host(host) => spec["match"] = json!({ "host": host }),
    }
    let mut demand = Map::new();
    for d in &class.demand {
        demand.insert(fleet.groups[d.group.at()].name.to_string(), json!(load(d.load.0)));
    }
    spec["demand"] = Value::Object(demand);
    spec
}

fn time(m: Millis) -> String {
    format!("{}ms", m.0)
}
fn share(bps: u16) -> String {
    format!("{}.{:02} %", bps / 100, bps % 100)
}
fn load(milli: u64) -> String {
    format!("{}.{:03} rps", milli / 1000, milli % 1000)
}
fn money(m: PicoDollars) -> String {
    format!("${}.{:012}", m.0 / 1_000_000_000_000, m.0.rem_euclid(1_000_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use crate::topology::{Groups, Sites, lay_out};

    #[test]
    fn what_is_written_is_read_back_as_the_same_fleet() {
        let shipped = example().expect("example");
        let groups = Groups::of(&shipped.fleet).expect("groups");
        let topology =
            lay_out(&shipped.fleet, &Network::Loopback { slot: 3 }, &groups, Sites::Provider).expect("topology");
        let loads = BTreeMap::from([("edge-de".to_owned(), 400), ("edge-us".to_owned(), 200)]);
        let fleet = at_home(shipped.fleet, &topology, &loads);
        let total: u64 = fleet.classes.iter().flat_map(|c| &c.demand).map(|d| d.load.0).sum();
        assert_eq!(total, 600_000, "declared is what is sent");
        let documents = documents(&fleet, &shipped.policy).expect("documents");
        let mut back = tidegate_config::load_documents(documents).expect("loads").fleet;
        back.revision = fleet.revision;
        assert_eq!(back, fleet);
    }
    #[test]
    fn the_example_is_the_cast_that_the_stories_play() {
        let shipped = example().expect("example");
        assert_eq!(shipped.fleet.regions.iter().filter(|r| !r.vantage_only).count(), 9);
        assert_eq!(shipped.fleet.vantages.len(), 8);
        assert!(shipped.fleet.references.len() >= 3);
        assert!(Groups::of(&shipped.fleet).is_ok());
        let names: Vec<String> = shipped.fleet.providers.iter().map(|p| p.name.to_string()).collect();
        assert!(["aws", "azure", "gcp"].iter().all(|p| names.iter().any(|n| n == p)), "{names:?}");
    }
}
