//! One export, as programs and people are told of it.

use offtake_jobs::{Job, State};
use offtake_mapping::foreign;
use serde_json::{Value, json};

/// Rates are of the whole time since the export began, pauses included.
fn rows_per_second(job: &Job) -> Option<f64> {
    let began = job.started_at?.as_millisecond() as f64 / 1000.0;
    let end = job.finished_at.map_or(job.now, |at| at.as_millisecond() as f64 / 1000.0);
    let seconds = end - began;
    (seconds > 0.0 && job.rows_done > 0).then(|| job.rows_done as f64 / seconds)
}

fn eta_seconds(job: &Job) -> Option<i64> {
    let rate = rows_per_second(job).filter(|_| job.state.goes_on())?;
    let left = job.rows_total?.saturating_sub(job.rows_done).max(0);
    Some((left as f64 / rate).ceil() as i64)
}

/// As `--json` prints it.
pub(super) fn of(job: &Job) -> Value {
    json!({
        "id": job.public_id,
        "tenant": job.tenant_id,
        "format": job.options["format"],
        "compression": job.options["compression"],
        "state": job.state.as_str(),
        "reason": job.reason,
        "folder": job.folder,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "expires_at": job.expires_at,
        "progress": {
            "rows_done": job.rows_done,
            "rows_total": job.rows_total,
            "rows_total_exact": job.state == State::Completed,
            "percent": job.percent,
            "bytes_written": job.bytes_done,
            "rows_per_second": rows_per_second(job).map(f64::round),
            "eta_seconds": eta_seconds(job),
            "mapping": job.mapping,
            "round": job.round,
        },
        "sequence_id": job.sequence_id.map(|id| id.to_string()),
        "from_sequence_id": job.from_sequence_id.map(|id| id.to_string()),
        "epoch": job.epoch,
        "consistency": job.consistency,
        "files": job.files,
    })
}

/// As a person reads it.
pub(super) fn text(job: &Job) -> String {
    let mut lines = vec![
        format!("{}  {}", job.public_id, job.state.as_str()),
        format!("  tenant       {}", foreign(&job.tenant_id)),
        format!("  format       {}", job.options["format"].as_str().unwrap_or_default()),
    ];
    if let Some(reason) = &job.reason {
        lines.push(format!("  reason       {}", foreign(reason)));
    }
    if let Some(folder) = &job.folder {
        lines.push(format!("  folder       {}", foreign(folder)));
    }
    let of = job.rows_total.map_or(String::new(), |total| format!(" of about {total}"));
    let of = if job.state == State::Completed { String::new() } else { of };
    let (rows, percent, bytes) = (job.rows_done, job.percent, job.bytes_done);
    lines.push(format!("  rows         {rows}{of} ({percent} %), {bytes} bytes"));
    if let Some(seconds) = eta_seconds(job) {
        lines.push(format!("  time left    about {seconds} s"));
    }
    if let (Some(consistency), Some(id)) = (&job.consistency, job.sequence_id) {
        lines.push(format!("  consistency  {consistency}, at sequence id {id}"));
    }
    for file in job.files.as_ref().and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!(
            "  file         {}  {} bytes  {} rows",
            foreign(file["name"].as_str().unwrap_or_default()),
            file["size"],
            file["rows"]
        ));
    }
    lines.join("\n")
}

/// A line of the list.
pub(super) fn row(job: &Job) -> [String; 6] {
    [
        job.public_id.clone(),
        job.tenant_id.clone(),
        job.options["format"].as_str().unwrap_or_default().to_owned(),
        job.state.as_str().to_owned(),
        job.rows_done.to_string(),
        format!("{} %", job.percent),
    ]
}
