//! The rows of the benchmark's table, one module each.

mod audit;
mod beside_copies;
mod capture_forms;
mod catch_up;
mod d1_database;
mod daemons;
mod export_file;
mod first_copy;
mod idle;
mod latency;
mod many_databases;
mod shared_place;
mod sqlite_file;
mod statement;
mod update;
mod webhook;
mod webhooks;

use crate::row::Row;

/// In the order in which they are measured.
pub(crate) const ROWS: [&Row; 17] = [
    &update::ROW,
    &latency::ROW,
    &catch_up::ROW,
    &statement::ROW,
    &first_copy::ROW,
    &sqlite_file::ROW,
    &d1_database::ROW,
    &shared_place::ROW,
    &many_databases::ROW,
    &beside_copies::ROW,
    &daemons::ROW,
    &idle::ROW,
    &webhook::ROW,
    &webhooks::ROW,
    &audit::ROW,
    &export_file::ROW,
    &capture_forms::ROW,
];

/// The sides that several rows have.
const OFFTAKE: &str = "Offtake";
const BUILT_IN: &str = "built-in logical replication";
const NO_CAPTURE: &str = "no capture";
const TRIGGERS: &str = "triggers only";
