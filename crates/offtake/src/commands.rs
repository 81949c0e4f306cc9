//! What each command does; one module per command.

mod check;
mod config;
mod confirm;
mod drop_tables;
mod fuse;
mod init;
mod named;
mod pause;
mod preview;
mod quarantine;
mod repair;
mod resync;
mod run;
mod status;
mod sync;
mod uninstall;
mod verify;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::io::{Error, ErrorKind, Write as _};
use std::path::Path;
use std::sync::OnceLock;

use offtake_postgres::{Connection, Dialer};
use tokio::signal::unix::{SignalKind, signal};

use crate::command_line::{Command, CommandLine};
use crate::configuration::Configuration;
use crate::outcome::{Exit, Failure};
use crate::{sql, text_file};

/// Runs one command to its end.
pub async fn execute(command_line: CommandLine) -> Result<Exit, Failure> {
    let file = command_line.config.as_path();
    let outcome = match command_line.command {
        // These two hear signals themselves, because they have something to put away.
        Command::Demo(arguments) => crate::demo::run(arguments).await,
        Command::Run(arguments) => run::execute(file, &arguments).await,
        Command::Init(arguments) => interruptible(init::execute(file, &arguments)).await,
        Command::Uninstall(arguments) => interruptible(uninstall::execute(file, &arguments)).await,
        Command::Check(arguments) => interruptible(check::execute(file, &arguments)).await,
        Command::Preview(arguments) => interruptible(preview::execute(file, &arguments)).await,
        Command::Config(arguments) => config::execute(file, &arguments),
        Command::Status(arguments) => interruptible(status::execute(file, &arguments)).await,
        Command::Sync(arguments) => interruptible(sync::execute(file, &arguments)).await,
        Command::Resync(arguments) => interruptible(resync::execute(file, &arguments)).await,
        Command::Pause(arguments) => interruptible(pause::pause(file, &arguments)).await,
        Command::Resume(arguments) => interruptible(pause::resume(file, &arguments)).await,
        Command::Fuse(arguments) => interruptible(fuse::execute(file, &arguments)).await,
        Command::Quarantine(arguments) => {
            interruptible(quarantine::execute(file, &arguments)).await
        }
        Command::Verify(arguments) => interruptible(verify::execute(file, &arguments)).await,
    };
    outcome.and_then(delivered)
}

/// Ends with [`Exit::Interrupted`] on SIGINT or SIGTERM; open transactions are rolled back by their
/// connections' end.
async fn interruptible(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return work.await;
    };
    tokio::select! {
        outcome = work => outcome,
        _ = interrupt.recv() => Ok(Exit::Interrupted),
        _ = terminate.recv() => Ok(Exit::Interrupted),
    }
}

/// The configuration of a file, with the process environment as its variables.
pub fn load_configuration(file: &Path) -> Result<Configuration, Failure> {
    let text = text_file::read(file).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => Failure::invalid(format!("{}: {error}", file.display())).remedy(text_file::SAVE_AS_UTF_8),
        _ => Failure::invalid(format!("{}: cannot read the configuration", file.display()))
            .because(error.to_string())
            .remedy("name the file with --config or OFFTAKE_CONFIG, or begin one with `offtake config --example > offtake.yaml`"),
    })?;
    Ok(Configuration::parse(file, &text, &environment())?)
}

/// The environment's variables whose names and values are text.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// One session on the source, under a name that says whose it is.
async fn connect_source(
    configuration: &Configuration,
    command: &str,
) -> Result<Connection, Failure> {
    let unusable = |error| {
        Failure::of_source(
            &format!("cannot connect to the source {}", configuration.source.url.place()),
            &error,
        )
    };
    let dialer = Dialer::trusted(configuration.sync.connect_timeout);
    let connection = dialer
        .dial(&configuration.source.url, &format!("offtake {command}"))
        .await
        .map_err(unusable)?;
    // Compiling the status query took 3 to 6 s here, running it 0.02 s.
    connection.batch_execute("set jit = off").await.map_err(|error| unusable(error.into()))?;
    if let Some(closed) = connection
        .query_opt(sql::PROBE_CLOSED_SCHEMA, &[])
        .await
        .map_err(|error| unusable(error.into()))?
    {
        let (role, owner): (&str, &str) = (closed.get("role"), closed.get("owner"));
        let all = ["tables", "sequences"]
            .map(|what| format!("grant select on all {what} in schema offtake to {role};"))
            .join(" ");
        let grant = format!("grant usage on schema offtake to {role}; {all}");
        let failure = Failure::new(
            Exit::Failed,
            format!("the role {role} may not use the schema offtake of the source"),
        );
        return Err(
            failure.remedy(format!("to look only, run as {owner}: {grant} for everything, as a superuser: grant {owner} to {role};"))
        );
    }
    Ok(connection)
}

/// The first line that standard output did not take, and why.
static UNSAID: OnceLock<Error> = OnceLock::new();

/// Prints a line of the command's result. What comes of a line that cannot be written is decided at
/// the end: work that was begun is not cut short by it.
fn say(line: impl Display) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        let _ = UNSAID.set(error);
    }
}

/// Whether somebody still reads what is said.
fn heard() -> bool {
    UNSAID.get().is_none()
}

/// A result that could not be written was not delivered. A reader that went away (`| head`) had
/// what it wanted.
fn delivered(exit: Exit) -> Result<Exit, Failure> {
    match UNSAID.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, "cannot write the result to standard output")
                .because(error.to_string()))
        }
        _ => Ok(exit),
    }
}

/// Lines of cells, each column as wide as its widest cell; the first line is the head.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
