//! The statements of this crate that are not built at run time.

/// The relations whose triggers cover each captured table.
pub(crate) const READ_RELATIONS: &str = include_str!("../sql/read_relations.sql");

/// Every trigger that runs a capture function.
pub(crate) const READ_TRIGGERS: &str = include_str!("../sql/read_triggers.sql");

/// The capture functions that are installed.
pub(crate) const READ_FUNCTIONS: &str = include_str!("../sql/read_functions.sql");

/// Whether the schema and the functions' role are in place.
pub(crate) const READ_RIGHTS: &str = include_str!("../sql/read_rights.sql");

/// What the current role may do.
pub(crate) const READ_STANDING: &str = include_str!("../sql/read_standing.sql");

/// Owners whose rights the current role does not have, with their relations.
pub(crate) const LIST_FOREIGN_OWNERS: &str = include_str!("../sql/list_foreign_owners.sql");

/// The sessions whose locks keep a trigger from being created or dropped.
pub(crate) const READ_BLOCKERS: &str = include_str!("../sql/read_blockers.sql");

/// Creates the role that owns the capture functions; its name stands for `{role}`.
pub(crate) const CREATE_ROLE: &str = include_str!("../sql/create_role.sql");

/// Takes the rights here from the role that older versions shared between databases.
pub(crate) const RETIRE_SHARED_ROLE: &str = include_str!("../sql/retire_shared_role.sql");

/// The log of a captured copy; its schema stands for `{schema}`.
pub(crate) const CREATE_COPY_LOG: &str = include_str!("../sql/create_copy_log.sql");

/// Drops a role, unless another database needs it; its name stands for `{role}`.
pub(crate) const DROP_ROLE: &str = include_str!("../sql/drop_role.sql");
