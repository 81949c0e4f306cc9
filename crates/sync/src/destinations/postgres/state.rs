//! The tenant's cursors in Postgres: what `_offtake_state` says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::{Identifier, ResolvedMapping, literal};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::frame::Frame;
use crate::cursors::{Cursor, Cursors, Identities};
use crate::destinations::{AuditResult, OTHERS_PAGE, OtherTenant, one_line};
use crate::ownership::{SILENT_AFTER, Served, SourceIdentity, Visit};
use crate::{Error, sql};

/// The name of the state table in a destination's schema; part of the contract with tenants.
pub const STATE_TABLE: &str = "_offtake_state";

pub(super) fn table_sql(schema: &Identifier) -> String {
    format!("{}.\"{STATE_TABLE}\"", schema.sql())
}

/// The statement with which an operator removes what is left of a tenant that is gone.
pub(super) fn forget_tenant(schema: &Identifier, tenant_id: &str) -> String {
    format!("delete from {} where tenant_id = {}", table_sql(schema), literal(tenant_id))
}

/// What of the schema and the state table is there.
pub(super) struct Found {
    pub(super) schema: bool,
    pub(super) table: bool,
    /// The server stores text in another encoding than UTF-8.
    pub(super) converts: bool,
    /// The table has the columns that name the source.
    pub(super) serving: bool,
    /// It has the columns that tell what the audit found.
    pub(super) audited: bool,
    /// It lacks those, and the role may add them: the tenant may have made itself the table's
    /// owner.
    pub(super) auditable: bool,
}

pub(super) async fn find(
    client: &Client,
    schema: &Identifier,
) -> Result<Found, tokio_postgres::Error> {
    let asked =
        "select to_regnamespace($1) is not null as schema, to_regclass($2) is not null as state,
        (select count(*) = 4 from pg_attribute where attrelid = to_regclass($2) and not attisdropped
            and attname in ('source', 'source_identity', 'served_since', 'served_at')) as serving,
        (select count(*) = 2 from pg_attribute where attrelid = to_regclass($2) and not attisdropped
            and attname in ('verified_at', 'differences')) as audited,
        exists (select from pg_class where oid = to_regclass($2) and pg_has_role(relowner, 'usage')) as owned,
         current_setting('server_encoding') not in ('UTF8', 'SQL_ASCII') as converts";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schema.sql(), Type::TEXT), (&table_sql(schema), Type::TEXT)];
    let rows = client.query_typed(asked, &parameters).await?;
    let told = |column: &str| rows.first().map_or(Ok(false), |row| row.try_get(column));
    Ok(Found {
        schema: told("schema")?,
        table: told("state")?,
        serving: told("serving")?,
        audited: told("audited")?,
        auditable: told("owned")? && !told("audited")?,
        converts: told("converts")?,
    })
}

/// Makes what is missing of the schema and the state table. The caller holds [`lock_making`].
pub(super) async fn make(
    client: &Client,
    schema: &Identifier,
) -> Result<(), tokio_postgres::Error> {
    let found = find(client, schema).await?;
    if !found.schema {
        client.batch_execute(&format!("create schema {}", schema.sql())).await?;
    }
    if !found.table {
        let create = sql::CREATE_STATE_TABLE.replace("{state}", &table_sql(schema));
        client.batch_execute(&create).await?;
    }
    if found.table && !found.serving {
        let add = sql::ADD_SERVING_COLUMNS.replace("{state}", &table_sql(schema));
        client.batch_execute(&add).await?;
    }
    if found.auditable {
        let add = sql::ADD_AUDIT_COLUMNS.replace("{state}", &table_sql(schema));
        client.batch_execute(&add).await?;
    }
    Ok(())
}

/// How long one worker waits for another one that makes tables in the same schema. Making them
/// takes milliseconds; a schema_sql that fills tables takes longer, and then the turn is better
/// tried again than waited for, because it holds a connection meanwhile.
const MAKING_WAIT: &str = "5s";

/// Until the transaction ends, no other destination of this schema makes a schema, a table or a
/// column: two that make the same one at once would fail. The wait counts neither as a failure of
/// the destination nor as a sign that its batches are too large.
pub(super) async fn lock_making(client: &Client, schema: &Identifier) -> Result<(), Error> {
    let lock = format!("offtake:{schema}");
    let set = |wait: &str| format!("set local lock_timeout = '{wait}'");
    let shown = client.query_typed("select current_setting('lock_timeout')", &[]).await;
    let shown = shown.map_err(Error::destination)?;
    let before = shown.first().map_or_else(|| Ok("0".to_owned()), |row| row.try_get(0));
    let before: String = before.map_err(Error::destination)?;
    client.batch_execute(&set(MAKING_WAIT)).await.map_err(Error::destination)?;
    let locked = client
        .query_typed("select pg_advisory_xact_lock(hashtext($1))", &[(&lock, Type::TEXT)])
        .await;
    if let Err(error) = locked {
        let waited = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        return Err(if waited { Error::Making } else { Error::destination(error) });
    }
    client.batch_execute(&set(&before)).await.map_err(Error::destination)
}

/// The tenant's cursors without a lock; none where there is no state table.
pub(super) async fn read(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
) -> Result<Cursors, tokio_postgres::Error> {
    if find(client, schema).await?.table {
        read_there(client, schema, tenant_id).await
    } else {
        Ok(Cursors::new())
    }
}

/// The same where the state table is known to be there.
pub(super) async fn read_there(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
) -> Result<Cursors, tokio_postgres::Error> {
    let statement = sql::READ_STATES.replace("{state}", &table_sql(schema));
    let rows = client.query_typed(&statement, &[(&tenant_id, Type::TEXT)]).await?;
    rows.iter().map(|row| Ok((row.try_get("mapping")?, cursor(row)?))).collect()
}

/// Which source serves the tenant; None: none does, or what is there is nothing that we wrote.
pub(super) async fn served(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
) -> Result<Option<Served>, tokio_postgres::Error> {
    let statement = sql::READ_SERVING.replace("{state}", &table_sql(schema));
    let rows = client.query_typed(&statement, &[(&tenant_id, Type::TEXT)]).await?;
    rows.first().map_or(Ok(None), served_by)
}

/// None: it is nothing that we wrote.
pub(super) fn served_by(row: &Row) -> Result<Option<Served>, tokio_postgres::Error> {
    let text = |column: &str| row.try_get(column).map(Option::<String>::unwrap_or_default);
    let silent = row.try_get::<_, Option<f64>>("silent_seconds")?.unwrap_or(0.0);
    let Some(identity) = SourceIdentity::parse(&text("identity")?) else { return Ok(None) };
    Ok(Some(Served {
        identity,
        source: one_line(&text("source")?),
        since: one_line(&text("since")?),
        last: one_line(&text("last")?),
        silent: Duration::try_from_secs_f64(silent).unwrap_or_default(),
        silent_max: SILENT_AFTER,
    }))
}

/// Names the source that serves the tenant; the caller holds the lock of its rows.
pub(super) async fn serve(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
    visit: &Visit,
    cursors: &mut Cursors,
) -> Result<(), tokio_postgres::Error> {
    let statement = sql::WRITE_SERVING.replace("{state}", &table_sql(schema));
    let identity = serde_json::json!(visit.identity).to_string();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&tenant_id, Type::TEXT), (&visit.source, Type::TEXT), (&identity, Type::TEXT)];
    note_written(&client.query_typed(&statement, &parameters).await?, cursors)
}

/// Tells the tenant what audits found; the caller holds the lock of its rows.
pub(super) async fn tell_audits(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
    audits: &[AuditResult],
    cursors: &mut Cursors,
) -> Result<(), tokio_postgres::Error> {
    let statement = sql::WRITE_AUDITS.replace("{state}", &table_sql(schema));
    let mappings: Vec<&str> = audits.iter().map(|a| a.mapping.as_str()).collect();
    let verified_at: Vec<Option<&str>> = audits.iter().map(|a| a.verified_at.as_deref()).collect();
    let differences: Vec<Option<i64>> = audits.iter().map(|a| a.differences).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&tenant_id, Type::TEXT),
        (&mappings, Type::TEXT_ARRAY),
        (&verified_at, Type::TEXT_ARRAY),
        (&differences, Type::INT8_ARRAY),
    ];
    note_written(&client.query_typed(&statement, &parameters).await?, cursors)
}

fn note_written(rows: &[Row], cursors: &mut Cursors) -> Result<(), tokio_postgres::Error> {
    for row in rows {
        if let Some(cursor) = cursors.get_mut(row.try_get::<_, &str>("mapping")?) {
            cursor.written = row.try_get("written")?;
        }
    }
    Ok(())
}

/// The tenant's cursors, locked.
pub(super) struct Locked {
    pub(super) cursors: Cursors,
    pub(super) identities: Identities,
    /// The mappings whose tables may change or drop what is written to them.
    pub(super) altering: BTreeSet<String>,
    /// The server process that runs the transaction; None when there is no cursor yet.
    pub(super) backend: Option<i32>,
    /// See [`Found`].
    pub(super) converts: bool,
}

/// Reads the tenant's cursors and locks them until the transaction ends.
pub(super) async fn lock(
    client: &Client,
    frame: &Frame,
    schema: &Identifier,
    tenant_id: &str,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Locked, tokio_postgres::Error> {
    let (names, tables) = names_and_tables(schema, mappings);
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&tenant_id, Type::TEXT), (&names, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)];
    let rows = frame.query(client, schema, sql::LOCK_STATES, &parameters).await?;
    let mut locked = Locked {
        cursors: Cursors::new(),
        identities: Identities::new(),
        altering: BTreeSet::new(),
        backend: rows.first().map(|row| row.try_get("backend")).transpose()?,
        converts: rows.first().map_or(Ok(false), |row| row.try_get("converts"))?,
    };
    for row in &rows {
        locked.add(row)?;
    }
    Ok(locked)
}

impl Locked {
    pub(super) fn add(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        let mapping: String = row.try_get("mapping")?;
        if let Some(identity) = row.try_get("identity")? {
            self.identities.insert(mapping.clone(), identity);
        }
        if row.try_get("alters")? {
            self.altering.insert(mapping.clone());
        }
        self.cursors.insert(mapping, cursor(row)?);
        Ok(())
    }
}

/// Which cursors other tenants have, or had, in this schema.
pub(super) async fn others(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
    mappings: &[Arc<ResolvedMapping>],
    after: Option<&(String, String)>,
) -> Result<Vec<OtherTenant>, tokio_postgres::Error> {
    let statement = sql::LIST_OTHER_TENANTS.replace("{state}", &table_sql(schema));
    let (names, tables) = names_and_tables(schema, mappings);
    let after_tenant = after.map(|(tenant, _)| tenant);
    let after_mapping = after.map(|(_, mapping)| mapping);
    let page = OTHERS_PAGE as i64;
    let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
        (&tenant_id, Type::TEXT),
        (&names, Type::TEXT_ARRAY),
        (&tables, Type::TEXT_ARRAY),
        (&after_tenant, Type::TEXT),
        (&after_mapping, Type::TEXT),
        (&page, Type::INT8),
    ];
    let rows = client.query_typed(&statement, &parameters).await?;
    let other = |row: &Row| {
        Ok(OtherTenant {
            tenant_id: row.try_get("tenant_id")?,
            mapping: row.try_get("mapping")?,
            sequence_id: row.try_get("sequence_id")?,
            oid: row.try_get("oid")?,
            lately: row.try_get("lately")?,
        })
    };
    rows.iter().map(other).collect()
}

/// The tenants, other than this one, that have cursors in the schema; at most a page of them.
pub(super) async fn other_tenants(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let statement = sql::LIST_TENANTS.replace("{state}", &table_sql(schema));
    let page = OTHERS_PAGE as i64;
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&tenant_id, Type::TEXT), (&page, Type::INT8)];
    let rows = client.query_typed(&statement, &parameters).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The mappings' names and their tables, quoted and qualified, in the same order.
pub(super) fn names_and_tables<'m>(
    schema: &Identifier,
    mappings: &'m [Arc<ResolvedMapping>],
) -> (Vec<&'m str>, Vec<String>) {
    let table =
        |m: &Arc<ResolvedMapping>| format!("{}.{}", schema.sql(), m.definition.target.table.sql());
    (mappings.iter().map(|m| m.name()).collect(), mappings.iter().map(table).collect())
}

pub(super) fn cursor(row: &Row) -> Result<Cursor, tokio_postgres::Error> {
    // A key that is not what we wrote is input from a stranger. Without a key the copy begins
    // again, which is always right.
    let backfill_key = row
        .try_get::<_, Option<String>>("backfill_key")?
        .and_then(|json| serde_json::from_str::<Vec<KeyPart>>(&json).ok())
        .and_then(|key| key.into_iter().map(KeyPart::text).collect());
    Ok(Cursor {
        sequence_id: row.try_get("sequence_id")?,
        backfilled: row.try_get("backfilled")?,
        backfill_key,
        epoch: row.try_get("epoch")?,
        version: row.try_get("version")?,
        written: row.try_get("written")?,
    })
}

/// One column of a cursor's key, as the state table has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeyPart {
    Text(String),
    /// Its UTF-8 bytes in hexadecimal digits, where the server's encoding may lack a character.
    Bytes {
        utf8: String,
    },
}

impl KeyPart {
    fn of(text: &str, converts: bool) -> Self {
        match converts && !text.is_ascii() {
            true => Self::Bytes { utf8: text.bytes().map(|byte| format!("{byte:02x}")).collect() },
            false => Self::Text(text.to_owned()),
        }
    }

    fn text(self) -> Option<String> {
        let utf8 = match self {
            Self::Text(text) => return Some(text),
            Self::Bytes { utf8 } => utf8,
        };
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = utf8.as_bytes().chunks(2).map(byte).collect();
        String::from_utf8(bytes?).ok()
    }
}

/// Writes cursors, and notes in them that they were written; the caller holds their lock. `then` is
/// sent right behind. `converts`: see [`Found`].
pub(super) async fn write(
    client: &Client,
    frame: &Frame,
    schema: &Identifier,
    tenant_id: &str,
    (cursors, converts): (&mut Cursors, bool),
    then: Option<&str>,
) -> Result<(), tokio_postgres::Error> {
    let keys: Vec<Option<String>> = cursors
        .values()
        .map(|c| {
            let key = c.backfill_key.as_ref()?.iter().map(|text| KeyPart::of(text, converts));
            serde_json::to_string(&key.collect::<Vec<_>>()).ok()
        })
        .collect();
    let names: Vec<&String> = cursors.keys().collect();
    let sequence_ids: Vec<i64> = cursors.values().map(|c| c.sequence_id).collect();
    let backfilled: Vec<bool> = cursors.values().map(|c| c.backfilled).collect();
    let epochs: Vec<&str> = cursors.values().map(|c| c.epoch.as_str()).collect();
    let versions: Vec<&str> = cursors.values().map(|c| c.version.as_str()).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
        (&tenant_id, Type::TEXT),
        (&names, Type::TEXT_ARRAY),
        (&sequence_ids, Type::INT8_ARRAY),
        (&backfilled, Type::BOOL_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&epochs, Type::TEXT_ARRAY),
        (&versions, Type::TEXT_ARRAY),
    ];
    let rows = frame.query_then(client, schema, sql::MOVE_CURSORS, &parameters, then).await?;
    note_written(&rows, cursors)
}
