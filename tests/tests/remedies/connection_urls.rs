//! URLs that cannot be used, for the source and for a destination: what the message says to write
//! is taken.

use std::collections::BTreeMap;

use offtake_tests::printed::{between, remedy};
use offtake_tests::samples::USERS;

use super::{offtake_in, told};

/// Checks a file in which both URLs are this one. Exit code, and the message about the first.
fn check(url: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("mappings")).unwrap();
    std::fs::write(folder.path().join("mappings/users.yaml"), USERS).unwrap();
    let quoted = serde_json::to_string(url).unwrap();
    let text = format!(
        "source: {{ url: {quoted} }}\ndestinations:\n  static: [{{ tenant: acme, url: {quoted} }}]\n"
    );
    std::fs::write(folder.path().join("offtake.yaml"), text).unwrap();
    told(&offtake_in(folder.path(), &BTreeMap::new(), &["check"]))
}

/// The form that a remedy prints, with its words in capitals filled in.
fn filled(form: &str) -> String {
    let words = [("USER", "app"), ("PASSWORD", "pw"), ("HOST", "db.example.com"), ("PORT", "5432")];
    let filled =
        words.iter().fold(form.to_owned(), |form, (word, value)| form.replace(word, value));
    filled.replace("DATABASE", "app")
}

#[test]
fn a_url_of_another_form_is_accepted_in_the_form_that_is_printed() {
    for url in [
        "host=db.example.com user=app password=pw dbname=app",
        "jdbc:postgresql://db.example.com/app?user=app&password=pw",
        "app:pw@db.example.com/app",
        "postgres:/app:pw@db.example.com/app",
        "db.example.com:5432:app:app:pw",
        "PGPASSWORD=pw psql -h db.example.com -U app app",
        "mysql://app:pw@db.example.com/app",
        "postgres://db.example.com/app",
        "postgres://app:pw@/app",
        "postgres://app:pw@db.example.com:port/app",
        "postgres://app:pw@db example.com/app",
    ] {
        let (code, message) = check(url);
        assert_eq!(code, 78, "{url}: {message}");
        let told = remedy(&message);
        if !told.starts_with("write ") {
            // A blank is told with how it is encoded; in a host there is none.
            assert!(url.contains("db example"), "{url}: {message}");
            continue;
        }
        let written = filled(between(told, "write ", " "));
        let (code, message) = check(&written);
        assert_eq!((code, message.as_str()), (0, ""), "{url}: {written}");
    }
}

/// The remedy lists how each special character is written. A password with any of them is refused
/// with that list, and taken when it is written so.
#[test]
fn a_password_with_special_characters_is_taken_as_the_message_encodes_it() {
    let (_, message) = check("postgres://app:p@ss@db.example.com/app");
    let list = between(remedy(&message), "(", ")").to_owned();
    let codes: Vec<(&str, &str)> =
        list.split(", ").map(|entry| entry.split_once(" is ").unwrap()).collect();
    assert_eq!(codes.len(), 6, "{list}");
    for (character, code) in codes {
        let plain = format!("postgres://app:p{character}ss@db.example.com/app");
        let (exit, message) = check(&plain);
        assert_eq!(exit, 78, "{plain}: {message}");
        assert!(remedy(&message).contains(&format!("{character} is {code}")), "{plain}: {message}");
        let (exit, message) =
            check(&plain.replace(&format!("p{character}ss"), &format!("p{code}ss")));
        assert_eq!((exit, message.as_str()), (0, ""), "{character}");
    }
}

/// What stands behind the database: the settings; and names of hosts. Each with the words of the
/// remedy and what they lead to.
#[test]
fn a_setting_that_is_refused_is_mended_as_the_message_says() {
    for (wrong, says, right) in [
        (
            "app@db.example.com/app?sslmode=prefer",
            "use verify-full",
            "app@db.example.com/app?sslmode=verify-full",
        ),
        (
            "app@db.example.com/app?sslmode=prefer",
            "or require",
            "app@db.example.com/app?sslmode=require",
        ),
        (
            "app@db.example.com/app?sslmode=strong",
            "use verify-full",
            "app@db.example.com/app?sslmode=verify-full",
        ),
        (
            "app@db.example.com/app?channel_binding=perhaps",
            "leave it out",
            "app@db.example.com/app",
        ),
        (
            "app@db.example.com/app?sslmode=disable&channel_binding=require",
            "use sslmode=verify-full",
            "app@db.example.com/app?sslmode=verify-full&channel_binding=require",
        ),
        (
            "app@db.example.com/app?sslmode",
            "write ?name=value&name=value",
            "app@db.example.com/app?sslmode=require",
        ),
        ("app@one,two/app", "name one host", "app@one/app"),
        ("app@/app?host=one,two", "name one host", "app@/app?host=one"),
        ("app@2001:db8::1/app", "write [ADDRESS]:PORT", "app@[2001:db8::1]:5432/app"),
        ("app@[2001:db8::1/app", "write [ADDRESS]:PORT", "app@[2001:db8::1]:5432/app"),
        ("app@[db.example.com]/app", "write [ADDRESS]:PORT", "app@[2001:db8::1]:5432/app"),
        ("app@[2001:db8::1]5432/app", "write [ADDRESS]:PORT", "app@[2001:db8::1]:5432/app"),
        (
            "app@db.example.com/app?hostaddr=192.0.2.1",
            "name the address as the host",
            "app@192.0.2.1/app",
        ),
        ("app@db.example.com/app?options=-cx%3D1", "use ALTER ROLE", "app@db.example.com/app"),
        ("app@db.example.com/app?keepalives=1", "remove it", "app@db.example.com/app"),
        ("app@db.example.com/app?user=app", "give it once", "app@db.example.com/app"),
    ] {
        let (code, message) = check(&format!("postgres://{wrong}"));
        assert_eq!(code, 78, "{wrong}: {message}");
        assert!(remedy(&message).contains(says), "{wrong}: {message}");
        let (code, message) = check(&format!("postgres://{right}"));
        assert_eq!((code, message.as_str()), (0, ""), "{wrong}: {right}");
    }
}
