//! Target lists for probers: the whole list at once, then again whenever the fleet changes.

use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use tidegate_domain::{Fleet, VantageIx};
use tidegate_proto::v1::prober_feed_server::ProberFeed;
use tidegate_proto::v1::{TargetList, WatchTargets};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

/// The service; `fleet` holds what is committed.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) fleet: watch::Receiver<Option<Arc<Fleet>>>,
    /// Gossip addresses of servers.
    pub(crate) servers: Vec<String>,
}

#[tonic::async_trait]
impl ProberFeed for Feed {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<TargetList, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchTargets>) -> Result<Response<Self::WatchStream>, Status> {
        let WatchTargets { vantage, have_revision } = request.into_inner();
        let Some(fleet) = self.fleet.borrow().clone() else {
            return Err(Status::unavailable("the fleet is not loaded yet; go on with the list on disk"));
        };
        if !fleet.vantages.iter().any(|v| v.name.as_str() == vantage) {
            let known: Vec<&str> = fleet.vantages.iter().map(|v| v.name.as_str()).collect();
            let message = format!("the fleet has no vantage `{vantage}`; it has: {}", known.join(", "));
            return Err(Status::permission_denied(message));
        }
        let servers = self.servers.clone();
        let mut held = have_revision;
        let stream = WatchStream::new(self.fleet.clone()).filter_map(move |fleet| {
            let fleet = fleet?;
            // What the prober holds now, which is not what it opened the stream with: a rollback is news too.
            let news = held != fleet.revision.0;
            held = fleet.revision.0.to_vec();
            news.then(|| Ok(list(&fleet, &vantage, &servers)))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// The list as `vantage` gets it.
fn list(fleet: &Fleet, vantage: &str, servers: &[String]) -> TargetList {
    let me = fleet.vantages.iter().position(|v| v.name.as_str() == vantage).map(VantageIx::from);
    let (regions, apis) = me.map_or_else(Default::default, |me| tidegate_kernel::health::duties(fleet, me));
    tidegate_prober::handout(fleet, &tidegate_prober::Assignment { regions, apis }, servers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::Revision;

    #[tokio::test]
    async fn a_rollback_to_the_list_that_the_prober_came_with_reaches_it() {
        let loaded = tidegate_config::load_documents(tidegate_config::example_payroll());
        let first = loaded.unwrap_or_else(|f| panic!("{f}")).fleet;
        let second = Fleet { revision: Revision([7; 32]), ..first.clone() };
        let (fleet_out, fleet) = watch::channel(Some(Arc::new(first.clone())));
        let feed = Feed { fleet, servers: Vec::new() };
        let vantage = first.vantages[0].name.to_string();
        let opening = WatchTargets { vantage, have_revision: first.revision.0.to_vec() };
        let mut lists = feed.watch(Request::new(opening)).await.expect("admitted").into_inner();
        fleet_out.send_replace(Some(Arc::new(second.clone())));
        let next = lists.next().await.expect("a list").expect("no fault");
        assert_eq!(next.revision, second.revision.0.to_vec(), "nothing was sent that it had");
        fleet_out.send_replace(Some(Arc::new(first.clone())));
        let next = lists.next().await.expect("a list").expect("no fault");
        assert_eq!(next.revision, first.revision.0.to_vec());
    }
}
