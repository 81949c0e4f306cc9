//! The thread of the loops that probe the source every few milliseconds.
//!
//! Sequencer and poller ask a few hundred times a second, mostly to hear that nothing happened. On
//! the runtime of several threads, every question and every answer is handed from one thread to
//! another; here loop and connection share one thread, and a question costs two system calls. It
//! also keeps the numbering of changes out of the queue behind batches that are being copied.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Runs what is spawned on its handle until it is dropped.
pub(crate) struct ProbingThread {
    handle: Handle,
    _end: DropGuard,
}

impl ProbingThread {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let ended = end.clone();
        thread::Builder::new()
            .name("offtake-probing".to_owned())
            .spawn(move || runtime.block_on(ended.cancelled()))?;
        Ok(Self { handle, _end: end.drop_guard() })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}
