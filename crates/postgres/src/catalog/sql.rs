//! The statements of this module.

/// The tables that mappings name, with their columns.
pub(super) const READ_TABLES: &str = include_str!("../../sql/read_tables.sql");

/// What types are called, here and in a destination.
pub(super) const DESCRIBE_TYPES: &str = include_str!("../../sql/describe_types.sql");
