//! Arbitrary values of every record, drawn from a string of bytes: proptest shrinks the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_domain::*;
use tidegate_record::*;

pub(crate) struct Draw(std::vec::IntoIter<u8>);

/// A source that draws from `bytes`.
pub(crate) fn draw(bytes: &[u8]) -> Draw {
    let own: Vec<u8> = bytes.into();
    Draw(own.into_iter())
}

type Maker<T> = fn(&mut Draw) -> T;

impl Draw {
    /// Zero when the bytes have run out, so that every value ends.
    fn byte(&mut self) -> u8 {
        self.0.next().unwrap_or(0)
    }
    pub(crate) fn below(&mut self, n: u8) -> u8 {
        self.byte() % n
    }
    fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }
    /// Often small, sometimes as large as can be.
    pub(crate) fn u64(&mut self) -> u64 {
        match self.below(8) {
            0 => u64::MAX,
            1 => u64::from(self.u32()) << 32 | u64::from(self.u32()),
            _ => u64::from(self.u16()),
        }
    }
    fn i64(&mut self) -> i64 {
        let value = self.u64() as i64;
        if self.bit() { value.wrapping_neg() } else { value }
    }
    fn money(&mut self) -> PicoDollars {
        PicoDollars(i128::from(self.i64()) * i128::from(self.i64()))
    }
    fn bytes32(&mut self) -> [u8; 32] {
        [self.byte(); 32]
    }
    fn text(&mut self) -> String {
        ["", "x", "two words", "ä€𝄞", "line\nline\0"][usize::from(self.below(5))].to_owned()
    }
    pub(crate) fn name(&mut self) -> Name {
        Name::new(&format!("n{}", self.u16())).unwrap()
    }
    fn region_name(&mut self) -> RegionName {
        RegionName { provider: self.name(), region: self.name() }
    }
    fn law(&mut self) -> Jurisdiction {
        Jurisdiction::new(["DE", "US", "NL", "SG"][usize::from(self.below(4))]).unwrap()
    }
    fn bps(&mut self) -> Bps {
        Bps::clamped(u64::from(self.u16()))
    }
    fn wall(&mut self) -> Wall {
        Wall(self.i64())
    }
    fn mono(&mut self) -> Mono {
        Mono(self.u64())
    }
    fn millis(&mut self) -> Millis {
        Millis(self.u64())
    }
    fn list<T>(&mut self, make: Maker<T>) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }
    fn some<T>(&mut self, make: Maker<T>) -> Option<T> {
        self.bit().then(|| make(self))
    }
    fn health(&mut self) -> Health {
        [Health::Healthy, Health::Degraded, Health::Down, Health::Unknown][usize::from(self.below(4))]
    }
    fn kind(&mut self) -> MoveKind {
        MoveKind::ALL[usize::from(self.below(3))]
    }
    fn class(&mut self) -> ClassIx {
        ClassIx(self.u32())
    }
    fn group(&mut self) -> GroupIx {
        GroupIx(self.u16())
    }
    fn region(&mut self) -> RegionIx {
        RegionIx(self.u16())
    }
    fn endpoint(&mut self) -> EndpointIx {
        EndpointIx(self.u32())
    }
    fn rings(&mut self) -> Vec<Vec<RegionIx>> {
        self.list(|d| d.list(Draw::region))
    }
    fn check(&mut self) -> Check {
        Check {
            kind: match self.byte() {
                byte if byte & 1 == 1 => CheckKind::Tcp,
                byte if byte & 2 == 2 => {
                    CheckKind::Grpc { service: self.text(), tls: self.bit(), host: self.some(Draw::text) }
                }
                _ => CheckKind::Http { path: self.text(), tls: self.bit(), host: self.some(Draw::text) },
            },
            interval: self.millis(),
            timeout: self.millis(),
            unhealthy_after: self.byte(),
            healthy_after: self.byte(),
        }
    }
    pub(crate) fn service(&mut self) -> Service {
        Service {
            name: self.name(),
            listener: Listener { name: self.name(), address: self.text(), port: self.u16() },
            domains: self.list(Draw::text),
            routes: self.list(|d| Route {
                prefix: d.text(),
                timeout: d.millis(),
                per_try_timeout: d.millis(),
                retries: d.byte(),
            }),
            classes: self.list(Draw::class),
            unmatched: self.some(Draw::class),
            check: self.check(),
        }
    }
    fn residency_class(&mut self) -> Class {
        let mut only: BTreeSet<_> = self.list(Draw::law).into_iter().collect();
        only.insert(self.law());
        Class {
            name: self.name(),
            service: ServiceIx(self.u32()),
            permitted: if self.bit() { Permitted::Anywhere } else { Permitted::Only(only) },
            matched_by: if self.bit() {
                ClassMatch::Host(self.text())
            } else {
                ClassMatch::Header { name: self.text(), value: self.text() }
            },
            client_can_set: self.bit(),
            priority: self.byte(),
            demand: self.list(|d| Demand { group: d.group(), load: MilliRps(d.u64()) }),
            provider_share_max: self.bps(),
            migration_cost: self.money(),
        }
    }
    pub(crate) fn fleet(&mut self) -> Fleet {
        Fleet {
            revision: Revision(self.bytes32()),
            providers: self.list(|d| Provider { name: d.name() }),
            areas: self.list(|d| Area { name: d.name(), rings: d.list(|d| d.list(|d| AreaIx(d.u16()))) }),
            regions: self.list(|d| Region {
                name: d.region_name(),
                provider: ProviderIx(d.u16()),
                jurisdiction: d.law(),
                area: AreaIx(d.u16()),
                zone: d.some(Draw::name),
                capacity: MilliRps(d.u64()),
                safe_utilisation: d.bps(),
                cost_per_million: d.money(),
                vantage_only: d.bit(),
            }),
            services: self.list(Draw::service),
            classes: self.list(Draw::residency_class),
            endpoints: self.list(|d| Endpoint {
                name: d.name(),
                service: ServiceIx(d.u32()),
                region: d.region(),
                host: d.text(),
                port: d.u16(),
            }),
            vantages: self.list(|d| Vantage { name: d.name(), region: d.region(), gossip: d.text() }),
            references: self.list(|d| Reference { name: d.name(), address: d.text(), network: d.name() }),
            groups: self.list(|d| ClientGroup { name: d.name(), area: AreaIx(d.u16()), jurisdiction: d.law() }),
            rules: Rules {
                min_regions_on: self.u16(),
                share_cap: self.bps(),
                settle: self.millis(),
                min_residency: self.millis(),
                report_fresh: self.millis(),
                doubt_window: self.millis(),
                unknown_alarm: self.millis(),
                up_after: self.millis(),
                economic_margin: self.bps(),
                freeze: self.list(|d| FreezeWindow { from: d.wall(), until: d.wall(), reason: d.text() }),
            },
            apis: self.list(|d| ProviderApi {
                provider: ProviderIx(d.u16()),
                host: d.text(),
                port: d.u16(),
                check: d.check(),
            }),
        }
    }
    pub(crate) fn mask(&mut self) -> Mask {
        let answer: Maker<_> = |d| ((d.class(), d.law(), d.kind()), PolicyAnswer { allow: d.bit(), reason: d.text() });
        Mask { bundle: self.bytes32(), answers: self.list(answer).into_iter().collect::<BTreeMap<_, _>>() }
    }
    fn scope(&mut self) -> Scope {
        if self.bit() { Scope::Provider(ProviderIx(self.u16())) } else { Scope::Region(self.region()) }
    }
    fn switch(&mut self) -> Switch {
        match self.bit() {
            true => Switch::On,
            false => Switch::Paused { reason: self.text(), by: Subject(self.text()), until: self.some(Draw::wall) },
        }
    }
    pub(crate) fn intents(&mut self) -> Intents {
        Intents {
            drains: self.list(|d| Drain {
                id: d.u64(),
                scope: d.scope(),
                service: d.some(|d| ServiceIx(d.u32())),
                until: d.some(Draw::wall),
                grace: d.millis(),
                reason: d.text(),
                by: Subject(d.text()),
                at: d.wall(),
            }),
            restores: self.list(|d| Restore {
                scope: d.scope(),
                service: d.some(|d| ServiceIx(d.u32())),
                at: d.wall(),
            }),
            automation: Automation { safety: self.switch(), economic: self.switch() },
            ramps_paused: self.bit(),
            ramps_aborted_until: self.some(Draw::wall),
            api_words: self.list(|d| ApiWord {
                provider: ProviderIx(d.u16()),
                trouble: d.bit(),
                reason: d.text(),
                by: Subject(d.text()),
                until: d.wall(),
            }),
        }
    }
    fn target(&mut self) -> TargetState {
        [TargetState::Unseen, TargetState::Ok, TargetState::Slow, TargetState::Failing][usize::from(self.below(4))]
    }
    pub(crate) fn view(&mut self) -> View {
        View {
            reports: self.list(|d| {
                d.some(|d| VantageReport {
                    vantage: VantageIx(d.u16()),
                    incarnation: d.u64(),
                    sequence: d.u64(),
                    revision: Revision(d.bytes32()),
                    arrived: d.mono(),
                    own: VantageSelf {
                        references_reached: d.byte(),
                        reference_networks: d.byte(),
                        self_doubt: d.bit(),
                    },
                    targets: d.list(Draw::target),
                    rtt: d.list(|d| RttClass(d.byte())),
                })
            }),
            measured_demand: self.list(|d| (d.class(), d.group(), MilliRps(d.u64()))),
            traffic: self.list(|d| Traffic {
                service: ServiceIx(d.u32()),
                region: d.region(),
                group: d.group(),
                edges: d.u32(),
                erring: d.u32(),
                failing: d.u32(),
                answered: d.u32(),
                issued: d.u64(),
                errors: d.u64(),
                slow: d.u32(),
                slow_requests: d.u64(),
                slow_took: d.millis(),
                slow_usual: d.millis(),
            }),
            held_receivers: self.list(Draw::region),
            intents: self.intents(),
            wall: self.wall(),
            lost_members: self.list(|d| VantageIx(d.u16())),
        }
    }
    pub(crate) fn plan(&mut self) -> Plan {
        Plan {
            fleet: Revision(self.bytes32()),
            splits: self.list(|d| ClassSplit {
                class: d.class(),
                group: d.group(),
                serving: match d.below(3) {
                    0 => Serving::WrongJurisdiction,
                    1 => Serving::NoPlace,
                    _ => Serving::Routed { shed: d.bps() },
                },
                weights: d.list(|d| Weight { region: d.region(), share: d.bps() }),
                spill: d.rings(),
            }),
            endpoints_out: self.list(Draw::endpoint),
        }
    }
    fn api_trouble(&mut self) -> ApiTrouble {
        ApiTrouble {
            provider: ProviderIx(self.u16()),
            since: self.mono(),
            cause: match self.bit() {
                true => ApiCause::Told { by: self.text(), reason: self.text() },
                false => ApiCause::Probed {
                    well_since: self.some(Draw::mono),
                    failing: self.u16(),
                    eligible: self.u16(),
                    electorate: self.u16(),
                },
            },
        }
    }
    pub(crate) fn state(&mut self) -> State {
        State {
            endpoints: self.list(|d| EndpointHealth {
                health: d.health(),
                since: d.mono(),
                well_since: d.some(Draw::mono),
            }),
            regions: self.list(|d| (d.health(), d.mono())),
            providers: self.list(|d| (d.health(), d.mono())),
            recent_downs: self.list(|d| (d.endpoint(), d.mono())),
            plan: self.some(Draw::plan),
            before_downs: self.list(|d| WeightSnapshot { at: d.mono(), plan: d.plan() }),
            ramps: self.list(|d| Ramp {
                class: d.class(),
                group: d.group(),
                kind: d.kind(),
                started: d.mono(),
                stepped: d.mono(),
                phase: if d.bit() { RampPhase::Settling } else { RampPhase::Held },
            }),
            moved: self.list(|d| d.some(Draw::mono)),
            returning: self.list(Draw::region),
            forced: self.list(|d| d.some(Draw::mono)),
            displaced: self.list(Draw::displaced),
            cut_off: self.list(|d| CutOff {
                vantage: VantageIx(d.u16()),
                since: d.mono(),
                cause: match d.bit() {
                    true => CutOffCause::References { reached: d.byte() },
                    false => CutOffCause::Contradicted {
                        failing: d.u32(),
                        targets: d.u32(),
                        providers: d.u16(),
                        others: d.u16(),
                    },
                },
                well_since: d.some(Draw::mono),
            }),
            paths: self.list(|d| PathFailure {
                from: if d.bit() { PathFrom::Group(d.group()) } else { PathFrom::Provider(ProviderIx(d.u16())) },
                to: d.region(),
                since: d.mono(),
                well_since: d.some(Draw::mono),
                failing: d.u16(),
                near: d.u16(),
                well: d.u16(),
                elsewhere: d.u16(),
            }),
            blamed: self.list(Draw::blame),
            apis: self.list(Draw::api_trouble),
            partition: self.some(|d| Partition { since: d.mono(), lost: d.list(|d| VantageIx(d.u16())) }),
            suspected_paths: self.list(|d| SuspectedPath {
                from: if d.bit() { PathFrom::Group(d.group()) } else { PathFrom::Provider(ProviderIx(d.u16())) },
                to: d.region(),
                since: d.mono(),
            }),
            unheard: self.list(|d| Unheard { provider: ProviderIx(d.u16()), until: d.some(Draw::mono) }),
            received: self.list(Draw::received),
            followed: self.list(Draw::followed),
        }
    }
    fn blame(&mut self) -> Blame {
        Blame {
            service: ServiceIx(self.u32()),
            region: self.region(),
            health: self.health(),
            since: self.mono(),
            seen: self.mono(),
            relapses: self.byte(),
            against: self.u32(),
            edges: self.u32(),
            rate: self.bps(),
            slowness: self.some(Draw::slowness),
        }
    }
    fn received(&mut self) -> Received {
        Received {
            service: ServiceIx(self.u32()),
            from: self.region(),
            to: self.region(),
            since: self.mono(),
            at: self.mono(),
            usual: self.bps(),
        }
    }
    fn followed(&mut self) -> Followed {
        Followed {
            service: ServiceIx(self.u32()),
            from: self.region(),
            to: self.region(),
            since: self.mono(),
            until: self.mono(),
            origin: self.bps(),
            rate: self.bps(),
            slow: self.bit(),
        }
    }
    fn slowness(&mut self) -> Slowness {
        Slowness { took: self.millis(), usual: self.millis() }
    }
    fn displaced(&mut self) -> Displaced {
        Displaced { class: self.class(), group: self.group(), region: self.region(), share: self.bps() }
    }
    fn accused(&mut self) -> Accused {
        match self.below(3) {
            0 => Accused::Endpoint(self.endpoint()),
            1 => Accused::Region(self.region()),
            _ => Accused::Provider(ProviderIx(self.u16())),
        }
    }
    pub(crate) fn verdict(&mut self) -> Verdict {
        use VoteKind::*;
        Verdict {
            accused: self.accused(),
            health: self.health(),
            since: self.mono(),
            electorate: self.u16(),
            eligible: self.u16(),
            agreeing: self.u16(),
            agreeing_providers: self.u16(),
            votes: self.list(|d| Vote {
                vantage: VantageIx(d.u16()),
                kind: [Up, Slow, Down, Unseen, Stale, CutOff, SelfDoubt, OtherRevision][usize::from(d.below(8))],
                age: d.some(Draw::millis),
            }),
        }
    }
    pub(crate) fn reason(&mut self) -> Reason {
        match self.below(27) {
            0 => Reason::Chosen,
            1 => Reason::NotPermitted { jurisdiction: self.law() },
            2 => Reason::DeniedByPolicy { kind: self.kind(), reason: self.text() },
            3 => Reason::Unfit { accused: self.accused(), health: self.health() },
            4 => Reason::ComingUp { left: self.millis() },
            5 => Reason::Drained { id: self.u64() },
            6 => Reason::NoEndpoint,
            7 => Reason::Full { limit: MilliRps(self.u64()) },
            8 => Reason::FartherRing { ring: self.u16() },
            9 => Reason::Dearer,
            10 => Reason::ProviderShare { max: self.bps() },
            11 => Reason::ShareCap { cap: self.bps(), left: self.millis() },
            12 => Reason::MinResidency { left: self.millis() },
            13 => Reason::Frozen { reason: self.text() },
            14 => Reason::AutomationPaused { kind: self.kind() },
            15 => Reason::RampHeld,
            16 => Reason::NotWorthIt { margin: self.bps() },
            17 => Reason::Doubted,
            18 => Reason::AllDownHeld,
            19 => Reason::SafetyFirst,
            20 => Reason::Unsettled { left: self.millis() },
            25 => Reason::Followed { from: self.region(), to: self.region() },
            22 => Reason::Erring { against: self.u32(), edges: self.u32(), rate: self.bps() },
            21 => Reason::NotReached { failing: self.u16(), near: self.u16(), well: self.u16(), elsewhere: self.u16() },
            23 => Reason::ApiTrouble { provider: ProviderIx(self.u16()) },
            24 => Reason::Slow { against: self.u32(), edges: self.u32(), slowness: self.slowness() },
            _ => Reason::Assertion { rule: self.text() },
        }
    }
    pub(crate) fn report(&mut self) -> Report {
        Report {
            splits: self.list(|d| SplitReport {
                class: d.class(),
                group: d.group(),
                regions: d.list(|d| RegionReport {
                    region: d.region(),
                    disposition: match d.below(3) {
                        0 => Disposition::Idle,
                        1 => Disposition::Excluded,
                        _ => Disposition::Carries(d.bps()),
                    },
                    reasons: d.list(Draw::reason),
                }),
                waits: d.list(Draw::reason),
            }),
            moves: self.list(|d| Move {
                class: d.class(),
                group: d.group(),
                kind: d.kind(),
                share: d.bps(),
                cause: d.reason(),
            }),
            alarms: self.list(|d| match d.below(10) {
                0 => Alarm::AllDown { class: d.class() },
                1 => Alarm::NoPlace { class: d.class() },
                2 => Alarm::Doubt { service: ServiceIx(d.u32()) },
                3 => Alarm::Shedding { class: d.class(), group: d.group(), shed: d.bps() },
                4 => Alarm::LongUnknown { region: d.region() },
                5 => Alarm::CutOff { vantage: VantageIx(d.u16()) },
                6 => Alarm::ApiTrouble { provider: ProviderIx(d.u16()) },
                7 => Alarm::Partition,
                8 => Alarm::Followed { service: ServiceIx(d.u32()) },
                _ => Alarm::PlanRefused { fault: d.text() },
            }),
        }
    }
    pub(crate) fn input(&mut self) -> CycleInput {
        let (fleet, mask) = (Arc::new(self.fleet()), Arc::new(self.mask()));
        CycleInput { fleet, mask, state: self.state(), view: self.view(), now: self.mono() }
    }
    pub(crate) fn input_parts(&mut self) -> InputParts {
        let (fleet, mask) = (BlobHash(self.bytes32()), BlobHash(self.bytes32()));
        InputParts { fleet, mask, state: self.state(), view: self.view(), now: self.mono() }
    }
    pub(crate) fn output(&mut self) -> CycleOutput {
        CycleOutput {
            state: self.state(),
            verdicts: self.list(Draw::verdict),
            report: self.report(),
            wake: self.some(Draw::mono),
        }
    }
    pub(crate) fn decision(&mut self) -> Decision {
        Decision {
            id: self.u64(),
            at: self.wall(),
            generation: self.u64(),
            term: self.u64(),
            parent_generation: self.u64(),
            input: BlobHash(self.bytes32()),
            input_range: (self.u64(), self.u64()),
            fleet: Revision(self.bytes32()),
            policy: self.bytes32(),
            kernel_version: self.text(),
            seed: self.u64(),
            output_hash: self.bytes32(),
            moves: self.list(|d| MoveSummary {
                class: d.text(),
                group: d.name(),
                kind: d.kind(),
                share: d.bps(),
                why: d.text(),
            }),
            summary: self.text(),
        }
    }
    pub(crate) fn committed(&mut self) -> CommittedPlan {
        CommittedPlan {
            generation: self.u64(),
            term: self.u64(),
            fleet: Revision(self.bytes32()),
            decision: self.u64(),
            plan: self.plan(),
            fleet_blob: BlobHash(self.bytes32()),
            returning: self.list(Draw::region),
            displaced: self.list(Draw::displaced),
            ramps: self.list(|d| UnderWay { class: d.class(), group: d.group(), kind: d.kind() }),
        }
    }
    fn place(&mut self) -> Place {
        if self.bit() { Place::Provider(self.name()) } else { Place::Region(self.region_name()) }
    }
    fn event(&mut self) -> EventKind {
        use EventKind as E;
        match self.below(22) {
            0 => E::DrainRequested {
                id: self.u64(),
                place: self.place(),
                service: self.some(Draw::name),
                until: self.some(Draw::wall),
            },
            1 => E::Restored { place: self.place(), service: self.some(Draw::name) },
            2 => E::DrainExpired { id: self.u64(), place: self.place(), service: self.some(Draw::name) },
            3 => E::AutomationPaused { kind: self.kind(), until: self.some(Draw::wall) },
            4 => E::AutomationResumed { kind: self.kind() },
            5 => E::ConfigReloaded {
                from: Revision(self.bytes32()),
                to: Revision(self.bytes32()),
                yes_remove: self.bit(),
                accept_gap: self.bit(),
                gaps: self.list(Draw::text),
            },
            6 => E::Refused { asked: self.text(), why: self.text() },
            7 => {
                E::Acked { node: self.text(), resource_type: self.text(), version: self.text(), generation: self.u64() }
            }
            8 => E::Nacked { node: self.text(), resource_type: self.text(), version: self.text(), words: self.text() },
            9 => E::AlarmRaised { alarm: self.text() },
            10 => E::AlarmCleared { alarm: self.text() },
            11 => E::VerdictChanged {
                accused: self.text(),
                from: self.health(),
                to: self.health(),
                evidence: self.text(),
            },
            12 => E::RampsPaused,
            13 => E::RampsResumed,
            14 => E::RampsAborted,
            15 => E::TermTaken { term: self.u64() },
            16 => E::FindingChanged {
                about: self.text(),
                finding: self.text(),
                stands: self.bit(),
                evidence: self.text(),
            },
            17 => E::ApiSaid { provider: self.name(), trouble: self.bit(), until: self.wall() },
            18 => E::ApiWordEnded { provider: self.name() },
            19 => E::ProberInvited { vantage: self.name(), until: self.wall() },
            20 => E::ProberJoined { vantage: self.name() },
            _ => E::Started { version: self.text() },
        }
    }
    pub(crate) fn body(&mut self) -> EntryBody {
        if self.bit() {
            EntryBody::Decision(self.decision())
        } else {
            EntryBody::Event(Event {
                subject: Subject(self.text()),
                reason: self.text(),
                kind: self.event(),
                decision: self.some(Draw::u64),
            })
        }
    }
    pub(crate) fn entry(&mut self) -> Entry {
        Entry { sequence: self.u64(), at: self.wall(), previous_hash: self.bytes32(), body: self.body() }
    }
    pub(crate) fn row(&mut self) -> Row {
        Row {
            value: self.list(Draw::byte),
            created: self.u64(),
            modified: self.u64(),
            version: self.u64(),
            lease: self.some(Draw::u64),
        }
    }
    pub(crate) fn batch(&mut self) -> Batch {
        Batch { revision: self.u64(), changes: self.list(|d| (d.text(), d.some(Draw::row))) }
    }
    pub(crate) fn lease(&mut self) -> LeaseRow {
        LeaseRow { id: self.u64(), ttl: self.millis() }
    }
    pub(crate) fn named(&mut self) -> NamedIntents {
        NamedIntents {
            drains: self.list(|d| NamedDrain {
                id: d.u64(),
                place: d.place(),
                service: d.some(Draw::name),
                until: d.some(Draw::wall),
                grace: d.millis(),
                reason: d.text(),
                by: Subject(d.text()),
                at: d.wall(),
            }),
            restores: self.list(|d| NamedRestore { place: d.place(), service: d.some(Draw::name), at: d.wall() }),
            automation: Automation { safety: self.switch(), economic: self.switch() },
            ramps_paused: self.bit(),
            ramps_aborted_until: self.some(Draw::wall),
            api_words: self.list(|d| NamedApiWord {
                provider: d.name(),
                trouble: d.bit(),
                reason: d.text(),
                by: Subject(d.text()),
                until: d.wall(),
            }),
        }
    }
}
