//! `offtake snapshot validate`.

use serde_json::json;

use super::super::printing::{say, say_json};
use super::restore::Loaded;
use super::{drill, store, told};
use crate::command_line::Validate;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &Validate) -> Result<Exit, Failure> {
    let (store, id, card) = store::named(context, &arguments.snapshot).await?;
    if arguments.drill {
        store::require_rows(&card, &store::dry_run_into_source(&card))?;
    }
    let loaded = Loaded::check(&store, &id, &card).await?;
    if arguments.drill {
        drill::load(&store, &id, &card, &loaded).await?;
    }
    let manifest = &loaded.manifest;
    if arguments.json {
        let told = json!({
            "id": card.id,
            "valid": true,
            "members": manifest.members.len(),
            "rows": manifest.rows_total().to_string(),
            "drilled": arguments.drill,
        });
        say_json(told);
    } else {
        say(format!(
            "{id} is complete and unchanged: {} members, {} rows, {} unpacked",
            manifest.members.len() + 1,
            manifest.rows_total(),
            told::size(manifest.bytes)
        ));
        if arguments.drill {
            say("it was loaded into a private server, and every row there is as in the snapshot");
        }
    }
    Ok(Exit::Done)
}
