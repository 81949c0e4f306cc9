//! `offtake why`: what a tenant's destinations and webhooks wait for, and the story of one key.
//!
//! The source knows most of it (`offtake_admin::why`). This command adds what only the files and a
//! look at the destinations tell: whether changes go by unseen, whether a destination answers, and
//! how the key's row compares. Every statement and every wait has a limit, so that a source under
//! load or a dead destination delays the answer by seconds.

mod asked_key;
mod look;
mod text;

use std::collections::BTreeMap;

use offtake_admin::why::{Asked, Cause, Why, explain};
use offtake_postgres::Connection;

use self::asked_key::AskedKey;
use super::printing::{say, say_json};
use super::registry_names::{destinations, not_received, unreadable};
use super::webhook::names as webhook_names;
use crate::checks::files::Files;
use crate::command_line;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// For each statement at the source. The status of a tenant takes tenths of a second with millions
/// of changes; the operator waits at a prompt.
const LIMITS: &str = "set statement_timeout = '10s'; set lock_timeout = '2s'";

pub(super) async fn execute(
    context: &Context,
    arguments: &command_line::Why,
) -> Result<Exit, Failure> {
    let source = context.connect_source("why").await?;
    let limited = source.batch_execute(LIMITS).await;
    limited.map_err(|error| Failure::of_source("cannot use the source", &error.into()))?;
    let files = Files::read(context, &source).await;
    let tenant = spelt_tenant(context, &source, &arguments.tenant).await?;
    let mapping = arguments.mapping.as_deref();
    let key = match (mapping, &arguments.key) {
        (Some(mapping), Some(text)) => {
            Some(AskedKey::read(&source, &files, &tenant, mapping, text).await?)
        }
        _ => None,
    };
    let asked = Asked {
        tenant: &tenant,
        mapping,
        key: key.as_ref().map(|key| &key.row_key),
        uncaptured: &files.missing.uncaptured,
    };
    let explained = explain(&source, &asked).await;
    let mut why = explained.map_err(|error| unreadable(&error))?;
    if let (true, Some(mapping)) = (why.items.is_empty(), mapping) {
        return Err(unknown_mapping(&source, &tenant, mapping).await?);
    }
    if let Some(set) = &files.set {
        look::at_destinations(context, &source, set, &mut why, key.as_ref()).await;
    }
    why.conclude();
    if arguments.json {
        let mut json = serde_json::to_value(&why).unwrap_or_default();
        json["files_error"] = files.error.into();
        say_json(serde_json::to_string_pretty(&json).unwrap_or_default());
    } else {
        say(text::describe(&why, files.error.as_deref()));
    }
    Ok(exit(&why))
}

fn exit(why: &Why) -> Exit {
    let causes = why
        .items
        .iter()
        .map(|item| item.key.as_ref().map_or(item.waits_for.cause, |key| key.waits_for.cause));
    let open: Vec<Cause> = causes.filter(|cause| *cause != Cause::Nothing).collect();
    match open.as_slice() {
        [] => Exit::Done,
        open if open.iter().all(|cause| *cause == Cause::Differs) => Exit::Different,
        _ => Exit::SomeDestinationsFailed,
    }
}

/// The tenant as the configuration spells it: of a destination or, where it has none, of a webhook.
async fn spelt_tenant(
    context: &Context,
    source: &Connection,
    tenant: &str,
) -> Result<String, Failure> {
    let unknown = match destinations(context, source, tenant, None).await {
        Ok(named) => match named.into_iter().next() {
            Some(one) => return Ok(one.tenant),
            None => Failure::new(Exit::Usage, "the tenant has no destination"),
        },
        Err(failure) if failure.exit != Exit::Usage => return Err(failure),
        Err(failure) => failure,
    };
    webhook_names::tenant(context, source, tenant).await.map_err(|_| unknown)
}

async fn unknown_mapping(
    source: &Connection,
    tenant: &str,
    mapping: &str,
) -> Result<Failure, Failure> {
    let asked = Asked { tenant, mapping: None, key: None, uncaptured: &BTreeMap::new() };
    let why = explain(source, &asked).await.map_err(|error| unreadable(&error))?;
    let received = why.items.iter().flat_map(|item| &item.mappings).map(|m| m.name.as_str());
    Ok(not_received(mapping, received))
}
