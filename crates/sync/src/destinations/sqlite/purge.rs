//! Deleting what a tenant that left has in a file: first its cursors, then its rows. Tables stay.

use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::compose::sqlite::literal;
use offtake_mapping::{Identifier, foreign};

use super::connection::{Handle, Open};
use super::take_up::read_only;
use super::{Session, Trouble, rolled_back, sql, state, tables};
use crate::Error;
use crate::destinations::postgres::Leaf;
use crate::destinations::{Leaver, RemainingTable, Remains};

/// The column that holds the tenant in a table that tenants share.
pub(in crate::destinations) const TENANT_COLUMN: &str = "tenant_id";

/// For one statement. Counting a large table takes longest.
const LIMIT: Duration = Duration::from_secs(300);

/// Rows that one transaction deletes: some tens of milliseconds.
pub(in crate::destinations) const CHUNK_ROWS: usize = 5_000;

/// Deletes [`CHUNK_ROWS`] of the rows at most. `name` and the columns of `key` are quoted.
pub(in crate::destinations) fn delete_some(name: &str, key: &str, condition: &str) -> String {
    format!(
        "delete from {name} where ({key}) in \
         (select {key} from {name} where {condition} limit {CHUNK_ROWS})"
    )
}

/// The name of a table, as a parameter has it.
pub(in crate::destinations) fn unquoted(table: &str) -> String {
    table.trim_matches('"').replace("\"\"", "\"")
}

impl Session {
    pub(in crate::destinations) async fn remains(
        &self,
        leaver: &Leaver<'_>,
    ) -> Result<Remains, Trouble> {
        let (tenant_id, at_source) =
            (leaver.tenant_id.to_owned(), leaver.tenant_at_source.to_owned());
        let look = move |handle: &mut Handle| match handle.opened()? {
            Some(open) => read_only(open, |open| {
                remains(open, &tenant_id, &at_source).map_err(Error::destination)
            }),
            None => Ok(nothing()),
        };
        self.told(self.caller.run(LIMIT, None, look).await)
    }

    /// Deletes the tenant's cursors. A worker that is writing for it at this moment is waited for;
    /// afterwards none can write what it has read before.
    pub(in crate::destinations) async fn fence_off(
        &self,
        leaver: &Leaver<'_>,
    ) -> Result<(), Trouble> {
        let forget = state::forget_tenant(leaver.tenant_id);
        self.delete(forget, true).await.map(|_| ())
    }

    /// Deletes the rows that were found, some at a time; tells how many after each.
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
                let deleted = self.delete(statement.clone(), false).await?;
                tell(deleted);
                if deleted < CHUNK_ROWS as u64 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The columns of the table's primary key, or its rows' number.
    async fn key_of(&self, table: &str) -> Result<String, Trouble> {
        let table = unquoted(table);
        let look = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(String::new()) };
            let key = open.connection.query_row(sql::LIST_KEY, [table], |row| row.get(0));
            key.map_err(Error::destination)
        };
        self.told(self.caller.run(LIMIT, None, look).await)
    }

    /// One statement in a transaction of its own. Returns how many rows it deleted.
    async fn delete(&self, statement: String, of_state: bool) -> Result<u64, Trouble> {
        let turn = Arc::new(self.file.turn().await);
        let delete = move |handle: &mut Handle| {
            let Some(open) = handle.opened()? else { return Ok(0) };
            let deleted = (|| {
                open.connection.execute_batch("begin immediate")?;
                let schema = open.schema()?;
                if of_state && !state::stands(&open.connection, &schema)? {
                    return Ok(0);
                }
                let deleted = open.connection.execute(&statement, [])?;
                open.connection.execute_batch("commit")?;
                Ok(deleted as u64)
            })();
            rolled_back(handle, deleted.map_err(|error: rusqlite::Error| Error::destination(error)))
        };
        self.told(self.caller.run(LIMIT, Some(&turn), delete).await)
    }
}

fn nothing() -> Remains {
    Remains { tables: Vec::new(), cursors: 0, unclear: None, served: None }
}

fn remains(open: &mut Open, tenant_id: &str, at_source: &str) -> rusqlite::Result<Remains> {
    let (mut remains, mut others) = (nothing(), Vec::new());
    let schema = open.schema()?;
    let connection = &open.connection;
    if state::stands(connection, &schema)? {
        let cursors = state::read(connection, tenant_id)?;
        remains.cursors = cursors.len().try_into().unwrap_or(i64::MAX);
        others = state::other_tenants(connection, tenant_id)?;
        remains.served = state::served(connection, tenant_id)?;
    }
    for (table, mark) in schema.marked() {
        let Ok(name) = Identifier::new(table.name.clone()) else { continue };
        let columns = tables::columns(connection, &table.name)?;
        let keeps_tenant = columns.iter().any(|column| column.name == TENANT_COLUMN);
        let condition =
            keeps_tenant.then(|| format!("\"{TENANT_COLUMN}\" = {}", literal(at_source)));
        let counted = format!(
            "select count(*) from {} where {}",
            name.sql(),
            condition.as_deref().unwrap_or("true")
        );
        let rows = connection.query_row(&counted, [], |row| row.get(0))?;
        if !keeps_tenant && rows > 0 && remains.unclear.is_none() {
            remains.unclear = others.first().map(|other| {
                format!(
                    "the tenant {} has cursors there too, and {} has no column {TENANT_COLUMN} that \
                     tells whose its rows are; if this is only what is left of that tenant, run \
                     there: {}",
                    foreign(other),
                    name.sql(),
                    state::forget_tenant(other)
                )
            });
        }
        let leaf = Leaf { name: name.sql(), condition };
        let mapping = mark.mapping.clone();
        remains.tables.push(RemainingTable {
            name: name.in_sql(),
            mapping,
            rows,
            leaves: vec![leaf],
        });
    }
    Ok(remains)
}
