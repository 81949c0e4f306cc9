//! One export, as programs are told of it: by `--json` and by HTTP.

use std::time::Duration;

use jiff::Timestamp;
use offtake_admin::exports::{Export, ExportCallback, ExportProgress};
use offtake_admin::jobs::JobState;
use offtake_admin::status::Long;
use offtake_jobs::{Job, State};
use serde_json::Value;

/// Rates are of the whole time since the export began, pauses included. A resumption moves the
/// beginning by the time that the export had ended.
fn rows_per_second(job: &Job) -> Option<f64> {
    let began = job.started_at?.as_millisecond() as f64 / 1000.0;
    let end = job.finished_at.map_or(job.now, |at| at.as_millisecond() as f64 / 1000.0);
    let seconds = end - began;
    (seconds > 0.0 && job.rows_done > 0).then(|| job.rows_done as f64 / seconds)
}

pub(crate) fn eta_seconds(job: &Job) -> Option<i64> {
    let rate = rows_per_second(job).filter(|_| job.state.goes_on())?;
    let left = job.rows_total?.saturating_sub(job.rows_done).max(0);
    Some((left as f64 / rate).ceil() as i64)
}

/// When the export is likely to be done, by the source's clock.
fn estimated_completion(job: &Job) -> Option<Timestamp> {
    let left = Duration::from_secs(eta_seconds(job)?.unsigned_abs());
    let now = Timestamp::from_second(job.now as i64).ok()?;
    now.checked_add(left).ok()
}

pub(crate) fn item(job: &Job) -> Export {
    let text = |name: &str| job.options[name].as_str().unwrap_or_default().to_owned();
    let files = job.files.as_ref();
    Export {
        id: job.public_id.clone(),
        tenant: job.tenant_id.clone(),
        format: text("format"),
        compression: text("compression"),
        state: state_of(job.state),
        reason: job.reason.clone(),
        store: job.store.clone(),
        folder: job.folder.clone(),
        created_at: job.created_at,
        started_at: job.started_at,
        finished_at: job.finished_at,
        expires_at: job.expires_at,
        progress: ExportProgress {
            rows_done: job.rows_done,
            rows_total: job.rows_total,
            rows_total_exact: job.state == State::Completed,
            percent: job.percent,
            bytes_written: job.bytes_done,
            rows_per_second: rows_per_second(job).map(f64::round),
            eta_seconds: eta_seconds(job),
            estimated_completion_at: estimated_completion(job),
            mapping: job.mapping.clone(),
            round: job.round,
        },
        sequence_id: job.sequence_id.map(Long),
        from_sequence_id: job.from_sequence_id.map(Long),
        epoch: job.epoch.clone(),
        consistency: job.consistency.clone(),
        files: files.and_then(|files| serde_json::from_value(files.clone()).ok()),
        callback: callback(job),
    }
}

/// The callback's URL, as far as it may be shown, and how the last attempt went. What was noted of
/// the end before a resumption says nothing of the next end.
fn callback(job: &Job) -> Option<ExportCallback> {
    let url = job.options["callback"]["url"].as_str()?;
    let shown = offtake_webhooks::Url::parse(url).map(|url| url.shown());
    let ended = job.finished_at.map(|at| at.to_string());
    let of_this_end = |noted: &&Value| ended.is_some() && noted["of"].as_str() == ended.as_deref();
    let last = job.callback.as_ref().filter(of_this_end).unwrap_or(&Value::Null);
    Some(ExportCallback {
        url: shown.unwrap_or_default(),
        attempts: last["attempts"].as_i64().unwrap_or_default(),
        delivered: last["delivered"] == true,
        gave_up: last["gave_up"] == true,
        status: last["status"].as_u64().and_then(|status| u16::try_from(status).ok()),
        error: last["error"].as_str().map(str::to_owned),
    })
}

pub(crate) fn state_of(state: State) -> JobState {
    match state {
        State::Accepted => JobState::Accepted,
        State::Processing => JobState::Processing,
        State::Paused => JobState::Paused,
        State::Settling => JobState::Settling,
        State::Completed => JobState::Completed,
        State::Expired => JobState::Expired,
        State::Failed => JobState::Failed,
        State::Cancelled => JobState::Cancelled,
    }
}
