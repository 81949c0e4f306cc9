//! Speaking Postgres: how a connection is made, what a server's error means to Offtake, the
//! migrations of our own schema, and mappings resolved against a source's catalog. Nothing here
//! loops, counts metrics or has failpoints; that is `offtake-loops`.
//!
//! There are two kinds of servers. The **source** is the operator's own: [`SourcePool`] and
//! [`Dialer::trusted`] go wherever its URL says. A **destination** is a stranger's: its URL passes
//! an allow-list grammar ([`ConnectionString::destination`]), the crate `offtake-egress` checks its
//! address and its certificate, and its bytes pass a guard that never hands it a reusable password.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalog;
mod chain;
pub mod change_log;
mod connection_string;
mod dial;
mod encoding;
mod error;
mod migrate;
mod pipelined;
mod pool;
mod settings;
mod sqlstate;
mod ssl_request;
mod wire_guard;

pub use chain::chain;
pub use connection_string::{ConnectionString, InvalidUrl};
pub use dial::{Connection, Dialer};
pub use error::Error;
pub use migrate::{migrate, migration_sql};
pub use pipelined::PipelinedTransaction;
pub use pool::{PooledConnection, SourcePool};
pub use settings::TEXT_FORMAT;
pub use sqlstate::{Fault, classify, row_fault, unreadable_row};
pub use tokio_postgres::error::SqlState;
