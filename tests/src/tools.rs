//! Tools that read what this repository makes: what is in `deploy/`, and the API.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program of that name on the path. None: it is not there, and the test says so.
pub fn on_path(name: &str) -> Option<Command> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        eprintln!("skipped: {name} is not installed\n  remedy: scripts/ensure-tools");
    }
    found.map(Command::new)
}

/// A module of Python that `scripts/ensure-tools` installed, as a command.
pub fn python(module: &str) -> Option<Command> {
    let packages = python_packages();
    if !packages.join(".installed").is_file() {
        eprintln!("skipped: {module} is not installed\n  remedy: scripts/ensure-tools");
        return None;
    }
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages).args(["-m", module]);
    Some(command)
}

pub fn python_packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/packages")
}

/// Runs it to its end, which must be a success. Returns standard output and standard error.
pub fn succeed(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (told, complained) = said(&output);
    assert!(output.status.success(), "{command:?}: {}\n{told}{complained}", output.status);
    (told, complained)
}

pub fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
