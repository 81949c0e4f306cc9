//! Webhooks, from the application's commit to a receiver that verifies with the official library.

#![allow(clippy::unwrap_used)]

mod answers;
mod backfills;
mod configured;
mod fidelity;
mod guarded;
mod isolated;
mod oracle;
mod proven;
mod quarantined;
mod replayed;
mod resolved;
mod restored;
mod told;
mod verified;
