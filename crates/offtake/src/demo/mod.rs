//! `offtake demo`: Offtake at work on throwaway servers, from an empty folder to verified copies.
//!
//! The daemon is the real one, started by the same call as in `offtake run`. The demo only plays
//! the application, the customers and the operator. The sample application and its write load are
//! public, because the tests use them too.

mod default_mappings;
mod load;
mod narration;
mod performance;
mod probe;
mod proof;
mod receiver;
mod shared;
mod sql;
mod stage;

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

pub use load::{Load, Totals};
pub use sql::{INSERT_SAMPLE_ROWS, SAMPLE_APPLICATION};

use crate::command_line;
use crate::outcome::{Exit, Failure};

/// Runs the demo. When it returns, both servers and their folders are gone, also where a signal
/// ended it.
pub async fn run(arguments: command_line::Demo) -> Result<Exit, Failure> {
    performance::run(&arguments, interrupted()).await
}

/// Completes at SIGINT, SIGTERM or SIGHUP. It listens as soon as it is called, before the future is
/// polled.
fn interrupted() -> impl Future<Output = ()> {
    let mut signals: Vec<_> =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .into_iter()
            .filter_map(|kind| signal(kind).ok())
            .collect();
    std::future::poll_fn(move |context| {
        let any = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
}
