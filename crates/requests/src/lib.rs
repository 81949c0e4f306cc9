//! Outgoing requests: what is owed, and who is working on it.
//!
//! An outgoing request is a row of `offtake.outgoing_request`. It says that something is owed, it
//! is claimed for a while (a lease), and it is deleted when nothing is owed any more. **Every
//! statement that writes this table is in this crate**; a test looks for others. Each is a file in
//! `sql/` whose header says who calls it and in which transaction. Where one statement both decides
//! what is owed and owes it, or also writes another table in the same moment, the whole statement
//! is here, because in two it would no longer be atomic.
//!
//! **The life of a request.** The poller, the registry, an operator or the sequencer owes it
//! ([`owe_page`], [`owe_fanned_out`], [`owe_registered`], [`owe_on_command`], [`begin_epoch`], …).
//! A worker claims it ([`claim`]) and extends its lease ([`extend`]). It ends the lease in one of
//! four ways: [`complete`], [`release`], [`leave`] or [`fail`] with a [`backoff`]. Where the worker
//! dies instead, the lease runs out, and another worker claims the request.
//!
//! **What fences it.** Every claim raises the request's attempt number. Every statement of a worker
//! carries its [`Lease`], which is the request and the attempt; after another claim it changes
//! nothing. That only saves effort: what protects a destination is its own state row.
//!
//! **In which order rows are locked.** A statement that touches several requests locks them in the
//! order of their destinations or webhooks. The poller does so for every page, while daemons extend
//! their leases; in different orders two such statements would deadlock, and the server would end
//! one of them after a second. What also writes destinations locks all of them before any request,
//! in the order of their ids. A claim holds requests first, so it waits for no destination. With
//! webhooks it is the other way round: their requests first.
//!
//! **Common to all kinds of requests:** the lease ([`Lease`], [`extend`], [`complete`],
//! [`release`], [`leave`]), [`backoff`], and [`SlowFailures`]. **The sync's own:** [`Claim`] and
//! [`claim`], because they read the destination's pauses, fuses, resyncs and quarantine; [`fail`],
//! because it also writes the destination's status; and everything that owes, because one row per
//! destination is owed. **The webhooks' own** are in `webhooks.rs`: one row per webhook is owed. The
//! poller's page owes both in one statement, because both are owed with its position. **The callbacks'
//! own** are in `callbacks.rs`: the end of a job is told once.
//!
//! **What is not here:** what the source records of a destination while a worker holds its request:
//! mirrored cursors, failed mappings, copies begun, quarantined rows. Those statements write the
//! sync's tables and only read `outgoing_request`, to check the lease; and another kind of request
//! has none of them. They are in `crates/sync/src/record.rs`, beside the turn that calls them, so
//! that a reader of a turn looks in one crate.
//!
//! **Errors.** A function that takes the caller's client returns the driver's error, and the caller
//! says what it was doing. A function that takes the pool returns the source's error.

mod backoff;
mod callbacks;
mod claim;
mod lease;
mod owe;
mod slow_failures;
mod sql;
mod webhooks;
mod withdraw;

pub use backoff::backoff;
pub use callbacks::{CallbackClaim, claim_callbacks, owe_callback, settle_callback};
pub use claim::{Claim, Due, claim};
pub use lease::{
    HEARTBEATS_PER_LEASE, Lease, complete, complete_all_with, complete_with, extend, fail,
    fail_all, leave, release, resume_place,
};
pub use owe::{
    FannedOut, Judgement, Page, PlaceOf, begin_epoch, judge_partition, owe_fanned_out,
    owe_on_command, owe_page, owe_place, owe_registered, owe_restored, postpone_visits,
    prepare_owe_page, request_resync, retry_quarantined, sweep_due, sweep_slice,
};
pub use slow_failures::{SLOW_AT_WORK_MAX, SlowFailures};
pub use webhooks::{
    ReplayWanted, WebhookClaim, WebhookCursor, WebhookFailed, WebhookFailure, WebhookReplay,
    claim_webhooks, deactivate_webhooks, disable_webhook, enable_webhook, fail_webhook,
    hold_webhook_requests, owe_webhooks, refuse_webhook, replay_webhook, request_webhook_resync,
    retry_quarantined_events, sweep_webhooks,
};
pub use withdraw::{
    begin_forgetting, deactivate_destinations, forget_destinations, refuse_destination,
};
