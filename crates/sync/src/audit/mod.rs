//! The continuous audit: proves, again and again, that every copy equals its query.
//!
//! **Purpose.** `in_sync` says that every change was applied. It cannot say that the rows are still
//! there as they were written: a tenant may change them, a disk may lose them, and Offtake may have
//! a defect. The audit compares every copy with its query, the one that was compared the longest
//! ago first, by the same code as `offtake verify` (`verify/`), range by range.
//!
//! **What it costs.** A share of one core and of the source's time ([`Share`]). After each slice of
//! work the loop pauses for so long that the share is kept. While it pauses, it has no transaction,
//! no snapshot and no lock anywhere. Counted are the source's statements, from sending each to its
//! last row, and the time that the loop's own code runs. The wait for a destination is not counted:
//! a slow one would take the other destinations' turns.
//!
//! **What fences it.** A lease per destination in `offtake.audit`: one daemon at a time audits a
//! destination. It is longer than the pause, so no heartbeat is needed. Every note carries the
//! attempt, the copy that was compared and the progress that was read, so a late daemon notes
//! nothing, nor does one that compared a copy that was made again meanwhile.
//!
//! **What it writes.** At the source: progress and results in `offtake.destination_mapping`. At a
//! destination: nothing. The sync worker tells the tenant what was found, under its own fence. With
//! `repair`, keys that differ are captured again, as `offtake verify --repair` does.
//!
//! **What it does not compare**: a copy that is not complete, is of another version, waits to be
//! copied again, or is stopped; and destinations that fail. They are compared later, and not called
//! verified meanwhile.
//!
//! **What a crash leaves behind**: a lease that runs out, and the progress after the last slice.

mod budget;
mod by_command;
mod ledger;
mod slice;

use std::sync::Arc;
use std::time::Duration;

use offtake_loops::{Progress, Rounds, SourceTrouble};
use offtake_postgres::{Dialer, SourcePool};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::budget::measured;
use self::ledger::{Claim, Ledger};
use crate::Error;
use crate::destinations::{Registered, Registry, Session};

pub use budget::Share;
pub use by_command::{begun, note_equal};

/// How often the loop asks whether a copy is due. The question costs the source a millisecond or
/// two, and it counts.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A session with a destination is kept through a pause of this length, and dialled again after a
/// longer one.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(30);

/// After this long, a destination whose audit failed, or that was behind, is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What giving a destination back at the daemon's end may take. Otherwise its lease runs out.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);

/// Settings of `audit:`, and what of the other sections concerns the audit.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Each copy is compared once in this time, as far as the budget allows. None: never.
    pub period: Option<Duration>,
    pub budget: Share,
    /// Have rows that differ copied again.
    pub repair: bool,
    /// How long a destination stays claimed beyond the pause.
    pub lease: Duration,
    /// For a single statement on either side.
    pub statement_timeout: Duration,
}

/// What the audit is made of.
pub struct Parts {
    pub pool: SourcePool,
    pub registry: Registry,
    pub dialer: Dialer,
    pub settings: Settings,
}

/// The audit's loop. Any number of replicas may run it on one source.
pub struct Audit {
    progress: Progress,
    auditor: Option<Auditor>,
}

/// A destination that is being audited.
struct Held {
    claim: Claim,
    session: Option<Session>,
    /// Of the place that the session is with.
    fingerprint: String,
    /// Mappings whose copy cannot be compared now.
    skipped: Vec<String>,
    /// A copy was compared since the destination was claimed.
    moved: bool,
}

impl Held {
    fn new(claim: Claim) -> Self {
        let (fingerprint, skipped) = (String::new(), Vec::new());
        Self { claim, session: None, fingerprint, skipped, moved: false }
    }
}

struct Auditor {
    pool: SourcePool,
    registry: Registry,
    dialer: Dialer,
    settings: Settings,
    period: Duration,
    ledger: Ledger,
    /// What is to be given back, also where a round was ended amid its work.
    claimed: Option<Claim>,
    held: Option<Held>,
    /// What comparisons took at the source in this round.
    compared: Duration,
}

/// What follows from one round with a destination.
enum Step {
    /// There may be more to compare.
    Next,
    /// The destination is given back, for at least so long.
    GiveBack { pause: Duration, failed: bool },
}

impl Audit {
    pub fn new(parts: Parts) -> Self {
        let Parts { pool, registry, dialer, settings } = parts;
        let auditor = settings.period.map(|period| Auditor {
            ledger: Ledger::new(pool.clone(), period, settings.lease),
            pool,
            registry,
            dialer,
            settings,
            period,
            claimed: None,
            held: None,
            compared: Duration::ZERO,
        });
        Self { progress: Progress::of("audit"), auditor }
    }

    /// When the loop last completed a round, or was seen to wait for a server.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled. What was compared since the last slice is lost then.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut trouble = SourceTrouble::new("audit");
        let Some(mut auditor) = self.auditor.take() else {
            self.alive(std::future::pending::<()>(), &shutdown).await;
            return Ok(());
        };
        loop {
            let round = Box::pin(measured(auditor.round()));
            let Some((done, ran)) = self.alive(round, &shutdown).await else { break };
            let work = ran + auditor.take_spent();
            let pause = auditor.settings.budget.pause_after(work);
            let pause = match done {
                Ok(true) => pause,
                Ok(false) => pause.max(LOOK_INTERVAL.min(auditor.period)),
                Err(error) => {
                    auditor.let_session_go();
                    pause.max(trouble.report(&error))
                }
            };
            if pause > SESSION_IDLE_MAX {
                auditor.let_session_go();
            }
            if self.alive(tokio::time::sleep(pause), &shutdown).await.is_none() {
                break;
            }
        }
        let given_back = auditor.give_back(Duration::ZERO, false);
        let _ = tokio::time::timeout(GIVE_BACK_WITHIN, given_back).await;
        Ok(())
    }

    /// Awaits work, and tells the supervisor meanwhile that the loop is not stuck: every wait in it
    /// has a timeout. None at shutdown.
    async fn alive<T>(
        &mut self,
        work: impl Future<Output = T>,
        shutdown: &CancellationToken,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            self.progress.tick();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                done = &mut work => return Some(done),
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

impl Auditor {
    /// One slice of work; false where nothing is due.
    async fn round(&mut self) -> Result<bool, Error> {
        if self.held.is_none() {
            let Some(claim) = self.ledger.claim(&self.registry.all()).await? else {
                return Ok(false);
            };
            self.claimed = Some(claim);
            self.held = Some(Held::new(claim));
        }
        let step = match self.held.take() {
            None => return Ok(false),
            Some(mut held) => {
                let step = Box::pin(self.advance(&mut held)).await;
                self.held = Some(held);
                step?
            }
        };
        if let Step::GiveBack { pause, failed } = step {
            self.give_back(pause, failed).await?;
        }
        Ok(true)
    }

    async fn give_back(&mut self, pause: Duration, failed: bool) -> Result<(), Error> {
        self.held = None;
        match self.claimed.take() {
            Some(claim) => self.ledger.release(claim, pause, failed).await,
            None => Ok(()),
        }
    }

    /// What the source's statements took since the last call.
    fn take_spent(&mut self) -> Duration {
        self.ledger.take_spent() + std::mem::take(&mut self.compared)
    }

    fn let_session_go(&mut self) {
        self.held.iter_mut().for_each(|held| held.session = None);
    }

    /// How long a destination that could not be compared is left alone.
    fn retry_after(&self) -> Duration {
        RETRY_AFTER.min(self.period)
    }

    /// The destination as this process knows it, and a session with it.
    async fn session(&self, held: &mut Held, registered: &Arc<Registered>) -> Result<(), Step> {
        let place = &registered.spec.place;
        let fingerprint = place.fingerprint();
        if held.fingerprint != fingerprint {
            held.session = None;
        }
        if held.session.as_ref().is_some_and(|session| !session.closed()) {
            return Ok(());
        }
        match Session::open(place, &self.dialer, "offtake audit").await {
            Ok(session) => {
                held.session = Some(session);
                held.fingerprint = fingerprint;
                Ok(())
            }
            // The sync worker visits it too, and the status says what it is told.
            Err(trouble) => {
                self.postponed(registered, &trouble.message);
                Err(Step::GiveBack { pause: self.retry_after(), failed: true })
            }
        }
    }

    fn postponed(&self, registered: &Registered, why: &str) {
        let label = registered.spec.label();
        tracing::debug!(
            event = "audit_postponed",
            destination = label,
            "the audit of {label} is tried again later: {why}"
        );
    }
}
