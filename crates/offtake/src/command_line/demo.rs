//! `offtake demo`: how large and how long it is.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration;

#[derive(Debug, Args)]
pub struct Demo {
    /// How many tenants: 3, each with a database of its own, or 10 000 with --shared.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tenants: Option<u32>,
    /// All tenants have one database, and one row each.
    #[arg(long)]
    pub shared: bool,
    /// What the customers have: databases on a second server, or files.
    #[arg(long, value_enum, default_value_t = DemoDestination::Postgres, conflicts_with = "shared", value_name = "KIND")]
    pub destination: DemoDestination,
    /// How long the sample application writes.
    #[arg(long = "for", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub for_: Duration,
    /// Writes per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Where the dashboard listens.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: std::net::SocketAddr,
}

/// The kind of the destinations of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoDestination {
    Postgres,
    Sqlite,
}
