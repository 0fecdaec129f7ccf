//! A region that ails while its health path is well: makes it so, and writes down what weight the server gives it.
//!
//! Owns acting and the weighing; refuses to judge times: `summary` takes them from the server's own words.

use super::{Player, order_of};
use crate::clock::now_ns;
use crate::raw::{MarkKind, ServerLine};
use crate::server_api::Split;
use crate::stories::Fault;
use crate::timeline::Icon;
use std::sync::Arc;
use std::time::Duration;

/// How often the weight is asked for: what is measured is late by this at most.
const ASK: Duration = Duration::from_millis(100);

impl Player<'_> {
    /// The region fails from now on; its weight is written down until the story's end.
    pub(super) async fn ail(&mut self, fault: Fault, region: &str) -> anyhow::Result<()> {
        self.weigh(region).await?;
        self.read_all_tries().await;
        self.start_clock();
        self.mark_at(self.zero_ns, MarkKind::Fault { providers: Vec::new() });
        self.mark_at(self.zero_ns, MarkKind::Ailing { region: region.to_owned() });
        self.failing.push((fault, region.to_owned()));
        self.cast.order(region, order_of(fault, true)).await?;
        let what = match fault {
            Fault::Gray => "fails 12 % of its data requests, and is slow",
            _ => "answers 503 to every data request",
        };
        self.say(Icon::Fault, &format!("{region} {what}; its health path answers 200"));
        Ok(())
    }

    /// Writes the weight now, and each time that it has changed.
    async fn weigh(&mut self, region: &str) -> anyhow::Result<()> {
        let (server, feed, region) = (self.cast.server.clone(), Arc::clone(&self.cast.feed), region.to_owned());
        let (_, splits) = server.splits().await?;
        let mut last = weight(&splits, &region);
        anyhow::ensure!(last > 0, "{region} carries nothing before the fault: nothing could be seen");
        feed.write(&ServerLine::Weight { t_ns: now_ns(), region: region.clone(), bps: last });
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(ASK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Ok((_, splits)) = server.splits().await else { continue };
                let now = weight(&splits, &region);
                // A server that has no plan yet says nothing of weights.
                if now != last && !splits.is_empty() {
                    last = now;
                    feed.write(&ServerLine::Weight { t_ns: now_ns(), region: region.clone(), bps: now });
                }
            }
        });
        self.scales = Some(task.abort_handle());
        Ok(())
    }

    /// Tells each step until the region has no weight.
    pub(super) async fn leaves(&mut self, region: &str, bound: Duration) -> anyhow::Result<()> {
        let mut last = weight(&self.before, region);
        let end = tokio::time::Instant::now() + bound;
        let mut ticks = tokio::time::interval(ASK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while tokio::time::timeout_at(end, ticks.tick()).await.is_ok() {
            let Ok((generation, splits)) = self.cast.server.splits().await else { continue };
            let now = weight(&splits, region);
            if splits.is_empty() || now == last {
                continue;
            }
            self.say(Icon::Moved, &format!("plan {generation}: {region} had {last} basis points of all, has {now}"));
            last = now;
            if now == 0 {
                let status = self.cast.server.status().await?;
                for unwell in status.unwell.iter().filter(|u| u.what.starts_with("place") && u.what.contains(region)) {
                    self.say(Icon::Seen, &format!("{}: {}", unwell.what, unwell.evidence));
                }
                return Ok(());
            }
        }
        anyhow::bail!("{region} still carries {last} basis points after {} s", bound.as_secs())
    }
}

/// What all splits give the region, in basis points, added up.
fn weight(splits: &[Split], region: &str) -> u64 {
    splits.iter().filter_map(|s| s.shares.get(region)).sum()
}
