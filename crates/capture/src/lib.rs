//! Capture: the triggers that note, in the application's own transaction, which rows it changed.
//!
//! For every table that a mapping names there is one function, `offtake.capture_<table>_<hash>`,
//! and on the table and each of its partitions four statement-level triggers that run it: after
//! insert, update, delete and truncate. They append keys to `offtake.captured_change` and do
//! nothing else.
//!
//! # Invariants
//!
//! - **The application's writes never fail because of Offtake.** A function is tried on an empty
//!   copy of its table in the transaction that creates it; an operator's expression that fails at
//!   run time is caught; the functions run as a role that is granted exactly what they do. What can
//!   go wrong beyond that is a full disk.
//! - **They hardly wait, either.** Every change of the schema is one relation in one transaction
//!   under a short `lock_timeout`, and what is in place is left alone. No NOTIFY, no look-up, no
//!   sort that grows faster than the rows.
//! - **Nothing slips past unseen.** Enabled ALWAYS; rows moved between partitions are seen by the
//!   trigger of the relation the statement names; [`drift`] finds what was dropped, disabled,
//!   edited or attached since.
//! - **Nothing is left behind.** [`uninstall`] compares against no mappings at all and removes
//!   everything.

mod attempt;
mod drift;
mod error;
mod function;
mod install;
mod note;
mod rights;
mod script;
mod sql;
mod survey;
mod trigger;
mod uninstall;

pub use drift::{Drift, DriftKind, drift};
pub use error::{Blockers, Error};
pub use install::{Look, Options, Report, install, install_sql};
pub use rights::{MissingRight, missing_rights};
pub use survey::Relations;
pub use trigger::Event;
pub use uninstall::{Removal, uninstall};
