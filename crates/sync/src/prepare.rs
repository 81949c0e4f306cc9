//! Taking up a destination: its schema, its state table, its mappings' tables, and where each cursor stands.
//!
//! Runs once per connection, and again after any doubt. After it there is no DDL.

use std::sync::Arc;

use offtake_mapping::compose;
use offtake_mapping::{ResolvedMapping, literal};
use offtake_postgres::{Fault, PooledConnection, SourcePool, TEXT_FORMAT};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::destinations::{DestinationSpec, Registered};
use crate::error::{MappingFault, row_fault};
use crate::state::{self, Cursor, Cursors, Identities};
use crate::target::{self, Problem};
use crate::{Error, Settings, read, sql};

/// What taking up a destination found.
pub(crate) struct Prepared {
    pub(crate) cursors: Cursors,
    /// What the mappings' tables are now.
    pub(crate) identities: Identities,
    /// Mappings whose copy begins now, with the planner's estimate of their rows.
    pub(crate) begun: Vec<(String, Option<i64>)>,
    /// Mappings that cannot be synced here, each with the reason.
    pub(crate) faults: Vec<(String, MappingFault)>,
}

/// Opens a transaction at a destination, with the settings of every such transaction.
pub(crate) async fn begin(client: &Client, spec: &DestinationSpec, settings: &Settings) -> Result<(), tokio_postgres::Error> {
    let statement_ms = settings.statement_timeout.as_millis();
    let begin = sql::BEGIN_APPLY
        .replace("{schema}", &spec.schema.sql())
        .replace("{statement_ms}", &statement_ms.to_string())
        .replace("{idle_ms}", &(statement_ms * 2).to_string());
    client.batch_execute(&format!("{begin}{TEXT_FORMAT}")).await
}

/// Takes up a destination in one transaction there. The copies of the mappings named in `anew` begin again, over what is there.
pub(crate) async fn destination(
    client: &Client,
    pool: &SourcePool,
    registered: &Registered,
    mappings: &[Arc<ResolvedMapping>],
    anew: &[&str],
    settings: &Settings,
) -> Result<Prepared, Error> {
    let spec = &registered.spec;
    begin(client, spec, settings).await.map_err(Error::destination)?;
    state_table(client, spec).await.map_err(Error::destination)?;
    let mut cursors = state::lock(client, spec, mappings).await.map_err(Error::destination)?.cursors;
    // Read after the cursors were locked: one that is beyond this head cannot come from this history.
    let source = pool.get().await.map_err(Error::Source)?;
    let head = read::head(&source).await?;
    let mirrored = identities(&source, registered.destination_id).await?;
    let mut prepared = Prepared { cursors: Cursors::new(), identities: Identities::new(), begun: Vec::new(), faults: Vec::new() };
    let mut moved = Cursors::new();
    for mapping in mappings {
        client.batch_execute("savepoint mapping").await.map_err(Error::destination)?;
        let ensured = match target::ensure(client, spec, mapping).await {
            Ok(ensured) => {
                client.batch_execute("release savepoint mapping").await.map_err(Error::destination)?;
                ensured
            }
            Err(problem) => {
                let fault = fault_of(problem)?;
                client.batch_execute("rollback to savepoint mapping").await.map_err(Error::destination)?;
                prepared.faults.push((mapping.name().to_owned(), fault));
                continue;
            }
        };
        let replaced = mirrored.get(mapping.name()).is_some_and(|before| *before != ensured.identity);
        let readable = readable(&source, mapping, cursors.get(mapping.name())).await?;
        let stands = cursors.get(mapping.name()).is_some_and(|c| {
            readable
                && !ensured.fresh
                && !anew.contains(&mapping.name())
                && !replaced
                && c.epoch == head.epoch
                && c.version == mapping.version.as_str()
                && (head.log_begins..=head.sequence_id).contains(&c.sequence_id)
        });
        prepared.identities.insert(mapping.name().to_owned(), ensured.identity);
        if replaced {
            tracing::warn!(
                event = "table_replaced",
                tenant = spec.tenant_id,
                destination = spec.name,
                mapping = mapping.name(),
                "the table of mapping {} in {} was truncated, rewritten or replaced; it is copied anew, in place",
                mapping.name(),
                spec.label()
            );
        }
        if !stands {
            let cursor = Cursor::beginning(head.sequence_id, &head.epoch, mapping.version.as_str());
            moved.insert(mapping.name().to_owned(), cursor.clone());
            cursors.insert(mapping.name().to_owned(), cursor);
            prepared.begun.push((mapping.name().to_owned(), estimate(&source, mapping, &spec.tenant_id).await));
        }
    }
    if !moved.is_empty() {
        state::write(client, &spec.schema, &spec.tenant_id, &moved).await.map_err(Error::destination)?;
    }
    client.batch_execute("commit").await.map_err(Error::destination)?;
    prepared.cursors = cursors;
    Ok(prepared)
}

/// Whether the source can go on after the cursor's key, which was read at the destination and so is input from a stranger.
async fn readable(source: &PooledConnection, mapping: &ResolvedMapping, cursor: Option<&Cursor>) -> Result<bool, Error> {
    let Some(key) = cursor.filter(|c| !c.backfilled).and_then(|c| c.backfill_key.as_ref()) else { return Ok(true) };
    let values: Vec<_> = mapping.key.iter().zip(key).map(|(column, value)| format!("{}::{}", literal(value), column.sql_type)).collect();
    match source.simple_query(&format!("select {}", values.join(", "))).await {
        Ok(_) => Ok(key.len() == mapping.key.len()),
        Err(error) if row_fault(&error) => Ok(false),
        Err(error) => Err(Error::source(error)),
    }
}

/// What the mappings' tables were when they were last written.
async fn identities(source: &PooledConnection, destination_id: i64) -> Result<Identities, Error> {
    let rows = source.query(sql::READ_IDENTITIES, &[&destination_id]).await.map_err(Error::source)?;
    Ok(rows.iter().map(|row| (row.get("mapping"), row.get("target_identity"))).collect())
}

/// The schema and the state table, made once. A lock keeps two destinations of one database from making them at once.
async fn state_table(client: &Client, spec: &DestinationSpec) -> Result<(), tokio_postgres::Error> {
    let table = state::table_sql(&spec.schema);
    let lock = format!("offtake:{}", spec.schema);
    client.query_typed("select pg_advisory_xact_lock(hashtext($1))", &[(&lock, Type::TEXT)]).await?;
    let found = client
        .query_typed(
            "select to_regnamespace($1) is not null as schema, to_regclass($2) is not null as state",
            &[(&spec.schema.sql(), Type::TEXT), (&table, Type::TEXT)],
        )
        .await?;
    let Some(found) = found.first() else { return Ok(()) };
    if !found.get::<_, bool>("schema") {
        client.batch_execute(&format!("create schema {}", spec.schema.sql())).await?;
    }
    if !found.get::<_, bool>("state") {
        client.batch_execute(&sql::CREATE_STATE_TABLE.replace("{state}", &table)).await?;
    }
    Ok(())
}

/// A mapping's own fault, or the destination's trouble.
fn fault_of(problem: Problem) -> Result<MappingFault, Error> {
    match problem {
        Problem::Fault(fault) => Ok(fault),
        Problem::Statement(error) => {
            let error = offtake_postgres::Error::from(error);
            match error.fault() {
                Fault::Schema | Fault::Row | Fault::Fatal if error.sqlstate().is_some() => {
                    Ok(MappingFault::of("cannot make the table ready", &error))
                }
                _ => Err(Error::Destination(error)),
            }
        }
    }
}

/// The planner's estimate of a tenant's rows; only for showing progress, so an error is no estimate.
async fn estimate(source: &PooledConnection, mapping: &ResolvedMapping, tenant_id: &str) -> Option<i64> {
    let row = source.query_one(&compose::estimate_rows(mapping, tenant_id), &[]).await.ok()?;
    row.get::<_, serde_json::Value>(0)[0]["Plan"]["Plan Rows"].as_i64()
}
