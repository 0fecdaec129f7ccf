//! The configuration of the fleets: two clouds, one place outside, one service, one class; the wide one has a third
//! cloud and two vantages everywhere.

use std::net::SocketAddr;

/// Addresses of everything.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Endpoints of `one/a`.
    pub one: Vec<SocketAddr>,
    /// Endpoints of `two/b`.
    pub two: Vec<SocketAddr>,
    /// Endpoints of `three/c`; none in the small fleet.
    pub three: Vec<SocketAddr>,
    /// Gossip of the vantages, in the order of [`vantages`].
    pub gossip: Vec<SocketAddr>,
    /// References.
    pub references: Vec<SocketAddr>,
    /// Where edges listen.
    pub listener: SocketAddr,
}

/// Names and places of the vantages, in the order of the configuration.
#[must_use]
pub fn vantages(wide: bool) -> &'static [(&'static str, &'static str)] {
    if wide {
        &[
            ("one-1", "one/a"),
            ("one-2", "one/a"),
            ("two-1", "two/b"),
            ("two-2", "two/b"),
            ("three-1", "three/c"),
            ("three-2", "three/c"),
            ("outside-1", "outside/x"),
            ("outside-2", "outside/x"),
        ]
    } else {
        &[("one-1", "one/a"), ("two-1", "two/b"), ("outside-1", "outside/x"), ("outside-2", "outside/x")]
    }
}

const PLACES: &str = r#"
apiVersion: tidegate/v1
kind: Provider
name: one
spec: {}
---
apiVersion: tidegate/v1
kind: Provider
name: two
spec: {}
---
apiVersion: tidegate/v1
kind: Provider
name: outside
spec: {}
---
apiVersion: tidegate/v1
kind: Area
name: europe
spec:
  rings: [[europe]]
---
apiVersion: tidegate/v1
kind: ClientGroup
name: edge-de
spec: { area: europe, jurisdiction: DE }
---
"#;

fn region(name: &str, jurisdiction: &str, cost: &str, vantage_only: bool) -> String {
    let rest = if vantage_only {
        "vantageOnly: true".to_owned()
    } else {
        format!("capacity: 1000 rps\n  safeUtilisation: 80 %\n  costPerMillion: {cost}")
    };
    format!(
        "apiVersion: tidegate/v1\nkind: Region\nname: {name}\nspec:\n  jurisdiction: {jurisdiction}\n  area: europe\n  {rest}\n---\n"
    )
}

impl Addresses {
    fn wide(&self) -> bool {
        !self.three.is_empty()
    }

    /// All documents, as (file, text).
    #[must_use]
    pub fn documents(&self) -> Vec<(String, String)> {
        let mut places = PLACES.trim_start().to_owned();
        places += &region("one/a", "DE", "$0.20", false);
        places += &region("two/b", "NL", "$0.30", false);
        places += &region("outside/x", "DE", "", true);
        if self.wide() {
            places += "apiVersion: tidegate/v1\nkind: Provider\nname: three\nspec: {}\n---\n";
            places += &region("three/c", "NL", "$0.40", false);
        }
        for ((name, at), gossip) in vantages(self.wide()).iter().zip(&self.gossip) {
            places += &format!(
                "apiVersion: tidegate/v1\nkind: Vantage\nname: {name}\nspec: {{ region: {at}, gossip: \"{gossip}\" }}\n---\n"
            );
        }
        for (i, address) in self.references.iter().enumerate() {
            places += &format!(
                "apiVersion: tidegate/v1\nkind: Reference\nname: ref-{i}\nspec: {{ address: \"{address}\", network: net-{i} }}\n---\n"
            );
        }
        places += "apiVersion: tidegate/v1\nkind: Rules\nname: rules\nspec:\n  settle: 500ms\n  minResidency: 1s\n  upAfter: 1500ms\n";
        vec![("places.yaml".to_owned(), places), ("service.yaml".to_owned(), self.service())]
    }

    fn service(&self) -> String {
        let mut endpoints = String::new();
        for (region, short, list) in
            [("one/a", "a", &self.one), ("two/b", "b", &self.two), ("three/c", "c", &self.three)]
        {
            for (i, address) in list.iter().enumerate() {
                endpoints += &format!(
                    "    - {{ name: shop-{short}-{i}, region: {region}, host: {}, port: {} }}\n",
                    address.ip(),
                    address.port()
                );
            }
        }
        format!(
            r#"apiVersion: tidegate/v1
kind: Service
name: shop
spec:
  listener: {{ name: public, address: {}, port: {} }}
  domains: ["shop.test"]
  routes:
    - {{ prefix: /, timeout: 2s, perTryTimeout: 250ms, retries: 2 }}
  healthCheck:
    http: {{ path: /healthz }}
    interval: 250ms
    timeout: 250ms
    unhealthyAfter: 2
    healthyAfter: 2
  classes:
    - name: eu
      permitted: [DE, NL]
      match: {{ header: {{ name: x-class, value: eu }} }}
      clientCanSet: false
      priority: 0
      demand: {{ edge-de: 100 rps }}
      providerShareMax: 60 %
      migrationCost: $0
  endpoints:
{endpoints}"#,
            self.listener.ip(),
            self.listener.port()
        )
    }
}
