//! The gossip of this server is cut: probers are lost to it though the places where they stand are seen well.
//!
//! Owns that finding. Refuses a verdict: a lost member is a fact about the path to a prober, never about a target.

use tidegate_domain::{Fleet, Health, Millis, Mono, Partition, View};

/// One lost prober has died or is being renewed; so many at once rather stand behind a cut.
const LOST_MIN: usize = 2;
/// A place that comes back has its probers in the gossip again within so long.
const HEALED: Millis = Millis(10_000);

/// What is found now and when time alone would change it. `regions` are the verdicts that stand.
pub(super) fn judge(
    fleet: &Fleet,
    view: &View,
    before: Option<&Partition>,
    (regions, now): (&[(Health, Mono)], Mono),
) -> (Option<Partition>, Option<Mono>) {
    let (mut lost, mut wake) = (Vec::new(), None);
    for vantage in &view.lost_members {
        let Some(region) = fleet.vantages.get(vantage.at()).map(|v| v.region) else { continue };
        let bears = fleet.endpoints.iter().any(|e| e.region == region);
        let (health, since) = regions[region.at()];
        if !bears || !matches!(health, Health::Healthy | Health::Degraded) {
            continue;
        }
        let stood = before.is_some_and(|p| p.lost.contains(vantage));
        match since + HEALED {
            ripe if ripe > now && !stood => wake = wake.into_iter().chain([ripe]).min(),
            _ => lost.push(*vantage),
        }
    }
    lost.sort_unstable();
    let since = before.map_or(now, |p| p.since);
    ((lost.len() >= LOST_MIN).then_some(Partition { since, lost }), wake)
}
