//! Synthetic subscribers: delta ADS streams that take what they are sent and acknowledge it, as many as asked for.
//!
//! Owns a client that is correct and idle, and writes down what it was sent; refuses to use it.

use crate::clock::now_ns;
use crate::raw::{Lines, Received};
use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const EDS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// Streams that share one connection.
const PER_CONNECTION: usize = 20;

/// What the subscribers are told, as a JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriberSpec {
    /// ADS address.
    pub ads: SocketAddr,
    /// How many.
    pub count: usize,
    /// Client groups, taken in turn.
    pub groups: Vec<String>,
    /// Where every response is written down.
    pub raw: PathBuf,
}

/// Subscribes until standard input ends.
pub(crate) async fn run(spec: SubscriberSpec) -> anyhow::Result<()> {
    let lines = Arc::new(Lines::append(&spec.raw)?);
    let mut tasks = tokio::task::JoinSet::new();
    let mut channel = None;
    for n in 0..spec.count {
        if n % PER_CONNECTION == 0 {
            let endpoint = Endpoint::from_shared(format!("http://{}", spec.ads))?;
            channel = Some(endpoint.connect_timeout(Duration::from_secs(1)).tcp_nodelay(true).connect_lazy());
        }
        let group = spec.groups.get(n % spec.groups.len().max(1)).cloned().unwrap_or_default();
        if let Some(channel) = channel.clone() {
            tasks.spawn(subscriber(channel, n, group, Arc::clone(&lines)));
        }
    }
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    Ok(())
}

async fn subscriber(channel: Channel, number: usize, group: String, lines: Arc<Lines>) {
    loop {
        if let Err(e) = stream(channel.clone(), number, &group, &lines).await {
            eprintln!("subscriber {number}: {e}");
        }
        // Spread, so that a server that comes back is not met by all at once.
        let spread = (number as u64 * 37) % 500;
        tokio::time::sleep(Duration::from_millis(250 + spread)).await;
    }
}

async fn stream(channel: Channel, number: usize, group: &str, lines: &Lines) -> anyhow::Result<()> {
    let name = format!("subscriber-{group}-{number:03}");
    let node = Node {
        id: name.clone(),
        cluster: "subscribers".to_owned(),
        user_agent_name: "tidegate-stage".to_owned(),
        locality: Some(Locality { region: group.to_owned(), ..Locality::default() }),
        ..Node::default()
    };
    let (send, receive) = mpsc::channel(16);
    let first = |type_url: &str, node: Option<Node>, names: Vec<String>| DeltaDiscoveryRequest {
        node,
        type_url: type_url.to_owned(),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    };
    send.send(first(CDS, Some(node), Vec::new())).await?;
    send.send(first(LDS, None, Vec::new())).await?;
    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(16 << 20);
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(receive)).await?.into_inner();
    let mut known: BTreeSet<String> = BTreeSet::new();
    while let Some(answer) = answers.message().await? {
        lines.write(&received(&name, &answer));
        send.send(acknowledge(&answer)).await?;
        if answer.type_url == CDS {
            let new: Vec<String> =
                answer.resources.iter().map(|r| r.name.clone()).filter(|n| known.insert(n.clone())).collect();
            if !new.is_empty() {
                send.send(first(EDS, None, new)).await?;
            }
        }
    }
    anyhow::bail!("the stream ended")
}

fn received(node: &str, answer: &DeltaDiscoveryResponse) -> Received {
    let names = || answer.resources.iter().map(|r| r.name.clone());
    let empty = answer.resources.iter().filter(|r| {
        let value = r.resource.as_ref().map(|any| ClusterLoadAssignment::decode(any.value.as_slice()));
        !matches!(value, Some(Ok(a)) if a.endpoints.iter().any(|place| !place.lb_endpoints.is_empty()))
    });
    let eds = answer.type_url == EDS;
    Received {
        t_ns: now_ns(),
        node: node.to_owned(),
        kind: match answer.type_url.as_str() {
            CDS => "CDS",
            EDS => "EDS",
            _ => "LDS",
        }
        .to_owned(),
        generation: answer.system_version_info.parse().ok(),
        resources: names().collect(),
        empty: if eds { empty.map(|r| r.name.clone()).collect() } else { Vec::new() },
        removed: answer.removed_resources.clone(),
    }
}

fn acknowledge(answer: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: answer.type_url.clone(),
        response_nonce: answer.nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    }
}
