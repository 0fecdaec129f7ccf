//! What can be asked for. Every write needs a reason and is audited with the token's subject.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/drains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// `aws` or `aws/us-east-1`.
    pub place: String,
    /// Only this service.
    #[serde(default)]
    pub service: Option<String>,
    /// Ends by itself after so many milliseconds.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// How long open streams may go on, milliseconds.
    #[serde(default)]
    pub grace_ms: Option<u64>,
    /// Why.
    pub reason: String,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// `POST /v1/joins`: a join token for a new prober.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinAsked {
    /// As which vantage of the fleet.
    pub vantage: String,
    /// Open for so many milliseconds: a second to a day.
    pub for_ms: u64,
    /// Why.
    pub reason: String,
}

/// The token, shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// `tidegate/v1`.
    pub api_version: String,
    /// As which vantage.
    pub vantage: String,
    /// For `health-prober --join-token FILE`, at this server alone.
    pub token: String,
    /// Wall clock of its end, milliseconds since 1970.
    pub until_ms: i64,
}

/// `POST /v1/restores`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// `aws` or `aws/us-east-1`.
    pub place: String,
    /// Only this service.
    #[serde(default)]
    pub service: Option<String>,
    /// Why.
    pub reason: String,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to a drain or restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainAnswer {
    /// `tidegate/v1`.
    pub api_version: String,
    /// The drain's id; 0 for a dry run.
    pub id: u64,
    /// What happens, in sentences, step by step.
    pub steps: Vec<String>,
    /// Shares before and at the end.
    pub splits: Vec<SplitChange>,
    /// Whether anything was changed.
    pub changed: bool,
}

/// How one split changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SplitChange {
    /// Class.
    pub class: String,
    /// Client group.
    pub group: String,
    /// Before.
    pub before: Vec<crate::RegionShare>,
    /// After the last step.
    pub after: Vec<crate::RegionShare>,
}

/// A standing drain and how far it is: `GET /v1/drains`, `GET /v1/drains/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainState {
    /// Its id.
    pub id: u64,
    /// `aws/us-east-1`.
    pub place: String,
    /// Only this service.
    pub service: Option<String>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Wall clock of its end.
    pub until_ms: Option<i64>,
    /// Grace for open streams.
    pub grace_ms: u64,
    /// Shares that the place still carries, by class and group.
    pub left: Vec<crate::ClassShare>,
    /// Edges that have not acknowledged the newest generation.
    pub edges_behind: Vec<String>,
    /// Requests per second that edges still send to the place, in thousandths, by their load reports; none: no edge reports.
    pub new_requests_milli_rps: Option<u64>,
    /// Requests and streams in progress there by the edges' load reports.
    pub in_progress: Option<u64>,
    /// What it waits for, in sentences.
    pub waits: Vec<String>,
    /// `stepping`, `acking`, `emptying`, `done`.
    pub phase: String,
}

/// `GET /v1/drains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drains {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Standing drains.
    pub drains: Vec<DrainState>,
}

/// `POST /v1/automation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AutomationRequest {
    /// `pause` or `resume`.
    pub action: String,
    /// `safety`, `economic` or `all`.
    pub kind: String,
    /// Ends by itself after so many milliseconds.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// Why.
    pub reason: String,
}

/// `POST /v1/providers/{name}/api`: a word on a provider's own API, over what the probes see of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderApiRequest {
    /// `trouble`: nothing but safety moves changes what it carries; `well`: whatever the probes see; `forget`: what was
    /// said before no longer counts.
    pub word: String,
    /// For how long the word counts, milliseconds: 1 s to 7 d; 4 h where absent.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// Why.
    pub reason: String,
}

/// `POST /v1/ramp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RampRequest {
    /// `pause`, `resume` or `abort`.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// `POST /v1/config/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// File names and texts; empty: the server reads its own directory again.
    #[serde(default)]
    pub documents: Vec<Document>,
    /// Allows dropping a class or more than a quarter of the endpoints.
    #[serde(default)]
    pub yes_remove: bool,
    /// Allows a revision under which a loss has no authorised plan.
    #[serde(default)]
    pub accept_gap: bool,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// Why.
    pub reason: String,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Name, `services/payroll.yaml`.
    pub name: String,
    /// Text.
    pub text: String,
}

/// Answer to a write that has no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Whether anything changed.
    pub changed: bool,
    /// What, in sentences.
    pub sentences: Vec<String>,
}
