//! One export, as programs and people are told of it.

use offtake_jobs::{Job, State};
use offtake_mapping::foreign;
use serde_json::Value;

use crate::export_item::{eta_seconds, item};

/// As `--json` prints it.
pub(super) fn of(job: &Job) -> Value {
    serde_json::to_value(item(job)).unwrap_or_default()
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
