//! The status: the JSON of `GET /api/v1/status`, read from the source database alone.
//!
//! What only a running daemon knows (its configuration, its loops, its rates) is null or empty
//! here; [`crate::http`] fills it in.

mod destination;
mod judgement;
mod overview;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use tokio_postgres::Client;

use crate::readiness::LoopStatus;
use crate::webhooks::count_states as count_webhooks;
use crate::{Error, State, moment, operations, sql};

pub use destination::{
    Backfill, Destination, DestinationMapping, destinations, destinations_after,
    destinations_containing,
};
pub(crate) use overview::Overview;

/// At most this many destinations are in a status, the worst states first; `GET
/// /api/v1/destinations` pages through all. A person scrolls through no more, and they are 1 MB of
/// JSON.
const DESTINATIONS_MAX: usize = 1000;

/// A count or an id. In JSON it is a string, because JavaScript's numbers lose digits beyond 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Long(pub i64);

impl JsonSchema for Long {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Long".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^-?[0-9]{1,19}$" })
    }
}

impl Serialize for Long {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The whole status. Counts that could be costly stop at 100 001, which stands for "more than
/// 100 000".
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Status {
    pub version: &'static str,
    /// The source's current epoch; null before `offtake init` has finished.
    pub epoch: Option<String>,
    pub config: Option<Config>,
    /// The daemons on this source, the oldest first.
    pub daemons: Vec<Daemon>,
    /// The loops of this process; empty without a daemon.
    pub loops: Vec<LoopStatus>,
    pub fuses: Vec<Fuse>,
    pub sequencer: Sequencer,
    pub poller: Poller,
    pub sync: Sync,
    pub webhooks: Webhooks,
    pub mappings: Vec<Mapping>,
    pub deleted_rows: DeletedRows,
    pub quarantined_rows: Long,
    pub quarantined_events: Long,
    /// The worst states first, then by tenant and name. Where not all are listed, those of which
    /// nothing speaks against `in_sync` are left out first.
    pub destinations: Vec<Destination>,
    /// How many more there are than `destinations` lists.
    pub destinations_not_listed: usize,
}

/// The configuration in use.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Config {
    pub loaded_at: Timestamp,
    /// Why the files on disk are not in use: what is wrong with them.
    pub error: Option<String>,
}

/// A daemon that runs, or that ended without a word in the last hour.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Daemon {
    pub process: String,
    pub version: String,
    /// The machine's or the container's own name.
    pub host: String,
    /// Where its HTTP listens.
    pub listen: String,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// It was seen in the last minute.
    pub running: bool,
    /// It is the one that answers.
    pub this: bool,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Fuse {
    pub name: String,
    /// False: the fuse is blown, and what it is named after stands still.
    pub enabled: bool,
    pub reason: Option<String>,
    /// When a blown fuse heals by itself.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Sequencer {
    pub pending_changes: Long,
    pub oldest_pending_seconds: Option<f64>,
    pub last_sequence_id: Long,
    pub rows_per_second: Option<f64>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Poller {
    /// Numbered changes that no poller has seen yet.
    pub pending_changes: Long,
    pub oldest_pending_seconds: Option<f64>,
    /// Destinations that are owed a sync.
    pub owed: i64,
    /// Webhooks that are owed events.
    pub owed_webhooks: i64,
    /// Those of both that are due, and that no worker has.
    pub due: i64,
    /// Those of both whose last attempt failed.
    pub failing: i64,
    pub in_flight: i64,
    pub expired_leases: i64,
    pub oldest_owed_seconds: Option<f64>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Sync {
    /// How many are in each state; every state is listed.
    pub destinations: BTreeMap<&'static str, usize>,
    /// Counted by this process since it started.
    pub rows_applied_total: Option<Long>,
    pub rows_per_second: Option<f64>,
}

/// The webhooks in short. `GET /api/v1/webhooks` pages through all.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Webhooks {
    /// How many are in each state; every state is listed.
    pub states: BTreeMap<&'static str, usize>,
    /// Acknowledged since they were registered, counted by all daemons.
    pub events_total: Long,
    /// Acknowledged to this process.
    pub events_per_second: Option<f64>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Mapping {
    pub name: String,
    /// Null while the registry does not know it.
    pub source_table: Option<String>,
    /// The newest change that concerns any destination; null if the log has none.
    pub max_sequence_id: Option<Long>,
    pub destinations: usize,
    pub destinations_behind: usize,
}

#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct DeletedRows {
    pub total: Long,
    pub by_table: BTreeMap<String, Long>,
}

impl Mapping {
    fn new(name: &str, source_table: Option<&String>) -> Self {
        Self {
            name: name.to_owned(),
            source_table: source_table.cloned(),
            max_sequence_id: None,
            destinations: 0,
            destinations_behind: 0,
        }
    }
}

/// What a status tells of the destinations.
struct Fleet {
    states: BTreeMap<&'static str, usize>,
    mappings: Vec<Mapping>,
    listed: Vec<Destination>,
}

impl Fleet {
    /// The destinations of one tenant.
    fn of_tenant(mut listed: Vec<Destination>, uncaptured: &BTreeMap<String, String>) -> Self {
        doubt(&mut listed, uncaptured);
        let (states, mappings) = (count_states(&listed), summarise_mappings(&listed));
        Self { states, mappings, listed }
    }

    /// All destinations; lists at most `listed_max`, those that are not in sync first.
    async fn of_all(
        source: &Client,
        uncaptured: &BTreeMap<String, String>,
        listed_max: usize,
    ) -> Result<Self, Error> {
        let mut overview = Overview::read(source).await?;
        overview.doubt(uncaptured);
        let (states, mappings) = (overview.states(), overview.mappings());
        let room = listed_max.saturating_sub(overview.unsettled.len());
        let mut settled = match room {
            0 => Vec::new(),
            _ => overview.settled_after(source, (None, None), None, room).await?,
        };
        doubt(&mut settled, uncaptured);
        let mut listed = overview.unsettled;
        listed.append(&mut settled);
        Ok(Self { states, mappings, listed })
    }
}

/// At most `limit` of the destinations in this state, by tenant and name, after this tenant and
/// name. It costs those that may be in it, and a page.
pub async fn destinations_in_state(
    source: &Client,
    state: State,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Destination>, Error> {
    let overview = Overview::read_in(source, Some(state)).await?;
    let settled = overview.settled_after(source, (Some(state), None), after, limit).await?;
    let mut found = overview.unsettled;
    found.retain(|d| d.state == state && after.is_none_or(|after| (&*d.tenant, &*d.name) > after));
    found.extend(settled);
    found.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
    found.truncate(limit);
    Ok(found)
}

/// Reads the status. `tenant` narrows the destinations, the mappings and the counts over them. The
/// numbers of the loops stay those of all tenants.
pub async fn collect(source: &Client, tenant: Option<&str>) -> Result<Status, Error> {
    collect_beside(source, tenant, &BTreeMap::new()).await
}

/// The same beside what the caller has found out about the triggers: `uncaptured` has mappings
/// whose changes may go by unseen, each with the reason.
pub async fn collect_beside(
    source: &Client,
    tenant: Option<&str>,
    uncaptured: &BTreeMap<String, String>,
) -> Result<Status, Error> {
    let fleet = match tenant {
        None => Fleet::of_all(source, uncaptured, DESTINATIONS_MAX).await?,
        Some(_) => Fleet::of_tenant(destinations(source, tenant, None).await?, uncaptured),
    };
    around(source, fleet, tenant).await
}

/// The status of all tenants, with those destinations only that lag longest: at most `worst`.
pub(crate) async fn collect_totals(source: &Client, worst: usize) -> Result<Status, Error> {
    let mut fleet = Fleet::of_all(source, &BTreeMap::new(), 0).await?;
    fleet.listed.sort_by(|a, b| {
        let of_equal = || b.consecutive_failures.cmp(&a.consecutive_failures);
        b.lag_seconds.total_cmp(&a.lag_seconds).then_with(of_equal)
    });
    fleet.listed.truncate(worst);
    around(source, fleet, None).await
}

/// What a status has beside the destinations.
async fn around(source: &Client, fleet: Fleet, tenant: Option<&str>) -> Result<Status, Error> {
    let Fleet { states, mappings, mut listed } = fleet;
    let summary = source.query_one(sql::READ_SUMMARY, &[]).await?;
    let fuses = operations::fuses(source).await?;
    let mut deleted_rows = DeletedRows::default();
    for row in source.query(sql::COUNT_DELETED_ROWS, &[]).await? {
        let rows: i64 = row.get("rows");
        deleted_rows.total.0 += rows;
        deleted_rows.by_table.insert(row.get("source_table"), Long(rows));
    }
    listed.sort_by(|a, b| (a.state, &a.tenant, &a.name).cmp(&(b.state, &b.tenant, &b.name)));
    listed.truncate(DESTINATIONS_MAX);
    let destinations_not_listed = states.values().sum::<usize>().saturating_sub(listed.len());
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        epoch: summary.get("epoch"),
        config: None,
        daemons: daemons(source).await?,
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
            pending_changes: Long(summary.get("unpolled_changes")),
            oldest_pending_seconds: summary
                .get::<_, Option<f64>>("oldest_unpolled_seconds")
                .map(|seconds| rounded(seconds.max(0.0))),
            owed: summary.get("owed"),
            owed_webhooks: summary.get("owed_webhooks"),
            due: summary.get("due"),
            failing: summary.get("failing"),
            in_flight: summary.get("in_flight"),
            expired_leases: summary.get("expired_leases"),
            oldest_owed_seconds: summary.get::<_, Option<f64>>("oldest_owed_seconds").map(rounded),
        },
        sync: Sync { destinations: states, rows_applied_total: None, rows_per_second: None },
        webhooks: Webhooks {
            states: count_webhooks(source, tenant).await?,
            events_total: Long(summary.get("events_delivered")),
            events_per_second: None,
        },
        mappings,
        deleted_rows,
        quarantined_rows: Long(summary.get("quarantined_rows")),
        quarantined_events: Long(summary.get("quarantined_events")),
        destinations: listed,
        destinations_not_listed,
    })
}

async fn daemons(source: &Client) -> Result<Vec<Daemon>, Error> {
    let rows = source.query(sql::LIST_DAEMONS, &[]).await?;
    let daemons = rows.iter().map(|row| Daemon {
        process: row.get("process"),
        version: row.get("version"),
        host: row.get("host"),
        listen: row.get("listen"),
        started_at: moment::required(row, "started_at"),
        seen_at: moment::required(row, "seen_at"),
        running: row.get("running"),
        this: false,
    });
    Ok(daemons.collect())
}

/// Takes back of these destinations that they are in sync where changes may go by unseen.
pub(crate) fn doubt(destinations: &mut [Destination], uncaptured: &BTreeMap<String, String>) {
    destinations.iter_mut().for_each(|destination| destination.doubt(uncaptured));
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
        let new = || Mapping::new(&mapping.name, mapping.source_table.as_ref());
        let summary = by_name.entry(&mapping.name).or_insert_with(new);
        summary.max_sequence_id = summary.max_sequence_id.max(mapping.latest_sequence_id);
        summary.destinations += 1;
        summary.destinations_behind += usize::from(mapping.behind());
    }
    by_name.into_values().collect()
}

/// Rounds to thousandths: people read these seconds, rates and percentages.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
