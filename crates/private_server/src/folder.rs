//! The folder of one private server, and the marker that says whose it is.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use crate::process::{self, ProcessIdentity};

/// Only folders with this file are ever swept.
const MARKER: &str = ".offtake-private-server";
/// So that a sweep reads a few folders rather than the whole temporary folder.
const PREFIX: &str = "offtake-server-";

/// A server's folder; removing it is up to its owner.
#[derive(Debug, Clone)]
pub(crate) struct ServerFolder(PathBuf);

impl ServerFolder {
    /// A new folder, owned by this process.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let owner = ProcessIdentity::of(std::process::id())
            .ok_or_else(|| anyhow::anyhow!("this process has no start time"))?;
        let parent = fs::canonicalize(std::env::temp_dir())?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        fs::write(
            folder.path().join(MARKER),
            format!("{}\n{}\n{}\n", owner.pid, owner.started, namespace()),
        )?;
        // The server's own user may pass through to its data folder. No other user can list this
        // folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        Ok(Self(folder.keep()))
    }

    /// The folders of ours whose owner is gone.
    pub(crate) fn abandoned() -> Vec<Self> {
        let entries = fs::canonicalize(std::env::temp_dir())
            .and_then(fs::read_dir)
            .into_iter()
            .flatten()
            .flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
        ours.map(|entry| Self(entry.path())).filter(Self::is_abandoned).collect()
    }

    fn is_abandoned(&self) -> bool {
        let me = rustix::process::geteuid().as_raw();
        let mine = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.uid() == me);
        let marker = self.0.join(MARKER);
        if !mine(&self.0) || !mine(&marker) {
            return false;
        }
        let text = fs::read_to_string(marker).unwrap_or_default();
        let mut lines = text.lines();
        match (lines.next().and_then(|pid| pid.parse().ok()), lines.next(), lines.next()) {
            (Some(pid), Some(started), Some(at)) => {
                // A process of another container is not visible from here, so nothing is known
                // about it.
                at == namespace() && !ProcessIdentity { pid, started: started.to_owned() }.alive()
            }
            _ => false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("server.log")
    }

    /// Removes everything; what another sweep has removed meanwhile is no error.
    pub(crate) fn remove(&self) {
        // A process that was killed a moment ago may make a last file while the folder is emptied.
        process::wait_until(Duration::from_secs(1), || {
            self.try_remove().is_ok() || !self.0.exists()
        });
    }

    /// The marker goes last: a folder that could not be removed is found again.
    fn try_remove(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != MARKER {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_file(self.0.join(MARKER))?;
        fs::remove_dir(&self.0)
    }
}

fn namespace() -> String {
    fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "-".to_owned())
}
