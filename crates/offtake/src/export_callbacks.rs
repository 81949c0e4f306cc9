//! What a callback tells its receiver of an export's end.

use std::sync::Arc;

use jiff::SignedDuration;
use offtake_admin::{Links, Tokens};
use offtake_jobs::{Job, State, job};
use offtake_postgres::{Error, SourcePool};
use offtake_webhooks::{CallbackEvent, CallbackParts};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::configuration::{Configuration, Http};
use crate::export_item::item;

/// How long the links of a callback open.
const LINKS_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Callbacks are signed with the configuration's secret, and read from the source when they are sent.
pub(crate) fn callbacks(pool: &SourcePool, configuration: &Configuration) -> CallbackParts {
    let pool = pool.clone();
    let secret = configuration.exports.callback_secret.as_ref();
    let http = configuration.http.clone();
    CallbackParts {
        secrets: secret.map(|secret| secret.0.clone()),
        events: Arc::new(move |job_id| {
            let (pool, http) = (pool.clone(), http.clone());
            Box::pin(async move { read(&pool, &http, job_id).await })
        }),
    }
}

async fn read(pool: &SourcePool, http: &Http, job_id: i64) -> Result<Option<CallbackEvent>, Error> {
    let job = job::read_by_number(&*pool.get().await?, job_id).await?;
    Ok(job.as_ref().and_then(|job| event(job, http)))
}

/// None: the export goes on again, or it has no callback.
fn event(job: &Job, http: &Http) -> Option<CallbackEvent> {
    let url = job.options["callback"]["url"].as_str()?.to_owned();
    let ended = job.finished_at?;
    let finished_at = ended.to_string();
    let ending = match job.state {
        State::Completed => "completed",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        // It was completed, and its files are gone already.
        State::Expired if job.consistency.is_some() => "completed",
        _ => return None,
    };
    let mut told = item(job);
    // Whether the receiver has it is no news to the receiver, and would make each body another one.
    told.callback = None;
    let mut data = json!(told);
    if let (Some(server), Some(files)) = (&http.public_url, data["files"].as_array_mut()) {
        // Counted from the end of the export, so that each attempt has the same links.
        let until = ended.saturating_add(LINKS_FOR).unwrap_or(ended);
        let until = told.expires_at.map_or(until, |expires| until.min(expires));
        let tokens = Tokens::new(http.admin_token.clone(), http.read_token.clone());
        let links = Links::of(&tokens);
        for file in files {
            let name = file["name"].as_str().unwrap_or_default();
            if let Some(path) = links.to_export_file(&job.public_id, name, until) {
                file["download_url"] = format!("{server}{path}").into();
            }
        }
    }
    let body = json!({
        "type": format!("offtake.export.{ending}"),
        "timestamp": finished_at,
        "data": data,
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
