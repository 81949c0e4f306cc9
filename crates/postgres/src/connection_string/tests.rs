use std::path::Path;

use offtake_egress::TlsMode;
use proptest::prelude::*;

use super::ConnectionString;

fn refusal(url: &str) -> String {
    match ConnectionString::destination(url, None) {
        Ok(accepted) => panic!("{accepted} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_destination_is_one_host_one_port_and_a_login() {
    let check = |url: &str, expect: &str| {
        let read = ConnectionString::destination(url, None)
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(read.to_string(), expect);
    };
    check(
        "postgres://u:p@db.example/app",
        "postgresql://u:***@db.example:5432/app?sslmode=verify-full",
    );
    check(
        "postgresql://u@DB.Example.:6543/app?sslmode=require",
        "postgresql://u@db.example:6543/app?sslmode=require",
    );
    check("POSTGRES://u:p%40%2F%3A@h/d%20b", "postgresql://u:***@h:5432/d b?sslmode=verify-full");
    check(
        "postgres://u:p@[2001:DB8::1]:5433/app",
        "postgresql://u:***@[2001:db8::1]:5433/app?sslmode=verify-full",
    );
    check("postgres://u:p@h", "postgresql://u:***@h:5432/u?sslmode=verify-full");
    check("postgres://u:p@h:/?", "postgresql://u:***@h:5432/u?sslmode=verify-full");
    check(
        "postgres:///?user=u&password=p&host=h&port=1&dbname=d&sslmode=disable",
        "postgresql://u:***@h:1/d?sslmode=disable",
    );
    // What hosters add and what changes nothing here.
    check(
        "postgres://u:p@h/d?application_name=x&connect_timeout=10&gssencmode=disable&sslnegotiation=direct",
        "postgresql://u:***@h:5432/d?sslmode=verify-full",
    );
    check(
        "postgres://u:p@h/d?sslmode=verify-ca&channel_binding=require",
        "postgresql://u:***@h:5432/d?sslmode=verify-ca",
    );
}

#[test]
fn what_a_destination_may_not_say_is_refused_with_its_reason() {
    for (url, expect) in [
        ("", "does not begin with postgresql://"),
        ("host=h user=u password=p", "`key=value` strings are not read"),
        ("Server=h;User Id=u;Pwd=p", "`key=value` strings are not read"),
        ("jdbc:postgresql://h/d?user=u&password=p", "JDBC"),
        ("postgres:/u:p@h/d", "two slashes"),
        ("postgresql:u:p@h/d", "two slashes"),
        ("h:5432:d:u:p", "lines of .pgpass"),
        ("u:p@h/d", "without their scheme"),
        ("PGPASSWORD=p psql -h h", "this is a command"),
        ("psql postgres://u:p@h/d", "this is a command"),
        ("mysql://u:p@h/d", "other schemes"),
        ("postgres://u:p@h/d?pgbouncer=true", "has the setting `pgbouncer`"),
        ("postgres://u:p@h/d?options=x", "has the setting `options`"),
        ("postgres://u:p@h/d?target_session_attrs=any", "has the setting `target_session_attrs`"),
        ("postgres://u:p@h1,h2/d", "several hosts"),
        ("postgres://u:p@h1:1,h2:2/d", "several hosts"),
        ("postgres://u:p@h/d?host=h2", "gives the host twice"),
        ("postgres://u:p@/d?host=h1,h2", "several hosts"),
        ("postgres://u:p@/d?host=h1%2Ch2", "several hosts"),
        ("postgres://u:p@h:1,2/d", "several hosts"),
        ("postgres://u:p@h/d?port=1&port=2", "gives the port twice"),
        ("postgres://u:p@h:1/d?port=1", "gives the port twice"),
        ("postgres://u:p@h/d?hostaddr=127.0.0.1", "`hostaddr`"),
        ("postgres://u:p@h/d?options=-csearch_path%3Dx", "`options`"),
        ("postgres://u:p@h/d?sslrootcert=/etc/passwd", "`ca_file` beside the url"),
        ("postgres://u:p@h/d?sslkey=/etc/passwd", "would read a file"),
        ("postgres://u:p@h/d?passfile=/etc/passwd", "would read a file"),
        ("postgres://u:p@h/d?service=x", "would read a file"),
        ("postgres://u:p@h/d?krbsrvname=x", "`krbsrvname`"),
        ("postgres://u:p@%2Ftmp/d", "unusable host"),
        ("postgres://u:p@/d?host=%2Ftmp", "names a socket"),
        ("postgres://u:p@/d?host=/tmp", "names a socket"),
        ("postgres://u:p@%68ost/d", "unusable host"),
        ("postgres:///d?user=u", "names no host"),
        ("postgres://h/d", "names no user"),
        ("postgres://:p@h/d", "names no user"),
        ("postgres://u:p@h:0/d", "port"),
        ("postgres://u:p@h:65536/d", "port"),
        ("postgres://u:p@h:+1/d", "port"),
        ("postgres://u:p@::1/d", "without brackets"),
        ("postgres://u:p@[::1/d", "without its `]`"),
        ("postgres://u:p@[::1]x/d", "after the IPv6 address"),
        ("postgres://u:p@[fe80::1%25eth0]/d", "not an IPv6 address"),
        ("postgres://u:p@@h/d", "more than one `@`"),
        ("postgres://u:p@evil@h/d", "more than one `@`"),
        ("postgres://u:a:b@h/d", "more than one `:`"),
        ("postgres://u:p#x@h/d", "contains `#`"),
        ("postgres://u:p\\@h/d", "backslash"),
        ("postgres://u:p@h/d\n", "control character"),
        ("postgres://u:%00@h/d", "control character"),
        ("postgres://u:%zz@h/d", "two hexadecimal digits"),
        ("postgres://u:%4@h/d", "two hexadecimal digits"),
        ("postgres://u:%ff@h/d", "not UTF-8"),
        ("postgres://u:p@h/d/e", "`/` in the database name"),
        ("postgres://u:p@h/d?dbname=e", "gives the database twice"),
        ("postgres://u:p@h/d?sslmode", "without `=`"),
        ("postgres://u:p@h/d?sslmode=prefer", "falls back to plain text"),
        ("postgres://u:p@h/d?sslmode=allow", "falls back to plain text"),
        ("postgres://u:p@h/d?sslmode=on", "unknown sslmode"),
        ("postgres://u:p@h/d?sslmode=disable&channel_binding=require", "without TLS"),
        ("postgres://u:p@-h/d", "unusable host"),
        ("postgres://u:p@h$(id)/d", "unusable host"),
    ] {
        let refusal = refusal(url);
        assert!(refusal.contains(expect), "{url}: {refusal}");
    }
    assert!(refusal(&format!("postgres://u:p@h/{}", "d".repeat(5000))).contains("too long"));
    assert!(refusal(&format!("postgres://u:p@{}/d", "h".repeat(254))).contains("unusable host"));
}

#[test]
fn a_refusal_never_repeats_the_password() {
    for url in [
        "postgres://u:s3cret:x@h/d",
        "postgres://u:s3cret@x@h/d",
        "postgres://u:s3cret#@h/d",
        "postgres://u:s3cret/x@h/d",
        "postgres://u:x?s3cret@h/d",
        "postgres://u:x?s3cret=1@h/d",
        "postgres://u:x?a=1&s3cret=1@h/d",
        "postgres://u:s3cret%zz@h/d",
        "s3cret",
        "postgres://u@h:s3cret/d",
        "postgres://u@h/d?port=s3cret",
        "postgres://u@h/d?sslmode=s3cret",
        "host=h password=s3cret",
        "jdbc:postgresql://h/d?password=s3cret",
        "postgres:/u:s3cret@h/d",
        "h:5432:d:u:s3cret",
        "PGPASSWORD=s3cret psql",
    ] {
        let refusal = refusal(url);
        assert!(!refusal.contains("s3cret"), "{refusal}");
    }
}

#[test]
fn the_source_may_be_a_socket_and_is_verified_unless_it_is_near() {
    let check = |url: &str, host: &str, mode: TlsMode| {
        let read = ConnectionString::source(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!((read.host(), read.ssl_mode()), (host, mode), "{url}");
    };
    check("postgresql://u@%2Fvar%2Frun%2Fpostgresql/d", "/var/run/postgresql", TlsMode::Disable);
    check("postgresql:///d?host=/tmp&user=u&port=5433", "/tmp", TlsMode::Disable);
    check("postgresql://u@127.0.0.1/d", "127.0.0.1", TlsMode::Disable);
    check("postgresql://u@localhost/d", "localhost", TlsMode::Disable);
    check("postgresql://u@[::1]/d", "::1", TlsMode::Disable);
    check("postgresql://u@localhost/d?sslmode=require", "localhost", TlsMode::Require);
    check("postgresql://u@db/d", "db", TlsMode::VerifyFull);
    check(
        "postgresql://u@db/d?sslmode=disable&application_name=x&connect_timeout=5",
        "db",
        TlsMode::Disable,
    );
    let with_ca =
        ConnectionString::source("postgresql://u@db/d?sslrootcert=%2Fetc%2Fca.pem").unwrap();
    assert_eq!(with_ca.ca_file(), Some(Path::new("/etc/ca.pem")));
    // What an error advises must be what this URL takes.
    assert!(
        with_ca.remote().settings.name_authority.contains("sslrootcert="),
        "{}",
        with_ca.remote().settings.name_authority
    );
    let tenants = ConnectionString::destination("postgresql://u@db/d", None).unwrap();
    assert!(
        tenants.remote().settings.name_authority.contains("ca_file"),
        "{}",
        tenants.remote().settings.name_authority
    );
    assert!(ConnectionString::source("postgresql://u@db/d?options=x").is_err());
}

#[test]
fn the_fingerprint_changes_with_everything_and_the_place_with_the_database_only() {
    let read = |url: &str| ConnectionString::destination(url, None).unwrap();
    let base = read("postgres://u:p@h/d");
    for other in [
        "postgres://u:q@h/d",
        "postgres://v:p@h/d",
        "postgres://u@h/d",
        "postgres://u:p@h/d?sslmode=require",
    ] {
        assert_ne!(base.fingerprint(), read(other).fingerprint(), "{other}");
        assert_eq!(base.place(), read(other).place(), "{other}");
    }
    for other in ["postgres://u:p@h2/d", "postgres://u:p@h:1/d", "postgres://u:p@h/d2"] {
        assert_ne!(base.fingerprint(), read(other).fingerprint(), "{other}");
        assert_ne!(base.place(), read(other).place(), "{other}");
    }
    assert_eq!(base.fingerprint(), read("postgresql://u:p@H.:5432/?dbname=d").fingerprint());
    let with_ca =
        ConnectionString::destination("postgres://u:p@h/d", Some(Path::new("ca.pem"))).unwrap();
    assert_ne!(base.fingerprint(), with_ca.fingerprint());
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,80}", tail in "[a-z0-9:@/?&=%,.\\[\\]#]{0,60}") {
        for url in [text.clone(), format!("postgres://{text}"), format!("postgres://{tail}"), format!("postgres://u:p@h/d?{tail}")] {
            let _ = ConnectionString::source(&url);
            let _ = ConnectionString::destination(&url, None);
        }
    }

    #[test]
    fn the_password_is_read_back_and_never_shown(password in "[ -~]{8,40}") {
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let read = ConnectionString::destination(&format!("postgres://u:{encoded}@h.example/d"), None).unwrap();
        let login = read.login("x");
        prop_assert_eq!(login.get_password(), Some(password.as_bytes()));
        for shown in [format!("{read:?}"), read.to_string(), read.place(), read.fingerprint()] {
            prop_assert!(!shown.contains(&password) && !shown.contains(&encoded));
        }
    }

    #[test]
    fn an_accepted_destination_has_a_host_that_is_only_a_host(tail in "[a-zA-Z0-9:@/?&=%,.\\[\\]_-]{0,60}") {
        if let Ok(read) = ConnectionString::destination(&format!("postgres://u:p@{tail}"), None) {
            prop_assert!(!read.host().is_empty());
            prop_assert!(read.host().parse::<std::net::IpAddr>().is_ok() || read.host().chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)));
        }
    }
}
