//! Trying a mapping's table before anything is copied: it is made in a database in memory. SQLite
//! then says itself what a copy would run into, and the file is only looked at.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::sqlite::Apply;
use rusqlite::Connection;

use super::connection::{Handle, Open};
use super::tables::{self, Problem};
use super::{READ_LIMIT, Session, Trouble};

impl Session {
    /// What copies of the mappings would run into here, one by one; None if nothing.
    pub(in crate::destinations) async fn try_tables(
        &self,
        mappings: &[Arc<ResolvedMapping>],
    ) -> Result<Vec<Option<String>>, Trouble> {
        let mappings = mappings.to_vec();
        let try_all = move |handle: &mut Handle| {
            let mut told = Vec::with_capacity(mappings.len());
            for mapping in &mappings {
                let there = match handle.opened()? {
                    Some(open) => tables::examine(open, mapping).map(|found| !found.incomplete),
                    None => Ok(false),
                };
                let tried = match there {
                    Ok(false) => in_memory(mapping),
                    other => other.map(|_| ()),
                };
                told.push(match tried.map_err(Problem::into_fault) {
                    Ok(()) => None,
                    Err(Ok(fault)) => Some(fault.message),
                    Err(Err(error)) => return Err(error),
                });
            }
            Ok(told)
        };
        self.told(self.caller.run(READ_LIMIT, None, try_all).await)
    }
}

/// Makes the mapping's table in a database in memory: SQLite says itself what a copy would run into.
pub(in crate::destinations) fn in_memory(mapping: &ResolvedMapping) -> Result<(), Problem> {
    let mut open = Open::in_memory(Connection::open_in_memory()?);
    tables::ensure(&mut open, mapping)?;
    open.connection.prepare(&Apply::new(mapping).upsert())?;
    Ok(())
}
