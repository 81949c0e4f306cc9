//! Where the log stands.

use offtake_postgres::PooledConnection;
use offtake_postgres::change_log::PARTITION_ROWS;

use crate::durable::make_durable;
use crate::{Error, sql};

/// Which sequence ids the log has, and in which epoch they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The highest visible sequence id.
    pub sequence_id: i64,
    pub epoch: String,
    /// The first sequence id of the log's oldest partition. Changes before it are gone, so a reader
    /// whose position is below it has lost some.
    pub log_begins: i64,
}

/// Asks outside any batch, for a caller that begins to read now or checks an old position. What is
/// returned is on the source's disk.
pub async fn read_head(connection: &PooledConnection) -> Result<Head, Error> {
    let row =
        connection.query_one(sql::READ_HEAD, &[&PARTITION_ROWS]).await.map_err(Error::source)?;
    make_durable(connection).await.map_err(Error::source)?;
    Ok(Head {
        sequence_id: row.get("head"),
        epoch: row.get("epoch"),
        log_begins: row.get("log_begins"),
    })
}
