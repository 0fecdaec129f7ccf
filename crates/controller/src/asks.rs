//! What people ask: resolved against the fleet, judged by the kernel, recorded, then answered.

use crate::commit::Change;
use crate::controller::{Controller, Live, event};
use crate::effect::{Answer, Denial, DenialKind, Effect};
use crate::input::{Ask, Now, Ticket};
use crate::intents;
use crate::journal::clip;
use crate::model::Gap;
use crate::reload::Reload;
use std::sync::Arc;
use tidegate_domain::{Drain, Fleet, Mask, Millis, Subject, Wall};
use tidegate_kernel::{DrainPreview, DrainRefusal};
use tidegate_record::{EventKind, Place};

/// Reason and subject of a standing drain, in bytes at most: all intents have to fit behind one key.
pub(crate) const REASON_MAX: usize = 200;
pub(crate) const SUBJECT_MAX: usize = 64;

/// Who asks, and why.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) ticket: Ticket,
    pub(crate) by: String,
    pub(crate) reason: String,
    /// What is asked, as a noun.
    pub(crate) asked: String,
}

/// A question in line.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) asker: Asker,
    pub(crate) ask: Ask,
}

/// A drain as it was asked for.
#[derive(Debug)]
struct Wish {
    place: String,
    service: Option<String>,
    lasting: Option<Millis>,
    grace: Millis,
    dry_run: bool,
}

/// The losses of `fleet` that have no full plan.
pub(crate) fn gaps(fleet: &Fleet, mask: &Mask) -> Vec<Gap> {
    let losses = tidegate_kernel::single_losses(fleet);
    let found = tidegate_kernel::contingencies(fleet, mask, &losses);
    let short = found.into_iter().filter(|c| !c.gaps.is_empty());
    let named = short.map(|c| {
        let lost: Vec<String> = c.lost.iter().map(|a| fleet.accused_name(*a)).collect();
        Gap { lost: lost.join(" and "), faults: c.gaps }
    });
    named.collect()
}

impl Controller {
    pub(crate) fn begin_ask(&mut self, Waiting { asker, ask }: Waiting, now: Now) {
        let Some(live) = self.live.clone() else { return };
        let change = match ask {
            Ask::Drain { place, service, lasting, grace, dry_run } => {
                self.ask_drain(&live, &asker, &Wish { place, service, lasting, grace, dry_run }, now)
            }
            Ask::Restore { place, service, dry_run } => {
                self.ask_restore(&live, &asker, (&place, service.as_deref()), dry_run, now)
            }
            Ask::Automation { pause, safety, economic, lasting } => {
                self.ask_automation(&asker, pause, (safety, economic), lasting.map(|l| now.wall + l))
            }
            Ask::Invite { vantage, lasting } => self.ask_invite(&live.fleet, &asker, &vantage, now.wall + lasting, now),
            Ask::ProviderApi { provider, trouble, lasting } => {
                self.ask_provider_api(&live, &asker, &provider, trouble, (lasting, now.wall))
            }
            Ask::Ramp(ramp) => Ok(self.ask_ramp(&asker, ramp, now)),
            Ask::Reload { candidate, from, removals, yes_remove, accept_gap, dry_run } => {
                self.ask_reload(&live, &asker, *candidate, Reload { from, removals, yes_remove, accept_gap, dry_run })
            }
        };
        match change {
            Ok(Asked::Told(answer)) => self.grant(&asker, answer),
            Ok(Asked::Changes(change, answer)) => self.decide(Change { asked: Some((asker, answer)), ..*change }, now),
            Err(denial) => self.refuse(&asker, denial, now),
        }
    }

    pub(crate) fn grant(&mut self, asker: &Asker, answer: Answer) {
        self.out.push(Effect::Answer { ticket: asker.ticket, answer: Ok(answer) });
    }

    pub(crate) fn deny(&mut self, asker: &Asker, denial: Denial) {
        self.out.push(Effect::Answer { ticket: asker.ticket, answer: Err(denial) });
    }

    /// Denies, and puts it on record.
    pub(crate) fn refuse(&mut self, asker: &Asker, denial: Denial, now: Now) {
        let details =
            if denial.details.is_empty() { String::new() } else { format!(": {}", denial.details.join("; ")) };
        let lift = if denial.lift.is_empty() { String::new() } else { format!(" ({})", denial.lift) };
        let (asked, why) = (asker.asked.clone(), format!("{}{details}{lift}", denial.why));
        self.note(now, &asker.by, &asker.reason, EventKind::Refused { asked, why });
        self.deny(asker, denial);
    }

    fn ask_drain(&mut self, live: &Live, asker: &Asker, wish: &Wish, now: Now) -> Result<Asked, Denial> {
        let scope = intents::scope(&live.fleet, &wish.place)?;
        let service = intents::service(&live.fleet, wish.service.as_deref())?;
        let same = self.intents.drains.iter().find(|d| d.scope == scope && d.service == service);
        if let Some(same) = same.filter(|d| d.until.is_none() && wish.lasting.is_none()) {
            let (id, by, why) = (same.id, &same.by.0, &same.reason);
            let sentence = format!("drain #{id} of {} stands already (by {by}: {why})", wish.place);
            return Ok(Asked::Told(Answer { id, ..Answer::unchanged(vec![sentence]) }));
        }
        if same.is_none() && self.intents.drains.len() >= intents::DRAINS_MAX {
            let why = format!("{} drains stand already", intents::DRAINS_MAX);
            return Err(Denial::new(DenialKind::TooMany, why, "restore a place, or drain a provider as a whole"));
        }
        let until = wish.lasting.map(|l| now.wall + l);
        let drain = Drain {
            // The end rises with every drain that is kept: no id is given twice.
            id: same.map_or(self.journal.end.sequence + 1, |d| d.id),
            scope,
            service,
            until,
            grace: wish.grace,
            reason: clip(&asker.reason, REASON_MAX),
            by: Subject(clip(&asker.by, SUBJECT_MAX)),
            at: same.map_or(now.wall, |d| d.at),
        };
        let view = self.view(&self.intents, now);
        let preview = tidegate_kernel::drain_check(&live.fleet, &live.mask, &self.state, &view, &drain, now.mono)
            .map_err(|refusal| unsafe_drain(&refusal))?;
        let mut sentences = steps(&preview, &live.fleet, &wish.place);
        if same.is_some() {
            sentences.insert(0, prolonged(&drain, &wish.place, now.wall));
        }
        let plans = self.published.clone().map(|now| (now, Arc::new(preview.plan)));
        if wish.dry_run {
            return Ok(Asked::Told(Answer { plans, ..Answer::unchanged(sentences) }));
        }
        let place = named(&wish.place)?;
        let of = service.map(|s| live.fleet.services[s.at()].name.clone());
        let kind = EventKind::DrainRequested { id: drain.id, place, service: of, until };
        let mut intents = self.intents.clone();
        intents.restores.retain(|r| r.scope != scope || r.service != service);
        intents.drains.retain(|d| d.id != drain.id);
        let answer = Answer { id: drain.id, sentences, plans, changed: true };
        intents.drains.push(drain);
        intents.drains.sort_by_key(|d| d.id);
        let events = vec![event(&asker.by, &asker.reason, kind)];
        let change = Change { intents: Some(intents), events, ..Change::default() };
        Ok(Asked::Changes(Box::new(change), answer))
    }

    /// Nothing of the plan changes: it is put on record, and the shell makes the token.
    fn ask_invite(
        &mut self,
        fleet: &Fleet,
        asker: &Asker,
        vantage: &str,
        until: Wall,
        now: Now,
    ) -> Result<Asked, Denial> {
        let found = fleet.vantages.iter().find(|v| v.name.as_str() == vantage).map(|v| v.name.clone());
        let Some(vantage) = found else {
            let known: Vec<&str> = fleet.vantages.iter().map(|v| v.name.as_str()).collect();
            let lift = format!("name one of: {}; a new one is added to the configuration first", known.join(", "));
            return Err(Denial::new(DenialKind::NotFound, format!("the fleet has no vantage `{vantage}`"), lift));
        };
        let sentence = format!("the token lets one prober in as {vantage}, once");
        self.note(now, &asker.by, &asker.reason, EventKind::ProberInvited { vantage, until });
        Ok(Asked::Told(Answer { id: 0, sentences: vec![sentence], plans: None, changed: true }))
    }

    fn ask_restore(
        &mut self,
        live: &Live,
        asker: &Asker,
        (place, service): (&str, Option<&str>),
        dry_run: bool,
        now: Now,
    ) -> Result<Asked, Denial> {
        let scope = intents::scope(&live.fleet, place)?;
        let service = intents::service(&live.fleet, service)?;
        if let Some(wider) = intents::wider(&live.fleet, &self.intents.drains, scope, service) {
            let whole = intents::place(&live.fleet, wider.scope);
            let why = format!("{place} stays drained by drain #{} of {whole}, which covers more", wider.id);
            let of = if wider.service.is_none() { "all its services" } else { "that service" };
            return Err(Denial::new(
                DenialKind::Covered,
                why,
                format!("restore {whole} for {of}, then drain the rest anew"),
            ));
        }
        let mut intents = self.intents.clone();
        let ended = intents::restore(&live.fleet, &mut intents, scope, service, now.wall);
        let mut sentences: Vec<String> = ended
            .iter()
            .map(|d| {
                let of = intents::place(&live.fleet, d.scope);
                format!("drain #{} of {of} ends ({}: {})", d.id, d.by.0, d.reason)
            })
            .collect();
        if ended.is_empty() {
            sentences.push(format!("no drain of {place} stands"));
        }
        let leave = "may fill again once it is healthy, by the slow ramp, without waiting for minimum residency";
        sentences.push(format!("{place} {leave}"));
        if dry_run {
            return Ok(Asked::Told(Answer::unchanged(sentences)));
        }
        let of = service.map(|s| live.fleet.services[s.at()].name.clone());
        let events = vec![event(&asker.by, &asker.reason, EventKind::Restored { place: named(place)?, service: of })];
        let answer = Answer { id: 0, sentences, plans: None, changed: true };
        let change = Change { intents: Some(intents), events, ..Change::default() };
        Ok(Asked::Changes(Box::new(change), answer))
    }
}

/// What a question comes to.
pub(crate) enum Asked {
    /// Nothing changes.
    Told(Answer),
    /// This is to be written, then answered so.
    Changes(Box<Change>, Answer),
}

fn named(place: &str) -> Result<Place, Denial> {
    Place::new(place).map_err(|e| Denial::new(DenialKind::BadRequest, e.to_string(), "name a provider or a region"))
}

fn prolonged(drain: &Drain, place: &str, now: Wall) -> String {
    match drain.until {
        Some(until) => format!("drain #{} of {place} stands already; it now ends in {}", drain.id, until - now),
        None => format!("drain #{} of {place} stands already; it now lasts until restored", drain.id),
    }
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
