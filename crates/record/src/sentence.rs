//! One sentence for a person about everything that stands in the journal. The log, the CLI and the console print it.

use crate::journal::{Decision, Entry, EntryBody, Event, EventKind};
use crate::named::Place;
use tidegate_domain::{Health, Name, Wall};

/// `2026-03-01 08:00:00 UTC`, by the civil calendar.
fn moment(at: Wall) -> String {
    let (days, of_day) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000) / 1000);
    // Days since 0000-03-01, so that the leap day ends the year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02} UTC")
}

fn until(at: Option<Wall>) -> String {
    at.map_or_else(String::new, |at| format!(" until {}", moment(at)))
}
fn of(place: &Place, service: Option<&Name>) -> String {
    service.map_or_else(|| place.to_string(), |s| format!("{place} for {s}"))
}
fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Down => "down",
        Health::Unknown => "unknown",
    }
}

impl Entry {
    /// What happened, in one sentence without the time.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.body {
            EntryBody::Decision(decision) => decision.sentence(),
            EntryBody::Event(event) => event.sentence(),
        }
    }
}

impl Decision {
    /// What was decided, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { id, generation, moves, .. } = self;
        match moves.as_slice() {
            [] => format!("Decision {id} committed generation {generation} without moving anything."),
            [m, rest @ ..] => {
                let more = match rest.len() {
                    0 => String::new(),
                    1 => " and 1 more move".to_owned(),
                    n => format!(" and {n} more moves"),
                };
                let (class, group, kind, share, why) = (&m.class, &m.group, m.kind.word(), m.share, &m.why);
                format!(
                    "Decision {id} committed generation {generation}: {share} of {class} at {group} moved ({kind}: \
                     {why}){more}."
                )
            }
        }
    }
}

impl Event {
    /// What happened, who did it and why, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let who = &self.subject.0;
        let because = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        let what = match &self.kind {
            EventKind::DrainRequested { id, place, service, until: end } => {
                format!("{who} asked to drain {}{} (drain {id})", of(place, service.as_ref()), until(*end))
            }
            EventKind::Restored { place, service } => format!("{who} restored {}", of(place, service.as_ref())),
            EventKind::DrainExpired { id, place, service } => {
                format!("Drain {id} of {} reached its end", of(place, service.as_ref()))
            }
            EventKind::AutomationPaused { kind, until: end } => {
                format!("{who} paused {} moves{}", kind.word(), until(*end))
            }
            EventKind::AutomationResumed { kind } => format!("{who} resumed {} moves", kind.word()),
            EventKind::ConfigReloaded { from, to, yes_remove, accept_gap, gaps } => {
                let leave = if *yes_remove { ", with --yes-remove" } else { "" };
                let gap = if *accept_gap { ", with --accept-gap" } else { "" };
                let open =
                    if gaps.is_empty() { String::new() } else { format!(" (not protected: {})", gaps.join("; ")) };
                format!("{who} replaced configuration {from} by {to}{leave}{gap}{open}")
            }
            EventKind::Refused { asked, why } if self.reason.is_empty() => {
                return format!("{who} was refused {asked}: {why}.");
            }
            EventKind::Refused { asked, why } => {
                return format!("{who} was refused {asked} (asked for because: {}): {why}.", self.reason);
            }
            EventKind::Acked { node, resource_type, version, generation } => {
                format!("{node} took {resource_type} version {version} of generation {generation}")
            }
            EventKind::Nacked { node, resource_type, version, words } => {
                format!("{node} refused {resource_type} version {version}, saying \"{words}\"")
            }
            EventKind::AlarmRaised { alarm } => format!("Alarm: {alarm}"),
            EventKind::AlarmCleared { alarm } => format!("Alarm over: {alarm}"),
            EventKind::VerdictChanged { accused, from, to, evidence } => {
                format!("{accused} went from {} to {} ({evidence})", word(*from), word(*to))
            }
            EventKind::FindingChanged { about, finding, stands: true, evidence } => {
                format!("{about} is {finding} ({evidence})")
            }
            EventKind::FindingChanged { about, finding, stands: false, .. } => {
                format!("{about} is no longer {finding}")
            }
            EventKind::ProberInvited { vantage, until: end } => {
                format!("{who} made a join token for vantage {vantage}{}", until(Some(*end)))
            }
            EventKind::ProberJoined { vantage } => format!("vantage {vantage} was let in by its join token"),
            EventKind::RampsPaused => format!("{who} paused the ramps"),
            EventKind::RampsResumed => format!("{who} resumed the ramps"),
            EventKind::RampsAborted => format!("{who} aborted the running ramps"),
            EventKind::ApiSaid { provider, trouble, until: end } => {
                let word = if *trouble { "in trouble" } else { "well" };
                format!("{who} said that the API of {provider} is {word}{}", until(Some(*end)))
            }
            EventKind::ApiWordEnded { provider } => {
                format!("{who} ended the word on the API of {provider}; what the probes see counts again")
            }
            EventKind::TermTaken { term } => format!("{who} drives under term {term}"),
            EventKind::Started { version } => format!("{who} started, version {version}"),
        };
        format!("{what}{because}.")
    }
}
