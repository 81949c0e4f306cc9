//! Deleting what a tenant that left has in a database: first its cursors, then its rows. Tables stay.

use offtake_mapping::compose::sqlite::literal;
use offtake_mapping::{Identifier, foreign};

use super::call::Statement;
use super::look::served_by;
use super::sqlite::purge::{CHUNK_ROWS, TENANT_COLUMN, delete_some, unquoted};
use super::sqlite::schema::Schema;
use super::sqlite::{Cells as _, sql as shared, state};
use super::{Session, Trouble};
use crate::destinations::postgres::Leaf;
use crate::destinations::{Leaver, OTHERS_PAGE, RemainingTable, Remains, STATE_TABLE};

impl Session {
    pub(in crate::destinations) async fn remains(
        &self,
        leaver: &Leaver<'_>,
    ) -> Result<Remains, Trouble> {
        let mut remains = Remains { tables: Vec::new(), cursors: 0, unclear: None, served: None };
        let objects = self.ask(&[Statement::returning(shared::LIST_OBJECTS, 4)]).await?;
        let schema = Schema::of(&objects[0].rows);
        let tenant = leaver.tenant_id;
        let mut others = Vec::new();
        if schema.table(STATE_TABLE).is_some() {
            let page = OTHERS_PAGE.to_string();
            let done = self
                .ask(&[
                    Statement::returning(shared::READ_STATES, 7).with(tenant),
                    Statement::returning(shared::READ_SERVING, 5).with(tenant),
                    Statement::returning(shared::LIST_TENANTS, 1).with(tenant).with(page),
                ])
                .await?;
            remains.cursors = done[0].rows.len().try_into().unwrap_or(i64::MAX);
            remains.served = done[1].rows.first().and_then(served_by);
            others = done[2].rows.iter().map(|row| row.text(0)).collect();
        }
        for (table, mark) in schema.marked() {
            let Ok(name) = Identifier::new(table.name.clone()) else { continue };
            let columns = Statement::returning(shared::LIST_COLUMNS, 5).with(table.name.as_str());
            let columns = self.ask(&[columns]).await?;
            let keeps_tenant = columns[0].rows.iter().any(|column| column.text(0) == TENANT_COLUMN);
            let condition = keeps_tenant
                .then(|| format!("\"{TENANT_COLUMN}\" = {}", literal(leaver.tenant_at_source)));
            let counted = format!(
                "select count(*) from {} where {}",
                name.sql(),
                condition.as_deref().unwrap_or("true")
            );
            let counted = self.ask(&[Statement::returning(&counted, 1)]).await?;
            let rows = counted[0].rows.first().map_or(0, |row| row.number(0));
            if !keeps_tenant && rows > 0 && remains.unclear.is_none() {
                remains.unclear = others.first().map(|other: &String| {
                    format!(
                        "the tenant {} has cursors there too, and {} has no column {TENANT_COLUMN} \
                         that tells whose its rows are; if this is only what is left of that tenant, \
                         run there: {}",
                        foreign(other),
                        name.sql(),
                        state::forget_tenant(other)
                    )
                });
            }
            let leaf = Leaf { name: name.sql(), condition };
            let mapping = mark.mapping.clone();
            let (name, leaves) = (name.in_sql(), vec![leaf]);
            remains.tables.push(RemainingTable { name, mapping, rows, leaves });
        }
        Ok(remains)
    }

    /// Deletes the tenant's cursors; afterwards no worker can write what it has read before.
    pub(in crate::destinations) async fn fence_off(
        &self,
        leaver: &Leaver<'_>,
    ) -> Result<(), Trouble> {
        let objects = self.ask(&[Statement::returning(shared::LIST_OBJECTS, 4)]).await?;
        if Schema::of(&objects[0].rows).table(STATE_TABLE).is_none() {
            return Ok(());
        }
        let forget = state::forget_tenant(leaver.tenant_id);
        self.ask(&[Statement::new(forget)]).await.map(|_| ())
    }

    /// Deletes the rows that were found, some at a time; tells how many after each request.
    pub(in crate::destinations) async fn purge(
        &self,
        remains: &Remains,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Trouble> {
        let full = remains.tables.iter().filter(|table| table.rows > 0);
        for Leaf { name, condition } in full.flat_map(|table| &table.leaves) {
            let condition = condition.as_deref().unwrap_or("true");
            let key = self.key_of(name).await?;
            let statement = delete_some(name, &key, condition);
            loop {
                let done = self.ask(&[Statement::new(statement.as_str())]).await?;
                tell(done[0].changes);
                if done[0].changes < CHUNK_ROWS as u64 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The columns of the table's primary key, or its rows' number.
    async fn key_of(&self, table: &str) -> Result<String, Trouble> {
        let key = Statement::returning(shared::LIST_KEY, 1).with(unquoted(table));
        let done = self.ask(&[key]).await?;
        Ok(done[0].rows.first().map_or_else(|| "rowid".to_owned(), |row| row.text(0)))
    }
}
