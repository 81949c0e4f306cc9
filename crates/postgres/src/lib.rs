//! Everything shared that speaks Postgres: where a connection may go and how it is made, what a
//! server's error means to Offtake, and the migrations of our own schema.
//!
//! Two kinds of servers are met here. The **source** is the operator's own: [`SourcePool`] and
//! [`Dialer::trusted`] go wherever its URL says. A **destination** is a stranger's: its URL passes
//! an allow-list grammar ([`ConnectionString::destination`]), its address the [`AddressPolicy`],
//! its certificate is verified, and its bytes pass a guard that never hands it a reusable password.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address_policy;
pub mod catalog;
mod chain;
mod connection_string;
mod dial;
mod error;
mod migrate;
mod pipelined;
mod pool;
mod settings;
mod sqlstate;
mod tls;
mod wire_guard;

pub use address_policy::{AddressPolicy, Refused};
pub use chain::chain;
pub use connection_string::{ConnectionString, InvalidUrl, SslMode};
pub use dial::{Connection, Dialer};
pub use error::Error;
pub use migrate::{migrate, migration_sql};
pub use pipelined::PipelinedTransaction;
pub use pool::{PooledConnection, SourcePool};
pub use settings::TEXT_FORMAT;
pub use sqlstate::{Fault, classify};
pub use tokio_postgres::error::SqlState;
