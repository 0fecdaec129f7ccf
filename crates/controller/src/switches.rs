//! The switch for automation, the hold on ramps, and what people say of providers' APIs.

use crate::asks::{Asked, Asker, REASON_MAX, SUBJECT_MAX};
use crate::commit::Change;
use crate::controller::{Controller, Live, event};
use crate::effect::{Answer, Denial, DenialKind};
use crate::input::{Now, RampAsk};
use crate::intents;
use crate::journal::clip;
use tidegate_domain::{ApiWord, Millis, MoveKind, ProviderIx, Subject, Switch, Wall};
use tidegate_record::EventKind;

/// The shortest and the longest time for which a word on an API counts: it must end by itself.
const WORD_MIN: Millis = Millis(1_000);
const WORD_MAX: Millis = Millis(7 * 86_400_000);
/// All intents have to fit behind one key.
const WORDS_MAX: usize = 50;

impl Controller {
    pub(crate) fn ask_automation(
        &mut self,
        asker: &Asker,
        pause: bool,
        (safety, economic): (bool, bool),
        until: Option<Wall>,
    ) -> Result<Asked, Denial> {
        if !safety && !economic {
            let why = "neither half of automation is named";
            return Err(Denial::new(DenialKind::BadRequest, why, "name `safety`, `economic` or both"));
        }
        let to = if pause { intents::paused(&asker.reason, &asker.by, until) } else { Switch::On };
        let mut intents = self.intents.clone();
        let (mut sentences, mut events) = (Vec::new(), Vec::new());
        let halves = [
            (safety, MoveKind::Safety, &mut intents.automation.safety),
            (economic, MoveKind::Economic, &mut intents.automation.economic),
        ];
        for (wanted, kind, switch) in halves {
            if !wanted || *switch == to {
                continue;
            }
            *switch = to.clone();
            let (word, what) = if pause {
                ("paused", EventKind::AutomationPaused { kind, until })
            } else {
                ("on", EventKind::AutomationResumed { kind })
            };
            sentences.push(format!("automation of {} moves is {word}", kind.word()));
            events.push(event(&asker.by, &asker.reason, what));
        }
        if events.is_empty() {
            return Ok(Asked::Told(Answer::unchanged(vec!["automation was so already".to_owned()])));
        }
        let answer = Answer { id: 0, sentences, plans: None, changed: true };
        let change = Change { intents: Some(intents), events, ..Change::default() };
        Ok(Asked::Changes(Box::new(change), answer))
    }

    /// A person's word on a provider's own API, in place of the one before; `trouble` none: no word any more.
    pub(crate) fn ask_provider_api(
        &self,
        live: &Live,
        asker: &Asker,
        name: &str,
        trouble: Option<bool>,
        (lasting, wall): (Millis, Wall),
    ) -> Result<Asked, Denial> {
        let fleet = &live.fleet;
        if trouble.is_some() && !(WORD_MIN..=WORD_MAX).contains(&lasting) {
            let (why, lift) =
                (format!("a word cannot last {lasting}"), "name a time from 1s to 7d; it can be said again");
            return Err(Denial::new(DenialKind::BadRequest, why, lift));
        }
        let found = fleet.providers.iter().position(|p| p.name.as_str() == name);
        let Some(provider) = found.map(ProviderIx::from) else {
            let known: Vec<&str> = fleet.providers.iter().map(|p| p.name.as_str()).collect();
            let (why, lift) =
                (format!("the fleet has no provider `{name}`"), format!("name one of: {}", known.join(", ")));
            return Err(Denial::new(DenialKind::NotFound, why, lift));
        };
        let (mut intents, until) = (self.intents.clone(), wall + lasting);
        let stood = intents.api_words.iter().any(|w| w.provider == provider);
        intents.api_words.retain(|w| w.provider != provider);
        let of = fleet.providers[provider.at()].name.clone();
        let (sentence, kind) = match trouble {
            None if !stood => {
                let nothing = vec![format!("nobody has said anything of the API of {name}")];
                return Ok(Asked::Told(Answer::unchanged(nothing)));
            }
            None => {
                let sentence = format!("what the probes see of the API of {name} counts again");
                (sentence, EventKind::ApiWordEnded { provider: of })
            }
            Some(_) if intents.api_words.len() >= WORDS_MAX => {
                let why = format!("words on the APIs of {WORDS_MAX} providers stand already");
                return Err(Denial::new(DenialKind::TooMany, why, "take one back with --forget"));
            }
            Some(trouble) => {
                let (reason, by) = (clip(&asker.reason, REASON_MAX), Subject(clip(&asker.by, SUBJECT_MAX)));
                intents.api_words.push(ApiWord { provider, trouble, reason, by, until });
                intents.api_words.sort_by_key(|w| w.provider);
                let sentence = match trouble {
                    true => format!("{name} keeps its traffic; nothing but safety moves changes what it carries"),
                    false => format!("the API of {name} counts as well, whatever the probes see"),
                };
                (sentence, EventKind::ApiSaid { provider: of, trouble, until })
            }
        };
        let events = vec![event(&asker.by, &asker.reason, kind)];
        let answer = Answer { id: 0, sentences: vec![sentence], plans: None, changed: true };
        let change = Change { intents: Some(intents), events, ..Change::default() };
        Ok(Asked::Changes(Box::new(change), answer))
    }

    pub(crate) fn ask_ramp(&mut self, asker: &Asker, ask: RampAsk, now: Now) -> Asked {
        let mut intents = self.intents.clone();
        let (sentence, what) = match ask {
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
        if intents == self.intents {
            return Asked::Told(Answer::unchanged(vec!["ramps were so already".to_owned()]));
        }
        let events = vec![event(&asker.by, &asker.reason, what)];
        let answer = Answer { id: 0, sentences: vec![sentence.to_owned()], plans: None, changed: true };
        let change = Change { intents: Some(intents), events, ..Change::default() };
        Asked::Changes(Box::new(change), answer)
    }
}
