//! Statements that are no mapping's, in one transaction.

use std::sync::Arc;

use offtake_mapping::compose::checkpoints::Asked;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::connection::{Handle, LOCK_WAIT};
use super::{Session, rolled_back};
use crate::destinations::Answer;
use crate::{Error, Settings};

impl Session {
    pub(in crate::destinations) async fn transact(
        &self,
        statements: &[Asked],
        settings: &Settings,
    ) -> Result<Option<Vec<Answer>>, Error> {
        let (statements, lock_timeout) = (statements.to_vec(), settings.lock_timeout);
        let turn = Arc::new(self.file.turn().await);
        let work = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(None) };
            let begin = || -> rusqlite::Result<()> {
                open.connection.busy_timeout(lock_timeout.min(LOCK_WAIT))?;
                open.connection.execute_batch("begin immediate")
            };
            begin().map_err(Error::destination)?;
            let answers =
                statements.iter().map(|statement| answer(&open.connection, &statement.sql));
            let answers = answers.collect::<rusqlite::Result<Vec<_>>>();
            let done = match answers.map_err(Error::destination) {
                Ok(_) if handle.is_moved() => Err(Error::Stale),
                Ok(answers) => {
                    let open = handle.in_transaction()?;
                    let committed = open.connection.execute_batch("commit");
                    committed.map(|()| Some(answers)).map_err(Error::destination)
                }
                Err(error) => Err(error),
            };
            rolled_back(handle, done)
        };
        self.caller.run(settings.statement_timeout, Some(&turn), work).await
    }
}

fn answer(connection: &Connection, statement: &str) -> rusqlite::Result<Answer> {
    let mut statement = connection.prepare(statement)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut answer = Answer::new();
    while let Some(row) = rows.next()? {
        let value = |at| row.get_ref(at).map(text);
        answer.push((0..columns).map(value).collect::<rusqlite::Result<_>>()?);
    }
    Ok(answer)
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}
