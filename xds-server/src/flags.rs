//! What the server is started with.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use tidegate_api::tokens::Role;

#[derive(Debug, Parser)]
#[command(name = "xds-server", version, about = "Decides and publishes where traffic goes")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Prints the operator API's OpenAPI document.
    Openapi,
    /// Prints a new token, and the line for the token file that lets it in.
    Token {
        /// Who will hold it; stands in the audit.
        #[arg(long)]
        subject: String,
        /// What it may do.
        #[arg(long, value_parser = PossibleValuesParser::new(Role::WORDS).try_map(|r| r.parse::<Role>()))]
        role: Role,
        /// Ends after so many days; without it, never.
        #[arg(long)]
        days: Option<u32>,
    },
    /// Prints a new line for a keyring file.
    Key,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Serve {
    /// Name of this server among the members of the gossip.
    #[arg(long, default_value = "server-1")]
    pub(crate) name: String,
    /// Configuration directory.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Store directory; one server each.
    #[arg(long)]
    pub(crate) store: Option<PathBuf>,
    /// Token file, mode 0600: a line each, written by `xds-server token`.
    #[arg(long)]
    pub(crate) tokens: Option<PathBuf>,
    /// Keyring of the gossip, mode 0600.
    #[arg(long)]
    pub(crate) keyring: Option<PathBuf>,
    /// Operator API and /metrics.
    #[arg(long, default_value = "127.0.0.1:8400")]
    pub(crate) api: SocketAddr,
    /// gRPC: ADS for edges, target lists for probers.
    #[arg(long, default_value = "127.0.0.1:8401")]
    pub(crate) xds: SocketAddr,
    /// UDP of the gossip.
    #[arg(long, default_value = "127.0.0.1:8402")]
    pub(crate) gossip: SocketAddr,
    /// Where other members reach the gossip, if not at --gossip.
    #[arg(long)]
    pub(crate) advertise: Option<SocketAddr>,
    /// Serve plain text beyond loopback. Shown by `status`.
    #[arg(long)]
    pub(crate) insecure_plaintext: bool,
    /// On SIGTERM edges are sent away spread over so many milliseconds.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) shutdown_spread_ms: u64,
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Serve {
    /// Addresses that would leave the machine in plain text.
    pub(crate) fn exposed(&self) -> Vec<SocketAddr> {
        [self.api, self.xds].into_iter().filter(|a| !a.ip().is_loopback()).collect()
    }
}
