//! `offtake resync --drop`: removes from a tenant's destinations the tables of mappings that are
//! gone.
//!
//! A table is dropped only if Offtake made it (its comment says so), no mapping of the folder
//! writes it into this schema for any destination, and no daemon still does.

use std::collections::BTreeSet;

use offtake_admin::operations::{Named, named_destinations};
use offtake_egress::AddressPolicy;
use offtake_mapping::{Identifier, Mapping};
use offtake_postgres::{Connection, Dialer, SourcePool, chain};
use offtake_sync::STATE_TABLE;
use offtake_sync::destinations::DestinationSpec;
use tokio_postgres::Client;

use super::confirm::confirmed;
use super::named::{unknown, unknown_tenant};
use super::status::unreadable;
use super::{connect_source, say};
use crate::command_line::Resync;
use crate::configuration::Configuration;
use crate::destinations::{check_static, evaluate};
use crate::mapping_files;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// One table to drop.
struct Orphan {
    table: Identifier,
    mapping: String,
    rows: i64,
    /// Only the table moved; the mapping goes on elsewhere.
    mapping_lives: bool,
}

pub(super) async fn execute(
    configuration: &Configuration,
    arguments: &Resync,
) -> Result<Exit, Failure> {
    let (mappings, _) = mapping_files::load(&configuration.mappings)?;
    check_static(configuration, &mappings)?;
    let source = connect_source(configuration, "resync").await?;
    let registered =
        named_destinations(&source, None, None).await.map_err(|error| unreadable(&error))?;
    let pool =
        SourcePool::new(configuration.source.url.clone(), configuration.sync.connect_timeout, 1);
    let named =
        evaluate(&configuration.destinations, &pool, configuration.sync.statement_timeout).await;
    let specs = named
        .map_err(|error| {
            Failure::new(Exit::Failed, "the destinations cannot be listed").because(chain(&error))
        })?
        .usable;
    let dialer = Dialer::new(
        AddressPolicy::new(configuration.security.allow_destinations.clone()),
        configuration.sync.connect_timeout,
    );
    let mut failures = Vec::new();
    for spec in chosen(&specs, arguments, &registered)? {
        if let Err(failure) =
            at_one(&source, &dialer, spec, &specs, &mappings, &registered, arguments.yes).await?
        {
            failures.push(failure);
        }
    }
    if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::all(failures)) }
}

fn chosen<'a>(
    specs: &'a [DestinationSpec],
    arguments: &Resync,
    registered: &[Named],
) -> Result<Vec<&'a DestinationSpec>, Failure> {
    let tenant = &arguments.of.tenant;
    let of_tenant: Vec<_> = specs.iter().filter(|spec| spec.tenant_id == *tenant).collect();
    if of_tenant.is_empty() {
        return Err(unknown_tenant(tenant, registered));
    }
    let Some(name) = &arguments.of.destination else { return Ok(of_tenant) };
    let known: Vec<&str> = of_tenant.iter().map(|spec| spec.name.as_str()).collect();
    if !known.contains(&name.as_str()) {
        return Err(unknown(
            format!("the tenant {tenant} has no destination named {name}"),
            name,
            known,
        ));
    }
    Ok(of_tenant.into_iter().filter(|spec| spec.name == *name).collect())
}

/// The outer error ends the command; the inner one is this destination's.
async fn at_one(
    source: &Client,
    dialer: &Dialer,
    spec: &DestinationSpec,
    specs: &[DestinationSpec],
    mappings: &[Mapping],
    registered: &[Named],
    yes: bool,
) -> Result<Result<(), Failure>, Failure> {
    let failed = |error: &offtake_postgres::Error| {
        Failure::new(
            Exit::SomeDestinationsFailed,
            format!("cannot drop tables of {}", spec.label()),
        )
        .because(error.message())
    };
    let mut connection = match dialer.dial(&spec.url, "offtake resync").await {
        Ok(connection) => connection,
        Err(error) => return Ok(Err(failed(&error))),
    };
    let neighbours: Vec<_> = specs
        .iter()
        .filter(|s| s.url.place() == spec.url.place() && s.schema == spec.schema)
        .collect();
    let orphans = match orphans(&connection, spec, &neighbours, mappings).await {
        Ok(orphans) => orphans,
        Err(error) => return Ok(Err(failed(&error.into()))),
    };
    let registered: Vec<&Named> = registered
        .iter()
        .filter(|d| neighbours.iter().any(|s| s.tenant_id == d.tenant && s.name == d.name))
        .collect();
    let at_work = |orphan: &Orphan| {
        !orphan.mapping_lives && registered.iter().any(|d| d.mappings.contains(&orphan.mapping))
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = orphans.into_iter().partition(at_work);
    for orphan in &kept {
        say(format!(
            "{}: {} stays: a daemon still copies mapping {} there",
            spec.label(),
            orphan.table,
            orphan.mapping
        ));
    }
    if dropped.is_empty() {
        say(format!("{}: no table to drop", spec.label()));
        return Ok(Ok(()));
    }
    let list: Vec<_> = dropped
        .iter()
        .map(|o| format!("{} (mapping {}, about {} rows)", o.table, o.mapping, o.rows))
        .collect();
    let what = format!("from {} at {}: {}", spec.label(), spec.url.place(), list.join(", "));
    if !confirmed(yes, &format!("this drops tables {what}"), &format!("Drop {what}?")).await? {
        say(format!("{}: nothing was changed", spec.label()));
        return Ok(Ok(()));
    }
    if let Err(error) = drop_all(&mut connection, spec, &dropped).await {
        return Ok(Err(failed(&error.into())));
    }
    let ids: Vec<i64> = registered.iter().map(|d| d.destination_id).collect();
    for orphan in dropped.iter().filter(|orphan| !orphan.mapping_lives) {
        let forgotten = source.execute(sql::FORGET_MAPPING, &[&ids, &orphan.mapping]).await;
        forgotten.map_err(|error| {
            Failure::of_source("cannot forget the mapping in the registry", &error.into())
        })?;
    }
    say(format!("dropped {what}"));
    Ok(Ok(()))
}

/// Tables that Offtake made in this schema and that none of the destinations there receives any
/// more.
async fn orphans(
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

/// All or none, with the cursors of mappings that are gone. What depends on a table keeps it.
async fn drop_all(
    connection: &mut Connection,
    spec: &DestinationSpec,
    orphans: &[Orphan],
) -> Result<(), tokio_postgres::Error> {
    let gone: BTreeSet<&str> =
        orphans.iter().filter(|o| !o.mapping_lives).map(|o| o.mapping.as_str()).collect();
    let gone: Vec<&str> = gone.into_iter().collect();
    connection.batch_execute("begin; set local lock_timeout = '10s'").await?;
    for orphan in orphans {
        connection
            .batch_execute(&format!("drop table {}.{}", spec.schema.sql(), orphan.table.sql()))
            .await?;
    }
    let forget =
        format!("delete from {}.\"{STATE_TABLE}\" where mapping = any($1)", spec.schema.sql());
    connection.execute(&forget, &[&gone]).await?;
    connection.batch_execute("commit").await
}
