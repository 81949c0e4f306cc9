//! How Postgres comes to TLS: the client asks for it in plain text, and the handshake follows.
//!
//! tokio-postgres only knows whether to encrypt. The crate `offtake-egress` decides which
//! certificates to believe. The handshake runs here and not inside tokio-postgres, so that a
//! certificate that is not believed is told apart from a server that hangs up.

use std::time::SystemTime;

use offtake_egress::{Error, Socket, TlsHandshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::ConnectionString;

/// A socket inside TLS. It knows the channel binding for SCRAM.
pub(crate) type TlsSocket = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// The protocol's SSLRequest: a length of 8 and the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A socket inside TLS, and when the server's certificate expires, where it can be read.
pub(crate) struct Secured {
    pub(crate) socket: TlsSocket,
    pub(crate) certificate_expires_at: Option<SystemTime>,
}

/// Asks the server for TLS and shakes hands. The caller keeps the time.
pub(crate) async fn secure(to: &ConnectionString, mut socket: Socket) -> Result<Secured, Error> {
    let remote = to.remote();
    // Prepared before the request is sent, so that the server hears nothing of a handshake that
    // cannot succeed.
    let handshake = TlsHandshake::prepare(&remote).await?;
    let lost = |source| Error::Unreachable { host: to.host().to_owned(), port: to.port(), source };
    socket.write_all(&SSL_REQUEST).await.map_err(lost)?;
    // One byte and no more. What follows it was sent before the encryption, perhaps by an attacker
    // in between, and must not be taken for the server's.
    match socket.read_u8().await.map_err(lost)? {
        b'S' => {}
        _ => {
            let why = format!(
                "the server offers no TLS; switch it on there (ssl = on), or, {}",
                to.plain_setting()
            );
            return Err(Error::Tls { host: to.host().to_owned(), why });
        }
    }
    let mut connector = MakeRustlsConnect::new(handshake.config());
    let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(&mut connector, to.host());
    let socket = connect.connect(socket).await.map_err(|error| handshake.explain(error))?;
    Ok(Secured { socket, certificate_expires_at: handshake.certificate_expires_at() })
}
