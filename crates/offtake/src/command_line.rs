//! The command line: what can be typed after `offtake`, and what `--help` says about it.

mod bench;
mod copy;
mod demo;
mod destinations;
mod export;
mod fuse;
mod health;
mod package;
mod quarantine;
mod snapshot;
mod status_token;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use offtake_admin::operations;

use self::bench::BENCH_CAPTURE;
pub use self::bench::{Bench, BenchCapture};
use self::copy::COPY;
pub use self::copy::{Copy, Instead, RowError};
pub use self::demo::{Demo, DemoDestination};
pub use self::destinations::{Adopt, Forget, OfTenant, Pause, Resume, Resync, Sync};
pub use self::export::{Export, ExportCreate, ExportFormat, OfExport};
pub use self::fuse::Fuse;
use self::health::HEALTH;
pub use self::health::Health;
pub use self::package::{Alerts, Completions, Manual};
pub use self::quarantine::{OfQuarantine, Quarantine};
pub use self::snapshot::{
    Create, Delete, Diff, Download, ForgetSnapshots, InStore, List, OneSnapshot, Restore,
    RestoreMode, RestoreTo, Snapshot, SnapshotKind, Validate,
};
pub use self::status_token::StatusToken;
pub use self::webhook::{OfWebhook, Replay, Webhook};
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

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 differences found, \
4 some destinations failed, 69 source unreachable, 75 time is up, 78 invalid configuration, \
130 interrupted.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show Offtake at work on private, throwaway Postgres servers.
    #[command(
        after_help = "Examples:\n  offtake demo --tenants 5 --for 1m\n  offtake demo --shared --tenants 10000"
    )]
    Demo(Demo),
    /// Prepare the source: create the `offtake` schema, and triggers on the tables that the
    /// mappings name.
    #[command(after_help = "Examples:\n  offtake init\n  offtake init --print-sql > offtake.sql")]
    Init(Init),
    /// Remove every trace of Offtake from the source. Destinations keep their rows.
    #[command(after_help = "Example:\n  offtake uninstall --yes")]
    Uninstall(Uninstall),
    /// Check whether configuration and mappings can be used.
    #[command(
        after_help = "Examples:\n  offtake check\n  offtake check --connect\n  offtake check --diff    # before a deployment: would copies change?"
    )]
    Check(Check),
    /// Show the rows that a destination would hold, or what edited mappings would change.
    #[command(after_help = "Examples:\n  offtake preview --tenant acme --mapping users\n  \
                            offtake preview --changed --mappings edited/    # before the files go live")]
    Preview(Preview),
    /// Measure what Offtake costs on your own data.
    #[command(after_help = BENCH_CAPTURE, subcommand)]
    Bench(Bench),
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
    /// Ask a running daemon whether it works. For health checks of containers.
    #[command(after_help = HEALTH)]
    Health(Health),
    /// Show how far behind every destination is.
    #[command(after_help = "Examples:\n  offtake status\n  offtake status --tenant acme --json")]
    Status(Status),
    /// Print a tenant's status token, by which it sees how fresh its own copies are and nothing else.
    #[command(after_help = "Examples:\n  offtake status-token --tenant acme\n  \
                            offtake status-token --tenant acme --revoke    # all that it was given")]
    StatusToken(StatusToken),
    /// Explain what a tenant's destinations and webhooks wait for, or the story of one key.
    #[command(
        after_help = "Examples:\n  offtake why --tenant acme\n  offtake why --tenant acme --mapping users --key 42\n\n\
                            Exit codes: 0 up to date, 3 the key's row differs, 4 something is waited for."
    )]
    Why(Why),
    /// Look for what hurts or will hurt: at the source, its triggers, Offtake's own tables, the
    /// daemons and the destinations.
    #[command(
        after_help = "Examples:\n  offtake doctor\n  offtake doctor --connect --json    # asks every destination too\n\n\
                            Exit codes: 0 nothing worse than a note, 4 a warning or something critical."
    )]
    Doctor(Doctor),
    /// Ask for a sync of a tenant's destinations now, and wait for it with --wait.
    #[command(after_help = "Example:\n  offtake sync --tenant acme --wait 30s")]
    Sync(Sync),
    /// Compare every copy with its query, row by row.
    #[command(
        after_help = "Examples:\n  offtake verify\n  offtake verify --tenant acme --mapping users --json\n  \
                            offtake verify --tenant acme --repair --yes"
    )]
    Verify(Verify),
    /// Copy a tenant's tables again, in place: readers never find a row missing.
    #[command(
        after_help = "Examples:\n  offtake resync --tenant acme --wait 10m\n  offtake resync --tenant acme --mapping users\n  \
                            offtake resync --tenant acme --drop --yes    # tables of mappings that are gone\n  \
                            offtake resync --tenant acme --recreate      # a damaged SQLite file"
    )]
    Resync(Resync),
    /// Have this source serve a tenant's destinations from now on, instead of another source.
    #[command(after_help = "Example:\n  offtake adopt --tenant acme --destination main")]
    Adopt(Adopt),
    /// End what is kept of the destinations of a tenant that left, and delete its rows there.
    #[command(after_help = "Examples:\n  offtake forget --tenant acme\n  \
                            offtake forget --tenant acme --destination main --purge --url '${ACME_URL}'")]
    Forget(Forget),
    /// Stop writing to a tenant's destinations. Their changes are kept and written after `resume`.
    #[command(
        after_help = "Example:\n  offtake pause --tenant acme --reason 'their migration' --for 1h"
    )]
    Pause(Pause),
    /// Continue writing to a tenant's paused destinations.
    #[command(after_help = "Example:\n  offtake resume --tenant acme")]
    Resume(Resume),
    /// Stop a loop, a tenant, a destination, a webhook or a mapping in all daemons, within a second.
    #[command(
        after_help = "Examples:\n  offtake fuse list\n  offtake fuse off mapping:users --reason 'wrong join' --for 30m\n  \
                            offtake fuse on mapping:users",
        subcommand
    )]
    Fuse(Fuse),
    /// List, retry or discard the rows that destinations refuse, and the events that webhooks do.
    #[command(
        after_help = "Examples:\n  offtake quarantine list --tenant acme\n  offtake quarantine retry --tenant acme --mapping users\n  \
                            offtake quarantine list --tenant acme --webhook crm",
        subcommand
    )]
    Quarantine(Quarantine),
    /// Look at webhooks, try them out, and stop, continue or repeat what they are told.
    #[command(
        after_help = "Examples:\n  offtake webhook list --tenant acme\n  offtake webhook test --tenant acme --name crm\n  \
                            offtake webhook replay --tenant acme --name crm --since 2026-11-28T03:00:00Z",
        subcommand
    )]
    Webhook(Webhook),
    /// Keep a tenant's rows of one moment as one file, and restore them.
    #[command(
        after_help = "Examples:\n  offtake snapshot create --tenant acme\n  offtake snapshot list --tenant acme",
        subcommand
    )]
    Snapshot(Snapshot),
    /// Copy tables once, into another Postgres, a SQLite file or Cloudflare D1, and go on where an
    /// earlier run stopped.
    #[command(after_help = COPY)]
    Copy(Copy),
    /// Write a tenant's rows to files: CSV, JSON, or SQL that psql loads.
    #[command(
        after_help = "Examples:\n  offtake export create --tenant acme --format csv --to acme/\n  \
                            offtake export list --tenant acme\n  offtake export verify --in acme/",
        subcommand
    )]
    Export(Export),
    /// Print what completes these commands in a shell.
    #[command(after_help = "Example:\n  offtake completions bash > /etc/bash_completion.d/offtake")]
    Completions(Completions),
    /// Write the manual pages, one for each command, into a folder.
    #[command(after_help = "Example:\n  offtake manual /usr/local/share/man/man1")]
    Manual(Manual),
    /// Print the alerts for Prometheus, with links to the page that says what to do about each.
    #[command(
        after_help = "Examples:\n  offtake alerts --runbooks https://wiki.example.com/offtake-alerts > rules.yml\n  \
                            offtake alerts --runbooks https://wiki.example.com/offtake-alerts --kubernetes | kubectl apply -f -"
    )]
    Alerts(Alerts),
}

#[derive(Debug, Args)]
pub struct Init {
    /// Print the SQL instead of running it, so that someone else can review and run it.
    #[arg(long)]
    pub print_sql: bool,
}

#[derive(Debug, Args)]
pub struct Uninstall {
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Also ask the source whether every mapping can run, and every destination whether it answers.
    #[arg(long)]
    pub connect: bool,
    /// Compare the destinations with the mapping files instead; exit 3 when copies would change.
    #[arg(long)]
    pub diff: bool,
    /// Show of every mapping its columns, what wakes it, its plans, and the table that it makes.
    #[arg(long)]
    pub verbose: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Preview {
    /// The tenant whose rows are shown.
    #[arg(long, allow_hyphen_values = true, required_unless_present = "changed")]
    pub tenant: Option<String>,
    /// The mapping whose rows are shown.
    #[arg(long, required_unless_present = "changed")]
    pub mapping: Option<String>,
    /// Show at most this many rows.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "changed")]
    pub limit: u32,
    /// Compare the mappings' rows with what the destinations have, and show how many would be
    /// added, removed and changed.
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
    /// Print an example instead: a configuration file with every option, its default and what it
    /// does.
    #[arg(long, conflicts_with_all = ["json", "schema"])]
    pub example: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Stop as soon as every destination has everything; exit 4 when some destinations failed.
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    #[arg(long, help = JSON)]
    pub json: bool,
    /// Show it again every two seconds, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Only this tenant's destinations.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: Option<String>,
}

#[derive(Debug, Args)]
pub struct Why {
    /// The tenant that asks.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    /// Only this mapping.
    #[arg(long)]
    pub mapping: Option<String>,
    /// The story of this key: a JSON object of its columns, or the text of a key's only column.
    #[arg(long, allow_hyphen_values = true, requires = "mapping")]
    pub key: Option<String>,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Also ask every destination whether it answers, and what it is.
    #[arg(long)]
    pub connect: bool,
    /// What holds back vacuum counts from this age on.
    #[arg(long, value_parser = duration, value_name = "DURATION", default_value = "5m")]
    pub older_than: Duration,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Only this tenant's destinations.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: Option<String>,
    /// Only this mapping.
    #[arg(long)]
    pub mapping: Option<String>,
    /// Have a running daemon copy the rows that differ again, then compare once more.
    #[arg(long)]
    pub repair: bool,
    /// Do not ask for confirmation before a repair, which deletes and overwrites rows.
    #[arg(long, requires = "repair")]
    pub yes: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

const JSON: &str = "Print JSON, for programs";

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).filter(|duration| *duration <= operations::DURATION_MAX).ok_or_else(|| {
        "write a duration with its unit, such as 500ms, 30s or 5m, and 365d at most".to_owned()
    })
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

    /// Fails without `allow_hyphen_values`: `--tenant -7` was an unknown argument `-7`.
    #[test]
    fn a_tenant_may_begin_with_a_hyphen() {
        let lines = [
            "offtake status --tenant -7 --json",
            "offtake status-token --tenant -7 --revoke",
            "offtake sync --tenant -7 --destination -x",
            "offtake verify --tenant -x --json",
            "offtake preview --tenant -7 --mapping users",
            "offtake why --tenant -7 --mapping users --key -1",
            "offtake forget --tenant -7 --purge",
            "offtake quarantine list --tenant -7 --destination -1",
            "offtake webhook show --tenant -7 --name -1",
            "offtake snapshot list --tenant -7",
            "offtake snapshot restore x --tenant -7 --destination -1",
        ];
        for line in lines {
            let parsed = CommandLine::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
        }
    }

    #[test]
    fn durations_have_units() {
        assert!(
            CommandLine::try_parse_from(["offtake", "sync", "--tenant", "a", "--wait", "30s"])
                .is_ok()
        );
        for long in ["366d", "100000000d", "99999999999999999999d"] {
            let line = ["offtake", "sync", "--tenant", "a", "--wait", long];
            assert!(CommandLine::try_parse_from(line).is_err(), "{long}");
        }
        assert!(
            CommandLine::try_parse_from(["offtake", "sync", "--tenant", "a", "--wait", "30"])
                .is_err()
        );
    }
}
