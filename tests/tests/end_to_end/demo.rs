//! `offtake demo` as a new user runs it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use offtake_tests::{PATIENCE, binary, until};

fn demo(folder: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("offtake"));
    // The demo gets its own temporary folder, so that everything left behind there is this demo's.
    command.env("TMPDIR", folder).arg("demo").args(["--listen", "127.0.0.1:0"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn left_in(folder: &std::path::Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// A temporary folder that the servers' user may enter.
fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

#[test]
fn the_demo_ends_with_equal_copies_and_leaves_nothing_behind() {
    let folder = open_folder();
    let arguments = ["--tenants", "2", "--for", "8s", "--rate", "100"];
    let mut running = demo(folder.path(), &arguments).spawn().unwrap();
    let (mut said, mut typed) = (String::new(), Vec::new());
    for line in BufReader::new(running.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // What it tells the user to type works as it stands there, also where the program is not on
        // the path. Typed at once: the demo does not wait for it.
        if line.starts_with("  psql ") || line.contains(" status --config ") {
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).stdin(Stdio::null());
            let shell = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            typed.push((line.clone(), shell));
        }
        said.push_str(&line);
        said.push('\n');
    }
    assert_eq!(typed.len(), 4, "{said}");
    for (line, shell) in typed {
        let shell = shell.wait_with_output().unwrap();
        assert!(shell.status.success(), "{line}\n{}", String::from_utf8_lossy(&shell.stderr));
    }
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("All 14 copies equal their queries."), "{said}");
    assert!(
        said.contains("all of which verify") && said.contains("rows, equals the query."),
        "{said}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(left_in(folder.path()), [""; 0]);
}

/// With files in place of databases, the demo needs one server.
#[test]
fn the_demo_of_files_ends_with_equal_copies_too() {
    let folder = open_folder();
    let arguments = ["--destination", "sqlite", "--tenants", "2", "--for", "2s", "--rate", "100"];
    let output = demo(folder.path(), &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("All 14 copies equal their queries."), "{said}");
    assert!(said.contains("sqlite3 '"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(left_in(folder.path()), [""; 0]);
}

#[test]
fn the_demo_of_a_shared_database_ends_with_equal_copies_too() {
    let folder = open_folder();
    let arguments = ["--shared", "--tenants", "300", "--for", "2s", "--rate", "100"];
    let output = demo(folder.path(), &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("All 300 copies equal their queries."), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(left_in(folder.path()), [""; 0]);
    let output = demo(folder.path(), &["--tenants", "101"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--shared"), "{told}");
}

#[tokio::test]
async fn an_interrupted_demo_exits_130_and_a_killed_one_is_swept() {
    let folder = open_folder();
    let mut killed = demo(folder.path(), &["--for", "1m"]).spawn().unwrap();
    until("its servers are there", PATIENCE, async || {
        if left_in(folder.path()).len() == 2 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = left_in(folder.path());
    assert_eq!(left.len(), 2);
    let mut interrupted = demo(folder.path(), &["--for", "1m"]).spawn().unwrap();
    // The demo listens for signals before it starts its servers, and before that it has swept old
    // ones.
    until("its own servers are there", PATIENCE, async || match left_in(folder.path()) {
        now if now.len() == 2 && now.iter().all(|name| !left.contains(name)) => Ok(()),
        now => Err(format!("{now:?}")),
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let pid = rustix::process::Pid::from_child(&interrupted);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = until("the demo ends", PATIENCE, async || {
        interrupted.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
    })
    .await;
    assert_eq!(status.code(), Some(130));
    assert_eq!(left_in(folder.path()), [""; 0]);
}
