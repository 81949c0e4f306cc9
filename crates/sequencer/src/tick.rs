//! One tick: one transaction from captured changes to numbered ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use offtake_mapping::{CapturedColumn, MappingSet, Tenant, TenantLookup, Waking, compose};
use offtake_postgres::{PooledConnection, failpoint};
use serde_json::Value;
use tokio_postgres::Transaction;

use crate::{Error, sql};

/// The transaction lock that makes ticks exclusive between replicas.
pub const LOCK_KEY: i64 = 0x6f66_6674_616b_6501; // "offtake", 1

/// How many dependants one change is expanded to in one tick. A page of this size takes some tens of milliseconds; a
/// parent with 100 000 children takes ten ticks, between which other changes are numbered.
pub const EXPANSION_ROWS_MAX: i64 = 10_000;

/// What one tick did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tick {
    /// Another replica's tick was running.
    pub skipped: bool,
    /// Captured changes taken.
    pub taken: i64,
    /// Changes appended to the log, dependants included.
    pub appended: i64,
    /// Expansions that go on in a later tick.
    pub continued: i64,
}

/// A taken row that still needs something.
struct Taken {
    capture_id: i64,
    source_table: String,
    operation: u8,
    row_key: Option<Value>,
    matched: Option<Value>,
    resume: Option<Value>,
    captured_at: SystemTime,
    unresolved: bool,
}

/// Runs one tick on a connection of its own. Takes at most `batch_rows` captured changes.
pub async fn tick(connection: &mut PooledConnection, mappings: &MappingSet, batch_rows: i64) -> Result<Tick, Error> {
    let sequence_changes = connection.prepare_cached(sql::SEQUENCE_CHANGES).await?;
    let transaction = connection.transaction().await?;
    transaction.batch_execute(sql::BEGIN_TICK).await?;
    let locked: bool = transaction.query_one("select pg_try_advisory_xact_lock($1)", &[&LOCK_KEY]).await?.get(0);
    if !locked {
        transaction.rollback().await?;
        return Ok(Tick { skipped: true, ..Tick::default() });
    }
    failpoint("sequencer.after_lock").await?;
    let looked_up = looked_up_tables(mappings);
    let names: Vec<&str> = looked_up.keys().map(String::as_str).collect();
    let rows = transaction.query(&sequence_changes, &[&batch_rows, &names]).await?;
    failpoint("sequencer.after_stamp").await?;
    let mut done = Tick::default();
    let mut open = Vec::new();
    for row in rows {
        let operation = row.get::<_, i8>("operation").cast_unsigned();
        if operation == b'n' {
            done.taken = row.get("capture_id");
            done.appended = row.get("appended");
            continue;
        }
        open.push(Taken {
            capture_id: row.get("capture_id"),
            source_table: row.get("source_table"),
            operation,
            row_key: row.get("row_key"),
            matched: row.get("matched"),
            resume: row.get("resume"),
            captured_at: row.get("captured_at"),
            unresolved: row.get("unresolved"),
        });
    }
    open.sort_by_key(|taken| taken.capture_id);
    for (table, lookup) in &looked_up {
        done.appended += resolve(&transaction, mappings, table, lookup, &open).await?;
    }
    expand(&transaction, mappings, &open, &mut done).await?;
    failpoint("sequencer.before_commit").await?;
    transaction.commit().await?;
    Ok(done)
}

/// Tables whose rows' tenant must be looked up. Where two mappings of one table look it up differently, the first
/// counts; `catalog::resolve` refuses such a set.
fn looked_up_tables(mappings: &MappingSet) -> BTreeMap<String, TenantLookup> {
    let mut tables = BTreeMap::new();
    for mapping in mappings.mappings() {
        if let Tenant::Lookup(lookup) = &mapping.definition.source.tenant {
            tables.entry(mapping.source_table()).or_insert_with(|| lookup.clone());
        }
    }
    tables
}

async fn resolve(
    transaction: &Transaction<'_>,
    mappings: &MappingSet,
    table: &str,
    lookup: &TenantLookup,
    open: &[Taken],
) -> Result<i64, Error> {
    let unresolved: Vec<&Taken> = open.iter().filter(|t| t.unresolved && t.source_table == table).collect();
    if unresolved.is_empty() {
        return Ok(0);
    }
    let lookup_table = lookup.table.to_string();
    let gone: Vec<&Value> =
        open.iter().filter(|t| t.operation == b'd' && t.source_table == lookup_table).filter_map(|t| t.matched.as_ref()).collect();
    let statement = compose::resolve_tenants(lookup, table, matched_columns(mappings, table), matched_columns(mappings, &lookup_table));
    let row = transaction
        .query_one(
            &statement,
            &[
                &unresolved.iter().map(|t| t.capture_id).collect::<Vec<_>>(),
                &unresolved.iter().map(|t| t.captured_at).collect::<Vec<_>>(),
                &unresolved.iter().map(|t| t.row_key.as_ref()).collect::<Vec<_>>(),
                &unresolved.iter().map(|t| t.operation == b'd').collect::<Vec<_>>(),
                &unresolved.iter().map(|t| t.matched.as_ref()).collect::<Vec<_>>(),
                &gone,
            ],
        )
        .await?;
    Ok(row.get("appended"))
}

fn matched_columns<'a>(mappings: &'a MappingSet, table: &str) -> &'a [CapturedColumn] {
    mappings.captures().find(|c| c.table.to_string() == table).map_or(&[], |c| c.matched.as_slice())
}

async fn expand(transaction: &Transaction<'_>, mappings: &MappingSet, open: &[Taken], done: &mut Tick) -> Result<(), Error> {
    let mut whole: BTreeMap<String, SystemTime> = BTreeMap::new();
    let tables: BTreeSet<&str> = open.iter().map(|t| t.source_table.as_str()).collect();
    for table in tables {
        let of_table: Vec<&Taken> = open.iter().filter(|t| t.source_table == table).collect();
        if let Some(truncated) = of_table.iter().find(|t| t.operation == b't') {
            let concerned = mappings.driven_by(table).chain(mappings.wakings(table).iter().map(|w| &w.mapping));
            whole.extend(concerned.map(|m| (m.source_table(), truncated.captured_at)));
        }
        for waking in mappings.wakings(table) {
            let changed: Vec<&Taken> = of_table.iter().copied().filter(|t| concerns(t, waking)).collect();
            if changed.is_empty() {
                continue;
            }
            match expand_one(transaction, waking, &changed).await {
                Ok((appended, continued)) => {
                    done.appended += appended;
                    done.continued += continued;
                }
                Err(error) if error.as_db_error().is_some() => {
                    let mapping = waking.mapping.name();
                    tracing::error!(
                        event = "expansion_failed",
                        mapping,
                        table,
                        sqlstate = error.code().map(tokio_postgres::error::SqlState::code),
                        "rows of mapping {mapping} that depend on {table} could not be found, so the mapping is copied anew"
                    );
                    whole.insert(waking.mapping.source_table(), changed[0].captured_at);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    for (table, captured_at) in whole {
        if let Some(row) = transaction.query_opt(sql::APPEND_WHOLE_TABLES, &[&vec![table], &captured_at]).await? {
            done.appended += row.get::<_, i64>("appended");
        }
    }
    Ok(())
}

/// A change wakes every mapping that depends on its table; a continued expansion only the mapping it belongs to.
fn concerns(taken: &Taken, waking: &Waking) -> bool {
    match (&taken.resume, taken.operation) {
        (Some(resume), b'r') => resume["mapping"].as_str() == Some(waking.mapping.name()),
        _ => taken.matched.is_some() && taken.operation != b't',
    }
}

/// Behind a savepoint, so that a condition that fails spoils only itself.
async fn expand_one(transaction: &Transaction<'_>, waking: &Waking, changed: &[&Taken]) -> Result<(i64, i64), tokio_postgres::Error> {
    transaction.batch_execute("savepoint expansion").await?;
    let after: Vec<Option<&Value>> = changed.iter().map(|t| t.resume.as_ref().map(|resume| &resume["after"])).collect();
    let outcome = transaction
        .query_one(
            &compose::expand_dependants(waking),
            &[
                &changed.iter().map(|t| t.capture_id).collect::<Vec<_>>(),
                &changed.iter().map(|t| t.captured_at).collect::<Vec<_>>(),
                &changed.iter().map(|t| t.matched.as_ref()).collect::<Vec<_>>(),
                &after,
                &EXPANSION_ROWS_MAX,
            ],
        )
        .await;
    match outcome {
        Ok(row) => {
            transaction.batch_execute("release savepoint expansion").await?;
            Ok((row.get("appended"), row.get("continued")))
        }
        Err(error) => {
            transaction.batch_execute("rollback to savepoint expansion").await?;
            Err(error)
        }
    }
}
