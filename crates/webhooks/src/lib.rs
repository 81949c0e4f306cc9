//! Webhooks: tells HTTPS endpoints of one tenant's rows.
//!
//! **Purpose.** For one webhook at a time: read the changed keys beyond its cursors, and what the
//! mappings' queries return for them, in one snapshot of the source; send that as signed requests;
//! move the cursors behind what was acknowledged. An event is a state, and it is read when it is
//! sent: a key that changed a hundred times is told once.
//!
//! **What fences it.** Nothing at a receiver does. Before each request the lease must outlast the
//! request, by a clock of this process; a worker that is frozen between that look and the socket
//! can deliver one late request per lane. `as_of` in the event tells. Every statement about the
//! request carries its attempt number.
//!
//! **What wakes it**: a nudge from the poller or the registry, or its own interval.
//!
//! **What it refuses**: to set anything aside because the endpoint is down (an event is blamed only
//! by an answer about it, or where its neighbour is taken); to let one receiver hold what others
//! need (a place among the readers is held while the source is read and never while a receiver is
//! waited for; those that do not answer have few places of their own); to keep a value (bodies are
//! made of what was just read, and only keys, ids and sequence ids are stored).
//!
//! **What a crash leaves behind**: a lease that runs out, and at most a second of acknowledgements
//! that were not recorded. Those events are sent again with the same ids.
//!
//! **Callbacks** (`callbacks.rs`) tell the end of a job in the same way. They are no webhooks: each is
//! one request, to an address that the client of the job named.
//!
//! **On the wire**: [`Event`] is what is told, and its id; [`Secrets`] sign it; [`Client`] sends it
//! and looks at the answer; [`judge`] says what the answer means; [`Backoff`] and [`EventSchedule`]
//! say when it is tried again.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod callbacks;
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
mod settling;
mod signature;
mod spec;
mod sql;
mod turn;
mod upkeep;
mod url;

pub use answer::{Answer, Delivery, Reply, Unanswered, Verdict, judge};
pub use callbacks::{CallbackEvent, CallbackParts, CallbackReading, CallbackSource};
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
