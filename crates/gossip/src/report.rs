//! Vantage reports: their plain form, their bytes, and the hash by which a digest names a full report.
//!
//! Owns packing (two bits per state, four per round-trip class, runs squeezed) and the checks at the border. Refuses reports
//! of another format, with a bad name, or whose lists do not match their count.

use crate::squeeze::{expand, squeeze};
use prost::Message;
use ring::digest::{Context, SHA256};
use tidegate_domain::{Name, RttClass, TargetState, VantageSelf};
use tidegate_proto::v1::VantageReport as Wire;

/// The largest encoded report: leaves room in a datagram for the header and membership updates.
pub(crate) const REPORT_MAX: usize = 1_100;

/// The targets that a report may speak of: so many as fit it, each by two bits.
pub(crate) const TARGETS_MAX: usize = 4 * REPORT_MAX;

/// The version of the report's format, both said and taken. In 1 the lists were not squeezed.
const FORMAT: u32 = 2;

/// What a vantage publishes. Say it again at least every second, changed or not: the digest that tells the
/// others "nothing changed" is sent only while the prober itself goes on saying so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnReport {
    /// [`tidegate_domain::Revision::short`] of the list that gives the indexes their meaning.
    pub revision_short: u64,
    /// Of itself.
    pub own: VantageSelf,
    /// Per target index.
    pub states: Vec<TargetState>,
    /// Per target index; empty or as long as `states`. Left out when a large fleet's would not fit.
    pub rtt: Vec<RttClass>,
}

/// A vantage's report as it stands after its newest word, digests resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportIn {
    /// Who.
    pub vantage: Name,
    /// Start of the vantage's process, milliseconds since 1970.
    pub incarnation: u64,
    /// Rises with every report of one incarnation that is handed out here.
    pub sequence: u64,
    /// [`tidegate_domain::Revision::short`] of the vantage's list.
    pub revision_short: u64,
    /// Of itself.
    pub own: VantageSelf,
    /// Per target index.
    pub states: Vec<TargetState>,
    /// Per target index; empty where the report had no room for it.
    pub rtt: Vec<RttClass>,
}

/// What makes two reports say the same: revision, count and states.
pub(crate) fn states_hash(revision: u64, count: u32, packed: &[u8]) -> u64 {
    let mut context = Context::new(&SHA256);
    context.update(&revision.to_be_bytes());
    context.update(&count.to_be_bytes());
    context.update(packed);
    crate::identity::first_eight(context.finish().as_ref())
}

pub(crate) fn pack_states(states: &[TargetState]) -> Vec<u8> {
    let mut out = vec![0_u8; states.len().div_ceil(4)];
    for (i, state) in states.iter().enumerate() {
        let bits = match state {
            TargetState::Unseen => 0,
            TargetState::Ok => 1,
            TargetState::Slow => 2,
            TargetState::Failing => 3,
        };
        out[i / 4] |= bits << (i % 4 * 2);
    }
    out
}

pub(crate) fn unpack_states(packed: &[u8], count: usize) -> Vec<TargetState> {
    let state = |i: usize| match packed[i / 4] >> (i % 4 * 2) & 3 {
        0 => TargetState::Unseen,
        1 => TargetState::Ok,
        2 => TargetState::Slow,
        _ => TargetState::Failing,
    };
    (0..count).map(state).collect()
}

pub(crate) fn pack_rtt(rtt: &[RttClass]) -> Vec<u8> {
    let mut out = vec![0_u8; rtt.len().div_ceil(2)];
    for (i, class) in rtt.iter().enumerate() {
        out[i / 2] |= class.0.min(15) << (i % 2 * 4);
    }
    out
}

pub(crate) fn unpack_rtt(packed: &[u8], count: usize) -> Vec<RttClass> {
    (0..count).map(|i| RttClass(packed[i / 2] >> (i % 2 * 4) & 15)).collect()
}

/// A full report as bytes, without round-trip times where they would not fit; none if even so it is too long.
pub(crate) fn encode_full(vantage: &str, incarnation: u64, sequence: u64, own: &OwnReport) -> Option<Vec<u8>> {
    let count = u32::try_from(own.states.len()).ok().filter(|_| own.states.len() <= TARGETS_MAX)?;
    let mut wire = head(vantage, incarnation, sequence, own.revision_short, &own.own);
    let states = pack_states(&own.states);
    wire.states_hash = states_hash(own.revision_short, count, &states);
    wire.states = squeeze(&states);
    wire.rtt = if own.rtt.len() == own.states.len() { squeeze(&pack_rtt(&own.rtt)) } else { Vec::new() };
    wire.target_count = count;
    if wire.encoded_len() > REPORT_MAX {
        wire.rtt.clear();
    }
    (wire.encoded_len() <= REPORT_MAX).then(|| wire.encode_to_vec())
}

/// A digest as bytes: the full report of sequence `since` still holds.
pub(crate) fn encode_digest(vantage: &str, incarnation: u64, sequence: u64, own: &OwnReport, since: u64) -> Vec<u8> {
    let count = u32::try_from(own.states.len()).unwrap_or(u32::MAX);
    let mut wire = head(vantage, incarnation, sequence, own.revision_short, &own.own);
    wire.target_count = count;
    wire.unchanged_since = since;
    wire.states_hash = states_hash(own.revision_short, count, &pack_states(&own.states));
    wire.encode_to_vec()
}

fn head(vantage: &str, incarnation: u64, sequence: u64, revision: u64, own: &VantageSelf) -> Wire {
    Wire {
        format: FORMAT,
        vantage: vantage.to_owned(),
        incarnation,
        sequence,
        revision,
        references_reached: u32::from(own.references_reached),
        reference_networks: u32::from(own.reference_networks),
        self_doubt: own.self_doubt,
        states: Vec::new(),
        rtt: Vec::new(),
        target_count: 0,
        unchanged_since: 0,
        states_hash: 0,
    }
}

/// A report from the wire, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) vantage: Name,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) revision: u64,
    pub(crate) own: VantageSelf,
    pub(crate) hash: u64,
    /// None in a digest.
    pub(crate) body: Option<(Vec<TargetState>, Vec<RttClass>)>,
}

/// Why bytes are not taken as a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Another version of the format, earlier or later.
    OtherFormat,
    /// Some part is not as it must be.
    Malformed,
}

/// Takes a report from the wire.
pub(crate) fn decode(data: &[u8]) -> Result<Parsed, Unread> {
    if data.len() > REPORT_MAX {
        return Err(Unread::Malformed);
    }
    let wire = Wire::decode(data).map_err(|_| Unread::Malformed)?;
    // The format before everything else: what the rest means depends on it.
    if wire.format != FORMAT {
        return Err(Unread::OtherFormat);
    }
    parse(&wire).ok_or(Unread::Malformed)
}

fn parse(wire: &Wire) -> Option<Parsed> {
    if wire.sequence == 0 {
        return None;
    }
    let own = VantageSelf {
        references_reached: u8::try_from(wire.references_reached).ok()?,
        reference_networks: u8::try_from(wire.reference_networks).ok()?,
        self_doubt: wire.self_doubt,
    };
    let count = usize::try_from(wire.target_count).ok()?;
    let body = if wire.unchanged_since == 0 {
        if count > TARGETS_MAX {
            return None;
        }
        let states = expand(&wire.states, count.div_ceil(4))?;
        if states_hash(wire.revision, wire.target_count, &states) != wire.states_hash {
            return None;
        }
        let rtt = match wire.rtt.is_empty() {
            true => Vec::new(),
            false => unpack_rtt(&expand(&wire.rtt, count.div_ceil(2))?, count),
        };
        Some((unpack_states(&states, count), rtt))
    } else {
        None
    };
    Some(Parsed {
        vantage: Name::new(&wire.vantage).ok()?,
        incarnation: wire.incarnation,
        sequence: wire.sequence,
        revision: wire.revision,
        own,
        hash: wire.states_hash,
        body,
    })
}
