//! `offtake fuse`: switches that stop a loop, a tenant, a destination, a webhook or a mapping, in all
//! daemons of the source.

use std::time::Duration;

use jiff::Timestamp;
use offtake_admin::operations::{fuse_names, fuses, named_destinations};
use offtake_admin::webhooks::named_webhooks;
use offtake_loops::{names_a_fuse, set_fuse};
use tokio_postgres::Client;

use offtake_mapping::{foreign, shell_word};

use super::phrases::{because, until};
use super::printing::{say, say_json, table};
use super::registry_names::{unknown, unreadable};
use super::tenant_names::Typed;
use crate::command_line::Fuse;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &Fuse) -> Result<Exit, Failure> {
    let source = context.connect_source("fuse").await?;
    match arguments {
        Fuse::List { json } => list(&source, *json).await,
        Fuse::Off { name, reason, for_ } => off(context, &source, name, reason, *for_).await,
        Fuse::On { name, reason } => {
            let name = known(context, &source, name).await?;
            set_fuse(&source, &name, true, None, None).await.map_err(|error| failed(&error))?;
            say(format!(
                "{} is on{}: what it guards runs within a second",
                foreign(&name),
                because(reason.as_deref())
            ));
            Ok(Exit::Done)
        }
    }
}

async fn list(source: &Client, json: bool) -> Result<Exit, Failure> {
    let fuses = fuses(source).await.map_err(|error| unreadable(&error))?;
    if json {
        say_json(serde_json::to_string_pretty(&fuses).unwrap_or_default());
        return Ok(Exit::Done);
    }
    let mut rows = vec![["FUSE", "STATE", "REASON"].map(str::to_owned)];
    rows.extend(fuses.into_iter().map(|fuse| {
        let state = if fuse.enabled {
            "on".to_owned()
        } else {
            format!("OFF {}", until(fuse.until, "until switched on"))
        };
        [fuse.name, state, fuse.reason.unwrap_or_default()]
    }));
    say(table(&rows));
    Ok(Exit::Done)
}

async fn off(
    context: &Context,
    source: &Client,
    name: &str,
    reason: &str,
    lasts: Option<Duration>,
) -> Result<Exit, Failure> {
    let name = known(context, source, name).await?;
    set_fuse(source, &name, false, Some(reason), lasts).await.map_err(|error| failed(&error))?;
    let heals = lasts.and_then(|lasts| Timestamp::now().checked_add(lasts).ok());
    let heals = until(heals, &format!("until `offtake fuse on {}`", shell_word(&name)));
    say(format!("{} is off {heals}: {reason}", foreign(&name)));
    Ok(Exit::Done)
}

/// The fuse's name, with its tenant as the configuration spells it. Refuses a name that is no fuse:
/// the operator would believe that something has stopped.
async fn known(context: &Context, source: &Client, name: &str) -> Result<String, Failure> {
    let known = fuse_names(source).await.map_err(|error| unreadable(&error))?;
    let is_known = |name: &str| known.iter().any(|known| known == name);
    if names_a_fuse(name) && is_known(name) {
        return Ok(name.to_owned());
    }
    if let Some((before, tenant, behind)) = tenant_in(name) {
        let all = named_destinations(source, None, None).await.map_err(|e| unreadable(&e))?;
        let told = named_webhooks(source, None, None).await.map_err(|e| unreadable(&e))?;
        let ids = all.iter().map(|d| (d.tenant.as_str(), d.tenant_at_source.as_str()));
        let ids = ids.chain(told.iter().map(|w| (w.tenant.as_str(), w.tenant_at_source.as_str())));
        let tenant = Typed::read(context, source, tenant).await.configured(ids)?;
        let meant = tenant.map(|tenant| format!("{before}{tenant}{behind}"));
        if let Some(meant) = meant.filter(|meant| is_known(meant)) {
            return Ok(meant);
        }
    }
    let failure =
        unknown(format!("there is no fuse named {name}"), name, known.iter().map(String::as_str));
    Err(failure.because(
        "fuses are sequencer, poller, sync, webhooks, exports, snapshots, and tenant:TENANT, \
         destination:TENANT/NAME, webhook:TENANT/NAME and mapping:NAME of those that a daemon has seen",
    ))
}

/// The tenant in a fuse's name, with what stands before and behind it.
fn tenant_in(name: &str) -> Option<(&'static str, &str, &str)> {
    if let Some(tenant) = name.strip_prefix("tenant:") {
        return Some(("tenant:", tenant, ""));
    }
    let kinds = ["destination:", "webhook:"];
    let (kind, named) =
        kinds.into_iter().find_map(|kind| Some((kind, name.strip_prefix(kind)?)))?;
    let (tenant, behind) = named.split_at(named.rfind('/')?);
    Some((kind, tenant, behind))
}

fn failed(error: &offtake_postgres::Error) -> Failure {
    Failure::of_source("cannot switch the fuse", error)
}
