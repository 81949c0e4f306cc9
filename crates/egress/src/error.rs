//! Why no connection was made.

use std::io;
use std::time::Duration;

use crate::AddressRefused;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot resolve the host name {host}")]
    Unresolved { host: String, source: io::Error },
    /// The address policy forbids an address of the host. Nothing was sent.
    #[error("will not connect to {host}: {source}")]
    Filtered { host: String, source: AddressRefused },
    /// The address policy has no Unix sockets. Nothing was sent.
    #[error("will not connect to {host}: a Unix socket leads into this machine")]
    LocalSocket { host: String },
    /// The server, or something on the way to it, refused or ended the connection.
    #[error("cannot connect to {host}:{port}")]
    Unreachable { host: String, port: u16, source: io::Error },
    #[error("connecting to {host}:{port} took longer than {} ms", limit.as_millis())]
    TimedOut { host: String, port: u16, limit: Duration },
    /// Other dials took every turn for the whole of the wait.
    #[error("no free turn to connect within {} s", waited.as_secs())]
    NoTurn { waited: Duration },
    #[error("no TLS with {host}: {why}")]
    Tls { host: String, why: String },
}
