//! What a callback tells of an export's end.

use std::sync::Arc;

use offtake_jobs::{Job, State, job};
use offtake_postgres::{Error, SourcePool};
use offtake_webhooks::{CallbackEvent, CallbackParts};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::configuration::Configuration;
use crate::export_item::item;

/// Callbacks are signed with the configuration's secret, and read from the source when they are sent.
pub(crate) fn callbacks(pool: &SourcePool, configuration: &Configuration) -> CallbackParts {
    let pool = pool.clone();
    let secret = configuration.exports.callback_secret.as_ref();
    CallbackParts {
        secrets: secret.map(|secret| secret.0.clone()),
        events: Arc::new(move |job_id| {
            let pool = pool.clone();
            Box::pin(async move { read(&pool, job_id).await })
        }),
    }
}

async fn read(pool: &SourcePool, job_id: i64) -> Result<Option<CallbackEvent>, Error> {
    let job = job::read_by_number(&*pool.get().await?, job_id).await?;
    Ok(job.as_ref().and_then(event))
}

/// None: the export goes on again, or it has no callback.
fn event(job: &Job) -> Option<CallbackEvent> {
    let url = job.options["callback"]["url"].as_str()?.to_owned();
    let finished_at = job.finished_at?.to_string();
    let ending = match job.state {
        State::Completed => "completed",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        // It was completed, and its files are gone already.
        State::Expired if job.consistency.is_some() => "completed",
        _ => return None,
    };
    let mut told = item(job);
    // How telling it goes is no news to the receiver, and the same body is sent each time.
    told.callback = None;
    let body = json!({
        "type": format!("offtake.export.{ending}"),
        "timestamp": finished_at,
        "data": told,
    });
    let id = format!("{} {ending} {finished_at}", job.public_id);
    let id: String = Sha256::digest(id).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Some(CallbackEvent {
        url,
        id: format!("evt_{id}"),
        body: body.to_string().into(),
        of: finished_at,
    })
}
