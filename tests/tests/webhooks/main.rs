//! Webhooks, from the application's commit to a receiver that verifies with the official library.

#![allow(clippy::unwrap_used)]

mod answers;
mod backfills;
mod configured;
mod fidelity;
mod guarded;
mod isolated;
mod oracle;
mod quarantined;
mod replayed;
mod told;
mod verified;
