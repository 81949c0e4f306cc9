//! Tables of mappings that are gone.

use std::collections::BTreeSet;

use offtake_mapping::{Identifier, Mapping};

use super::{Session, Trouble, state};
use crate::destinations::OrphanTable;
use crate::sql;

impl Session {
    pub(in crate::destinations) async fn orphans(
        &self,
        received: &[&Mapping],
    ) -> Result<Vec<OrphanTable>, Trouble> {
        let schema = self.schema.as_str();
        let rows = self.connection.query(sql::LIST_MARKED_TABLES, &[&schema]).await?;
        let orphans = rows.iter().filter_map(|row| {
            let (name, mapping): (String, String) = (row.get("name"), row.get("mapping"));
            if received.iter().any(|m| m.target.table.as_str() == name) {
                return None;
            }
            let mapping_lives = received.iter().any(|m| m.name == mapping);
            let table = Identifier::new(name).ok()?;
            Some(OrphanTable { table, mapping, rows: row.get("rows"), mapping_lives })
        });
        Ok(orphans.collect())
    }

    /// What depends on a table keeps it: then nothing is dropped.
    pub(in crate::destinations) async fn drop_orphans(
        &mut self,
        orphans: &[OrphanTable],
    ) -> Result<(), Trouble> {
        let gone: BTreeSet<&str> =
            orphans.iter().filter(|o| !o.mapping_lives).map(|o| o.mapping.as_str()).collect();
        let gone: Vec<&str> = gone.into_iter().collect();
        let client = &self.connection;
        client.batch_execute("begin; set local lock_timeout = '10s'").await?;
        for orphan in orphans {
            let table = format!("{}.{}", self.schema.sql(), orphan.table.sql());
            client.batch_execute(&format!("drop table {table}")).await?;
        }
        let state = state::table_sql(&self.schema);
        let forget = format!("delete from {state} where mapping = any($1)");
        client.execute(&forget, &[&gone]).await?;
        Ok(client.batch_execute("commit").await?)
    }
}
