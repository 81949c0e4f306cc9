//! The tenant's cursors in a file: what `_offtake_state` says. The caller has a transaction.

use std::time::Duration;

use offtake_mapping::compose::sqlite::literal;
use rand::Rng as _;
use rusqlite::{Connection, params};

use super::Cells;
use super::schema::Schema;
use super::sql;
use crate::cursors::{Cursor, Cursors};
use crate::destinations::{AuditResult, OTHERS_PAGE, STATE_TABLE, one_line};
use crate::ownership::{SILENT_AFTER, Served, SourceIdentity};

/// The columns that a state table has. One that the tenant dropped is added again.
const COLUMNS: [(&str, &str); 15] = [
    ("tenant_id", "TEXT"),
    ("mapping", "TEXT"),
    ("sequence_id", "INTEGER"),
    ("backfilled", "INTEGER"),
    ("backfill_key", "TEXT"),
    ("epoch", "TEXT"),
    ("version", "TEXT"),
    ("updated_at", "TEXT"),
    ("write_id", "TEXT"),
    ("source", "TEXT"),
    ("source_identity", "TEXT"),
    ("served_since", "TEXT"),
    ("served_at", "TEXT"),
    ("verified_at", "TEXT"),
    ("differences", "INTEGER"),
];

/// The statement with which an operator removes what is left of a tenant that is gone.
pub(in crate::destinations) fn forget_tenant(tenant_id: &str) -> String {
    format!("delete from \"{STATE_TABLE}\" where tenant_id = {}", literal(tenant_id))
}

/// Whether the state table is there, and has all of its columns.
pub(super) fn stands(connection: &Connection, schema: &Schema) -> rusqlite::Result<bool> {
    let there = schema.table(STATE_TABLE).is_some_and(|table| !table.view);
    Ok(there && missing(connection)?.is_empty())
}

fn missing(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(sql::LIST_COLUMNS)?;
    let names = statement.query_map([STATE_TABLE], |row| row.get::<_, String>(0))?;
    let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(lacking(&names))
}

/// The columns that a state table with these ones lacks, as they are declared.
pub(in crate::destinations) fn lacking(names: &[String]) -> Vec<String> {
    let lacks = |(name, _): &&(&str, &str)| !names.iter().any(|there| there == name);
    COLUMNS.iter().filter(lacks).map(|(name, of)| format!("\"{name}\" {of}")).collect()
}

/// Makes what is missing of the state table.
pub(super) fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(sql::CREATE_STATE_TABLE)?;
    for column in missing(connection)? {
        connection.execute_batch(&format!("alter table \"{STATE_TABLE}\" add column {column}"))?;
    }
    Ok(())
}

/// The tenant's cursors. The state table stands.
pub(super) fn read(connection: &Connection, tenant_id: &str) -> rusqlite::Result<Cursors> {
    let mut statement = connection.prepare_cached(sql::READ_STATES)?;
    let rows = statement.query_map([tenant_id], |row| Ok(cursor(row)))?;
    rows.collect()
}

/// A mapping and its cursor, of a row that `read_states.sql` returned.
pub(in crate::destinations) fn cursor(row: &impl Cells) -> (String, Cursor) {
    // A key that is not what we wrote is input from a stranger. Without a key the copy begins again,
    // which is always right.
    let key = row.text_or_null(3).and_then(|json| serde_json::from_str(&json).ok());
    let cursor = Cursor {
        sequence_id: row.number(1),
        backfilled: row.number(2) != 0,
        backfill_key: key,
        epoch: row.text(4),
        version: row.text(5),
        written: row.text(6),
    };
    (row.text(0), cursor)
}

/// Each write has another one, so that a worker that read the state rows before a write sees that they
/// have changed.
pub(in crate::destinations) fn write_id() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// Writes cursors, and notes in them that they were written.
pub(super) fn write(
    connection: &Connection,
    tenant_id: &str,
    cursors: &mut Cursors,
) -> rusqlite::Result<()> {
    let id = write_id();
    let mut statement = connection.prepare_cached(sql::MOVE_CURSOR)?;
    for (mapping, cursor) in cursors {
        let key = cursor.backfill_key.as_ref().and_then(|key| serde_json::to_string(key).ok());
        statement.execute(params![
            tenant_id,
            mapping,
            cursor.sequence_id,
            cursor.backfilled,
            key,
            cursor.epoch,
            cursor.version,
            id
        ])?;
        cursor.written.clone_from(&id);
    }
    Ok(())
}

/// Which source serves the tenant; None: none does, or what is there is nothing that we wrote.
pub(super) fn served(connection: &Connection, tenant_id: &str) -> rusqlite::Result<Option<Served>> {
    let mut statement = connection.prepare_cached(sql::READ_SERVING)?;
    let mut rows = statement.query([tenant_id])?;
    Ok(rows.next()?.and_then(|row| served_by(row, SILENT_AFTER)))
}

/// Of a row that `read_serving.sql` returned. `silent_max` depends on how often there is a visit.
pub(in crate::destinations) fn served_by(row: &impl Cells, silent_max: Duration) -> Option<Served> {
    let text = |column| one_line(&row.text(column));
    Some(Served {
        identity: SourceIdentity::parse(&row.text(1))?,
        source: text(0),
        since: text(2),
        last: text(3),
        silent: Duration::try_from_secs_f64(row.double(4)).unwrap_or_default(),
        silent_max,
    })
}

/// Names the source that serves the tenant.
pub(super) fn serve(
    connection: &Connection,
    tenant_id: &str,
    (source, identity): (&str, &str),
    cursors: &mut Cursors,
) -> rusqlite::Result<()> {
    let id = write_id();
    let mut statement = connection.prepare_cached(sql::WRITE_SERVING)?;
    if statement.execute(params![tenant_id, source, identity, id])? > 0 {
        cursors.values_mut().for_each(|cursor| cursor.written.clone_from(&id));
    }
    Ok(())
}

/// A time as SQLite's date functions read it.
pub(in crate::destinations) fn readable_time(time: &str) -> String {
    let zone = if time.ends_with("+00") { ":00" } else { "" };
    format!("{time}{zone}")
}

/// Tells the tenant what audits found.
pub(super) fn tell_audits(
    connection: &Connection,
    tenant_id: &str,
    audits: &[AuditResult],
    cursors: &mut Cursors,
) -> rusqlite::Result<()> {
    let id = write_id();
    let mut statement = connection.prepare_cached(sql::WRITE_AUDIT)?;
    for audit in audits {
        let AuditResult { mapping, verified_at, differences } = audit;
        let verified_at = verified_at.as_deref().map(readable_time);
        let told = statement.execute(params![tenant_id, mapping, verified_at, differences, id])?;
        if let Some(cursor) = cursors.get_mut(mapping).filter(|_| told > 0) {
            cursor.written.clone_from(&id);
        }
    }
    Ok(())
}

/// The tenants, other than this one, that have cursors in the file; at most a page of them.
pub(super) fn other_tenants(
    connection: &Connection,
    tenant_id: &str,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(sql::LIST_TENANTS)?;
    let page = OTHERS_PAGE as i64;
    statement.query_map(params![tenant_id, page], |row| row.get(0))?.collect()
}
