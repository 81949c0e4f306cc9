//! The harness of the tests against real servers and the real binary.
//!
//! ```no_run
//! # async fn example() {
//! use offtake_tests::{World, oracle};
//!
//! // A source that `offtake init` prepared, and a database for each tenant.
//! let world = World::with_tenants(["acme", "globex"]).await;
//! let daemon = world.daemon().await; // `offtake run`
//! world.source.execute("update public.project_user set display_name = 'Ada'").await;
//! world.wait_in_step().await;
//! oracle::assert_equal(&world).await;
//! # }
//! ```
//!
//! Two clusters serve all tests of a run, even if every test is a process of its own. Databases are
//! copied from templates, so a world costs a few tenths of a second. Tests wait for conditions
//! ([`until`]), never for time to pass. If a daemon logs a warning or an error that its test does
//! not allow, the test fails when the daemon is dropped.

pub mod browser;
pub mod certificates;
pub mod chaos;
pub mod clusters;
pub mod collector;
pub mod d1;
mod daemon;
mod database;
mod failpoints;
pub mod history;
mod http;
pub mod items;
pub mod names;
pub mod object_store;
pub mod oracle;
pub mod pgbouncer;
pub mod printed;
pub mod prometheus;
pub mod proxy;
pub mod receiver;
pub mod samples;
mod source;
mod sql;
mod sqlite_file;
mod told;
pub mod tools;
mod waiting;
pub mod workload;
mod world;

pub use daemon::{Daemon, LogLine, binary};
pub use database::Database;
pub use source::Source;
pub use sqlite_file::SqliteFile;
pub use waiting::{PATIENCE, beside, until};
pub use world::{CopyKind, Plan, Tenant, World, copy_folder};
