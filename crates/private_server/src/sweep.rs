//! Clearing away what owners that crashed left behind.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::folder::ServerFolder;
use crate::process::{self, ProcessIdentity};

/// Stops the servers and removes the folders of private servers whose owner is gone. Returns how
/// many there were. Called before a server is started; blocks while a server shuts down.
pub fn sweep() -> usize {
    let abandoned = ServerFolder::abandoned();
    for folder in &abandoned {
        if let Some(postmaster) = postmaster(folder) {
            stop(&postmaster);
        }
        folder.remove();
    }
    abandoned.len()
}

/// The folder's running postmaster: the number in its own `postmaster.pid`, if that process was
/// started on this very data folder.
pub(crate) fn postmaster(folder: &ServerFolder) -> Option<ProcessIdentity> {
    let data = folder.data();
    let pid = fs::read_to_string(data.join("postmaster.pid"))
        .ok()?
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()?;
    let postmaster = ProcessIdentity::of(pid)?;
    process::started_with(pid, &data).then_some(postmaster)
}

/// Immediate shutdown; its data is thrown away, so nothing needs to be written first.
fn stop(postmaster: &ProcessIdentity) {
    for (signal, patience) in
        [(Signal::QUIT, Duration::from_secs(10)), (Signal::KILL, Duration::from_secs(5))]
    {
        process::signal(postmaster.pid, signal);
        if process::wait_until(patience, || !postmaster.alive()) {
            return;
        }
    }
}
