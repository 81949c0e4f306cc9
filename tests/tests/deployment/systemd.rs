//! `deploy/offtake.service`, read by systemd's own tools.

use std::collections::BTreeMap;
use std::path::PathBuf;

use offtake::command_line::Command;
use offtake::daemon::GRACE;
use offtake_tests::binary;

use crate::{command, configuration, read, root};
use offtake_tests::tools::{on_path, succeed};

/// The unit in a folder of its own, with a program that exists here.
fn unit(folder: &tempfile::TempDir) -> PathBuf {
    let file = folder.path().join("offtake.service");
    let program = binary("offtake");
    let text = read("deploy/offtake.service");
    std::fs::write(&file, text.replace("/usr/bin/offtake", program.to_str().unwrap())).unwrap();
    file
}

/// Every value of that key, in order.
fn settings(key: &str) -> Vec<String> {
    let text = read("deploy/offtake.service");
    let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

#[test]
fn systemd_accepts_the_unit_without_a_word() {
    let Some(mut analyze) = on_path("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    analyze.args(["verify", "--man=no"]).arg(unit(&folder));
    let (told, complained) = succeed(&mut analyze);
    assert_eq!(told + &complained, "");
}

#[test]
fn the_unit_is_exposed_as_little_as_the_documentation_says() {
    let Some(mut analyze) = on_path("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    analyze.args(["security", "--offline=true", "--no-pager"]).arg(unit(&folder));
    let (told, _) = succeed(&mut analyze);
    let level = told.split("Overall exposure level for offtake.service: ").nth(1).unwrap();
    let level = level.split(' ').next().unwrap();
    assert!(level.parse::<f64>().unwrap() < 2.0, "{told}");
    let documented = format!("exposure level of the unit is {level}");
    assert!(read("docs/deployment.md").contains(&documented), "not in the page: {documented}");
}

#[test]
fn the_unit_s_commands_and_times_are_the_daemon_s() {
    for (key, expected) in [("ExecStart", 1), ("ExecReload", 2)] {
        let lines = settings(key);
        assert_eq!(lines.len(), expected, "{lines:?}");
        for line in lines {
            let Some(arguments) = line.strip_prefix("/usr/bin/offtake ") else {
                assert_eq!(line, "/bin/kill -HUP $MAINPID");
                continue;
            };
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let read = command(&arguments);
            assert!(matches!(read, Command::Run(_) | Command::Check(_)), "{read:?}");
        }
    }
    let seconds = |key: &str| settings(key)[0].trim_end_matches('s').parse::<u64>().unwrap();
    assert!(seconds("TimeoutStopSec") > GRACE.as_secs() + 5);
    assert!(seconds("WatchdogSec") >= 30);
    assert_eq!(settings("Type"), ["notify"]);
    // The exit code of files that cannot be used.
    assert_eq!(settings("RestartPreventExitStatus"), ["78"]);
}

/// The unit hands over the credential that the package's configuration names.
#[test]
fn the_packages_configuration_reads_the_units_credential() {
    let loaded = settings("LoadCredential");
    let (name, path) = loaded[0].split_once(':').unwrap();
    assert_eq!((loaded.len(), path), (1, "/etc/offtake/credentials/source_url"));
    let given = tempfile::tempdir().unwrap();
    std::fs::write(given.path().join(name), "postgres://app@source.example/app\n").unwrap();
    let variables = BTreeMap::from([(
        "CREDENTIALS_DIRECTORY".to_owned(),
        given.path().to_str().unwrap().to_owned(),
    )]);
    let found = configuration("deploy/debian/offtake.yaml", &variables);
    assert!(found.source.url.place().contains("source.example"), "{}", found.source.url.place());
    assert_eq!(found.mappings, root().join("deploy/debian/mappings"));
    assert!(found.http.listen.ip().is_loopback());
}
