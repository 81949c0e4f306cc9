//! Everything shared that speaks Postgres: where a connection may go and how it is made, what a
//! server's error means to Offtake, and the migrations of our own schema.
//!
//! Two kinds of servers are met here. The **source** is the operator's own: [`SourcePool`] and
//! [`Dialer::trusted`] go wherever its URL says. A **destination** is a stranger's: its URL passes
//! an allow-list grammar ([`ConnectionString::destination`]), its address the [`AddressPolicy`],
//! its certificate is verified, and its bytes pass a guard that never hands it a reusable password.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address_policy;
mod begun;
pub mod catalog;
pub mod change_log;
mod connection_string;
mod dial;
mod error;
mod failpoints;
mod fuses;
pub mod metrics;
mod migrate;
mod pool;
mod progress;
mod settings;
mod sql;
mod sqlstate;
mod tls;
mod trouble;
mod wire_guard;

pub use address_policy::{AddressPolicy, Refused};
pub use begun::Begun;
pub use connection_string::{ConnectionString, InvalidUrl, SslMode};
pub use dial::{Connection, Dialer};
pub use error::Error;
pub use failpoints::{FAILPOINTS, failpoint, listen_for_failpoints};
pub use fuses::{BlownFuses, Fuses, names_a_fuse, set_fuse};
pub use migrate::{migrate, migration_sql};
pub use pool::{PooledConnection, SourcePool};
pub use progress::{Progress, idle_pause};
pub use settings::TEXT_FORMAT;
pub use sqlstate::{Fault, classify, row_fault};
pub use tokio_postgres::error::SqlState;
pub use trouble::Trouble;
