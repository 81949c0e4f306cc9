//! Which addresses may be dialled, how many at a time, and how a server proves who it is.
//!
//! Everything that leaves this process for a server goes through a [`SocketDialer`]: connections to
//! Postgres today, later also webhooks, HTTP databases and object stores. It knows no protocol.
//!
//! 1. The host name is resolved once, and **every** answer is checked by the [`AddressPolicy`]. Only
//!    a checked address is dialled; the name is not resolved a second time.
//! 2. The dial waits for its turn: at most 64 dials are in progress at once, at most 32 of them to
//!    one address.
//! 3. The protocol's handshake, with TLS inside it, runs within the connect timeout, and keeps the
//!    turn until it has ended.
//!
//! The cut: a caller passes its handshake as a function, because each protocol reaches TLS in its own
//! way (Postgres asks for it first) and because the timeout and the turn must cover the login. What
//! belongs to TLS alone is in [`TlsHandshake`]: whom to believe, and what to tell the operator when
//! the server is not believed. [`TlsHandshake::connect`] gives a TLS stream for any protocol.
//! `postgres` takes [`TlsHandshake::config`] instead and runs the handshake with its own library,
//! which also computes the channel binding for SCRAM.
//!
//! A Unix socket is dialled here too, so that it has the same turns and timeout, but only for the
//! operator's own servers.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address_policy;
mod dial;
mod error;
mod remote;
mod tls;
mod turns;

pub use address_policy::{AddressPolicy, AddressRefused};
pub use dial::{Peer, Socket, SocketDialer};
pub use error::Error;
pub use remote::{Remote, SettingNames, TlsMode};
pub use tls::TlsHandshake;
