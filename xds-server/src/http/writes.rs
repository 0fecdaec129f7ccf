//! What people ask for. Every write needs a reason and at least the role `operator`.

use super::auth::Caller;
use super::extract::{Named, Wish, bad};
use super::{Answered, Refused, broken, render};
use crate::app::App;
use crate::{clock, feed, start};
use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use tidegate_api as api;
use tidegate_api::tokens::Role;
use tidegate_api::words;
use tidegate_api::{ApiError, Code};
use tidegate_controller::{Answer, Ask, Input, Model, RampAsk};
use tidegate_domain::{Millis, Plan};

/// Grace for open streams where none is named.
const GRACE: Millis = Millis(300_000);

/// How long a word on a provider's API counts where it is not named.
const API_WORD: Millis = Millis(4 * 3_600_000);

/// A write that somebody asks for: who, what, why. Every refusal of it is put on record: here, or by the loop.
struct Act<'a> {
    app: &'a App,
    caller: &'a Caller,
    /// As a noun: `the drain of aws`.
    asked: String,
    reason: &'a str,
}

impl<'a> Act<'a> {
    /// Judges the role and the reason.
    async fn new(
        app: &'a App,
        caller: &'a Caller,
        role: Role,
        asked: String,
        reason: &'a str,
    ) -> Result<Self, Refused> {
        let act = Self { app, caller, asked, reason: reason.trim() };
        let no_reason = || bad("the reason is empty", "say in a few words why; it stands in the audit");
        let good = caller.needs(role, &act.asked);
        let good = good.and_then(|()| if act.reason.is_empty() { Err(Box::new(no_reason())) } else { Ok(()) });
        match good {
            Ok(()) => Ok(act),
            Err(error) => Err(act.refused(*error).await),
        }
    }

    /// Puts a refusal on record; it stands whether or not that can be done.
    async fn refused(&self, error: ApiError) -> Refused {
        let details = if error.details.is_empty() { String::new() } else { format!(": {}", error.details.join("; ")) };
        let (by, reason, asked) = (self.caller.subject.clone(), self.reason.to_owned(), self.asked.clone());
        let why = format!("{}{details}", error.message);
        let _ = self.app.inputs.send(Input::Refused { by, reason, asked, why }).await;
        Refused::from(error)
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Refused> {
        Ok(self.app.ask(&self.caller.subject, self.reason, ask).await?)
    }
}

/// `1 fault`, `2 faults`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn changes(model: &Model, answer: &Answer) -> Vec<api::SplitChange> {
    let Some((before, after)) = &answer.plans else { return Vec::new() };
    let fleet = &model.fleet;
    let of = |plan: &Plan, s: &tidegate_domain::ClassSplit| {
        plan.split(s.class, s.group).map_or_else(Vec::new, |s| s.weights.clone())
    };
    after
        .splits
        .iter()
        .filter(|s| of(before, s) != s.weights)
        .map(|s| api::SplitChange {
            class: fleet.class_name(s.class),
            group: fleet.groups[s.group.at()].name.to_string(),
            before: words::shares(fleet, &of(before, s)),
            after: words::shares(fleet, &s.weights),
        })
        .collect()
}

fn drain_answer(model: &Model, answer: &Answer) -> api::DrainAnswer {
    api::DrainAnswer {
        api_version: api::VERSION.to_owned(),
        id: answer.id,
        steps: answer.sentences.clone(),
        splits: changes(model, answer),
        changed: answer.changed,
    }
}

#[utoipa::path(post, path = "/v1/drains", request_body = api::DrainRequest, responses((status = 200, body = api::DrainAnswer)))]
pub(super) async fn drain(
    caller: Caller,
    State(app): State<Arc<App>>,
    Wish(wish): Wish<api::DrainRequest>,
) -> Answered<api::DrainAnswer> {
    let api::DrainRequest { place, service, for_ms, grace_ms, reason: why, dry_run } = wish;
    let role = if dry_run { Role::Viewer } else { Role::Operator };
    let model = app.model()?;
    let ask =
        Ask::Drain { place, service, lasting: for_ms.map(Millis), grace: grace_ms.map_or(GRACE, Millis), dry_run };
    let answer = Act::new(&app, &caller, role, ask.noun(), &why).await?.ask(ask).await?;
    Ok(Json(drain_answer(&model, &answer)))
}

#[utoipa::path(post, path = "/v1/restores", request_body = api::RestoreRequest, responses((status = 200, body = api::DrainAnswer)))]
pub(super) async fn restore(
    caller: Caller,
    State(app): State<Arc<App>>,
    Wish(wish): Wish<api::RestoreRequest>,
) -> Answered<api::DrainAnswer> {
    let api::RestoreRequest { place, service, reason: why, dry_run } = wish;
    let role = if dry_run { Role::Viewer } else { Role::Operator };
    let model = app.model()?;
    let ask = Ask::Restore { place, service, dry_run };
    let answer = Act::new(&app, &caller, role, ask.noun(), &why).await?.ask(ask).await?;
    Ok(Json(drain_answer(&model, &answer)))
}

#[utoipa::path(get, path = "/v1/drains", responses((status = 200, body = api::Drains)))]
pub(super) async fn drains(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Drains> {
    let model = app.model()?;
    let drains = model.intents.drains.iter().map(|d| render::drain(&app, &model, d)).collect();
    Ok(Json(api::Drains { api_version: api::VERSION.to_owned(), drains }))
}

#[utoipa::path(get, path = "/v1/drains/{id}", params(("id" = u64, Path)), responses((status = 200, body = api::DrainState)))]
pub(super) async fn drain_state(
    _: Caller,
    State(app): State<Arc<App>>,
    Named(id): Named<u64>,
) -> Answered<api::DrainState> {
    let model = app.model()?;
    let Some(drain) = model.intents.drains.iter().find(|d| d.id == id) else {
        return Err(ApiError::new(
            Code::NotFound,
            format!("drain #{id} does not stand"),
            "`tidegate drains` lists what does",
        )
        .into());
    };
    Ok(Json(render::drain(&app, &model, drain)))
}

#[utoipa::path(post, path = "/v1/automation", request_body = api::AutomationRequest, responses((status = 200, body = api::Done)))]
pub(super) async fn automation(
    caller: Caller,
    State(app): State<Arc<App>>,
    Wish(wish): Wish<api::AutomationRequest>,
) -> Answered<api::Done> {
    let api::AutomationRequest { action, kind, for_ms, reason: why } = wish;
    let asked = format!("automation {action} of {kind} moves");
    let act = Act::new(&app, &caller, Role::Operator, asked, &why).await?;
    let pause = match action.as_str() {
        "pause" => true,
        "resume" => false,
        other => return Err(act.refused(bad(format!("`{other}` is no action"), "write pause or resume")).await),
    };
    let (safety, economic) = match kind.as_str() {
        "safety" => (true, false),
        "economic" => (false, true),
        "all" => (true, true),
        other => return Err(act.refused(bad(format!("`{other}` is no kind"), "write safety, economic or all")).await),
    };
    done(&act.ask(Ask::Automation { pause, safety, economic, lasting: for_ms.map(Millis) }).await?)
}

#[utoipa::path(post, path = "/v1/providers/{name}/api", params(("name" = String, Path)), request_body = api::ProviderApiRequest, responses((status = 200, body = api::Done)))]
pub(super) async fn provider_api(
    caller: Caller,
    State(app): State<Arc<App>>,
    Named(provider): Named<String>,
    Wish(wish): Wish<api::ProviderApiRequest>,
) -> Answered<api::Done> {
    let api::ProviderApiRequest { word, for_ms, reason: why } = wish;
    let asked = format!("the word of {word} on the API of {provider}");
    let act = Act::new(&app, &caller, Role::Operator, asked, &why).await?;
    let trouble = match word.as_str() {
        "trouble" => Some(true),
        "well" => Some(false),
        "forget" => None,
        other => return Err(act.refused(bad(format!("`{other}` is no word"), "write trouble, well or forget")).await),
    };
    done(&act.ask(Ask::ProviderApi { provider, trouble, lasting: for_ms.map_or(API_WORD, Millis) }).await?)
}

#[utoipa::path(post, path = "/v1/ramp", request_body = api::RampRequest, responses((status = 200, body = api::Done)))]
pub(super) async fn ramp(
    caller: Caller,
    State(app): State<Arc<App>>,
    Wish(wish): Wish<api::RampRequest>,
) -> Answered<api::Done> {
    let api::RampRequest { action, reason: why } = wish;
    let act = Act::new(&app, &caller, Role::Operator, format!("ramp {action}"), &why).await?;
    let ask = match action.as_str() {
        "pause" => RampAsk::Pause,
        "resume" => RampAsk::Resume,
        "abort" => RampAsk::Abort,
        other => return Err(act.refused(bad(format!("`{other}` is no action"), "write pause, resume or abort")).await),
    };
    done(&act.ask(Ask::Ramp(ask)).await?)
}

#[utoipa::path(post, path = "/v1/joins", request_body = api::JoinAsked, responses((status = 200, body = api::JoinToken)))]
pub(super) async fn join(
    caller: Caller,
    State(app): State<Arc<App>>,
    Wish(wish): Wish<api::JoinAsked>,
) -> Answered<api::JoinToken> {
    let api::JoinAsked { vantage, for_ms, reason: why } = wish;
    let (ask, lasting) = (Ask::Invite { vantage: vantage.clone(), lasting: Millis(for_ms) }, Millis(for_ms));
    let act = Act::new(&app, &caller, Role::Admin, ask.noun(), &why).await?;
    let made = feed::invite(&app.invitations, &vantage, lasting);
    let token = match made {
        Ok(token) => token,
        Err(error) => return Err(act.refused(bad(error.to_string(), "write another `for_ms`, or wait")).await),
    };
    // What the loop does not put on record was never shown: it ends unused.
    act.ask(ask).await?;
    let until_ms = (clock::wall() + lasting).0;
    Ok(Json(api::JoinToken { api_version: api::VERSION.to_owned(), vantage, token, until_ms }))
}

fn done(answer: &Answer) -> Answered<api::Done> {
    let Answer { id: _, sentences, plans: _, changed } = answer;
    Ok(Json(api::Done { api_version: api::VERSION.to_owned(), changed: *changed, sentences: sentences.clone() }))
}

#[utoipa::path(post, path = "/v1/config/reload", request_body = api::ReloadRequest, responses((status = 200, body = api::Done)))]
pub(super) async fn reload(
    caller: Caller,
    State(app): State<Arc<App>>,
    Wish(wish): Wish<api::ReloadRequest>,
) -> Answered<api::Done> {
    let api::ReloadRequest { documents, yes_remove, accept_gap, dry_run, reason: why } = wish;
    let asked = if dry_run { "a preview of a configuration reload" } else { "a configuration reload" };
    let act = Act::new(&app, &caller, Role::Admin, asked.to_owned(), &why).await?;
    let model = app.model()?;
    let own = documents.is_empty();
    let (ask, notes) = match prepare(&app, documents, &model, (yes_remove, accept_gap, dry_run)).await {
        Ok(ready) => ready,
        Err(error) => return Err(act.refused(*error).await),
    };
    let answer = act.ask(ask).await?;
    if !dry_run {
        let other = "what runs came by the API: the configuration directory holds something else".to_owned();
        app.directory.store((!own).then(|| Arc::new(other)));
    }
    let mut sentences = answer.sentences.clone();
    sentences.extend(notes);
    Ok(Json(api::Done { api_version: api::VERSION.to_owned(), changed: answer.changed, sentences }))
}

/// The documents that were sent, or the server's own directory, ready to be asked for; all faults at once. Reading,
/// compiling and comparing may take a while: on a thread that may block.
async fn prepare(
    app: &App,
    documents: Vec<api::Document>,
    model: &Arc<Model>,
    (yes_remove, accept_gap, dry_run): (bool, bool, bool),
) -> Result<(Ask, Vec<String>), Box<ApiError>> {
    let (dir, stands) = (app.flags.config.clone(), Arc::clone(&model.fleet));
    let widenings_refused = app.metrics.widenings_refused.clone();
    let read = tokio::task::spawn_blocking(move || {
        let loaded = match (documents.is_empty(), dir) {
            (true, Some(dir)) => tidegate_config::load_dir(&dir),
            _ => tidegate_config::load_documents(documents.into_iter().map(|d| (d.name, d.text)).collect()),
        };
        let loaded = loaded.map_err(|faults| {
            let details: Vec<String> = faults.to_string().lines().map(str::to_owned).collect();
            let what = format!("{}; nothing was changed", counted(faults.errors(), "fault"));
            let next = "`tidegate config check DIR` prints the same list";
            Box::new(ApiError::new(Code::ConfigFaults, what, next).with_details(details))
        })?;
        let change = tidegate_config::compare(&stands, &loaded.fleet);
        let removals = tidegate_config::guard(&change, false).err().unwrap_or_default();
        let removals = removals.iter().map(ToString::to_string).collect();
        let mut notes: Vec<String> = change.widenings.iter().map(|w| format!("WIDENS {w}")).collect();
        notes.extend(loaded.warnings.iter().map(ToString::to_string));
        let candidate = start::candidate(loaded, &widenings_refused).map_err(|faults| {
            let what = format!("{} in the policy; nothing was changed", counted(faults.len(), "fault"));
            Box::new(
                ApiError::new(Code::PolicyFaults, what, "`tidegate policy check DIR` shows more").with_details(faults),
            )
        })?;
        let (candidate, from) = (Box::new(candidate), stands.revision);
        Ok((Ask::Reload { candidate, from, removals, yes_remove, accept_gap, dry_run }, notes))
    });
    read.await.map_err(|e| Box::new(broken(&e)))?
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "fault")), ["0 faults", "1 fault", "2 faults"]);
    }
}
