//! Offtake as a library: everything of the binary that tests and the demo start in their own
//! process.
//!
//! [`command_line`] says what can be typed, [`commands`] does it, [`outcome`] is how it ends.
//! [`run::Daemon`] is `offtake run`: it starts the loops under [`supervision`], keeps the mappings
//! as the folder has them ([`mapping_reload`], [`triggers`]) and the registry as configuration and
//! query have it ([`destinations`]). [`configuration`] turns `offtake.yaml` into values that can be
//! used. [`demo`] shows it all on throwaway servers.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod command_line;
pub mod commands;
pub mod configuration;
pub mod demo;
pub mod destinations;
mod explain;
mod feedback;
pub mod logging;
mod loops;
pub mod mapping_files;
pub mod mapping_reload;
pub mod outcome;
pub mod plan;
mod probing;
pub mod run;
pub mod source;
mod sql;
pub mod supervision;
pub mod systemd;
mod text_file;
pub mod triggers;
mod unwatched;
mod verification;
