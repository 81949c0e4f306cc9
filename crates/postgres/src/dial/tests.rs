//! Dialling servers that are no Postgres: closed, silent, hostile.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{AddressPolicy, ConnectionString, Dialer, Error, Fault};

fn dialer(listed: &[&str], timeout: Duration) -> Dialer {
    Dialer::new(AddressPolicy::new(listed.iter().map(|network| network.parse().unwrap()).collect()), timeout)
}

/// What comes of dialling a server that does this with its first client.
async fn dial<Served>(mode: &str, serve: impl FnOnce(TcpStream) -> Served) -> (Error, Served::Output)
where
    Served: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = ConnectionString::destination(&format!("postgres://u:s3cret@127.0.0.1:{port}/d?sslmode={mode}"), None).unwrap();
    let dial = tokio::spawn(async move { dialer(&["127.0.0.0/8"], Duration::from_millis(500)).dial(&to, "test").await });
    let (client, _) = listener.accept().await.unwrap();
    let served = tokio::spawn(serve(client));
    let error = match dial.await.unwrap() {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    };
    (error, served.await.unwrap())
}

#[tokio::test]
async fn an_address_that_is_not_listed_is_not_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let to = ConnectionString::destination(&format!("postgres://u:p@{host}:{port}/d"), None).unwrap();
        let refused = dialer(&["10.0.0.0/8"], Duration::from_secs(5)).dial(&to, "test").await;
        assert!(matches!(refused, Err(Error::Filtered { .. })), "{host}");
    }
    let dialled = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(dialled.is_err(), "somebody connected");
}

#[tokio::test]
async fn a_silent_server_costs_the_connect_timeout_and_no_more() {
    for mode in ["disable", "require"] {
        let (error, ()) = dial(mode, |client| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(client);
        })
        .await;
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert_eq!(error.fault(), Fault::Unreachable);
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_unreachable() {
    for mode in ["disable", "require"] {
        let (error, ()) = dial(mode, |client| async move { drop(client) }).await;
        assert_eq!(error.fault(), Fault::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to_in_plain_text() {
    let (error, rest) = dial("require", |mut client| async move {
        let mut request = [0; 8];
        client.read_exact(&mut request).await.unwrap();
        client.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        rest
    })
    .await;
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_server_that_asks_for_the_password_itself_does_not_get_it() {
    for code in [3, 5] {
        let (error, rest) = dial("disable", |mut client| async move {
            let mut startup = [0; 512];
            let _ = client.read(&mut startup).await.unwrap();
            let request = [b'R', 0, 0, 0, if code == 5 { 12 } else { 8 }, 0, 0, 0, code];
            client.write_all(&request).await.unwrap();
            if code == 5 {
                client.write_all(b"salt").await.unwrap();
            }
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest).await;
            rest
        })
        .await;
        assert!(matches!(error, Error::PasswordWithheld { .. }), "{error}");
        assert!(rest.is_empty(), "the server was answered");
        assert!(!error.message().contains("s3cret"));
    }
}
