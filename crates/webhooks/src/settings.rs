//! Settings of `webhooks:` and others in the configuration that concern the engine.

use std::time::Duration;

use crate::{Backoff, EventSchedule};

/// The engine's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Webhooks read for at one time.
    pub workers: usize,
    /// Connections to receivers, open at one time.
    pub connections: usize,
    /// Requests of webhooks in progress at one time.
    pub claim_limit: usize,
    /// How long a claim holds without a heartbeat, at least: it is longer where a request may take
    /// longer.
    pub lease: Duration,
    /// Limit of one statement of a page's read.
    pub statement_timeout: Duration,
    /// Pauses of an endpoint that is unwell.
    pub backoff: Backoff,
    /// Pauses of an event that its receiver refuses.
    pub event_schedule: EventSchedule,
    /// A webhook that acknowledged nothing for so long is disabled.
    pub disable_after: Duration,
    pub attempts_log: AttemptsLog,
    /// The attempts log is kept for so long.
    pub attempts_keep: Duration,
    /// How often an address that may not be dialled is looked up again.
    pub refresh: Duration,
    /// Cursors of a webhook that nothing names any more are kept for so long.
    pub retention: Duration,
}

/// Which requests the attempts log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttemptsLog {
    #[default]
    Failures,
    All,
}
