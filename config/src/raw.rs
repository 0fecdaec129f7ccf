//! The files' own shape: what serde reads, with the line of every value. Owns key names and the JSON schema's words;
//! refuses unknown keys. Nothing here is checked for meaning: that is `lower`.

use crate::fault::Src;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A value and the line within its document where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        let line = usize::try_from(spanned.referenced.line()).unwrap_or(0);
        Ok(Self { value: spanned.value, line })
    }
}
impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

macro_rules! text_units {
    ($($name:ident $pattern:literal $about:literal;)*) => {$(
        /// Text of a unit; parsed by `units`, so that every fault of this sort is reported at once.
        #[derive(Debug, Clone, Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $name(pub(crate) String);
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $about })
            }
        }
    )*};
}
text_units! {
    DurationText r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|min|h|d)$" "A time: 500ms, 1.5s, 30min, 2h, 7d.";
    TimeoutText r"^(none|[0-9]+(\.[0-9]+)? ?(ms|s|m|min|h|d))$" "A time (500ms, 1.5s, 30min), or none for no limit.";
    ShareText r"^[0-9]+(\.[0-9]{1,2})? ?%$" "A share from 0 % to 100 %.";
    LoadText r"^[0-9]+(\.[0-9]{1,3})? ?rps$" "Requests per second: 200 rps.";
    MoneyText r"^\$ ?[0-9]+(\.[0-9]{1,12})?$" "US dollars: $0.35.";
    MomentText r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" "A moment in UTC: 2026-12-24T00:00:00Z.";
}

/// A document whose shape is right.
#[derive(Debug)]
pub(crate) struct Doc<S> {
    pub(crate) src: Src,
    pub(crate) name: At<String>,
    pub(crate) spec: S,
}

/// A whole document as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Body<S> {
    #[serde(rename = "apiVersion")]
    pub(crate) _api_version: String,
    #[serde(rename = "kind")]
    pub(crate) _kind: String,
    pub(crate) name: At<String>,
    pub(crate) spec: S,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) providers: Vec<Doc<ProviderSpec>>,
    pub(crate) areas: Vec<Doc<AreaSpec>>,
    pub(crate) regions: Vec<Doc<RegionSpec>>,
    pub(crate) services: Vec<Doc<ServiceSpec>>,
    pub(crate) vantages: Vec<Doc<VantageSpec>>,
    pub(crate) references: Vec<Doc<ReferenceSpec>>,
    pub(crate) groups: Vec<Doc<ClientGroupSpec>>,
    pub(crate) rules: Vec<Doc<RulesSpec>>,
    pub(crate) policies: Vec<Doc<PolicySpec>>,
    /// (kind, name) of documents whose shape is wrong: a reference to one of these does not dangle.
    pub(crate) broken: BTreeSet<(String, String)>,
    /// Rego texts by path.
    pub(crate) texts: BTreeMap<String, String>,
}

impl Raw {
    /// Whether a document of `kind` could not be read, so that counting them would mislead.
    pub(crate) fn misses(&self, kind: &str) -> bool {
        self.broken.iter().any(|(k, _)| k == kind || k.is_empty())
    }
}

/// A cloud, or a place outside the clouds that only holds vantages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ProviderSpec {
    /// Where the provider's own API says how it does: in trouble, what is carried there changes for safety only.
    pub(crate) api_status: Option<At<ApiStatusSpec>>,
}

/// A URL of the provider's own API that says well by answering 200 to 299 without credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ApiStatusSpec {
    /// `https://host/path`, or `http://`.
    pub(crate) url: At<String>,
    /// Between starts of two probes; 5s where absent.
    pub(crate) interval: Option<At<DurationText>>,
    /// The longest a probe may take; 3s where absent.
    pub(crate) timeout: Option<At<DurationText>>,
    /// Failures in a row before a vantage calls it failing; 3 where absent.
    pub(crate) unhealthy_after: Option<At<u8>>,
    /// Successes in a row before a vantage calls it well again; 3 where absent.
    pub(crate) healthy_after: Option<At<u8>>,
}

/// A part of the world.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct AreaSpec {
    /// Areas by growing distance as seen from here; the first ring holds this area itself.
    pub(crate) rings: At<Vec<Vec<At<String>>>>,
}

/// A region of a provider; the name is `provider/region`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RegionSpec {
    /// The country whose law holds there (ISO 3166-1, upper case).
    pub(crate) jurisdiction: At<String>,
    /// The area it lies in.
    pub(crate) area: At<String>,
    /// Envoy's zone within the locality.
    pub(crate) zone: Option<At<String>>,
    /// What it can carry at 100 %, all services together. Required unless `vantageOnly`.
    pub(crate) capacity: Option<At<LoadText>>,
    /// The share of the capacity that weights may fill; 80 % where absent.
    pub(crate) safe_utilisation: Option<At<ShareText>>,
    /// Cost of a million requests, everything included. Required unless `vantageOnly`.
    pub(crate) cost_per_million: Option<At<MoneyText>>,
    /// Holds vantages only: no endpoint may be placed here.
    #[serde(default)]
    pub(crate) vantage_only: bool,
}

/// A service: one listener, its domains and routes, its residency classes and its endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ServiceSpec {
    /// Where edges listen.
    pub(crate) listener: ListenerSpec,
    /// Host names in lower case; `*` alone or a leading `*.` as in Envoy.
    pub(crate) domains: At<Vec<At<String>>>,
    /// Routes, the most special prefix first.
    pub(crate) routes: At<Vec<RouteSpec>>,
    /// How endpoints are probed.
    pub(crate) health_check: HealthCheckSpec,
    /// Residency classes.
    pub(crate) classes: At<Vec<ClassSpec>>,
    /// The class that takes requests which match no class. Absent: only what every class permits may serve them.
    pub(crate) unmatched: Option<At<String>>,
    /// Where the service runs.
    pub(crate) endpoints: At<Vec<EndpointSpec>>,
}

/// The address on which edges listen. Services that name the same listener share it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ListenerSpec {
    /// Name of the listener.
    pub(crate) name: At<String>,
    /// IP address.
    pub(crate) address: At<String>,
    /// TCP port.
    pub(crate) port: At<u16>,
}

/// One route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RouteSpec {
    /// Path prefix.
    pub(crate) prefix: At<String>,
    /// Whole request; `none` for long streams.
    pub(crate) timeout: At<TimeoutText>,
    /// One try; `none` for long streams.
    pub(crate) per_try_timeout: At<TimeoutText>,
    /// Retries besides the first try, for requests that may be repeated.
    pub(crate) retries: At<u8>,
}

/// How endpoints are probed: `tcp`, `http` or `grpc`, one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct HealthCheckSpec {
    /// A connection opens.
    pub(crate) tcp: Option<At<TcpSpec>>,
    /// GET answers 200 to 299.
    pub(crate) http: Option<At<HttpSpec>>,
    /// `grpc.health.v1.Health/Check` answers SERVING.
    pub(crate) grpc: Option<At<GrpcSpec>>,
    /// Between starts of two probes.
    pub(crate) interval: At<DurationText>,
    /// The longest a probe may take.
    pub(crate) timeout: At<DurationText>,
    /// Failures in a row before a vantage calls it failing.
    pub(crate) unhealthy_after: At<u8>,
    /// Successes in a row before a vantage calls it well again.
    pub(crate) healthy_after: At<u8>,
}

/// A TCP probe has no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TcpSpec {}

/// An HTTP probe.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct HttpSpec {
    /// Path with leading `/`.
    pub(crate) path: At<String>,
    /// Over TLS.
    #[serde(default)]
    pub(crate) tls: bool,
    /// `Host` to send; the endpoint's host where absent.
    pub(crate) host: Option<At<String>>,
}

/// A gRPC health probe.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct GrpcSpec {
    /// The gRPC service to ask about, as in `payroll.v1.Payroll`; the server as a whole where absent.
    pub(crate) service: Option<At<String>>,
    /// Over TLS.
    #[serde(default)]
    pub(crate) tls: bool,
    /// `:authority` to send; the endpoint's host where absent.
    pub(crate) host: Option<At<String>>,
}

/// A residency class.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ClassSpec {
    /// Name within the service.
    pub(crate) name: At<String>,
    /// Countries where it may be, or the one word `anywhere`.
    pub(crate) permitted: At<Vec<At<String>>>,
    /// What selects it.
    #[serde(rename = "match")]
    pub(crate) matched_by: At<MatchSpec>,
    /// Whether a client can choose the class by itself. Must be stated for a header.
    pub(crate) client_can_set: Option<At<bool>>,
    /// 0 is the highest; the highest number is shed first.
    pub(crate) priority: At<u8>,
    /// Expected load by client group.
    #[serde(default)]
    pub(crate) demand: BTreeMap<String, At<LoadText>>,
    /// The largest share that one provider carries when others can carry the rest; 100 % where absent.
    pub(crate) provider_share_max: Option<At<ShareText>>,
    /// One-off cost of moving this class; $0 where absent.
    pub(crate) migration_cost: Option<At<MoneyText>>,
}

/// What selects a class: `header` or `host`, one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct MatchSpec {
    /// A header has exactly this value.
    pub(crate) header: Option<HeaderSpec>,
    /// The request's host is this one.
    pub(crate) host: Option<At<String>>,
}

/// A header and its exact value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct HeaderSpec {
    /// Header name in lower case.
    pub(crate) name: At<String>,
    /// Exact value.
    pub(crate) value: At<String>,
}

/// An address that serves the service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct EndpointSpec {
    /// Unique name; `SERVICE-PROVIDER-REGION-N` where absent.
    pub(crate) name: Option<At<String>>,
    /// `provider/region`.
    pub(crate) region: At<String>,
    /// IP address or host name.
    pub(crate) host: At<String>,
    /// TCP port.
    pub(crate) port: At<u16>,
}

/// A prober at a place.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct VantageSpec {
    /// `provider/region` where it stands.
    pub(crate) region: At<String>,
    /// UDP `ip:port` of its gossip.
    pub(crate) gossip: At<String>,
}

/// A host outside the fleet by which a vantage knows that it is itself connected.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ReferenceSpec {
    /// `host:port`; a TCP connection that opens counts as reached.
    pub(crate) address: At<String>,
    /// The network it stands in.
    pub(crate) network: At<String>,
}

/// Edges with the same locality and rights.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ClientGroupSpec {
    /// The area where they stand.
    pub(crate) area: At<String>,
    /// The country whose law holds where they end TLS.
    pub(crate) jurisdiction: At<String>,
}

/// Safety rules; they bind people too. What is absent keeps its default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RulesSpec {
    /// Every class keeps at least so many serving regions, where so many are permitted.
    pub(crate) min_regions_on: Option<At<u16>>,
    /// The largest part of a class's demand that one voluntary step moves.
    pub(crate) share_cap: Option<At<ShareText>>,
    /// Time between two voluntary steps of one class.
    pub(crate) settle: Option<At<DurationText>>,
    /// Time an economic move waits after any move of the class.
    pub(crate) min_residency: Option<At<DurationText>>,
    /// A vantage report older than this is stale.
    pub(crate) report_fresh: Option<At<DurationText>>,
    /// Down verdicts within this span are judged together.
    pub(crate) doubt_window: Option<At<DurationText>>,
    /// Unknown for longer than this raises an alarm.
    pub(crate) unknown_alarm: Option<At<DurationText>>,
    /// An endpoint must be seen well for this long before it is healthy again.
    pub(crate) up_after: Option<At<DurationText>>,
    /// Part by which a place must be cheaper before an economic move is worth it.
    pub(crate) economic_margin: Option<At<ShareText>>,
    /// Spans in which nothing moves but for safety.
    #[serde(default)]
    pub(crate) freeze: Vec<FreezeSpec>,
}

/// A span in which nothing moves but for safety.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct FreezeSpec {
    /// First moment.
    pub(crate) from: At<MomentText>,
    /// First moment after.
    pub(crate) until: At<MomentText>,
    /// Why.
    pub(crate) reason: At<String>,
}

/// Rego files that may narrow what the classes permit. Without any such document the shipped policy is used.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PolicySpec {
    /// Paths of Rego files, relative to the configuration's directory.
    pub(crate) files: At<Vec<At<String>>>,
    /// Paths of Rego tests; run by `tidegate policy check`, never asked.
    #[serde(default)]
    pub(crate) tests: Vec<At<String>>,
}
