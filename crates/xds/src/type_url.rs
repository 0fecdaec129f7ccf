//! The four resource types that the engine serves, in the order in which they may be made. Refuses every other type.

use std::fmt;

/// A resource type of xDS v3. The order of the variants is the order of "make before break": clusters, their
/// endpoints, then the listeners and routes that use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeUrl {
    /// `envoy.config.cluster.v3.Cluster`
    Cds,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Eds,
    /// `envoy.config.listener.v3.Listener`
    Lds,
    /// `envoy.config.route.v3.RouteConfiguration`
    Rds,
}

impl TypeUrl {
    /// Every type, in make-before-break order.
    pub const ALL: [TypeUrl; 4] = [TypeUrl::Cds, TypeUrl::Eds, TypeUrl::Lds, TypeUrl::Rds];

    /// The type's URL as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TypeUrl::Cds => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            TypeUrl::Eds => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            TypeUrl::Lds => "type.googleapis.com/envoy.config.listener.v3.Listener",
            TypeUrl::Rds => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The name people use for the type: `CDS`, `EDS`, `LDS`, `RDS`.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            TypeUrl::Cds => "CDS",
            TypeUrl::Eds => "EDS",
            TypeUrl::Lds => "LDS",
            TypeUrl::Rds => "RDS",
        }
    }

    /// The type of a URL, if it is one that is served.
    #[must_use]
    pub fn parse(url: &str) -> Option<TypeUrl> {
        TypeUrl::ALL.into_iter().find(|t| t.as_str() == url)
    }

    /// Position in [`TypeUrl::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether a first request that names nothing means "everything" (the protocol's legacy wildcard).
    #[must_use]
    pub const fn legacy_wildcard(self) -> bool {
        matches!(self, TypeUrl::Cds | TypeUrl::Lds)
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}
