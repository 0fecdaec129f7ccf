//! Target lists for probers: the whole list at once, then again whenever the fleet changes.

use crate::app::App;
use crate::clock;
use anyhow::Context;
use futures::Stream;
use ring::rand::{SecureRandom, SystemRandom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_controller::Input;
use tidegate_domain::{Fleet, Millis, Name, VantageIx};
use tidegate_gossip::KeyFile;
use tidegate_gossip::join::{Invitations, TOKEN_BYTES};
use tidegate_proto::v1::prober_feed_server::ProberFeed;
use tidegate_proto::v1::{JoinReply, JoinRequest, TargetList, WatchTargets};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

/// The service; `fleet` holds what is committed.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) fleet: watch::Receiver<Option<Arc<Fleet>>>,
    /// Gossip addresses of servers.
    pub(crate) servers: Vec<String>,
    /// How new probers come in.
    pub(crate) door: Door,
}

/// Join tokens, the keyring that they are good for, and who is to be told.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    invitations: Arc<Mutex<Invitations>>,
    keyring: Option<PathBuf>,
    inputs: mpsc::Sender<Input>,
}

impl Door {
    pub(crate) fn of(app: &App) -> Self {
        let (invitations, inputs) = (Arc::clone(&app.invitations), app.inputs.clone());
        Self { invitations, keyring: app.flags.keyring.clone(), inputs }
    }
}

/// A join token for `vantage`.
pub(crate) fn invite(open: &Mutex<Invitations>, vantage: &str, lasts: Millis) -> anyhow::Result<String> {
    let mut random = [0; TOKEN_BYTES];
    SystemRandom::new().fill(&mut random).ok().context("the system gives no randomness")?;
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(open.invite(Name::new(vantage)?, lasts, random, clock::mono())?)
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

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let (from, asked) = (request.remote_addr(), request.into_inner());
        let keyring = KeyFile::text(self.door.keyring.as_deref().unwrap_or(Path::new("")));
        let keyring = keyring.map_err(|e| Status::internal(e.to_string()))?;
        let redeemed = {
            let mut open = self.door.invitations.lock().unwrap_or_else(PoisonError::into_inner);
            open.redeem(&asked, &keyring, clock::mono())
        };
        let (vantage, reply) = redeemed.map_err(|refusal| {
            tracing::warn!(?from, %refusal, "nobody is let in");
            Status::permission_denied(refusal.to_string())
        })?;
        tracing::info!(?from, %vantage, "a prober was handed the keyring");
        let told = self.door.inputs.send(Input::Joined { vantage }).await;
        told.map_err(|_| Status::unavailable("the server is shutting down"))?;
        Ok(Response::new(reply))
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
        let (invitations, inputs) = (Arc::default(), mpsc::channel(1).0);
        let feed = Feed { fleet, servers: Vec::new(), door: Door { invitations, keyring: None, inputs } };
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
