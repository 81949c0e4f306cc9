//! What `check --connect` finds out about webhooks: whether `where` and `filter` can run, and
//! whether the host may be dialled. Nothing is sent.

use std::collections::HashMap;
use std::sync::Arc;

use offtake_mapping::compose::{EventShape, select_events};
use offtake_mapping::{MappingSet, ResolvedMapping, foreign};
use offtake_webhooks::{Client, EVENT_BYTES_MAX, WebhookSpec};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::ASKED_AT_ONCE;
use crate::context::webhook_list::RefusedWebhook;
use crate::context::{Context, receiver_policy};
use crate::outcome::{Exit, Failure};

/// What was found about one webhook.
pub(super) struct WebhookAnswer {
    pub(super) tenant_id: String,
    pub(super) name: String,
    /// Why it could not be told anything.
    pub(super) obstacle: Option<String>,
    /// The obstacle is in what the configuration says of it.
    of_file: bool,
}

/// Looks at all webhooks, and returns how many rows of the query have no tenant. `source` must not
/// be in a transaction.
pub(super) async fn look(
    context: &Context,
    source: &tokio_postgres::Client,
    set: &MappingSet,
) -> Result<(Vec<WebhookAnswer>, usize), Failure> {
    let list = context.spelt_webhooks(source, set).await?;
    let static_ = &context.configuration.webhooks.static_;
    let in_file = |tenant: &str, name: &str| {
        static_.iter().any(|one| one.spec.tenant_id == tenant && one.spec.name == name)
    };
    let mut answers = Vec::new();
    let mut asked = JoinSet::new();
    let turns = Arc::new(Semaphore::new(ASKED_AT_ONCE));
    let client = Client::new(receiver_policy(&context.configuration), 1);
    let mut planned = HashMap::new();
    for spec in list.usable {
        let mappings: Vec<_> = spec.received(set).cloned().collect();
        let mut obstacle = spec.refusal(&mappings).or_else(|| spec.shortfall(set));
        if obstacle.is_none() {
            obstacle = unplanned(source, &spec, &mappings, &mut planned).await;
        }
        let (tenant_id, name) = (spec.tenant_id.clone(), spec.name.clone());
        if obstacle.is_some() {
            let of_file = in_file(&tenant_id, &name);
            answers.push(WebhookAnswer { tenant_id, name, obstacle, of_file });
            continue;
        }
        let (client, turns) = (client.clone(), turns.clone());
        asked.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let obstacle = client.check(&spec.endpoint).await.err();
            let obstacle = obstacle.map(|unanswered| unanswered.text().to_owned());
            WebhookAnswer { tenant_id, name, obstacle, of_file: false }
        });
    }
    answers.extend(asked.join_all().await);
    answers.extend(list.refused.into_iter().map(|refused| {
        let RefusedWebhook { tenant_id, name, why } = refused;
        WebhookAnswer { tenant_id, name, obstacle: Some(why), of_file: false }
    }));
    answers.sort_by(|a, b| (&a.tenant_id, &a.name).cmp(&(&b.tenant_id, &b.name)));
    Ok((answers, list.without_tenant))
}

/// Why `where` or `filter` cannot run with one of the mappings. What was planned before is not
/// planned again: a query may name ten thousand webhooks.
async fn unplanned(
    source: &tokio_postgres::Client,
    spec: &WebhookSpec,
    mappings: &[Arc<ResolvedMapping>],
    planned: &mut HashMap<(String, String), Option<String>>,
) -> Option<String> {
    for mapping in mappings {
        let key = (spec.accepted.fingerprint(), mapping.name().to_owned());
        if !planned.contains_key(&key) {
            let found = plan(source, spec, mapping).await;
            planned.insert(key.clone(), found);
        }
        if let Some(Some(obstacle)) = planned.get(&key) {
            return Some(obstacle.clone());
        }
    }
    None
}

async fn plan(
    source: &tokio_postgres::Client,
    spec: &WebhookSpec,
    mapping: &ResolvedMapping,
) -> Option<String> {
    let shape =
        EventShape { accepted: &spec.accepted, with_data: true, data_bytes_max: EVENT_BYTES_MAX };
    let statement = select_events(mapping, &spec.tenant_at_source, "[]", shape);
    let explained = source.query(&format!("explain {statement}"), &[]).await;
    let error = offtake_postgres::Error::from(explained.err()?);
    let what = match &spec.accepted.condition {
        Some(_) => "its `where` cannot run with mapping",
        None => "it cannot be told of mapping",
    };
    Some(format!("{what} {}: {}", mapping.name(), error.message()))
}

/// A failure for every webhook that cannot be told anything.
pub(super) fn failures(answers: &[WebhookAnswer]) -> Vec<Failure> {
    let failed = answers.iter().filter_map(|answer| Some((answer, answer.obstacle.as_ref()?)));
    let failure = |(answer, why): (&WebhookAnswer, &String)| {
        let exit = match answer.of_file {
            true => Exit::InvalidConfiguration,
            false => Exit::SomeDestinationsFailed,
        };
        let what = format!("webhook {}/{}", foreign(&answer.tenant_id), foreign(&answer.name));
        Failure::new(exit, what).because(why.clone())
    };
    failed.map(failure).collect()
}
