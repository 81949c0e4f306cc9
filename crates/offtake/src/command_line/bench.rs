//! `offtake bench`: what can be measured on the user's own data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::JSON;

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Measure what capture costs the statements that write a table: single rows and many, with
    /// capture and without.
    ///
    /// On copies of the table's definition and some of its rows, in a schema of its own at the
    /// source, which is always dropped. The table itself is only read. Works before `offtake init`.
    #[command(after_help = BENCH_CAPTURE)]
    Capture(BenchCapture),
}

pub(super) const BENCH_CAPTURE: &str = "Examples:\n  offtake bench capture --table public.users\n  \
                             offtake bench capture --table app.orders --rows 100000 --rounds 10 --json";

#[derive(Debug, Args)]
pub struct BenchCapture {
    /// The table, as schema.table. A mapping must name it.
    #[arg(long)]
    pub table: String,
    /// Read the mappings of this folder instead of the one in use.
    #[arg(long, value_name = "FOLDER")]
    pub mappings: Option<PathBuf>,
    /// Copy at most so many rows, and at most 64 MB of them.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rows: u32,
    /// How often each statement is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    #[arg(long, help = JSON)]
    pub json: bool,
}
