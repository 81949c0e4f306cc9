//! What can be typed after `offtake`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::configuration::parse_duration;

/// Keeps every tenant's own database in step with the application's Postgres.
#[derive(Debug, Parser)]
#[command(name = "offtake", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// The configuration file.
    #[arg(long, short, global = true, env = "OFFTAKE_CONFIG", default_value = "offtake.yaml", value_name = "FILE")]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 differences found, 4 some destinations failed, \
69 source unreachable, 78 invalid configuration, 130 interrupted.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole thing on private, throwaway Postgres servers.
    #[command(after_help = "Example:\n  offtake demo --tenants 5 --for 1m")]
    Demo(Demo),
    /// Prepare the source: the `offtake` schema, and triggers on the tables that the mappings name.
    #[command(after_help = "Examples:\n  offtake init\n  offtake init --print-sql > offtake.sql")]
    Init(Init),
    /// Remove every trace of Offtake from the source. Destinations keep what they have.
    #[command(after_help = "Example:\n  offtake uninstall --yes")]
    Uninstall(Uninstall),
    /// Say whether configuration and mappings can be used.
    #[command(after_help = "Examples:\n  offtake check\n  offtake check --connect")]
    Check(Check),
    /// Print the effective configuration, without secrets.
    #[command(after_help = "Examples:\n  offtake config\n  offtake config --schema > offtake.schema.json")]
    Config(Config),
    /// Run the daemon.
    #[command(after_help = "Examples:\n  offtake run\n  offtake run --once    # until nothing is owed, as a cron job")]
    Run(Run),
    /// Say how far every destination is.
    #[command(after_help = "Examples:\n  offtake status\n  offtake status --tenant acme --json")]
    Status(Status),
    /// Owe a destination a sync now, and wait for it if asked to.
    #[command(after_help = "Example:\n  offtake sync --tenant acme --wait 30s")]
    Sync(Sync),
    /// Prove that every copy equals its query.
    #[command(after_help = "Examples:\n  offtake verify\n  offtake verify --tenant acme --mapping users --json")]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub struct Demo {
    /// How many tenants, each with a database of its own.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub tenants: u32,
    /// How long the application writes.
    #[arg(long = "for", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub for_: Duration,
    /// Writes per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Where the dashboard listens.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: std::net::SocketAddr,
}

#[derive(Debug, Args)]
pub struct Init {
    /// Print the SQL instead of running it, for someone else to review and run.
    #[arg(long)]
    pub print_sql: bool,
}

#[derive(Debug, Args)]
pub struct Uninstall {
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Also ask the source whether every mapping can run, and whether every destination answers.
    #[arg(long)]
    pub connect: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Config {
    /// Print the JSON Schema of the configuration file instead.
    #[arg(long, conflicts_with = "json")]
    pub schema: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Stop when nothing is owed any more; exit 4 when some destinations failed.
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    #[arg(long, help = JSON)]
    pub json: bool,
    /// Again every two seconds, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Only this tenant's destinations.
    #[arg(long)]
    pub tenant: Option<String>,
}

#[derive(Debug, Args)]
pub struct Sync {
    /// Whose destinations.
    #[arg(long)]
    pub tenant: String,
    /// One destination of the tenant; all when absent.
    #[arg(long)]
    pub destination: Option<String>,
    /// Wait at most that long until everything written before now is there.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Only this tenant's destinations.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only this mapping.
    #[arg(long)]
    pub mapping: Option<String>,
    #[arg(long, help = JSON)]
    pub json: bool,
}

const JSON: &str = "Print JSON, for programs";

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a duration with its unit, such as 500ms, 30s or 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_has_an_example() {
        CommandLine::command().debug_assert();
        for command in CommandLine::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("offtake {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn durations_have_units() {
        assert!(CommandLine::try_parse_from(["offtake", "sync", "--tenant", "a", "--wait", "30s"]).is_ok());
        assert!(CommandLine::try_parse_from(["offtake", "sync", "--tenant", "a", "--wait", "30"]).is_err());
    }
}
