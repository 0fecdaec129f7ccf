//! Names, units, times and the small enums of the domain, as they stand in messages.

use crate::codec::{RecordError, Wire, bad, hash, missing};
use tidegate_domain::{
    Accused, Bps, EndpointIx, Health, Jurisdiction, MoveKind, Name, PicoDollars, ProviderIx, RampPhase, RegionIx,
    RegionName, Revision, VoteKind,
};
use tidegate_proto::record as w;

pub(crate) fn name(field: &'static str, text: &str) -> Result<Name, RecordError> {
    Name::new(text).map_err(|e| bad(field, e))
}
pub(crate) fn region_name(field: &'static str, text: &str) -> Result<RegionName, RecordError> {
    RegionName::new(text).map_err(|e| bad(field, e))
}
pub(crate) fn jurisdiction(field: &'static str, text: &str) -> Result<Jurisdiction, RecordError> {
    Jurisdiction::new(text).map_err(|e| bad(field, e))
}
pub(crate) fn revision(field: &'static str, bytes: &[u8]) -> Result<Revision, RecordError> {
    hash(field, bytes).map(Revision)
}
pub(crate) fn bps(field: &'static str, value: u32) -> Result<Bps, RecordError> {
    u16::try_from(value).ok().and_then(|v| Bps::new(v).ok()).ok_or_else(|| bad(field, value))
}
pub(crate) fn bps_out(value: Bps) -> u32 {
    u32::from(value.get())
}
pub(crate) fn money(field: &'static str, bytes: &[u8]) -> Result<PicoDollars, RecordError> {
    let bytes = bytes.try_into().map_err(|_| bad(field, format_args!("{} bytes where 16 belong", bytes.len())))?;
    Ok(PicoDollars(i128::from_be_bytes(bytes)))
}
pub(crate) fn money_out(value: PicoDollars) -> Vec<u8> {
    value.0.to_be_bytes().to_vec()
}

/// An enum of the domain and its numbers on the wire; 0 and unknown numbers are refused.
macro_rules! numbers {
    ($($to:ident, $from:ident, $domain:ident, $wire:ident { $($variant:ident),* };)*) => {$(
        pub(crate) fn $to(value: $domain) -> i32 {
            match value { $($domain::$variant => w::$wire::$variant as i32,)* }
        }
        pub(crate) fn $from(field: &'static str, value: i32) -> Result<$domain, RecordError> {
            match w::$wire::try_from(value) {
                $(Ok(w::$wire::$variant) => Ok($domain::$variant),)*
                Ok(w::$wire::Unspecified) | Err(_) => Err(bad(field, value)),
            }
        }
    )*};
}
numbers! {
    health_out, health, Health, Health { Healthy, Degraded, Down, Unknown };
    kind_out, kind, MoveKind, MoveKind { Safety, Voluntary, Economic };
    vote_out, vote, VoteKind, VoteKind { Up, Slow, Down, Unseen, Stale, CutOff, SelfDoubt, OtherRevision };
    phase_out, phase, RampPhase, RampPhase { Settling, Held };
}

impl Wire for Accused {
    type Msg = w::Accused;
    fn to_wire(&self) -> w::Accused {
        use w::accused::Kind;
        let kind = match self {
            Self::Endpoint(e) => Kind::Endpoint(e.0),
            Self::Region(r) => Kind::Region(u32::from(r.0)),
            Self::Provider(p) => Kind::Provider(u32::from(p.0)),
        };
        w::Accused { kind: Some(kind) }
    }
    fn from_wire(w::Accused { kind }: w::Accused) -> Result<Self, RecordError> {
        use w::accused::Kind;
        Ok(match kind.ok_or_else(|| missing("accused"))? {
            Kind::Endpoint(e) => Self::Endpoint(EndpointIx(e)),
            Kind::Region(r) => Self::Region(RegionIx(crate::codec::narrow("accused.region", r)?)),
            Kind::Provider(p) => Self::Provider(ProviderIx(crate::codec::narrow("accused.provider", p)?)),
        })
    }
}
