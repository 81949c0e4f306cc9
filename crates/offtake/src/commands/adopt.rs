//! `offtake adopt`: this source serves a tenant's destinations from now on, whichever source served
//! them before. The next worker that visits one of them re-copies it, in place.

use offtake_admin::operations;

use super::confirm::confirmed;
use super::printing::say;
use super::registry_names::{destinations, unreadable};
use super::sync::warn_without_daemon;
use crate::command_line::Adopt;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &Adopt) -> Result<Exit, Failure> {
    let source = context.connect_source("adopt").await?;
    let (tenant, name) = (&arguments.of.tenant, arguments.of.destination.as_deref());
    let named = destinations(context, &source, tenant, name).await?;
    let tenant = &named[0].tenant;
    let names: Vec<String> = named.iter().map(|d| format!("{tenant}/{}", d.name)).collect();
    let names = names.join(", ");
    let consequence = format!(
        "this source takes over {names}: what another source has written there is deleted or overwritten"
    );
    let question = format!("Have this source overwrite what another one has written to {names}?");
    if !confirmed(arguments.yes, &consequence, &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let ids: Vec<i64> = named.iter().map(|d| d.destination_id).collect();
    operations::adopt(&source, &ids).await.map_err(|error| unreadable(&error))?;
    say(format!(
        "this source serves {names} from now on; `offtake status --tenant {}` shows how far it is",
        offtake_mapping::shell_word(tenant)
    ));
    warn_without_daemon(&source).await?;
    Ok(Exit::Done)
}
