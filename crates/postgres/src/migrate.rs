//! The `offtake` schema of a source: creates it and brings it up to date.

use std::sync::LazyLock;

use tokio_postgres::Client;

use crate::Error;
use crate::encoding::{holds_any_text, in_ascii};

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// Where refinery keeps what it applied.
const MIGRATION_TABLE: &str = "offtake.migration";

/// The key of the session advisory lock under which migrations run: the bytes of "offtake".
const MIGRATION_LOCK: i64 = 0x006f_6666_7461_6b65;

/// Creates the schema where it is absent and applies the migrations that it lacks, each in a
/// transaction of its own. Returns the names of what was applied. Two at once are safe: the second
/// waits and finds nothing to do.
///
/// The session must be a session of the server's: behind a pooler in transaction mode the lock
/// would stay behind.
pub async fn migrate(client: &mut Client) -> Result<Vec<String>, Error> {
    // refinery takes no lock of its own, and CREATE … IF NOT EXISTS fails when two run it at the
    // same moment.
    client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    let applied = apply(client).await;
    let unlocked = client.execute("select pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await;
    let applied = applied?;
    unlocked?;
    Ok(applied)
}

async fn apply(client: &mut Client) -> Result<Vec<String>, Error> {
    // Asked first, because CREATE SCHEMA IF NOT EXISTS needs the right to create one even where it
    // exists.
    let exists: bool =
        client.query_one("select to_regnamespace('offtake') is not null", &[]).await?.get(0);
    if !exists {
        client.batch_execute(CREATE_SCHEMA).await?;
    }
    client.batch_execute(THE_DATABASES_TABLESPACE).await?;
    if !holds_any_text(client).await? {
        return apply_in_ascii(client).await;
    }
    let mut runner = embedded::migrations::runner();
    let report = runner
        .set_migration_table_name(MIGRATION_TABLE)
        .run_async(client)
        .await
        .map_err(|error| Error::Migration(Box::new(error)))?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// A database in another encoding than UTF-8 refuses a statement with a character that it lacks,
/// also in a comment. V7 has one, and an applied migration is never touched. So such a database
/// gets the migrations in ASCII, with the history that refinery looks for.
async fn apply_in_ascii(client: &mut Client) -> Result<Vec<String>, Error> {
    let mut applied = Vec::new();
    for (at, (name, sql)) in migration_sql().into_iter().enumerate() {
        if at == 0 {
            client.batch_execute(sql).await?;
            continue;
        }
        let asked = format!(
            "select exists (select from {MIGRATION_TABLE} where 'V' || version || '__' || name = $1)"
        );
        if client.query_one(&asked, &[&name]).await?.get(0) {
            continue;
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute(sql).await?;
        transaction.commit().await?;
        applied.push(name);
    }
    Ok(applied)
}

/// Where `default_tablespace` names the tablespace that the database is in anyway, it is emptied for
/// the session: the server refuses a partitioned table in a tablespace that is said to be the
/// default (0A000).
const THE_DATABASES_TABLESPACE: &str = "select pg_catalog.set_config('default_tablespace', '', false) \
    from pg_catalog.pg_database d join pg_catalog.pg_tablespace t on t.oid = d.dattablespace \
    where d.datname = pg_catalog.current_database() \
      and t.spcname = pg_catalog.current_setting('default_tablespace')";

const CREATE_SCHEMA: &str = "create schema if not exists offtake;
comment on schema offtake is 'Offtake keeps tenants'' own databases in step with this one; `offtake uninstall` removes it.';
";

/// The migrations in ASCII, with their history rows as refinery would have written them, so that a
/// schema made by hand from this is later recognised: name and SQL, in the order in which they run.
pub fn migration_sql() -> Vec<(String, &'static str)> {
    MIGRATION_SQL.iter().map(|(name, sql)| (name.clone(), sql.as_str())).collect()
}

static MIGRATION_SQL: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let history = format!(
        "{CREATE_SCHEMA}create table if not exists {MIGRATION_TABLE} (
  version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255)
);\n"
    );
    let mut parts = vec![("schema offtake".to_owned(), history)];
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort();
    for migration in migrations {
        let sql = in_ascii(migration.sql().unwrap_or_default().trim_end());
        let record = format!(
            "insert into {MIGRATION_TABLE} (version, name, applied_on, checksum)
values ({}, '{}', to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{}');\n",
            migration.version(),
            migration.name(),
            migration.checksum()
        );
        parts.push((migration.to_string(), format!("{sql}\n\n{record}")));
    }
    parts
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_migrations_leave_the_history_that_refinery_looks_for() {
        let parts = migration_sql();
        assert_eq!(parts[0].0, "schema offtake");
        assert_eq!(parts[1].0, "V1__offtake_schema");
        assert!(parts[1].1.contains("values (1, 'offtake_schema', "));
        assert!(!parts[1].1.contains("create schema"));
    }
}
