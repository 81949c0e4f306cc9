//! What the source records of a webhook while a worker holds its request: cursors, quarantined
//! events, attempts.
//!
//! Every statement carries the lease and changes nothing after another worker's claim.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use offtake_postgres::{PooledConnection, SourcePool};
use offtake_reading::MappingFault;
use offtake_requests::{Lease, WebhookCursor};
use serde_json::{Value, json};
use tokio_postgres::types::{Json, ToSql};

use crate::{Error, EventSchedule, sql};

/// A session keeps the plans of its first executions, and the tables may be empty then.
const BEGIN: &str = "begin; set local enable_seqscan = off";

/// What a turn has reached and the source does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) cursors: Vec<Moved>,
    pub(crate) quarantined: Vec<QuarantinedEvent>,
    /// Mapping and row key of events that were acknowledged and may be in quarantine.
    pub(crate) released: Vec<(String, String)>,
    /// How far each replay was told.
    pub(crate) replays: Vec<(i64, i64)>,
    pub(crate) delivered: i64,
    pub(crate) failed: i64,
    pub(crate) last_status: Option<u16>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) state: Option<(&'static str, Option<String>)>,
    /// Part of every event's id; raised where a resync is noted.
    pub(crate) generation: i64,
}

/// Reason and sequence id of a resync.
pub(crate) type Owed = (Option<String>, Option<i64>);

/// A cursor that moved.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) cursor: WebhookCursor,
    /// Which resync was owed when the source was last asked.
    pub(crate) was: Owed,
    /// Rows that a backfill told with this step.
    pub(crate) rows: i64,
    /// A backfill begins.
    pub(crate) begun: bool,
}

/// An event that is set aside.
#[derive(Debug)]
pub(crate) struct QuarantinedEvent {
    pub(crate) mapping: String,
    pub(crate) row_key: String,
    pub(crate) sequence_id: i64,
    pub(crate) captured_at: String,
    pub(crate) status: Option<u16>,
    pub(crate) error: String,
    pub(crate) sqlstate: Option<String>,
    /// No attempt is left.
    pub(crate) exhausted: bool,
}

/// A request that was sent.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    pub(crate) mapping: Option<String>,
    pub(crate) row_key: Option<String>,
    pub(crate) events: usize,
    pub(crate) event_id: String,
    pub(crate) sequence_id: i64,
    pub(crate) attempt: i64,
    pub(crate) status: Option<u16>,
    pub(crate) class: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<String>,
}

impl Progress {
    /// Nothing but how much was acknowledged, and that nothing is owed any more.
    pub(crate) fn only_told(&self) -> bool {
        self.quarantined.is_empty()
            && self.released.is_empty()
            && self.replays.is_empty()
            && self.attempts.is_empty()
            && self.failed == 0
            && self.state == Some(("in_sync", None))
    }

    pub(crate) fn nothing(&self) -> bool {
        self.cursors.is_empty()
            && self.quarantined.is_empty()
            && self.released.is_empty()
            && self.replays.is_empty()
            && self.attempts.is_empty()
            && self.state.is_none()
            && (self.delivered, self.failed) == (0, 0)
    }
}

/// What became of a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    /// The request is still ours.
    Ours,
    /// The request is done.
    Completed,
    /// More is wanted by now; the request is given back, due again at once.
    MoreWanted,
    /// Another worker has the request: nothing was written.
    Lost,
}

/// A turn that has told everything, and of which nothing else is to be recorded.
#[derive(Debug)]
pub(crate) struct ToldAll {
    pub(crate) lease: Lease,
    /// The mappings of the webhook, whose cursors…
    pub(crate) mappings: Vec<String>,
    /// …all stand here.
    pub(crate) reached: i64,
    pub(crate) delivered: i64,
    pub(crate) last_status: Option<u16>,
}

/// [`save`] for many turns that have told everything, with the ends of their requests, in one
/// transaction. Returns what became of each request that is ours.
pub(crate) async fn save_group(
    pool: &SourcePool,
    done: &[&ToldAll],
) -> Result<HashMap<i64, Saved>, Error> {
    let mut connection = pool.get().await.map_err(Error::Source)?;
    let save = connection.prepare_cached(sql::SAVE_GROUP).await.map_err(Error::source)?;
    let ended: Vec<(Lease, i64)> = done.iter().map(|one| (one.lease, one.reached)).collect();
    let all = |of: fn(&ToldAll) -> i64| done.iter().map(|one| of(one)).collect::<Vec<i64>>();
    let requests = all(|one| one.lease.request_id);
    let attempts = all(|one| one.lease.attempt);
    let mappings: Vec<Value> = done.iter().map(|one| one.mappings.clone().into()).collect();
    let (reached, delivered) = (all(|one| one.reached), all(|one| one.delivered));
    let status = |one: &&ToldAll| one.last_status.map(i32::from);
    let statuses: Vec<Option<i32>> = done.iter().map(status).collect();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&requests, &attempts, &mappings, &reached, &delivered, &statuses];
    let mut ours: Vec<i64> = Vec::new();
    let first = async |session: &PooledConnection| {
        let rows = session.query(&save, &parameters).await?;
        ours = rows.iter().map(|row| row.get("request_id")).collect();
        Ok::<(), tokio_postgres::Error>(())
    };
    let completed = offtake_requests::complete_all_with(&mut connection, &ended, first).await;
    let completed = completed.map_err(Error::source)?;
    let saved = |id: i64| match completed.contains(&id) {
        true => (id, Saved::Completed),
        false => (id, Saved::MoreWanted),
    };
    Ok(ours.into_iter().map(saved).collect())
}

/// Writes what was reached, in one transaction. `reached`: and completes the request, if no more
/// than that is wanted by then.
pub(crate) async fn save(
    pool: &SourcePool,
    lease: Lease,
    progress: &Progress,
    schedule: &EventSchedule,
    reached: Option<i64>,
) -> Result<Saved, Error> {
    let mut connection = pool.get().await.map_err(Error::Source)?;
    let save = connection.prepare_cached(sql::SAVE_PROGRESS).await.map_err(Error::source)?;
    let note = connection.prepare_cached(sql::ADD_ATTEMPTS).await.map_err(Error::source)?;
    let cursors = Json(progress.cursors.iter().map(cursor).collect::<Vec<_>>());
    let waits = waits(schedule);
    let quarantined: Vec<Value> =
        progress.quarantined.iter().map(|event| quarantine(event, &waits, pool)).collect();
    let quarantined = Json(quarantined);
    let (mappings, keys): (Vec<&str>, Vec<Value>) = progress
        .released
        .iter()
        .map(|(mapping, key)| (mapping.as_str(), serde_json::from_str(key).unwrap_or_default()))
        .unzip();
    let (replays, replayed): (Vec<i64>, Vec<i64>) = progress.replays.iter().copied().unzip();
    let status = progress.last_status.map(i32::from);
    let state = progress.state.as_ref().map(|(state, _)| *state);
    let reason = progress.state.as_ref().and_then(|(_, reason)| reason.as_deref());
    let reason = reason.map(|reason| pool.storable(reason));
    let attempts = Json(progress.attempts.iter().map(|a| attempt(a, pool)).collect::<Vec<_>>());
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &lease.request_id,
        &lease.attempt,
        &cursors,
        &quarantined,
        &mappings,
        &keys,
        &replays,
        &replayed,
        &progress.delivered,
        &progress.failed,
        &status,
        &state,
        &reason,
        &progress.generation,
    ];
    let noted: [&(dyn ToSql + Sync); 3] = [&lease.request_id, &lease.attempt, &attempts];
    let mut ours = false;
    let mut write = async |session: &PooledConnection| {
        let saving = session.query_opt(&save, &parameters);
        let noting = async {
            match progress.attempts.is_empty() {
                true => Ok(0),
                false => session.execute(&note, &noted).await,
            }
        };
        let (saved, noted) = tokio::join!(biased; saving, noting);
        ours = saved?.is_some();
        noted.map(drop)
    };
    let Some(reached) = reached else {
        let work = async |session: &PooledConnection| write(session).await;
        offtake_postgres::PipelinedTransaction::whole(&mut connection, BEGIN, work)
            .await
            .map_err(Error::source)?;
        return Ok(if ours { Saved::Ours } else { Saved::Lost });
    };
    let work = async |session: &PooledConnection| write(session).await;
    let done = offtake_requests::complete_with(&mut connection, lease, reached, work).await;
    Ok(match (ours, done.map_err(Error::source)?) {
        (false, _) => Saved::Lost,
        (true, true) => Saved::Completed,
        (true, false) => Saved::MoreWanted,
    })
}

/// One cursor as [`sql::SAVE_PROGRESS`] takes it.
fn cursor(moved: &Moved) -> Value {
    let cursor = &moved.cursor;
    json!({
        "mapping": cursor.mapping,
        "sequence_id": cursor.sequence_id.to_string(),
        "epoch": cursor.epoch,
        "version": cursor.version,
        "need": cursor.need,
        "resync_reason": cursor.resync_reason,
        "resync_sequence_id": cursor.resync_sequence_id.map(|id| id.to_string()),
        "was_reason": moved.was.0,
        "was_sequence_id": moved.was.1.map(|id| id.to_string()),
        "backfilled": cursor.backfilled,
        "backfill_key": cursor.backfill_key,
        "rows": moved.rows,
        "begun": moved.begun,
    })
}

/// The waits between attempts at one event, in milliseconds.
fn waits(schedule: &EventSchedule) -> Vec<u64> {
    let wait = |failed: i32| schedule.after(failed, rand::random());
    let waits = (1..).map(wait).take_while(Option::is_some).flatten();
    waits.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)).collect()
}

fn quarantine(event: &QuarantinedEvent, waits: &[u64], pool: &SourcePool) -> Value {
    json!({
        "mapping": event.mapping,
        "row_key": serde_json::from_str::<Value>(&event.row_key).unwrap_or_default(),
        "sequence_id": event.sequence_id.to_string(),
        "captured_at": event.captured_at,
        "status": event.status,
        "error": pool.storable(&event.error),
        "sqlstate": event.sqlstate,
        "next_ms": waits,
        "exhausted": event.exhausted || waits.is_empty(),
    })
}

fn attempt(attempt: &Attempt, pool: &SourcePool) -> Value {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "ago_ms": ms(attempt.began.elapsed()),
        "mapping": attempt.mapping,
        "row_key": attempt.row_key,
        "events": attempt.events,
        "event_id": attempt.event_id,
        "sequence_id": attempt.sequence_id.to_string(),
        "attempt": attempt.attempt,
        "duration_ms": ms(attempt.took).min(i32::MAX as u64),
        "status": attempt.status,
        "class": attempt.class,
        "error": attempt.error.as_deref().map(|error| pool.storable(error)),
        "response": attempt.response.as_deref().map(|response| pool.storable(response)),
    })
}

/// What was recorded of a mapping's failure.
pub(crate) struct Noted {
    /// After how long it is tried again.
    pub(crate) retry: Duration,
    /// It did not fail the last time, or with another error.
    pub(crate) first: bool,
}

/// Records that the query of one mapping failed. None: another worker has the request.
pub(crate) async fn fail_mapping(
    pool: &SourcePool,
    lease: Lease,
    mapping: &str,
    fault: &MappingFault,
    retry: (Duration, Duration),
) -> Result<Option<Noted>, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let message = pool.storable(&fault.message);
    let (initial, max) = (ms(retry.0), ms(retry.1));
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&lease.request_id, &lease.attempt, &mapping, &fault.sqlstate, &message, &initial, &max];
    let row = connection.query_opt(sql::FAIL_WEBHOOK_MAPPING, &parameters).await;
    Ok(row.map_err(Error::source)?.map(|row| Noted {
        retry: Duration::from_millis(row.get::<_, i64>("retry_ms").max(0).unsigned_abs()),
        first: row.get("first"),
    }))
}
