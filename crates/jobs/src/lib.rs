//! Jobs: long pieces of work for one tenant whose result is files.
//!
//! **Purpose.** A job is a row of `offtake.job`. A process claims it for a while ([`claim`]), writes
//! objects into a [`Store`], and records each of them; another process goes on where it stopped.
//!
//! **What fences it.** The attempt number, which every claim raises: it is in the names of objects
//! and in every statement about the job.
//!
//! **What it refuses**: to take a store, a path or a key from a request. Stores are the operator's,
//! and keys are made of ids and names that were checked.
//!
//! **What a crash leaves behind**: a lease that runs out, and objects that no row names. They are
//! deleted with the job's others.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
pub mod exports;
pub mod job;
mod lease;
mod public_id;
pub mod snapshots;
mod sql;
mod stop;
pub mod stores;
mod turns;

pub use job::{Job, State};
pub use lease::{Held, LEASE, Lease, Release, Which, claim, release};
pub use public_id::{Kind, PublicId};
pub use stop::PROCESS_STOPPED;
pub use stores::{Store, StoreSpec};
