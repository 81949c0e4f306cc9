//! Vacuuming the table of captured changes, and statistics of tables that have grown.
//!
//! A change that was numbered leaves a dead entry in the index by which captured changes are read.
//! A look from the beginning passes all of them, until a vacuum removes them. Autovacuum comes by
//! once a minute at best, and not at all where it is switched off or has too much to do. With 5 000
//! changes a second, a look then takes so long that a change which commits late waits for a second.
//! So the sequencer vacuums the table itself.

use std::time::{Duration, Instant};

use offtake_postgres::{SourcePool, chain};
use tokio::task::JoinHandle;

use crate::sql;

/// After so many changes. A look that passes as many takes a millisecond, and the vacuum ten.
const TAKEN_MIN: i64 = 20_000;

/// Between two vacuums, at least. Without it a snapshot that is open for long, which keeps a vacuum
/// from removing anything, would have one follow the other.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// And this many times as long as the last one took: at most 2 % of the time.
const PAUSE_SHARE: u32 = 50;

/// Whether this role may vacuum the table.
const OURS: &str = "select pg_has_role(relowner, 'USAGE') from pg_class \
                    where oid = 'offtake.captured_change'::regclass";

/// Vacuums one after the other, each beside the sequencer's work.
pub(crate) struct Vacuum {
    running: Option<JoinHandle<Duration>>,
    /// Changes that this process took since the last one began.
    taken: i64,
    not_before: Instant,
}

impl Vacuum {
    pub(crate) fn new() -> Self {
        Self { running: None, taken: 0, not_before: Instant::now() }
    }

    /// Begins one if it is due, after a tick that took so many changes.
    pub(crate) async fn after_a_tick(&mut self, pool: &SourcePool, taken: i64) {
        self.taken += taken;
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            let took = running.await.unwrap_or_default();
            self.not_before = Instant::now() + (took * PAUSE_SHARE).max(PAUSE_MIN);
        }
        let due = self.taken >= TAKEN_MIN && Instant::now() >= self.not_before;
        if due && self.running.is_none() {
            self.taken = 0;
            self.running = Some(tokio::spawn(vacuum(pool.clone())));
        }
    }
}

/// Returns how long it took.
async fn vacuum(pool: SourcePool) -> Duration {
    let began = Instant::now();
    let done = async {
        let connection = pool.get().await?;
        // The server would write a warning into its log each time.
        let ours = connection.query_one(OURS, &[]).await?;
        if ours.get(0) {
            connection.batch_execute(sql::VACUUM_CAPTURED).await?;
        }
        Ok::<_, offtake_postgres::Error>(())
    };
    // Numbering goes on; it only takes longer.
    if let Err(error) = done.await {
        tracing::debug!(
            event = "vacuum_failed",
            error = chain(&error),
            "offtake.captured_change could not be vacuumed"
        );
    }
    began.elapsed()
}

/// Gives tables their statistics that have grown to twice their size, beside the sequencer's work.
pub(crate) fn analyze_grown(pool: &SourcePool) {
    let pool = pool.clone();
    tokio::spawn(async move {
        let done = async {
            let connection = pool.get().await?;
            for row in connection.query(sql::LIST_GROWN, &[]).await? {
                let analyze = format!("analyze (skip_locked) {}", row.get::<_, &str>("name"));
                connection.batch_execute(&analyze).await?;
            }
            Ok::<_, offtake_postgres::Error>(())
        };
        if let Err(error) = done.await {
            tracing::debug!(
                event = "analyze_failed",
                error = chain(&error),
                "Offtake's tables could not be analyzed"
            );
        }
    });
}
