//! Statements that are no mapping's, in one transaction.

use offtake_mapping::compose::checkpoints::Asked;
use tokio_postgres::SimpleQueryMessage;

use super::Session;
use crate::destinations::Answer;
use crate::{Error, Settings};

impl Session {
    pub(in crate::destinations) async fn transact(
        &self,
        statements: &[Asked],
        settings: &Settings,
    ) -> Result<Vec<Answer>, Error> {
        let done = self.in_one_transaction(statements, settings).await;
        if done.is_err() {
            // If the connection is gone, so is its transaction.
            let _ = self.connection.batch_execute("rollback").await;
        }
        done.map_err(|error| self.explain(Error::destination(error)))
    }

    async fn in_one_transaction(
        &self,
        statements: &[Asked],
        settings: &Settings,
    ) -> Result<Vec<Answer>, tokio_postgres::Error> {
        self.open_transaction(settings).await?;
        let mut answers = Vec::with_capacity(statements.len());
        for statement in statements {
            let messages = self.connection.simple_query(&statement.sql).await?;
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned)))
                }
                _ => None,
            });
            answers.push(rows.map(Iterator::collect).collect());
        }
        self.connection.batch_execute("commit").await?;
        Ok(answers)
    }
}
