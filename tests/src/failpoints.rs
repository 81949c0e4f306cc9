//! Failpoints of a running daemon; what they are and what they can do is in
//! `offtake_loops::failpoint`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{Daemon, PATIENCE, until};

/// One daemon's failpoints, set through the file that it watches.
pub(crate) struct Failpoints {
    file: PathBuf,
    points: Mutex<BTreeMap<String, String>>,
}

impl Failpoints {
    /// Beside the daemon's configuration, which is its own.
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

    /// As one, because the daemon reads while we write.
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
    /// Sets what happens at a point; returns when the daemon has taken it over.
    pub async fn set_failpoint(&self, name: &str, actions: &str) {
        self.change_failpoints(|points| points.insert(known(name), actions.to_owned())).await;
    }

    /// Nothing happens there any more; what is paused there goes on.
    pub async fn clear_failpoint(&self, name: &str) {
        self.change_failpoints(|points| points.remove(&known(name))).await;
    }

    /// Nothing happens anywhere any more.
    pub async fn clear_failpoints(&self) {
        self.change_failpoints(std::mem::take).await;
    }

    /// How often something was done at that point in this daemon's life.
    pub fn failpoint_count(&self, name: &str) -> usize {
        self.failpoints.count(&known(name))
    }

    /// Until something was done at that point `count` times in all.
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
