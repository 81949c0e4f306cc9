//! Snapshots of the kind `source`: a tenant's own rows in the application's tables, and back.
//!
//! `offtake_jobs::snapshots::source` has the guards and the transaction. What is here: who is asked,
//! what is told, and what an operator who lost the connection is told afterwards.

mod create;
mod restore;
mod told;

pub(super) use self::create::execute as create;
pub(super) use self::restore::execute as restore;
