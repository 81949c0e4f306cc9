//! The log's partitions: one block of sequence ids each, made before it is needed.

use offtake_postgres::PooledConnection;

use crate::{Error, sql, tick::LOCK_KEY};

/// Sequence ids per partition: about 2 GB of log, and some minutes of a source that changes as fast as we can number.
const PARTITION_ROWS: i64 = 10_000_000;

/// Makes the partition after the current one, once the current one is begun. Called often enough that a source at full
/// speed cannot cross half a partition between two calls.
pub(crate) async fn ensure(client: &mut PooledConnection) -> Result<(), Error> {
    let current: i64 = client.query_one("select last_value / $1 from offtake.global_sequence", &[&PARTITION_ROWS]).await?.get(0);
    for partition in [current, current + 1] {
        let name = format!("offtake.change_log_{partition}");
        let there: bool = client.query_one("select to_regclass($1) is not null", &[&name]).await?.get(0);
        if there {
            continue;
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute("set local lock_timeout = '1s'").await?;
        let locked: bool = transaction.query_one("select pg_try_advisory_xact_lock($1)", &[&LOCK_KEY]).await?.get(0);
        if locked {
            let statement = sql::ADD_PARTITION
                .replace("{partition}", &partition.to_string())
                .replace("{from}", &(partition * PARTITION_ROWS).to_string())
                .replace("{to}", &((partition + 1) * PARTITION_ROWS).to_string());
            transaction.batch_execute(&statement).await?;
            transaction.commit().await?;
            tracing::info!(event = "partition_added", partition, "added the change log's partition {partition}");
        }
    }
    Ok(())
}
