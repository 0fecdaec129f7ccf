//! What the senses say while a story is on: whether anything is accused that lives. Owns the reading of the probers'
//! counters and words; refuses to act.

use super::Player;
use crate::network::stands_at;
use crate::timeline::Icon;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Probes of all probers by result.
type Probes = BTreeMap<String, u64>;

impl Player<'_> {
    /// For so long nothing is accused: no verdict, no failed probe, no lost member.
    pub(super) async fn all_is_well(&mut self, time: Duration) -> anyhow::Result<()> {
        let (before, lost) = (self.probes().await?, self.lost_members()?.len());
        let since = crate::clock::now_ns();
        self.watch(time).await;
        let after = self.probes().await?;
        let diff: Probes = after.iter().map(|(k, n)| (k.clone(), n - before.get(k).copied().unwrap_or(0))).collect();
        let good = diff.get("ok").copied().unwrap_or(0);
        let bad: Vec<String> =
            diff.iter().filter(|(k, n)| *k != "ok" && **n > 0).map(|(k, n)| format!("{n} {k}")).collect();
        let (seconds, said) = (time.as_secs(), if bad.is_empty() { "none failed".to_owned() } else { bad.join(", ") });
        self.claim(&format!("{good} probes in {seconds} s, {said}"), good > 0 && bad.is_empty());
        let accused = self.cast.feed.accused(since);
        self.claim(&words("nothing is accused while all is well", &accused), accused.is_empty());
        let status = self.cast.server.status().await?;
        let unwell: Vec<String> = status.unwell.iter().map(|u| format!("{} {}", u.what, u.health)).collect();
        self.claim(&words("the server calls nothing unwell", &unwell), unwell.is_empty() && status.alarms.is_empty());
        let now = self.lost_members()?.len() - lost;
        self.claim(&format!("{now} members were called lost"), now == 0);
        Ok(())
    }

    /// Since the fault nothing was accused but what failed, and no member that lives.
    pub(super) fn only_the_dead(&mut self) -> anyhow::Result<()> {
        let dead: BTreeSet<String> = self.failing.iter().map(|(_, p)| p.clone()).collect();
        let of_dead = |name: &String| {
            let region = self.cast.topology.region_of(name).map_or(name.as_str(), |r| r.name.as_str());
            dead.iter().any(|p| stands_at(region, p))
        };
        let mut accused = self.cast.feed.accused(self.zero_ns);
        accused.retain(|name| !of_dead(name));
        self.claim(&words("nothing is accused but what is dead", &accused), accused.is_empty());
        let place = |name: &String| self.cast.topology.vantages.iter().find(|v| v.name == *name).map(|v| &v.place);
        let gone = |name: &String| place(name).is_some_and(|at| dead.iter().any(|p| stands_at(at, p)));
        let lost = self.lost_members()?;
        let living: Vec<String> =
            lost.iter().filter(|(_, who)| !gone(who)).map(|(by, who)| format!("{who} by {by}")).collect();
        self.claim(&words("no member that lives is called lost", &living), living.is_empty());
        let told = lost.len() - living.len();
        self.say(Icon::Note, &format!("dead members were called lost {told} times"));
        Ok(())
    }

    async fn probes(&self) -> anyhow::Result<Probes> {
        let mut all = Probes::new();
        for vantage in &self.cast.topology.vantages {
            let text = self.http.get(format!("http://{}/metrics", vantage.metrics())).send().await?.text().await?;
            for (word, count) in probes_of(&text) {
                *all.entry(word).or_default() += count;
            }
        }
        Ok(all)
    }

    /// Who called whom lost, by the words of all probers since their start.
    fn lost_members(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for vantage in &self.cast.topology.vantages {
            let text = std::fs::read_to_string(self.cast.paths.log(&format!("prober {}", vantage.name)))?;
            all.extend(lost_in(&text).map(|who| (vantage.name.clone(), who)));
        }
        Ok(all)
    }
}

fn words(held: &str, but: &[String]) -> String {
    if but.is_empty() { held.to_owned() } else { format!("{held}: but {}", but.join(", ")) }
}

/// Counts by result out of a prober's metrics.
fn probes_of(text: &str) -> impl Iterator<Item = (String, u64)> {
    text.lines().filter_map(|line| {
        let (result, count) = line.strip_prefix("tidegate_prober_probes_total{result=\"")?.split_once("\"} ")?;
        Some((result.to_owned(), count.parse().ok()?))
    })
}

/// Names of the members that a prober's log calls lost.
fn lost_in(log: &str) -> impl Iterator<Item = String> {
    let lost = log.lines().filter(|l| l.contains("no path to member"));
    lost.filter_map(|l| Some(l.split_once("name=")?.1.split_whitespace().next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_prober_says_is_read() {
        let page = "# HELP x\ntidegate_prober_probes_total{result=\"ok\"} 71\ntidegate_prober_probes_total{result=\"timeout\"} 2\n";
        assert_eq!(probes_of(page).collect::<Vec<_>>(), [("ok".to_owned(), 71), ("timeout".to_owned(), 2)]);
        let log =
            "INFO health_prober::cli: member up name=aws-1\nWARN health_prober::cli: no path to member name=aws-1\n";
        assert_eq!(lost_in(log).collect::<Vec<_>>(), ["aws-1"]);
    }
    #[test]
    fn what_does_not_hold_is_named() {
        assert_eq!(words("all is well", &[]), "all is well");
        assert_eq!(words("all is well", &["a".into(), "b".into()]), "all is well: but a, b");
    }
}
