//! What a person does: drain, restore, ramp, automation. Each is refused or granted by the server, and audited there.

use crate::args::{Drain, Half, Output, ProviderApi, RampAction, SwitchAction};
use crate::client::Client;
use crate::failure::{After, Failure, PENDING, TIMED_OUT};
use crate::show;
use crate::ui::out;
use crate::ui::{age, go_on_without_stdout, percent, state, table, when};
use serde::Serialize;
use std::time::Duration;
use tidegate_api::{
    AutomationRequest, Done, DrainAnswer, DrainRequest, DrainState, Drains, JoinAsked, JoinToken, ProviderApiRequest,
    RampRequest, RegionShare, RestoreRequest,
};

pub(crate) async fn drain(client: &Client, out: Output, wish: &Drain) -> Result<u8, Failure> {
    let request = DrainRequest {
        place: wish.place.clone(),
        service: wish.service.clone(),
        for_ms: wish.lasting_ms,
        grace_ms: Some(wish.grace),
        reason: wish.reason.clone(),
        dry_run: wish.dry_run,
    };
    let answer: DrainAnswer = client.post("/v1/drains", &request).await?;
    if wish.dry_run || !wish.wait {
        show(out, &answer, print_answer)?;
        return Ok(if wish.dry_run && !answer.splits.is_empty() { PENDING } else { 0 });
    }
    // The drain stands: it is seen through whether or not anybody still reads.
    go_on_without_stdout();
    if out == Output::Table {
        print_answer(&answer);
    }
    let (id, place) = (answer.id, answer_place(wish));
    let mut last = None;
    let outcome = wait(client, id, &place, wish.timeout, &mut last).await;
    if out == Output::Json {
        // One document, however it ended: the state last seen says how far the drain is.
        let done = outcome.is_ok();
        show(out, &Waited { api_version: tidegate_api::VERSION, done, answer, state: last }, |_| {})?;
    }
    outcome.map(|()| 0)
}

/// `drain --wait`, for programs.
#[derive(Debug, Serialize)]
struct Waited {
    api_version: &'static str,
    done: bool,
    answer: DrainAnswer,
    state: Option<DrainState>,
}

fn answer_place(wish: &Drain) -> String {
    match &wish.service {
        Some(service) => format!("{} --service {service}", wish.place),
        None => wish.place.clone(),
    }
}

pub(crate) async fn restore(
    client: &Client,
    out: Output,
    place: &str,
    service: Option<&str>,
    reason: &str,
    dry_run: bool,
) -> Result<u8, Failure> {
    let request = RestoreRequest {
        place: place.to_owned(),
        service: service.map(str::to_owned),
        reason: reason.to_owned(),
        dry_run,
    };
    let answer: DrainAnswer = client.post("/v1/restores", &request).await?;
    show(out, &answer, print_answer)?;
    // A restore always changes something: it gives leave to fill, whether a drain stands or not.
    Ok(if dry_run { PENDING } else { 0 })
}

fn print_answer(answer: &DrainAnswer) {
    for step in &answer.steps {
        out!("{step}");
    }
    let shares = |shares: &[RegionShare]| {
        let all: Vec<String> = shares.iter().map(|s| format!("{} {}", s.region, percent(s.share_bps))).collect();
        all.join(" · ")
    };
    let rows =
        answer.splits.iter().map(|s| vec![s.class.clone(), s.group.clone(), shares(&s.before), shares(&s.after)]);
    if !answer.splits.is_empty() {
        out!("{}", table(&["CLASS", "CLIENTS", "NOW", "THEN"], rows.collect()));
    }
    if answer.id != 0 {
        eprintln!("drain #{}; `tidegate drains -w` shows how far it is", answer.id);
    } else if !answer.changed {
        eprintln!("nothing was changed");
    }
}

/// Between two looks at a drain.
const LOOK: Duration = Duration::from_millis(200);

/// Returns when the drain is done; says on stderr what is left when it changes. A server that does not answer, or that
/// has just started and is not ready, is asked again: the drain is in its store. `last` is the state last seen.
async fn wait(
    client: &Client,
    id: u64,
    place: &str,
    timeout_ms: u64,
    last: &mut Option<DrainState>,
) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(timeout_ms);
    let mut told_of = None;
    let mut told_at = tokio::time::Instant::now();
    let mut done_before = false;
    loop {
        let line = match client.get::<DrainState>(&format!("/v1/drains/{id}")).await {
            Ok(drain) => {
                let line = drain_line(&drain);
                // A countdown is no news: a line is due when something else changed, or every ten seconds.
                let of = Some((drain.phase.clone(), drain.left.clone(), drain.edges_behind.len(), drain.in_progress));
                if told_of != of || told_at.elapsed() >= Duration::from_secs(10) {
                    eprintln!("{line}");
                    told_at = tokio::time::Instant::now();
                    told_of = of;
                }
                let done = drain.phase == "done";
                *last = Some(drain);
                // The state first seen may be that of the moment before the drain took hold.
                if done && done_before {
                    return Ok(());
                }
                done_before = done;
                line
            }
            Err(failure) if failure.after == After::Gone => {
                let what = format!("drain #{id} ended before it was done: it was restored, or its --for was over");
                return Err(Failure::new(what, "`tidegate events --last 20` shows who ended it"));
            }
            Err(failure) if failure.after == After::Again => {
                let silent = Some((String::new(), Vec::new(), 0, None));
                if told_of != silent {
                    eprintln!("{}; asking again", failure.message);
                    told_of = silent;
                }
                done_before = false;
                failure.message
            }
            Err(failure) => return Err(failure),
        };
        if tokio::time::Instant::now() >= deadline {
            let next = format!(
                "the drain stands; `tidegate drains -w` shows it, `tidegate restore {place} --reason \"...\"` ends it"
            );
            return Err(Failure::new(format!("not done after {}: {line}", age(timeout_ms)), next).with_code(TIMED_OUT));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn drain_line(d: &DrainState) -> String {
    let mut parts = vec![format!("drain #{} of {}: {}", d.id, d.place, d.phase)];
    let left: Vec<String> =
        d.left.iter().map(|l| format!("{} at {} {}", l.class, l.group, percent(l.share_bps))).collect();
    if !left.is_empty() {
        parts.push(format!("still carries {}", left.join(", ")));
    }
    if !d.edges_behind.is_empty() {
        parts.push(format!("{} edges have not acknowledged ({})", d.edges_behind.len(), d.edges_behind.join(", ")));
    }
    if let Some(rate) = d.new_requests_milli_rps.filter(|r| *r > 0) {
        parts.push(format!("{}.{:03} new requests/s", rate / 1000, rate % 1000));
    }
    if let Some(open) = d.in_progress.filter(|n| *n > 0) {
        parts.push(format!("{open} requests and streams still open"));
    }
    parts.extend(d.waits.iter().cloned());
    parts.join("; ")
}

pub(crate) async fn drains(client: &Client, out: Output) -> Result<u8, Failure> {
    let drains: Drains = client.get("/v1/drains").await?;
    show(out, &drains, |d| {
        for drain in &d.drains {
            out!("{} (by {}: {})", drain_line(drain), drain.by, drain.reason);
        }
        if d.drains.is_empty() {
            eprintln!("no drain stands");
        }
    })?;
    Ok(0)
}

pub(crate) async fn ramp(client: &Client, out: Output, action: RampAction, reason: &str) -> Result<u8, Failure> {
    let word = match action {
        RampAction::Pause => "pause",
        RampAction::Resume => "resume",
        RampAction::Abort => "abort",
    };
    let request = RampRequest { action: word.to_owned(), reason: reason.to_owned() };
    let done: Done = client.post("/v1/ramp", &request).await?;
    show(out, &done, print_done)?;
    Ok(0)
}

pub(crate) async fn join_token(
    client: &Client,
    out: Output,
    vantage: &str,
    for_ms: u64,
    reason: &str,
) -> Result<u8, Failure> {
    let asked = JoinAsked { vantage: vantage.to_owned(), for_ms, reason: reason.to_owned() };
    let made: JoinToken = client.post("/v1/joins", &asked).await?;
    // The token alone on stdout: `> FILE` keeps it; everything for people goes beside it.
    show(out, &made, |made| out!("{}", made.token))?;
    eprintln!(
        "for vantage {} alone, once, at this server, until {}; on its machine, in a file of mode 0600:\n  \
         health-prober --name {} --gossip IP:7946 --keyring FILE --join-token TOKENFILE --server http://HOST:8401",
        made.vantage,
        when(made.until_ms),
        made.vantage
    );
    Ok(0)
}

pub(crate) async fn provider_api(client: &Client, out: Output, wish: &ProviderApi) -> Result<u8, Failure> {
    if let Some((provider, _)) = wish.provider.split_once('/') {
        return Err(Failure::usage("an API is a provider's, not a region's", format!("name `{provider}`")));
    }
    let word = match (wish.trouble, wish.well) {
        (true, _) => "trouble",
        (false, true) => "well",
        (false, false) => "forget",
    };
    let (for_ms, reason) = (Some(wish.lasting_ms), wish.reason.clone());
    let request = ProviderApiRequest { word: word.to_owned(), for_ms, reason };
    let done: Done = client.post(&format!("/v1/providers/{}/api", wish.provider), &request).await?;
    show(out, &done, print_done)?;
    Ok(0)
}

pub(crate) async fn automation(
    client: &Client,
    out: Output,
    action: SwitchAction,
    half: Half,
    for_ms: Option<u64>,
    reason: &str,
) -> Result<u8, Failure> {
    let action = match action {
        SwitchAction::Pause => "pause",
        SwitchAction::Resume => "resume",
    };
    let kind = match half {
        Half::Safety => "safety",
        Half::Economic => "economic",
        Half::All => "all",
    };
    let request =
        AutomationRequest { action: action.to_owned(), kind: kind.to_owned(), for_ms, reason: reason.to_owned() };
    let done: Done = client.post("/v1/automation", &request).await?;
    show(out, &done, print_done)?;
    Ok(0)
}

pub(crate) fn print_done(done: &Done) {
    for sentence in &done.sentences {
        out!("{} {sentence}", state(if done.changed { "done" } else { "no change" }));
    }
}
