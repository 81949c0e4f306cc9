//! What the guide says to type so that a daemon is watched, with a real Prometheus.

use std::os::unix::fs::PermissionsExt as _;

use offtake_private_server::ReservedPort;
use offtake_tests::samples::TEAMS;
use offtake_tests::{PATIENCE, World, until};

use crate::first_run::{bash, block, on_the_path};
use crate::{installed, read, said};

/// Stand-ins for what would change the machine of the tests. The editor gets the lines of the page,
/// and systemctl starts what the unit of Debian starts.
const STAND_INS: [(&str, &str); 3] = [
    ("apt-get", "true"),
    ("editor", r#"printf '%s' "$LINES_OF_THE_PAGE" >"$1""#),
    (
        "systemctl",
        r#"[ "$*" = "restart prometheus" ] || exit 1
prometheus --config.file=prometheus/prometheus.yml --storage.tsdb.path=data \
  --web.listen-address="127.0.0.1:$PROMETHEUS" >prometheus.log 2>&1 &
echo $! >prometheus.pid
until curl --fail --silent "http://127.0.0.1:$PROMETHEUS/-/ready"; do
  kill -0 "$(cat prometheus.pid)" || exit 1
  sleep 0.1
done"#,
    ),
];

/// Ends the Prometheus that the block has started.
struct Ended(std::path::PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.0).unwrap_or_default();
        let _ = std::process::Command::new("kill").arg(pid.trim()).status();
    }
}

#[tokio::test]
async fn the_guide_makes_a_daemon_watched() {
    if !installed("prometheus") || !installed("promtool") || !installed("curl") {
        return;
    }
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let daemon = world.daemon().await;
    let folder = world.folder();
    std::fs::create_dir(folder.join("prometheus")).unwrap();
    let path = on_the_path(folder);
    for (name, text) in STAND_INS {
        let file = folder.join("programs").join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let page = read("docs/deployment.md");
    let (_, lines) = page.split_once("```yaml\nglobal:").unwrap();
    let lines = format!("global:{}", lines.split("```").next().unwrap());
    let own = format!("127.0.0.1:{}", daemon.port());
    assert!(lines.contains("127.0.0.1:8080") && lines.contains("15s"), "{lines}");
    let lines = lines.replace("127.0.0.1:8080", &own).replace("15s", "1s");
    let port = ReservedPort::any().unwrap();
    let prometheus = format!("127.0.0.1:{}", port.number());
    let script = block("docs/deployment.md", "offtake alerts --runbooks");
    let script =
        script.replace("/etc/prometheus", "prometheus").replace("127.0.0.1:9090", &prometheus);
    let mut command = bash(folder, &path, &script);
    command.env("LINES_OF_THE_PAGE", lines);
    command.env("PROMETHEUS", port.number().to_string());
    let _ended = Ended(folder.join("prometheus.pid"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // It is scraped, and the rules are there.
    until("the daemon is watched", PATIENCE, async || {
        let ask = |path: &str| {
            let url = format!("http://{prometheus}/api/v1/{path}");
            said(&std::process::Command::new("curl").args(["--silent", &url]).output().unwrap())
        };
        let (known, rules) = (ask("query?query=offtake_build_info"), ask("rules"));
        let there = known.contains(env!("CARGO_PKG_VERSION"))
            && rules.contains("https://wiki.example.com/offtake-alerts#offtakedown");
        if there { Ok(()) } else { Err(format!("{known}\n{rules}")) }
    })
    .await;
    daemon.stop().await;
}
