//! What the loop and the API share: immutable pictures, channels, and the tickets of people who wait.

use crate::events::Events;
use crate::flags::Serve;
use crate::metrics::Metrics;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_api::tokens::Tokens;
use tidegate_api::{ApiError, Code};
use tidegate_controller::{Answer, Ask, Denial, Input, Model, Ticket};
use tidegate_gossip::join::Invitations;
use tidegate_store::Store;
use tidegate_xds::server::Engine;
use tokio::sync::{mpsc, oneshot};

type Waiter = oneshot::Sender<Result<Answer, Denial>>;

/// Shared by everything in the program.
pub(crate) struct App {
    pub(crate) flags: Serve,
    pub(crate) model: ArcSwapOption<Model>,
    pub(crate) gossip: ArcSwap<tidegate_gossip::shell::Snapshot>,
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) tokens: Tokens,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    /// What the configuration directory holds, where that is not what runs.
    pub(crate) directory: ArcSwapOption<String>,
    /// Places without an address, in words.
    pub(crate) unresolved: ArcSwap<Vec<String>>,
    /// Another server has taken the store.
    pub(crate) stopped: AtomicBool,
    /// Join tokens that are open here.
    pub(crate) invitations: Arc<Mutex<Invitations>>,
    tickets: Mutex<BTreeMap<Ticket, Waiter>>,
    next: AtomicU64,
}

impl App {
    pub(crate) fn new(
        flags: Serve,
        engine: Engine,
        store: Arc<dyn Store>,
        inputs: mpsc::Sender<Input>,
        tokens: Tokens,
        metrics: Metrics,
    ) -> Self {
        Self {
            flags,
            model: ArcSwapOption::empty(),
            gossip: ArcSwap::default(),
            engine,
            store,
            inputs,
            tokens,
            events: Events::new(),
            metrics,
            directory: ArcSwapOption::empty(),
            unresolved: ArcSwap::default(),
            stopped: AtomicBool::new(false),
            invitations: Arc::default(),
            tickets: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// The newest picture, or the refusal to give one.
    pub(crate) fn model(&self) -> Result<Arc<Model>, Box<ApiError>> {
        self.model.load_full().ok_or_else(|| {
            let why = "the store or the configuration is not loaded yet";
            Box::new(ApiError::new(Code::NotReady, why, "try again in a moment").retryable())
        })
    }

    /// Asks the loop and waits for its answer.
    pub(crate) async fn ask(&self, by: &str, reason: &str, ask: Ask) -> Result<Answer, Box<ApiError>> {
        let ticket = Ticket(self.next.fetch_add(1, Ordering::Relaxed));
        let (answer, wait) = oneshot::channel();
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, answer);
        let input = Input::Ask { ticket, by: by.to_owned(), reason: reason.to_owned(), ask };
        let gone = || Box::new(ApiError::new(Code::Internal, "the server is shutting down", "ask another server"));
        self.inputs.send(input).await.map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?.map_err(|denial| Box::new(refusal(denial)))
    }

    /// Hands an answer to who waits for it.
    pub(crate) fn answer(&self, ticket: Ticket, answer: Result<Answer, Denial>) {
        if let Some(waiter) = self.tickets.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket) {
            // Who asked may have gone; what was decided stands all the same and is in the journal.
            let _ = waiter.send(answer);
        }
    }
}

/// A denial as the API says it.
pub(crate) fn refusal(denial: Denial) -> ApiError {
    use tidegate_controller::DenialKind as K;
    let Denial { kind, why, lift, details } = denial;
    let code = match kind {
        K::NotFound => Code::NotFound,
        K::BadRequest => Code::BadRequest,
        K::Unsafe => Code::DrainRefused,
        K::Covered => Code::RestoreRefused,
        K::TooMany => Code::TooManyDrains,
        K::Checker => Code::PlanRefused,
        K::Removes => Code::ReloadRefused,
        K::Raced => Code::ReloadRaced,
        K::Gap => Code::GapRefused,
        K::Full => Code::StoreFull,
        K::Unavailable => Code::StoreUnavailable,
        K::NotReady => Code::NotReady,
    };
    let error = ApiError::new(code, why, lift).with_details(details);
    match kind {
        K::Full | K::Unavailable | K::NotReady | K::Raced => error.retryable(),
        K::NotFound | K::BadRequest | K::Unsafe | K::Covered | K::TooMany | K::Checker | K::Removes | K::Gap => error,
    }
}
