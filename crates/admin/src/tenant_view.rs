//! What a tenant is told of its own copies, in words for people who do not run Offtake.
//!
//! **Architecture Invariant:** nothing here repeats a text of the registry but the tenant's id and
//! the names of its destinations, webhooks and mappings. Reasons and errors may name hosts, other
//! tenants and what an operator thinks.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;

use crate::status::{Destination, DestinationMapping, Long, destinations};
use crate::webhooks::{Webhook, WebhookMapping, WebhookState, webhooks};
use crate::{Error, State};

/// A tenant's copies and webhooks.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TenantView {
    pub(crate) tenant: String,
    read_at: Timestamp,
    /// Every change that was made before `read_at` has arrived everywhere, and no row is missing.
    up_to_date: bool,
    destinations: Vec<OwnDestination>,
    webhooks: Vec<OwnWebhook>,
}

/// One database of the tenant.
#[derive(Debug, Serialize, JsonSchema)]
struct OwnDestination {
    name: String,
    state: State,
    /// The state, in words.
    meaning: String,
    /// The age of the oldest change that has not arrived; 0: there is none.
    behind_seconds: f64,
    /// When something was last written there, or found to be complete.
    last_success_at: Option<Timestamp>,
    /// Since when every table is proved equal to its source; null: one never was.
    verified_at: Option<Timestamp>,
    /// Rows that the latest comparisons found to differ; null before the first has ended.
    differences: Option<Long>,
    /// Rows that the database refuses.
    quarantined: Long,
    mappings: Vec<OwnMapping>,
}

/// One mapping, which fills one table.
#[derive(Debug, Serialize, JsonSchema)]
struct OwnMapping {
    name: String,
    /// The first copy, or the latest one, is complete.
    copied: bool,
    /// How much of it is done; null where that is not known.
    percent: Option<f64>,
    /// It cannot be written at present.
    failing: bool,
    verified_at: Option<Timestamp>,
    differences: Option<Long>,
    quarantined: Long,
}

/// One webhook of the tenant.
#[derive(Debug, Serialize, JsonSchema)]
struct OwnWebhook {
    name: String,
    state: WebhookState,
    /// The state, in words.
    meaning: String,
    /// The age of the oldest change that was not acknowledged; 0: there is none.
    behind_seconds: f64,
    last_success_at: Option<Timestamp>,
    /// Events that the receiver refuses.
    quarantined: Long,
    mappings: Vec<OwnWebhookMapping>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OwnWebhookMapping {
    name: String,
    /// Every row was told that is to be told first.
    copied: bool,
    quarantined: Long,
}

/// Reads it. None: the tenant has neither a destination nor a webhook.
pub(crate) async fn view(source: &Client, tenant: &str) -> Result<Option<TenantView>, Error> {
    let read_at = Timestamp::now();
    let destinations: Vec<OwnDestination> =
        destinations(source, Some(tenant), None).await?.into_iter().map(own).collect();
    let webhooks: Vec<OwnWebhook> =
        webhooks(source, Some(tenant), None).await?.into_iter().map(own_webhook).collect();
    if destinations.is_empty() && webhooks.is_empty() {
        return Ok(None);
    }
    let up_to_date = destinations.iter().all(|one| one.state == State::InSync)
        && webhooks.iter().all(|one| one.state == WebhookState::InSync);
    let tenant = tenant.to_owned();
    Ok(Some(TenantView { tenant, read_at, up_to_date, destinations, webhooks }))
}

fn own(destination: Destination) -> OwnDestination {
    let quarantined = destination.mappings.iter().map(|m| m.quarantined.0).sum();
    OwnDestination {
        meaning: meaning(destination.state, quarantined, destination.differences),
        name: destination.name,
        state: destination.state,
        behind_seconds: destination.lag_seconds,
        last_success_at: destination.last_success_at,
        verified_at: destination.verified_at,
        differences: destination.differences,
        quarantined: Long(quarantined),
        mappings: destination.mappings.into_iter().map(own_mapping).collect(),
    }
}

fn own_mapping(mapping: DestinationMapping) -> OwnMapping {
    OwnMapping {
        copied: mapping.backfill.state == "done" && mapping.resync_requested_at.is_none(),
        percent: mapping.backfill.percent,
        failing: mapping.error.is_some(),
        verified_at: mapping.verified_at,
        differences: mapping.differences,
        quarantined: mapping.quarantined,
        name: mapping.name,
    }
}

fn own_webhook(webhook: Webhook) -> OwnWebhook {
    let mapping = |mapping: WebhookMapping| OwnWebhookMapping {
        copied: mapping.backfill && mapping.resync_reason.is_none(),
        quarantined: Long(mapping.quarantined.parse().unwrap_or_default()),
        name: mapping.name,
    };
    OwnWebhook {
        meaning: webhook_meaning(webhook.state, webhook.quarantined.0),
        name: webhook.name,
        state: webhook.state,
        behind_seconds: webhook.lag_seconds,
        last_success_at: webhook.last_success_at,
        quarantined: webhook.quarantined,
        mappings: webhook.mappings.into_iter().map(mapping).collect(),
    }
}

fn meaning(state: State, quarantined: i64, differences: Option<Long>) -> String {
    match state {
        State::InSync => "Up to date: every change has arrived.".to_owned(),
        State::Lagging => "Changes are on their way.".to_owned(),
        State::Backfilling => {
            "A copy is being made. Rows that it has not reached yet may be missing.".to_owned()
        }
        State::Degraded => {
            let refused = (quarantined > 0).then(|| {
                format!(
                    "This database refuses {}. All others are kept up to date.",
                    rows(quarantined)
                )
            });
            let differ = differences.map_or(0, |rows| rows.0);
            let differ = (differ > 0).then(|| {
                format!("A comparison found {} that differ from the source.", rows(differ))
            });
            let told: Vec<String> = [refused, differ].into_iter().flatten().collect();
            match told.is_empty() {
                true => "Changes arrive. But a program that reads this database keeps a \
                         transaction open, and the disk fills."
                    .to_owned(),
                false => told.join(" "),
            }
        }
        State::Blocked => {
            "Rows cannot be written to it at present. It is tried again by itself, and goes on \
             where it stopped."
                .to_owned()
        }
        State::Paused => {
            "Paused by the provider. It goes on where it stopped once the pause has ended."
                .to_owned()
        }
    }
}

fn webhook_meaning(state: WebhookState, quarantined: i64) -> String {
    let text = match state {
        WebhookState::InSync => "Up to date: every change was acknowledged.",
        WebhookState::Lagging => "Changes are on their way.",
        WebhookState::Backfilling => "Rows are being told from the beginning.",
        WebhookState::Degraded => {
            return format!("The receiver refuses {quarantined} event(s). All others are told.");
        }
        WebhookState::Blocked => {
            "Events cannot be delivered at present. It is tried again by itself, and goes on where \
             it stopped."
        }
        WebhookState::Paused => {
            "Paused by the provider. It goes on where it stopped once the pause has ended."
        }
        WebhookState::Disabled => {
            "Disabled: the receiver said that it is gone, or failed for a long time. The provider \
             can enable it again."
        }
    };
    text.to_owned()
}

fn rows(count: i64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_told_in_a_sentence() {
        for state in State::ALL {
            let told = meaning(state, 1, Some(Long(2)));
            assert!(told.ends_with('.') && told.len() < 200, "{state}: {told}");
        }
        for state in WebhookState::ALL {
            let told = webhook_meaning(state, 3);
            assert!(told.ends_with('.') && told.len() < 200, "{state}: {told}");
        }
        let both = "This database refuses 1 row. All others are kept up to date. \
                    A comparison found 2 rows that differ from the source.";
        assert_eq!(meaning(State::Degraded, 1, Some(Long(2))), both);
    }
}
