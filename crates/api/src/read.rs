//! What can be read.

use crate::DrainState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/status`: is anything down, who decided, is automation on, what is it waiting for, what is not protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Version of the server's program.
    pub server_version: String,
    /// `ok`, `degraded`, `outage` or `alarm`.
    pub summary: String,
    /// What is Down or Degraded, providers first: `provider aws`, `region aws/us-east-1`.
    pub unwell: Vec<Unwell>,
    /// The newest committed decision.
    pub decision: Option<DecisionLine>,
    /// Term of this server.
    pub term: u64,
    /// Generation of the committed plan.
    pub generation: u64,
    /// Fleet revision, first 12 hex digits.
    pub fleet: String,
    /// Policy bundle, first 12 hex digits.
    pub policy: String,
    /// Automation for safety: `on` or why not.
    pub automation_safety: SwitchState,
    /// Automation for economic moves and failback.
    pub automation_economic: SwitchState,
    /// Standing drains.
    pub drains: Vec<DrainState>,
    /// What the plan waits for, in sentences.
    pub waits: Vec<String>,
    /// Alarms, in sentences.
    pub alarms: Vec<String>,
    /// Losses that have no plan without shedding or worse, in sentences.
    pub unprotected: Vec<String>,
    /// Vantages eligible and configured.
    pub vantages_eligible: u32,
    /// Configured vantages.
    pub vantages_configured: u32,
    /// Edges connected.
    pub edges: u32,
    /// Edges that have acknowledged the committed generation.
    pub edges_acked: u32,
    /// Part of the demand that is shed, per class, in basis points, where not zero.
    pub shed: Vec<ClassShare>,
    /// The server speaks plain text beyond loopback.
    pub insecure_plaintext: bool,
    /// State of the store: `ok`, or what it refuses and why.
    pub store: String,
    /// Age of the last cycle in milliseconds.
    pub last_cycle_age_ms: u64,
}

/// A class and a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassShare {
    /// `payroll/open`.
    pub class: String,
    /// Client group.
    pub group: String,
    /// Basis points.
    pub share_bps: u16,
}

/// Something that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unwell {
    /// `provider aws`.
    pub what: String,
    /// `down`, `degraded`, `unknown`; of a provider's API `in trouble`, of the gossip `cut`.
    pub health: String,
    /// For how long, milliseconds.
    pub for_ms: u64,
    /// `7 of 8 eligible, 7 agree, from azure, gcp and outside`.
    pub evidence: String,
}

/// State of one half of the automation switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchState {
    /// Whether it acts.
    pub on: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who switched it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Wall clock of its end, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// A decision in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecisionLine {
    /// Its id.
    pub id: u64,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: i64,
    /// Generation that it committed.
    pub generation: u64,
    /// `safety: payroll/eu at edge-de left aws/eu-central-1 (down)`.
    pub summary: String,
}

/// `GET /v1/verdicts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdicts {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Providers, regions, endpoints.
    pub verdicts: Vec<VerdictLine>,
    /// What was found besides: probers that are cut off, a gossip that is cut, providers whose own API is in trouble,
    /// regions that some clients do not reach, places where the edges' own requests fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingLine>,
}

/// Something that was found and is no verdict on a place for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingLine {
    /// `prober`, `gossip`, `api`, `path`, `place`.
    pub kind: String,
    /// `aws-1`, `from edge-de to aws/us-east-1`.
    pub name: String,
    /// `cut off`, `cut`, `in trouble`, `failing`, `erring`, `slow`.
    pub finding: String,
    /// Since how long, milliseconds.
    pub for_ms: u64,
    /// In words.
    pub evidence: String,
}

/// One verdict with its votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictLine {
    /// `provider`, `region` or `endpoint`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `healthy`, `degraded`, `down`, `unknown`.
    pub health: String,
    /// Since how long, milliseconds.
    pub for_ms: u64,
    /// Size of the electorate.
    pub electorate: u16,
    /// Eligible members.
    pub eligible: u16,
    /// Agreeing members.
    pub agreeing: u16,
    /// Providers of these.
    pub agreeing_providers: u16,
    /// Single votes, where kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<VoteLine>,
}

/// One vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoteLine {
    /// Vantage.
    pub vantage: String,
    /// Its place.
    pub place: String,
    /// `up`, `slow`, `down`, `unseen`, `stale`, `cut-off`, `self-doubt`, `other-revision`.
    pub vote: String,
    /// Age of its report in milliseconds.
    pub age_ms: Option<u64>,
}

/// `GET /v1/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Configured vantages, then other members.
    pub members: Vec<MemberLine>,
}

/// One member of the gossip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberLine {
    /// Name.
    pub name: String,
    /// Region, or empty for a server.
    pub place: String,
    /// `alive`, `suspect`, `down` or `never seen`: of the path to it, not of any target.
    pub gossip: String,
    /// Whether it votes now.
    pub eligible: bool,
    /// Why not.
    pub why_not: String,
    /// Age of its newest report in milliseconds.
    pub report_age_ms: Option<u64>,
    /// References reached.
    pub references_reached: u8,
    /// Targets it calls failing.
    pub failing: u32,
}

/// `GET /v1/edges`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edges {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Committed generation.
    pub generation: u64,
    /// Connected edges.
    pub edges: Vec<EdgeLine>,
}

/// One subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EdgeLine {
    /// Node id.
    pub node: String,
    /// Client group.
    pub group: String,
    /// `envoy/1.40.0`.
    pub agent: String,
    /// Where it connected from.
    pub peer: String,
    /// `synced`, `stale`, `nacked`, `not sent`: the worst of its types.
    pub state: String,
    /// Per type.
    pub types: Vec<EdgeType>,
}

/// One type of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EdgeType {
    /// `CDS`, `EDS`, `LDS`, `RDS`.
    pub kind: String,
    /// `synced`, `stale`, `nacked`, `not sent`.
    pub state: String,
    /// Generation last sent.
    pub sent: u64,
    /// Generation last acknowledged.
    pub acked: u64,
    /// Generation last refused, if it stands.
    pub nacked: Option<u64>,
    /// The client's words.
    pub error: Option<String>,
    /// Since the last answer, milliseconds.
    pub age_ms: Option<u64>,
}

/// `GET /v1/splits`: what every client group is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Splits {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Committed generation.
    pub generation: u64,
    /// One per class and group.
    pub splits: Vec<SplitLine>,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SplitLine {
    /// `payroll/eu`.
    pub class: String,
    /// Client group.
    pub group: String,
    /// `routed`, `wrong-jurisdiction` (451) or `no-place` (503).
    pub serving: String,
    /// Shed share in basis points.
    pub shed_bps: u16,
    /// Regions and their shares.
    pub weights: Vec<RegionShare>,
}

/// A region and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegionShare {
    /// `aws/us-east-1`.
    pub region: String,
    /// Basis points.
    pub share_bps: u16,
}

/// `GET /v1/plan?lose=PLACE,PLACE`: what would follow at once if these were lost together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhatIf {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Providers and regions.
    pub lost: Vec<String>,
    /// The splits before it, one per class and group.
    pub before: Vec<SplitLine>,
    /// The splits after it, in the same order; empty: there is no plan, the weights would stay.
    pub after: Vec<SplitLine>,
    /// What would not be served or run over a limit, in sentences; empty: the loss is covered.
    pub gaps: Vec<String>,
}

/// `GET /v1/explain/service/{name}`, `/v1/explain/region/{provider}/{region}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// `tidegate/v1`.
    pub api_version: String,
    /// What was asked about.
    pub about: String,
    /// The answer in a few sentences.
    pub sentences: Vec<String>,
    /// Per class, group and region: share and reasons.
    pub places: Vec<PlaceLine>,
    /// Verdicts that matter here, with votes.
    pub verdicts: Vec<VerdictLine>,
}

/// Why a place carries what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlaceLine {
    /// Class.
    pub class: String,
    /// Client group.
    pub group: String,
    /// Region.
    pub region: String,
    /// Jurisdiction.
    pub jurisdiction: String,
    /// Share in basis points; 0 where it carries nothing.
    pub share_bps: u16,
    /// `carries`, `idle`, `excluded`.
    pub disposition: String,
    /// Reasons in sentences, the deciding one first.
    pub reasons: Vec<String>,
}

/// `GET /v1/decisions/{id}`, and each of `GET /v1/decisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecisionDetail {
    /// `tidegate/v1`.
    pub api_version: String,
    /// The decision.
    pub line: DecisionLine,
    /// Its moves, in sentences.
    pub moves: Vec<String>,
    /// Term.
    pub term: u64,
    /// Fleet revision in hex.
    pub fleet: String,
    /// Policy bundle in hex.
    pub policy: String,
    /// Kernel version.
    pub kernel: String,
    /// Hash of the recorded input.
    pub input: String,
    /// Hash of the recorded output.
    pub output: String,
    /// Verdicts at the time, with votes.
    pub verdicts: Vec<VerdictLine>,
    /// Reasons at the time.
    pub places: Vec<PlaceLine>,
    /// Whether verdicts and places below are what was decided then: false when this server's kernel, run on the recorded
    /// input, gives other bytes than those on record.
    #[serde(default = "yes")]
    pub same_kernel: bool,
    /// Time from the decision to the last acknowledgement of all edges then connected; none while some are missing.
    pub acked_after_ms: Option<u64>,
}

/// `POST /v1/decisions/{id}/replay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// `tidegate/v1`.
    pub api_version: String,
    /// The decision.
    pub id: u64,
    /// Whether the bytes are the same.
    pub same: bool,
    /// The kernel that decided, where it is not the server's: then other bytes are no sign of tampering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_kernel: Option<String>,
    /// Hash on record.
    pub expected: String,
    /// Hash of the replay.
    pub got: String,
    /// Bytes compared.
    pub bytes: u64,
}

/// A line of `GET /v1/events` (newline-delimited JSON; `?follow=true` stays open, `?from=N` starts after sequence
/// N, out of the journal).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventLine {
    /// Journal sequence.
    pub sequence: u64,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: i64,
    /// Monotonic nanoseconds of the server's machine, for measurements on one machine; 0 in events read back from disk.
    pub mono_ns: u64,
    /// `verdict`, `finding`, `decision`, `acked`, `nacked`, `drain`, `restore`, `automation`, `ramp`, `config`, `join`, `api`, `alarm`,
    /// `refused`,
    /// `edge`, `expiry`, `server`.
    pub kind: String,
    /// The decision that it belongs to, if any.
    pub decision: Option<u64>,
    /// What it is about: a provider, region, class, edge.
    pub about: String,
    /// Who, for acts of people.
    pub by: Option<String>,
    /// In a sentence.
    pub text: String,
}

/// `GET /v1/audit`: acts of people, newest last. A page of the journal, its hashes checked from the page before on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Whether the hash chain holds over this page; over the whole journal if it does so on every page.
    pub chain_intact: bool,
    /// Where it breaks, in a sentence.
    pub chain_fault: Option<String>,
    /// Entries checked.
    pub entries_checked: u64,
    /// The acts.
    pub acts: Vec<EventLine>,
    /// What to name as `after` for the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// `GET /v1/checks`: what `tidegate check` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checks {
    /// `tidegate/v1`.
    pub api_version: String,
    /// Each check.
    pub checks: Vec<CheckLine>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckLine {
    /// What is checked.
    pub name: String,
    /// `ok`, `warning` or `failed`.
    pub grade: String,
    /// What was found.
    pub found: String,
    /// What to do; empty when ok.
    pub mend: String,
}

fn yes() -> bool {
    true
}
