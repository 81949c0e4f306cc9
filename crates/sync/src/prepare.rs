//! Taking up a destination: its schema, its state table, its mappings' tables, and where each
//! cursor stands.
//!
//! Runs once per connection, and again after any doubt. After it there is no DDL.

use std::collections::BTreeMap;
use std::sync::Arc;

use offtake_mapping::compose;
use offtake_mapping::{ResolvedMapping, literal};
use offtake_postgres::{
    Fault, PipelinedTransaction as Begun, PooledConnection, SourcePool, TEXT_FORMAT,
};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::destinations::{DestinationSpec, Registered};
use crate::error::{MappingFault, row_fault};
use crate::read::{self, Head};
use crate::state::{self, Cursor, Cursors, Identities};
use crate::target::{self, Problem};
use crate::{Error, Settings, sql};

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
pub(crate) async fn begin(
    client: &Client,
    spec: &DestinationSpec,
    settings: &Settings,
) -> Result<(), tokio_postgres::Error> {
    let statement_ms = settings.statement_timeout.as_millis();
    let begin = sql::BEGIN_APPLY
        .replace("{schema}", &spec.schema.sql())
        .replace("{statement_ms}", &statement_ms.to_string())
        .replace("{idle_ms}", &(statement_ms * 2).to_string());
    client.batch_execute(&format!("{begin}{TEXT_FORMAT}")).await
}

/// Takes up a destination in one transaction there. The copies of the mappings named in `anew`
/// begin again, over what is there.
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
    let mut cursors =
        state::lock(client, spec, mappings).await.map_err(Error::destination)?.cursors;
    // Read after the cursors were locked: one that is beyond this head cannot come from this
    // history.
    let mut source = pool.get().await.map_err(Error::Source)?;
    let head = read::head(&source).await?;
    let mirrored = mirrored(&source, registered.destination_id).await?;
    let mut prepared = Prepared {
        cursors: Cursors::new(),
        identities: Identities::new(),
        begun: Vec::new(),
        faults: Vec::new(),
    };
    let mut moved = Cursors::new();
    if let Some(rival) = rival(client, &source, registered).await? {
        client.batch_execute("commit").await.map_err(Error::destination)?;
        prepared.faults = mappings
            .iter()
            .map(|mapping| (mapping.name().to_owned(), MappingFault::said(rival.clone())))
            .collect();
        return Ok(prepared);
    }
    for mapping in mappings {
        client.batch_execute("savepoint mapping").await.map_err(Error::destination)?;
        let ensured = match target::ensure(client, spec, mapping).await {
            Ok(ensured) => {
                client
                    .batch_execute("release savepoint mapping")
                    .await
                    .map_err(Error::destination)?;
                ensured
            }
            Err(problem) => {
                let fault = fault_of(problem)?;
                client
                    .batch_execute("rollback to savepoint mapping")
                    .await
                    .map_err(Error::destination)?;
                prepared.faults.push((mapping.name().to_owned(), fault));
                continue;
            }
        };
        let before = mirrored.get(mapping.name());
        let replaced = before.is_some_and(|before| before.identity != ensured.identity);
        let cursor = cursors.get(mapping.name());
        let readable = readable(&source, mapping, cursor).await?;
        let as_it_was = readable && !ensured.fresh && !replaced && !anew.contains(&mapping.name());
        let stands =
            as_it_was && cursor.is_some_and(|cursor| stands(cursor, mapping, &head, before));
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
            prepared.begun.push((
                mapping.name().to_owned(),
                estimate(&mut source, mapping, &spec.tenant_id).await,
            ));
        }
    }
    if !moved.is_empty() {
        state::write(client, &spec.schema, &spec.tenant_id, &moved)
            .await
            .map_err(Error::destination)?;
    }
    client.batch_execute("commit").await.map_err(Error::destination)?;
    prepared.cursors = cursors;
    Ok(prepared)
}

/// Why this tenant's rows cannot go where another tenant's destination writes to. Two that name one
/// database alike are refused before anything is dialled; here are those whose URLs name it
/// differently, each of which would delete the other's rows.
///
/// What is left of a tenant that is served elsewhere, or no longer, is no rival. A table's oid does
/// not tell: one server restored from another, or two made alike, have the same. But a cursor only
/// rises, and the source is never told more than there is: one that is behind what the source was
/// told before it was read is not the one that is served.
async fn rival(
    client: &Client,
    source: &PooledConnection,
    registered: &Registered,
) -> Result<Option<String>, Error> {
    let spec = &registered.spec;
    let others =
        state::others(client, spec, &registered.mappings).await.map_err(Error::destination)?;
    if others.is_empty() {
        return Ok(None);
    }
    let tenants: Vec<&str> = others.iter().map(|other| other.tenant_id.as_str()).collect();
    let mappings: Vec<&str> = others.iter().map(|other| other.mapping.as_str()).collect();
    let oids: Vec<Option<&str>> = others.iter().map(|other| other.oid.as_deref()).collect();
    let lately: Vec<bool> = others.iter().map(|other| other.lately).collect();
    let (schema, database) = (spec.schema.as_str(), spec.url.database());
    let found = source
        .query(
            sql::FIND_RIVAL,
            &[&tenants, &mappings, &oids, &lately, &schema, &database, &spec.shared],
        )
        .await;
    let found = found.map_err(Error::source)?;
    if found.is_empty() {
        return Ok(None);
    }
    let now =
        state::others(client, spec, &registered.mappings).await.map_err(Error::destination)?;
    let served = |row: &&Row| {
        let (tenant, mapping, told): (&str, &str, i64) =
            (row.get("tenant_id"), row.get("mapping"), row.get("told"));
        now.iter().any(|other| {
            other.tenant_id == tenant && other.mapping == mapping && other.sequence_id >= told
        })
    };
    Ok(found.iter().find(served).map(|row| {
        let (tenant, name): (&str, &str) = (row.get("tenant_id"), row.get("name"));
        format!(
            "{} and {tenant}/{name} write into schema {schema} of one database, by two names; give each its own schema, or mark all of them \
             shared. If this is only what is left of the other, run there: delete from {} where tenant_id = {}",
            spec.label(),
            state::table_sql(&spec.schema),
            literal(tenant)
        )
    }))
}

/// Whether a cursor still says what of the mapping has arrived.
fn stands(
    cursor: &Cursor,
    mapping: &ResolvedMapping,
    head: &Head,
    before: Option<&Mirrored>,
) -> bool {
    // It has been further: the destination is an older one of itself. What was set aside there and
    // arrived later, or was copied anew by command, is in no log.
    before.is_none_or(|before| before.sequence_id <= cursor.sequence_id)
        && cursor.epoch == head.epoch
        && cursor.version == mapping.version.as_str()
        && (head.log_begins..=head.sequence_id).contains(&cursor.sequence_id)
}

/// Whether the source can go on after the cursor's key, which was read at the destination and so is
/// input from a stranger.
async fn readable(
    source: &PooledConnection,
    mapping: &ResolvedMapping,
    cursor: Option<&Cursor>,
) -> Result<bool, Error> {
    let Some(key) = cursor.filter(|c| !c.backfilled).and_then(|c| c.backfill_key.as_ref()) else {
        return Ok(true);
    };
    let values: Vec<_> = mapping
        .key
        .iter()
        .zip(key)
        .map(|(column, value)| format!("{}::{}", literal(value), column.sql_type))
        .collect();
    match source.simple_query(&format!("select {}", values.join(", "))).await {
        Ok(_) => Ok(key.len() == mapping.key.len()),
        Err(error) if row_fault(&error) => Ok(false),
        Err(error) => Err(Error::source(error)),
    }
}

/// What the source was told of a mapping after a commit at the destination; it may be behind, never
/// ahead.
struct Mirrored {
    identity: String,
    sequence_id: i64,
}

/// By mapping, what was last written.
async fn mirrored(
    source: &PooledConnection,
    destination_id: i64,
) -> Result<BTreeMap<String, Mirrored>, Error> {
    let rows = source.query(sql::READ_MIRRORED, &[&destination_id]).await.map_err(Error::source)?;
    let mirrored = |row: &Row| Mirrored {
        identity: row.get("target_identity"),
        sequence_id: row.get("sequence_id"),
    };
    Ok(rows.iter().map(|row| (row.get("mapping"), mirrored(row))).collect())
}

/// The schema and the state table, made once. A lock keeps two destinations of one database from
/// making them at once.
async fn state_table(client: &Client, spec: &DestinationSpec) -> Result<(), tokio_postgres::Error> {
    let table = state::table_sql(&spec.schema);
    let lock = format!("offtake:{}", spec.schema);
    client
        .query_typed("select pg_advisory_xact_lock(hashtext($1))", &[(&lock, Type::TEXT)])
        .await?;
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

/// The planner's estimate of a tenant's rows; only for showing progress, so an error is no
/// estimate. Does not wait for an application that has the tables to itself: the destination's
/// cursors are locked meanwhile.
async fn estimate(
    source: &mut PooledConnection,
    mapping: &ResolvedMapping,
    tenant_id: &str,
) -> Option<i64> {
    let statement = compose::estimate_rows(mapping, tenant_id);
    let explain = async |session: &PooledConnection| session.query_one(&statement, &[]).await;
    let (_transaction, row) =
        Begun::open(source, "begin read only; set local lock_timeout = '100ms'", explain)
            .await
            .ok()?;
    row.get::<_, serde_json::Value>(0)[0]["Plan"]["Plan Rows"].as_i64()
}
