//! The command tree: every verb and flag with its help. What the verbs do stands beside, by what they are about.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    about = "See, explain and steer where traffic goes",
    after_help = "Exit codes: 0 done or no change, 1 failed, 2 usage, 3 changes pending, 4 denied by policy, 5 timed out, \
                  6 unsafe.\nA code like TG-2001 is explained by `tidegate explain TG-2001`."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Args, Clone)]
pub(crate) struct Global {
    /// Address of the server's operator API.
    #[arg(long, global = true, env = "TIDEGATE_SERVER", default_value = "http://127.0.0.1:8400")]
    pub(crate) server: String,
    /// File (mode 0600) that holds the token.
    #[arg(long, global = true, env = "TIDEGATE_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Tables for people, JSON (versioned) for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Show again every second until interrupted; for verbs that only read.
    #[arg(short, long, global = true)]
    pub(crate) watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Ten lines: is anything down, who decided, is automation on, what does it wait for, what is not protected.
    Status,
    /// What the electorate found, with evidence.
    Verdicts {
        /// Endpoints and single votes too.
        #[arg(long)]
        all: bool,
    },
    /// Probers and servers: who is heard, who votes, and why not.
    Members,
    /// Every edge and what it has acknowledged, with its own words where it refused.
    Edges,
    /// What every client group is told: shares by class and region.
    Splits,
    /// Why is it so: `service NAME`, `region PROVIDER/REGION`, `decision ID`, or an error code.
    Explain {
        /// `service`, `region`, `decision`, or a code like TG-2001.
        about: String,
        /// Its name or id.
        name: Option<String>,
    },
    /// What if a place is lost? Of what runs now, or of configuration files: what would follow at once.
    Plan {
        /// A configuration directory instead of a server: offline, from the layout that stands when all is well.
        #[arg(long, value_name = "DIR")]
        config: Option<PathBuf>,
        /// `aws` or `gcp/europe-west4`; may be repeated: lost together.
        #[arg(long, value_name = "PLACE", required_unless_present = "config")]
        lose: Vec<String>,
    },
    /// Take traffic off a place, in steps under the share cap.
    Drain(Drain),
    /// Let a place fill again, by the slow ramp.
    Restore {
        /// `aws` or `aws/us-east-1`.
        place: String,
        /// Only this service; without it, all.
        #[arg(long)]
        service: Option<String>,
        /// Why; stands in the audit.
        #[arg(long)]
        reason: String,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
    },
    /// Standing drains and how far they are.
    Drains,
    /// Hold, release or abandon the ramps under way.
    Ramp {
        #[arg(value_enum)]
        action: RampAction,
        /// Why; stands in the audit.
        #[arg(long)]
        reason: String,
    },
    /// A token that lets one new prober in, once: it comes by the gossip's keyring with it. Shown once.
    JoinToken {
        /// The vantage that it will be, as the configuration names it.
        vantage: String,
        /// Open for so long: `30m`, `1h`; a day at most.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration_ms, default_value = "1h")]
        lasting_ms: u64,
        /// Why; stands in the audit.
        #[arg(long)]
        reason: String,
    },
    /// What is known of a provider itself.
    #[command(subcommand)]
    Provider(ProviderVerb),
    /// The switch for automation.
    Automation {
        #[arg(value_enum)]
        action: SwitchAction,
        /// Which half.
        #[arg(long, value_enum, default_value_t = Half::All)]
        only: Half,
        /// Ends by itself: `30m`, `2h`.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration_ms)]
        lasting_ms: Option<u64>,
        /// Why; stands in the audit.
        #[arg(long)]
        reason: String,
    },
    /// What happened, newest last.
    Events {
        /// Stay and show what comes.
        #[arg(long)]
        follow: bool,
        /// Only so many of the newest.
        #[arg(long, default_value_t = 50)]
        last: usize,
        /// Only what was refused: to a person by a rule or a role, or by an edge.
        #[arg(long)]
        denied: bool,
    },
    /// Acts of people, and whether the journal's hash chain holds.
    Audit,
    /// All decisions on record.
    Decisions,
    /// Runs a recorded decision again and compares the bytes; `all` for every decision.
    Replay {
        /// Decision id, or `all`.
        id: String,
    },
    /// Configuration: check, reload, schema.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Policy: check.
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Writes a bootstrap for an edge.
    #[command(subcommand)]
    Bootstrap(BootstrapVerb),
    /// Graded checks of the running system.
    Check {
        /// Try until all pass or so long: `60s`.
        #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
        wait: Option<u64>,
    },
    /// Shell completions.
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// `aws` or `aws/us-east-1`.
    pub(crate) place: String,
    /// Only this service; without it, all.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Ends by itself: `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_ms)]
    pub(crate) lasting_ms: Option<u64>,
    /// Why; stands in the audit.
    #[arg(long)]
    pub(crate) reason: String,
    /// Only say what would happen.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Return when the place sees no new request and its streams have ended or the grace is over.
    #[arg(long)]
    pub(crate) wait: bool,
    /// For open streams: `5m`.
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "5m")]
    pub(crate) grace: u64,
    /// With --wait: give up after so long.
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "30m")]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderVerb {
    /// Says how the provider's own API is (launching machines, changing load balancers), over what the probes see: in
    /// trouble, nothing but safety moves changes what the provider carries.
    Api(ProviderApi),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("word").required(true).args(["trouble", "well", "forget"])))]
pub(crate) struct ProviderApi {
    /// `aws`.
    pub(crate) provider: String,
    /// It is in trouble.
    #[arg(long)]
    pub(crate) trouble: bool,
    /// It is well, whatever the probes see.
    #[arg(long)]
    pub(crate) well: bool,
    /// What was said before no longer counts; the probes are heard again.
    #[arg(long)]
    pub(crate) forget: bool,
    /// For how long the word counts: `30m`, `2h`, 7d at most.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_ms, default_value = "4h")]
    pub(crate) lasting_ms: u64,
    /// Why; stands in the audit.
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RampAction {
    Pause,
    Resume,
    Abort,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SwitchAction {
    Pause,
    Resume,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Half {
    Safety,
    Economic,
    All,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Reports every fault of a configuration directory, and which losses the fleet can tell.
    Check { dir: PathBuf },
    /// The server takes a directory, whole or not at all.
    Reload {
        /// Directory to send; without it the server reads its own again.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Allow dropping a class or more than a quarter of the endpoints.
        #[arg(long)]
        yes_remove: bool,
        /// Allow a revision under which a loss has no authorised plan.
        #[arg(long)]
        accept_gap: bool,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
        /// Why; stands in the audit.
        #[arg(long)]
        reason: String,
    },
    /// What changes between two directories; widenings are named as such.
    Diff { old: PathBuf, new: PathBuf },
    /// The JSON schema of the configuration.
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Compiles the policy of a configuration directory, runs its tests, shows what it denies.
    Check { dir: PathBuf },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BootstrapVerb {
    /// For a real Envoy: delta ADS from two servers.
    Envoy(BootstrapEnvoy),
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapEnvoy {
    /// Node id, unique.
    #[arg(long)]
    pub(crate) node: String,
    /// Client group.
    #[arg(long)]
    pub(crate) group: String,
    /// `host:port` of an xDS server; name two, so that an Envoy that restarts while one is away finds the other.
    #[arg(long = "xds", required = true)]
    pub(crate) xds: Vec<String>,
    /// `host:port` of Envoy's admin page.
    #[arg(long, default_value = "127.0.0.1:9901")]
    pub(crate) admin: String,
    /// Allow servers on other machines: Envoy then speaks plain text to them.
    #[arg(long)]
    pub(crate) insecure_plaintext: bool,
    /// Writes the group's present resources into this directory as files, and a bootstrap that reads these instead of
    /// asking a server: for an Envoy that must start while no server is there. It follows no verdict until they are
    /// written again.
    #[arg(long = "static")]
    pub(crate) static_dir: Option<PathBuf>,
}

/// `500ms`, `90s`, `30m`, `2h`, `1d` in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a duration: write 500ms, 90s, 30m, 2h or 1d");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
    #[test]
    fn durations() {
        for (text, ms) in [("500ms", 500), ("90s", 90_000), ("2h", 7_200_000), ("1d", 86_400_000)] {
            assert_eq!(duration_ms(text), Ok(ms));
        }
        for bad in ["", "5", "h", "2w", "-1s", "1.5h"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }
}
