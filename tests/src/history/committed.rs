//! The states that were committed at the source, from the workload's version log.

use std::collections::HashMap;

use serde_json::Value;

use crate::Database;

/// One row's state.
struct State {
    table: String,
    /// None if the tenant is named by another row.
    tenant: Option<String>,
    key: String,
    link: Option<String>,
    body: String,
}

/// Every state that was ever committed, by version.
pub(super) struct Committed(HashMap<i64, State>);

/// A table of the workload, and the table that its mapping joins by `link`.
const JOINED: [(&str, &str); 3] = [("child", "parent"), ("item", "owner"), ("part", "item")];

impl Committed {
    /// Reads the version log. Empty for a source without the workload's tables.
    pub(super) async fn read(source: &Database) -> Self {
        let session = source.session().await;
        let there = source.query_text("select to_regclass('work.version_log') is not null").await;
        if there != "t" {
            return Self(HashMap::new());
        }
        let sql = "select version, table_name, tenant, key, link, body from work.version_log";
        let rows = session.query(sql, &[]).await.expect("the workload's schema");
        let state = |row: &tokio_postgres::Row| {
            (
                row.get(0),
                State {
                    table: row.get(1),
                    tenant: row.get(2),
                    key: row.get(3),
                    link: row.get(4),
                    body: row.get(5),
                },
            )
        };
        Self(rows.iter().map(state).collect())
    }

    /// Whether the source once had this row, for this tenant.
    pub(super) fn check(
        &self,
        table: &offtake_mapping::Identifier,
        tenant: &str,
        key: &str,
        row: &Value,
    ) -> Result<(), String> {
        let table = table.as_str();
        let own = self.find(row, "version", table)?;
        if own.key != key {
            return Err(format!("this version was of key {}", own.key));
        }
        if row["body"].as_str() != Some(&own.body) {
            return Err(format!("this version had the body {}", own.body));
        }
        if own.link.as_deref() != row.get("link").and_then(Value::as_str) {
            return Err(format!("this version belonged to {:?}", own.link));
        }
        let mut owners = vec![own.tenant.clone()];
        if let Some((_, joined_table)) = JOINED.iter().find(|(of, _)| *of == table) {
            let joined = self.find(row, "joined_version", joined_table)?;
            if Some(&joined.key) != own.link.as_ref() {
                return Err(format!("what is joined in was {}", joined.key));
            }
            owners.push(joined.tenant.clone());
            if joined_table == &"item" {
                let owner = self.find(row, "owner_version", "owner")?;
                if Some(&owner.key) != joined.link.as_ref() {
                    return Err(format!("the joined row's owner was {}", owner.key));
                }
                owners.push(owner.tenant.clone());
            }
        }
        match owners.into_iter().flatten().find(|owner| owner != tenant) {
            Some(owner) => Err(format!("it belonged to tenant {owner}")),
            None => Ok(()),
        }
    }

    fn find(&self, row: &Value, column: &str, table: &str) -> Result<&State, String> {
        let state = row[column].as_i64().and_then(|version| self.0.get(&version));
        match state.filter(|state| state.table == table) {
            Some(state) => Ok(state),
            None => Err(format!("no {table} with this {column} was ever committed")),
        }
    }
}
