//! The page that takes a new user from an empty folder to a copy of two tables.

use std::time::{Duration, Instant};

use offtake_private_server::ReservedPort;
use offtake_tests::World;

use crate::first_run::{bash, on_the_path};
use crate::pages::blocks;
use crate::{installed, said};

/// What stands in place of something of the reader's, and the daemon, which the reader has in
/// another window.
fn replaced(script: &str, source: &str, port: u16) -> String {
    let lines = [
        ("postgres://localhost/app", format!("'{source}'")),
        // The port that the configuration takes without this line may be another program's.
        (
            "mappings: mappings\n",
            format!("mappings: mappings\nhttp: {{ listen: 127.0.0.1:{port} }}\n"),
        ),
        (
            "offtake run               #",
            "offtake run & echo $! > daemon\nuntil offtake health; do sleep 0.1; done #".to_owned(),
        ),
        (
            "offtake uninstall",
            "kill $(cat daemon); wait $(cat daemon)\nofftake uninstall".to_owned(),
        ),
    ];
    let mut script = script.to_owned();
    for (line, instead) in lines {
        assert_eq!(script.matches(line).count(), 1, "{line} in: {script}");
        script = script.replace(line, &instead);
    }
    script
}

#[tokio::test]
async fn the_quickstart_works_word_for_word() {
    if !installed("sqlite3") || !installed("psql") {
        return;
    }
    let world = World::with_tenants(["nobody"]).without_init().await;
    let folder = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    let path = on_the_path(programs.path());
    let port = ReservedPort::any().unwrap();
    let page: Vec<String> =
        blocks("docs/quickstart.md").into_iter().map(|block| block.text).collect();
    let script = replaced(&page.join("\n"), &world.source.url(), port.number());
    let script = format!("trap 'kill $(cat daemon) 2>/dev/null || true' EXIT\n{script}");
    let mut command = bash(folder.path(), &path, &script);
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for told in [
        "1|Ada|ada@acme.example\n2|Bob|\n",
        "10|Ada|12.50|",
        "11|Bob|7.00|\n",
        "1|Ada Lovelace|ada@acme.example\n2|Bob|\n4|Carol|\n",
        "10|Ada Lovelace|12.50|",
        "2 of 2 copies equal their query",
    ] {
        assert!(said.contains(told), "no {told} in: {said}");
    }
    assert!(!said.contains("Grace"), "{said}");
    // What the page promises.
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}: {said}", began.elapsed());
    assert!(folder.path().join("copies/acme.db").is_file());
    let left = "select count(*) from pg_namespace where nspname = 'offtake'";
    assert_eq!(world.source.query_text(left).await, "0");
}
