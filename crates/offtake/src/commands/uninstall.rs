//! `offtake uninstall`: removes every trace of Offtake from the source.

use offtake_admin::operations::daemon_sessions;
use offtake_capture::Options;
use offtake_mapping::MappingSet;

use super::confirm::confirmed;
use super::printing::say;
use super::registry_names::unreadable;
use crate::checks::rights::require_rights;
use crate::command_line::Uninstall;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &Uninstall) -> Result<Exit, Failure> {
    let place = context.configuration.source.url.place();
    let consequence = format!("this removes Offtake from {place}");
    let question = format!(
        "Remove triggers and the schema offtake, with all cursors' mirrors and the change log, \
         from {place}?"
    );
    if !confirmed(arguments.yes, &consequence, &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let mut source = context.connect_source("uninstall").await?;
    require_rights(&source, &MappingSet::default()).await?;
    let removal = offtake_capture::uninstall(&mut source, &Options::default()).await?;
    if !removal.relations.is_empty() {
        say(format!("triggers taken off: {}", removal.relations.join(", ")));
    }
    say(if removal.schema {
        "the schema offtake is dropped"
    } else {
        "there was no schema offtake"
    });
    let daemons = daemon_sessions(&source).await.map_err(|error| unreadable(&error))?;
    if daemons > 0 {
        say("a daemon is still connected: stop it, there is nothing left for it to work on");
    }
    if let Some(role) = removal.role_kept {
        say(format!(
            "the role {role} stays: another database of this server uses it, or this user may not \
             drop it; where no other does, run as a superuser: drop role {role};"
        ));
    }
    Ok(Exit::Done)
}
