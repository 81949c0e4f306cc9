//! `offtake webhook resync` and `replay`: both say what they are about to send, and ask.

use offtake_admin::webhooks::{self, NamedWebhook, ReplayCount};
use offtake_postgres::catalog;
use tokio_postgres::Client;

use super::names::{Named, check_mapping, check_served, configured, find};
use crate::command_line::{OfWebhook, Replay};
use crate::commands::confirm::{confirmed, require_answer};
use crate::commands::printing::say;
use crate::commands::registry_names::unreadable;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn resync(
    context: &Context,
    of: &OfWebhook,
    mapping: Option<&str>,
    yes: bool,
) -> Result<Exit, Failure> {
    let consequence = "this tells the receiver that rows it knows may be gone";
    require_answer(yes, consequence)?;
    let source = context.connect_source("webhook").await?;
    let Named { webhook, label } = find(context, &source, of).await?;
    check_served(&webhook)?;
    check_mapping(&webhook, mapping)?;
    let follows = what_follows(context, &source, of, &webhook, mapping).await?;
    let question = format!("Tell {label} a resync of {follows}?");
    if !confirmed(yes, consequence, &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let mappings = webhooks::resync(&source, webhook.webhook_id, mapping)
        .await
        .map_err(|error| unreadable(&error))?;
    say(format!("{label} is told a resync of {}", mappings.join(", ")));
    Ok(Exit::Done)
}

/// The mappings that are meant, and how many rows follow the resync.
async fn what_follows(
    context: &Context,
    source: &Client,
    of: &OfWebhook,
    webhook: &NamedWebhook,
    mapping: Option<&str>,
) -> Result<String, Failure> {
    let mappings = context.mappings()?;
    let set = catalog::resolve(source, mappings).await?;
    let spec = configured(context, source, &set, of).await?;
    let meant = webhook.mappings.iter().filter(|name| mapping.is_none_or(|one| one == *name));
    let names: Vec<&str> = meant.map(String::as_str).collect();
    let mut told = format!("{} mapping(s) ({})", names.len(), names.join(", "));
    if !spec.backfill {
        told.push_str(", without the rows (backfill is off)");
        return Ok(told);
    }
    let timeout = context.configuration.sync.statement_timeout;
    let (mut rows, mut more) = (0, false);
    for resolved in set.mappings().iter().filter(|m| names.contains(&m.name())) {
        match offtake_webhooks::count_rows(source, &spec, resolved, timeout).await {
            Ok(count) => rows += count,
            // A count that takes too long, or a query that fails, does not stand in the way.
            Err(_) => more = true,
        }
    }
    let at_least =
        if more || rows >= offtake_webhooks::ROWS_COUNTED_MAX { "at least " } else { "" };
    told.push_str(&format!(", followed by {at_least}{rows} row(s)"));
    Ok(told)
}

pub(super) async fn replay(context: &Context, arguments: &Replay) -> Result<Exit, Failure> {
    let Replay { of, from, since, until, mapping, same_ids, yes } = arguments;
    let consequence = "this sends events again";
    require_answer(*yes, consequence)?;
    let source = context.connect_source("webhook").await?;
    let Named { webhook, label } = find(context, &source, of).await?;
    check_served(&webhook)?;
    check_mapping(&webhook, mapping.as_deref())?;
    let id = webhook.webhook_id;
    let begin = (*from, *since);
    let counted = webhooks::count_replayed(&source, id, mapping.as_deref(), begin, *until)
        .await
        .map_err(|error| unreadable(&error))?;
    check_log(&counted)?;
    if counted.keys == 0 {
        say("nothing changed since: there is nothing to tell again");
        return Ok(Exit::Done);
    }
    let more = if counted.more { "more than " } else { "" };
    let ids = if *same_ids { "the same ids" } else { "new ids" };
    let question =
        format!("Tell {label} {more}{} key(s) again, as they are now, with {ids}?", counted.keys);
    if !confirmed(*yes, consequence, &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let mappings = webhooks::replay(&source, id, mapping.as_deref(), counted, !same_ids)
        .await
        .map_err(|error| unreadable(&error))?;
    if mappings.is_empty() {
        let what = format!("{label} was removed, or is told of nothing, meanwhile");
        return Err(Failure::new(Exit::Failed, what));
    }
    say(format!(
        "{label} is told {more}{} key(s) again of {}, behind sequence id {}",
        counted.keys,
        mappings.join(", "),
        counted.after
    ));
    Ok(Exit::Done)
}

/// Fails where the log no longer goes back so far.
fn check_log(counted: &ReplayCount) -> Result<(), Failure> {
    if counted.after >= counted.lowest {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "the change log no longer goes back so far")
        .because(format!("it begins behind sequence id {}", counted.lowest))
        .remedy(format!(
            "use --from {} or more, or `offtake webhook resync`, which tells every row of a \
             webhook with backfill",
            counted.lowest
        )))
}
