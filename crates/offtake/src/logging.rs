//! The log on standard error: text at a terminal, JSON everywhere else.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// The variables that choose what is logged, such as `info` or `offtake_sync=debug`. The first one
/// that is set counts.
const FILTER_VARIABLES: [&str; 2] = ["OFFTAKE_LOG", "RUST_LOG"];

/// What a daemon logs where neither variable is set: events of Offtake from `info` on, and warnings
/// of libraries.
const DAEMON_FILTER: &str = "warn,offtake=info,offtake_capture=info,offtake_sequencer=info,\
                             offtake_poller=info,offtake_sync=info,offtake_admin=info,\
                             offtake_postgres=info";

/// Other commands print a result; their log only has warnings.
const COMMAND_FILTER: &str = "warn";

/// Starts logging. To be called once; a second call changes nothing.
pub fn start(daemon: bool) {
    let chosen = FILTER_VARIABLES
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let default = if daemon { DAEMON_FILTER } else { COMMAND_FILTER };
    let filter = EnvFilter::builder().parse_lossy(chosen.as_deref().unwrap_or(default));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime);
    // In JSON, an event's fields are at the top level, because people filter by `event`.
    let started = if terminal {
        builder.with_target(false).try_init()
    } else {
        builder
            .with_ansi(false)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
    if started.is_err() {
        tracing::debug!(
            event = "logging_already_started",
            "another subscriber was installed before"
        );
    }
}
