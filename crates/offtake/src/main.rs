//! The `offtake` command.

use std::process::ExitCode;

use offtake::command_line::Command;
use offtake::outcome::{Exit, Failure};
use offtake::{arguments, commands, logging};

fn main() -> ExitCode {
    let command_line = arguments::parse();
    logging::start(matches!(command_line.command, Command::Run(_)));
    offtake_loops::listen_for_failpoints();
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::execute(command_line));
            // Do not wait for threads that still wait for a terminal or a name server.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => {
            Err(Failure::new(Exit::Failed, "cannot start the runtime").because(error.to_string()))
        }
    };
    let exit = outcome.unwrap_or_else(|failure| {
        eprintln!("{}", failure.report());
        failure.exit
    });
    exit.into()
}
