//! Offtake as a library: everything of the binary that tests and the demo start in their own process.
//!
//! [`configuration`] turns `offtake.yaml` into values that can be used. [`outcome`] is how every command ends.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod command_line;
pub mod configuration;
pub mod demo;
pub mod logging;
pub mod mapping_files;
pub mod outcome;
pub mod private_server;
