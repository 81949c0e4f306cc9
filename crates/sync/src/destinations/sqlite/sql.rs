//! The statements that are files.

pub(in crate::destinations) const CREATE_STATE_TABLE: &str =
    include_str!("../../../sql/sqlite/create_state_table.sql");
pub(in crate::destinations) const READ_STATES: &str =
    include_str!("../../../sql/sqlite/read_states.sql");
pub(in crate::destinations) const MOVE_CURSOR: &str =
    include_str!("../../../sql/sqlite/move_cursor.sql");
pub(in crate::destinations) const READ_SERVING: &str =
    include_str!("../../../sql/sqlite/read_serving.sql");
pub(in crate::destinations) const WRITE_SERVING: &str =
    include_str!("../../../sql/sqlite/write_serving.sql");
pub(in crate::destinations) const WRITE_AUDIT: &str =
    include_str!("../../../sql/sqlite/write_audit.sql");
pub(in crate::destinations) const LIST_TENANTS: &str =
    include_str!("../../../sql/sqlite/list_tenants.sql");
pub(in crate::destinations) const LIST_OTHER_TENANTS: &str =
    include_str!("../../../sql/sqlite/list_other_tenants.sql");
pub(in crate::destinations) const LIST_COLUMNS: &str =
    include_str!("../../../sql/sqlite/list_columns.sql");
pub(in crate::destinations) const LIST_UNIQUE_KEYS: &str =
    include_str!("../../../sql/sqlite/list_unique_keys.sql");
pub(in crate::destinations) const LIST_KEY: &str = include_str!("../../../sql/sqlite/list_key.sql");
pub(in crate::destinations) const FIND_ROWID: &str =
    include_str!("../../../sql/sqlite/find_rowid.sql");
/// What a table looks like: columns, unique indexes, and the column that is its rows' number.
pub(in crate::destinations) const DESCRIBE_TABLE: [&str; 3] =
    [LIST_COLUMNS, LIST_UNIQUE_KEYS, FIND_ROWID];
pub(in crate::destinations) const LIST_OBJECTS: &str =
    include_str!("../../../sql/sqlite/list_objects.sql");

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
            FIND_ROWID,
            LIST_KEY,
            LIST_OBJECTS,
        ] {
            connection.prepare(statement).unwrap_or_else(|error| panic!("{statement}\n{error}"));
        }
    }
}
