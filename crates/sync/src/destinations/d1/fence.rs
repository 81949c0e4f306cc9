//! The statements of a batch that compare and move cursors.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::sqlite::Apply;

use super::call::Statement;
use super::{sql, sqlite, stage};
use crate::cursors::{Cursors, Identities};

/// Stops the batch unless the tenant's cursors are these, or were moved by this very write.
pub(super) fn cursors(tenant_id: &str, expected: &Cursors, write_id: &str) -> Statement {
    let pairs: Vec<_> = expected.iter().map(|(mapping, c)| [mapping, &c.written]).collect();
    let pairs = serde_json::json!(pairs).to_string();
    Statement::new(sql::GUARD_CURSORS).with(tenant_id).with(pairs).with(write_id)
}

/// Stops the batch unless the mappings' tables are these.
pub(super) fn tables(mappings: &[Arc<ResolvedMapping>], identities: &Identities) -> Vec<Statement> {
    let table = |m: &ResolvedMapping| m.definition.target.table.as_str().to_ascii_lowercase();
    let mark = |mapping: &Arc<ResolvedMapping>| {
        let nonce = identities.get(mapping.name())?;
        Some([table(mapping), format!("{}{nonce}", Apply::mark(mapping.name()))])
    };
    let marks: Vec<_> = mappings.iter().filter_map(mark).collect();
    let tables: Vec<_> = marks.iter().map(|[table, _]| table).collect();
    vec![
        Statement::new(sql::GUARD_MARKS).with(serde_json::json!(marks).to_string()),
        Statement::new(sql::GUARD_TRIGGERS).with(serde_json::json!(tables).to_string()),
    ]
}

/// Writes cursors, and notes in them that this write wrote them.
pub(super) fn moves(tenant_id: &str, cursors: &mut Cursors, write_id: &str) -> Vec<Statement> {
    let moved = |(mapping, cursor): (&String, &mut crate::cursors::Cursor)| {
        write_id.clone_into(&mut cursor.written);
        let key = cursor
            .backfill_key
            .as_ref()
            .map(|key| stage::array(key.iter().map(|text| serde_json::json!(text).to_string())));
        Statement::new(sqlite::sql::MOVE_CURSOR).with_all([
            Some(tenant_id.to_owned()),
            Some(mapping.clone()),
            Some(cursor.sequence_id.to_string()),
            Some(u8::from(cursor.backfilled).to_string()),
            key,
            Some(cursor.epoch.clone()),
            Some(cursor.version.clone()),
            Some(write_id.to_owned()),
        ])
    };
    cursors.iter_mut().map(moved).collect()
}
