//! A fleet from a few numbers, as the configuration that a person would write: it passes the same checks as any other.
//!
//! Owns the documents. Refuses numbers from which no sound fleet follows. The fleet: clouds `p1`, `p2`, … with regions `r1`,
//! `r2`, … dealt to two parts of the world, a place `outside/hub` that only holds vantages, services `s1`, `s2`, … with one
//! class that may be anywhere, whose demand is 40 % of what all regions carry.

use anyhow::{Result, ensure};
use serde::Deserialize;
use std::fmt::Write;

/// So many of a kind at the most: addresses are made of their numbers.
const MOST: u32 = 10_000;

/// How large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Described {
    /// Clouds.
    pub providers: u32,
    /// Regions of each.
    pub regions_each: u32,
    /// Vantages, dealt to the regions in turn, the clouds first to last in each round.
    pub vantages: u32,
    /// Of these, so many at the place outside.
    #[serde(default)]
    pub outside: u32,
    /// Endpoints, dealt to the regions in the same way.
    pub endpoints: u32,
    /// Services, which take turns in each region.
    #[serde(default = "one")]
    pub services: u32,
    /// Whether each cloud's own API is asked how it does.
    #[serde(default)]
    pub apis: bool,
}

fn one() -> u32 {
    1
}

impl Described {
    fn check(self) -> Result<()> {
        let Self { providers, regions_each, vantages, outside, endpoints, services, apis: _ } = self;
        let regions = u64::from(providers) * u64::from(regions_each);
        let all = [providers, regions_each, vantages, endpoints, services];
        ensure!(all.iter().all(|n| (1..=MOST).contains(n)), "each number is from 1 to {MOST}");
        ensure!(regions <= 1_000, "providers × regionsEach = {regions}: at most 1000 regions");
        ensure!(outside <= vantages, "outside: {outside} of {vantages} vantages");
        let least = regions * u64::from(services);
        ensure!(u64::from(endpoints) >= least, "endpoints: {least} at least, one for each service in each region");
        Ok(())
    }

    /// Region `i`, the clouds in turn.
    fn region(self, i: u32) -> (u32, u32) {
        (i % self.providers + 1, i / self.providers % self.regions_each + 1)
    }

    /// The configuration, as (path, text).
    ///
    /// # Errors
    /// With the number that does not fit.
    pub fn documents(self) -> Result<Vec<(String, String)>> {
        self.check()?;
        let all = [
            ("places.yaml", self.places()?),
            ("clients.yaml", self.clients()?),
            ("senses.yaml", self.senses()?),
            ("services.yaml", self.services()?),
        ];
        Ok(all.into_iter().map(|(path, text)| (path.to_owned(), text)).collect())
    }

    fn places(self) -> Result<String> {
        let mut out = String::new();
        for p in 1..=self.providers {
            let spec = match self.apis {
                true => format!("{{ apiStatus: {{ url: \"https://10.4.{}.{}/ping\" }} }}", p / 250, p % 250 + 1),
                false => "{}".to_owned(),
            };
            document(&mut out, "Provider", &format!("p{p}"), &spec)?;
        }
        document(&mut out, "Provider", "outside", "{}")?;
        document(&mut out, "Area", "europe", "{ rings: [[europe], [america]] }")?;
        document(&mut out, "Area", "america", "{ rings: [[america], [europe]] }")?;
        for i in 0..self.providers * self.regions_each {
            let (p, r) = self.region(i);
            let (law, area) = if r % 2 == 1 { ("DE", "europe") } else { ("US", "america") };
            let spec = format!("{{ jurisdiction: {law}, area: {area}, capacity: 1000 rps, costPerMillion: $0.30 }}");
            document(&mut out, "Region", &format!("p{p}/r{r}"), &spec)?;
        }
        document(&mut out, "Region", "outside/hub", "{ jurisdiction: DE, area: europe, vantageOnly: true }")?;
        Ok(out)
    }

    fn clients(self) -> Result<String> {
        let mut out = String::new();
        document(&mut out, "ClientGroup", "edge-de", "{ area: europe, jurisdiction: DE }")?;
        document(&mut out, "ClientGroup", "edge-us", "{ area: america, jurisdiction: US }")?;
        Ok(out)
    }

    fn senses(self) -> Result<String> {
        let mut out = String::new();
        for i in 0..self.vantages {
            let place = match i.checked_sub(self.vantages - self.outside) {
                Some(_) => "outside/hub".to_owned(),
                None => {
                    let (p, r) = self.region(i);
                    format!("p{p}/r{r}")
                }
            };
            let address = format!("10.1.{}.{}:7946", i / 250, i % 250 + 1);
            document(
                &mut out,
                "Vantage",
                &format!("v{}", i + 1),
                &format!("{{ region: {place}, gossip: \"{address}\" }}"),
            )?;
        }
        for (n, network) in ["north", "south", "west"].iter().enumerate() {
            let spec = format!("{{ address: \"10.3.{n}.1:9000\", network: {network} }}");
            document(&mut out, "Reference", &format!("reference-{network}"), &spec)?;
        }
        Ok(out)
    }

    fn services(self) -> Result<String> {
        let mut out = String::new();
        let regions = self.providers * self.regions_each;
        let demand = regions * 1_000 * 2 / 5 / 2 / self.services;
        for s in 0..self.services {
            let mut spec = format!(
                "\n  listener: {{ name: public, address: 0.0.0.0, port: 10000 }}\n  domains: [s{n}.example]\n  routes: \
                 [{{ prefix: /, timeout: 2s, perTryTimeout: 250ms, retries: 3 }}]\n  healthCheck: {{ http: {{ path: \
                 /healthz }}, interval: 500ms, timeout: 400ms, unhealthyAfter: 2, healthyAfter: 3 }}\n  classes:\n    - \
                 {{ name: all, permitted: [anywhere], match: {{ header: {{ name: x-class, value: all }} }}, \
                 clientCanSet: false, priority: 0, demand: {{ edge-de: {demand} rps, edge-us: {demand} rps }}, \
                 providerShareMax: {most} %, migrationCost: $0 }}\n  endpoints:\n",
                n = s + 1,
                // Dear clouds carry something too: no loss goes unnoticed.
                most = (100 / self.providers + 10).min(100)
            );
            for i in (0..self.endpoints).filter(|i| i / regions % self.services == s) {
                let (p, r) = self.region(i);
                let host = format!("10.2.{}.{}", i / 250, i % 250 + 1);
                writeln!(spec, "    - {{ region: p{p}/r{r}, host: {host}, port: 8080 }}")?;
            }
            document(&mut out, "Service", &format!("s{}", s + 1), &spec)?;
        }
        Ok(out)
    }
}

fn document(out: &mut String, kind: &str, name: &str, spec: &str) -> Result<()> {
    writeln!(out, "---\napiVersion: tidegate/v1\nkind: {kind}\nname: {name}\nspec: {spec}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_fleet_is_as_large_as_it_says_and_passes_every_check() {
        let of = Described {
            providers: 5,
            regions_each: 4,
            vantages: 32,
            outside: 2,
            endpoints: 64,
            services: 2,
            apis: true,
        };
        let fleet = tidegate_config::load_documents(of.documents().unwrap()).unwrap_or_else(|f| panic!("{f}")).fleet;
        assert_eq!((fleet.providers.len(), fleet.regions.len()), (6, 21), "and the place outside");
        assert_eq!((fleet.vantages.len(), fleet.endpoints.len(), fleet.services.len()), (32, 64, 2));
        let outside = fleet.vantages.iter().filter(|v| fleet.regions[v.region.at()].vantage_only).count();
        assert_eq!((outside, fleet.apis.len()), (2, 5), "a place outside has no API");
        let serving = (0..fleet.regions.len()).filter(|r| !fleet.regions[*r].vantage_only);
        let smallest = serving.map(|r| fleet.endpoints.iter().filter(|e| e.region.at() == r).count()).min();
        assert_eq!(smallest, Some(3), "dealt evenly");
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let (providers, regions_each, vantages, outside, endpoints, services) = (2, 2, 8, 2, 8, 2);
        let good = Described { providers, regions_each, vantages, outside, endpoints, services, apis: false };
        assert!(good.documents().is_ok());
        for (bad, words) in [
            (Described { providers: 0, ..good }, "from 1"),
            (Described { outside: 9, ..good }, "9 of 8"),
            (Described { endpoints: 7, ..good }, "8 at least"),
            (Described { providers: 600, endpoints: 9_999, ..good }, "at most 1000"),
        ] {
            assert!(bad.documents().unwrap_err().to_string().contains(words), "{bad:?}");
        }
    }
}
