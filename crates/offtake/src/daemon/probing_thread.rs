//! The thread of the loops that probe the source every few milliseconds.
//!
//! Sequencer and poller ask a few hundred times a second, and mostly learn that nothing happened.
//! On the runtime of several threads, every question and every answer would be handed from one
//! thread to another. Here loop and connection share one thread, and a question costs two system
//! calls. It also keeps the numbering of changes from queueing behind batches that are copied.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Runs the tasks that are spawned on its handle, until it is dropped.
pub(super) struct ProbingThread {
    handle: Handle,
    _end: DropGuard,
}

impl ProbingThread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let ended = end.clone();
        thread::Builder::new()
            .name("offtake-probing".to_owned())
            .spawn(move || runtime.block_on(ended.cancelled()))?;
        Ok(Self { handle, _end: end.drop_guard() })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}
