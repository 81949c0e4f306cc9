//! Failpoints of a running daemon. `offtake_loops::failpoint` describes what they are and can
//! do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{Daemon, PATIENCE, until};

/// One daemon's failpoints, set through a file that the daemon watches.
pub(crate) struct Failpoints {
    file: PathBuf,
    points: Mutex<BTreeMap<String, String>>,
}

impl Failpoints {
    /// The failpoints' file lies in the folder of the daemon's own configuration.
    pub(crate) fn beside(configuration: &Path, points: &[(&str, &str)]) -> Self {
        let points =
            points.iter().map(|(name, actions)| (known(name), (*actions).to_owned())).collect();
        let failpoints =
            Self { file: configuration.with_extension("failpoints"), points: Mutex::new(points) };
        failpoints.write();
        failpoints
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Replaces the file as a whole, because the daemon may read at any moment.
    fn write(&self) -> String {
        let points = self.points.lock().expect("no panic while locked");
        let text: String =
            points.iter().map(|(name, actions)| format!("{name}={actions}\n")).collect();
        let beside = self.file.with_extension("new");
        fs::write(&beside, &text)
            .and_then(|()| fs::rename(&beside, &self.file))
            .expect("the temporary folder can be written");
        text
    }

    fn count(&self, name: &str) -> usize {
        let reached = fs::read_to_string(self.file.with_extension("reached")).unwrap_or_default();
        reached.lines().filter(|line| *line == name).count()
    }
}

impl Daemon {
    /// Sets what happens at a failpoint. Returns when the daemon uses it.
    pub async fn set_failpoint(&self, name: &str, actions: &str) {
        self.change_failpoints(|points| points.insert(known(name), actions.to_owned())).await;
    }

    /// Clears the failpoint. A task that is paused there goes on.
    pub async fn clear_failpoint(&self, name: &str) {
        self.change_failpoints(|points| points.remove(&known(name))).await;
    }

    /// Clears all failpoints.
    pub async fn clear_failpoints(&self) {
        self.change_failpoints(std::mem::take).await;
    }

    /// How many times the failpoint has acted since this daemon started.
    pub fn failpoint_count(&self, name: &str) -> usize {
        self.failpoints.count(&known(name))
    }

    /// Waits until the failpoint has acted `count` times in all.
    pub async fn wait_at_failpoint(&self, name: &str, count: usize) {
        until(&format!("the daemon comes to {name}"), PATIENCE, async || {
            match self.failpoint_count(name) {
                reached if reached >= count => Ok(()),
                reached => Err(format!("{reached} of {count} times")),
            }
        })
        .await;
    }

    async fn change_failpoints<R>(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> R) {
        change(&mut self.failpoints.points.lock().expect("no panic while locked"));
        let text = self.failpoints.write();
        until("the daemon takes over its failpoints", PATIENCE, async || {
            match fs::read_to_string(self.failpoints.file.with_extension("loaded")) {
                Ok(loaded) if loaded == text => Ok(()),
                _ if !self.runs() => Ok(()),
                Ok(_) => Err("it still has the former ones".to_owned()),
                Err(_) => {
                    Err("this offtake has none\n  remedy: cargo build --workspace --bins (`-p offtake` builds it without)".to_owned())
                }
            }
        })
        .await;
    }
}

fn known(name: &str) -> String {
    assert!(
        offtake_loops::FAILPOINTS.contains(&name),
        "there is no failpoint {name}; there are {:?}",
        offtake_loops::FAILPOINTS
    );
    name.to_owned()
}
