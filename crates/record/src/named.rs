//! Standing intents by name, so that they outlive a change of the fleet: an index means another place then.

use crate::codec::{RecordError, Wire, need, record};
use crate::scalars::name;
use tidegate_domain::{
    ApiWord, Automation, Drain, Fleet, Intents, Millis, Name, RegionName, Restore, Scope, ServiceIx, Subject, Wall,
};
use tidegate_proto::record as w;

/// [`Intents`] with names in place of indexes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedIntents {
    /// The drains.
    pub drains: Vec<NamedDrain>,
    /// The restores.
    pub restores: Vec<NamedRestore>,
    /// The switch.
    pub automation: Automation,
    /// As [`Intents::ramps_paused`].
    pub ramps_paused: bool,
    /// As [`Intents::ramps_aborted_until`].
    pub ramps_aborted_until: Option<Wall>,
    /// Words on providers' APIs.
    pub api_words: Vec<NamedApiWord>,
}
/// An [`ApiWord`] by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedApiWord {
    /// Whose API.
    pub provider: Name,
    /// As [`ApiWord::trouble`].
    pub trouble: bool,
    /// As [`ApiWord::reason`].
    pub reason: String,
    /// As [`ApiWord::by`].
    pub by: Subject,
    /// As [`ApiWord::until`].
    pub until: Wall,
}
/// A [`Drain`] by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDrain {
    /// As [`Drain::id`].
    pub id: u64,
    /// Provider or region.
    pub place: Place,
    /// Service, or all.
    pub service: Option<Name>,
    /// As [`Drain::until`].
    pub until: Option<Wall>,
    /// As [`Drain::grace`].
    pub grace: Millis,
    /// As [`Drain::reason`].
    pub reason: String,
    /// As [`Drain::by`].
    pub by: Subject,
    /// As [`Drain::at`].
    pub at: Wall,
}
/// A [`Restore`] by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRestore {
    /// Provider or region.
    pub place: Place,
    /// Service, or all.
    pub service: Option<Name>,
    /// As [`Restore::at`].
    pub at: Wall,
}
/// A provider or a region by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `aws`.
    Provider(Name),
    /// `aws/us-east-1`.
    Region(RegionName),
}
impl Place {
    /// Reads `aws` or `aws/us-east-1`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn new(text: &str) -> Result<Self, tidegate_domain::NameError> {
        if text.contains('/') { RegionName::new(text).map(Self::Region) } else { Name::new(text).map(Self::Provider) }
    }
}
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provider(name) => name.fmt(f),
            Self::Region(name) => name.fmt(f),
        }
    }
}

record! {
    encode_named_intents, decode_named_intents, NamedIntents, NamedIntents, "set of intents by name";
}

impl NamedIntents {
    /// Names what `intents` point to in `fleet`; an index that `fleet` does not have is left out.
    #[must_use]
    pub fn of(intents: &Intents, fleet: &Fleet) -> Self {
        let Intents { drains, restores, automation, ramps_paused, ramps_aborted_until, api_words } = intents;
        let word = |ApiWord { provider, trouble, reason, by, until }: &ApiWord| {
            let provider = fleet.providers.get(provider.at())?.name.clone();
            let (reason, by) = (reason.clone(), by.clone());
            Some(NamedApiWord { provider, trouble: *trouble, reason, by, until: *until })
        };
        let place = |scope: &Scope| match scope {
            Scope::Provider(p) => fleet.providers.get(p.at()).map(|p| Place::Provider(p.name.clone())),
            Scope::Region(r) => fleet.regions.get(r.at()).map(|r| Place::Region(r.name.clone())),
        };
        let service = |ix: Option<ServiceIx>| match ix {
            None => Some(None),
            Some(ix) => fleet.services.get(ix.at()).map(|s| Some(s.name.clone())),
        };
        let drain = |Drain { id, scope, service: of, until, grace, reason, by, at }: &Drain| {
            Some(NamedDrain {
                id: *id,
                place: place(scope)?,
                service: service(*of)?,
                until: *until,
                grace: *grace,
                reason: reason.clone(),
                by: by.clone(),
                at: *at,
            })
        };
        let restore = |Restore { scope, service: of, at }: &Restore| {
            Some(NamedRestore { place: place(scope)?, service: service(*of)?, at: *at })
        };
        Self {
            drains: drains.iter().filter_map(drain).collect(),
            restores: restores.iter().filter_map(restore).collect(),
            automation: automation.clone(),
            ramps_paused: *ramps_paused,
            ramps_aborted_until: *ramps_aborted_until,
            api_words: api_words.iter().filter_map(word).collect(),
        }
    }

    /// The same intents in the indexes of `fleet`, and the drains (by id) whose place or service it no longer has.
    #[must_use]
    pub fn resolve(&self, fleet: &Fleet) -> (Intents, Vec<u64>) {
        let Self { drains, restores, automation, ramps_paused, ramps_aborted_until, api_words } = self;
        let scope = |place: &Place| match place {
            Place::Provider(name) => fleet.provider(name).map(Scope::Provider),
            Place::Region(name) => fleet.region(name).map(Scope::Region),
        };
        let service = |of: &Option<Name>| match of {
            None => Some(None),
            Some(name) => fleet.service(name).map(Some),
        };
        let mut gone = Vec::new();
        let mut kept = Vec::new();
        for NamedDrain { id, place, service: of, until, grace, reason, by, at } in drains {
            match (scope(place), service(of)) {
                (Some(scope), Some(service)) => kept.push(Drain {
                    id: *id,
                    scope,
                    service,
                    until: *until,
                    grace: *grace,
                    reason: reason.clone(),
                    by: by.clone(),
                    at: *at,
                }),
                _ => gone.push(*id),
            }
        }
        let restore = |NamedRestore { place, service: of, at }: &NamedRestore| {
            Some(Restore { scope: scope(place)?, service: service(of)?, at: *at })
        };
        let word = |NamedApiWord { provider, trouble, reason, by, until }: &NamedApiWord| {
            let (provider, reason, by) = (fleet.provider(provider)?, reason.clone(), by.clone());
            Some(ApiWord { provider, trouble: *trouble, reason, by, until: *until })
        };
        let mut api_words: Vec<ApiWord> = api_words.iter().filter_map(word).collect();
        api_words.sort_by_key(|w| w.provider);
        let intents = Intents {
            drains: kept,
            restores: restores.iter().filter_map(restore).collect(),
            automation: automation.clone(),
            ramps_paused: *ramps_paused,
            ramps_aborted_until: *ramps_aborted_until,
            api_words,
        };
        (intents, gone)
    }
}

impl Wire for NamedIntents {
    type Msg = w::NamedIntents;
    fn to_wire(&self) -> w::NamedIntents {
        let Self { drains, restores, automation, ramps_paused, ramps_aborted_until, api_words } = self;
        let word = |NamedApiWord { provider, trouble, reason, by, until }: &NamedApiWord| w::NamedApiWord {
            provider: provider.to_string(),
            trouble: *trouble,
            reason: reason.clone(),
            by: by.0.clone(),
            until: until.0,
        };
        let Automation { safety, economic } = automation;
        let drain = |NamedDrain { id, place, service, until, grace, reason, by, at }: &NamedDrain| w::NamedDrain {
            id: *id,
            place: place.to_string(),
            service: service.as_ref().map(ToString::to_string),
            until: until.map(|t| t.0),
            grace_ms: grace.0,
            reason: reason.clone(),
            by: by.0.clone(),
            at: at.0,
        };
        let restore = |NamedRestore { place, service, at }: &NamedRestore| w::NamedRestore {
            place: place.to_string(),
            service: service.as_ref().map(ToString::to_string),
            at: at.0,
        };
        w::NamedIntents {
            drains: drains.iter().map(drain).collect(),
            restores: restores.iter().map(restore).collect(),
            safety: Some(safety.to_wire()),
            economic: Some(economic.to_wire()),
            ramps_paused: *ramps_paused,
            ramps_aborted_until: ramps_aborted_until.map(|t| t.0),
            api_words: api_words.iter().map(word).collect(),
        }
    }
    fn from_wire(msg: w::NamedIntents) -> Result<Self, RecordError> {
        let w::NamedIntents { drains, restores, safety, economic, ramps_paused, ramps_aborted_until, api_words } = msg;
        let word = |w::NamedApiWord { provider, trouble, reason, by, until }| {
            let provider = name("intents.api_words", &provider)?;
            Ok(NamedApiWord { provider, trouble, reason, by: Subject(by), until: Wall(until) })
        };
        let service = |of: Option<String>| of.map(|s| name("intents.service", &s)).transpose();
        let drain = |w::NamedDrain { id, place: p, service: of, until, grace_ms, reason, by, at }| {
            Ok(NamedDrain {
                id,
                place: place("intents.place", &p)?,
                service: service(of)?,
                until: until.map(Wall),
                grace: Millis(grace_ms),
                reason,
                by: Subject(by),
                at: Wall(at),
            })
        };
        let restore = |w::NamedRestore { place: p, service: of, at }| {
            Ok(NamedRestore { place: place("intents.place", &p)?, service: service(of)?, at: Wall(at) })
        };
        Ok(Self {
            drains: drains.into_iter().map(drain).collect::<Result<_, RecordError>>()?,
            restores: restores.into_iter().map(restore).collect::<Result<_, RecordError>>()?,
            automation: Automation {
                safety: need("intents.safety", safety)?,
                economic: need("intents.economic", economic)?,
            },
            ramps_paused,
            ramps_aborted_until: ramps_aborted_until.map(Wall),
            api_words: api_words.into_iter().map(word).collect::<Result<_, RecordError>>()?,
        })
    }
}

pub(crate) fn place(field: &'static str, text: &str) -> Result<Place, RecordError> {
    Place::new(text).map_err(|e| crate::codec::bad(field, e))
}
