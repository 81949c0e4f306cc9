//! What a command does when its output cannot be written.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use offtake_tests::{PATIENCE, World, binary, until};
use serde_json::json;

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: this system has no /dev/full");
        return;
    };
    let output = Command::new(binary("offtake"))
        .args(["config", "--example"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("cannot write the result"), "{complaint}");
}

/// As with `| head`. Otherwise a watch without a reader would query the source for ever.
#[tokio::test]
async fn a_watch_ends_when_its_reader_goes_away() {
    let world = World::with_tenants(["acme"]).await;
    let file = world.folder().join("watch.yaml");
    let text =
        json!({ "source": { "url": world.source.url() }, "mappings": world.mappings_folder() })
            .to_string();
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(binary("offtake"));
    command
        .arg("--config")
        .arg(file)
        .args(["status", "--watch"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut watch = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("destinations"), "{line}");
    let status = until("the watch ends", PATIENCE, async || {
        watch.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
    })
    .await;
    assert_eq!(status.code(), Some(0));
}
