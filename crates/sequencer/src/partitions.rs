//! The log's partitions. Each holds one block of sequence ids. A partition is created before it is
//! needed, and dropped when its retention is over.

use std::time::Duration;

use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_postgres::{PooledConnection, SourcePool, SqlState, chain};
use offtake_requests::Judgement;
use tokio_postgres::{Client, Transaction};

use crate::{Error, sql, tick::LOCK_KEY};

/// A partition takes changes for at most this fraction of the retention, so that the log holds only
/// a little more than the retention requires.
const PARTITIONS_PER_RETENTION: u32 = 8;

/// Attaching and dropping wait for readers of the log, and make later readers queue up behind them.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '500ms'";

/// Creates the partition after the current one. It is called at least once for each quarter of a
/// partition's sequence ids. So if a lock on the log prevents the creation, the next call is early
/// enough, and numbering goes on.
pub(crate) async fn ensure(connection: &mut PooledConnection) -> Result<(), Error> {
    let current = current(connection).await?;
    for partition in [current, current + 1] {
        match add(connection, partition).await {
            Err(error) if partition > current && locked_out(&error) => {}
            added => added?,
        }
    }
    Ok(())
}

/// A partition gets statistics when so many of its sequence ids are given out. Sessions keep the plans that they made
/// for a young partition: where VACUUM had found it empty, that is to read all of it, several times
/// a batch, until autovacuum comes by. New statistics make every session plan again. A partition that
/// begins with lists has few rows then, and gets new statistics as it grows (`list_grown.sql`).
pub(crate) const ANALYZED_AT: [i64; 2] = [1_000, 10_000];

/// Gives the partition its statistics beside the sequencer's work, which would stand still for a
/// tenth of a second.
pub(crate) fn analyze_beside(pool: &SourcePool, partition: i64, rows: i64) {
    let pool = pool.clone();
    tokio::spawn(async move {
        if let Err(error) = analyze(&pool, partition, rows).await {
            tracing::debug!(
                event = "analyze_failed",
                error = chain(&error),
                "a partition of the log could not be analyzed"
            );
        }
    });
}

/// Gives the partition its statistics, unless it has them already or another session is at it.
/// `rows`: how many of its sequence ids are given out.
async fn analyze(pool: &SourcePool, partition: i64, rows: i64) -> Result<(), Error> {
    let connection = pool.get().await?;
    let table = format!("offtake.change_log_{partition}");
    // A share, because rolling leaves sequence ids out, and what is rolled back leaves gaps.
    let known = "select coalesce(reltuples > $2::bigint / 2, true) from pg_class where oid = to_regclass($1::text)";
    let known = connection.query_opt(known, &[&table, &rows]).await?;
    if known.is_some_and(|row| !row.get::<_, bool>(0)) {
        connection.batch_execute(&format!("analyze (skip_locked) {table}")).await?;
    }
    Ok(())
}

async fn add(
    connection: &mut PooledConnection,
    partition: i64,
) -> Result<(), tokio_postgres::Error> {
    if exists(connection, partition).await? {
        return Ok(());
    }
    let transaction = connection.transaction().await?;
    // Checked again under the lock: another replica may have created it meanwhile.
    if lock(&transaction).await? && !exists(transaction.client(), partition).await? {
        let statement = sql::ADD_PARTITION
            .replace("{partition}", &partition.to_string())
            .replace("{from}", &(partition * PARTITION_ROWS).to_string())
            .replace("{to}", &((partition + 1) * PARTITION_ROWS).to_string());
        transaction.batch_execute(&statement).await?;
        transaction.commit().await?;
        tracing::info!(
            event = "partition_added",
            partition,
            "added the change log's partition {partition}"
        );
    }
    Ok(())
}

fn locked_out(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Reads the catalog's table and not its cache: inside a transaction, the cache may still have the
/// state from before the lock.
async fn exists(client: &Client, partition: i64) -> Result<bool, tokio_postgres::Error> {
    let name = format!("change_log_{partition}");
    let asked = "select exists (select from pg_class where relnamespace = 'offtake'::regnamespace and relname = $1::text)";
    Ok(client.query_one(asked, &[&name]).await?.get(0))
}

/// Ends the current partition when it is old enough, and drops the partitions that no destination
/// needs. A partition that is locked is left for the next call.
pub(crate) async fn retain(
    connection: &mut PooledConnection,
    retention: Duration,
) -> Result<(), Error> {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX / 4);
    let current = current(connection).await?;
    if exists(connection, current + 1).await? {
        roll(connection, current, retention_ms).await?;
    }
    let partitions = connection.query(sql::LIST_PARTITIONS, &[]).await?;
    for partition in partitions
        .iter()
        .map(|row| row.get::<_, i64>("partition"))
        .take_while(|partition| *partition < current)
    {
        if !drop_if_unneeded(connection, partition, retention_ms).await? {
            break;
        }
    }
    Ok(())
}

async fn roll(
    connection: &mut PooledConnection,
    current: i64,
    retention_ms: i64,
) -> Result<(), Error> {
    let transaction = connection.transaction().await?;
    if lock(&transaction).await? {
        let statement = sql::ROLL_PARTITION
            .replace("{current}", &current.to_string())
            .replace("{next}", &((current + 1) * PARTITION_ROWS).to_string());
        let oldest_ms = retention_ms / i64::from(PARTITIONS_PER_RETENTION);
        if transaction.query_opt(&statement, &[&oldest_ms]).await?.is_some() {
            tracing::info!(
                event = "partition_rolled",
                partition = current + 1,
                "the change log goes on in partition {}",
                current + 1
            );
        }
        transaction.commit().await?;
    }
    Ok(())
}

async fn drop_if_unneeded(
    connection: &mut PooledConnection,
    partition: i64,
    retention_ms: i64,
) -> Result<bool, Error> {
    let end = (partition + 1) * PARTITION_ROWS;
    let Judgement { expired, overdue, behind } =
        offtake_requests::judge_partition(connection, partition, end, retention_ms).await?;
    if !expired || (behind > 0 && !overdue) {
        return Ok(false);
    }
    let transaction = connection.transaction().await?;
    if !lock(&transaction).await? {
        return Ok(false);
    }
    match transaction.batch_execute(&format!("drop table offtake.change_log_{partition}")).await {
        Ok(()) => transaction.commit().await?,
        Err(error) if locked_out(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    if behind > 0 {
        tracing::warn!(
            event = "partition_dropped_unread",
            partition,
            behind,
            "dropped the change log's partition {partition} although {behind} destinations had not read it for twice the retention; \
             each is re-copied when it comes back"
        );
    } else {
        tracing::info!(
            event = "partition_dropped",
            partition,
            "dropped the change log's partition {partition}"
        );
    }
    Ok(true)
}

async fn current(client: &Client) -> Result<i64, tokio_postgres::Error> {
    Ok(client
        .query_one("select last_value / $1 from offtake.global_sequence", &[&PARTITION_ROWS])
        .await?
        .get(0))
}

async fn lock(transaction: &Transaction<'_>) -> Result<bool, tokio_postgres::Error> {
    transaction.batch_execute(LOCK_TIMEOUT).await?;
    Ok(transaction.query_one("select pg_try_advisory_xact_lock($1)", &[&LOCK_KEY]).await?.get(0))
}
