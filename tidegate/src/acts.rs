//! What a person does: drain, restore, ramp, automation. Each is refused or granted by the server, and audited there.

use crate::args::{Drain, Half, Output, RampAction, SwitchAction};
use crate::client::Client;
use crate::failure::{Failure, PENDING, TIMED_OUT};
use crate::show;
use crate::ui::out;
use crate::ui::{age, percent, state, table};
use std::time::Duration;
use tidegate_api::{
    AutomationRequest, Done, DrainAnswer, DrainRequest, DrainState, Drains, RampRequest, RegionShare, RestoreRequest,
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
    show(out, &answer, print_answer)?;
    if wish.dry_run {
        return Ok(if answer.splits.is_empty() { 0 } else { PENDING });
    }
    if wish.wait { wait(client, out, answer.id, wish.timeout).await } else { Ok(0) }
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
    Ok(if dry_run && !answer.splits.is_empty() { PENDING } else { 0 })
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

/// Returns when the drain is done; prints what is left when it changes.
async fn wait(client: &Client, out: Output, id: u64, timeout_ms: u64) -> Result<u8, Failure> {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(timeout_ms);
    let mut told_of = None;
    let mut told_at = tokio::time::Instant::now();
    loop {
        let drain: DrainState = client.get(&format!("/v1/drains/{id}")).await?;
        let line = drain_line(&drain);
        // A countdown is no news: a line is due when something else changed, or every ten seconds.
        let of = (drain.phase.clone(), drain.left.clone(), drain.edges_behind.len(), drain.in_progress);
        if told_of.as_ref() != Some(&of) || told_at.elapsed() >= Duration::from_secs(10) {
            eprintln!("{line}");
            told_at = tokio::time::Instant::now();
            told_of = Some(of);
        }
        if drain.phase == "done" {
            if out == Output::Json {
                show(out, &drain, |_| {})?;
            }
            return Ok(0);
        }
        if tokio::time::Instant::now() >= deadline {
            let next =
                format!("the drain stands; `tidegate drains -w` shows it, `tidegate restore {}` ends it", drain.place);
            return Err(Failure::new(format!("not done after {}: {line}", age(timeout_ms)), next).with_code(TIMED_OUT));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
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
