//! The `offtake` command.

use std::process::ExitCode;

use clap::Parser as _;
use offtake::command_line::{Command, CommandLine};
use offtake::outcome::{Exit, Failure};
use offtake::{commands, logging};

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    logging::start(matches!(command_line.command, Command::Run(_)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::execute(command_line)),
        Err(error) => Err(Failure::new(Exit::Failed, "cannot start the runtime").because(error.to_string())),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        failure.exit
    });
    exit.into()
}
