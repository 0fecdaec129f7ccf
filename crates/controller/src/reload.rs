//! A new configuration: taken whole or not at all.

use crate::asks::{Asked, Asker, gaps};
use crate::commit::{Change, Turn};
use crate::controller::{Controller, Live, event};
use crate::effect::{Answer, Denial, DenialKind};
use crate::input::Candidate;
use std::sync::Arc;
use tidegate_domain::Revision;
use tidegate_record::{EventKind, NamedIntents};

/// Drains named as ended in the journal, at most; the answer names all.
const NAMED_MAX: usize = 8;

/// How a reload is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    /// The fleet with which the shell compared.
    pub(crate) from: Revision,
    pub(crate) removals: Vec<String>,
    pub(crate) yes_remove: bool,
    pub(crate) accept_gap: bool,
    pub(crate) dry_run: bool,
}

impl Controller {
    pub(crate) fn ask_reload(
        &mut self,
        live: &Live,
        asker: &Asker,
        candidate: Candidate,
        how: Reload,
    ) -> Result<Asked, Denial> {
        let Candidate { fleet, bundle, sources } = candidate;
        let outcome = bundle.mask(&fleet, None);
        if !outcome.faults.is_empty() {
            let lift = "mend the policy; what stood before goes on";
            let mut denial = Denial::new(DenialKind::BadRequest, "the policy does not answer every question", lift);
            denial.details = outcome.faults.iter().map(|f| format!("{} to {}: {}", f.class, f.place, f.what)).collect();
            return Err(denial);
        }
        let mask = Arc::new(outcome.mask);
        if how.from != live.fleet.revision {
            let why = format!(
                "revision {} was taken meanwhile; this one was compared with {}",
                live.fleet.revision, how.from
            );
            return Err(Denial::new(DenialKind::Raced, why, "look at what stands now, then try again"));
        }
        if !how.removals.is_empty() && !how.yes_remove {
            let why = "the new configuration removes too much";
            let denial = Denial::new(DenialKind::Removes, why, "if it is meant: --yes-remove");
            return Err(Denial { details: how.removals, ..denial });
        }
        if fleet.revision == live.fleet.revision && mask == live.mask {
            let sentences = vec![format!("revision {} and its policy hold already", fleet.revision)];
            return Ok(Asked::Told(Answer::unchanged(sentences)));
        }
        let found = gaps(&fleet, &mask);
        let fresh: Vec<String> = found.iter().map(|g| format!("losing {}: {}", g.lost, g.faults.join("; "))).collect();
        if !fresh.is_empty() && !how.accept_gap {
            let why = format!("under revision {} {} losses have no authorised plan", fleet.revision, fresh.len());
            let lift = "add capacity or a permitted place for these classes, or accept the gap with --accept-gap";
            return Err(Denial { details: fresh, ..Denial::new(DenialKind::Gap, why, lift) });
        }
        let mut sentences = vec![format!("revision {} replaces {}", fleet.revision, live.fleet.revision)];
        sentences.extend(fresh.iter().map(|f| format!("not protected: {f}")));
        let named = NamedIntents::of(&self.intents, &live.fleet);
        let (intents, gone) = named.resolve(&fleet);
        sentences.extend(gone.iter().map(|id| format!("drain #{id} ends: its place is gone")));
        if how.dry_run {
            return Ok(Asked::Told(Answer::unchanged(sentences)));
        }
        let kind = EventKind::ConfigReloaded {
            from: live.fleet.revision,
            to: fleet.revision,
            yes_remove: how.yes_remove,
            accept_gap: how.accept_gap,
            gaps: fresh,
        };
        let mut events = vec![event(&asker.by, &asker.reason, kind)];
        let ended = named.drains.into_iter().filter(|d| gone.contains(&d.id)).take(NAMED_MAX);
        events.extend(ended.map(|d| {
            let kind = EventKind::DrainExpired { id: d.id, place: d.place, service: d.service };
            event(&asker.by, "the new configuration no longer has its place", kind)
        }));
        let turn = Turn { live: Live { fleet, mask, gaps: Arc::new(found) }, documents: sources };
        let answer = Answer { id: 0, sentences, plans: None, changed: true };
        let change = Change { turn: Some(turn), intents: Some(intents), events, ..Change::default() };
        Ok(Asked::Changes(Box::new(change), answer))
    }
}
