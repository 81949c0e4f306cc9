//! `offtake forget`: ends what is kept of the destinations of a tenant that left, and with
//! `--purge` deletes its rows there.
//!
//! The order is what makes it safe. First everything that may be refused is looked at, and the
//! operator asked; until then nothing is changed anywhere. Then no daemon can claim the destination
//! any more, then no worker can write there what it has read before, then the rows go, and last
//! the registry's own row. Where the command is interrupted, the registry still has the row, and
//! running it again goes on.

mod address;
mod purge;

use std::time::Duration;

use offtake_admin::operations::{self, Kept, kept_destinations, named_destinations};
use offtake_mapping::foreign;
use offtake_sync::destinations::DestinationSpec;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::confirm::confirmed;
use super::printing::say;
use super::registry_names::{unknown, unknown_tenant, unreadable};
use super::sync::daemon_runs;
use super::tenant_names::Typed;
use crate::command_line::Forget;
use crate::context::Context;
use crate::context::destination_list::DestinationList;
use crate::outcome::{Exit, Failure};
pub(super) use address::has_password;

/// A daemon takes up an edit of its file within a second, and an answer of the destinations query
/// within `destinations.refresh`; this much longer it may take to write that down.
const REFRESH_MARGIN: Duration = Duration::from_secs(5);

/// Between two looks whether the daemons have let go of a destination.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn execute(context: &Context, arguments: &Forget) -> Result<Exit, Failure> {
    let source = context.connect_source("forget").await?;
    let kept = find(context, &source, arguments).await?;
    let address = address::read(context, arguments, &kept)?;
    let list = context.destinations().await?;
    let named: Vec<Failure> =
        kept.iter().filter_map(|kept| still_named(context, &list, kept)).collect();
    if !named.is_empty() {
        return Err(Failure::all(named));
    }
    wait_until_let_go(&source, context, &kept).await?;
    match address {
        Some(url) => purge::execute(context, &source, &kept[0], url, arguments.yes).await,
        None => forget(&source, &kept, arguments.yes).await,
    }
}

/// Ends what is kept, without a look at the destinations.
async fn forget(source: &Client, kept: &[Kept], yes: bool) -> Result<Exit, Failure> {
    let names = kept.iter().map(label).collect::<Vec<_>>().join(", ");
    let consequence = format!(
        "this ends what the source keeps of {names}: cursors, refused rows, re-copies, pauses and \
         fuses; the rows there stay, and `--purge` deletes them too"
    );
    let question = format!("Forget {names}? The rows there stay; --purge deletes them too.");
    if !confirmed(yes, &consequence, &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let ids: Vec<i64> = kept.iter().map(|kept| kept.destination_id).collect();
    operations::forget(source, &ids).await.map_err(|error| unreadable(&error))?;
    for kept in kept {
        say(format!("forgot {}; its rows stay {}", label(kept), place(kept)));
    }
    Ok(Exit::Done)
}

/// The destinations that the command line names; at least one.
async fn find(
    context: &Context,
    source: &Client,
    arguments: &Forget,
) -> Result<Vec<Kept>, Failure> {
    let (tenant, name) = (&arguments.of.tenant, arguments.of.destination.as_deref());
    let mut of_tenant =
        kept_destinations(source, tenant, None).await.map_err(|error| unreadable(&error))?;
    if of_tenant.is_empty() {
        let typed = Typed::read(context, source, tenant).await;
        for spelling in typed.spellings() {
            let kept = kept_destinations(source, spelling, None).await;
            of_tenant.extend(kept.map_err(|error| unreadable(&error))?);
        }
        // Two tenants that it may mean are refused: what is forgotten is gone.
        typed.configured(
            of_tenant.iter().map(|kept| (kept.tenant.as_str(), kept.tenant_at_source.as_str())),
        )?;
    }
    if of_tenant.is_empty() {
        let all =
            named_destinations(source, None, None).await.map_err(|error| unreadable(&error))?;
        return Err(unknown_tenant(tenant, &all));
    }
    let names: Vec<String> = of_tenant.iter().map(|kept| kept.name.clone()).collect();
    let wanted: Vec<Kept> =
        of_tenant.into_iter().filter(|kept| name.is_none_or(|name| name == kept.name)).collect();
    match name {
        Some(name) if wanted.is_empty() => Err(unknown(
            format!("the tenant {tenant} has no destination named {name}"),
            name,
            names.iter().map(String::as_str),
        )),
        _ if arguments.purge && wanted.len() > 1 => {
            let message =
                format!("the tenant {} has the destinations {}", foreign(tenant), names.join(", "));
            Err(Failure::new(Exit::Usage, message)
                .remedy("name the one that the URL leads to, with --destination"))
        }
        _ => Ok(wanted),
    }
}

/// The failure for a destination that the next refresh would register again. One that is half
/// forgotten may be named: it is registered as a new one, once this command has ended.
fn still_named(context: &Context, list: &DestinationList, kept: &Kept) -> Option<Failure> {
    let is_it = |tenant: &str, name: &str| tenant == kept.tenant && name == kept.name;
    let configuration = &context.configuration;
    let file = configuration.file.display();
    let label = label(kept);
    let (by, remedy) =
        if configuration.destinations.static_.iter().any(|d| is_it(&d.tenant, &d.name)) {
            (format!("{file} still names {label}"), format!("take it out of `static` in {file}"))
        } else if list.usable.iter().any(|d: &DestinationSpec| is_it(&d.tenant_id, &d.name))
            || list.refused.iter().any(|refused| is_it(&refused.tenant_id, &refused.name))
        {
            let remedy = format!("take its row out of what `query` in {file} reads");
            (format!("the destinations query of {file} still returns {label}"), remedy)
        } else {
            return None;
        };
    (!kept.forgetting).then(|| {
        Failure::new(Exit::Failed, by)
            .because("a daemon would register it again and copy everything again")
            .remedy(format!("{remedy}, then run this again"))
    })
}

/// Waits until the daemons that run have read that the destinations are named no longer. A session
/// of a daemon that has just ended may stay for a moment, so each look is at both.
async fn wait_until_let_go(
    source: &Client,
    context: &Context,
    kept: &[Kept],
) -> Result<(), Failure> {
    let deadline = Instant::now() + context.configuration.destinations.refresh + REFRESH_MARGIN;
    let ids: Vec<i64> = kept.iter().map(|kept| kept.destination_id).collect();
    while daemon_runs(source).await? {
        let tenant = &kept[0].tenant;
        let now =
            kept_destinations(source, tenant, None).await.map_err(|error| unreadable(&error))?;
        let held = now
            .iter()
            .find(|now| ids.contains(&now.destination_id) && now.active && !now.forgetting);
        let Some(held) = held else { return Ok(()) };
        if Instant::now() >= deadline {
            let message = format!("a daemon still names {}", label(held));
            return Err(Failure::new(Exit::Failed, message)
                .because(
                    "its files or its destinations query are others than those read here, or it \
                     cannot use them as they are now",
                )
                .remedy(
                    "see `offtake status`, which tells what is wrong with the files; where a \
                     daemon has other files, take the destination out of those",
                ));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

fn label(kept: &Kept) -> String {
    format!("{}/{}", foreign(&kept.tenant), foreign(&kept.name))
}

fn place(kept: &Kept) -> String {
    let Kept { host, port, database, schema, .. } = kept;
    let (host, database, schema) = (foreign(host), foreign(database), foreign(schema));
    match host.is_empty() {
        true => format!("in the file {database}"),
        false => format!("in schema {schema} of {host}:{port}/{database}"),
    }
}
