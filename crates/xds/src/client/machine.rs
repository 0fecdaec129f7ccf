//! The subscriber as a machine without IO: what is wanted, what is known, what awaits the caller's judgement.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status as RpcStatus;

use crate::TypeUrl;

/// gRPC's INVALID_ARGUMENT, the code of a NACK.
const INVALID_ARGUMENT: i32 = 3;

/// How the subscriber names itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// `node.id`; must not be empty.
    pub id: String,
    /// `node.cluster`
    pub cluster: String,
    /// `node.locality.region`
    pub region: String,
    /// `node.locality.zone`
    pub zone: String,
    /// `node.user_agent_name`
    pub user_agent: String,
    /// `node.user_agent_version`
    pub user_agent_version: String,
}

impl NodeIdentity {
    pub(super) fn to_node(&self) -> Node {
        Node {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            locality: Some(Locality { region: self.region.clone(), zone: self.zone.clone(), sub_zone: String::new() }),
            user_agent_name: self.user_agent.clone(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(self.user_agent_version.clone())),
            ..Node::default()
        }
    }
}

/// A resource that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedResource {
    /// Its name.
    pub name: String,
    /// Its version, as the server says.
    pub version: String,
    /// The value of its `Any`: the encoded message of the update's type. Empty when content is discarded.
    pub value: Bytes,
}

/// Which response an answer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpdateToken {
    /// The type.
    pub type_url: TypeUrl,
    /// Counts connections; an answer to an earlier one is dropped.
    pub connection: u64,
    /// The response's nonce.
    pub nonce: String,
}

/// One response. It must be answered by ACK or NACK; until then the server sends nothing more of this type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Type, connection and nonce: what the answer names.
    pub token: UpdateToken,
    /// New and changed resources.
    pub added: Vec<AddedResource>,
    /// Gone, or asked for and not there.
    pub removed: Vec<String>,
    /// `system_version_info` as a number, if it is one: the server's generation.
    pub tag: Option<u64>,
    /// `control_plane.identifier`: which server.
    pub control_plane: String,
}

#[derive(Debug)]
struct Pending {
    token: UpdateToken,
    added: Vec<(String, String)>,
    removed: Vec<String>,
}

#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// Name → version that the caller accepted.
    known: BTreeMap<String, String>,
    pending: Option<Pending>,
    /// A request was sent on this connection.
    started: bool,
}

impl Subscription {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn is_wanted(&self) -> bool {
        self.wildcard || !self.names.is_empty()
    }
}

/// A delta subscriber.
#[derive(Debug)]
pub struct ClientMachine {
    node: NodeIdentity,
    subscriptions: BTreeMap<TypeUrl, Subscription>,
    connection: u64,
    connected: bool,
    node_sent: bool,
}

impl ClientMachine {
    /// A subscriber to nothing yet.
    #[must_use]
    pub fn new(node: NodeIdentity) -> Self {
        Self { node, subscriptions: BTreeMap::new(), connection: 0, connected: false, node_sent: false }
    }

    /// Tells it what an earlier run had accepted (name → version), so that only the difference is sent. The caller
    /// must still hold that content.
    pub fn seed(&mut self, type_url: TypeUrl, known: BTreeMap<String, String>) {
        self.subscriptions.entry(type_url).or_default().known = known;
    }

    /// Accepted names and versions, for [`ClientMachine::seed`] after a restart.
    #[must_use]
    pub fn known(&self, type_url: TypeUrl) -> Option<&BTreeMap<String, String>> {
        self.subscriptions.get(&type_url).map(|s| &s.known)
    }

    /// Wants `names` too; `*` is everything. Returns what to send now.
    pub fn subscribe(&mut self, type_url: TypeUrl, names: &[String]) -> Option<DeltaDiscoveryRequest> {
        let subscription = self.subscriptions.entry(type_url).or_default();
        let mut fresh = Vec::new();
        for name in names {
            let new = match name.as_str() {
                "*" => !std::mem::replace(&mut subscription.wildcard, true),
                _ => subscription.names.insert(name.clone()),
            };
            if new {
                fresh.push(name.clone());
            }
        }
        if !self.connected || fresh.is_empty() {
            return None;
        }
        if !subscription.started {
            return self.first_request(type_url);
        }
        Some(self.request(type_url, |r| r.resource_names_subscribe = fresh))
    }

    /// Wants `names` no more. Returns what to send now.
    pub fn unsubscribe(&mut self, type_url: TypeUrl, names: &[String]) -> Option<DeltaDiscoveryRequest> {
        let subscription = self.subscriptions.get_mut(&type_url)?;
        let mut left = Vec::new();
        for name in names {
            let was = match name.as_str() {
                "*" => std::mem::replace(&mut subscription.wildcard, false),
                _ => subscription.names.remove(name),
            };
            if was {
                left.push(name.clone());
            }
        }
        let (wildcard, wanted) = (subscription.wildcard, &subscription.names);
        subscription.known.retain(|name, _| wildcard || wanted.contains(name));
        if !self.connected || !subscription.started || left.is_empty() {
            return None;
        }
        Some(self.request(type_url, |r| r.resource_names_unsubscribe = left))
    }

    /// A connection stands: the requests that open it, in make-before-break order.
    pub fn on_connected(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.connection += 1;
        (self.connected, self.node_sent) = (true, false);
        for subscription in self.subscriptions.values_mut() {
            (subscription.started, subscription.pending) = (false, None);
        }
        let wanted: Vec<TypeUrl> = self.subscriptions.iter().filter(|(_, s)| s.is_wanted()).map(|(t, _)| *t).collect();
        wanted.into_iter().filter_map(|t| self.first_request(t)).collect()
    }

    /// Counts connections from 1.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// The connection is gone.
    pub fn on_disconnected(&mut self) {
        self.connected = false;
    }

    /// A response came. `None`: it is of a type that was never asked for.
    pub fn on_response(&mut self, response: DeltaDiscoveryResponse, keep_content: bool) -> Option<Update> {
        let type_url = TypeUrl::parse(&response.type_url)?;
        let subscription = self.subscriptions.get_mut(&type_url)?;
        let token = UpdateToken { type_url, connection: self.connection, nonce: response.nonce };
        let added: Vec<AddedResource> = response
            .resources
            .into_iter()
            .map(|r| AddedResource {
                name: r.name,
                version: r.version,
                value: r.resource.filter(|_| keep_content).map(|any| Bytes::from(any.value)).unwrap_or_default(),
            })
            .collect();
        subscription.pending = Some(Pending {
            token: token.clone(),
            added: added.iter().map(|r| (r.name.clone(), r.version.clone())).collect(),
            removed: response.removed_resources.clone(),
        });
        Some(Update {
            token,
            added,
            removed: response.removed_resources,
            tag: response.system_version_info.parse().ok(),
            control_plane: response.control_plane.map(|c| c.identifier).unwrap_or_default(),
        })
    }

    /// The caller's judgement: `None` accepts, `Some(words)` refuses. Returns what to send; nothing when the response
    /// belongs to an earlier connection (its content will be offered again).
    pub fn answer(&mut self, token: &UpdateToken, refusal: Option<String>) -> Option<DeltaDiscoveryRequest> {
        let pending = self.take_pending(token)?;
        if refusal.is_none() {
            self.took(token.type_url, pending, &BTreeSet::new());
        }
        self.answer_request(token, refusal)
    }

    /// The caller refuses what is in `refused`, for a reason in `words` that names each, and has taken everything else.
    /// Returns what to send, as [`ClientMachine::answer`].
    pub fn answer_in_part(
        &mut self,
        token: &UpdateToken,
        refused: &BTreeSet<String>,
        words: String,
    ) -> Option<DeltaDiscoveryRequest> {
        let pending = self.take_pending(token)?;
        self.took(token.type_url, pending, refused);
        self.answer_request(token, Some(words))
    }

    fn take_pending(&mut self, token: &UpdateToken) -> Option<Pending> {
        self.subscriptions.get_mut(&token.type_url)?.pending.take_if(|p| p.token == *token)
    }

    fn took(&mut self, type_url: TypeUrl, pending: Pending, refused: &BTreeSet<String>) {
        let Some(subscription) = self.subscriptions.get_mut(&type_url) else { return };
        for (name, version) in pending.added {
            if subscription.wants(&name) && !refused.contains(&name) {
                subscription.known.insert(name, version);
            }
        }
        for name in pending.removed.iter().filter(|n| !refused.contains(*n)) {
            subscription.known.remove(name);
        }
    }

    fn answer_request(&mut self, token: &UpdateToken, refusal: Option<String>) -> Option<DeltaDiscoveryRequest> {
        if !self.connected {
            return None;
        }
        let error_detail = refusal.map(|message| RpcStatus { code: INVALID_ARGUMENT, message, ..RpcStatus::default() });
        Some(self.request(token.type_url, |r| {
            r.response_nonce.clone_from(&token.nonce);
            r.error_detail = error_detail;
        }))
    }

    fn first_request(&mut self, type_url: TypeUrl) -> Option<DeltaDiscoveryRequest> {
        let subscription = self.subscriptions.get_mut(&type_url)?;
        subscription.started = true;
        let mut names: Vec<String> = subscription.names.iter().cloned().collect();
        if subscription.wildcard {
            names.insert(0, "*".into());
        }
        let known: Vec<(String, String)> = subscription
            .known
            .iter()
            .filter(|(name, _)| subscription.wants(name))
            .map(|(name, version)| (name.clone(), version.clone()))
            .collect();
        Some(self.request(type_url, |r| {
            r.resource_names_subscribe = names;
            r.initial_resource_versions = known.into_iter().collect();
        }))
    }

    fn request(&mut self, type_url: TypeUrl, fill: impl FnOnce(&mut DeltaDiscoveryRequest)) -> DeltaDiscoveryRequest {
        let first = !std::mem::replace(&mut self.node_sent, true);
        let mut request = DeltaDiscoveryRequest {
            node: first.then(|| self.node.to_node()),
            type_url: type_url.as_str().to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        fill(&mut request);
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::service::discovery::v3::Resource;

    fn response(nonce: &str, names: &[(&str, &str)], removed: &[&str]) -> DeltaDiscoveryResponse {
        let resources = names
            .iter()
            .map(|(name, version)| Resource { name: (*name).into(), version: (*version).into(), ..Resource::default() })
            .collect();
        DeltaDiscoveryResponse {
            system_version_info: "7".into(),
            resources,
            type_url: TypeUrl::Cds.as_str().into(),
            removed_resources: removed.iter().map(|n| (*n).to_owned()).collect(),
            nonce: nonce.into(),
            ..DeltaDiscoveryResponse::default()
        }
    }

    #[test]
    fn only_what_was_accepted_is_resumed() {
        let mut machine = ClientMachine::new(NodeIdentity { id: "n".into(), ..NodeIdentity::default() });
        assert!(machine.subscribe(TypeUrl::Cds, &["*".into()]).is_none());
        let opening = machine.on_connected();
        assert_eq!(opening[0].node.as_ref().unwrap().id, "n");
        assert_eq!(opening[0].resource_names_subscribe, ["*"]);

        let update = machine.on_response(response("1", &[("a", "v1"), ("b", "v1")], &[]), true).unwrap();
        assert_eq!(update.tag, Some(7));
        let ack = machine.answer(&update.token, None).unwrap();
        assert_eq!((ack.response_nonce.as_str(), ack.error_detail, ack.node), ("1", None, None));

        let refused = machine.on_response(response("2", &[("a", "v2")], &["b"]), true).unwrap();
        let nack = machine.answer(&refused.token, Some("no".into())).unwrap();
        assert_eq!(nack.error_detail.unwrap().message, "no");

        let mixed = machine.on_response(response("3", &[("a", "v3"), ("b", "v3")], &[]), true).unwrap();
        let nack = machine.answer_in_part(&mixed.token, &["b".to_owned()].into(), "b: no".into()).unwrap();
        assert_eq!(nack.error_detail.unwrap().message, "b: no");

        machine.on_disconnected();
        let again = machine.on_connected();
        let versions = &again[0].initial_resource_versions;
        assert_eq!((versions["a"].as_str(), versions["b"].as_str()), ("v3", "v1"));
        assert!(machine.answer(&refused.token, None).is_none(), "an old connection's answer says nothing");
    }

    #[test]
    fn names_change_at_run_time() {
        let mut machine = ClientMachine::new(NodeIdentity { id: "n".into(), ..NodeIdentity::default() });
        machine.subscribe(TypeUrl::Eds, &["a".into()]);
        machine.on_connected();
        let more = machine.subscribe(TypeUrl::Eds, &["a".into(), "b".into()]).unwrap();
        assert_eq!(more.resource_names_subscribe, ["b"]);
        let less = machine.unsubscribe(TypeUrl::Eds, &["a".into(), "z".into()]).unwrap();
        assert_eq!(less.resource_names_unsubscribe, ["a"]);
        let late = machine.subscribe(TypeUrl::Rds, &["r".into()]).unwrap();
        assert_eq!((late.resource_names_subscribe, late.node), (vec!["r".to_owned()], None));
    }
}
