//! What is asked of the source beside the transaction that restores.

use offtake_mapping::{Identifier, foreign};
use offtake_postgres::SqlState;
use tokio_postgres::Client;

use super::{Outcome, Restoring};
use crate::snapshots::source::Error;
use crate::sql;

/// Whether two sessions are in one database of one server, whatever their URLs say. `source` must
/// not be in a transaction.
pub async fn same_database(source: &Client, other: &Client) -> Result<bool, Error> {
    let lock: i64 = rand::random();
    source.batch_execute("begin").await?;
    source.query("select pg_catalog.pg_advisory_xact_lock($1)", &[&lock]).await?;
    let seen = other.query_one(sql::PROBE_SAME_DATABASE, &[&lock]).await;
    source.batch_execute("rollback").await?;
    Ok(seen?.get(0))
}

/// What became of a transaction, by its number. Asked on another session of the same server.
pub async fn outcome(client: &Client, number: i64) -> Result<Outcome, Error> {
    match client.query_one("select pg_catalog.txid_status($1)", &[&number]).await {
        Ok(row) => Ok(match row.get::<_, Option<&str>>(0) {
            Some("committed") => Outcome::Committed,
            Some("in progress") => Outcome::Open,
            _ => Outcome::RolledBack,
        }),
        // A server that crashed has forgotten a number whose transaction it had not written down.
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            Ok(Outcome::RolledBack)
        }
        Err(error) => Err(error.into()),
    }
}

/// The sessions for whose locks the server process `process` waits, each as a person is told it.
pub async fn blockers(client: &Client, process: i32) -> Result<Vec<(i32, String)>, Error> {
    let rows = client.query(sql::LIST_BLOCKERS, &[&process]).await?;
    let told = |row: &tokio_postgres::Row| {
        let text = |name: &str| foreign(row.get::<_, &str>(name)).into_owned();
        let line = format!(
            "pid {} of {} ({}, {}, in its transaction for {} s)",
            row.get::<_, i32>("pid"),
            text("user_name"),
            text("application_name"),
            text("state"),
            row.get::<_, i64>("seconds")
        );
        (row.get("pid"), line)
    };
    Ok(rows.iter().map(told).collect())
}

impl Restoring<'_> {
    /// After a unique constraint has refused a write, in a transaction that has planned the same
    /// again: the rows that have a value which another row is to have, each as a line of a refusal.
    pub async fn holders(&self) -> Result<Vec<String>, Error> {
        let statements = self.statements();
        let oids: Vec<u32> = self.own.tables.iter().map(|table| table.oid).collect();
        let mut lines = Vec::new();
        for row in &self.client.query(sql::READ_OWN_UNIQUES, &[&oids]).await? {
            let oid: u32 = row.get("oid");
            let names: Vec<String> = row.get("columns");
            let columns: Option<Vec<Identifier>> =
                names.into_iter().map(|name| Identifier::new(name).ok()).collect();
            let at = oids.iter().position(|known| *known == oid);
            let (Some(at), Some(columns)) = (at, columns) else { continue };
            let of = foreign(row.get::<_, &str>("name")).into_owned();
            for (own, what) in [
                (true, "has a value that another row is to have"),
                (false, "is of another tenant and has a value that a row is to have"),
            ] {
                if let Some(list) = statements.list_holders(at, &columns, own) {
                    lines.extend(self.keys(at, &list, &format!("{what} (by {of})")).await?);
                }
            }
        }
        Ok(lines)
    }
}
