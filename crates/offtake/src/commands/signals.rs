//! The signals of commands that have something to finish before they end.

use std::cell::Cell;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::outcome::{Exit, Failure};

/// Those that ask a command to end. A terminal that is closed sends the last of them. From when this
/// is made on, none of them ends the process by itself, and none is lost.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                // Without them, Ctrl-C would leave behind what the command has to end.
                Failure::new(Exit::Failed, "cannot listen for signals").because(error.to_string())
            })
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    pub(super) async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// The same. While `committing` is set, the first signal only has a line printed: a command that
    /// ends now cannot tell what became of its commit. The second one ends it.
    pub(super) async fn received_unless(&mut self, committing: &Cell<bool>) {
        self.received().await;
        if committing.get() {
            eprintln!(
                "offtake: the commit was sent; a second signal ends this without its outcome"
            );
            self.received().await;
        }
    }
}
