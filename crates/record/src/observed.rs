//! What comes in: policy's mask, the view, standing intents.

use crate::codec::{RecordError, Wire, all, all_back, bad, hash, missing, narrow, need, record};
use crate::scalars::{jurisdiction, kind, kind_out, revision};
use std::collections::BTreeMap;
use tidegate_domain::{
    ApiWord, Automation, ClassIx, Drain, GroupIx, Intents, Mask, MilliRps, Millis, Mono, PolicyAnswer, ProviderIx,
    RegionIx, Restore, RttClass, Scope, ServiceIx, Subject, Switch, TargetState, Traffic, VantageIx, VantageReport,
    VantageSelf, View, Wall,
};
use tidegate_proto::record as w;

record! {
    encode_mask, decode_mask, Mask, Mask, "mask";
    encode_view, decode_view, View, View, "view";
    /// Places are indexes here: to keep intents over a change of the fleet use [`crate::NamedIntents`].
    encode_intents, decode_intents, Intents, Intents, "set of intents";
}

impl Wire for Mask {
    type Msg = w::Mask;
    fn to_wire(&self) -> w::Mask {
        let Self { bundle, answers } = self;
        let answer = |((class, place, kind), PolicyAnswer { allow, reason }): (&(_, _, _), &PolicyAnswer)| {
            let class: &ClassIx = class;
            let place: &tidegate_domain::Jurisdiction = place;
            w::PolicyAnswer {
                class: class.0,
                jurisdiction: place.to_string(),
                kind: kind_out(*kind),
                allow: *allow,
                reason: reason.clone(),
            }
        };
        w::Mask { bundle: bundle.to_vec(), answers: answers.iter().map(answer).collect() }
    }
    fn from_wire(w::Mask { bundle, answers }: w::Mask) -> Result<Self, RecordError> {
        let mut map = BTreeMap::new();
        for w::PolicyAnswer { class, jurisdiction: law, kind: of, allow, reason } in answers {
            let key = (ClassIx(class), jurisdiction("mask.jurisdiction", &law)?, kind("mask.kind", of)?);
            if map.insert(key, PolicyAnswer { allow, reason }).is_some() {
                return Err(bad("mask.answers", "two answers to one question"));
            }
        }
        Ok(Self { bundle: hash("mask.bundle", &bundle)?, answers: map })
    }
}

impl Wire for View {
    type Msg = w::View;
    fn to_wire(&self) -> w::View {
        let Self { reports, measured_demand, traffic, lost_members, held_receivers, intents, wall } = self;
        let report = |r: &Option<VantageReport>| w::MaybeReport { report: r.as_ref().map(Wire::to_wire) };
        let demand = |(class, group, load): &(ClassIx, GroupIx, MilliRps)| w::MeasuredDemand {
            class: class.0,
            group: u32::from(group.0),
            load_mrps: load.0,
        };
        w::View {
            reports: reports.iter().map(report).collect(),
            measured_demand: measured_demand.iter().map(demand).collect(),
            traffic: all(traffic),
            lost_members: lost_members.iter().map(|v| u32::from(v.0)).collect(),
            held_receivers: held_receivers.iter().map(|r| u32::from(r.0)).collect(),
            intents: Some(intents.to_wire()),
            wall: wall.0,
        }
    }
    fn from_wire(msg: w::View) -> Result<Self, RecordError> {
        let w::View { reports, measured_demand, traffic, lost_members, held_receivers, intents, wall } = msg;
        let report = |w::MaybeReport { report }| report.map(VantageReport::from_wire).transpose();
        let demand = |w::MeasuredDemand { class, group, load_mrps }| {
            Ok((ClassIx(class), GroupIx(narrow("view.measured_demand", group)?), MilliRps(load_mrps)))
        };
        let lost = |v| Ok(VantageIx(narrow("view.lost_members", v)?));
        let held = |r| Ok(RegionIx(narrow("view.held_receivers", r)?));
        Ok(Self {
            reports: reports.into_iter().map(report).collect::<Result<_, _>>()?,
            measured_demand: measured_demand.into_iter().map(demand).collect::<Result<_, RecordError>>()?,
            traffic: all_back(traffic)?,
            lost_members: lost_members.into_iter().map(lost).collect::<Result<_, RecordError>>()?,
            held_receivers: held_receivers.into_iter().map(held).collect::<Result<_, RecordError>>()?,
            intents: need("view.intents", intents)?,
            wall: Wall(wall),
        })
    }
}

impl Wire for Traffic {
    type Msg = w::Traffic;
    fn to_wire(&self) -> w::Traffic {
        let Self {
            service,
            region,
            group,
            edges,
            erring,
            failing,
            answered,
            issued,
            errors,
            slow,
            slow_requests,
            slow_took: Millis(slow_ms),
            slow_usual: Millis(usual_ms),
        } = *self;
        let (service, region, group) = (service.0, u32::from(region.0), u32::from(group.0));
        w::Traffic {
            service,
            region,
            group,
            edges,
            erring,
            failing,
            answered,
            issued,
            errors,
            slow,
            slow_requests,
            slow_ms,
            usual_ms,
        }
    }
    fn from_wire(msg: w::Traffic) -> Result<Self, RecordError> {
        let w::Traffic {
            service,
            region,
            group,
            edges,
            erring,
            failing,
            answered,
            issued,
            errors,
            slow,
            slow_requests,
            slow_ms,
            usual_ms,
        } = msg;
        Ok(Self {
            service: ServiceIx(service),
            region: RegionIx(narrow("traffic.region", region)?),
            group: GroupIx(narrow("traffic.group", group)?),
            edges,
            erring,
            failing,
            answered,
            issued,
            errors,
            slow,
            slow_requests,
            slow_took: Millis(slow_ms),
            slow_usual: Millis(usual_ms),
        })
    }
}

impl Wire for VantageReport {
    type Msg = w::VantageReport;
    fn to_wire(&self) -> w::VantageReport {
        let Self { vantage, incarnation, sequence, revision, arrived, own, targets, rtt } = self;
        let VantageSelf { references_reached, reference_networks, self_doubt } = own;
        let state = |t: &TargetState| match t {
            TargetState::Unseen => 0,
            TargetState::Ok => 1,
            TargetState::Slow => 2,
            TargetState::Failing => 3,
        };
        w::VantageReport {
            vantage: u32::from(vantage.0),
            incarnation: *incarnation,
            sequence: *sequence,
            revision: revision.0.to_vec(),
            arrived: arrived.0,
            references_reached: u32::from(*references_reached),
            reference_networks: u32::from(*reference_networks),
            self_doubt: *self_doubt,
            targets: targets.iter().map(state).collect(),
            rtt: rtt.iter().map(|r| r.0).collect(),
        }
    }
    fn from_wire(msg: w::VantageReport) -> Result<Self, RecordError> {
        let w::VantageReport {
            vantage,
            incarnation,
            sequence,
            revision: of,
            arrived,
            references_reached,
            reference_networks,
            self_doubt,
            targets,
            rtt,
        } = msg;
        let state = |byte: u8| match byte {
            0 => Ok(TargetState::Unseen),
            1 => Ok(TargetState::Ok),
            2 => Ok(TargetState::Slow),
            3 => Ok(TargetState::Failing),
            other => Err(bad("report.targets", other)),
        };
        Ok(Self {
            vantage: VantageIx(narrow("report.vantage", vantage)?),
            incarnation,
            sequence,
            revision: revision("report.revision", &of)?,
            arrived: Mono(arrived),
            own: VantageSelf {
                references_reached: narrow("report.references_reached", references_reached)?,
                reference_networks: narrow("report.reference_networks", reference_networks)?,
                self_doubt,
            },
            targets: targets.into_iter().map(state).collect::<Result<_, _>>()?,
            rtt: rtt.into_iter().map(RttClass).collect(),
        })
    }
}

impl Wire for Intents {
    type Msg = w::Intents;
    fn to_wire(&self) -> w::Intents {
        let Self { drains, restores, automation, ramps_paused, ramps_aborted_until, api_words } = self;
        let Automation { safety, economic } = automation;
        w::Intents {
            drains: all(drains),
            restores: all(restores),
            safety: Some(safety.to_wire()),
            economic: Some(economic.to_wire()),
            ramps_paused: *ramps_paused,
            ramps_aborted_until: ramps_aborted_until.map(|t| t.0),
            api_words: all(api_words),
        }
    }
    fn from_wire(msg: w::Intents) -> Result<Self, RecordError> {
        let w::Intents { drains, restores, safety, economic, ramps_paused, ramps_aborted_until, api_words } = msg;
        Ok(Self {
            drains: all_back(drains)?,
            restores: all_back(restores)?,
            automation: Automation {
                safety: need("intents.safety", safety)?,
                economic: need("intents.economic", economic)?,
            },
            ramps_paused,
            ramps_aborted_until: ramps_aborted_until.map(Wall),
            api_words: all_back(api_words)?,
        })
    }
}

impl Wire for ApiWord {
    type Msg = w::ApiWord;
    fn to_wire(&self) -> w::ApiWord {
        let Self { provider, trouble, reason, by, until } = self;
        let (reason, by) = (reason.clone(), by.0.clone());
        w::ApiWord { provider: u32::from(provider.0), trouble: *trouble, reason, by, until: until.0 }
    }
    fn from_wire(w::ApiWord { provider, trouble, reason, by, until }: w::ApiWord) -> Result<Self, RecordError> {
        let provider = ProviderIx(narrow("api_word.provider", provider)?);
        Ok(Self { provider, trouble, reason, by: Subject(by), until: Wall(until) })
    }
}

impl Wire for Scope {
    type Msg = w::Scope;
    fn to_wire(&self) -> w::Scope {
        let kind = match self {
            Self::Provider(p) => w::scope::Kind::Provider(u32::from(p.0)),
            Self::Region(r) => w::scope::Kind::Region(u32::from(r.0)),
        };
        w::Scope { kind: Some(kind) }
    }
    fn from_wire(w::Scope { kind }: w::Scope) -> Result<Self, RecordError> {
        Ok(match kind.ok_or_else(|| missing("scope"))? {
            w::scope::Kind::Provider(p) => Self::Provider(ProviderIx(narrow("scope.provider", p)?)),
            w::scope::Kind::Region(r) => Self::Region(RegionIx(narrow("scope.region", r)?)),
        })
    }
}

impl Wire for Drain {
    type Msg = w::Drain;
    fn to_wire(&self) -> w::Drain {
        let Self { id, scope, service, until, grace, reason, by, at } = self;
        w::Drain {
            id: *id,
            scope: Some(scope.to_wire()),
            service: service.map(|s| s.0),
            until: until.map(|t| t.0),
            grace_ms: grace.0,
            reason: reason.clone(),
            by: by.0.clone(),
            at: at.0,
        }
    }
    fn from_wire(msg: w::Drain) -> Result<Self, RecordError> {
        let w::Drain { id, scope, service, until, grace_ms, reason, by, at } = msg;
        Ok(Self {
            id,
            scope: need("drain.scope", scope)?,
            service: service.map(ServiceIx),
            until: until.map(Wall),
            grace: Millis(grace_ms),
            reason,
            by: Subject(by),
            at: Wall(at),
        })
    }
}

impl Wire for Restore {
    type Msg = w::Restore;
    fn to_wire(&self) -> w::Restore {
        let Self { scope, service, at } = self;
        w::Restore { scope: Some(scope.to_wire()), service: service.map(|s| s.0), at: at.0 }
    }
    fn from_wire(w::Restore { scope, service, at }: w::Restore) -> Result<Self, RecordError> {
        Ok(Self { scope: need("restore.scope", scope)?, service: service.map(ServiceIx), at: Wall(at) })
    }
}

impl Wire for Switch {
    type Msg = w::Switch;
    fn to_wire(&self) -> w::Switch {
        let kind = match self {
            Self::On => w::switch::Kind::On(w::Nothing {}),
            Self::Paused { reason, by, until } => w::switch::Kind::Paused(w::Paused {
                reason: reason.clone(),
                by: by.0.clone(),
                until: until.map(|t| t.0),
            }),
        };
        w::Switch { kind: Some(kind) }
    }
    fn from_wire(w::Switch { kind }: w::Switch) -> Result<Self, RecordError> {
        Ok(match kind.ok_or_else(|| missing("switch"))? {
            w::switch::Kind::On(w::Nothing {}) => Self::On,
            w::switch::Kind::Paused(w::Paused { reason, by, until }) => {
                Self::Paused { reason, by: Subject(by), until: until.map(Wall) }
            }
        })
    }
}
