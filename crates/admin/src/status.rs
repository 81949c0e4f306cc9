//! The status: the JSON of `GET /api/v1/status`, read from the source database alone.
//!
//! What only a running daemon knows (its configuration, its loops, its rates) is null here and
//! filled in by [`crate::http`].

mod destination;
mod judgement;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio_postgres::Client;

use crate::readiness::LoopStatus;
use crate::{Error, State, operations, sql};

pub use destination::{Backfill, Destination, DestinationMapping, destinations};

/// A status lists at most so many destinations, the worst states first; `GET /api/v1/destinations`
/// pages through all. A thousand rows are as many as a person scrolls through, and 1 MB of JSON.
const DESTINATIONS_MAX: usize = 1000;

/// A count or an id that may not fit a JavaScript number: a string in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Long(pub i64);

impl Serialize for Long {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Everything at once. Counts that could be costly stop at 100 001, which reads as "more than 100
/// 000".
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub version: &'static str,
    /// The source's current history; null before `offtake init` has finished.
    pub epoch: Option<String>,
    pub config: Option<Config>,
    /// The loops of this process; empty without a daemon.
    pub loops: Vec<LoopStatus>,
    pub fuses: Vec<Fuse>,
    pub sequencer: Sequencer,
    pub poller: Poller,
    pub sync: Sync,
    pub mappings: Vec<Mapping>,
    pub deleted_rows: DeletedRows,
    pub quarantined_rows: Long,
    /// The worst states first, then by tenant and name.
    pub destinations: Vec<Destination>,
    /// How many more there are than `destinations` lists.
    pub destinations_not_listed: usize,
}

/// The configuration in use.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    pub loaded_at: Timestamp,
    /// Why what is on disk is not what is in use.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Fuse {
    pub name: String,
    /// True: what it guards runs.
    pub enabled: bool,
    pub reason: Option<String>,
    /// When a blown fuse heals by itself.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Sequencer {
    pub pending_changes: Long,
    pub oldest_pending_seconds: Option<f64>,
    pub last_sequence_id: Long,
    pub rows_per_second: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Poller {
    pub owed: i64,
    pub in_flight: i64,
    pub expired_leases: i64,
    pub oldest_owed_seconds: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Sync {
    /// How many are in each state; every state is listed.
    pub destinations: BTreeMap<&'static str, usize>,
    /// By this process, since it started.
    pub rows_applied_total: Option<Long>,
    pub rows_per_second: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Mapping {
    pub name: String,
    /// Null while the registry does not say.
    pub source_table: Option<String>,
    /// The newest change that any destination needs; null if the log holds none.
    pub max_sequence_id: Option<Long>,
    pub destinations: usize,
    pub destinations_behind: usize,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct DeletedRows {
    pub total: Long,
    pub by_table: BTreeMap<String, Long>,
}

/// Reads the status. `tenant` narrows destinations, mappings and what is counted over them, not the
/// loops' own numbers.
pub async fn collect(source: &Client, tenant: Option<&str>) -> Result<Status, Error> {
    let summary = source.query_one(sql::READ_SUMMARY, &[]).await?;
    let fuses = operations::fuses(source).await?;
    let mut deleted_rows = DeletedRows::default();
    for row in source.query(sql::COUNT_DELETED_ROWS, &[]).await? {
        let rows: i64 = row.get("rows");
        deleted_rows.total.0 += rows;
        deleted_rows.by_table.insert(row.get("source_table"), Long(rows));
    }
    let mut listed = destinations(source, tenant, None).await?;
    let counts = count_states(&listed);
    let mappings = summarise_mappings(&listed);
    listed.sort_by(|a, b| (a.state, &a.tenant, &a.name).cmp(&(b.state, &b.tenant, &b.name)));
    let destinations_not_listed = listed.len().saturating_sub(DESTINATIONS_MAX);
    listed.truncate(DESTINATIONS_MAX);
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        epoch: summary.get("epoch"),
        config: None,
        loops: Vec::new(),
        fuses,
        sequencer: Sequencer {
            pending_changes: Long(summary.get("pending_changes")),
            oldest_pending_seconds: summary
                .get::<_, Option<f64>>("oldest_pending_seconds")
                .map(rounded),
            last_sequence_id: Long(summary.get("last_sequence_id")),
            rows_per_second: None,
        },
        poller: Poller {
            owed: summary.get("owed"),
            in_flight: summary.get("in_flight"),
            expired_leases: summary.get("expired_leases"),
            oldest_owed_seconds: summary.get::<_, Option<f64>>("oldest_owed_seconds").map(rounded),
        },
        sync: Sync { destinations: counts, rows_applied_total: None, rows_per_second: None },
        mappings,
        deleted_rows,
        quarantined_rows: Long(summary.get("quarantined_rows")),
        destinations: listed,
        destinations_not_listed,
    })
}

fn count_states(destinations: &[Destination]) -> BTreeMap<&'static str, usize> {
    let mut counts: BTreeMap<_, _> = State::ALL.iter().map(|state| (state.as_str(), 0)).collect();
    for destination in destinations {
        *counts.entry(destination.state.as_str()).or_default() += 1;
    }
    counts
}

fn summarise_mappings(destinations: &[Destination]) -> Vec<Mapping> {
    let mut by_name: BTreeMap<&str, Mapping> = BTreeMap::new();
    for mapping in destinations.iter().flat_map(|d| &d.mappings) {
        let summary = by_name.entry(&mapping.name).or_insert_with(|| Mapping {
            name: mapping.name.clone(),
            source_table: mapping.source_table.clone(),
            max_sequence_id: None,
            destinations: 0,
            destinations_behind: 0,
        });
        summary.max_sequence_id = summary.max_sequence_id.max(mapping.latest_sequence_id);
        summary.destinations += 1;
        summary.destinations_behind += usize::from(mapping.behind());
    }
    by_name.into_values().collect()
}

/// Seconds, rates and percentages are read by people; thousandths are noise enough.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
