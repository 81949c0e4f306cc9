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
        let mut orphans = Vec::new();
        for row in &rows {
            let name: String = row.try_get("name")?;
            let (mapping, rows): (String, i64) = (row.try_get("mapping")?, row.try_get("rows")?);
            if received.iter().any(|m| m.target.table.as_str() == name) {
                continue;
            }
            let mapping_lives = received.iter().any(|m| m.name == mapping);
            if let Ok(table) = Identifier::new(name) {
                orphans.push(OrphanTable { table, mapping, rows, mapping_lives });
            }
        }
        Ok(orphans)
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
