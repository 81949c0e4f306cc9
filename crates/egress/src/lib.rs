//! Which addresses may be dialled, how many at a time, and how a server proves who it is.
//!
//! Every connection that the daemon makes goes through a [`SocketDialer`]: to Postgres and to
//! webhooks today, later also to HTTP databases and object stores. It knows no protocol.
//!
//! 1. It resolves the host name once and checks **every** answer by the [`AddressPolicy`]. It dials
//!    only a checked address and never resolves the name a second time.
//! 2. The dial waits for its turn: at most 64 dials are in progress at once. At most 32 of them go
//!    to one address, unless the servers are the operator's own.
//! 3. It connects and runs the protocol's handshake, TLS included, within the connect timeout. The
//!    turn ends with the handshake.
//!
//! A caller passes its handshake as a function, for two reasons: each protocol reaches TLS in its
//! own way (Postgres asks for it first), and the timeout and the turn must cover the login.
//! [`TlsHandshake`] is what they share: which certificates to believe, and what to tell the
//! operator about the others. [`TlsHandshake::connect`] gives a TLS stream for any protocol.
//! `postgres` takes [`TlsHandshake::config`] instead and shakes hands with a library of its own,
//! which also computes the channel binding for SCRAM.
//!
//! Unix sockets are dialled here too, so that they have the same timeout and turns. They are for
//! the operator's own servers only.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address_policy;
mod certificate;
mod dial;
mod error;
mod remote;
mod tls;
mod turns;

pub use address_policy::{AddressPolicy, AddressRefused};
pub use certificate::ClientCertificate;
pub use dial::{Peer, Socket, SocketDialer};
pub use error::Error;
pub use remote::{Remote, SettingNames, TlsMode};
pub use tls::TlsHandshake;
