//! Webhooks: tells HTTPS endpoints of one tenant's rows.
//!
//! **On the wire**: [`Event`] is what is told, and its id; [`Secrets`] sign it; [`Client`] sends it
//! and looks at the answer; [`judge`] says what the answer means; [`Backoff`] and [`EventSchedule`]
//! say when it is tried again.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod client;
mod clock;
mod engine;
mod error;
mod event;
mod headers;
mod preview;
mod record;
mod registry;
mod schedule;
mod secret;
mod settings;
mod signature;
mod spec;
mod sql;
mod turn;
mod upkeep;
mod url;

pub use answer::{Answer, Delivery, Reply, Unanswered, Verdict, judge};
pub use client::{
    Client, Endpoint, Exchange, LeaseTooShort, Message, SILENT_REQUESTS_MAX, TIMEOUT_MAX,
};
pub use clock::SourceClock;
pub use engine::{Engine, Parts};
pub use error::Error;
pub use event::{
    BATCH_BYTES_MAX, EVENT_BYTES_MAX, Event, EventKind, Item, Payload, Sender, batch, test_event,
    type_name,
};
pub use headers::{HEADERS_MAX, Headers};
pub use offtake_egress::ClientCertificate;
pub use preview::{
    PreviewError, Previewed, ROWS_COUNTED_MAX, count_rows, preview_event, preview_test,
};
pub use registry::{Known, Named, Registered, Registry};
pub use schedule::{Backoff, EventSchedule};
pub use secret::{SECRETS_MAX, Secret, SecretKind, Secrets, Signature, fresh_secret};
pub use settings::{AttemptsLog, Settings};
pub use spec::{OnEventError, WebhookSpec};
pub use url::Url;
