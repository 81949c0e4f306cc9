//! What people and machines are told about Offtake: the status, the metrics, the probes and the
//! dashboard.
//!
//! **Architecture Invariant:** this crate reads the registry and the log, and writes only what
//! operators ask for ([`operations`]); it never applies anything. The status is computed from the
//! source database alone ([`status::collect`]), so that it says the same with and without a running
//! daemon, and it is never flattering: whatever cannot be shown to be in sync is told as something
//! else.
//!
//! The HTTP side ([`serve`]) listens on loopback only unless tokens are configured.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod http;
pub mod metrics;
pub mod operations;
mod process;
mod readiness;
mod sql;
mod state;
pub mod status;

pub use error::Error;
pub use http::{AdminState, Tokens, Verifier, serve};
pub use readiness::Readiness;
pub use state::State;
pub use status::{Destination, Status, collect, destinations};
