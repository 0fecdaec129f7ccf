//! The machine against a model: whatever a client does and whatever is published, it never receives what it has not
//! asked for, never two responses at once, and in the end holds the snapshot restricted to its subscription.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use proptest::prelude::*;
use prost::Message;
use tidegate_xds::TypeUrl;
use tidegate_xds::server::{Limits, Published, StreamMachine};

use crate::support::{request, snapshot, variant};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Type, name and content of everything published.
type World = BTreeMap<(TypeUrl, &'static str), u8>;

#[derive(Debug, Clone)]
enum Step {
    Publish(Vec<(TypeUrl, &'static str, Option<u8>)>),
    Subscribe(TypeUrl, Vec<&'static str>),
    Unsubscribe(TypeUrl, Vec<&'static str>),
    Ack(TypeUrl),
    Nack(TypeUrl),
    Stale(TypeUrl),
    Reconnect,
}

fn type_url() -> impl Strategy<Value = TypeUrl> {
    prop::sample::select(TypeUrl::ALL.to_vec())
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    let name = prop::sample::select([&NAMES[..], &["*"]].concat());
    prop::collection::vec(name, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let change = (type_url(), prop::sample::select(NAMES.to_vec()), prop::option::weighted(0.7, 0..3_u8));
    prop_oneof![
        3 => prop::collection::vec(change, 1..6).prop_map(Step::Publish),
        2 => (type_url(), names()).prop_map(|(t, n)| Step::Subscribe(t, n)),
        1 => (type_url(), names()).prop_map(|(t, n)| Step::Unsubscribe(t, n)),
        6 => type_url().prop_map(Step::Ack),
        1 => type_url().prop_map(Step::Nack),
        1 => type_url().prop_map(Step::Stale),
        1 => Just(Step::Reconnect),
    ]
}

#[derive(Debug, Default)]
struct ClientType {
    started: bool,
    wildcard: bool,
    names: BTreeSet<String>,
    /// Name → version, as the client took them.
    holds: BTreeMap<String, String>,
    outstanding: Option<DeltaDiscoveryResponse>,
    /// The wildcard is new: an empty response may say that there is nothing, once.
    unanswered: bool,
    /// Told by name that it does not exist.
    told_missing: BTreeSet<String>,
}

impl ClientType {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }
}

struct Run {
    world: World,
    published: Arc<Published>,
    machine: StreamMachine,
    client: BTreeMap<TypeUrl, ClientType>,
    limits: Limits,
    now_ms: u64,
}

fn publish(world: &World, seq: u64) -> Arc<Published> {
    let contents: Vec<(TypeUrl, &str, String)> =
        world.iter().map(|((t, n), c)| (*t, *n, format!("{c}:{}", "x".repeat(usize::from(*c) * 40)))).collect();
    let items: Vec<_> = contents.iter().map(|(t, n, c)| (*t, *n, c.as_str())).collect();
    Arc::new(Published { snapshot: snapshot(&items), tag: seq * 10, seq })
}

impl Run {
    fn new(limits: Limits) -> Self {
        let world = World::new();
        let published = publish(&world, 1);
        let machine = StreamMachine::new(limits.clone(), variant(), Arc::clone(&published), 0).unwrap();
        Self { world, published, machine, client: BTreeMap::new(), limits, now_ms: 0 }
    }

    fn step(&mut self, step: Step) {
        self.now_ms += 7;
        match step {
            Step::Publish(changes) => {
                for (type_url, name, content) in changes {
                    match content {
                        Some(content) => self.world.insert((type_url, name), content),
                        None => self.world.remove(&(type_url, name)),
                    };
                }
                self.published = publish(&self.world, self.published.seq + 1);
                self.machine.on_published(&self.published).unwrap();
            }
            Step::Subscribe(type_url, names) => self.subscribe(type_url, &names),
            Step::Unsubscribe(type_url, names) => self.unsubscribe(type_url, &names),
            Step::Ack(type_url) => self.answer(type_url, false),
            Step::Nack(type_url) => self.answer(type_url, true),
            Step::Stale(type_url) => {
                if self.client.get(&type_url).is_some_and(|c| c.started) {
                    self.send(&DeltaDiscoveryRequest { response_nonce: "bogus".into(), ..request(type_url) });
                }
            }
            Step::Reconnect => self.reconnect(),
        }
        self.drain();
    }

    fn send(&mut self, request: &DeltaDiscoveryRequest) {
        self.machine.on_request(request, self.now_ms).unwrap();
    }

    fn subscribe(&mut self, type_url: TypeUrl, names: &[&str]) {
        let client = self.client.entry(type_url).or_default();
        client.started = true;
        for name in names {
            client.told_missing.remove(*name);
            if *name == "*" {
                client.unanswered |= !client.wildcard;
                client.wildcard = true;
            } else {
                client.names.insert((*name).into());
            }
        }
        let resource_names_subscribe = names.iter().map(|n| (*n).to_owned()).collect();
        self.send(&DeltaDiscoveryRequest { resource_names_subscribe, ..request(type_url) });
    }

    fn unsubscribe(&mut self, type_url: TypeUrl, names: &[&str]) {
        let Some(client) = self.client.get_mut(&type_url).filter(|c| c.started) else { return };
        for name in names {
            if *name == "*" {
                (client.wildcard, client.unanswered) = (false, false);
            } else if client.names.remove(*name) {
                // By the protocol the client drops it now, even under a wildcard, and is told of it again.
                client.holds.remove(*name);
            }
        }
        let (wildcard, names_left) = (client.wildcard, client.names.clone());
        client.holds.retain(|name, _| wildcard || names_left.contains(name));
        let resource_names_unsubscribe = names.iter().map(|n| (*n).to_owned()).collect();
        self.send(&DeltaDiscoveryRequest { resource_names_unsubscribe, ..request(type_url) });
    }

    fn answer(&mut self, type_url: TypeUrl, refuse: bool) {
        let Some(client) = self.client.get_mut(&type_url) else { return };
        let Some(response) = client.outstanding.take() else { return };
        let error_detail = refuse.then(|| RpcStatus { message: "no".into(), ..RpcStatus::default() });
        if !refuse {
            for resource in &response.resources {
                if client.wants(&resource.name) {
                    client.holds.insert(resource.name.clone(), resource.version.clone());
                }
            }
            for name in &response.removed_resources {
                client.holds.remove(name);
            }
        }
        self.send(&DeltaDiscoveryRequest { response_nonce: response.nonce, error_detail, ..request(type_url) });
    }

    fn reconnect(&mut self) {
        let published = Arc::clone(&self.published);
        self.machine = StreamMachine::new(self.limits.clone(), variant(), published, self.now_ms).unwrap();
        let types: Vec<TypeUrl> = self.client.keys().copied().collect();
        for type_url in types {
            let client = self.client.get_mut(&type_url).unwrap();
            (client.outstanding, client.started) = (None, client.wildcard || !client.names.is_empty());
            client.told_missing.clear();
            client.unanswered = client.wildcard;
            if !client.started {
                continue;
            }
            let star = client.wildcard.then(|| "*".to_owned());
            let first = DeltaDiscoveryRequest {
                resource_names_subscribe: star.into_iter().chain(client.names.iter().cloned()).collect(),
                initial_resource_versions: client.holds.clone().into_iter().collect(),
                ..request(type_url)
            };
            self.send(&first);
        }
    }

    fn drain(&mut self) {
        while let Some(response) = self.machine.next_response(self.now_ms) {
            let frames = response.frames("m");
            assert!(frames.len() <= 4, "{} frames", frames.len());
            let message = response.message_bytes("m");
            assert_eq!(u32::from_be_bytes(frames[0][1..5].try_into().unwrap()) as usize, message.len());
            let response = DeltaDiscoveryResponse::decode(message.as_slice()).unwrap();
            let type_url = TypeUrl::parse(&response.type_url).unwrap();
            let client = self.client.get_mut(&type_url).expect("a type that was never asked for");
            assert!(client.outstanding.is_none(), "two responses of {type_url} at once");
            let mut seen = BTreeSet::new();
            let named = response.resources.iter().map(|r| &r.name).chain(&response.removed_resources);
            for name in named {
                assert!(seen.insert(name.clone()), "{name} twice in one response");
            }
            for resource in &response.resources {
                assert!(client.wants(&resource.name), "{} was not asked for", resource.name);
                let published = self.world.keys().any(|(t, n)| *t == type_url && *n == resource.name);
                assert!(published, "{} is not in the newest snapshot", resource.name);
            }
            // The protocol's "knowing when a requested resource does not exist": the client is to determine it "without
            // waiting for a timeout". For a wildcard without resources only an empty response can say so.
            assert!(!seen.is_empty() || client.unanswered, "an empty response");
            client.unanswered = false;
            client.told_missing.extend(response.removed_resources.iter().cloned());
            client.outstanding = Some(response);
        }
    }

    /// ACKs everything until nothing comes, then compares.
    fn settle_and_check(mut self) {
        // What was refused is held back until it changes: change everything, so that nothing is refused any more.
        let mut changed: Vec<_> = self.world.iter().map(|((t, n), c)| (*t, *n, Some(c + 10))).collect();
        changed.extend(TypeUrl::ALL.map(|t| (t, "z", Some(0))));
        self.now_ms += self.limits.removal_grace_ms;
        self.step(Step::Publish(changed));
        for round in 0.. {
            assert!(round < 200, "it does not come to rest");
            let waiting: Vec<TypeUrl> =
                self.client.iter().filter(|(_, c)| c.outstanding.is_some()).map(|(t, _)| *t).collect();
            if waiting.is_empty() {
                break;
            }
            for type_url in waiting {
                self.step(Step::Ack(type_url));
            }
        }
        for (type_url, client) in &self.client {
            let variant = variant();
            let table = self.published.snapshot.resources(&variant, *type_url);
            let expected: BTreeMap<String, String> = table
                .filter(|r| client.wants(r.name()))
                .map(|r| (r.name().to_string(), r.version().to_string()))
                .collect();
            assert_eq!(client.holds, expected, "{type_url}");
            assert!(!client.unanswered, "the wildcard of {type_url} was never answered");
            if client.started {
                let newest = Some((self.published.tag, self.published.seq));
                assert_eq!(self.machine.synced(*type_url), newest, "{type_url} counts as acked");
                for name in client.names.iter().filter(|n| !expected.contains_key(*n)) {
                    assert!(client.told_missing.contains(name), "{name} was never said to be missing");
                }
            }
        }
    }
}

fn check(steps: impl IntoIterator<Item = Step>) {
    let mut run = Run::new(Limits::default());
    for step in steps {
        run.step(step);
    }
    run.settle_and_check();
}

/// Runs that once lost a removal, each in its own way.
#[test]
fn a_removal_is_never_lost() {
    let there = |content| Step::Publish(vec![(TypeUrl::Eds, "c", content)]);
    let star = || Step::Subscribe(TypeUrl::Eds, vec!["*"]);
    let leave = |name| Step::Unsubscribe(TypeUrl::Eds, vec![name]);
    let ack = || Step::Ack(TypeUrl::Eds);
    // A phantom unsubscribe, under a wildcard, of what is about to be removed.
    check([star(), ack(), there(Some(0)), there(None), leave("c")]);
    // A removal that the client refused.
    check([star(), ack(), there(Some(0)), ack(), there(None), Step::Nack(TypeUrl::Eds)]);
    // Left and wanted again while a response that brings it is under way; then gone, before or after.
    check([there(Some(0)), star(), there(None), leave("*"), star()]);
    check([there(Some(0)), star(), leave("*"), star(), there(None)]);
}

#[test]
fn a_refused_removal_is_not_taken_for_accepted() {
    let mut run = Run::new(Limits::default());
    let there = |content| Step::Publish(vec![(TypeUrl::Eds, "c", content)]);
    run.step(Step::Subscribe(TypeUrl::Eds, vec!["*"]));
    run.step(Step::Ack(TypeUrl::Eds));
    run.step(there(Some(0)));
    run.step(Step::Ack(TypeUrl::Eds));
    run.step(there(None));
    run.step(Step::Nack(TypeUrl::Eds));
    assert_eq!(run.machine.synced(TypeUrl::Eds), Some((20, 2)), "the removal's generation is 30");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_client_converges_and_never_receives_what_it_must_not(
        steps in prop::collection::vec(step(), 1..60),
        small_responses in any::<bool>(),
    ) {
        let mut limits = Limits::default();
        if small_responses {
            limits.response_bytes_max = 400;
        }
        let mut run = Run::new(limits);
        for step in steps {
            run.step(step);
        }
        run.settle_and_check();
    }
}
