//! Snapshots of the kind `source`: a tenant's own rows in the application's tables, and back.
//!
//! `offtake_jobs::snapshots::source` has the guards and the transaction. This module asks the
//! operator, tells what was done, and asks the source for the outcome where the connection broke
//! during the commit.

mod create;
mod restore;
mod told;

pub(super) use self::create::execute as create;
pub(super) use self::restore::execute as restore;
