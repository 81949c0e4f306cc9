//! A read-only transaction over a shared client.

use futures_util::FutureExt;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::sql;

/// Operators' SQL is only ever looked at inside one of these. Ends when dropped, also when the
/// caller was cancelled: a pooled connection must not go back with an open transaction.
pub(super) struct ReadOnly<'a>(&'a Client);

/// Asking for a query's columns waits for a session that holds its tables exclusively, as a long
/// `ALTER TABLE` does. That may take hours; the daemon asks again later instead. Types are compared
/// by the names that the server prints for them, so it prints quotes only where they are needed.
const BEGIN: &str = "begin transaction isolation level repeatable read, read only; set local row_security = off; set local lock_timeout = '5s'; set local quote_all_identifiers = off";

impl<'a> ReadOnly<'a> {
    pub(super) async fn begin(client: &'a Client) -> Result<Self, Error> {
        let transaction = Self(client);
        client.batch_execute(BEGIN).await?;
        Ok(transaction)
    }

    /// Until [`ReadOnly::widen`], names resolve in the system catalog alone, and every type outside
    /// it is printed with its schema.
    pub(super) async fn narrow(&self) -> Result<(), Error> {
        self.0.batch_execute("savepoint narrow; set local search_path = pg_catalog, pg_temp").await
    }

    pub(super) async fn widen(&self) -> Result<(), Error> {
        self.0.batch_execute("rollback to savepoint narrow").await
    }

    /// Runs a statement, such as an EXPLAIN, for its error only.
    pub(super) async fn run(&self, sql: &str) -> Result<Result<(), Error>, Error> {
        self.0.batch_execute("savepoint run").await?;
        match self.0.batch_execute(sql).await {
            Ok(()) => Ok(Ok(())),
            Err(error) if faulty_statement(&error) => {
                self.0.batch_execute("rollback to savepoint run").await?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a statement that gives one row. None: it is faulty.
    pub(super) async fn query_one(&self, sql: &str) -> Result<Option<tokio_postgres::Row>, Error> {
        self.0.batch_execute("savepoint query").await?;
        match self.0.query_one(sql, &[]).await {
            Ok(row) => Ok(Some(row)),
            Err(error) if faulty_statement(&error) => {
                self.0.batch_execute("rollback to savepoint query").await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What a refusal is about, and whether it is the server's own; see `name_refused_object.sql`.
    pub(super) async fn name_refused(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<(String, bool)>, Error> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&kind, Type::TEXT), (&name, Type::TEXT)];
        let rows = self.0.query_typed(sql::NAME_REFUSED_OBJECT, &parameters).await?;
        Ok(rows.first().and_then(|row| Some((row.get::<_, Option<_>>("name")?, row.get("system")))))
    }

    /// Asks for a statement's columns without running it. The inner error is the statement's own
    /// fault, and leaves the transaction usable.
    pub(super) async fn prepare(
        &self,
        sql: &str,
    ) -> Result<Result<tokio_postgres::Statement, Error>, Error> {
        self.0.batch_execute("savepoint prepare").await?;
        match self.0.prepare(sql).await {
            Ok(statement) => Ok(Ok(statement)),
            Err(error) if faulty_statement(&error) => {
                self.0.batch_execute("rollback to savepoint prepare").await?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        // The first poll hands the message to the connection's task, which sends it; the
        // reply is not waited for.
        let _ = self.0.batch_execute("rollback").now_or_never();
    }
}

/// Whether the statement is wrong, as opposed to a server that is going away, overloaded or out of
/// time.
fn faulty_statement(error: &Error) -> bool {
    let Some(code) = error.code() else { return false };
    !["08", "40", "53", "55", "57", "58", "XX"].contains(&code.code().get(..2).unwrap_or_default())
}
