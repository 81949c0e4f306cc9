//! `offtake completions` and `offtake manual`: made from the definition of the command line, so
//! they never differ from `--help`.

use std::io;

use clap::CommandFactory as _;

use super::printing::{say, say_exact};
use crate::command_line::{CommandLine, Completions, Manual};
use crate::outcome::{Exit, Failure};

pub(super) fn completions(arguments: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "offtake", &mut script);
    say_exact(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

pub(super) fn manual(arguments: &Manual) -> Result<Exit, Failure> {
    let folder = &arguments.folder;
    let written = if folder.is_dir() {
        clap_mangen::generate_to(CommandLine::command(), folder)
    } else {
        Err(io::Error::from(io::ErrorKind::NotADirectory))
    };
    written.map_err(|error| {
        let shown = folder.to_string_lossy();
        let shown = crate::arguments::shown(&shown);
        Failure::new(Exit::Failed, format!("cannot write the manual into {shown}"))
            .because(error.to_string())
            .remedy("name an existing folder that this user may write to")
    })?;
    say(format!("wrote offtake.1 and a page for each command into {}", folder.display()));
    Ok(Exit::Done)
}
