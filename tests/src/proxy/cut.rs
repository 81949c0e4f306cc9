//! Cuts of a connection at a message of the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::{PATIENCE, until};

/// Where to cut a connection, and how. Happens once unless [`Cut::times`] says otherwise.
#[derive(Debug, Clone)]
pub struct Cut {
    to_server: bool,
    /// Message types of the protocol. The text is searched for in the whole message, ignoring case.
    tags: &'static [u8],
    text: String,
    after: bool,
    pub(super) silent: bool,
    first_passed: u64,
    times: u64,
}

const STATEMENTS: &[u8] = b"QP";
const COMMAND_COMPLETE: &[u8] = b"C";

impl Cut {
    /// A statement that contains the text does not reach the server.
    pub fn before_statement(text: &str) -> Self {
        Self::new(true, STATEMENTS, text, false)
    }

    /// A statement that contains the text reaches the server, but its result does not reach the
    /// client.
    pub fn after_statement(text: &str) -> Self {
        Self::new(true, STATEMENTS, text, true)
    }

    /// The server has run a command whose command tag contains the text (`COMMIT`, `INSERT 0 5`),
    /// but the reply does not reach the client.
    pub fn before_reply(text: &str) -> Self {
        Self::new(false, COMMAND_COMPLETE, text, false)
    }

    /// The reply reaches the client, and then the connection breaks.
    pub fn after_reply(text: &str) -> Self {
        Self::new(false, COMMAND_COMPLETE, text, true)
    }

    /// The connection is not reset, but silent from there on.
    pub fn silently(self) -> Self {
        Self { silent: true, ..self }
    }

    /// So many messages pass before the first cut.
    pub fn after_passing(self, messages: u64) -> Self {
        Self { first_passed: messages, ..self }
    }

    /// The cut happens this many times.
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    fn new(to_server: bool, tags: &'static [u8], text: &str, after: bool) -> Self {
        Self {
            to_server,
            tags,
            text: text.to_ascii_lowercase(),
            after,
            silent: false,
            first_passed: 0,
            times: 1,
        }
    }

    fn matches(&self, to_server: bool, message: &[u8]) -> bool {
        let found = || {
            message[1..]
                .windows(self.text.len().max(1))
                .any(|part| part.eq_ignore_ascii_case(self.text.as_bytes()))
        };
        self.to_server == to_server
            && message.first().is_some_and(|tag| self.tags.contains(tag))
            && (self.text.is_empty() || found())
    }
}

/// A cut that is armed and waits for its message.
#[derive(Debug, Clone)]
pub struct Armed {
    cut: Cut,
    seen: Arc<AtomicU64>,
    count: Arc<watch::Sender<u64>>,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Drop { silent: bool },
    PassAndEnd { silent: bool },
}

impl Armed {
    pub(super) fn new(cut: Cut) -> Self {
        Self { cut, seen: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }

    /// How many times the cut has happened.
    pub fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Waits until the cut has happened as many times as it should.
    pub async fn wait(&self) {
        let wanted = self.cut.times;
        let what = format!("the connection is cut at {:?}", self.cut.text);
        until(&what, PATIENCE, async || {
            if self.count() >= wanted {
                Ok(())
            } else {
                Err(format!("{} of {wanted}", self.count()))
            }
        })
        .await;
    }

    pub(super) fn judge(&self, to_server: bool, message: &[u8]) -> Verdict {
        if !self.cut.matches(to_server, message) {
            return Verdict::Pass;
        }
        if self.seen.fetch_add(1, Ordering::Relaxed) < self.cut.first_passed {
            return Verdict::Pass;
        }
        let happens = self.count.send_if_modified(|count| {
            let happens = *count < self.cut.times;
            *count += u64::from(happens);
            happens
        });
        let silent = self.cut.silent;
        match (happens, self.cut.after) {
            (false, _) => Verdict::Pass,
            (true, false) => Verdict::Drop { silent },
            (true, true) => Verdict::PassAndEnd { silent },
        }
    }
}
