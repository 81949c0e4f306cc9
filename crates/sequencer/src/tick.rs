//! One tick: the transaction that turns captured changes into numbered ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use offtake_loops::{failpoint, failpoint_is_set};
use offtake_mapping::{LookupPath, MappingSet, Waking, compose};
use offtake_postgres::{PipelinedTransaction, PooledConnection, SqlState};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::{Error, Numbering, sql};

/// The key of the transaction lock that lets only one daemon tick at a time.
pub const LOCK_KEY: i64 = 0x6f66_6674_616b_6501; // "offtake", 1

/// How many dependants one tick finds for one change, at most. A page of this size takes some tens
/// of milliseconds. A parent with 100 000 children takes ten ticks, between which other changes are
/// numbered.
pub const EXPANSION_ROWS_MAX: i64 = 10_000;

/// What one tick did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tick {
    /// Whether it did nothing because another daemon's tick was running.
    pub skipped: bool,
    /// Captured changes taken.
    pub taken: i64,
    /// Changes appended to the log, dependants included.
    pub appended: i64,
    /// Expansions that continue in a later tick.
    pub continued: i64,
    /// The highest capture id taken; 0 if none was.
    pub up_to: i64,
}

/// A captured change that was taken and still needs work: a tenant or an expansion.
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

/// Runs one tick on a connection of its own. Takes at most `batch_rows` captured changes whose
/// capture id is greater than `after`; 0 means all. A capture id is drawn before commit, so now and
/// then a tick must look at all of them.
pub async fn tick(
    connection: &mut PooledConnection,
    mappings: &MappingSet,
    numbering: &Numbering,
    batch_rows: i64,
    after: i64,
) -> Result<Tick, Error> {
    let sequence_changes = connection.prepare_cached(sql::SEQUENCE_CHANGES).await?;
    let read_numbering = connection.prepare_cached(sql::READ_NUMBERING).await?;
    let names = mappings.looked_up_tables();
    let parameters: [&(dyn ToSql + Sync); 3] = [&batch_rows, &names, &after];
    let needs = mappings.needs();
    let known: [&(dyn ToSql + Sync); 1] = [&needs];
    let number = async |session: &PooledConnection| {
        tokio::join!(
            biased;
            session.query_opt(&read_numbering, &known),
            session.query(&sequence_changes, &parameters)
        )
    };
    let numbered = if failpoint_is_set("sequencer.after_lock") {
        match locked(connection, Durability::WithItsReaders).await? {
            Some(transaction) => {
                failpoint("sequencer.after_lock").await?;
                let found = number(&transaction).await;
                Some((transaction, found))
            }
            None => None,
        }
    } else {
        locked_ahead(connection, Durability::WithItsReaders, number).await?
    };
    let Some((transaction, (last, rows))) = numbered else {
        return Ok(Tick { skipped: true, ..Tick::default() });
    };
    numbering.note(&transaction, mappings, last?).await?;
    let rows = rows?;
    failpoint("sequencer.after_stamp").await?;
    let mut done = Tick::default();
    let mut open = Vec::new();
    for row in rows {
        // Every row repeats the counts; without an open change there is one row that has only them.
        done.taken = row.get("taken");
        done.appended = row.get("appended");
        done.up_to = row.get::<_, Option<i64>>("up_to").unwrap_or(0);
        let Some(capture_id) = row.get("capture_id") else { continue };
        open.push(Taken {
            capture_id,
            source_table: row.get("source_table"),
            operation: row.get::<_, i8>("operation").cast_unsigned(),
            row_key: row.get("row_key"),
            matched: row.get("matched"),
            resume: row.get("resume"),
            captured_at: row.get("captured_at"),
            unresolved: row.get("unresolved"),
        });
    }
    open.sort_by_key(|taken| taken.capture_id);
    if !open.is_empty() {
        // What follows reads the application's tables, which may be best scanned.
        transaction.batch_execute("set local enable_seqscan to default").await?;
    }
    for path in mappings.lookups() {
        done.appended += resolve(&transaction, path, &open).await?;
    }
    expand(&transaction, mappings, &open, &mut done).await?;
    failpoint("sequencer.before_commit").await?;
    transaction.commit().await?;
    Ok(done)
}

/// Whether a transaction waits at its commit until it is on the source's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    AtCommit,
    /// Not at its commit. A tick's numbers leave the source only through what is read there, and a
    /// read is used only once everything that it saw is on the disk
    /// (`crates/reading/src/durable.rs`). If the server crashes before that, it forgets the tick
    /// and everything that was committed after it: the captured changes are there again, and no
    /// destination has seen their numbers. So a tick need not wait for the disk by itself.
    WithItsReaders,
}

/// A transaction that holds the lock, or None if another daemon holds it.
pub(crate) async fn locked(
    connection: &mut PooledConnection,
    durability: Durability,
) -> Result<Option<PipelinedTransaction<'_>>, Error> {
    let nothing = async |_: &PooledConnection| ();
    Ok(locked_ahead(connection, durability, nothing).await?.map(|(transaction, ())| transaction))
}

/// The same, with `work` sent before the lock's answer is known; its statements must do nothing
/// without the lock. The lock is taken in a statement of its own: the next statement has a newer
/// snapshot, which sees everything that the last holder committed.
async fn locked_ahead<T>(
    connection: &mut PooledConnection,
    durability: Durability,
    work: impl AsyncFnOnce(&PooledConnection) -> T,
) -> Result<Option<(PipelinedTransaction<'_>, T)>, Error> {
    let try_lock = connection.prepare_cached(sql::TRY_LOCK).await?;
    let synchronous_commit = match durability {
        Durability::AtCommit => "on",
        Durability::WithItsReaders => "off",
    };
    let begin = sql::BEGIN_TICK
        .replace("{statement_ms}", &connection.statement_timeout_ms().to_string())
        .replace("{synchronous_commit}", synchronous_commit);
    let first = async |session: &PooledConnection| {
        let lock = session.query_one(&try_lock, &[&LOCK_KEY]);
        let (locked, done) = tokio::join!(biased; lock, work(session));
        Ok((locked?, done))
    };
    let (transaction, (locked, done)) =
        PipelinedTransaction::open(connection, &begin, first).await?;
    Ok(locked.get::<_, bool>(0).then_some((transaction, done)))
}

/// The batch's changes in the tables of a look-up, as its statements take them.
struct OnTheWay<'a> {
    tables: Vec<&'a str>,
    matched: Vec<&'a Value>,
    /// The tenants of changes that an earlier tick handed on.
    tenants: Vec<Option<&'a Value>>,
}

impl<'a> OnTheWay<'a> {
    fn of(path: &LookupPath, open: &'a [Taken]) -> Self {
        let tables: Vec<String> =
            path.lookup.steps.iter().map(|step| step.table.to_string()).collect();
        let changed: Vec<_> = open
            .iter()
            .filter(|t| tables.contains(&t.source_table))
            .filter_map(|t| Some((t, t.matched.as_ref()?)))
            .collect();
        Self {
            tables: changed.iter().map(|(t, _)| t.source_table.as_str()).collect(),
            matched: changed.iter().map(|(_, matched)| *matched).collect(),
            tenants: changed.iter().map(|(t, _)| t.handed_on_with()).collect(),
        }
    }
}

/// Numbers the changes of a table whose rows' tenant is looked up. If two mappings of the table
/// look it up differently, each numbers them for its tenants.
async fn resolve(
    transaction: &PipelinedTransaction<'_>,
    path: &LookupPath,
    open: &[Taken],
) -> Result<i64, Error> {
    let table = path.source_table.to_string();
    let unresolved: Vec<&Taken> =
        open.iter().filter(|t| t.unresolved && t.source_table == table).collect();
    if unresolved.is_empty() {
        return Ok(0);
    }
    let way = OnTheWay::of(path, open);
    let statement = compose::resolve_tenants(path);
    let capture_ids: Vec<_> = unresolved.iter().map(|t| t.capture_id).collect();
    let captured_at: Vec<_> = unresolved.iter().map(|t| t.captured_at).collect();
    let row_keys: Vec<_> = unresolved.iter().map(|t| t.row_key.as_ref()).collect();
    let deleted: Vec<_> = unresolved.iter().map(|t| t.operation == b'd').collect();
    let matched: Vec<_> = unresolved.iter().map(|t| t.matched.as_ref()).collect();
    let resolved = apart(
        transaction,
        &statement,
        &[
            &capture_ids,
            &captured_at,
            &row_keys,
            &deleted,
            &matched,
            &way.tables,
            &way.matched,
            &way.tenants,
        ],
    )
    .await;
    match resolved {
        Ok(row) => Ok(row.get("appended")),
        Err(error) if error.as_db_error().is_some() => {
            tell_of_failed_lookup(path, &error);
            let parameters: [&(dyn ToSql + Sync); 5] =
                [&table, &capture_ids, &captured_at, &row_keys, &deleted];
            let row = transaction.query_opt(sql::APPEND_FOR_EVERY_TENANT, &parameters).await?;
            Ok(row.map_or(0, |row| row.get("appended")))
        }
        Err(error) => Err(error.into()),
    }
}

/// A lock that the application holds passes; anything else is likely to be met again.
fn tell_of_failed_lookup(path: &LookupPath, error: &tokio_postgres::Error) {
    let (table, last) = (path.source_table.to_string(), &path.lookup.last().table);
    let sqlstate = error.code().map(SqlState::code);
    if locked_out(error) {
        tracing::warn!(
            event = "lookup_locked",
            table,
            sqlstate,
            "the tenants of changed rows of {table} were not looked up in {last}, because another \
             session holds a lock on a table of the look-up, so every tenant looks again"
        );
    } else {
        tracing::error!(
            event = "lookup_failed",
            table,
            sqlstate,
            "the tenants of changed rows of {table} could not be looked up in {last}, so every \
             tenant looks again"
        );
    }
}

/// Runs one statement on the application's tables behind a savepoint, so that a failure undoes only
/// this statement and not the tick.
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
            // If the statement fails, the release fails too; the rollback below then cleans up.
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
            match expand_one(transaction, waking, &changed, open).await {
                Ok((appended, continued)) => {
                    done.appended += appended;
                    done.continued += continued;
                }
                // The application has locked a table. Only this expansion waits; everything else
                // goes on.
                Err(error) if locked_out(&error) => {
                    let matched: Vec<_> = changed.iter().map(|t| t.matched.as_ref()).collect();
                    let captured_at: Vec<_> = changed.iter().map(|t| t.captured_at).collect();
                    let number = i32::try_from(waking.number).unwrap_or(i32::MAX);
                    let parameters: [&(dyn ToSql + Sync); 7] = [
                        &table,
                        &waking.mapping.name(),
                        &number,
                        &matched,
                        &after(&changed),
                        &handed_on_with(&changed),
                        &captured_at,
                    ];
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
                        "rows of mapping {mapping} that depend on {table} could not be found, so the mapping is copied again"
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

/// Whether the change wakes the mapping in this way. A change wakes every mapping that depends on
/// its table; a continued expansion goes on in the one way that it belongs to. Older daemons did
/// not record the way, and then it goes on in all.
fn concerns(taken: &Taken, waking: &Waking) -> bool {
    match (&taken.resume, taken.operation) {
        (Some(resume), b'r') => {
            let number = u64::try_from(waking.number).ok();
            resume["mapping"].as_str() == Some(waking.mapping.name())
                && (resume["waking"].is_null() || resume["waking"].as_u64() == number)
        }
        _ => taken.matched.is_some() && taken.operation != b't',
    }
}

impl Taken {
    /// The tenants of a change that an earlier tick handed on, with rows that it could not find.
    fn handed_on_with(&self) -> Option<&Value> {
        self.resume.as_ref().map(|resume| &resume["tenants"]).filter(|tenants| tenants.is_array())
    }
}

fn handed_on_with<'a>(changed: &[&'a Taken]) -> Vec<Option<&'a Value>> {
    changed.iter().map(|taken| taken.handed_on_with()).collect()
}

/// The key after which each expansion continues; None: it starts at the beginning.
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
    open: &[Taken],
) -> Result<(i64, i64), tokio_postgres::Error> {
    let capture_ids: Vec<_> = changed.iter().map(|t| t.capture_id).collect();
    let captured_at: Vec<_> = changed.iter().map(|t| t.captured_at).collect();
    let matched: Vec<_> = changed.iter().map(|t| t.matched.as_ref()).collect();
    let (after, tenants) = (after(changed), handed_on_with(changed));
    let way = waking.lookup.as_ref().map(|lookup| OnTheWay::of(&lookup.path, open));
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&capture_ids, &captured_at, &matched, &after, &EXPANSION_ROWS_MAX];
    if let Some(way) = &way {
        parameters.push(&tenants);
        parameters.push(&way.tables);
        parameters.push(&way.matched);
        parameters.push(&way.tenants);
    }
    let row = apart(transaction, &compose::expand_dependants(waking), &parameters).await?;
    Ok((row.get("appended"), row.get("continued")))
}
