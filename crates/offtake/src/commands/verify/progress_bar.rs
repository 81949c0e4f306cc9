//! How far one comparison is.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

/// Visible only on a terminal: indicatif draws nothing elsewhere.
pub(super) fn spinner(destination: &str, mapping: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {msg}: {human_pos} rows, {per_sec}, {elapsed}")
    {
        bar.set_style(style);
    }
    bar.set_message(format!("{destination} {mapping}"));
    bar
}

/// Shows the number of rows until it is dropped.
pub(super) async fn show(bar: &ProgressBar, rows: watch::Receiver<u64>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        bar.set_position(*rows.borrow());
        bar.tick();
    }
}
