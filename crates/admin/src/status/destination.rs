//! One destination, read from the registry, the log and the outgoing requests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::judgement::{Facts, judge};
use super::{Long, rounded};
use crate::{Error, State, json_text, moment, sql};

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Destination {
    pub tenant: String,
    pub name: String,
    pub kind: String,
    pub state: State,
    /// Why it is not in sync, in one line; null if it is in sync, or if the state is reason enough.
    pub reason: Option<String>,
    /// Changes that concern it and are not applied there yet, counted once per mapping; also those
    /// that are not sequenced yet.
    pub lag_rows: Long,
    /// Age of the oldest of them; 0 when there is none.
    pub lag_seconds: f64,
    /// Since when every copy is proved equal to its query: the oldest of its mappings' times. Null
    /// if one was never proved.
    pub verified_at: Option<Timestamp>,
    /// Rows that the latest comparisons found to differ; null before the first has ended.
    pub differences: Option<Long>,
    pub last_success_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
    pub consecutive_failures: i32,
    /// When the owed sync is due; null if nothing is owed.
    pub next_attempt_at: Option<Timestamp>,
    /// An operator paused it. Where a fuse is blown, only `state` is `paused`.
    pub paused: bool,
    pub paused_until: Option<Timestamp>,
    pub host: String,
    pub port: i32,
    pub database: String,
    pub user: String,
    pub schema: String,
    pub shared: bool,
    pub mappings: Vec<DestinationMapping>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DestinationMapping {
    pub name: String,
    pub source_table: Option<String>,
    /// The cursor, as last mirrored; null before the first sync.
    pub sequence_id: Option<Long>,
    /// The newest change of its table that concerns this destination.
    pub latest_sequence_id: Option<Long>,
    /// Changes beyond the cursor, counted up to 100 001 per table.
    pub backlog: Long,
    pub backfill: Backfill,
    /// Since when a re-copy waits for a worker. An operator asked for it, or a daemon with other
    /// mapping files overlooked changes.
    pub resync_requested_at: Option<Timestamp>,
    pub quarantined: Long,
    /// When the latest comparison began that found the copy equal to its query; null: none did.
    pub verified_at: Option<Timestamp>,
    /// Rows that the latest comparison found to differ; null: none has ended since the copy began.
    pub differences: Option<Long>,
    /// Why the latest audit could not compare the copy.
    pub audit_error: Option<String>,
    pub error: Option<String>,
    /// When this mapping is retried after an error of its own.
    pub retry_at: Option<Timestamp>,
}

impl Destination {
    /// Whether [`destinations_containing`] would find it by this text, which is in lower case.
    pub(crate) fn contains(&self, text: &str) -> bool {
        let told = [&self.tenant, &self.name, &self.host, &self.database];
        told.iter().any(|told| told.to_lowercase().contains(text))
    }

    /// Takes back that it is in sync where changes of one of its mappings may go by unseen.
    pub(super) fn doubt(&mut self, uncaptured: &BTreeMap<String, String>) {
        let unseen = self.mappings.iter().find_map(|m| uncaptured.get_key_value(&m.name));
        if let (State::InSync, Some((mapping, why))) = (self.state, unseen) {
            self.state = State::Blocked;
            self.reason = Some(format!("mapping {mapping} waits: {why}"));
        }
    }
}

impl DestinationMapping {
    /// Whether rows of its table may be missing or stale in the destination.
    pub fn behind(&self) -> bool {
        self.backfill.state != "done" || self.backlog.0 > 0 || self.resync_requested_at.is_some()
    }
}

/// The initial copy of one mapping.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Backfill {
    /// `pending`, `running` or `done`.
    #[schemars(extend("enum" = ["pending", "running", "done"]))]
    pub state: &'static str,
    pub rows_done: Long,
    /// The planner's estimate when it began.
    pub rows_total: Option<Long>,
    pub percent: Option<f64>,
    pub eta_seconds: Option<f64>,
}

/// A mapping of a destination, as `list_destinations.sql` builds it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MappingFacts {
    pub(super) name: String,
    source_tables: Vec<String>,
    pub(super) mirrored: bool,
    pub(super) sequence_id: Option<i64>,
    pub(super) backfilled: bool,
    rows_done: Option<i64>,
    rows_total: Option<i64>,
    #[serde(deserialize_with = "moment::in_json")]
    backfill_started_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment::in_json")]
    pub(super) resync_requested_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment::in_json")]
    verified_at: Option<Timestamp>,
    pub(super) differences: Option<i64>,
    audit_error: Option<String>,
    pub(super) error: Option<String>,
    #[serde(deserialize_with = "moment::in_json")]
    retry_at: Option<Timestamp>,
    /// Why no daemon keeps it as it should be kept.
    pub(super) waits: Option<String>,
    pub(super) failures: i32,
    pub(super) fuse_blown: bool,
    pub(super) fuse_reason: Option<String>,
    pub(super) quarantined: i64,
    pub(super) latest: Option<i64>,
    pub(super) backlog: i64,
    #[serde(deserialize_with = "moment::in_json")]
    oldest_at: Option<Timestamp>,
}

/// The active destinations with this `tenant` and this `name`, sorted by both. None matches all.
pub async fn destinations(
    source: &Client,
    tenant: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Destination>, Error> {
    list(source, (tenant, name), None, None).await
}

/// The next `limit` of the active destinations with this `tenant` (None: all), by tenant and name,
/// after this tenant and name. Its cost does not depend on how many others there are.
pub async fn destinations_after(
    source: &Client,
    tenant: Option<&str>,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Destination>, Error> {
    list(source, (tenant, None), after, Some(limit)).await
}

/// The next `limit` of the active destinations of which the tenant, the name, the host or the database
/// contains `text`, whatever its case, by tenant and name, after this tenant and name.
pub async fn destinations_containing(
    source: &Client,
    text: &str,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Destination>, Error> {
    let (after_tenant, after_name) = after.unzip();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let text = text.to_lowercase();
    let parameters: [&(dyn ToSql + Sync); 4] = [&text, &after_tenant, &after_name, &limit];
    let rows = source.query(&*sql::LIST_SEARCHED, &parameters).await?;
    rows.iter().map(read).collect()
}

async fn list(
    source: &Client,
    (tenant, name): (Option<&str>, Option<&str>),
    after: Option<(&str, &str)>,
    limit: Option<usize>,
) -> Result<Vec<Destination>, Error> {
    let (after_tenant, after_name) = after.unzip();
    let limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let parameters: [&(dyn ToSql + Sync); 5] = [&tenant, &name, &after_tenant, &after_name, &limit];
    let rows = source.query(&*sql::LIST_NAMED, &parameters).await?;
    rows.iter().map(read).collect()
}

pub(super) fn read(row: &Row) -> Result<Destination, Error> {
    let mappings: Vec<MappingFacts> = serde_json::from_str(json_text::text(row, "mappings"))?;
    let now = moment::required(row, "read_at");
    let facts = Facts::read(row);
    let (state, reason) = judge(&facts, &mappings);
    let pending: i64 = row.get("pending_rows");
    let lag_rows = mappings.iter().map(|m| m.backlog).sum::<i64>() + pending;
    let lagging_since = mappings
        .iter()
        .filter_map(|m| m.oldest_at)
        .chain(moment::optional(row, "oldest_pending_at"))
        .min();
    // Rows that an unfinished copy has not reached have no change in the log, so the lag counts
    // from the beginning of the copy.
    let lacking_since = mappings
        .iter()
        .filter(|m| !m.backfilled)
        .map(|m| m.backfill_started_at.unwrap_or_else(|| moment::required(row, "created_at")))
        .min();
    let since = lagging_since
        .into_iter()
        .chain(lacking_since)
        .chain(facts.owed_since.filter(|_| facts.owed_beyond(&mappings)))
        .min();
    Ok(Destination {
        tenant: row.get("tenant_id"),
        name: row.get("name"),
        kind: row.get("kind"),
        state,
        reason,
        lag_rows: Long(lag_rows),
        lag_seconds: since.map_or(0.0, |since| seconds_between(since, now)),
        verified_at: verified_at(&mappings),
        differences: differences(&mappings),
        last_success_at: moment::optional(row, "last_success_at"),
        last_error: row.get("last_error"),
        last_error_at: moment::optional(row, "last_error_at"),
        consecutive_failures: row.get("consecutive_failures"),
        next_attempt_at: moment::optional(row, "not_before"),
        paused: facts.paused,
        paused_until: moment::optional(row, "paused_until").filter(|_| facts.paused),
        host: row.get("host"),
        port: row.get("port"),
        database: row.get("database_name"),
        user: row.get("user_name"),
        schema: row.get("schema_name"),
        shared: row.get("shared"),
        mappings: mappings.into_iter().map(|m| m.shown(now)).collect(),
    })
}

impl MappingFacts {
    /// Of a copy that stands, as far as is known. `fuse`: it is blown, for this reason.
    pub(super) fn settled(name: &str, fuse: Option<&Option<String>>, overlooked: bool) -> Self {
        Self {
            name: name.to_owned(),
            mirrored: true,
            backfilled: true,
            fuse_blown: fuse.is_some(),
            fuse_reason: fuse.cloned().flatten(),
            // Since when does not matter to its state.
            resync_requested_at: overlooked.then_some(Timestamp::UNIX_EPOCH),
            ..Self::default()
        }
    }

    fn shown(self, now: Timestamp) -> DestinationMapping {
        let backfill = self.backfill(now);
        let [source_table] =
            <[String; 1]>::try_from(self.source_tables).map_or([None], |[table]| [Some(table)]);
        DestinationMapping {
            name: self.name,
            source_table,
            sequence_id: self.sequence_id.map(Long),
            latest_sequence_id: self.latest.map(Long),
            backlog: Long(self.backlog),
            backfill,
            resync_requested_at: self.resync_requested_at,
            quarantined: Long(self.quarantined),
            verified_at: self.verified_at,
            differences: self.differences.map(Long),
            audit_error: self.audit_error,
            error: self.waits.or(self.error),
            retry_at: self.retry_at,
        }
    }

    fn backfill(&self, now: Timestamp) -> Backfill {
        let state = match (self.backfilled, self.backfill_started_at) {
            (true, _) => "done",
            (false, Some(_)) => "running",
            (false, None) => "pending",
        };
        let rows_done = self.rows_done.unwrap_or(0);
        let mut percent = None;
        let mut eta_seconds = None;
        if self.backfilled {
            percent = Some(100.0);
        } else if let Some(total) = self.rows_total.filter(|total| *total > 0) {
            // The total is an estimate and may be too low: an unfinished copy shows at most 99 %.
            let share = (rows_done as f64 / total as f64).min(0.99);
            percent = Some(rounded(share * 100.0));
            let elapsed = self.backfill_started_at.map_or(0.0, |at| seconds_between(at, now));
            eta_seconds = (rows_done > 0).then(|| rounded(elapsed / share * (1.0 - share)));
        }
        Backfill {
            state,
            rows_done: Long(rows_done),
            rows_total: self.rows_total.map(Long),
            percent,
            eta_seconds,
        }
    }
}

/// The time of the copy whose proof is the oldest; None if one has none, or if there is no copy.
fn verified_at(mappings: &[MappingFacts]) -> Option<Timestamp> {
    let times: Option<Vec<Timestamp>> = mappings.iter().map(|m| m.verified_at).collect();
    times?.into_iter().min()
}

/// None if no copy was compared.
fn differences(mappings: &[MappingFacts]) -> Option<Long> {
    let compared = mappings.iter().any(|m| m.differences.is_some());
    compared.then(|| Long(mappings.iter().filter_map(|m| m.differences).sum()))
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    rounded(to.duration_since(from).as_secs_f64().max(0.0))
}
