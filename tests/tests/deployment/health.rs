//! `offtake health`, by which containers are checked.

use std::process::Command;

use offtake_tests::proxy::Mode;
use offtake_tests::samples::TEAMS;
use offtake_tests::{PATIENCE, World, binary, until};
use serde_json::Value;

use offtake_tests::tools::said;

fn health(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary("offtake"));
    command.env_remove("OFFTAKE_CONFIG").arg("health").args(arguments);
    let output = command.output().unwrap();
    let (told, complained) = said(&output);
    (output.status.code(), told, complained)
}

#[tokio::test]
async fn health_says_whether_the_daemon_of_a_configuration_works() {
    let world = World::with_tenants(["acme"]).proxied_source().mappings(&[("teams", TEAMS)]).await;
    world.allow("*");
    let daemon = world.daemon().await;
    let url = format!("http://127.0.0.1:{}", daemon.port());
    let (code, told, complained) = health(&["--url", &url]);
    assert!(code == Some(0) && told.starts_with("ready: the source answers"), "{told}{complained}");
    let (code, told, _) = health(&["--url", &url, "--json"]);
    let read: Value = serde_json::from_str(&told).unwrap();
    assert!(
        code == Some(0) && read["healthy"] == true && read["answer"]["source"] == true,
        "{told}"
    );

    // The place is read from the file. A daemon that listens everywhere is asked at loopback.
    let file = world.folder().join("health.yaml");
    for probes in ["", "probes: 0.0.0.0:PORT,"] {
        let listen = if probes.is_empty() { "127.0.0.1:PORT" } else { "127.0.0.1:1" };
        let text = format!(
            "source: {{ url: postgres://app@localhost/app }}\nhttp: {{ {probes} listen: '{listen}' }}\n"
        );
        std::fs::write(&file, text.replace("PORT", &daemon.port().to_string())).unwrap();
        let (code, told, complained) = health(&["--live", "--config", file.to_str().unwrap()]);
        assert!(code == Some(0) && told == "ok\n", "{told}{complained}");
    }

    // Without its source the daemon is not ready, and still lives.
    world.source_proxy().set(Mode::Refuse);
    until("it is told that the source does not answer", PATIENCE, async || {
        match health(&["--url", &url, "--timeout", "10s"]) {
            (Some(1), told, _) if told.contains("the source does not answer\n") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(health(&["--url", &url, "--live"]).0, Some(0));
    world.source_proxy().set(Mode::Pass);
    daemon.stop().await;

    let (code, _, complained) = health(&["--url", &url]);
    assert_eq!(code, Some(69), "{complained}");
    assert!(complained.contains("remedy: start it with `offtake run`"), "{complained}");
}
