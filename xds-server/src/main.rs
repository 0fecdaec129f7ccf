//! `xds-server`: decides where traffic goes and publishes it to edges by xDS.
//!
//! Owns sockets, flags and wiring. Everything that decides is in the libraries: the loop here only turns what happens
//! into inputs of `tidegate-controller` and runs its effects.

mod admission;
mod app;
mod clock;
mod events;
mod feed;
mod flags;
mod http;
mod metrics;
mod publish;
mod run;
mod senses;
mod start;

use anyhow::{Context, Result};
use clap::Parser;
use flags::{Cli, LogFormat, Verb};
use ring::rand::{SecureRandom, SystemRandom};
use std::io::IsTerminal;
use tidegate_api::tokens;
use tidegate_domain::Millis;

fn main() -> Result<()> {
    // One crypto provider for the whole program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    match cli.verb {
        Some(Verb::Openapi) => {
            println!("{}", serde_json::to_string_pretty(&http::openapi())?);
            Ok(())
        }
        Some(Verb::Token { subject, role, days }) => {
            let until = days.map(|d| clock::wall() + Millis(u64::from(d) * 86_400_000));
            let (token, line) = tokens::new_token(&subject, role, until).map_err(anyhow::Error::msg)?;
            println!("{line}");
            eprintln!("the token, shown once: {token}\nput the line above into the server's token file");
            Ok(())
        }
        Some(Verb::Key) => {
            let mut key = [0_u8; 32];
            SystemRandom::new().fill(&mut key).ok().context("the system gives no randomness")?;
            println!("{}", tokens::hex(&key));
            Ok(())
        }
        None => {
            log_to_stderr(cli.serve.log_format);
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run::serve(cli.serve))
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIDEGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A log file or a journal has no use for colours.
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

#[cfg(test)]
mod tests;
