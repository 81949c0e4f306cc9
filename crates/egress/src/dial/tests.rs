//! Dialling: what is not dialled, how many at a time, and a TLS stream of another protocol.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::turns::{CONCURRENT_DIALS_MAX, CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX};
use crate::{ClientCertificate, SettingNames, TlsHandshake};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

fn dialer(listed: &[&str]) -> SocketDialer {
    let listed = listed.iter().map(|network| network.parse().unwrap()).collect();
    SocketDialer::new(AddressPolicy::new(listed), NEVER)
}

fn remote(host: &str, port: u16, tls: TlsMode) -> Remote {
    let settings =
        SettingNames { name_authority: "set ca_file", verify_ca: "verify-ca", disable: "disable" };
    Remote {
        host: host.to_owned(),
        port,
        socket: None,
        tls,
        ca_file: None,
        binds_channel: false,
        settings,
    }
}

async fn connect(dialer: &SocketDialer, to: &Remote) -> Result<Peer, Error> {
    dialer.dial(to, async |_, peer| Ok(peer)).await
}

#[tokio::test]
async fn an_address_that_is_not_listed_is_not_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "localhost"] {
        let to = remote(host, port, TlsMode::VerifyFull);
        let refused = connect(&dialer(&["10.0.0.0/8"]), &to).await;
        assert!(matches!(refused, Err(Error::Filtered { .. })), "{host}");
    }
    let dialled = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(dialled.is_err(), "a connection was made");
}

#[tokio::test]
async fn plain_text_and_unix_sockets_are_refused_where_the_policy_does_not_list_the_server() {
    let plain = connect(&dialer(&[]), &remote("192.88.98.1", 9, TlsMode::Disable)).await;
    let told = plain.unwrap_err().to_string();
    assert!(told.contains("disable is only allowed towards a network of"), "{told}");
    let to =
        Remote { socket: Some(PathBuf::from("/nowhere")), ..remote("db", 9, TlsMode::Disable) };
    let refused = connect(&dialer(&["0.0.0.0/0"]), &to).await;
    assert!(matches!(refused, Err(Error::LocalSocket { .. })));
    let tried = connect(&SocketDialer::trusted(NEVER), &to).await;
    assert!(matches!(tried, Err(Error::Unreachable { .. })));
}

/// Waits until so many dials to each of these addresses are in progress, and then whether there are
/// more. No handshake ends, so no turn does. All dials begin at once, in this order: address, how
/// many dials, how many of them are to have their turn.
async fn assert_dials_in_progress(addresses: &[(&str, usize, usize)]) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialer = dialer(&["127.0.0.0/8"]);
    let mut dials = tokio::task::JoinSet::new();
    for (address, count, _) in addresses {
        let to = remote(address, port, TlsMode::Disable);
        for _ in 0..*count {
            let (dialer, to) = (dialer.clone(), to.clone());
            dials.spawn(async move {
                let endless = async |socket: Socket, _| {
                    let _open = socket;
                    std::future::pending::<Result<(), Error>>().await
                };
                dialer.dial(&to, endless).await.is_err()
            });
        }
    }
    let wanted = addresses.iter().map(|(.., turns)| turns).sum();
    let mut silent = Vec::new();
    while silent.len() < wanted {
        silent.push(listener.accept().await.unwrap().0);
    }
    let one_more = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(one_more.is_err(), "more than {wanted} are in progress");
    for (address, _, turns) in addresses {
        let reached = silent
            .iter()
            .filter(|client| client.local_addr().unwrap().ip().to_string() == *address)
            .count();
        assert_eq!(reached, *turns, "{address}");
    }
}

/// As after an outage, when all destinations are due at once.
#[tokio::test]
async fn dials_wait_for_their_turn() {
    let of_each = CONCURRENT_DIALS_MAX / 2;
    assert_dials_in_progress(&[
        ("127.0.0.1", of_each, of_each),
        ("127.0.0.2", of_each, of_each),
        ("127.0.0.3", of_each, 0),
    ])
    .await;
}

/// However many destinations tenants say are there. Shown to fail with turns that are limited in
/// all only.
#[tokio::test]
async fn a_silent_address_leaves_turns_to_the_others() {
    let dials = [
        ("127.0.0.1", 2 * CONCURRENT_DIALS_MAX, CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX),
        ("127.0.0.2", 10, 10),
    ];
    assert_dials_in_progress(&dials).await;
}

/// A server of no particular protocol gets a verified TLS stream, and none under another name.
#[tokio::test]
async fn a_protocol_that_begins_with_tls_gets_a_verified_stream() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, own.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.cert.der().clone()],
            own.signing_key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(client).await {
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    let dial = async |host: &str| {
        let to =
            Remote { ca_file: Some(ca_file.clone()), ..remote(host, port, TlsMode::VerifyFull) };
        let read = async |socket: Socket, _| {
            let mut stream = TlsHandshake::prepare(&to).await?.connect(socket).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            Ok::<_, Error>(text)
        };
        dialer(&["127.0.0.0/8", "::1/128"]).dial(&to, read).await
    };
    assert_eq!(dial("localhost").await.unwrap(), "hello");
    let told = dial("127.0.0.1").await.unwrap_err().to_string();
    assert!(told.contains("its certificate is for another name"), "{told}");
}

/// The server asks who dials. With TLS 1.3 a client learns only by reading that it was refused.
#[tokio::test]
async fn a_server_that_asks_who_dials_is_shown_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let of = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (own, client, other) = (of("localhost"), of("offtake"), of("other"));
    let ca_file = write("ca.pem", &own.cert.pem());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut known = rustls::RootCertStore::empty();
    known.add(client.cert.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(known),
        provider.clone(),
    );
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![own.cert.der().clone()],
            own.signing_key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(client).await {
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    let to = Remote { ca_file: Some(ca_file), ..remote("localhost", port, TlsMode::VerifyFull) };
    let dial = async |certificate: Option<&ClientCertificate>| {
        let read = async |socket: Socket, _| {
            let mut tls = TlsHandshake::prepare(&to).await?;
            if let Some(certificate) = certificate {
                tls = tls.present(certificate).await?;
            }
            let mut text = String::new();
            let read = tls.connect(socket).await?.read_to_string(&mut text).await;
            Ok::<_, Error>(read.map(|_| text))
        };
        dialer(&["127.0.0.0/8", "::1/128"]).dial(&to, read).await
    };
    let key_file = write("key.pem", &client.signing_key.serialize_pem());
    let certificate_file = write("client.pem", &client.cert.pem());
    let shown = ClientCertificate { certificate_file, key_file };
    shown.check().unwrap();
    assert_eq!(dial(Some(&shown)).await.unwrap().unwrap(), "hello");
    assert!(dial(None).await.unwrap().is_err());

    // What cannot be used is told with its file, before anything is sent.
    let mixed = ClientCertificate {
        certificate_file: write("other.pem", &other.cert.pem()),
        ..shown.clone()
    };
    let told = mixed.check().unwrap_err();
    assert!(told.contains("key.pem") && told.contains("does not belong"), "{told}");
    let empty = ClientCertificate { certificate_file: write("empty.pem", ""), ..shown.clone() };
    assert!(empty.check().unwrap_err().contains("no certificate in PEM form"));
    let missing = ClientCertificate { key_file: folder.path().join("none.pem"), ..shown };
    let told = dial(Some(&missing)).await.unwrap_err().to_string();
    assert!(told.contains("none.pem"), "{told}");
}
