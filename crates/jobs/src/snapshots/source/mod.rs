//! Snapshots of the kind `source`: a tenant's own rows in tables of the source, and back.
//!
//! **Purpose.** An employee of one customer deleted data, and it is to come back into the
//! application's own tables, while all other customers go on. [`create`] reads the rows of one
//! moment, [`Restoring`] puts them back in one transaction at the source.
//!
//! **Whose a row is** is said by the rules of mappings and of `snapshots.tables`, as they are now.
//! An archive says nothing about that: of an archive only values are used, never a name or a type.
//!
//! **What it refuses**, before a statement that writes to a table is sent: a row of the archive that
//! is not the tenant's by the rule of now; a key that belongs to another tenant now; a row that would
//! refer to one that is not there; a row that another one refers to and that would be gone.
//!
//! **What fences it.** One REPEATABLE READ transaction: a row that somebody else changes meanwhile
//! fails it. Each statement that writes has the tenant's predicate, and how many rows it wrote is
//! compared with what was agreed.
//!
//! **What a crash leaves behind**: nothing. The rows are staged in temporary tables of that
//! transaction.

mod create;
mod error;
mod order;
mod restore;
mod shape;
mod statement;
mod tables;

pub use create::{Asked, create, left_out};
pub use error::Error;
pub use restore::{
    Archive, Outcome, Planned, PlannedTable, Restoring, Wanted, Written, blockers, outcome,
    same_database,
};
pub use statement::Mode;
pub use tables::{OwnColumn, OwnTable, OwnTables, Reference, Resolved};
