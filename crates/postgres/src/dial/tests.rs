//! Dialling servers that are no Postgres: closed, silent, hostile.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::turns::{CONCURRENT_DIALS_MAX, CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX};
use crate::{AddressPolicy, ConnectionString, Dialer, Error, Fault};

fn dialer(listed: &[&str], timeout: Duration) -> Dialer {
    Dialer::new(
        AddressPolicy::new(listed.iter().map(|network| network.parse().unwrap()).collect()),
        timeout,
    )
}

/// Nobody's deadline within a test.
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
    let dial =
        tokio::spawn(async move { dialer(&["127.0.0.0/8"], timeout).dial(&to, "test").await });
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
        let to = ConnectionString::destination(&format!("postgres://u:p@{host}:{port}/d"), None)
            .unwrap();
        let refused = dialer(&["10.0.0.0/8"], NEVER).dial(&to, "test").await;
        assert!(matches!(refused, Err(Error::Filtered { .. })), "{host}");
    }
    let dialled = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(dialled.is_err(), "somebody connected");
}

#[tokio::test]
async fn a_silent_server_costs_the_connect_timeout_and_no_more() {
    for mode in ["disable", "require"] {
        // Kept until the dial has ended.
        let (error, _client) =
            dial(mode, Duration::from_millis(500), |client| async move { client }).await;
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert_eq!(error.fault(), Fault::Unreachable);
    }
}

/// Waits until so many dials to each of these addresses are under way, and then whether there are
/// more; nobody is answered, so that a dial lasts for ever. All begin at once, in this order:
/// address, how many dials, how many of them are to have their turn.
async fn assert_dials_under_way(addresses: &[(&str, usize, usize)]) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialer = dialer(&["127.0.0.0/8"], NEVER);
    let mut dials = tokio::task::JoinSet::new();
    for (address, count, _) in addresses {
        let to = ConnectionString::destination(
            &format!("postgres://u:p@{address}:{port}/d?sslmode=disable"),
            None,
        )
        .unwrap();
        for _ in 0..*count {
            let (dialer, to) = (dialer.clone(), to.clone());
            dials.spawn(async move { dialer.dial(&to, "test").await.is_err() });
        }
    }
    let wanted = addresses.iter().map(|(.., turns)| turns).sum();
    let mut silent = Vec::new();
    while silent.len() < wanted {
        silent.push(listener.accept().await.unwrap().0);
    }
    let one_more = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(one_more.is_err(), "more than {wanted} are under way");
    for (address, _, turns) in addresses {
        let reached = silent
            .iter()
            .filter(|client| client.local_addr().unwrap().ip().to_string() == *address)
            .count();
        assert_eq!(reached, *turns, "{address}");
    }
}

/// After an outage everybody is due at once.
#[tokio::test]
async fn dials_wait_for_their_turn() {
    let of_each = CONCURRENT_DIALS_MAX / 2;
    assert_dials_under_way(&[
        ("127.0.0.1", of_each, of_each),
        ("127.0.0.2", of_each, of_each),
        ("127.0.0.3", of_each, 0),
    ])
    .await;
}

/// However many destinations somebody says are there. Shown to fail with all turns given to whoever
/// comes first.
#[tokio::test]
async fn a_silent_address_leaves_turns_to_the_others() {
    let dials = [
        ("127.0.0.1", 2 * CONCURRENT_DIALS_MAX, CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX),
        ("127.0.0.2", 10, 10),
    ];
    assert_dials_under_way(&dials).await;
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
    assert!(matches!(error, Error::Tls { .. }), "{error}");
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
