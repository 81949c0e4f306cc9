//! Invariant 10: a value under a key that holds a URL or a secret is never repeated, whatever its
//! form.

use std::path::{Path, PathBuf};
use std::process::Command;

use offtake_tests::{PATIENCE, World, binary, until};
use serde_json::Value;

use super::offtake;

/// Part of every password.
const SECRET: &str = "Canary";

/// What people paste where a URL belongs.
const FORMS: [&str; 9] = [
    "host=127.0.0.1 user=postgres password=Canary-4711 dbname=x",
    "Server=h;User Id=u;Pwd=Canary-4711;Database=x",
    "jdbc:postgresql://127.0.0.1/x?user=u&password=Canary-4711",
    "u:Canary-4711@127.0.0.1/x",
    "postgres:/u:Canary-4711@127.0.0.1/x",
    "127.0.0.1:5432:x:u:Canary-4711",
    "PGPASSWORD=Canary-4711 psql -h 127.0.0.1",
    "postgres://u:Canary-4711@127.0.0.1/x?target_session_attrs=Canary-4711",
    "Canary-4711",
];

/// Every file in which `form` stands where a connection string is read, or nearly.
fn files(form: &str) -> Vec<String> {
    let source = "source: { url: \"postgres://u@127.0.0.1/x\" }\nmappings: mappings\n";
    let destination = |entry: &str| format!("{source}destinations:\n  static:\n    {entry}\n");
    vec![
        destination(&format!("- {{ tenant: acme, url: \"{form}\" }}")),
        destination(&format!("- {{ tenant: acme, url: '{form}', shared: maybe }}")),
        destination(&format!("- tenant: acme\n      url: {form}")),
        destination(&format!("- tenant: acme\n      url: |\n        {form}")),
        destination(&format!("- tenant: acme\n      urll: {form}")),
        destination(&format!("- tenant: acme\n      connection: \"{form}\"")),
        destination(&format!("- tenant: acme\n      url: {{ password: \"{form}\" }}")),
        destination(&format!("- tenant: acme\n      url: [ \"{form}\" ]")),
        destination(&format!("- {{ tenant: acme, ca_file: \"{form}\", url: \"\" }}")),
        destination(&format!("- \"{form}\"")),
        destination(&format!("- {{ tenant: acme, url: \"{form}\"")),
        destination(&format!("- {{ tenant: acme, {form} }}")),
        format!("source: {{ url: \"{form}\" }}\n"),
        format!("source: \"{form}\"\n"),
        format!("source:\n  url: {form}\n   x: [\n"),
        format!("{source}http: {{ admin_token: \"{form}\", listen: nowhere }}\n"),
        format!("{source}sync: {{ workers: 0 }} # {form}\n"),
        format!("{form}\n"),
    ]
}

#[tokio::test]
async fn a_connection_string_of_another_form_is_never_repeated() {
    let mut world = World::with_tenants(["acme"]).await;
    for form in FORMS {
        for text in files(form) {
            let file = world.folder().join("pasted.yaml");
            std::fs::write(&file, &text).unwrap();
            // A plain word where a key or a path belongs is told as that.
            let as_key = form.chars().all(|c| c.is_alphanumeric() || c == '-');
            if as_key
                && [format!("acme, {form}"), "ca_file".into()].iter().any(|at| text.contains(at))
            {
                continue;
            }
            for command in ["check", "config", "status"] {
                let (code, told) = offtake_with(&file, &[command]);
                assert_ne!(code, 0, "{text}\n{told}");
                assert!(!told.contains(SECRET), "{command}\n{text}\n{told}");
                assert!(told.contains("remedy:"), "{told}");
            }
        }
        // As an argument, at a place where no URL is read.
        for arguments in [
            &["run", form][..],
            &[form],
            &["status", "--tenant", form],
            &["check", "--url", form],
            &["pause", "--tenant", "a", "--reason", "x", "--for", form],
        ] {
            let (code, told) = offtake(&world, arguments).await;
            let plain_word = form == SECRET.to_owned() + "-4711";
            assert!(code != 0 && (plain_word || !told.contains(SECRET)), "{arguments:?} {told}");
        }
        let (code, told) = offtake_with(Path::new(form), &["check"]);
        assert!(code != 0 && (form.len() < 12 || !told.contains(SECRET)), "{told}");
    }
    // The message says what is wrong with the form.
    let (_, told) = {
        world.configure(|c| c["destinations"]["static"][0]["url"] = FORMS[0].into());
        offtake(&world, &["check"]).await
    };
    assert!(told.contains("`key=value` strings are not read"), "{told}");
}

#[tokio::test]
async fn a_running_daemon_does_not_repeat_it_either() {
    let world = World::with_tenants(["acme"]).await;
    world.allow("configuration_refused");
    let daemon = world.daemon().await;
    let file = configuration_file(&world);
    let good = std::fs::read_to_string(&file).unwrap();
    for form in FORMS {
        let mut json: Value = serde_json::from_str(&good).unwrap();
        json["destinations"]["static"][0]["url"] = form.into();
        std::fs::write(&file, serde_json::to_string_pretty(&json).unwrap()).unwrap();
        until("the mistake is told", PATIENCE, async || {
            let (_, status) = daemon.get("/api/v1/status").await;
            assert!(!status.contains(SECRET), "{status}");
            if status.contains("static[0].url") { Ok(()) } else { Err(status) }
        })
        .await;
        std::fs::write(&file, &good).unwrap();
        until("the file is good again", PATIENCE, async || {
            let status = daemon.status().await;
            if status["config"]["error"].is_null() { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
    let log: String = daemon.stop().await.into_iter().map(|line| line.text).collect();
    assert!(log.contains("configuration_refused") && !log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn what_hosters_add_to_a_url_is_taken_and_the_rest_is_refused_by_name() {
    let mut world = World::with_tenants(["acme"]).await;
    let url = world.tenant("acme").destination.url();
    let with = |more: &str| format!("{url}{}{more}", if url.contains('?') { '&' } else { '?' });
    let harmless =
        with("application_name=x&connect_timeout=10&gssencmode=disable&sslnegotiation=postgres");
    world.reach_by("acme", |_| harmless.clone());
    world.configure(|c| {
        let source = c["source"]["url"].as_str().unwrap().to_owned();
        let sign = if source.contains('?') { '&' } else { '?' };
        c["source"]["url"] = format!("{source}{sign}gssencmode=disable&application_name=x").into();
    });
    world.succeed(&["check", "--connect"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    for name in ["options", "target_session_attrs", "pgbouncer", "keepalives", "sslcert"] {
        let url = with(&format!("{name}=Canary"));
        world.reach_by("acme", |_| url.clone());
        let (code, told) = offtake(&world, &["check"]).await;
        assert!(code == 78 && told.contains(&format!("`{name}`")), "{told}");
        assert!(!told.contains(SECRET), "{told}");
    }
}

/// Exit code and all output of `offtake` with that configuration file.
fn offtake_with(file: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(binary("offtake")).arg("--config").arg(file).args(arguments).output();
    let output = output.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

/// The file of the world's one daemon.
fn configuration_file(world: &World) -> PathBuf {
    let files = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}
