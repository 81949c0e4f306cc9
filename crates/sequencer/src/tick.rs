//! One tick: one transaction from captured changes to numbered ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use offtake_loops::failpoint;
use offtake_mapping::{CapturedColumn, MappingSet, Tenant, TenantLookup, Waking, compose};
use offtake_postgres::{PipelinedTransaction, PooledConnection, SqlState};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::{Error, Numbering, sql};

/// The transaction lock that makes ticks exclusive between replicas.
pub const LOCK_KEY: i64 = 0x6f66_6674_616b_6501; // "offtake", 1

/// How many dependants one change is expanded to in one tick. A page of this size takes some tens
/// of milliseconds; a parent with 100 000 children takes ten ticks, between which other changes are
/// numbered.
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
    /// The highest capture id taken; 0 if none was.
    pub up_to: i64,
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

/// Runs one tick on a connection of its own. Takes at most `batch_rows` captured changes, of those
/// beyond the capture id `after`; 0 means all. A capture id is drawn before commit, so now and then
/// a tick must look at all of them.
pub async fn tick(
    connection: &mut PooledConnection,
    mappings: &MappingSet,
    numbering: &Numbering,
    batch_rows: i64,
    after: i64,
) -> Result<Tick, Error> {
    let sequence_changes = connection.prepare_cached(sql::SEQUENCE_CHANGES).await?;
    let Some(transaction) = locked(connection).await? else {
        return Ok(Tick { skipped: true, ..Tick::default() });
    };
    failpoint("sequencer.after_lock").await?;
    let looked_up = looked_up_tables(mappings);
    let names: Vec<&str> = looked_up.keys().map(String::as_str).collect();
    let parameters: [&(dyn ToSql + Sync); 3] = [&batch_rows, &names, &after];
    let (last, rows) = tokio::join!(
        Numbering::read(&transaction, mappings),
        transaction.query(&sequence_changes, &parameters)
    );
    numbering.note(&transaction, mappings, last?).await?;
    let rows = rows?;
    failpoint("sequencer.after_stamp").await?;
    let mut done = Tick::default();
    let mut open = Vec::new();
    for row in rows {
        let operation = row.get::<_, i8>("operation").cast_unsigned();
        if operation == b'n' {
            done.taken = row.get("capture_id");
            done.appended = row.get("appended");
            done.up_to = row.get::<_, Option<i64>>("up_to").unwrap_or(0);
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

/// A transaction that holds the lock; None: another replica's does. The lock is asked for in a
/// statement of its own, before the one whose snapshot must see what the last holder has committed.
pub(crate) async fn locked(
    connection: &mut PooledConnection,
) -> Result<Option<PipelinedTransaction<'_>>, Error> {
    let try_lock = connection.prepare_cached(sql::TRY_LOCK).await?;
    let lock = async |session: &PooledConnection| session.query_one(&try_lock, &[&LOCK_KEY]).await;
    let begin =
        sql::BEGIN_TICK.replace("{statement_ms}", &connection.statement_timeout_ms().to_string());
    let (transaction, locked) = PipelinedTransaction::open(connection, &begin, lock).await?;
    Ok(locked.get::<_, bool>(0).then_some(transaction))
}

/// Tables whose rows' tenant must be looked up. Where two mappings of one table look it up
/// differently, the first counts; `catalog::resolve` refuses such a set.
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
    transaction: &PipelinedTransaction<'_>,
    mappings: &MappingSet,
    table: &str,
    lookup: &TenantLookup,
    open: &[Taken],
) -> Result<i64, Error> {
    let unresolved: Vec<&Taken> =
        open.iter().filter(|t| t.unresolved && t.source_table == table).collect();
    if unresolved.is_empty() {
        return Ok(0);
    }
    let lookup_table = lookup.table.to_string();
    let changed: Vec<&Value> = open
        .iter()
        .filter(|t| t.source_table == lookup_table)
        .filter_map(|t| t.matched.as_ref())
        .collect();
    let statement = compose::resolve_tenants(
        lookup,
        table,
        matched_columns(mappings, table),
        matched_columns(mappings, &lookup_table),
    );
    let capture_ids: Vec<_> = unresolved.iter().map(|t| t.capture_id).collect();
    let captured_at: Vec<_> = unresolved.iter().map(|t| t.captured_at).collect();
    let row_keys: Vec<_> = unresolved.iter().map(|t| t.row_key.as_ref()).collect();
    let deleted: Vec<_> = unresolved.iter().map(|t| t.operation == b'd').collect();
    let matched: Vec<_> = unresolved.iter().map(|t| t.matched.as_ref()).collect();
    let resolved = apart(
        transaction,
        &statement,
        &[&capture_ids, &captured_at, &row_keys, &deleted, &matched, &changed],
    )
    .await;
    match resolved {
        Ok(row) => Ok(row.get("appended")),
        Err(error) if error.as_db_error().is_some() => {
            tracing::error!(
                event = "lookup_failed",
                table,
                sqlstate = error.code().map(tokio_postgres::error::SqlState::code),
                "the tenants of changed rows of {table} could not be looked up in {lookup_table}, so every tenant looks again"
            );
            let parameters: [&(dyn ToSql + Sync); 5] =
                [&table, &capture_ids, &captured_at, &row_keys, &deleted];
            let row = transaction.query_opt(sql::APPEND_FOR_EVERY_TENANT, &parameters).await?;
            Ok(row.map_or(0, |row| row.get("appended")))
        }
        Err(error) => Err(error.into()),
    }
}

/// One statement on the operator's tables, behind a savepoint: one that fails spoils only itself.
async fn apart(
    transaction: &PipelinedTransaction<'_>,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, tokio_postgres::Error> {
    let (saved, prepared) = tokio::join!(
        transaction.batch_execute("savepoint apart"),
        transaction.prepare_cached(statement)
    );
    saved?;
    let outcome = match prepared {
        Ok(statement) => {
            // The release fails with the statement, and then the rollback counts.
            let (row, released) = tokio::join!(
                transaction.query_one(&statement, parameters),
                transaction.batch_execute("release savepoint apart")
            );
            row.and_then(|row| released.map(|()| row))
        }
        Err(error) => Err(error),
    };
    if outcome.as_ref().is_err_and(|error| error.as_db_error().is_some()) {
        transaction.batch_execute("rollback to savepoint apart").await?;
    }
    outcome
}

fn matched_columns<'a>(mappings: &'a MappingSet, table: &str) -> &'a [CapturedColumn] {
    mappings.captures().find(|c| c.table.to_string() == table).map_or(&[], |c| c.matched.as_slice())
}

async fn expand(
    transaction: &PipelinedTransaction<'_>,
    mappings: &MappingSet,
    open: &[Taken],
    done: &mut Tick,
) -> Result<(), Error> {
    let mut whole: BTreeMap<String, SystemTime> = BTreeMap::new();
    let tables: BTreeSet<&str> = open.iter().map(|t| t.source_table.as_str()).collect();
    for table in tables {
        let of_table: Vec<&Taken> = open.iter().filter(|t| t.source_table == table).collect();
        if let Some(truncated) = of_table.iter().find(|t| t.operation == b't') {
            let concerned =
                mappings.driven_by(table).chain(mappings.wakings(table).iter().map(|w| &w.mapping));
            whole.extend(concerned.map(|m| (m.source_table(), truncated.captured_at)));
        }
        for waking in mappings.wakings(table) {
            let changed: Vec<&Taken> =
                of_table.iter().copied().filter(|t| concerns(t, waking)).collect();
            if changed.is_empty() {
                continue;
            }
            match expand_one(transaction, waking, &changed).await {
                Ok((appended, continued)) => {
                    done.appended += appended;
                    done.continued += continued;
                }
                // The application has a table to itself; everything else goes on.
                Err(error) if locked_out(&error) => {
                    let matched: Vec<_> = changed.iter().map(|t| t.matched.as_ref()).collect();
                    let captured_at: Vec<_> = changed.iter().map(|t| t.captured_at).collect();
                    let parameters: [&(dyn ToSql + Sync); 5] =
                        [&table, &waking.mapping.name(), &matched, &after(&changed), &captured_at];
                    transaction.execute(sql::POSTPONE_EXPANSION, &parameters).await?;
                    done.continued += 1;
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
        if let Some(row) =
            transaction.query_opt(sql::APPEND_WHOLE_TABLES, &[&vec![table], &captured_at]).await?
        {
            done.appended += row.get::<_, i64>("appended");
        }
    }
    Ok(())
}

/// A change wakes every mapping that depends on its table; a continued expansion only the mapping
/// it belongs to.
fn concerns(taken: &Taken, waking: &Waking) -> bool {
    match (&taken.resume, taken.operation) {
        (Some(resume), b'r') => resume["mapping"].as_str() == Some(waking.mapping.name()),
        _ => taken.matched.is_some() && taken.operation != b't',
    }
}

/// Where each expansion goes on; None: at the beginning.
fn after<'a>(changed: &[&'a Taken]) -> Vec<Option<&'a Value>> {
    changed
        .iter()
        .map(|t| t.resume.as_ref().map(|resume| &resume["after"]).filter(|key| !key.is_null()))
        .collect()
}

fn locked_out(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
    })
}

async fn expand_one(
    transaction: &PipelinedTransaction<'_>,
    waking: &Waking,
    changed: &[&Taken],
) -> Result<(i64, i64), tokio_postgres::Error> {
    let row = apart(
        transaction,
        &compose::expand_dependants(waking),
        &[
            &changed.iter().map(|t| t.capture_id).collect::<Vec<_>>(),
            &changed.iter().map(|t| t.captured_at).collect::<Vec<_>>(),
            &changed.iter().map(|t| t.matched.as_ref()).collect::<Vec<_>>(),
            &after(changed),
            &EXPANSION_ROWS_MAX,
        ],
    )
    .await?;
    Ok((row.get("appended"), row.get("continued")))
}
