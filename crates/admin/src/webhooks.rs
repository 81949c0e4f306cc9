//! Webhooks: what a reader is told of them, and what operators ask of them.
//!
//! As with destinations, everything is read from the source. Two things are not there, because they
//! are secret or need the network: the fingerprints of the secrets, and a test request. A running
//! daemon has them ([`WebhookAccess`]).

mod attempts;
mod judgement;
mod operations;
mod webhook;

use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use serde::Serialize;

pub use attempts::{Attempt, attempts};
pub use operations::{
    NamedWebhook, ReplayCount, count_replayed, disable, enable, named_webhooks, pause, replay,
    resume, resync,
};
pub use webhook::{
    Sought, Webhook, WebhookMapping, WebhookState, count_states, webhooks, webhooks_after,
    webhooks_containing, webhooks_in_state, worst_webhooks,
};

/// What only a process knows that has read the configuration.
pub trait WebhookAccess: Send + Sync {
    /// The secrets that sign, of each webhook by tenant and name; None: this process does not know
    /// it.
    fn signatures(&self, webhooks: &[(&str, &str)]) -> Vec<Option<Vec<Signature>>>;

    /// Sends one request now, outside the queue: the row with this key, or one that says nothing.
    fn test(&self, of: TestOf) -> Testing;
}

pub type Testing = Pin<Box<dyn Future<Output = Result<Tested, TestRefused>> + Send>>;

/// Why no test request was sent; a text for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestRefused {
    /// What was asked for cannot be.
    Wrong(String),
    /// Not now.
    Unavailable(String),
}

/// A secret that signs, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Signature {
    /// `hmac` or `ed25519`.
    pub kind: &'static str,
    pub fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// Which webhook is tested, and with which row.
#[derive(Debug, Clone)]
pub struct TestOf {
    pub tenant: String,
    pub name: String,
    /// A mapping and a row's key, as a JSON object of its key columns.
    pub row: Option<(String, serde_json::Value)>,
}

/// How a test request ended.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Tested {
    /// It was answered with 2xx.
    pub acknowledged: bool,
    /// Whether there was an answer at all.
    pub answered: bool,
    pub webhook_id: String,
    pub address: Option<String>,
    pub status: Option<u16>,
    pub elapsed_ms: u64,
    /// Why it is no success.
    pub error: Option<String>,
    /// The first bytes of a failure's body.
    pub response: Option<String>,
}
