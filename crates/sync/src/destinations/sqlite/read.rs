//! What `verify` reads a file through: statements of its own, whose rows it folds where they are
//! read, in the thread that may block.

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::connection::Handle;
use super::{Session, Trouble};
use crate::Error;

impl Session {
    /// Folds the rows that a statement selects, in one snapshot of the file. Where there is no file,
    /// there are none.
    pub(crate) async fn fold<T: Default + Send + 'static>(
        &self,
        limit: Duration,
        (statement, parameters): (String, Vec<Value>),
        mut each: impl FnMut(&mut T, &Row<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<T, Trouble> {
        let read = move |handle: &mut Handle| {
            let mut folded = T::default();
            let Some(open) = handle.opened()? else { return Ok(folded) };
            let mut fold = || {
                let mut statement = open.connection.prepare_cached(&statement)?;
                let mut rows = statement.query(params_from_iter(&parameters))?;
                while let Some(row) = rows.next()? {
                    each(&mut folded, row)?;
                }
                Ok(())
            };
            fold().map_err(|error: rusqlite::Error| Error::destination(error))?;
            Ok(folded)
        };
        self.told(self.caller.run(limit, None, read).await)
    }
}
