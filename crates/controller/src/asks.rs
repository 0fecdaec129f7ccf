//! What people ask: resolved against the fleet, judged by the kernel, recorded, then answered.

use crate::commit::Change;
use crate::controller::{Controller, Live};
use crate::effect::{Answer, Denial, DenialKind, Effect};
use crate::input::{Ask, Candidate, Now, RampAsk, Ticket};
use crate::intents;
use crate::model::Gap;
use std::sync::Arc;
use tidegate_domain::{Drain, Fleet, Intents, Mask, Millis, MoveKind, Subject, Switch};
use tidegate_kernel::{DrainPreview, DrainRefusal};
use tidegate_record::{EventKind, Place};

/// A question in line.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) ask: Ask,
}

/// The losses of `fleet` that have no full plan.
pub(crate) fn gaps(fleet: &Fleet, mask: &Mask) -> Vec<Gap> {
    let losses = tidegate_kernel::single_losses(fleet);
    let found = tidegate_kernel::contingencies(fleet, mask, &losses);
    found
        .into_iter()
        .filter(|c| !c.gaps.is_empty())
        .map(|c| {
            let lost: Vec<String> = c.lost.iter().map(|a| crate::controller::accused_name(fleet, *a)).collect();
            Gap { lost: lost.join(" and "), faults: c.gaps }
        })
        .collect()
}

impl Controller {
    pub(crate) fn begin_ask(&mut self, waiting: Waiting, now: Now, effects: &mut Vec<Effect>) {
        let Waiting { ticket, by, reason, ask } = waiting;
        let Some(live) = self.live.clone() else { return };
        let outcome = match ask {
            Ask::Drain { place, service, lasting, grace, dry_run } => {
                let wish = DrainWish { place, service, lasting, grace, dry_run };
                self.ask_drain(&live, ticket, &by, &reason, wish, now, effects)
            }
            Ask::Restore { place, service, dry_run } => {
                self.ask_restore(&live, ticket, &by, &reason, (&place, service.as_deref()), dry_run, now, effects)
            }
            Ask::Automation { pause, safety, economic, lasting } => {
                self.ask_automation(ticket, &by, &reason, (pause, safety, economic), lasting, now, effects);
                Ok(())
            }
            Ask::Ramp(ramp) => {
                self.ask_ramp(ticket, &by, &reason, ramp, now, effects);
                Ok(())
            }
            Ask::Reload { candidate, accept_gap, dry_run } => {
                self.ask_reload(&live, ticket, &by, &reason, *candidate, (accept_gap, dry_run), now, effects)
            }
        };
        if let Err(denial) = outcome {
            let what = format!("{} ({})", denial.why, denial.lift);
            effects.push(self.note(now, &by, &reason, EventKind::Refused { what }));
            effects.push(Effect::Answer { ticket, answer: Err(denial) });
        }
    }

    #[allow(clippy::too_many_arguments)] // the parts of one question, each used once
    fn ask_drain(
        &mut self,
        live: &Live,
        ticket: Ticket,
        by: &str,
        reason: &str,
        wish: DrainWish,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let scope = intents::scope(&live.fleet, &wish.place)?;
        let service = intents::service(&live.fleet, wish.service.as_deref())?;
        if let Some(same) = self.intents.drains.iter().find(|d| d.scope == scope && d.service == service) {
            let sentence = format!("drain #{} of {} stands already (by {}: {})", same.id, wish.place, same.by.0, same.reason);
            let answer = Answer { id: same.id, sentences: vec![sentence], plans: None, changed: false };
            effects.push(Effect::Answer { ticket, answer: Ok(answer) });
            return Ok(());
        }
        let drain = Drain {
            id: self.journal.end.sequence + 1,
            scope,
            service,
            until: wish.lasting.map(|l| now.wall + l),
            grace: wish.grace,
            reason: reason.to_owned(),
            by: Subject(by.to_owned()),
            at: now.wall,
        };
        let view = self.view(&self.intents, now);
        let preview = tidegate_kernel::drain_check(&live.fleet, &live.mask, &self.state, &view, &drain, now.mono)
            .map_err(|refusal| unsafe_drain(&refusal))?;
        let sentences = steps(&preview, &live.fleet, &wish.place);
        let plans = self.published.clone().map(|now| (now, Arc::new(preview.plan)));
        if wish.dry_run {
            let answer = Answer { id: 0, sentences, plans, changed: false };
            effects.push(Effect::Answer { ticket, answer: Ok(answer) });
            return Ok(());
        }
        let place = Place::new(&wish.place)
            .map_err(|e| Denial::new(DenialKind::BadRequest, e.to_string(), "name a provider or a region"))?;
        let of = service.map(|s| live.fleet.services[s.at()].name.clone());
        let kind = EventKind::DrainRequested { id: drain.id, place, service: of, until: drain.until };
        effects.push(self.note(now, by, reason, kind));
        let mut intents = self.intents.clone();
        intents.restores.retain(|r| r.scope != scope || r.service != service);
        let answer = Answer { id: drain.id, sentences, plans, changed: true };
        intents.drains.push(drain);
        self.decide(Change { intents: Some(intents), answer: Some((ticket, answer)), live: None }, now, effects);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // the parts of one question, each used once
    fn ask_restore(
        &mut self,
        live: &Live,
        ticket: Ticket,
        by: &str,
        reason: &str,
        (place, service): (&str, Option<&str>),
        dry_run: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let scope = intents::scope(&live.fleet, place)?;
        let service = intents::service(&live.fleet, service)?;
        let mut intents = self.intents.clone();
        let ended = intents::restore(&live.fleet, &mut intents, scope, service, now.wall);
        let mut sentences: Vec<String> =
            ended.iter().map(|d| format!("drain #{} of {place} ends ({}: {})", d.id, d.by.0, d.reason)).collect();
        if ended.is_empty() {
            sentences.push(format!("no drain of {place} stands"));
        }
        sentences.push(format!("{place} may fill again once it is healthy, by the slow ramp, without waiting for minimum residency"));
        if dry_run {
            effects.push(Effect::Answer { ticket, answer: Ok(Answer { id: 0, sentences, plans: None, changed: false }) });
            return Ok(());
        }
        let named = Place::new(place)
            .map_err(|e| Denial::new(DenialKind::BadRequest, e.to_string(), "name a provider or a region"))?;
        let of = service.map(|s| live.fleet.services[s.at()].name.clone());
        effects.push(self.note(now, by, reason, EventKind::Restored { place: named, service: of }));
        let answer = Answer { id: 0, sentences, plans: None, changed: true };
        self.decide(Change { intents: Some(intents), answer: Some((ticket, answer)), live: None }, now, effects);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // the parts of one question, each used once
    fn ask_automation(
        &mut self,
        ticket: Ticket,
        by: &str,
        reason: &str,
        (pause, safety, economic): (bool, bool, bool),
        lasting: Option<Millis>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let until = lasting.map(|l| now.wall + l);
        let to = if pause { intents::paused(reason, by, until) } else { Switch::On };
        let mut intents = self.intents.clone();
        let mut sentences = Vec::new();
        let halves = [
            (safety, MoveKind::Safety, &mut intents.automation.safety),
            (economic, MoveKind::Economic, &mut intents.automation.economic),
        ];
        for (wanted, kind, switch) in halves {
            if !wanted || *switch == to {
                continue;
            }
            *switch = to.clone();
            let event = if pause {
                EventKind::AutomationPaused { kind, until }
            } else {
                EventKind::AutomationResumed { kind }
            };
            let word = if pause { "paused" } else { "on" };
            sentences.push(format!("automation of {} moves is {word}", kind.word()));
            effects.push(self.note(now, by, reason, event));
        }
        self.grant(ticket, intents, sentences, "automation was so already", now, effects);
    }

    fn ask_ramp(&mut self, ticket: Ticket, by: &str, reason: &str, ask: RampAsk, now: Now, effects: &mut Vec<Effect>) {
        let mut intents = self.intents.clone();
        let (sentence, event) = match ask {
            RampAsk::Pause => {
                intents.ramps_paused = true;
                ("ramps stand still; safety moves do not wait", EventKind::RampsPaused)
            }
            RampAsk::Resume => {
                intents.ramps_paused = false;
                intents.ramps_aborted_until = None;
                ("ramps go on", EventKind::RampsResumed)
            }
            RampAsk::Abort => {
                intents.ramps_aborted_until = Some(now.wall + intents::ABORT_LASTS);
                ("ramps end where they are; nothing voluntary or economic moves for an hour", EventKind::RampsAborted)
            }
        };
        let sentences = if intents == self.intents {
            Vec::new()
        } else {
            effects.push(self.note(now, by, reason, event));
            vec![sentence.to_owned()]
        };
        self.grant(ticket, intents, sentences, "ramps were so already", now, effects);
    }

    /// Commits changed intents, or answers that nothing changed.
    fn grant(
        &mut self,
        ticket: Ticket,
        intents: Intents,
        mut sentences: Vec<String>,
        nothing: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if sentences.is_empty() {
            sentences.push(nothing.to_owned());
            effects.push(Effect::Answer { ticket, answer: Ok(Answer { id: 0, sentences, plans: None, changed: false }) });
            return;
        }
        let answer = Answer { id: 0, sentences, plans: None, changed: true };
        self.decide(Change { intents: Some(intents), answer: Some((ticket, answer)), live: None }, now, effects);
    }

    #[allow(clippy::too_many_arguments)] // the parts of one question, each used once
    fn ask_reload(
        &mut self,
        live: &Live,
        ticket: Ticket,
        by: &str,
        reason: &str,
        candidate: Candidate,
        (accept_gap, dry_run): (bool, bool),
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Candidate { fleet, bundle, sources } = candidate;
        let mask = Arc::new(bundle.mask(&fleet, None).mask);
        if fleet.revision == live.fleet.revision && mask == live.mask {
            let sentences = vec![format!("revision {} and its policy hold already", fleet.revision)];
            effects.push(Effect::Answer { ticket, answer: Ok(Answer { id: 0, sentences, plans: None, changed: false }) });
            return Ok(());
        }
        let found = gaps(&fleet, &mask);
        let fresh: Vec<String> = found.iter().map(|g| format!("losing {}: {}", g.lost, g.faults.join("; "))).collect();
        if !fresh.is_empty() && !accept_gap {
            let mut denial = Denial::new(
                DenialKind::Gap,
                format!("under revision {} {} losses have no authorised plan", fleet.revision, fresh.len()),
                "add capacity or a permitted place for these classes, or accept the gap with --accept-gap",
            );
            denial.details = fresh;
            return Err(denial);
        }
        let mut sentences = vec![format!("revision {} replaces {}", fleet.revision, live.fleet.revision)];
        sentences.extend(fresh.iter().map(|f| format!("not protected: {f}")));
        let named = tidegate_record::NamedIntents::of(&self.intents, &live.fleet);
        let (intents, gone) = named.resolve(&fleet);
        sentences.extend(gone.iter().map(|id| format!("drain #{id} ends: its place is gone")));
        if dry_run {
            effects.push(Effect::Answer { ticket, answer: Ok(Answer { id: 0, sentences, plans: None, changed: false }) });
            return Ok(());
        }
        let kind = EventKind::ConfigReloaded { from: live.fleet.revision, to: fleet.revision };
        effects.push(self.note(now, by, reason, kind));
        let new = Live { fleet, mask, gaps: Arc::new(found) };
        let answer = Answer { id: 0, sentences, plans: None, changed: true };
        let change = Change { live: Some((new, sources)), intents: Some(intents), answer: Some((ticket, answer)) };
        self.decide(change, now, effects);
        Ok(())
    }
}

struct DrainWish {
    place: String,
    service: Option<String>,
    lasting: Option<Millis>,
    grace: Millis,
    dry_run: bool,
}

/// The refusal, and after its semicolon what would lift it.
fn unsafe_drain(refusal: &DrainRefusal) -> Denial {
    let words = refusal.to_string();
    let (why, lift) = words.rsplit_once("; ").unwrap_or((&words, ""));
    Denial::new(DenialKind::Unsafe, why, lift)
}

/// The steps of a drain in sentences.
fn steps(preview: &DrainPreview, fleet: &Fleet, place: &str) -> Vec<String> {
    if preview.steps.is_empty() {
        return vec![format!("{place} carries nothing now; the drain keeps it so")];
    }
    let mut sentences = Vec::new();
    for (number, step) in preview.steps.iter().enumerate() {
        let mut classes: Vec<String> = Vec::new();
        for m in &step.moves {
            classes.push(format!("{} at {} {}", fleet.class_name(m.class), fleet.groups[m.group.at()].name, m.share));
        }
        sentences.push(format!("step {} after {}: {}", number + 1, step.after, classes.join(", ")));
    }
    sentences
}
