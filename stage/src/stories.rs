//! The stories as data: what happens, in which order, and what must be seen. Owns the plot; refuses to act: `play`
//! does.

use std::time::Duration;

/// How a provider fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Every process is killed: connections are refused.
    Refused,
    /// Every process stops: connections open, nothing answers.
    Hung,
    /// Every packet in and out is dropped.
    BlackHoled,
    /// Every backend answers 503, its health path too.
    Erring,
    /// A part of the data requests fails, a part is slow; the health path is well.
    Gray,
    /// Every data request is answered 503; the health path is well.
    Shallow,
}

/// One step of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Notes the splits, to be shown beside those at the end.
    Before,
    /// Prints both.
    After,
    /// These providers fail; the story's clock starts at the first fault.
    Fault(Fault, &'static [&'static str]),
    /// One region fails in a way that its health path does not show; the story's clock starts.
    Ail(Fault, &'static str),
    /// This region loses its weight, down to nothing.
    Leaves(&'static str, Duration),
    /// The clock starts here though nothing fails: a person or the stage acts.
    Act(&'static str),
    /// The verdict on all that failed.
    Verdict(Duration),
    /// All proxies and subscribers have acknowledged a plan without what failed.
    Acked(Duration),
    /// Goes on under load.
    Watch(Duration),
    /// Goes on under load; meanwhile no probe fails and nothing is accused.
    AllIsWell(Duration),
    /// Since the fault nothing that lives was accused.
    OnlyTheDead,
    /// What failed comes back.
    Repair,
    /// Shares are again what they were before.
    SharesBack(Duration),
    /// An operator's drain.
    Drain(&'static str),
    /// Its place carries nothing.
    DrainDone(&'static str, Duration),
    /// An operator's restore.
    Restore(&'static str),
    /// A place that costs nothing from now on; `lawless`: and may be used by every class.
    Cheapest { region: &'static str, lawless: bool },
    /// The configuration as it was at the start.
    ConfigBack,
    /// Another health-check path for all.
    HealthPath(&'static str),
    /// Every endpoint is seen down.
    AllSeenDown(Duration),
    /// Load and declared demand in per cent of normal.
    Demand(u64),
    /// Load and declared demand a little above what is left when this provider is lost.
    DemandOver(&'static str),
    /// Everything stands still together.
    Pause(Duration),
    /// The server is killed.
    KillServer,
    /// It comes back and serves what it had committed.
    ServerBack(Duration),
    /// The edge is restarted without any server.
    RestartEdge,
    /// The part of the story that must trip the counter.
    Control,
    /// The shares did not change since `Before`.
    SharesSame,
    /// A place serves at least something, or nothing, of a class.
    Carries { class: &'static str, region: &'static str, something: bool },
    /// A place comes to serve something of a class.
    CarriesWithin { class: &'static str, region: &'static str, bound: Duration },
}

/// A story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Story {
    /// Its name in the JSON.
    pub name: &'static str,
    /// What a person reads above it.
    pub headline: &'static str,
    /// In the short demo.
    pub short: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

const VERDICT: Duration = Duration::from_secs(10);
const RAMP: Duration = Duration::from_secs(120);
/// A place that lost its requests for what the edges said is tried again after a minute, and then fills by the slow ramp.
const TRIAL_AND_RAMP: Duration = Duration::from_secs(240);
/// The region that carries most of what the proxies in DE send.
const AILING: &str = "aws/eu-central-1";

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One of the four outages, without the return: what the bench repeats.
pub(crate) fn outage(name: &'static str, headline: &'static str, fault: Fault) -> Story {
    let steps = vec![
        Step::Before,
        Step::Fault(fault, &["aws"]),
        Step::Verdict(VERDICT),
        Step::Acked(VERDICT),
        Step::Watch(s(10)),
        Step::After,
    ];
    Story { name, headline, short: false, steps }
}

/// The four outages.
pub(crate) fn outages() -> Vec<Story> {
    vec![
        outage("provider-refused", "AWS dies: every process is gone, connections are refused", Fault::Refused),
        outage("provider-hung", "AWS hangs: connections open, nothing answers", Fault::Hung),
        outage("provider-blackholed", "AWS falls silent: every packet is dropped", Fault::BlackHoled),
        outage("provider-erring", "AWS errs: every answer is 503", Fault::Erring),
    ]
}

/// The outages for a static proxy alone: nobody gives a verdict.
pub(crate) fn rehearsal() -> Vec<Story> {
    let mut out = outages();
    for story in &mut out {
        story.steps.retain(|step| matches!(step, Step::Fault(..)));
        story.steps.extend([Step::Watch(s(15)), Step::Repair, Step::Watch(s(8))]);
    }
    out
}

/// For links that are late: nothing is accused for being far, and a death is seen all the same.
pub(crate) fn far() -> Story {
    let steps = vec![
        Step::Before,
        Step::AllIsWell(s(30)),
        Step::Fault(Fault::Refused, &["aws"]),
        Step::Verdict(VERDICT),
        Step::Acked(VERDICT),
        Step::Watch(s(10)),
        Step::OnlyTheDead,
        Step::After,
    ];
    Story {
        name: FAR,
        headline: "Places stand continents apart: nothing is accused for it, and a dead cloud is seen",
        short: true,
        steps,
    }
}

/// Name of [`far`].
pub(crate) const FAR: &str = "far-places";

fn drain() -> Story {
    let steps = vec![
        Step::Before,
        Step::Act("an operator drains AWS, two steps under the share cap"),
        Step::Drain("aws"),
        Step::DrainDone("aws", s(90)),
        Step::After,
        Step::Watch(s(2)),
        Step::Restore("aws"),
        Step::SharesBack(RAMP),
    ];
    Story {
        name: "operator-drain",
        headline: "An operator takes AWS out of service, and puts it back",
        short: true,
        steps,
    }
}

fn forbidden() -> Story {
    const BELGIUM: &str = "gcp/europe-west1";
    let carries = |class, something| Step::Carries { class, region: BELGIUM, something };
    let steps = vec![
        Step::Before,
        Step::Act("Belgium costs nothing from now on"),
        Step::Cheapest { region: BELGIUM, lawless: false },
        // Longer than the demo's minimum residency: an economic move would have come.
        Step::Watch(s(23)),
        Step::After,
        carries("eu", false),
        carries("us", false),
        carries("open", true),
        Step::Control,
        Step::Before,
        Step::Act("control run: the same with the residency rule removed"),
        Step::Cheapest { region: BELGIUM, lawless: true },
        Step::CarriesWithin { class: "eu", region: BELGIUM, bound: s(40) },
        Step::Watch(s(3)),
        Step::After,
        Step::ConfigBack,
    ];
    Story {
        name: "forbidden-cheapest",
        headline: "The cheapest place is one where the data may not be",
        short: true,
        steps,
    }
}

/// Every story, in the order in which they are played.
///
/// `undroppable`: no packet can be dropped here. Then a hung cloud stands for a silent one in the short demo.
pub(crate) fn all(undroppable: bool) -> Vec<Story> {
    let story = |name, headline, short, steps| Story { name, headline, short, steps };
    let mut out = outages();
    // The short demo plays a cloud that falls silent, its return, the drain and Belgium.
    let silent = if undroppable { "provider-hung" } else { "provider-blackholed" };
    for story in &mut out {
        story.short = story.name == silent;
    }
    out.insert(
        3,
        story(
            "recovery",
            "AWS comes back, and fills again by the slow ramp",
            true,
            vec![Step::Before, Step::Act("AWS is back"), Step::Repair, Step::SharesBack(RAMP), Step::After],
        ),
    );
    out.push(drain());
    out.push(forbidden());
    out.push(ailing("gray", "A region fails 12 % of its requests and is slow; its health path says 200", Fault::Gray));
    out.push(ailing("shallow-check", "A region answers 503 to all data; its health path says 200", Fault::Shallow));
    out.push(capacity_cascade());
    out.push(two_providers());
    out.push(all_down());
    out.push(machine_stall());
    out.push(control_plane_death());
    out
}

/// A region that its health path calls well: only the edges' own requests tell.
fn ailing(name: &'static str, headline: &'static str, fault: Fault) -> Story {
    let steps = vec![
        Step::Before,
        // What it answers while it is well is what its slowness is held against.
        Step::Watch(s(3)),
        Step::Ail(fault, AILING),
        Step::Leaves(AILING, s(30)),
        // The gate's window: until it is empty, and 30 s.
        Step::Watch(s(31)),
        Step::After,
        Step::Repair,
        Step::SharesBack(TRIAL_AND_RAMP),
        // Long enough for a relapse to show.
        Step::Watch(s(12)),
    ];
    Story { name, headline, short: false, steps }
}

fn capacity_cascade() -> Story {
    Story {
        name: "capacity-cascade",
        headline: "Demand is up when the biggest provider dies: the survivors cannot hold it all",
        short: false,
        steps: vec![
            Step::DemandOver("aws"),
            Step::Watch(s(4)),
            Step::Before,
            Step::Fault(Fault::Refused, &["aws"]),
            Step::Verdict(VERDICT),
            Step::Acked(VERDICT),
            Step::Watch(s(12)),
            Step::After,
            Step::Demand(100),
            Step::Repair,
            Step::SharesBack(RAMP),
        ],
    }
}

fn two_providers() -> Story {
    Story {
        name: "two-providers",
        headline: "AWS and Azure die together: one cloud is left",
        short: false,
        steps: vec![
            Step::Before,
            Step::Fault(Fault::Refused, &["aws", "azure"]),
            Step::Verdict(VERDICT),
            Step::Acked(VERDICT),
            Step::Watch(s(12)),
            Step::After,
            Step::Repair,
            Step::SharesBack(RAMP),
        ],
    }
}

fn all_down() -> Story {
    Story {
        name: "all-down",
        headline: "A wrong health-check path is pushed for everything: all look down, none is",
        short: false,
        steps: vec![
            Step::Before,
            Step::Act("a wrong health-check path is pushed"),
            Step::HealthPath("/no-such-path"),
            Step::AllSeenDown(s(30)),
            Step::Watch(s(10)),
            Step::SharesSame,
            Step::ConfigBack,
            Step::SharesBack(RAMP),
        ],
    }
}

fn machine_stall() -> Story {
    Story {
        name: "machine-stall",
        headline: "Everything pauses for 2 s together: not an outage",
        short: false,
        steps: vec![
            Step::Before,
            // What carries now must carry afterwards.
            Step::Watch(s(3)),
            Step::Act("everything stands still"),
            Step::Pause(s(2)),
            Step::Watch(s(10)),
            Step::SharesSame,
        ],
    }
}

fn control_plane_death() -> Story {
    Story {
        name: "control-plane-death",
        headline: "The server dies, then AWS, then an edge restarts: the data plane is on its own",
        short: false,
        steps: vec![
            Step::Before,
            Step::KillServer,
            Step::Watch(s(3)),
            Step::Fault(Fault::Refused, &["aws"]),
            Step::Watch(s(6)),
            Step::RestartEdge,
            Step::Watch(s(4)),
            Step::ServerBack(s(30)),
            Step::Verdict(s(20)),
            Step::Acked(s(20)),
            Step::Repair,
            Step::SharesBack(RAMP),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_published_story_is_there_once() {
        let names: Vec<&str> = all(false).iter().map(|s| s.name).collect();
        let expected = [
            "provider-refused",
            "provider-hung",
            "provider-blackholed",
            "recovery",
            "provider-erring",
            "operator-drain",
            "forbidden-cheapest",
            "gray",
            "shallow-check",
            "capacity-cascade",
            "two-providers",
            "all-down",
            "machine-stall",
            "control-plane-death",
        ];
        assert_eq!(names, expected);
        for (undroppable, silent) in [(false, "provider-blackholed"), (true, "provider-hung")] {
            let all = all(undroppable);
            let short: BTreeSet<&str> = all.iter().filter(|s| s.short).map(|s| s.name).collect();
            assert_eq!(short, BTreeSet::from([silent, "recovery", "operator-drain", "forbidden-cheapest"]));
        }
    }
    #[test]
    fn what_fails_in_a_story_is_repaired_or_left_for_the_next() {
        for story in all(false) {
            let faults = story.steps.iter().filter(|s| matches!(s, Step::Fault(..) | Step::Ail(..))).count();
            let repairs = story.steps.iter().filter(|s| matches!(s, Step::Repair)).count();
            assert!(faults <= 1 && repairs <= 1, "{}", story.name);
        }
    }
}
