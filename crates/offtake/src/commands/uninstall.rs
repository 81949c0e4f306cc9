//! `offtake uninstall`: removes every trace of Offtake from the source.

use offtake_capture::Options;
use offtake_mapping::MappingSet;

use super::confirm::confirmed;
use super::printing::say;
use crate::checks::rights::require_rights;
use crate::command_line::Uninstall;
use crate::context::Context;
use crate::outcome::{Exit, Failure};
use crate::sql;

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
    let daemons: i64 = source
        .query_one(sql::COUNT_DAEMON_SESSIONS, &[])
        .await
        .map_err(offtake_capture::Error::from)?
        .get(0);
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
