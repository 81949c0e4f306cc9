//! The statements that every transaction at a destination runs: prepared once per session where the
//! session is a server process of its own. Planning them each time takes longer than running them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use offtake_mapping::Identifier;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

use super::state;

/// The frame's statements in one session.
#[derive(Default)]
pub(super) struct Frame {
    /// What is prepared stays: the last transaction ran in the process that the session was opened
    /// with, and no trigger can run there. Behind a pooler that hands out processes by transaction,
    /// a prepared statement may be in another one, and a trigger may run `deallocate all`.
    stays: AtomicBool,
    /// By the text of the file that they are composed from.
    prepared: Mutex<HashMap<&'static str, Statement>>,
}

impl Frame {
    /// Notes whether what is prepared in the session stays there.
    pub(super) fn found(&self, stays: bool) {
        self.stays.store(stays, Ordering::Relaxed);
        if !stays {
            self.prepared().clear();
        }
    }

    /// Whether the lock of the cursors is prepared, so that it is sent as soon as it is asked for:
    /// what is sent next comes after it.
    pub(super) fn locks_at_once(&self) -> bool {
        self.stays.load(Ordering::Relaxed) && self.prepared().contains_key(crate::sql::LOCK_STATES)
    }

    /// Runs a statement of [`sql`](crate::sql) that names the state table.
    pub(super) async fn query(
        &self,
        client: &Client,
        schema: &Identifier,
        file: &'static str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Error> {
        self.query_then(client, schema, file, parameters, None).await
    }

    /// The same, with `then` sent right behind it, without waiting. Whatever had to be prepared was
    /// prepared before: `then` may be the commit, and must not overtake the statement.
    pub(super) async fn query_then(
        &self,
        client: &Client,
        schema: &Identifier,
        file: &'static str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        then: Option<&str>,
    ) -> Result<Vec<Row>, Error> {
        let next = async {
            match then {
                Some(then) => client.batch_execute(then).await,
                None => Ok(()),
            }
        };
        let composed = || file.replace("{state}", &state::table_sql(schema));
        if !self.stays.load(Ordering::Relaxed) {
            let composed = composed();
            let query = client.query_typed(&composed, parameters);
            let (rows, next) = tokio::join!(biased; query, next);
            let rows = rows?;
            return next.map(|()| rows);
        }
        let known = self.prepared().get(file).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let types: Vec<Type> = parameters.iter().map(|(_, of)| of.clone()).collect();
                let statement = client.prepare_typed(&composed(), &types).await?;
                self.prepared().insert(file, statement.clone());
                statement
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|(value, _)| *value).collect();
        let (rows, next) = tokio::join!(biased; client.query(&statement, &values), next);
        let rows = rows?;
        next.map(|()| rows)
    }

    fn prepared(&self) -> MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
