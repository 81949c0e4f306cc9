//! An open connection that speaks HTTP/1.1 with one server: for webhooks, for the API of D1, and
//! for object stores.
//!
//! It is dialled through `egress`, so its address was checked, and its server has proved who it is.
//! What arrives of an answer's head is bounded. Nothing follows a redirect, keeps a cookie, asks for
//! compression or uses a proxy.
//!
//! A caller decides when a connection is dialled, kept and closed, what is sent, how long it waits,
//! and how much of a body it reads.

mod endpoint;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use offtake_egress::{
    ClientCertificate, Error, Peer, Remote, Socket, SocketDialer, TlsHandshake, TlsMode,
};
use tokio::io::{AsyncRead, AsyncWrite};

pub use endpoint::Endpoint;

/// The bytes of an answer's head, and of what is buffered of its body.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The headers of an answer.
const HEADERS_MAX: usize = 100;

/// It closes when this is dropped.
pub struct Connection {
    /// Sends one request after the other.
    pub sender: SendRequest<Full<Bytes>>,
    pub peer: Peer,
}

/// Dials and shakes hands. `held` is dropped when the connection has closed, or was not made.
pub async fn connect(
    dialer: &SocketDialer,
    to: &Remote,
    certificate: Option<&ClientCertificate>,
    held: impl Send + 'static,
) -> Result<Connection, Error> {
    let handshake = async |socket: Socket, peer: Peer| -> Result<Connection, Error> {
        let sender = if to.tls == TlsMode::Disable {
            open(socket, to, held).await?
        } else {
            let mut tls = TlsHandshake::prepare(to).await?;
            if let Some(certificate) = certificate {
                tls = tls.present(certificate).await?;
            }
            open(tls.connect(socket).await?, to, held).await?
        };
        Ok(Connection { sender, peer })
    };
    dialer.dial(to, handshake).await
}

/// Begins to speak HTTP/1.1. A task of its own drives the connection until either side closes it.
async fn open<S>(
    stream: S,
    to: &Remote,
    held: impl Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Error::Unreachable {
            host: to.host.clone(),
            port: to.port,
            source: std::io::Error::other(error),
        })?;
    tokio::spawn(async move {
        // What went wrong is the answer to the request.
        let _ = connection.await;
        drop(held);
    });
    Ok(sender)
}
