//! Offtake as a library: everything of the binary that tests and the demo start in their own
//! process.
//!
//! [`command_line`] says what can be typed, [`commands`] does it, and [`outcome`] is how it ends.
//! [`configuration`] turns `offtake.yaml` into values that can be used, and [`context`] is what
//! every command makes of them. [`checks`] finds out about files, source and destinations.
//! [`daemon`] is `offtake run`. [`demo`] shows it all on [`private_server`]s.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod checks;
pub mod command_line;
pub mod commands;
pub mod configuration;
pub mod context;
pub mod daemon;
pub mod demo;
pub mod logging;
pub mod outcome;
pub mod private_server;
mod sql;
