//! The real binary between real servers: what `offtake run` promises, seen from both ends.
//!
//! The invariants' numbers in these modules are those of ARCHITECTURE.md.

#![allow(clippy::unwrap_used)]

mod changes;
mod demo;
mod faults;
mod forms;
mod sharing;
mod tenants;
