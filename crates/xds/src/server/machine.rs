//! The delta stream as a machine without IO: requests and publications in, responses out. Owns the order of types
//! ("make before break"), one outstanding response per type, and the limits on what a client may ask. Refuses to read
//! a clock (milliseconds are handed in), to authenticate, and to encode beyond joining shared entries.
//!
//! | what | goes out when |
//! |---|---|
//! | CDS, EDS: new or changed | at once, CDS first |
//! | LDS, RDS: new or changed | no CDS is unsent or un-ACKed, no EDS is that the client never had; a resource that names a cluster which the client refused waits on |
//! | LDS, RDS: removed | at once |
//! | CDS, EDS: removed | LDS and RDS have nothing unsent, un-ACKed or refused |
//! | "there is no such name" | at once |
//! | an empty response to a new wildcard | where its resources could go out, if there are none |

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::engine::Limits;
use super::resource::{NAME_BYTES_MAX, Resource};
use super::snapshot::{Published, Tables, Variant};
use super::subscription::{Allowed, Difference, Outstanding, Subscription};
use super::wire::Response;
use crate::TypeUrl;

/// Why a stream must end. The engine's state is unchanged; the client may come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamRefusal {
    /// The request breaks the protocol or a limit; the same request will be refused again.
    #[error("{0}")]
    InvalidArgument(String),
    /// Too many requests; come again later.
    #[error("{0}")]
    ResourceExhausted(String),
    /// There is nothing to serve this stream from (any more); come again later.
    #[error("{0}")]
    Unavailable(String),
    /// The admission said no.
    #[error("{0}")]
    Denied(String),
    /// The admission could not tell who this is.
    #[error("{0}")]
    Unauthenticated(String),
}

/// What a request said about an outstanding response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The client took it.
    Acked {
        /// The type.
        type_url: TypeUrl,
        /// The generation that the response was made from.
        tag: u64,
        /// No refusal stands any more for this type.
        clean: bool,
    },
    /// The client refused it.
    Nacked {
        /// The type.
        type_url: TypeUrl,
        /// The generation that the response was made from.
        tag: u64,
        /// The client's words, at most 1,024 bytes of them.
        message: String,
        /// (name, version) of the resources in the response, at most 16.
        resources: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// How much of a client's error text is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;
/// How many of a refused response's resources are kept.
const NACK_RESOURCES_MAX: usize = 16;
/// Up to this many resources go out as frames of their own; more are joined.
const FRAMES_MAX: usize = 3;

/// One delta ADS stream.
#[derive(Debug)]
pub struct StreamMachine {
    limits: Limits,
    variant: Variant,
    published: Arc<Published>,
    subscriptions: [Option<Subscription>; 4],
    synced: [Option<(u64, u64)>; 4],
    last_nonce: u64,
    started_ms: u64,
    /// Token bucket, in thousandths of a request.
    tokens_milli: u64,
    tokens_at_ms: u64,
}

impl StreamMachine {
    /// A stream that is served `variant` of `published`, opened at `now_ms`.
    ///
    /// # Errors
    /// [`StreamRefusal::Unavailable`] when the publication lacks the variant.
    pub fn new(
        limits: Limits,
        variant: Variant,
        published: Arc<Published>,
        now_ms: u64,
    ) -> Result<Self, StreamRefusal> {
        if !published.snapshot.variants.contains_key(&variant) {
            return Err(no_variant(&variant));
        }
        let tokens_milli = u64::from(limits.requests_burst) * 1000;
        Ok(Self {
            limits,
            variant,
            published,
            subscriptions: Default::default(),
            synced: [None; 4],
            last_nonce: 0,
            started_ms: now_ms,
            tokens_milli,
            tokens_at_ms: now_ms,
        })
    }

    fn tables(published: &Published, variant: &Variant) -> Option<Tables> {
        published.snapshot.variants.get(variant).cloned()
    }

    /// Takes a newer publication. What changed twice since the last response is sent once, in its latest form.
    ///
    /// # Errors
    /// [`StreamRefusal::Unavailable`] when it lacks this stream's variant: the client keeps what it has and comes
    /// again, to be admitted anew; it is never told that everything is gone.
    pub fn on_published(&mut self, published: &Arc<Published>) -> Result<(), StreamRefusal> {
        if published.seq <= self.published.seq {
            return Ok(());
        }
        let tables = Self::tables(published, &self.variant).ok_or_else(|| no_variant(&self.variant))?;
        self.published = Arc::clone(published);
        for (subscription, table) in self.subscriptions.iter_mut().zip(&tables) {
            if let Some(subscription) = subscription {
                subscription.rebase(table);
            }
        }
        Ok(())
    }

    /// Takes a request of the client.
    ///
    /// # Errors
    /// [`StreamRefusal`] when a limit is broken; the stream must end.
    pub fn on_request(
        &mut self,
        request: &DeltaDiscoveryRequest,
        now_ms: u64,
    ) -> Result<Option<Answer>, StreamRefusal> {
        self.spend_token(now_ms)?;
        check_shape(request, &self.limits)?;
        // A type that is not served is answered with nothing, and does not end the stream.
        let Some(type_url) = TypeUrl::parse(&request.type_url) else { return Ok(None) };
        let index = type_url.index();
        let first = self.subscriptions[index].is_none();
        let table = &self.published.snapshot.variants[&self.variant][index];
        let subscription = self.subscriptions[index].get_or_insert_with(|| Subscription::new(table));
        for name in &request.resource_names_unsubscribe {
            subscription.unsubscribe(name);
        }
        if first && request.resource_names_subscribe.is_empty() && type_url.legacy_wildcard() {
            subscription.subscribe("*");
        }
        for name in &request.resource_names_subscribe {
            subscription.subscribe(name);
        }
        if first {
            for (name, version) in &request.initial_resource_versions {
                subscription.initial(name, version);
            }
        }
        // An ACK must not end a stream: what it has just taken in of removals may have been much.
        let asks = first || !request.resource_names_subscribe.is_empty();
        if asks && subscription.unknown_len() > self.limits.unknown_names_max {
            let max = self.limits.unknown_names_max;
            return Err(StreamRefusal::InvalidArgument(format!("more than {max} names of {type_url} do not exist")));
        }
        Ok(self.take_answer(type_url, request))
    }

    fn spend_token(&mut self, now_ms: u64) -> Result<(), StreamRefusal> {
        let limits = &self.limits;
        let earned = now_ms.saturating_sub(self.tokens_at_ms).saturating_mul(u64::from(limits.requests_per_second));
        self.tokens_at_ms = self.tokens_at_ms.max(now_ms);
        let cap = u64::from(limits.requests_burst) * 1000;
        self.tokens_milli = self.tokens_milli.saturating_add(earned).min(cap);
        self.tokens_milli = self.tokens_milli.checked_sub(1000).ok_or_else(|| {
            let rate = limits.requests_per_second;
            StreamRefusal::ResourceExhausted(format!("more than {rate} requests a second on one stream"))
        })?;
        Ok(())
    }

    /// The ACK or NACK in a request. A stale nonce says nothing (but the request's names were honoured).
    fn take_answer(&mut self, type_url: TypeUrl, request: &DeltaDiscoveryRequest) -> Option<Answer> {
        let index = type_url.index();
        let subscription = self.subscriptions[index].as_mut()?;
        let nonce = subscription.outstanding.as_ref()?.nonce;
        if request.response_nonce.is_empty() || request.response_nonce != nonce.to_string() {
            return None;
        }
        let outstanding = subscription.outstanding.take()?;
        let tag = outstanding.tag;
        if let Some(error) = &request.error_detail {
            // Envoy applies each cluster and listener of a response by itself and reports all faults together; a fault in
            // an assignment or a route configuration keeps it from looking at the ones after it.
            subscription.reject(&outstanding, &error.message, matches!(type_url, TypeUrl::Eds | TypeUrl::Rds));
            let resources = outstanding.entries.iter().take(NACK_RESOURCES_MAX);
            return Some(Answer::Nacked {
                type_url,
                tag,
                message: clip(&error.message, MESSAGE_BYTES_MAX).to_owned(),
                resources: resources.map(|e| (Arc::clone(&e.name), Arc::clone(&e.version))).collect(),
            });
        }
        subscription.accept(&outstanding.entries);
        let clean = !subscription.has_rejected();
        if outstanding.complete && clean {
            self.synced[index] = Some((tag, outstanding.seq));
        }
        Some(Answer::Acked { type_url, tag, clean })
    }

    /// The next response that may go out now, if any. Call until `None`.
    pub fn next_response(&mut self, now_ms: u64) -> Option<Response> {
        for type_url in TypeUrl::ALL {
            let index = type_url.index();
            let Some(subscription) = &self.subscriptions[index] else { continue };
            if subscription.outstanding.is_some() {
                continue;
            }
            let maker = matches!(type_url, TypeUrl::Cds | TypeUrl::Eds);
            let allowed = Allowed {
                adds: maker || self.dependencies_ready(),
                removals: !maker || self.dependants_done(now_ms),
                bytes_max: self.limits.response_bytes_max,
            };
            let refused = if maker { Vec::new() } else { self.refused_clusters() };
            let subscription = self.subscriptions[index].as_mut()?;
            let difference = subscription.difference(allowed, |resource| uses_any(resource, &refused));
            // A client waits with everything else until its clusters are known, also if there are none: Envoy opens no
            // listener before, and with `initial_fetch_timeout` 0 it waits for ever. (A delta response may be empty.)
            let answer = subscription.is_unanswered() && allowed.adds && difference.complete;
            if answer || !difference.adds.is_empty() || !difference.removed.is_empty() {
                return Some(self.send(type_url, difference));
            }
            if !subscription.pending() && !subscription.has_rejected() {
                self.synced[index] = Some((self.published.tag, self.published.seq));
            }
        }
        None
    }

    fn send(&mut self, type_url: TypeUrl, difference: Difference) -> Response {
        self.last_nonce += 1;
        let (tag, seq, nonce) = (self.published.tag, self.published.seq, self.last_nonce);
        let mut entries = Vec::new();
        let mut sent: Vec<Arc<str>> = Vec::new();
        if let Some(subscription) = self.subscriptions[type_url.index()].as_mut() {
            let table = Arc::clone(subscription.table());
            if difference.adds.len() <= FRAMES_MAX {
                entries.extend(difference.adds.iter().map(|&at| table.resources[at as usize].encoded().clone()));
            } else {
                entries.push(table.concatenated(&difference.adds));
            }
            let (entries, removed) = subscription.mark_sent(&difference);
            let complete = difference.complete;
            sent = entries.iter().map(|e| Arc::clone(&e.name)).collect();
            subscription.outstanding = Some(Outstanding { nonce, tag, seq, entries, removed, complete });
        }
        if type_url == TypeUrl::Cds
            && let Some(endpoints) = self.subscriptions[TypeUrl::Eds.index()].as_mut()
        {
            // A changed cluster warms anew and waits for its endpoints, even when these did not change.
            for name in &sent {
                endpoints.resend_held(name);
            }
        }
        Response { type_url, nonce: nonce.to_string(), tag, removed: difference.removed, entries }
    }

    fn subscription(&self, type_url: TypeUrl) -> Option<&Subscription> {
        self.subscriptions[type_url.index()].as_ref()
    }

    /// Whether everything that a listener or a route may use has reached the client and was answered.
    fn dependencies_ready(&self) -> bool {
        let waiting = |type_url: TypeUrl, fresh_only: bool| {
            self.subscription(type_url).is_some_and(|s| {
                let on_the_way =
                    s.outstanding.as_ref().is_some_and(|o| o.entries.iter().any(|e| !fresh_only || e.fresh));
                on_the_way || s.adds_pending(fresh_only)
            })
        };
        // Endpoints that the client already had change all the time (weights); routes must not wait for those.
        !waiting(TypeUrl::Cds, false) && !waiting(TypeUrl::Eds, true)
    }

    /// Whether no listener or route that the client uses can still need what is about to be removed.
    fn dependants_done(&self, now_ms: u64) -> bool {
        let users = [self.subscription(TypeUrl::Lds), self.subscription(TypeUrl::Rds)];
        let settled = users
            .iter()
            .flatten()
            .all(|s| s.outstanding.is_none() && !s.adds_pending(false) && !s.removals_pending() && !s.has_rejected());
        // A client that has just come back asks for its types one after the other.
        let known = users.iter().all(Option::is_some) || now_ms >= self.removals_at_ms();
        settled && known
    }

    fn removals_at_ms(&self) -> u64 {
        self.started_ms + self.limits.removal_grace_ms
    }

    /// When [`StreamMachine::next_response`] must be asked again although nothing happened, in milliseconds.
    #[must_use]
    pub fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let at = self.removals_at_ms();
        let waits = |t: TypeUrl| self.subscription(t).is_some_and(Subscription::removals_pending);
        (now_ms < at && (waits(TypeUrl::Cds) || waits(TypeUrl::Eds))).then_some(at)
    }

    fn refused_clusters(&self) -> Vec<Arc<str>> {
        self.subscription(TypeUrl::Cds).map(Subscription::rejected_fresh).unwrap_or_default()
    }

    /// The newest publication (tag, seq) of which the client has accepted everything of this type that it wants;
    /// `None` while that was never so.
    #[must_use]
    pub fn synced(&self, type_url: TypeUrl) -> Option<(u64, u64)> {
        self.synced[type_url.index()]
    }

    /// Whether the type was asked for, and if so whether by wildcard.
    #[must_use]
    pub fn subscribed(&self, type_url: TypeUrl) -> Option<bool> {
        self.subscription(type_url).map(Subscription::is_wildcard)
    }
}

fn no_variant(variant: &Variant) -> StreamRefusal {
    StreamRefusal::Unavailable(format!("nothing is published for {variant:?}", variant = variant.as_str()))
}

/// The resource is opaque, but a use of a cluster must spell its name.
fn uses_any(resource: &Resource, names: &[Arc<str>]) -> bool {
    names.iter().any(|name| resource.encoded().windows(name.len().max(1)).any(|w| w == name.as_bytes()))
}

fn clip(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Limits on one request, before any of it is kept.
pub(crate) fn check_shape(request: &DeltaDiscoveryRequest, limits: &Limits) -> Result<(), StreamRefusal> {
    let refuse = |text: String| Err(StreamRefusal::InvalidArgument(text));
    if request.type_url.is_empty() {
        return refuse("type_url is empty".into());
    }
    if request.type_url.len() > NAME_BYTES_MAX {
        return refuse(format!("type_url is longer than {NAME_BYTES_MAX} bytes"));
    }
    let lists = [&request.resource_names_subscribe, &request.resource_names_unsubscribe];
    let count = lists.iter().map(|l| l.len()).sum::<usize>() + request.initial_resource_versions.len();
    if count > limits.names_max {
        return refuse(format!("{count} names in one request; at most {} are taken", limits.names_max));
    }
    let names = lists.into_iter().flatten().chain(request.initial_resource_versions.keys());
    for name in names {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return refuse(format!("a resource name is empty or longer than {NAME_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}
