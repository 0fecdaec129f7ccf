//! Reasons, alarms and moves as sentences: one wording for the log, `explain` and the API. Owns words, decides nothing.

use std::collections::BTreeSet;
use tidegate_domain::{
    Alarm, ApiCause, ApiTrouble, Blame, Bps, CutOff, CutOffCause, EndpointIx, Finding, Fleet, Followed, Health, Move,
    Partition, PathFailure, PathFrom, Plan, Reason, RegionIx, Slowness, State,
};

/// One reason as a sentence's core, without full stop: `drained by drain 7`.
#[must_use]
pub fn sentence(reason: &Reason, fleet: &Fleet) -> String {
    match reason {
        Reason::Chosen => "nearest and cheapest with room".to_owned(),
        Reason::NotPermitted { jurisdiction } => format!("{jurisdiction} is outside the class's permitted set"),
        Reason::DeniedByPolicy { kind, reason } if reason.is_empty() => {
            format!("policy denies {} moves there", kind.word())
        }
        Reason::DeniedByPolicy { kind, reason } => format!("policy denies {} moves there: {reason}", kind.word()),
        // the verdict that brings traffic back
        Reason::Unfit { accused: of, health: Health::Healthy } => {
            format!("{} is healthy and may carry again", fleet.accused_name(*of))
        }
        Reason::Unfit { accused: of, health: h } => format!("{} is {}", fleet.accused_name(*of), h.word()),
        Reason::NotReached { failing, near, well, elsewhere } => format!(
            "not reached from here: {failing} of {near} probers near these clients see it failing, {well} of {elsewhere} \
             elsewhere see it well"
        ),
        Reason::Erring { against, edges, rate } => {
            format!("{against} of {edges} edges see {rate} of their requests fail there")
        }
        Reason::Slow { against, edges, slowness } => {
            format!("{} there", slowness_sentence(*against, *edges, *slowness))
        }
        Reason::ComingUp { left } => format!("answers again and must stay well for {left} more"),
        Reason::Followed { from, to } => {
            let name = |r: &RegionIx| &fleet.regions[r.at()].name;
            format!("what failed in {} came along to {}", name(from), name(to))
        }
        Reason::Drained { id } => format!("drained by drain {id}"),
        Reason::NoEndpoint => "the service has no endpoint there".to_owned(),
        Reason::Full { limit } => format!("full up to its safe utilisation ({limit})"),
        Reason::FartherRing { ring } => format!("farther away (ring {ring}); nearer places have room"),
        Reason::Dearer => "cheaper places of the same ring have room".to_owned(),
        Reason::ProviderShare { max } => format!("its provider carries the largest share it may ({max})"),
        Reason::ShareCap { cap, left } => format!("a step moves at most {cap}; the next may follow in {left}"),
        Reason::MinResidency { left } => format!("an economic move waits {left} more for minimum residency"),
        Reason::Frozen { reason } => format!("a freeze window is open: {reason}"),
        Reason::ApiTrouble { provider } => {
            let name = &fleet.providers[provider.at()].name;
            format!(
                "the API of {name} is in trouble: only safety moves change what {name} carries, until it has been well for \
                 {} or a person says so",
                fleet.rules.up_after
            )
        }
        Reason::AutomationPaused { kind } => format!("automation is paused for {} moves", kind.word()),
        Reason::RampHeld => "a person holds the ramps".to_owned(),
        Reason::NotWorthIt { margin } => format!("better, but not by the margin of {margin}"),
        Reason::Doubted => "too much went down at once on too little agreement: held".to_owned(),
        Reason::AllDownHeld => {
            "everything permitted is down or only coming back: the weights from before stay".to_owned()
        }
        Reason::SafetyFirst => "economic moves wait until safety moves and drains are done".to_owned(),
        Reason::Unsettled { left } => {
            format!("what moved where it would go has to settle first, {left} more")
        }
        Reason::Assertion { rule } => format!("a safety rule would break: {rule}"),
    }
}

/// One alarm as a sentence, without full stop.
#[must_use]
pub fn alarm_sentence(alarm: &Alarm, fleet: &Fleet) -> String {
    match alarm {
        Alarm::AllDown { class } => {
            format!(
                "{}: every permitted place is down, unknown or only coming back; the weights from before stay",
                fleet.class_name(*class)
            )
        }
        Alarm::NoPlace { class } => {
            format!("{}: no permitted place at all; its requests are refused", fleet.class_name(*class))
        }
        Alarm::Doubt { service } => format!(
            "{}: more than half would go down on too little agreement; weights are held",
            fleet.services[service.at()].name
        ),
        Alarm::Shedding { class, group, shed } => format!(
            "{} for {}: the living places cannot hold everything; {shed} is shed",
            fleet.class_name(*class),
            fleet.groups[group.at()].name
        ),
        Alarm::LongUnknown { region } => {
            format!("{}: unknown for longer than the rules allow", fleet.regions[region.at()].name)
        }
        Alarm::CutOff { vantage } => {
            let name = &fleet.vantages[vantage.at()].name;
            format!("prober {name}: cut off for longer than the rules allow; its votes do not count")
        }
        Alarm::ApiTrouble { provider } => format!(
            "the API of {} has been in trouble for longer than the rules allow; only safety moves change what it carries",
            fleet.providers[provider.at()].name
        ),
        Alarm::Partition => {
            "the gossip of this server has been cut for longer than the rules allow; the lost probers do not vote"
                .to_owned()
        }
        Alarm::Followed { service } => format!(
            "{}: what failed in one place came along when its traffic left; the fault is the requests' or the load's",
            fleet.services[service.at()].name
        ),
        Alarm::PlanRefused { fault } => format!("the plan was refused and the one before stays: {fault}"),
    }
}

/// How it is known that a prober is cut off, without full stop.
#[must_use]
pub fn cut_off_sentence(cut: &CutOff) -> String {
    match cut.cause {
        CutOffCause::References { reached } => format!("reaches only {reached} references"),
        CutOffCause::Contradicted { failing, targets, providers, others } => format!(
            "calls {failing} of {targets} targets of {providers} providers failing that {others} others or more see well"
        ),
    }
}

/// `3 of 4 edges see 410 ms instead of 20 ms`
fn slowness_sentence(against: u32, edges: u32, Slowness { took, usual }: Slowness) -> String {
    format!("{against} of {edges} edges see {} ms instead of {} ms", took.0, usual.0)
}

/// How it is known that a provider's own API is in trouble, without full stop.
fn api_sentence(trouble: &ApiTrouble) -> String {
    match &trouble.cause {
        ApiCause::Probed { failing, eligible, electorate, well_since } => {
            let back = if well_since.is_some() { "; it answers again and must stay well for a time" } else { "" };
            format!("{failing} of {eligible} eligible probers outside it, of {electorate} in all, see it failing{back}")
        }
        ApiCause::Told { by, reason } => format!("{by} says so: {reason}"),
    }
}

/// Everything that was found besides verdicts, as remembered in `state`.
#[must_use]
pub fn findings(state: &State, fleet: &Fleet) -> Vec<Finding> {
    let prober = |cut: &CutOff| {
        let name = fleet.vantages.get(cut.vantage.at())?.name.to_string();
        Some(Finding { kind: "prober", name, word: "cut off", since: cut.since, evidence: cut_off_sentence(cut) })
    };
    let path = |p: &PathFailure| {
        let (from, near) = match p.from {
            PathFrom::Group(g) => (fleet.groups.get(g.at())?.name.to_string(), "near these clients"),
            PathFrom::Provider(x) => (fleet.providers.get(x.at())?.name.to_string(), "there"),
        };
        let PathFailure { failing, near: of, well, elsewhere, .. } = p;
        Some(Finding {
            kind: "path",
            name: format!("from {from} to {}", fleet.regions.get(p.to.at())?.name),
            word: "failing",
            since: p.since,
            evidence: format!(
                "{failing} of {of} probers {near} see it failing, {well} of {elsewhere} elsewhere see it well"
            ),
        })
    };
    let place = |b: &Blame| {
        let (service, region) = (fleet.services.get(b.service.at())?, fleet.regions.get(b.region.at())?);
        let word = match b.health {
            Health::Down => "failing",
            Health::Degraded if b.slowness.is_some() => "slow",
            Health::Degraded => "erring",
            Health::Healthy | Health::Unknown => return None,
        };
        let Blame { against, edges, rate, .. } = b;
        let evidence = match b.slowness {
            Some(slowness) => slowness_sentence(*against, *edges, slowness),
            None => format!("{against} of {edges} edges see {rate} of their requests fail there"),
        };
        Some(Finding {
            kind: "place",
            name: format!("{} in {}", service.name, region.name),
            word,
            since: b.since,
            evidence,
        })
    };
    let service = |f: &Followed| followed(f, fleet);
    let probers = state.cut_off.iter().filter_map(prober);
    let paths = state.paths.iter().filter_map(path);
    let api = |t: &ApiTrouble| {
        let name = fleet.providers.get(t.provider.at())?.name.to_string();
        Some(Finding { kind: "api", name, word: "in trouble", since: t.since, evidence: api_sentence(t) })
    };
    let gossip = |p: &Partition| {
        let names: Vec<String> =
            p.lost.iter().filter_map(|v| Some(fleet.vantages.get(v.at())?.name.to_string())).collect();
        let of = fleet.vantages.len();
        let evidence = format!(
            "{} of {of} probers are lost to it while their places are seen well: {}",
            names.len(),
            names.join(", ")
        );
        Finding { kind: "gossip", name: "of this server".to_owned(), word: "cut", since: p.since, evidence }
    };
    let probers = probers.chain(state.partition.iter().map(gossip));
    let services = state.followed.iter().filter_map(service);
    let places = state.blamed.iter().filter_map(place).chain(services);
    probers.chain(state.apis.iter().filter_map(api)).chain(paths).chain(places).collect()
}

fn followed(f: &Followed, fleet: &Fleet) -> Option<Finding> {
    let region = |r: RegionIx| Some(&fleet.regions.get(r.at())?.name);
    let (from, to) = (region(f.from)?, region(f.to)?);
    let evidence = match f.slow {
        true => format!("most edges find {to} slow since it took what left {from}"),
        false => {
            format!("{} of the requests failed in {from}, and {} in {to} since it took what left", f.origin, f.rate)
        }
    };
    let name = fleet.services.get(f.service.at())?.name.to_string();
    Some(Finding { kind: "service", name, word: "followed by its problem", since: f.since, evidence })
}

/// One move as a sentence, without full stop: `payroll/eu for edge-de: 34 % moved (voluntary): drained by drain 7`.
#[must_use]
pub fn move_sentence(m: &Move, fleet: &Fleet) -> String {
    let (class, group) = (fleet.class_name(m.class), &fleet.groups[m.group.at()].name);
    format!("{class} for {group}: {} moved ({}): {}", m.share, m.kind.word(), sentence(&m.cause, fleet))
}

/// Names listed in a sentence at most; the rest is counted.
const NAMED_MAX: usize = 3;

fn named(what: &str, names: &[String]) -> Option<String> {
    let first = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => None,
        n if n <= NAMED_MAX => Some(format!("{what} {first}")),
        n => Some(format!("{what} {first} and {} more", n - NAMED_MAX)),
    }
}

/// What a plan changes besides weights, without full stop: which endpoints are taken out or put back and which places
/// enter or leave the spill order of some class. Empty where none of this changed.
#[must_use]
pub fn change_sentence(before: &Plan, after: &Plan, fleet: &Fleet) -> String {
    let endpoints = |of: &Plan, not: &Plan| -> Vec<String> {
        let gone = |e: &&EndpointIx| not.endpoints_out.binary_search(e).is_err();
        let all = of.endpoints_out.iter().filter(gone);
        all.filter_map(|e| fleet.endpoints.get(e.at())).map(|e| e.name.to_string()).collect()
    };
    let (entered, left) = (spill_gains(before, after), spill_gains(after, before));
    let places = |set: &BTreeSet<RegionIx>| -> Vec<String> {
        set.iter().filter_map(|r| fleet.regions.get(r.at())).map(|r| r.name.to_string()).collect()
    };
    let ways = |p: &Plan| p.splits.iter().map(|s| s.spill.clone()).collect::<Vec<_>>();
    let order_only = entered.is_empty() && left.is_empty() && ways(before) != ways(after);
    let parts = [
        named("takes out", &endpoints(after, before)),
        named("puts back", &endpoints(before, after)),
        named("into the spill order:", &places(&entered)),
        named("out of the spill order:", &places(&left)),
        order_only.then(|| "the spill order itself".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Places that are in the spill order of some split of `after` and were neither in it nor carrying in `before`.
fn spill_gains(before: &Plan, after: &Plan) -> BTreeSet<RegionIx> {
    let mut gained = BTreeSet::new();
    for s in &after.splits {
        let old = before.split(s.class, s.group);
        let was =
            |r: &RegionIx| old.is_some_and(|o| o.share(*r) > Bps::ZERO || o.spill.iter().any(|ring| ring.contains(r)));
        gained.extend(s.spill.iter().flatten().copied().filter(|r| !was(r)));
    }
    gained
}
