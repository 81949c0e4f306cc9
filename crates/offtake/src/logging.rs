//! The log on standard error: text at a terminal, JSON everywhere else.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write};

use offtake_mapping::{is_unprintable, printable_json};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// The variables that choose what is logged, such as `info` or `offtake_sync=debug`. The first one
/// that is set counts.
const FILTER_VARIABLES: [&str; 2] = ["OFFTAKE_LOG", "RUST_LOG"];

/// What a daemon logs where neither variable is set: events of Offtake from `info` on, and warnings
/// of libraries. A name in a filter means every target that begins with it, so this one means all
/// crates of the workspace.
const DAEMON_FILTER: &str = "warn,offtake=info";

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
        .with_writer(move || PrintableErrors { json: !terminal })
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

/// Standard error, without what a terminal would obey: an event may have a tenant's id.
struct PrintableErrors {
    json: bool,
}

impl Write for PrintableErrors {
    /// One event at a time.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let shown = if self.json { printable_json(&text) } else { printable(&text) };
        std::io::stderr().write_all(shown.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// The text of an event at a terminal. Its colours are our own and stay; the library escapes those
/// of others.
fn printable(event: &str) -> Cow<'_, str> {
    let hidden = |c: char| !c.is_ascii() && is_unprintable(c);
    if !event.contains(hidden) {
        return Cow::Borrowed(event);
    }
    let show = |c: char| if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(event.chars().map(show).collect())
}
