//! The statements of this module.

/// What a refusal is about, as SQL writes it.
pub(super) const NAME_REFUSED_OBJECT: &str = include_str!("../../sql/name_refused_object.sql");

/// The tables that mappings name, with their columns.
pub(super) const READ_TABLES: &str = include_str!("../../sql/read_tables.sql");

/// Tables that a crash empties, or that are elsewhere.
pub(super) const LIST_UNFIT_PARTS: &str = include_str!("../../sql/list_unfit_parts.sql");

/// The extensions that keep rows elsewhere.
pub(super) const LIST_TABLE_MANAGERS: &str = include_str!("../../sql/list_table_managers.sql");

/// What types are called, here and in a destination.
pub(super) const DESCRIBE_TYPES: &str = include_str!("../../sql/describe_types.sql");

/// Calls whose result is another one each time.
pub(super) const FIND_VOLATILE_FUNCTIONS: &str =
    include_str!("../../sql/find_volatile_functions.sql");

/// Calls of the application's functions that may read tables.
pub(super) const FIND_READING_FUNCTIONS: &str =
    include_str!("../../sql/find_reading_functions.sql");

/// What a misspelt table may have been meant to be.
pub(super) const LIST_TABLES: &str = include_str!("../../sql/list_tables.sql");

/// Whether the collations of a query's columns are deterministic.
pub(super) const READ_COLLATIONS: &str = include_str!("../../sql/read_collations.sql");

/// The views and functions that stand between a query and its tables.
pub(super) const LIST_DEFINITIONS: &str = include_str!("../../sql/list_definitions.sql");

/// What they do, as one text.
pub(super) const READ_DEFINITIONS: &str = include_str!("../../sql/read_definitions.sql");

/// Who keeps the catalog from being read.
pub(super) const LIST_LOCKING_SESSIONS: &str = include_str!("../../sql/list_locking_sessions.sql");
