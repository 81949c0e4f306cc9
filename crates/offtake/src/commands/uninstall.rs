//! `offtake uninstall`: leaves no trace on the source.

use std::path::Path;

use offtake_capture::Options;

use super::confirm::confirmed;
use super::{connect_source, load_configuration, say};
use crate::command_line::Uninstall;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(file: &Path, arguments: &Uninstall) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let place = configuration.source.url.place();
    let consequence = format!("this removes Offtake from {place}");
    let question = format!("Remove triggers and the schema offtake, with all cursors' mirrors and the change log, from {place}?");
    if !confirmed(arguments.yes, &consequence, &question).await? {
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
