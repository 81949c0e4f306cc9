//! A writer of the configuration or the mappings does not stop the daemon with it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use offtake_tests::{Daemon, PATIENCE, World, until};

use super::{assert_probes_answer, offtake, probe};

/// Puts a pipe in the place of a file. At no moment is nothing there: that would be a removal.
fn make_pipe(path: &Path) {
    let beside = path.with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&beside).status().unwrap().success());
    std::fs::rename(beside, path).unwrap();
}

/// The daemon answers, and its loops make progress.
async fn assert_alive(daemon: &Daemon, meanwhile: &str) {
    assert_probes_answer(daemon, meanwhile).await;
    let (code, body) = probe(daemon, "/api/v1/status", meanwhile).await;
    assert_eq!(code, 200, "{meanwhile}: {body}");
}

async fn wait_error(daemon: &Daemon, says: Option<&str>) {
    until(&format!("the status tells {says:?}"), PATIENCE, async || {
        let status = daemon.status().await;
        let error = status["config"]["error"].as_str();
        match (error, says) {
            (None, None) => Ok(()),
            (Some(error), Some(says)) if error.contains(says) => Ok(()),
            _ => Err(format!("{error:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_pipe_in_place_of_a_file_stops_nothing() {
    let world = World::with_tenants(["acme"]).await;
    world.allow("*");
    world.fill(3).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = std::fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .unwrap();
    let good = std::fs::read_to_string(&file).unwrap();
    make_pipe(&file);
    wait_error(&daemon, Some("not a regular file")).await;
    assert_alive(&daemon, "a pipe for a configuration").await;
    // Edits of other files go on meanwhile.
    let users = world.mappings_folder().join("users.yaml");
    let text = std::fs::read_to_string(&users).unwrap();
    let loaded = || daemon.log().iter().filter(|line| line.event == "mappings_loaded").count();
    let before = loaded();
    std::fs::write(&users, format!("# a comment\n{text}")).unwrap();
    until("the mapping is read again", PATIENCE, async || {
        if loaded() > before { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    world.source.execute("update project_user set display_name = 'meanwhile'").await;
    world.wait_in_step().await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, &good).unwrap();
    wait_error(&daemon, None).await;

    // A mapping whose file was replaced is not one that was removed.
    make_pipe(&users);
    wait_error(&daemon, Some("users.yaml: this is not a regular file")).await;
    assert_alive(&daemon, "a pipe for a mapping").await;
    let mappings = daemon.status().await["mappings"].as_array().unwrap().len();
    assert_eq!(mappings, 7);
    world.source.execute("update project_user set display_name = 'still'").await;
    until("the mapping goes on", PATIENCE, async || {
        let query = "select count(*) from users where display_name = 'still'";
        match world.tenant("acme").destination.try_query_text(query).await?.as_str() {
            "0" => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    world.write_mapping("users", &text);
    wait_error(&daemon, None).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_text_that_is_nested_or_large_is_refused_at_once() {
    let world = World::with_tenants(["acme"]).await;
    let many: String = (0..150_000).map(|n| format!("k{n}:\n")).collect();
    for (what, text, says) in [
        ("lists", "[".repeat(1_000_000), "nested too deep"),
        ("mappings", "{a: ".repeat(200_000), "nested too deep"),
        ("dashes", "- ".repeat(500_000), "nested too deep"),
        ("lines", "[\n".repeat(400_000), "nested too deep"),
        ("behind", format!("a: @x\nb: {}", "[".repeat(900_000)), "nested too deep"),
        ("inside", format!("query: {}", "[".repeat(900_000)), "nested too deep"),
        ("size", "#".repeat(100 << 20), "larger than"),
        ("keys", many, "there is no such key"),
    ] {
        let file = world.mappings_folder().join("strange.yaml");
        std::fs::write(&file, &text).unwrap();
        let began = Instant::now();
        let (code, told) = offtake(&world, &["check"]).await;
        let took = began.elapsed();
        eprintln!("{what}: {took:?}, {} bytes", told.len());
        assert!(code == 78 && told.contains("strange.yaml"), "{what}: {told}");
        assert!(what == "keys" || told.contains(says), "{what}: {told}");
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
        assert!(told.len() < 200_000, "{what}: {}", told.len());
        std::fs::remove_file(&file).unwrap();
    }
}
