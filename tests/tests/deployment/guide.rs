//! The guide for Debian, typed word for word over the package that dpkg has installed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use offtake_private_server::ReservedPort;
use offtake_tests::World;

use crate::read;
use offtake_tests::tools::said;

/// What a reader would type into the editor: a destination on this machine, and a port that is free.
const EDITOR: &str = r#"#!/bin/sh
sed -i -e "s|static: \[\]|static: [{ tenant: \"$TENANT\", url: \"$URL\" }]|" \
  -e "s|127.0.0.1:8080|127.0.0.1:$PORT|" "$1"
echo 'security: { allow_destinations: [127.0.0.0/8] }' >>"$1"
"#;

/// Stands in for systemd, which is not the first process here: it starts what the unit starts, and
/// returns when the daemon is ready, as `Type=notify` does.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
  "enable --now offtake")
    line=$(sed -n 's/^ExecStart=//p' "$ROOT/usr/lib/systemd/system/offtake.service")
    line=$(echo "$line" | sed -e "s|/usr/bin|$ROOT/usr/bin|" -e "s|/etc/offtake|$ROOT/etc/offtake|")
    $line >"$ROOT/daemon.log" 2>&1 &
    echo $! >"$ROOT/daemon.pid"
    until offtake health; do kill -0 "$(cat "$ROOT/daemon.pid")" || exit 1; sleep 0.1; done ;;
  "status offtake") kill -0 "$(cat "$ROOT/daemon.pid")" ;;
  *) echo "systemctl $*?" >&2; exit 1 ;;
esac
"#;

/// What is another thing on the reader's machine.
const PLACES: [&str; 2] = ["/etc/offtake", "/usr/share/doc/offtake"];
const SOURCE: &str = "postgres://offtake:password@db.example.com:5432/app";

/// The block of the guide that begins with the credential.
fn block() -> String {
    let page = read("docs/deployment.md");
    let (_, rest) = page.split_once("because there is no source yet:\n\n```sh\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// The commands of the page's block that has this line, without what is said about them.
pub(crate) fn commands(page: &str, line: &str) -> Vec<String> {
    let text = read(page);
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains(line));
    let lines = block.unwrap_or_else(|| panic!("{page} has no {line}")).lines();
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
}

/// Follows the guide in the root that the package was installed into, up to a copy that is equal.
/// Afterwards nothing of it is left there.
pub(crate) async fn follow(into: &Path) {
    let world = World::with_tenants(["acme"]).without_init().await;
    world.fill(20).await;
    let programs = into.join("programs");
    std::fs::create_dir(&programs).unwrap();
    for (name, text) in [("editor", EDITOR), ("systemctl", SYSTEMCTL)] {
        let file = programs.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut script = block();
    assert!(script.contains(SOURCE), "{script}");
    script = script.replace(SOURCE, &world.source.url());
    for place in PLACES {
        assert!(script.contains(place), "{script}");
        script = script.replace(place, &format!("{}{place}", into.display()));
    }
    script.push_str("until offtake sync --tenant \"$TENANT\" --wait 30s; do sleep 0.1; done\n");
    script.push_str("offtake verify\n");
    let port = ReservedPort::any().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command
        .args(["--norc", "-euxo", "pipefail", "-c", &script])
        .env("PATH", format!("{}:{}/usr/bin:{path}", programs.display(), into.display()))
        .env("ROOT", into)
        .env("TENANT", world.id("acme"))
        .env("URL", world.tenant("acme").destination.url())
        .env("PORT", port.number().to_string());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let log = std::fs::read_to_string(into.join("daemon.log")).unwrap_or_default();
    let ended = output.status.success();
    let pid = std::fs::read_to_string(into.join("daemon.pid")).unwrap_or_default();
    let _ = Command::new("kill").arg(pid.trim()).status();
    let (told, complained) = said(&output);
    assert!(ended, "{told}{complained}{log}");
    let users = world.tenant("acme").destination.query_text("select count(*) > 0 from users").await;
    assert_eq!(users, "t");
    for left in ["daemon.log", "daemon.pid", "etc/offtake/credentials/source_url"] {
        std::fs::remove_file(into.join(left)).unwrap();
    }
    std::fs::remove_file(into.join("etc/offtake/mappings/users.yaml")).unwrap();
    std::fs::remove_dir_all(programs).unwrap();
}
