//! `offtake resync --drop`: drops the tables of mappings that are gone from a tenant's
//! destinations.
//!
//! A table is dropped only where Offtake made it (its comment says so), no mapping of the folder
//! writes it into this schema for any destination, and no daemon still does.

use offtake_admin::operations::{Named, named_destinations};
use offtake_mapping::Mapping;
use offtake_sync::destinations::{DestinationSpec, OrphanTable, Session, Trouble};
use tokio_postgres::Client;

use super::chosen::chosen;
use crate::command_line::Resync;
use crate::commands::confirm::confirmed;
use crate::commands::printing::say;
use crate::commands::registry_names::unreadable;
use crate::context::Context;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// What every destination is looked at with.
struct Work<'a> {
    context: &'a Context,
    source: &'a Client,
    mappings: &'a [Mapping],
    /// All destinations of configuration and query.
    specs: &'a [DestinationSpec],
    /// All destinations of the registry.
    registered: &'a [Named],
    /// The operator agreed on the command line.
    yes: bool,
}

pub(super) async fn execute(context: &Context, arguments: &Resync) -> Result<Exit, Failure> {
    let mappings = context.mappings()?;
    let source = context.connect_source("resync").await?;
    let registered =
        named_destinations(&source, None, None).await.map_err(|error| unreadable(&error))?;
    let list = context.destinations().await?;
    let work = Work {
        context,
        source: &source,
        mappings: &mappings,
        specs: &list.usable,
        registered: &registered,
        yes: arguments.yes,
    };
    let mut failures = Vec::new();
    for spec in chosen(context, &source, &list.usable, &registered, arguments).await? {
        if let Err(failure) = work.drop_at(spec).await? {
            failures.push(failure);
        }
    }
    if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::all(failures)) }
}

impl Work<'_> {
    /// Drops the tables at one destination. The outer error ends the command; the inner one only
    /// concerns this destination.
    async fn drop_at(&self, spec: &DestinationSpec) -> Result<Result<(), Failure>, Failure> {
        let label = spec.label();
        let failed = |trouble: Trouble| {
            let what = format!("cannot drop tables of {label}");
            Failure::new(Exit::SomeDestinationsFailed, what).because(trouble.message)
        };
        let neighbours: Vec<_> =
            self.specs.iter().filter(|s| s.place.overlaps(&spec.place)).collect();
        let opened = Session::open(&spec.place, &self.context.dialer, "offtake resync").await;
        let mut session = match opened {
            Ok(session) => session,
            Err(trouble) => return Ok(Err(failed(trouble))),
        };
        let received = |m: &&Mapping| neighbours.iter().any(|spec| spec.receives(&m.name));
        let received: Vec<&Mapping> = self.mappings.iter().filter(received).collect();
        let orphans = match session.orphans(&received).await {
            Ok(orphans) => orphans,
            Err(trouble) => return Ok(Err(failed(trouble))),
        };
        let registered: Vec<&Named> = self
            .registered
            .iter()
            .filter(|d| neighbours.iter().any(|s| s.tenant_id == d.tenant && s.name == d.name))
            .collect();
        let dropped = without_written(orphans, &registered, &label);
        if dropped.is_empty() {
            say(format!("{label}: no table to drop"));
            return Ok(Ok(()));
        }
        let list: Vec<_> = dropped
            .iter()
            .map(|o| format!("{} (mapping {}, about {} rows)", o.table, o.mapping, o.rows))
            .collect();
        let what = format!("from {label} at {}: {}", spec.place.database(), list.join(", "));
        let consequence = format!("this drops tables {what}");
        if !confirmed(self.yes, &consequence, &format!("Drop {what}?")).await? {
            say(format!("{label}: nothing was changed"));
            return Ok(Ok(()));
        }
        if let Err(trouble) = session.drop_orphans(&dropped).await {
            return Ok(Err(failed(trouble)));
        }
        self.forget(&registered, &dropped).await?;
        say(format!("dropped {what}"));
        Ok(Ok(()))
    }

    /// Removes from the registry what it keeps of the mappings that are gone.
    async fn forget(&self, registered: &[&Named], dropped: &[OrphanTable]) -> Result<(), Failure> {
        let ids: Vec<i64> = registered.iter().map(|d| d.destination_id).collect();
        for orphan in dropped.iter().filter(|orphan| !orphan.mapping_lives) {
            let forgotten =
                self.source.execute(sql::FORGET_MAPPING, &[&ids, &orphan.mapping]).await;
            forgotten.map_err(|error| {
                Failure::of_source("cannot forget the mapping in the registry", &error.into())
            })?;
        }
        Ok(())
    }
}

/// The orphans that no daemon writes any more. The others are told, and stay.
fn without_written(
    orphans: Vec<OrphanTable>,
    registered: &[&Named],
    label: &str,
) -> Vec<OrphanTable> {
    let written = |orphan: &OrphanTable| {
        !orphan.mapping_lives && registered.iter().any(|d| d.mappings.contains(&orphan.mapping))
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = orphans.into_iter().partition(written);
    for OrphanTable { table, mapping, .. } in &kept {
        say(format!("{label}: {table} stays: a daemon still copies mapping {mapping} there"));
    }
    dropped
}
