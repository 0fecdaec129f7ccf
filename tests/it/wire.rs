//! What edges would be told: read back from the translated resources themselves, not from the plan.

use std::collections::BTreeMap;
use tidegate_domain::*;
use tidegate_translate::{names, translate};

/// Every address of every assignment lies where the class and its group may be.
pub(crate) fn lawful(fleet: &Fleet, plan: &Plan) -> Result<usize, String> {
    lawful_by(fleet, fleet, plan)
}

/// As [`lawful`], of what is told by `teller`'s view of the law.
fn lawful_by(fleet: &Fleet, teller: &Fleet, plan: &Plan) -> Result<usize, String> {
    // host:port to the place, by the fleet's own list.
    let places: BTreeMap<String, RegionIx> =
        fleet.endpoints.iter().map(|e| (format!("{}:{}", e.host, e.port), e.region)).collect();
    let mut addresses = 0;
    for told in translate(teller, plan).map_err(|e| e.to_string())? {
        let group = &fleet.groups[told.group.at()].name;
        for (name, assignment) in &told.endpoints {
            let class = names::class(fleet, name).ok_or_else(|| format!("{name} is no class"))?;
            if !fleet.permits_group(class, told.group) {
                return Err(format!("{name} is told to {group}"));
            }
            let text = format!("{assignment:?}");
            for (address, region) in &places {
                let (host, port) = address.split_once(':').unwrap_or_default();
                let said = format!("address: \"{host}\"");
                if text.contains(&said) && text.contains(&format!("PortValue({port})")) {
                    addresses += 1;
                    if !fleet.permits(class, *region) {
                        return Err(format!(
                            "{name} at {group} names {address} in {}",
                            fleet.regions[region.at()].name
                        ));
                    }
                }
            }
        }
    }
    if addresses == 0 { Err("no address was found: the check reads nothing".to_owned()) } else { Ok(addresses) }
}

/// I8: no region above its safe utilisation by declared demand.
pub(crate) fn within_limits(fleet: &Fleet, plan: &Plan) -> Result<(), String> {
    let mut load = vec![0_u64; fleet.regions.len()];
    for s in &plan.splits {
        let shed = if let Serving::Routed { shed } = s.serving { u64::from(shed.get()) } else { 0 };
        let demand = fleet.demand(s.class, s.group).0 * (10_000 - shed) / 10_000;
        for w in &s.weights {
            load[w.region.at()] += w.share.of(demand);
        }
    }
    let over = |(r, region): (usize, &Region)| load[r] > region.safe_utilisation.of(region.capacity.0);
    match fleet.regions.iter().enumerate().find(|r| over(*r)) {
        Some((r, region)) => Err(format!("{} carries {}", region.name, load[r])),
        None => Ok(()),
    }
}

#[test]
fn the_checks_see_what_is_wrong() {
    use crate::world::{World, payroll};
    let w = World::settled(payroll(&[]));
    let (fleet, plan) = (w.fleet(), w.plan());
    assert!(lawful(&fleet, &plan).unwrap() > 50);
    within_limits(&fleet, &plan).unwrap();
    let mut wrong = (*plan).clone();
    let eu =
        wrong.splits.iter_mut().find(|s| fleet.class_name(s.class) == "payroll/eu" && !s.weights.is_empty()).unwrap();
    eu.weights = vec![Weight { region: w.region("gcp/europe-west1"), share: Bps::FULL }];
    lawful(&fleet, &wrong).expect("the translation keeps the law even where a plan does not");
    let mut lawless = (*fleet).clone();
    lawless.classes.iter_mut().for_each(|c| c.permitted = Permitted::Anywhere);
    assert!(lawful_by(&fleet, &lawless, &wrong).unwrap_err().contains("gcp/europe-west1"));
    let mut abroad = (*fleet).clone();
    abroad.groups.iter_mut().for_each(|g| g.jurisdiction = fleet.groups[0].jurisdiction);
    assert!(lawful_by(&fleet, &abroad, &plan).is_ok(), "a group that no plan serves is told nothing");
    for s in &mut wrong.splits {
        s.weights.iter_mut().for_each(|x| x.region = w.region("gcp/europe-west1"));
    }
    assert!(within_limits(&fleet, &wrong).is_err());
}
