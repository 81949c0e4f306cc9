//! Capture: triggers that record, in the application's own transaction, which rows it changed.
//!
//! Every table that a mapping names gets one function, `offtake.capture_<table>_<hash>`. The table
//! and each of its partitions get four statement-level triggers that run it: after insert, update,
//! delete and truncate. They append keys to `offtake.captured_change` and do nothing else.
//!
//! Where rows are also written by statements that name no relation of the table (through a parent,
//! or by the apply worker of a subscription), one row-level trigger takes the place of the first
//! three, and runs a second function. A relation has triggers for each captured table that it
//! belongs to.
//!
//! # Invariants
//!
//! - **The application's writes never fail because of Offtake.** A function is tried on an empty
//!   copy of its table in the transaction that creates it. An operator's expression that fails at
//!   run time is caught. The functions run as a role that has exactly the rights they need. Only a
//!   full disk can still make them fail.
//! - **They hardly wait, either.** Every change of the schema touches one relation, in one
//!   transaction, under a short `lock_timeout`; what is already in place is not touched. A trigger
//!   has no NOTIFY, no look-up, and no step that grows faster than the number of changed rows.
//! - **No change goes past the triggers unnoticed.** The triggers are enabled ALWAYS. A row that
//!   moves between partitions fires the trigger of the relation that the statement names. [`drift`]
//!   finds what was dropped, disabled, edited or attached since the installation.
//! - **Nothing is left behind.** [`uninstall`] compares the source with an empty set of mappings,
//!   so everything is surplus and is removed.

mod attempt;
mod copies;
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

pub use copies::{Copies, LOG, SAMPLE, WITH_CAPTURE, WITHOUT_CAPTURE, copies};
pub use drift::{Drift, DriftKind, drift, in_words};
pub use error::{Blockers, Error};
pub use install::{Look, Options, Report, install, install_sql};
pub use rights::{MissingRight, missing_rights};
pub use survey::Relations;
pub use trigger::Event;
pub use uninstall::{Removal, uninstall};
