//! `offtake resync --drop`: drops the tables of mappings that are gone from a tenant's
//! destinations.
//!
//! A table is dropped only where Offtake made it (its comment says so), no mapping of the folder
//! writes it into this schema for any destination, and no daemon still does.

use std::collections::BTreeSet;

use offtake_admin::operations::{Named, named_destinations};
use offtake_mapping::{Identifier, Mapping};
use offtake_postgres::Connection;
use offtake_sync::STATE_TABLE;
use offtake_sync::destinations::DestinationSpec;
use tokio_postgres::Client;

use crate::command_line::Resync;
use crate::commands::confirm::confirmed;
use crate::commands::printing::say;
use crate::commands::registry_names::{unknown, unknown_tenant, unreadable};
use crate::context::Context;
use crate::outcome::{Exit, Failure, chain};
use crate::sql;

/// One table to drop.
struct Orphan {
    table: Identifier,
    mapping: String,
    rows: i64,
    /// The mapping goes on, and writes another table.
    mapping_lives: bool,
}

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
    let list = context.destinations().await.map_err(|error| {
        Failure::new(Exit::Failed, "the destinations cannot be listed").because(chain(&error))
    })?;
    let work = Work {
        context,
        source: &source,
        mappings: &mappings,
        specs: &list.usable,
        registered: &registered,
        yes: arguments.yes,
    };
    let mut failures = Vec::new();
    for spec in work.chosen(arguments)? {
        if let Err(failure) = work.drop_at(spec).await? {
            failures.push(failure);
        }
    }
    if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::all(failures)) }
}

impl<'a> Work<'a> {
    /// The destinations that the command line names.
    fn chosen(&self, arguments: &Resync) -> Result<Vec<&'a DestinationSpec>, Failure> {
        let tenant = &arguments.of.tenant;
        let of_tenant: Vec<_> =
            self.specs.iter().filter(|spec| spec.tenant_id == *tenant).collect();
        if of_tenant.is_empty() {
            return Err(unknown_tenant(tenant, self.registered));
        }
        let Some(name) = &arguments.of.destination else { return Ok(of_tenant) };
        let known: Vec<&str> = of_tenant.iter().map(|spec| spec.name.as_str()).collect();
        if !known.contains(&name.as_str()) {
            let message = format!("the tenant {tenant} has no destination named {name}");
            return Err(unknown(message, name, known));
        }
        Ok(of_tenant.into_iter().filter(|spec| spec.name == *name).collect())
    }

    /// Drops the tables at one destination. The outer error ends the command; the inner one only
    /// concerns this destination.
    async fn drop_at(&self, spec: &DestinationSpec) -> Result<Result<(), Failure>, Failure> {
        let label = spec.label();
        let failed = |error: &offtake_postgres::Error| {
            let what = format!("cannot drop tables of {label}");
            Failure::new(Exit::SomeDestinationsFailed, what).because(error.message())
        };
        let neighbours: Vec<_> = self
            .specs
            .iter()
            .filter(|s| s.url.place() == spec.url.place() && s.schema == spec.schema)
            .collect();
        let mut connection = match self.context.dialer.dial(&spec.url, "offtake resync").await {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(failed(&error))),
        };
        let orphans = match find_orphans(&connection, spec, &neighbours, self.mappings).await {
            Ok(orphans) => orphans,
            Err(error) => return Ok(Err(failed(&error.into()))),
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
        let what = format!("from {label} at {}: {}", spec.url.place(), list.join(", "));
        let consequence = format!("this drops tables {what}");
        if !confirmed(self.yes, &consequence, &format!("Drop {what}?")).await? {
            say(format!("{label}: nothing was changed"));
            return Ok(Ok(()));
        }
        if let Err(error) = drop_all(&mut connection, spec, &dropped).await {
            return Ok(Err(failed(&error.into())));
        }
        self.forget(&registered, &dropped).await?;
        say(format!("dropped {what}"));
        Ok(Ok(()))
    }

    /// Removes from the registry what it keeps of the mappings that are gone.
    async fn forget(&self, registered: &[&Named], dropped: &[Orphan]) -> Result<(), Failure> {
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
fn without_written(orphans: Vec<Orphan>, registered: &[&Named], label: &str) -> Vec<Orphan> {
    let written = |orphan: &Orphan| {
        !orphan.mapping_lives && registered.iter().any(|d| d.mappings.contains(&orphan.mapping))
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = orphans.into_iter().partition(written);
    for Orphan { table, mapping, .. } in &kept {
        say(format!("{label}: {table} stays: a daemon still copies mapping {mapping} there"));
    }
    dropped
}

/// Asks a destination for the tables that Offtake made in the schema, and returns those that none
/// of the destinations in this schema receives any more.
async fn find_orphans(
    destination: &Client,
    spec: &DestinationSpec,
    neighbours: &[&DestinationSpec],
    mappings: &[Mapping],
) -> Result<Vec<Orphan>, tokio_postgres::Error> {
    let received = |m: &&Mapping| {
        neighbours
            .iter()
            .any(|spec| spec.mappings.as_ref().is_none_or(|names| names.contains(&m.name)))
    };
    let live: Vec<&Mapping> = mappings.iter().filter(received).collect();
    let rows = destination.query(sql::LIST_MARKED_TABLES, &[&spec.schema.as_str()]).await?;
    let orphans = rows.iter().filter_map(|row| {
        let (name, mapping): (String, String) = (row.get("name"), row.get("mapping"));
        if live.iter().any(|m| m.target.table.as_str() == name) {
            return None;
        }
        let mapping_lives = live.iter().any(|m| m.name == mapping);
        Some(Orphan {
            table: Identifier::new(name).ok()?,
            mapping,
            rows: row.get("rows"),
            mapping_lives,
        })
    });
    Ok(orphans.collect())
}

/// Drops all tables at a destination, or none, with the cursors of the mappings that are gone. A
/// table on which something else depends cannot be dropped, and then none is.
async fn drop_all(
    connection: &mut Connection,
    spec: &DestinationSpec,
    orphans: &[Orphan],
) -> Result<(), tokio_postgres::Error> {
    let gone: BTreeSet<&str> =
        orphans.iter().filter(|o| !o.mapping_lives).map(|o| o.mapping.as_str()).collect();
    let gone: Vec<&str> = gone.into_iter().collect();
    let schema = spec.schema.sql();
    connection.batch_execute("begin; set local lock_timeout = '10s'").await?;
    for orphan in orphans {
        connection.batch_execute(&format!("drop table {schema}.{}", orphan.table.sql())).await?;
    }
    let forget = format!("delete from {schema}.\"{STATE_TABLE}\" where mapping = any($1)");
    connection.execute(&forget, &[&gone]).await?;
    connection.batch_execute("commit").await
}
