//! `tidegate`, the operator's command: see, explain and steer where traffic goes.
//!
//! Owns the command tree and how answers look. It decides nothing: what the server refuses stays refused.

mod acts;
mod args;
mod bootstrap;
mod client;
mod config;
mod explain;
mod failure;
mod history;
mod plan;
mod policy;
#[cfg(test)]
mod printed;
mod reads;
mod ui;

use crate::ui::{out, out_raw};
use args::{Cli, ConfigVerb, Output, ProviderVerb, Verb};
use clap::{CommandFactory, Parser};
use client::Client;
use failure::Failure;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    // One crypto provider for the whole program; a second call would only say that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidegate: no runtime: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run(&cli)) {
        Ok(code) => ExitCode::from(if code == 0 { ui::ended() } else { code }),
        Err(failure) => {
            eprintln!("tidegate: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// Runs the verb, again and again with `--watch`.
async fn run(cli: &Cli) -> Result<u8, Failure> {
    if !cli.global.watch {
        return once(cli).await;
    }
    if let Some(instead) = not_watched(&cli.verb) {
        return Err(Failure::usage("--watch shows a reading verb again; this verb is none, nothing was done", instead));
    }
    loop {
        if ui::terminal() {
            out_raw!("\x1b[2J\x1b[H");
        }
        match once(cli).await {
            // What was asked for is wrong and stays wrong.
            Err(failure) if failure.code == failure::USAGE => return Err(failure),
            Err(failure) => eprintln!("tidegate: {failure}"),
            Ok(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(0),
        }
    }
}

/// Why a verb may not be shown again and again, as what to do instead: a write would be repeated, and what is written to
/// a file or already follows needs no watching. Every verb is named, so that a new write cannot slip through.
fn not_watched(verb: &Verb) -> Option<&'static str> {
    match verb {
        Verb::Status
        | Verb::Verdicts { .. }
        | Verb::Members
        | Verb::Edges
        | Verb::Splits
        | Verb::Explain { .. }
        | Verb::Plan { .. }
        | Verb::Drains
        | Verb::Audit
        | Verb::Decisions
        | Verb::Events { follow: false, .. }
        | Verb::Config(ConfigVerb::Check { .. } | ConfigVerb::Diff { .. })
        | Verb::Policy(_)
        | Verb::Check { .. } => None,
        Verb::Drain(_) => Some("say --wait to see a drain through, or watch it with `tidegate drains -w`"),
        Verb::Restore { .. } | Verb::Ramp { .. } => Some("leave -w out; `tidegate splits -w` shows what follows"),
        Verb::JoinToken { .. } => Some("leave -w out: a token is shown once"),
        Verb::Provider(ProviderVerb::Api(_)) => Some("leave -w out; `tidegate verdicts -w` shows what is found"),
        Verb::Automation { .. } => Some("leave -w out; `tidegate status -w` shows the switch"),
        Verb::Config(ConfigVerb::Reload { .. }) => Some("leave -w out; `tidegate status -w` shows what runs"),
        Verb::Events { follow: true, .. } => Some("leave -w out: --follow stays by itself"),
        Verb::Replay { .. } | Verb::Config(ConfigVerb::Schema) | Verb::Bootstrap(_) | Verb::Completions { .. } => {
            Some("leave -w out")
        }
    }
}

async fn once(cli: &Cli) -> Result<u8, Failure> {
    let out = cli.global.output;
    let client = || Client::new(&cli.global);
    match &cli.verb {
        Verb::Status => reads::status(&client()?, out).await,
        Verb::Verdicts { all } => reads::verdicts(&client()?, out, *all).await,
        Verb::Members => reads::members(&client()?, out).await,
        Verb::Edges => reads::edges(&client()?, out).await,
        Verb::Splits => reads::splits(&client()?, out).await,
        Verb::Explain { about, name } => explain::explain(client, out, about, name.as_deref()).await,
        Verb::Plan { config: Some(dir), lose } => plan::offline(dir, lose, out),
        Verb::Plan { config: None, lose } => plan::live(&client()?, lose, out).await,
        Verb::Drain(drain) => acts::drain(&client()?, out, drain).await,
        Verb::Restore { place, service, reason, dry_run } => {
            acts::restore(&client()?, out, place, service.as_deref(), reason, *dry_run).await
        }
        Verb::Drains => acts::drains(&client()?, out).await,
        Verb::JoinToken { vantage, lasting_ms, reason } => {
            acts::join_token(&client()?, out, vantage, *lasting_ms, reason).await
        }
        Verb::Ramp { action, reason } => acts::ramp(&client()?, out, *action, reason).await,
        Verb::Provider(ProviderVerb::Api(wish)) => acts::provider_api(&client()?, out, wish).await,
        Verb::Automation { action, only, lasting_ms, reason } => {
            acts::automation(&client()?, out, *action, *only, *lasting_ms, reason).await
        }
        Verb::Events { follow, last, denied } => history::events(&client()?, out, *follow, *last, *denied).await,
        Verb::Audit => history::audit(&client()?, out).await,
        Verb::Decisions => history::decisions(&client()?, out).await,
        Verb::Replay { id } => history::replay(&client()?, out, id).await,
        Verb::Config(verb) => config::config(client, out, verb).await,
        Verb::Policy(verb) => policy::policy(out, verb),
        Verb::Bootstrap(args::BootstrapVerb::Envoy(wish)) => bootstrap::envoy(wish).await,
        Verb::Check { wait } => reads::check(&client()?, out, *wait).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "tidegate", &mut script);
            out_raw!("{}", String::from_utf8_lossy(&script));
            Ok(0)
        }
    }
}

/// Prints `value` as JSON, or lets `table` print it for people.
fn show<T: Serialize>(out: Output, value: &T, table: impl FnOnce(&T)) -> Result<(), Failure> {
    match out {
        Output::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(format!("no JSON: {e}"), ""))?;
            out!("{text}");
        }
        Output::Table => table(value),
    }
    Ok(())
}
