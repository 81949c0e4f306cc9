//! The real binary between real servers: what `offtake run` promises, seen from both ends.
//!
//! Numbers in the modules' words are those of the invariants in ARCHITECTURE.md.

#![allow(clippy::unwrap_used)]

mod changes;
mod demo;
mod faults;
mod sharing;
mod tenants;
