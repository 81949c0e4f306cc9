//! Statements that are no mapping's: one request, which is one transaction.

use offtake_mapping::compose::checkpoints::Asked;
use rusqlite::types::Value;

use super::Session;
use super::call::Statement;
use crate::Error;
use crate::destinations::Answer;

impl Session {
    pub(in crate::destinations) async fn transact(
        &self,
        statements: &[Asked],
    ) -> Result<Vec<Answer>, Error> {
        let statement = |asked: &Asked| match asked.columns {
            0 => Statement::new(&asked.sql),
            columns => Statement::returning(&asked.sql, columns),
        };
        let batch: Vec<Statement> = statements.iter().map(statement).collect();
        let done = self.ask(&batch).await.map_err(Error::Destination)?;
        let texts = |row: Vec<Value>| row.into_iter().map(text).collect();
        Ok(done.into_iter().map(|done| done.rows.into_iter().map(texts).collect()).collect())
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Text(text) => Some(text),
        Value::Blob(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
    }
}
