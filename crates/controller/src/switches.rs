//! The switch for automation, and the hold on ramps.

use crate::asks::{Asked, Asker};
use crate::commit::Change;
use crate::controller::{Controller, event};
use crate::effect::{Answer, Denial, DenialKind};
use crate::input::{Now, RampAsk};
use crate::intents;
use tidegate_domain::{MoveKind, Switch, Wall};
use tidegate_record::EventKind;

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
