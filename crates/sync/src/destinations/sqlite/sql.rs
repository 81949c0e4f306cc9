//! The statements that are files.

pub(super) const CREATE_STATE_TABLE: &str =
    include_str!("../../../sql/sqlite/create_state_table.sql");
pub(super) const READ_STATES: &str = include_str!("../../../sql/sqlite/read_states.sql");
pub(super) const MOVE_CURSOR: &str = include_str!("../../../sql/sqlite/move_cursor.sql");
pub(super) const READ_SERVING: &str = include_str!("../../../sql/sqlite/read_serving.sql");
pub(super) const WRITE_SERVING: &str = include_str!("../../../sql/sqlite/write_serving.sql");
pub(super) const WRITE_AUDIT: &str = include_str!("../../../sql/sqlite/write_audit.sql");
pub(super) const LIST_TENANTS: &str = include_str!("../../../sql/sqlite/list_tenants.sql");
pub(super) const LIST_OTHER_TENANTS: &str =
    include_str!("../../../sql/sqlite/list_other_tenants.sql");
pub(super) const LIST_COLUMNS: &str = include_str!("../../../sql/sqlite/list_columns.sql");
pub(super) const LIST_UNIQUE_KEYS: &str = include_str!("../../../sql/sqlite/list_unique_keys.sql");
pub(super) const LIST_OBJECTS: &str = include_str!("../../../sql/sqlite/list_objects.sql");

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn sqlite_accepts_every_statement() {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(CREATE_STATE_TABLE).expect("the state table");
        for statement in [
            READ_STATES,
            MOVE_CURSOR,
            READ_SERVING,
            WRITE_SERVING,
            WRITE_AUDIT,
            LIST_TENANTS,
            LIST_OTHER_TENANTS,
            LIST_COLUMNS,
            LIST_UNIQUE_KEYS,
            LIST_OBJECTS,
        ] {
            connection.prepare(statement).unwrap_or_else(|error| panic!("{statement}\n{error}"));
        }
    }
}
