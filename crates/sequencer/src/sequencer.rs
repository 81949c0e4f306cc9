//! The loop around the tick.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{BlownFuses, Progress, Rounds, SourceTrouble, metrics as names};
use offtake_mapping::MappingSet;
use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_postgres::{PooledConnection, SourcePool};
use tokio::sync::{Notify, watch};
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use tokio_util::sync::CancellationToken;

use crate::vacuum::{Vacuum, analyze_grown};
use crate::{Error, Numbering, Tick, history, partitions, sql, tick};

/// How often the upkeep of partitions and epochs runs. `partitions::ensure` says why it must not be
/// much longer.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often a look reads captured changes from the beginning, and not only beyond those already
/// taken. A transaction that wrote early and commits late waits at most this long. The other looks
/// skip the index entries of deleted rows, which VACUUM cannot remove while a long snapshot is
/// open.
const LOOK_BACK_INTERVAL: Duration = Duration::from_millis(50);

/// The pause grows with the silence before it: to a 400th of it, which is 2.5 ms after a second
/// without a change and 30 ms after twelve. An idle source is then looked at 33 times a second.
const SILENCE_SHARE: u32 = 400;
const SILENT_PAUSE_MAX: Duration = Duration::from_millis(30);

/// And with the changes that the last tick took: what a batch costs by itself, some milliseconds of
/// processor time in source, daemon and destination, is then shared by more changes. Below a
/// thousand changes a second the pause stays what it is without load; above two thousand it reaches
/// its longest, 20 batches a second.
const PAUSE_PER_CHANGE: Duration = Duration::from_micros(500);
const LOADED_PAUSE_MAX: Duration = Duration::from_millis(50);

/// If a look from the beginning is slow for that reason, the pause after it is this many times as
/// long as the look: at most 5 % of the time goes into looking back.
const LOOK_BACK_SHARE: f64 = 20.0;

/// The source looks by itself for this long, and then answers that nothing came. A question from
/// here after each pause took 0.7 % of a core on an idle daemon's side, and as much again at the
/// source: a sleep leaves caches cold, and each question ends two of them. Meanwhile the server
/// keeps a snapshot and two weak locks; a session that needs a stronger lock waits no longer than this.
const AWAITED_MAX: Duration = Duration::from_millis(100);

/// The server sleeps whole milliseconds, and one more where it wakes a hair too early: it takes 2.2
/// ms to sleep 1.0, and 1.2 to sleep 0.9.
const ROUNDING: Duration = Duration::from_micros(100);

/// Settings of `sequencer:` in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Shortest time between two looks for captured changes. It grows with silence and with load:
    /// see [`pause`].
    pub interval: Duration,
    /// Captured changes taken per tick, at most. After a full tick the next one follows at once.
    pub batch_rows: u32,
    /// How long the log keeps changes at least. At most it keeps them twice as long.
    pub retention: Duration,
}

/// The sequencer's loop. Any number of daemons may run it on one source.
pub struct Sequencer {
    pool: SourcePool,
    mappings: watch::Receiver<Arc<MappingSet>>,
    numbering: Arc<Numbering>,
    settings: Settings,
    wakes: Arc<Notify>,
    numbered: watch::Sender<i64>,
    fuses: watch::Receiver<Arc<BlownFuses>>,
    progress: Progress,
    /// The session of the last look, and the statement prepared in it. Getting both again for every
    /// look would be a large part of an idle daemon's cost. None after an error.
    session: Option<(PooledConnection, Statement)>,
    last_sequence_id: i64,
    /// The highest capture id that this process has taken. A change that commits later with a
    /// smaller id is found by looking back.
    seen: i64,
    look_back_at: Instant,
    vacuum: Vacuum,
    /// When a change was last numbered, by any daemon.
    busy_at: Instant,
    /// Captured changes that the last round took.
    taken: i64,
    /// The source has looked in vain for [`AWAITED_MAX`], so the next round may follow at once.
    awaited: bool,
}

/// The time to the next look, after so long without a change and a round that took `taken`
/// changes.
fn pause(interval: Duration, silence: Duration, taken: i64) -> Duration {
    let changes = u32::try_from(taken.clamp(0, 1_000)).unwrap_or_default();
    let of_load = (PAUSE_PER_CHANGE * changes).min(LOADED_PAUSE_MAX);
    let of_silence = (silence / SILENCE_SHARE).min(SILENT_PAUSE_MAX);
    interval.max(of_load).max(of_silence)
}

impl Sequencer {
    /// `wakes` nudges the poller. It carries no data; a lost nudge costs one poller interval.
    /// `numbered` tells the last sequence id, also where another daemon has given it.
    pub fn new(
        pool: SourcePool,
        mappings: watch::Receiver<Arc<MappingSet>>,
        numbering: Arc<Numbering>,
        settings: Settings,
        (wakes, numbered): (Arc<Notify>, watch::Sender<i64>),
        fuses: watch::Receiver<Arc<BlownFuses>>,
    ) -> Self {
        Self {
            pool,
            mappings,
            numbering,
            settings,
            wakes,
            numbered,
            fuses,
            progress: Progress::of("sequencer"),
            session: None,
            last_sequence_id: 0,
            seen: 0,
            look_back_at: Instant::now(),
            vacuum: Vacuum::new(),
            busy_at: Instant::now(),
            taken: 0,
            awaited: false,
        }
    }

    /// When the loop last completed a round. The supervisor reports a loop that stands still.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled. While the source fails, it waits and tries again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut upkeep_due = Instant::now();
        let mut trouble = SourceTrouble::new("sequencer");
        loop {
            let pause = self.pause();
            if !std::mem::take(&mut self.awaited) || pause > AWAITED_MAX {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
            }
            if let Err(error) = self.rounds(&mut upkeep_due, &shutdown).await {
                // Before the next tick the epoch is checked again: a failover begins with broken
                // connections.
                upkeep_due = Instant::now();
                self.progress.fail();
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            trouble.over();
            self.progress.tick();
        }
    }

    fn pause(&self) -> Duration {
        pause(self.settings.interval, self.busy_at.elapsed(), self.taken)
    }

    /// Does the upkeep if it is due, then ticks until a tick takes less than a full batch.
    async fn rounds(
        &mut self,
        upkeep_due: &mut Instant,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        if Instant::now() >= *upkeep_due {
            let mut connection = self.pool.get().await?;
            history::check(&mut connection).await?;
            partitions::ensure(&mut connection).await?;
            partitions::retain(&mut connection, self.settings.retention).await?;
            let mappings = self.mappings.borrow().clone();
            self.numbering.settle(&mut connection, &mappings).await?;
            analyze_grown(&self.pool);
            *upkeep_due = Instant::now() + UPKEEP_INTERVAL;
        }
        if self.fuses.borrow().blown("sequencer").is_none() {
            let mut numbered = 0;
            loop {
                let done = self.round(shutdown).await?;
                self.taken = done.taken;
                if self.taken < i64::from(self.settings.batch_rows) || shutdown.is_cancelled() {
                    break;
                }
                numbered += done.appended;
                if numbered > PARTITION_ROWS / 4 {
                    *upkeep_due = Instant::now();
                    break;
                }
                self.progress.tick();
            }
        }
        Ok(())
    }

    /// Waits for a change, and ticks if one was captured. Only the waiting ends at shutdown.
    async fn round(&mut self, shutdown: &CancellationToken) -> Result<Tick, Error> {
        let (mut connection, statement) = match self.session.take() {
            Some((connection, statement)) if !connection.is_closed() => (connection, statement),
            _ => {
                let connection = self.pool.get().await?;
                let statement = connection.prepare_cached(sql::AWAIT_CHANGES).await?;
                (connection, statement)
            }
        };
        let pause = pause(self.settings.interval, self.busy_at.elapsed(), 0);
        let most = if pause > AWAITED_MAX { Duration::ZERO } else { AWAITED_MAX };
        let look_back_in = self.look_back_at.saturating_duration_since(Instant::now());
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &self.seen,
            &self.last_sequence_id,
            &pause.saturating_sub(ROUNDING).as_secs_f64(),
            &most.as_secs_f64(),
            &LOOK_BACK_INTERVAL.as_secs_f64(),
            &LOOK_BACK_SHARE,
            &look_back_in.as_secs_f64(),
        ];
        let found = tokio::select! {
            () = shutdown.cancelled() => return Ok(Tick::default()),
            found = connection.query_one(&statement, &parameters) => found?,
        };
        self.look_back_at = Instant::now() + Duration::from_secs_f64(found.get("look_back_in"));
        let after = if found.get("from_start") { 0 } else { self.seen };
        let last_sequence_id: i64 = found.get("last_sequence_id");
        self.awaited =
            !found.get::<_, bool>("captured") && last_sequence_id == self.last_sequence_id;
        let mut done = Tick::default();
        if found.get("captured") {
            let mappings = self.mappings.borrow().clone();
            let began = Instant::now();
            done = tick(
                &mut connection,
                &mappings,
                &self.numbering,
                i64::from(self.settings.batch_rows),
                after,
            )
            .await?;
            self.seen = self.seen.max(done.up_to);
            self.vacuum.after_a_tick(&self.pool, done.taken).await;
            if done.appended > 0 {
                metrics::counter!(names::CHANGES_SEQUENCED_TOTAL)
                    .increment(done.appended.unsigned_abs());
                metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "sequence")
                    .record(began.elapsed().as_secs_f64());
            }
        }
        self.note_growth(last_sequence_id, done.appended);
        // The poller of this process is also nudged when another daemon numbered, so that it does
        // not wait for its own interval.
        if done.appended > 0 || last_sequence_id != self.last_sequence_id {
            self.busy_at = Instant::now();
            self.wakes.notify_one();
        }
        // The nudge above covers what this tick appended.
        self.last_sequence_id = last_sequence_id + done.appended;
        self.numbered.send_replace(self.last_sequence_id);
        self.session = Some((connection, statement));
        Ok(done)
    }
}

impl Sequencer {
    /// Has the log's partition analyzed when it grows beyond the sizes at which that is due.
    fn note_growth(&self, before: i64, appended: i64) {
        let now = before + appended;
        let (partition, rows) = (now / PARTITION_ROWS, now % PARTITION_ROWS);
        let rows_before =
            if before / PARTITION_ROWS == partition { before % PARTITION_ROWS } else { 0 };
        if partitions::ANALYZED_AT.iter().any(|size| (rows_before..rows).contains(size)) {
            partitions::analyze_beside(&self.pool, partition, rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_silence_and_with_load_and_is_never_below_the_interval() {
        let ms = Duration::from_millis;
        let interval = ms(2);
        assert_eq!(pause(interval, ms(0), 0), ms(2));
        assert_eq!(pause(interval, ms(1_000), 0), Duration::from_micros(2_500));
        assert_eq!(pause(interval, ms(8_000), 0), ms(20));
        assert_eq!(pause(interval, Duration::from_secs(1_000_000), 0), ms(30));
        assert_eq!(pause(interval, ms(0), 4), ms(2));
        assert_eq!(pause(interval, ms(0), 40), ms(20));
        assert_eq!(pause(interval, ms(0), i64::MAX), ms(50));
        assert_eq!(pause(ms(100), ms(8_000), 1_000), ms(100));
        assert_eq!(pause(interval, ms(0), -1), ms(2));
    }
}
