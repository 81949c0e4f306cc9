//! `offtake uninstall`: leaves no trace on the source.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use offtake_capture::Options;

use super::{connect_source, load_configuration, say};
use crate::command_line::Uninstall;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(file: &Path, arguments: &Uninstall) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let place = configuration.source.url.place();
    if !arguments.yes && !confirmed(&place).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let mut source = connect_source(&configuration, "uninstall").await?;
    let removal = offtake_capture::uninstall(&mut source, &Options::default()).await?;
    if !removal.relations.is_empty() {
        say(format!("triggers taken off: {}", removal.relations.join(", ")));
    }
    say(if removal.schema { "the schema offtake is dropped" } else { "there was no schema offtake" });
    if removal.role_kept {
        say("the role offtake_capture stays: another database uses it, or this user may not drop it");
    }
    Ok(Exit::Done)
}

async fn confirmed(place: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::new(Exit::Usage, format!("this removes Offtake from {place}, and there is no terminal to ask on")).remedy("add --yes")
        );
    }
    let question = format!("Remove triggers and the schema offtake, with all cursors' mirrors and the change log, from {place}? [y/N] ");
    let answer = tokio::task::spawn_blocking(move || {
        let _ = write!(std::io::stderr(), "{question}");
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    Ok(answer.await.is_ok_and(|read| read.is_ok_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes"))))
}
