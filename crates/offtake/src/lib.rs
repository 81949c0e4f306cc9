//! Offtake as a library: everything of the binary that tests and the demo start in their own
//! process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod arguments;
mod checks;
pub mod command_line;
pub mod commands;
pub mod configuration;
pub mod context;
pub mod daemon;
pub mod demo;
mod export_callbacks;
mod export_item;
mod export_wish;
pub mod logging;
pub mod outcome;
mod sql;
mod webhook_probe;
