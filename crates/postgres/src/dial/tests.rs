//! Dialling servers that are no Postgres: closed, silent, hostile.

use std::time::Duration;

use offtake_egress::{AddressPolicy, Error as DialError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{ConnectionString, Dialer, Error, Fault};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

/// What comes of dialling a server that does this with its first client.
async fn dial<Served>(
    mode: &str,
    timeout: Duration,
    serve: impl FnOnce(TcpStream) -> Served,
) -> (Error, Served::Output)
where
    Served: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = ConnectionString::destination(
        &format!("postgres://u:s3cret@127.0.0.1:{port}/d?sslmode={mode}"),
        None,
    )
    .unwrap();
    let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let dial = tokio::spawn(async move { Dialer::new(policy, timeout).dial(&to, "test").await });
    let (client, _) = listener.accept().await.unwrap();
    let served = tokio::spawn(serve(client));
    let error = match dial.await.unwrap() {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    };
    (error, served.await.unwrap())
}

#[tokio::test]
async fn a_tenants_url_goes_through_the_address_policy() {
    let to = ConnectionString::destination("postgres://u:p@[::ffff:127.0.0.1]:9/d", None).unwrap();
    let refused = Dialer::new(AddressPolicy::default(), NEVER).dial(&to, "test").await;
    assert!(matches!(refused, Err(Error::Dial(DialError::Filtered { .. }))));
}

#[tokio::test]
async fn a_silent_server_costs_the_connect_timeout_and_no_more() {
    for mode in ["disable", "require"] {
        // Kept until the dial has ended.
        let (error, _client) =
            dial(mode, Duration::from_millis(500), |client| async move { client }).await;
        assert!(matches!(error, Error::Dial(DialError::TimedOut { .. })), "{error}");
        assert_eq!(error.fault(), Fault::Unreachable);
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_unreachable() {
    for mode in ["disable", "require"] {
        let (error, ()) = dial(mode, NEVER, |client| async move { drop(client) }).await;
        assert_eq!(error.fault(), Fault::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to_in_plain_text() {
    let (error, rest) = dial("require", NEVER, |mut client| async move {
        let mut request = [0; 8];
        client.read_exact(&mut request).await.unwrap();
        client.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        rest
    })
    .await;
    assert!(matches!(error, Error::Dial(DialError::Tls { .. })), "{error}");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_server_that_asks_for_the_password_itself_does_not_get_it() {
    for code in [3, 5] {
        let (error, rest) = dial("disable", NEVER, |mut client| async move {
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
