//! What can be typed after `offtake`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use offtake_admin::operations;

use crate::configuration::parse_duration;

/// Keeps every tenant's own database in step with the application's Postgres.
#[derive(Debug, Parser)]
#[command(name = "offtake", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        env = "OFFTAKE_CONFIG",
        default_value = "offtake.yaml",
        value_name = "FILE"
    )]
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
    #[command(
        after_help = "Examples:\n  offtake check\n  offtake check --connect\n  offtake check --diff    # before a deployment: would copies change?"
    )]
    Check(Check),
    /// Show the rows that a destination would hold, or what edited mappings would change.
    #[command(after_help = "Examples:\n  offtake preview --tenant acme --mapping users\n  \
                            offtake preview --changed --mappings edited/    # before the files go live")]
    Preview(Preview),
    /// Print the effective configuration, without secrets.
    #[command(
        after_help = "Examples:\n  offtake config\n  offtake config --schema > offtake.schema.json\n  offtake config --example > offtake.yaml"
    )]
    Config(Config),
    /// Run the daemon.
    #[command(
        after_help = "Examples:\n  offtake run\n  offtake run --once    # until nothing is owed, as a cron job"
    )]
    Run(Run),
    /// Say how far every destination is.
    #[command(after_help = "Examples:\n  offtake status\n  offtake status --tenant acme --json")]
    Status(Status),
    /// Owe a destination a sync now, and wait for it if asked to.
    #[command(after_help = "Example:\n  offtake sync --tenant acme --wait 30s")]
    Sync(Sync),
    /// Prove that every copy equals its query.
    #[command(
        after_help = "Examples:\n  offtake verify\n  offtake verify --tenant acme --mapping users --json\n  \
                            offtake verify --tenant acme --repair"
    )]
    Verify(Verify),
    /// Copy a tenant's tables anew, in place: readers never find a row missing.
    #[command(
        after_help = "Examples:\n  offtake resync --tenant acme --wait 10m\n  offtake resync --tenant acme --mapping users\n  \
                            offtake resync --tenant acme --drop --yes    # tables of mappings that are gone"
    )]
    Resync(Resync),
    /// Stop writing to a tenant's destinations. What is owed to them is kept.
    #[command(
        after_help = "Example:\n  offtake pause --tenant acme --reason 'their migration' --for 1h"
    )]
    Pause(Pause),
    /// Let a tenant's paused destinations go on.
    #[command(after_help = "Example:\n  offtake resume --tenant acme")]
    Resume(Resume),
    /// Stop a loop, a tenant, a destination or a mapping everywhere, within a second.
    #[command(
        after_help = "Examples:\n  offtake fuse list\n  offtake fuse off mapping:users --reason 'wrong join' --for 30m\n  \
                            offtake fuse on mapping:users",
        subcommand
    )]
    Fuse(Fuse),
    /// Rows that a destination refuses.
    #[command(
        after_help = "Examples:\n  offtake quarantine list --tenant acme\n  offtake quarantine retry --tenant acme --mapping users",
        subcommand
    )]
    Quarantine(Quarantine),
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
    /// Say instead whether the destinations have what the files say: exit 3 when a mapping's copies
    /// would change.
    #[arg(long)]
    pub diff: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Preview {
    /// Whose rows.
    #[arg(long, required_unless_present = "changed")]
    pub tenant: Option<String>,
    /// Of which mapping.
    #[arg(long, required_unless_present = "changed")]
    pub mapping: Option<String>,
    /// At most so many rows.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "changed")]
    pub limit: u32,
    /// Compare the mappings' rows with what the destinations have: how many would be added, removed
    /// and changed.
    #[arg(long)]
    pub changed: bool,
    /// Read the mappings of this folder instead of the one in use.
    #[arg(long, value_name = "FOLDER")]
    pub mappings: Option<std::path::PathBuf>,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Config {
    /// Print the JSON Schema of the configuration file instead.
    #[arg(long, conflicts_with = "json")]
    pub schema: bool,
    /// Print a configuration file with every option, its default and what it does instead.
    #[arg(long, conflicts_with_all = ["json", "schema"])]
    pub example: bool,
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
    /// Have a running daemon copy what differs again, and compare once more.
    #[arg(long)]
    pub repair: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Resync {
    #[command(flatten)]
    pub of: OfTenant,
    /// Only this mapping; all of the destination when absent.
    #[arg(long)]
    pub mapping: Option<String>,
    /// Wait at most that long until the copies are complete.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub wait: Option<Duration>,
    /// Copy nothing; drop the tables that Offtake made for mappings that are gone.
    #[arg(long, conflicts_with_all = ["mapping", "wait"])]
    pub drop: bool,
    /// Do not ask before dropping.
    #[arg(long, requires = "drop")]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Pause {
    #[command(flatten)]
    pub of: OfTenant,
    /// Told by `offtake status` to whoever wonders.
    #[arg(long, value_parser = reason)]
    pub reason: String,
    /// Go on by itself after this long.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
    pub for_: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    pub of: OfTenant,
    /// Why they may go on; told in the answer.
    #[arg(long, value_parser = reason)]
    pub reason: Option<String>,
}

/// Some of a tenant's destinations.
#[derive(Debug, Args)]
pub struct OfTenant {
    /// Whose destinations.
    #[arg(long)]
    pub tenant: String,
    /// One destination of the tenant; all when absent.
    #[arg(long)]
    pub destination: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Fuse {
    /// Say which fuses there are, and which are off.
    #[command(after_help = "Example:\n  offtake fuse list --json")]
    List {
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Stop what the fuse guards.
    #[command(after_help = FUSE_OFF)]
    Off {
        /// sequencer, poller, sync, tenant:TENANT, destination:TENANT/NAME or mapping:NAME.
        name: String,
        /// Told by `offtake status` to whoever wonders.
        #[arg(long, value_parser = reason)]
        reason: String,
        /// Let it run again by itself after this long.
        #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
        for_: Option<Duration>,
    },
    /// Let what the fuse guards run again.
    #[command(after_help = "Example:\n  offtake fuse on poller")]
    On {
        /// As `offtake fuse list` shows it.
        name: String,
        /// Why it may run again; told in the answer.
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
    },
}

const FUSE_OFF: &str = "Examples:\n  offtake fuse off sync --reason 'the network is being moved' --for 30m\n  \
                        offtake fuse off destination:acme/main --reason 'their restore'";

#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// List the rows, by key, with what the destination said.
    #[command(after_help = "Example:\n  offtake quarantine list --mapping users --json")]
    List {
        #[command(flatten)]
        of: OfQuarantine,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Try the rows again now.
    #[command(after_help = "Example:\n  offtake quarantine retry --tenant acme")]
    Retry {
        #[command(flatten)]
        of: OfQuarantine,
    },
    /// Forget the rows: they stay absent from the destination until they change.
    #[command(
        after_help = "Example:\n  offtake quarantine discard --tenant acme --mapping users --yes"
    )]
    Discard {
        #[command(flatten)]
        of: OfQuarantine,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// Some of the quarantined rows.
#[derive(Debug, Args)]
pub struct OfQuarantine {
    /// Only this tenant's.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only this destination's.
    #[arg(long)]
    pub destination: Option<String>,
    /// Only this mapping's.
    #[arg(long)]
    pub mapping: Option<String>,
}

const JSON: &str = "Print JSON, for programs";

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "write a duration with its unit, such as 500ms, 30s or 5m".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    let kept = operations::reason(text).ok_or_else(|| {
        format!("write one line of 1 to {} characters", operations::REASON_CHARACTERS_MAX)
    })?;
    Ok(kept.to_owned())
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
            assert!(
                help.contains(&format!("offtake {}", command.get_name())),
                "{}",
                command.get_name()
            );
            for verb in command.get_subcommands() {
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    help.contains(&format!("offtake {} {}", command.get_name(), verb.get_name())),
                    "{}",
                    verb.get_name()
                );
            }
        }
    }

    #[test]
    fn going_on_takes_a_reason_too_and_stopping_wants_one() {
        let accepted = |line: &str| CommandLine::try_parse_from(line.split(' ')).is_ok();
        assert!(
            accepted("offtake fuse on sync --reason mended") && accepted("offtake fuse on sync")
        );
        assert!(
            accepted("offtake resume --tenant a --reason mended")
                && accepted("offtake resume --tenant a")
        );
        assert!(
            accepted("offtake fuse off sync --reason broken") && !accepted("offtake fuse off sync")
        );
        assert!(
            accepted("offtake pause --tenant a --reason broken")
                && !accepted("offtake pause --tenant a")
        );
    }

    #[test]
    fn durations_have_units() {
        assert!(
            CommandLine::try_parse_from(["offtake", "sync", "--tenant", "a", "--wait", "30s"])
                .is_ok()
        );
        assert!(
            CommandLine::try_parse_from(["offtake", "sync", "--tenant", "a", "--wait", "30"])
                .is_err()
        );
    }
}
