//! Plans, the kernel's memory, verdicts, and the whole input and output of a cycle.

use crate::codec::{RecordError, Wire, all, all_back, missing, narrow, need, record};
use crate::scalars::{bps, bps_out, health, health_out, kind, kind_out, phase, phase_out, revision, vote, vote_out};
use tidegate_domain::{
    ApiCause, ApiTrouble, Blame, ClassIx, ClassSplit, CutOff, CutOffCause, CycleInput, CycleOutput, Displaced,
    EndpointHealth, EndpointIx, Followed, GroupIx, Health, Millis, Mono, Partition, PathFailure, PathFrom, Plan,
    ProviderIx, Ramp, Received, RegionIx, ServiceIx, Serving, Slowness, State, SuspectedPath, Unheard, VantageIx,
    Verdict, Vote, Weight, WeightSnapshot,
};
use tidegate_proto::record as w;

record! {
    encode_plan, decode_plan, Plan, Plan, "plan";
    encode_state, decode_state, State, State, "kernel state";
    encode_verdict, decode_verdict, Verdict, Verdict, "verdict";
    encode_cycle_input, decode_cycle_input, CycleInput, CycleInput, "cycle's input";
    encode_cycle_output, decode_cycle_output, CycleOutput, CycleOutput, "cycle's output";
}

impl Wire for Plan {
    type Msg = w::Plan;
    fn to_wire(&self) -> w::Plan {
        let Self { fleet, splits, endpoints_out } = self;
        w::Plan {
            fleet: fleet.0.to_vec(),
            splits: all(splits),
            endpoints_out: endpoints_out.iter().map(|e| e.0).collect(),
        }
    }
    fn from_wire(w::Plan { fleet, splits, endpoints_out }: w::Plan) -> Result<Self, RecordError> {
        Ok(Self {
            fleet: revision("plan.fleet", &fleet)?,
            splits: all_back(splits)?,
            endpoints_out: endpoints_out.into_iter().map(EndpointIx).collect(),
        })
    }
}

impl Wire for ClassSplit {
    type Msg = w::ClassSplit;
    fn to_wire(&self) -> w::ClassSplit {
        let Self { class, group, serving, weights, spill } = self;
        let serving = match serving {
            Serving::Routed { shed } => w::class_split::Serving::RoutedShedBps(bps_out(*shed)),
            Serving::WrongJurisdiction => w::class_split::Serving::WrongJurisdiction(w::Nothing {}),
            Serving::NoPlace => w::class_split::Serving::NoPlace(w::Nothing {}),
        };
        let weight =
            |Weight { region, share }: &Weight| w::Weight { region: u32::from(region.0), share_bps: bps_out(*share) };
        let ring = |ring: &Vec<RegionIx>| w::Ring { members: ring.iter().map(|r| u32::from(r.0)).collect() };
        w::ClassSplit {
            class: class.0,
            group: u32::from(group.0),
            serving: Some(serving),
            weights: weights.iter().map(weight).collect(),
            spill: spill.iter().map(ring).collect(),
        }
    }
    fn from_wire(msg: w::ClassSplit) -> Result<Self, RecordError> {
        let w::ClassSplit { class, group, serving, weights, spill } = msg;
        let serving = match serving.ok_or_else(|| missing("split.serving"))? {
            w::class_split::Serving::RoutedShedBps(shed) => Serving::Routed { shed: bps("split.shed", shed)? },
            w::class_split::Serving::WrongJurisdiction(w::Nothing {}) => Serving::WrongJurisdiction,
            w::class_split::Serving::NoPlace(w::Nothing {}) => Serving::NoPlace,
        };
        let region = |r| Ok::<_, RecordError>(RegionIx(narrow("split.region", r)?));
        let weight = |w::Weight { region: r, share_bps }| {
            Ok::<_, RecordError>(Weight { region: region(r)?, share: bps("split.share", share_bps)? })
        };
        let ring = |w::Ring { members }| members.into_iter().map(region).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            class: ClassIx(class),
            group: GroupIx(narrow("split.group", group)?),
            serving,
            weights: weights.into_iter().map(weight).collect::<Result<_, _>>()?,
            spill: spill.into_iter().map(ring).collect::<Result<_, _>>()?,
        })
    }
}

fn since_out((health, since): &(Health, Mono)) -> w::HealthSince {
    w::HealthSince { health: health_out(*health), since: since.0 }
}
fn since(w::HealthSince { health: h, since }: w::HealthSince) -> Result<(Health, Mono), RecordError> {
    Ok((health("state.health", h)?, Mono(since)))
}

impl Wire for State {
    type Msg = w::State;
    fn to_wire(&self) -> w::State {
        let Self {
            endpoints,
            regions,
            providers,
            recent_downs,
            plan,
            before_downs,
            ramps,
            moved,
            forced,
            returning,
            displaced,
            cut_off,
            paths,
            blamed,
            apis,
            partition,
            suspected_paths,
            unheard,
            received,
            followed,
        } = self;
        let moments = |each: &[Option<Mono>]| each.iter().map(|at| w::MaybeMono { at: at.map(|m| m.0) }).collect();
        let down = |(e, at): &(EndpointIx, Mono)| w::RecentDown { endpoint: e.0, at: at.0 };
        w::State {
            endpoints: all(endpoints),
            regions: regions.iter().map(since_out).collect(),
            providers: providers.iter().map(since_out).collect(),
            recent_downs: recent_downs.iter().map(down).collect(),
            plan: plan.as_ref().map(Wire::to_wire),
            before_downs: all(before_downs),
            ramps: all(ramps),
            moved: moments(moved),
            returning: returning.iter().map(|r| u32::from(r.0)).collect(),
            forced: moments(forced),
            displaced: all(displaced),
            cut_off: all(cut_off),
            paths: all(paths),
            blamed: all(blamed),
            apis: all(apis),
            partition: partition.as_ref().map(Wire::to_wire),
            suspected_paths: all(suspected_paths),
            unheard: all(unheard),
            received: all(received),
            followed: all(followed),
        }
    }
    fn from_wire(msg: w::State) -> Result<Self, RecordError> {
        let w::State {
            endpoints,
            regions,
            providers,
            recent_downs,
            plan,
            before_downs,
            ramps,
            moved,
            forced,
            returning,
            displaced,
            cut_off,
            paths,
            blamed,
            apis,
            partition,
            suspected_paths,
            unheard,
            received,
            followed,
        } = msg;
        let moments = |each: Vec<w::MaybeMono>| each.into_iter().map(|w::MaybeMono { at }| at.map(Mono)).collect();
        let region = |r| Ok::<_, RecordError>(RegionIx(narrow("state.returning", r)?));
        Ok(Self {
            endpoints: all_back(endpoints)?,
            regions: regions.into_iter().map(since).collect::<Result<_, _>>()?,
            providers: providers.into_iter().map(since).collect::<Result<_, _>>()?,
            recent_downs: recent_downs
                .into_iter()
                .map(|w::RecentDown { endpoint, at }| (EndpointIx(endpoint), Mono(at)))
                .collect(),
            plan: plan.map(Plan::from_wire).transpose()?,
            before_downs: all_back(before_downs)?,
            ramps: all_back(ramps)?,
            moved: moments(moved),
            forced: moments(forced),
            returning: returning.into_iter().map(region).collect::<Result<_, _>>()?,
            displaced: all_back(displaced)?,
            cut_off: all_back(cut_off)?,
            paths: all_back(paths)?,
            blamed: all_back(blamed)?,
            apis: all_back(apis)?,
            partition: partition.map(Partition::from_wire).transpose()?,
            suspected_paths: all_back(suspected_paths)?,
            unheard: all_back(unheard)?,
            received: all_back(received)?,
            followed: all_back(followed)?,
        })
    }
}

impl Wire for CutOff {
    type Msg = w::CutOff;
    fn to_wire(&self) -> w::CutOff {
        use w::cut_off::Cause;
        let Self { vantage, since, cause, well_since } = self;
        let cause = match cause {
            CutOffCause::References { reached } => Cause::ReferencesReached(u32::from(*reached)),
            CutOffCause::Contradicted { failing, targets, providers, others } => {
                let (providers, others) = (u32::from(*providers), u32::from(*others));
                Cause::Contradicted(w::Contradicted { failing: *failing, targets: *targets, providers, others })
            }
        };
        w::CutOff {
            vantage: u32::from(vantage.0),
            since: since.0,
            cause: Some(cause),
            well_since: well_since.map(|m| m.0),
        }
    }
    fn from_wire(w::CutOff { vantage, since, cause, well_since }: w::CutOff) -> Result<Self, RecordError> {
        use w::cut_off::Cause;
        let cause = match cause.ok_or_else(|| missing("state.cut_off"))? {
            Cause::ReferencesReached(reached) => {
                CutOffCause::References { reached: narrow("cut_off.references", reached)? }
            }
            Cause::Contradicted(w::Contradicted { failing, targets, providers, others }) => CutOffCause::Contradicted {
                failing,
                targets,
                providers: narrow("cut_off.providers", providers)?,
                others: narrow("cut_off.others", others)?,
            },
        };
        Ok(Self {
            vantage: VantageIx(narrow("cut_off.vantage", vantage)?),
            since: Mono(since),
            cause,
            well_since: well_since.map(Mono),
        })
    }
}

impl Wire for Partition {
    type Msg = w::Partition;
    fn to_wire(&self) -> w::Partition {
        let Self { since, lost } = self;
        w::Partition { since: since.0, lost: lost.iter().map(|v| u32::from(v.0)).collect() }
    }
    fn from_wire(w::Partition { since, lost }: w::Partition) -> Result<Self, RecordError> {
        let vantage = |v| Ok(VantageIx(narrow("partition.lost", v)?));
        Ok(Self { since: Mono(since), lost: lost.into_iter().map(vantage).collect::<Result<_, RecordError>>()? })
    }
}

impl Wire for ApiTrouble {
    type Msg = w::ApiTrouble;
    fn to_wire(&self) -> w::ApiTrouble {
        use w::api_trouble::Cause;
        let Self { provider, since, cause } = self;
        let cause = match cause {
            ApiCause::Probed { well_since, failing, eligible, electorate } => Cause::Probed(w::ApiProbed {
                well_since: well_since.map(|m| m.0),
                failing: u32::from(*failing),
                eligible: u32::from(*eligible),
                electorate: u32::from(*electorate),
            }),
            ApiCause::Told { by, reason } => Cause::Told(w::ApiTold { by: by.clone(), reason: reason.clone() }),
        };
        w::ApiTrouble { provider: u32::from(provider.0), since: since.0, cause: Some(cause) }
    }
    fn from_wire(w::ApiTrouble { provider, since, cause }: w::ApiTrouble) -> Result<Self, RecordError> {
        use w::api_trouble::Cause;
        let cause = match cause.ok_or_else(|| missing("state.apis"))? {
            Cause::Probed(w::ApiProbed { well_since, failing, eligible, electorate }) => ApiCause::Probed {
                well_since: well_since.map(Mono),
                failing: narrow("api.failing", failing)?,
                eligible: narrow("api.eligible", eligible)?,
                electorate: narrow("api.electorate", electorate)?,
            },
            Cause::Told(w::ApiTold { by, reason }) => ApiCause::Told { by, reason },
        };
        Ok(Self { provider: ProviderIx(narrow("api.provider", provider)?), since: Mono(since), cause })
    }
}

impl Wire for Blame {
    type Msg = w::Blame;
    fn to_wire(&self) -> w::Blame {
        let Self { service, region, health, since, seen, relapses, against, edges, rate, slowness } = *self;
        w::Blame {
            service: service.0,
            region: u32::from(region.0),
            health: health_out(health),
            since: since.0,
            seen: seen.0,
            relapses: u32::from(relapses),
            against,
            edges,
            rate_bps: bps_out(rate),
            slowness: slowness.map(|s| s.to_wire()),
        }
    }
    fn from_wire(msg: w::Blame) -> Result<Self, RecordError> {
        let w::Blame { service, region, health: of, since, seen, relapses, against, edges, rate_bps, slowness } = msg;
        Ok(Self {
            service: ServiceIx(service),
            region: RegionIx(narrow("blame.region", region)?),
            health: health("blame.health", of)?,
            since: Mono(since),
            seen: Mono(seen),
            relapses: narrow("blame.relapses", relapses)?,
            against,
            edges,
            rate: bps("blame.rate", rate_bps)?,
            slowness: slowness.map(Slowness::from_wire).transpose()?,
        })
    }
}

impl Wire for Slowness {
    type Msg = w::Slowness;
    fn to_wire(&self) -> w::Slowness {
        let Self { took: Millis(took_ms), usual: Millis(usual_ms) } = *self;
        w::Slowness { took_ms, usual_ms }
    }
    fn from_wire(w::Slowness { took_ms, usual_ms }: w::Slowness) -> Result<Self, RecordError> {
        Ok(Self { took: Millis(took_ms), usual: Millis(usual_ms) })
    }
}

impl Wire for PathFailure {
    type Msg = w::PathFailure;
    fn to_wire(&self) -> w::PathFailure {
        use w::path_failure::From;
        let Self { from, to, since, well_since, failing, near, well, elsewhere } = self;
        let from = match from {
            PathFrom::Group(g) => From::Group(u32::from(g.0)),
            PathFrom::Provider(p) => From::Provider(u32::from(p.0)),
        };
        w::PathFailure {
            from: Some(from),
            to: u32::from(to.0),
            since: since.0,
            well_since: well_since.map(|m| m.0),
            failing: u32::from(*failing),
            near: u32::from(*near),
            well: u32::from(*well),
            elsewhere: u32::from(*elsewhere),
        }
    }
    fn from_wire(msg: w::PathFailure) -> Result<Self, RecordError> {
        use w::path_failure::From;
        let w::PathFailure { from, to, since, well_since, failing, near, well, elsewhere } = msg;
        let from = match from.ok_or_else(|| missing("path.from"))? {
            From::Group(g) => PathFrom::Group(GroupIx(narrow("path.group", g)?)),
            From::Provider(p) => PathFrom::Provider(ProviderIx(narrow("path.provider", p)?)),
        };
        Ok(Self {
            from,
            to: RegionIx(narrow("path.to", to)?),
            since: Mono(since),
            well_since: well_since.map(Mono),
            failing: narrow("path.failing", failing)?,
            near: narrow("path.near", near)?,
            well: narrow("path.well", well)?,
            elsewhere: narrow("path.elsewhere", elsewhere)?,
        })
    }
}

impl Wire for SuspectedPath {
    type Msg = w::SuspectedPath;
    fn to_wire(&self) -> w::SuspectedPath {
        use w::suspected_path::From;
        let Self { from, to, since } = self;
        let from = match from {
            PathFrom::Group(g) => From::Group(u32::from(g.0)),
            PathFrom::Provider(p) => From::Provider(u32::from(p.0)),
        };
        w::SuspectedPath { from: Some(from), to: u32::from(to.0), since: since.0 }
    }
    fn from_wire(w::SuspectedPath { from, to, since }: w::SuspectedPath) -> Result<Self, RecordError> {
        use w::suspected_path::From;
        let from = match from.ok_or_else(|| missing("suspected.from"))? {
            From::Group(g) => PathFrom::Group(GroupIx(narrow("suspected.group", g)?)),
            From::Provider(p) => PathFrom::Provider(ProviderIx(narrow("suspected.provider", p)?)),
        };
        Ok(Self { from, to: RegionIx(narrow("suspected.to", to)?), since: Mono(since) })
    }
}

impl Wire for Received {
    type Msg = w::Received;
    fn to_wire(&self) -> w::Received {
        let Self { service, from, to, since, at, usual } = *self;
        let (from, to) = (u32::from(from.0), u32::from(to.0));
        w::Received { service: service.0, from, to, since: since.0, at: at.0, usual_bps: bps_out(usual) }
    }
    fn from_wire(w::Received { service, from, to, since, at, usual_bps }: w::Received) -> Result<Self, RecordError> {
        Ok(Self {
            service: ServiceIx(service),
            from: RegionIx(narrow("received.from", from)?),
            to: RegionIx(narrow("received.to", to)?),
            since: Mono(since),
            at: Mono(at),
            usual: bps("received.usual", usual_bps)?,
        })
    }
}

impl Wire for Followed {
    type Msg = w::Followed;
    fn to_wire(&self) -> w::Followed {
        let Self { service, from, to, since, until, origin, rate, slow } = *self;
        w::Followed {
            service: service.0,
            from: u32::from(from.0),
            to: u32::from(to.0),
            since: since.0,
            until: until.0,
            origin_bps: bps_out(origin),
            rate_bps: bps_out(rate),
            slow,
        }
    }
    fn from_wire(msg: w::Followed) -> Result<Self, RecordError> {
        let w::Followed { service, from, to, since, until, origin_bps, rate_bps, slow } = msg;
        Ok(Self {
            service: ServiceIx(service),
            from: RegionIx(narrow("followed.from", from)?),
            to: RegionIx(narrow("followed.to", to)?),
            since: Mono(since),
            until: Mono(until),
            origin: bps("followed.origin", origin_bps)?,
            rate: bps("followed.rate", rate_bps)?,
            slow,
        })
    }
}

impl Wire for Unheard {
    type Msg = w::Unheard;
    fn to_wire(&self) -> w::Unheard {
        let Self { provider, until } = self;
        w::Unheard { provider: u32::from(provider.0), until: until.map(|m| m.0) }
    }
    fn from_wire(w::Unheard { provider, until }: w::Unheard) -> Result<Self, RecordError> {
        Ok(Self { provider: ProviderIx(narrow("unheard.provider", provider)?), until: until.map(Mono) })
    }
}

impl Wire for Displaced {
    type Msg = w::Displaced;
    fn to_wire(&self) -> w::Displaced {
        let Self { class, group, region, share } = self;
        let (group, region) = (u32::from(group.0), u32::from(region.0));
        w::Displaced { class: class.0, group, region, share_bps: bps_out(*share) }
    }
    fn from_wire(w::Displaced { class, group, region, share_bps }: w::Displaced) -> Result<Self, RecordError> {
        Ok(Self {
            class: ClassIx(class),
            group: GroupIx(narrow("displaced.group", group)?),
            region: RegionIx(narrow("displaced.region", region)?),
            share: bps("displaced.share", share_bps)?,
        })
    }
}

impl Wire for EndpointHealth {
    type Msg = w::EndpointHealth;
    fn to_wire(&self) -> w::EndpointHealth {
        let Self { health, since, well_since } = self;
        w::EndpointHealth { health: health_out(*health), since: since.0, well_since: well_since.map(|m| m.0) }
    }
    fn from_wire(w::EndpointHealth { health: h, since, well_since }: w::EndpointHealth) -> Result<Self, RecordError> {
        Ok(Self { health: health("state.endpoints", h)?, since: Mono(since), well_since: well_since.map(Mono) })
    }
}

impl Wire for WeightSnapshot {
    type Msg = w::WeightSnapshot;
    fn to_wire(&self) -> w::WeightSnapshot {
        let Self { at, plan } = self;
        w::WeightSnapshot { at: at.0, plan: Some(plan.to_wire()) }
    }
    fn from_wire(w::WeightSnapshot { at, plan }: w::WeightSnapshot) -> Result<Self, RecordError> {
        Ok(Self { at: Mono(at), plan: need("state.before_downs", plan)? })
    }
}

impl Wire for Ramp {
    type Msg = w::Ramp;
    fn to_wire(&self) -> w::Ramp {
        let Self { class, group, kind, started, stepped, phase } = self;
        w::Ramp {
            class: class.0,
            group: u32::from(group.0),
            kind: kind_out(*kind),
            started: started.0,
            stepped: stepped.0,
            phase: phase_out(*phase),
        }
    }
    fn from_wire(msg: w::Ramp) -> Result<Self, RecordError> {
        let w::Ramp { class, group, kind: of, started, stepped, phase: now } = msg;
        Ok(Self {
            class: ClassIx(class),
            group: GroupIx(narrow("ramp.group", group)?),
            kind: kind("ramp.kind", of)?,
            started: Mono(started),
            stepped: Mono(stepped),
            phase: phase("ramp.phase", now)?,
        })
    }
}

impl Wire for Vote {
    type Msg = w::Vote;
    fn to_wire(&self) -> w::Vote {
        let Self { vantage, kind, age } = self;
        w::Vote { vantage: u32::from(vantage.0), kind: vote_out(*kind), age_ms: age.map(|a| a.0) }
    }
    fn from_wire(w::Vote { vantage, kind, age_ms }: w::Vote) -> Result<Self, RecordError> {
        let vantage = VantageIx(narrow("vote.vantage", vantage)?);
        Ok(Self { vantage, kind: vote("vote.kind", kind)?, age: age_ms.map(Millis) })
    }
}

impl Wire for Verdict {
    type Msg = w::Verdict;
    fn to_wire(&self) -> w::Verdict {
        let Self { accused, health, since, electorate, eligible, agreeing, agreeing_providers, votes } = self;
        w::Verdict {
            accused: Some(accused.to_wire()),
            health: health_out(*health),
            since: since.0,
            electorate: u32::from(*electorate),
            eligible: u32::from(*eligible),
            agreeing: u32::from(*agreeing),
            agreeing_providers: u32::from(*agreeing_providers),
            votes: all(votes),
        }
    }
    fn from_wire(msg: w::Verdict) -> Result<Self, RecordError> {
        let w::Verdict { accused, health: h, since, electorate, eligible, agreeing, agreeing_providers, votes } = msg;
        Ok(Self {
            accused: need("verdict.accused", accused)?,
            health: health("verdict.health", h)?,
            since: Mono(since),
            electorate: narrow("verdict.electorate", electorate)?,
            eligible: narrow("verdict.eligible", eligible)?,
            agreeing: narrow("verdict.agreeing", agreeing)?,
            agreeing_providers: narrow("verdict.agreeing_providers", agreeing_providers)?,
            votes: all_back(votes)?,
        })
    }
}

impl Wire for CycleInput {
    type Msg = w::CycleInput;
    fn to_wire(&self) -> w::CycleInput {
        let Self { fleet, mask, state, view, now } = self;
        w::CycleInput {
            fleet: Some(fleet.to_wire()),
            mask: Some(mask.to_wire()),
            state: Some(state.to_wire()),
            view: Some(view.to_wire()),
            now: now.0,
        }
    }
    fn from_wire(w::CycleInput { fleet, mask, state, view, now }: w::CycleInput) -> Result<Self, RecordError> {
        Ok(Self {
            fleet: std::sync::Arc::new(need("input.fleet", fleet)?),
            mask: std::sync::Arc::new(need("input.mask", mask)?),
            state: need("input.state", state)?,
            view: need("input.view", view)?,
            now: Mono(now),
        })
    }
}

impl Wire for CycleOutput {
    type Msg = w::CycleOutput;
    fn to_wire(&self) -> w::CycleOutput {
        let Self { state, verdicts, report, wake } = self;
        w::CycleOutput {
            state: Some(state.to_wire()),
            verdicts: all(verdicts),
            report: Some(report.to_wire()),
            wake: wake.map(|m| m.0),
        }
    }
    fn from_wire(w::CycleOutput { state, verdicts, report, wake }: w::CycleOutput) -> Result<Self, RecordError> {
        Ok(Self {
            state: need("output.state", state)?,
            verdicts: all_back(verdicts)?,
            report: need("output.report", report)?,
            wake: wake.map(Mono),
        })
    }
}
