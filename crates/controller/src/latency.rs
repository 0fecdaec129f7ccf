//! How long a verdict took: from the first report that called an endpoint failing to the Down that stands.
//!
//! Owns that memory, for metrics alone. Refuses to be asked by any decision.

use tidegate_domain::{Accused, Fleet, Millis, Mono, TargetState, VantageReport};

/// By endpoint: how many vantages' newest reports call it failing, and since when at least one has.
#[derive(Debug, Default)]
pub(crate) struct FirstFailing(Vec<(u32, Option<Mono>)>);

impl FirstFailing {
    /// One vantage's report takes the place of the one before.
    pub(crate) fn take(&mut self, before: Option<&VantageReport>, new: &VantageReport) {
        self.0.resize(new.targets.len(), (0, None));
        let failing = |r: Option<&VantageReport>, at: usize| {
            r.and_then(|r| r.targets.get(at)).is_some_and(|t| *t == TargetState::Failing)
        };
        for (at, (count, since)) in self.0.iter_mut().enumerate() {
            match (failing(before, at), failing(Some(new), at)) {
                (false, true) => {
                    *count += 1;
                    since.get_or_insert(new.arrived);
                }
                (true, false) => {
                    *count = count.saturating_sub(1);
                    *since = since.filter(|_| *count > 0);
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Counts anew, for another fleet: what fails does so since the oldest of these reports arrived.
    pub(crate) fn turn(&mut self, reports: &[Option<VantageReport>]) {
        self.0.clear();
        let mut all: Vec<&VantageReport> = reports.iter().flatten().collect();
        all.sort_by_key(|r| r.arrived);
        all.into_iter().for_each(|r| self.take(None, r));
    }

    /// From the first report, of those that still stand, that calls an endpoint of what is accused failing.
    pub(crate) fn until(&self, fleet: &Fleet, accused: Accused, now: Mono) -> Option<Millis> {
        let concerns = |at: usize| match accused {
            Accused::Endpoint(e) => e.at() == at,
            Accused::Region(r) => fleet.endpoints[at].region == r,
            Accused::Provider(p) => fleet.provider_of(fleet.endpoints[at].region) == p,
        };
        let all = self.0.iter().enumerate().take(fleet.endpoints.len());
        let since =
            all.filter(|(at, (_, since))| since.is_some() && concerns(*at)).filter_map(|(_, (_, s))| *s).min()?;
        Some(now.since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::FirstFailing;
    use tidegate_domain::*;

    fn report(vantage: u16, at: u64, targets: &[TargetState]) -> VantageReport {
        VantageReport {
            vantage: VantageIx(vantage),
            incarnation: 1,
            sequence: at,
            revision: Revision::default(),
            arrived: Mono(at * 1_000_000),
            own: VantageSelf::default(),
            targets: targets.to_vec(),
            rtt: Vec::new(),
        }
    }

    #[test]
    fn it_counts_from_the_first_that_still_stands() {
        use TargetState::{Failing, Ok};
        let endpoint = Endpoint {
            name: Name::new("e").unwrap(),
            service: ServiceIx(0),
            region: RegionIx(0),
            host: String::new(),
            port: 1,
        };
        let fleet = Fleet { endpoints: vec![endpoint], ..Fleet::default() };
        let (one, mut first) = (Accused::Endpoint(EndpointIx(0)), FirstFailing::default());
        let until = |f: &FirstFailing, at: u64| f.until(&fleet, one, Mono(at * 1_000_000));
        first.take(None, &report(0, 100, &[Ok]));
        assert_eq!(until(&first, 150), None);
        first.take(Some(&report(0, 100, &[Ok])), &report(0, 200, &[Failing]));
        first.take(None, &report(1, 900, &[Failing]));
        assert_eq!(until(&first, 1_000), Some(Millis(800)));
        // the first was wrong: one still stands, and it has failed for somebody all the time
        first.take(Some(&report(0, 200, &[Failing])), &report(0, 1_100, &[Ok]));
        assert_eq!(until(&first, 1_200), Some(Millis(1_000)));
        first.take(Some(&report(1, 900, &[Failing])), &report(1, 1_300, &[Ok]));
        assert_eq!(until(&first, 1_400), None);
        first.turn(&[Some(report(0, 700, &[Ok])), Some(report(1, 600, &[Failing]))]);
        assert_eq!(until(&first, 1_000), Some(Millis(400)));
    }
}
