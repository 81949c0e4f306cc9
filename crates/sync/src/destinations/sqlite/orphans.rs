//! Tables of mappings that are gone.

use std::sync::Arc;

use offtake_mapping::{Identifier, Mapping};

use super::connection::Handle;
use super::{READ_LIMIT, Session, Trouble, rolled_back};
use crate::Error;
use crate::destinations::{OrphanTable, STATE_TABLE};

impl Session {
    pub(in crate::destinations) async fn orphans(
        &self,
        received: &[&Mapping],
    ) -> Result<Vec<OrphanTable>, Trouble> {
        let received: Vec<(String, String)> = received
            .iter()
            .map(|m| (m.name.clone(), m.target.table.as_str().to_ascii_lowercase()))
            .collect();
        let list = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(Vec::new()) };
            let schema = open.schema().map_err(Error::destination)?;
            let mut orphans = Vec::new();
            for (table, mark) in schema.marked() {
                let name = table.name.to_ascii_lowercase();
                if received.iter().any(|(_, table)| *table == name) {
                    continue;
                }
                let Ok(identifier) = Identifier::new(table.name.clone()) else { continue };
                let count = format!("select count(*) from {}", identifier.sql());
                let rows = open.connection.query_row(&count, [], |row| row.get(0));
                orphans.push(OrphanTable {
                    table: identifier,
                    mapping: mark.mapping.clone(),
                    rows: rows.map_err(Error::destination)?,
                    mapping_lives: received.iter().any(|(mapping, _)| *mapping == mark.mapping),
                });
            }
            Ok(orphans)
        };
        self.told(self.caller.run(READ_LIMIT, None, list).await)
    }

    /// Drops all of these tables or none, with the cursors of mappings that are gone.
    pub(in crate::destinations) async fn drop_orphans(
        &mut self,
        orphans: &[OrphanTable],
    ) -> Result<(), Trouble> {
        let tables: Vec<String> =
            orphans.iter().map(|o| format!("drop table {}", o.table.sql())).collect();
        let gone: Vec<String> =
            orphans.iter().filter(|o| !o.mapping_lives).map(|o| o.mapping.clone()).collect();
        let turn = Arc::new(self.file.turn().await);
        let drop = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(()) };
            let dropped = (|| {
                open.connection.execute_batch("begin immediate")?;
                for drop in &tables {
                    open.connection.execute_batch(drop)?;
                }
                let forget = format!("delete from \"{STATE_TABLE}\" where mapping = ?1");
                for mapping in &gone {
                    open.connection.execute(&forget, [mapping])?;
                }
                open.connection.execute_batch("commit")
            })();
            rolled_back(handle, dropped.map_err(Error::destination))
        };
        self.told(self.caller.run(READ_LIMIT, Some(&turn), drop).await)
    }
}
