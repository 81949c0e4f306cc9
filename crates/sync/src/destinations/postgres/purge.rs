//! Deleting what a tenant that left has in a Postgres destination.
//!
//! First its cursors: a worker that goes on late finds others than those that its batch was read
//! for, and drops the batch. Then its rows, in chunks. Tables stay.

use offtake_mapping::{foreign, literal};
use offtake_postgres::TEXT_FORMAT;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::{Session, Trouble, state};
use crate::destinations::Leaver;
use crate::ownership::Served;
use crate::sql;

/// The column that holds the tenant in a table that tenants share.
const TENANT_COLUMN: &str = "tenant_id";

/// Rows of a shared table that one transaction deletes: some tens of milliseconds.
const CHUNK_ROWS: usize = 5_000;

/// Blocks of a table of one tenant that one transaction clears: 2 MiB.
const CHUNK_BLOCKS: i64 = 256;

/// For one statement. Counting a large table takes longest.
const STATEMENT_MS: u32 = 300_000;

/// For a lock that the tenant's own transactions hold, or a worker's.
const LOCK_MS: u32 = 30_000;

/// What a tenant has in a destination.
pub struct Remains {
    pub tables: Vec<RemainingTable>,
    pub cursors: i64,
    /// Why the tenant's rows cannot be told from others.
    pub unclear: Option<String>,
    pub(crate) served: Option<Served>,
}

/// A table that Offtake made there.
pub struct RemainingTable {
    /// Quoted and qualified where SQL needs it.
    pub name: String,
    pub mapping: String,
    /// Of the tenant.
    pub rows: i64,
    pub(in crate::destinations) leaves: Vec<Leaf>,
}

/// A table that holds rows itself.
#[derive(Clone)]
pub(in crate::destinations) struct Leaf {
    pub(in crate::destinations) name: String,
    /// Which of its rows are the tenant's; None: all.
    pub(in crate::destinations) condition: Option<String>,
}

impl Remains {
    pub fn rows(&self) -> i64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

impl Session {
    pub(in crate::destinations) async fn remains(
        &self,
        leaver: &Leaver<'_>,
    ) -> Result<Remains, Trouble> {
        let found = self.look_at_remains(leaver).await;
        if found.is_err() {
            // The error that is told is the first one.
            let _ = self.connection.batch_execute("rollback").await;
        }
        found.map_err(|error| self.explained(error.into()))
    }

    async fn look_at_remains(&self, leaver: &Leaver<'_>) -> Result<Remains, tokio_postgres::Error> {
        let client = &self.connection;
        self.begin_purge().await?;
        let mut remains = Remains { tables: Vec::new(), cursors: 0, unclear: None, served: None };
        let mut others = Vec::new();
        let there = state::find(client, &self.schema).await?;
        if there.table {
            let cursors = state::read_there(client, &self.schema, leaver.tenant_id).await?;
            remains.cursors = cursors.len().try_into().unwrap_or(i64::MAX);
            others = state::other_tenants(client, &self.schema, leaver.tenant_id).await?;
            if there.serving {
                remains.served = state::served(client, &self.schema, leaver.tenant_id).await?;
            }
        }
        let schema = self.schema.as_str();
        let parameters = [(&schema as _, Type::TEXT), (&TENANT_COLUMN as _, Type::TEXT)];
        for row in client.query_typed(sql::LIST_REMAINS, &parameters).await? {
            let (name, mapping): (String, String) = (row.get("name"), row.get("mapping"));
            let keeps_tenant: bool = row.get("keeps_tenant");
            let condition = keeps_tenant.then(|| self.of_tenant(leaver));
            let leaves: Vec<String> = row.get("leaves");
            let leaf = |name| Leaf { name, condition: condition.clone() };
            let leaves: Vec<Leaf> = leaves.into_iter().map(leaf).collect();
            let rows = self.count(&leaves).await?;
            if !keeps_tenant && rows > 0 && remains.unclear.is_none() {
                remains.unclear = others.first().map(|other| self.unclear(&name, other));
            }
            remains.tables.push(RemainingTable { name, mapping, rows, leaves });
        }
        client.batch_execute("commit").await?;
        Ok(remains)
    }

    /// Another tenant has, or had, cursors beside a table that does not tell tenants apart.
    fn unclear(&self, table: &str, other: &str) -> String {
        format!(
            "the tenant {} has cursors there too, and {table} has no column {TENANT_COLUMN} that \
             tells whose its rows are; if this is only what is left of that tenant, run there: {}",
            foreign(other),
            state::forget_tenant(&self.schema, other)
        )
    }

    fn of_tenant(&self, leaver: &Leaver<'_>) -> String {
        // The column's own type reads the id, as wherever rows are written.
        format!("t.\"{TENANT_COLUMN}\" = {}", literal(leaver.tenant_at_source))
    }

    /// Counts the tenant's rows. An id that the column's type does not read has none.
    async fn count(&self, leaves: &[Leaf]) -> Result<i64, tokio_postgres::Error> {
        let client = &self.connection;
        let mut rows = 0;
        for Leaf { name, condition } in leaves {
            let condition = condition.as_deref().unwrap_or("true");
            client.batch_execute("savepoint counting").await?;
            let counted = client
                .query_typed(&format!("select count(*) from only {name} t where {condition}"), &[])
                .await;
            match counted {
                Ok(counted) => rows += counted.first().map_or(0, |row| row.get::<_, i64>(0)),
                Err(error) if unlike(&error) => {
                    client.batch_execute("rollback to savepoint counting").await?;
                }
                Err(error) => return Err(error),
            }
            client.batch_execute("release savepoint counting").await?;
        }
        Ok(rows)
    }

    /// Deletes the tenant's cursors. A worker that is writing for it at this moment is waited for;
    /// afterwards none can write what it has read before.
    pub(in crate::destinations) async fn fence_off(
        &self,
        leaver: &Leaver<'_>,
    ) -> Result<(), Trouble> {
        let fence = async {
            self.begin_purge().await?;
            if state::find(&self.connection, &self.schema).await?.table {
                let forget = state::forget_tenant(&self.schema, leaver.tenant_id);
                self.connection.batch_execute(&forget).await?;
            }
            self.connection.batch_execute("commit").await
        };
        fence.await.map_err(|error: tokio_postgres::Error| self.explained(error.into()))
    }

    /// Deletes the rows that were found, chunk by chunk; tells how many after each.
    pub(in crate::destinations) async fn purge(
        &self,
        remains: &Remains,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Trouble> {
        let full = remains.tables.iter().filter(|table| table.rows > 0);
        let mut open: Vec<&Leaf> = full.flat_map(|table| &table.leaves).collect();
        while !open.is_empty() {
            let mut deleted = 0;
            let mut referred = Vec::new();
            for leaf in open {
                let (rows, done) = self.clear(leaf, tell).await.map_err(|e| self.explained(e))?;
                deleted += rows;
                if !done {
                    referred.push(leaf);
                }
            }
            open = referred;
            if deleted == 0 && !open.is_empty() {
                // Rows that refer to each other go together or not at all.
                let rows = self.clear_together(&open).await;
                tell(rows.map_err(|error| self.explained(error.into()))?);
                break;
            }
        }
        Ok(())
    }

    /// Deletes what it can of one table. False: other rows refer to some of its rows.
    async fn clear(
        &self,
        leaf: &Leaf,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<(u64, bool), Trouble> {
        let (mut deleted, mut done) = (0, true);
        for statement in self.ranges(leaf).await? {
            loop {
                let rows = match self.delete(&statement).await {
                    Ok(rows) => rows,
                    Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => {
                        self.connection.batch_execute("rollback").await?;
                        done = false;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                };
                tell(rows);
                deleted += rows;
                if rows == 0 || leaf.condition.is_none() {
                    break;
                }
            }
        }
        Ok((deleted, done))
    }

    /// The statements that clear a table. One of a table that tenants share is repeated until it
    /// finds nothing.
    async fn ranges(&self, leaf: &Leaf) -> Result<Vec<String>, tokio_postgres::Error> {
        if let Some(condition) = &leaf.condition {
            return Ok(vec![
                sql::DELETE_TENANT_ROWS
                    .replace("{rows}", &CHUNK_ROWS.to_string())
                    .replace("{table}", &leaf.name)
                    .replace("{condition}", condition),
            ]);
        }
        let asked = "select pg_catalog.pg_relation_size($1::text::regclass) \
                          / current_setting('block_size')::bigint";
        let row = self.connection.query_typed(asked, &[(&leaf.name, Type::TEXT)]).await?;
        let blocks: i64 = row.first().map_or(0, |row| row.get(0));
        let range = |number: i64| {
            sql::DELETE_BLOCK_RANGE
                .replace("{table}", &leaf.name)
                .replace("{from}", &(number * CHUNK_BLOCKS).to_string())
                .replace("{to}", &((number + 1) * CHUNK_BLOCKS).to_string())
        };
        Ok((0..=blocks / CHUNK_BLOCKS).map(range).collect())
    }

    /// One statement in a transaction of its own. Returns how many rows it deleted.
    async fn delete(&self, statement: &str) -> Result<u64, tokio_postgres::Error> {
        self.begin_purge().await?;
        let rows = self.connection.execute_typed(statement, &[]).await?;
        self.connection.batch_execute("commit").await?;
        Ok(rows)
    }

    /// Deletes the rest of several tables in one transaction, each by one statement.
    async fn clear_together(&self, leaves: &[&Leaf]) -> Result<u64, tokio_postgres::Error> {
        self.begin_purge().await?;
        self.connection.batch_execute("set constraints all deferred").await?;
        let mut deleted = 0;
        for Leaf { name, condition } in leaves {
            let condition = condition.as_deref().unwrap_or("true");
            let statement = format!("delete from only {name} t where {condition}");
            deleted += self.connection.execute_typed(&statement, &[]).await?;
        }
        self.connection.batch_execute("commit").await?;
        Ok(deleted)
    }

    async fn begin_purge(&self) -> Result<(), tokio_postgres::Error> {
        let begin = sql::BEGIN_APPLY
            .replace("{schema}", &self.schema.sql())
            .replace("{statement_ms}", &STATEMENT_MS.to_string())
            .replace("{lock_ms}", &STATEMENT_MS.to_string())
            .replace("{idle_ms}", &STATEMENT_MS.to_string());
        let lock = format!("set local lock_timeout = {LOCK_MS};");
        self.connection.batch_execute(&format!("{begin}{lock}{TEXT_FORMAT}")).await
    }
}

/// The type of the tenant's column does not read the id.
fn unlike(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("22"))
}
