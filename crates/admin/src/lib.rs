//! What Offtake shows to people and machines: the status, the metrics, the probes and the
//! dashboard.
//!
//! **Architecture Invariant:** this crate reads the registry and the log, and writes only what
//! operators ask for ([`operations`]). It never writes to a destination. The status is computed
//! from the source database alone ([`status::collect`]), so it is the same with and without a
//! running daemon. It never flatters: a destination is `in_sync` only where the source proves it.
//!
//! The HTTP side ([`serve`]) listens on loopback only unless tokens are configured.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod exports;
mod exposition;
mod history;
pub mod http;
pub mod jobs;
mod json_text;
pub mod metrics;
pub mod moment;
pub mod operations;
mod process;
mod readiness;
pub mod snapshots;
mod sql;
mod state;
pub mod status;
pub mod status_token;
mod tenant_view;
pub mod verified;
pub mod webhooks;
pub mod why;
mod worst;

pub use error::Error;
pub use exports::ExportAccess;
pub use http::{
    AdminState, Links, NotRecreated, Pieces, Recreated, Recreator, Settings, Sockets, StoredFile,
    Tokens, Verifier, serve,
};
pub use readiness::Readiness;
pub use snapshots::SnapshotAccess;
pub use state::State;
pub use status::{Destination, Status, collect, collect_beside, destinations};
pub use webhooks::WebhookAccess;
