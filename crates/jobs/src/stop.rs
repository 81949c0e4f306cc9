//! Why the work on a job ends before the job does.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// The reason of a job whose process is stopped.
pub const PROCESS_STOPPED: &str = "the process that worked on it was stopped";

/// Ends the work in progress of a loop. What it is cloned into ends with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    why: Arc<OnceLock<String>>,
}

impl Stop {
    /// Ends the work. The first reason is the one that is told.
    pub(crate) fn now(&self, why: impl Into<String>) {
        self.why.get_or_init(|| why.into());
        self.token.cancel();
    }

    pub(crate) fn is_now(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns why, once the work is to end.
    pub(crate) async fn wait(&self) -> &str {
        self.token.cancelled().await;
        self.why()
    }

    /// Why the work ends.
    pub(crate) fn why(&self) -> &str {
        self.why.get().map_or(PROCESS_STOPPED, String::as_str)
    }
}
