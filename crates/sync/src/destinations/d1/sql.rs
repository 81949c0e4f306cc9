//! The statements that are files, beside those that files and D1 share.

pub(super) const CREATE_GUARD: &str = include_str!("../../../sql/d1/create_guard.sql");
pub(super) const CREATE_REFUSED: &str = include_str!("../../../sql/d1/create_refused.sql");
pub(super) const GUARD_CURSORS: &str = include_str!("../../../sql/d1/guard_cursors.sql");
pub(super) const GUARD_TENANTS: &str = include_str!("../../../sql/d1/guard_tenants.sql");
pub(super) const GUARD_MARKS: &str = include_str!("../../../sql/d1/guard_marks.sql");
pub(super) const GUARD_TRIGGERS: &str = include_str!("../../../sql/d1/guard_triggers.sql");
pub(super) const GUARD_REFUSALS: &str = include_str!("../../../sql/d1/guard_refusals.sql");
pub(super) const LIST_REFERENCES: &str = include_str!("../../../sql/d1/list_references.sql");

/// Ends a batch that is only tried.
pub(super) const PROBE: &str = "insert into \"_offtake_guard\" (probe) values (1)";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn sqlite_accepts_every_statement() {
        let connection = Connection::open_in_memory().expect("memory");
        for table in [super::super::sqlite::sql::CREATE_STATE_TABLE, CREATE_GUARD, CREATE_REFUSED] {
            connection.execute_batch(table).expect(table);
        }
        for statement in [
            GUARD_CURSORS,
            GUARD_TENANTS,
            GUARD_MARKS,
            GUARD_TRIGGERS,
            GUARD_REFUSALS,
            LIST_REFERENCES,
            PROBE,
        ] {
            connection.prepare(statement).unwrap_or_else(|error| panic!("{statement}\n{error}"));
        }
    }
}
