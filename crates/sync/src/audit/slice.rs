//! One slice of one copy's audit, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use offtake_loops::{failpoint, metrics as names};
use offtake_mapping::ResolvedMapping;
use offtake_postgres::Fault;
use serde_json::Value;
use tokio::runtime::Handle;

use super::ledger::{Due, Note, Progress};
use super::{Auditor, Held, Step};
use crate::Error;
use crate::destinations::{Registered, Session};
use crate::verify::{
    self, KEYS_MAX, Keys, Options, Report, Slice, UNPRINTED_MAX, VerifyTarget, row_key,
    verify_slice,
};

/// A slice ends with the first range after this long. With the default budget, a pause of some ten
/// seconds follows.
const SLICE: Duration = Duration::from_millis(100);

/// How long a slice waits for changes to reach the destination. The range is looked at again later
/// otherwise.
const WAIT: Duration = Duration::from_secs(5);

/// How long a statement waits for a lock: less than the server waits before it looks for a
/// deadlock. Its victim could be the application.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Beyond the timeout of a statement, for all that a slice does. A destination that answers each
/// statement just in time would hold the audit of the others.
const SLICE_MARGIN: Duration = Duration::from_secs(60);

/// How often a range is looked at again that cannot be settled, in pauses that double. Then the
/// audit goes on behind it: a row that never rests must not keep the others from being compared.
const TRIES_MAX: u32 = 5;

/// After so many failures in a row, a passing fault counts as a reason why the copy cannot be
/// compared.
const FAILURES_MAX: i32 = 5;

/// A session in which a statement may run. Where it is dropped meanwhile, the server is told to end
/// that statement.
struct Working(Option<Session>);

impl Drop for Working {
    fn drop(&mut self) {
        if let (Some(session), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(session.cancel());
        }
    }
}

impl Auditor {
    /// Compares a slice of the next copy that is due in the destination.
    pub(super) async fn advance(&mut self, held: &mut Held) -> Result<Step, Error> {
        let Some(registered) = self.registry.get(held.claim.destination_id) else {
            return Ok(Step::GiveBack { pause: Duration::ZERO, failed: false });
        };
        let compared = |m: &&Arc<ResolvedMapping>| !held.skipped.iter().any(|s| s == m.name());
        let versions: Vec<(&str, &str)> = registered
            .mappings
            .iter()
            .filter(compared)
            .map(|m| (m.name(), m.version.as_str()))
            .collect();
        let due = self.ledger.next(held.claim, &versions).await?;
        let found = due.and_then(|due| {
            let mapping = registered.mappings.iter().find(|m| m.name() == due.mapping)?;
            Some((due, mapping.clone()))
        });
        let Some((due, mapping)) = found else {
            // What is due may be another daemon's mapping, or of another version. Claimed again at
            // once, it would keep the other destinations from being compared.
            let nothing = !held.moved || !held.skipped.is_empty();
            let pause = if nothing { self.retry_after() } else { Duration::ZERO };
            return Ok(Step::GiveBack { pause, failed: false });
        };
        if let Err(step) = self.session(held, &registered).await {
            return Ok(step);
        }
        let Some(session) = held.session.take() else { return Ok(Step::Next) };
        let mut session = Working(Some(session));
        let limit = self.settings.statement_timeout + SLICE_MARGIN;
        let work = self.compare(&session, &registered, &mapping, &due);
        let Ok(outcome) = tokio::time::timeout(limit, work).await else {
            let why = format!("it takes longer than {} s", limit.as_secs());
            return self.too_slow(held, &registered, &due, &why).await;
        };
        held.session = session.0.take();
        let cut = held.session.as_ref().and_then(Session::cut);
        match outcome {
            Ok(Some(slice)) => {
                failpoint("audit.after_compare").await.map_err(Error::Source)?;
                held.moved = true;
                self.judge(held, &registered, &mapping, due, slice).await
            }
            Ok(None) => {
                held.skipped.push(due.mapping);
                Ok(Step::Next)
            }
            Err(error) => {
                let why = cut.unwrap_or_else(|| error.message());
                self.failed(held, &registered, &due, (error, why)).await
            }
        }
    }

    /// None: the destination's copy is not complete, or of another version.
    async fn compare(
        &mut self,
        session: &Working,
        registered: &Registered,
        mapping: &ResolvedMapping,
        due: &Due,
    ) -> Result<Option<Slice>, verify::Error> {
        let spec = &registered.spec;
        let Some(session) = &session.0 else { return Ok(None) };
        let cursors = session.cursors(&spec.tenant_id).await.map_err(verify::Error::Unreadable)?;
        let stands = |cursor: &crate::Cursor| cursor.backfilled && cursor.is_of(mapping);
        if !cursors.get(mapping.name()).is_some_and(stands) {
            return Ok(None);
        }
        let target = VerifyTarget {
            mapping,
            tenant_id: &spec.tenant_id,
            tenant_at_source: &spec.tenant_at_source,
        };
        let options = Options {
            differences_max: KEYS_MAX,
            wait: WAIT,
            statement_timeout: self.settings.statement_timeout,
            lock_timeout: Some(LOCK_TIMEOUT),
            ..Options::default()
        };
        let mut source = self.pool.get().await.map_err(verify::Error::Source)?;
        let from = due.progress.next.clone();
        let slice = source
            .uninterrupted(async |source| {
                verify_slice(source, session.reader(), &target, &options, from, SLICE).await
            })
            .await?;
        self.compared += slice.source_took;
        Ok(Some(slice))
    }

    /// What a slice that was compared means for the audit.
    async fn judge(
        &mut self,
        held: &Held,
        registered: &Registered,
        mapping: &ResolvedMapping,
        due: Due,
        slice: Slice,
    ) -> Result<Step, Error> {
        let Slice { report, last, next, .. } = slice;
        let mut progress = due.progress.clone();
        if report.unsettled > 0 && progress.tries < TRIES_MAX {
            let pause = self.retry_after() * 2_u32.pow(progress.tries);
            progress.next = last;
            progress.tries += 1;
            self.note(held, &due, Note::Progress(&progress)).await?;
            self.postponed(registered, "changes are on their way");
            return Ok(Step::GiveBack { pause, failed: false });
        }
        let differing = report.missing + report.extra + report.different;
        let keys: Vec<Value> =
            report.differences.iter().map(|found| row_key(mapping, &found.key)).collect();
        let quarantined = match differing {
            0 => 0,
            _ => self.ledger.quarantined(held.claim, mapping.name(), &keys).await?,
        };
        let found = differing.saturating_sub(quarantined);
        if found > 0 {
            let repaired = self.settings.repair && !progress.repaired;
            tell(registered, mapping, &report, found, repaired);
            if repaired {
                progress.next = last;
                (progress.tries, progress.repaired) = (0, true);
                // In this order: a crash in between has them captured twice, which does no harm.
                self.repair(held, registered, mapping, &due, &report).await?;
                self.note(held, &due, Note::Progress(&progress)).await?;
                return Ok(Step::Next);
            }
        }
        progress.rows += report.rows;
        progress.differences += found;
        progress.quarantined += quarantined;
        progress.unsettled += report.unsettled;
        if let Some(first) = report.unprinted.first() {
            progress.not_compared += report.not_compared;
            progress.unprinted.get_or_insert_with(|| first.line());
        }
        if progress.not_compared > UNPRINTED_MAX {
            let error = report.unprinted.last().map_or("", |row| &row.error);
            let why = format!("more than {UNPRINTED_MAX} rows cannot be compared: {error}");
            return self.given_up(held, registered, &due, &why).await;
        }
        (progress.tries, progress.repaired) = (0, false);
        match next {
            Some(next) => {
                progress.next = next;
                self.note(held, &due, Note::Progress(&progress)).await?;
            }
            None => {
                let before = self.note(held, &due, Note::Ended(&progress)).await?;
                if let Some(before) = before {
                    tell_ended(registered, mapping, &progress, before);
                }
            }
        }
        Ok(Step::Next)
    }

    async fn note(
        &mut self,
        held: &Held,
        due: &Due,
        note: Note<'_>,
    ) -> Result<Option<Option<i64>>, Error> {
        // The pause is computed after this statement. Twice what is known of it is enough.
        let pause = self.settings.budget.pause_after(self.compared + self.ledger.spent()) * 2;
        self.ledger.note(held.claim, due, note, pause).await
    }

    async fn repair(
        &mut self,
        held: &Held,
        registered: &Registered,
        mapping: &ResolvedMapping,
        due: &Due,
        report: &Report,
    ) -> Result<(), Error> {
        let differing = report.missing + report.extra + report.different;
        let mut keys = Keys::default();
        keys.add(mapping, &report.differences);
        let keys = (keys.len() as u64 == differing).then_some(&keys);
        self.ledger.repair(held.claim, due, &registered.spec.tenant_at_source, keys).await
    }

    /// A slice took too long although none of its statements did. Where it began, the next one takes
    /// fewer rows: otherwise it would take as long again. Of a single row that takes too long, the
    /// status tells.
    async fn too_slow(
        &mut self,
        held: &mut Held,
        registered: &Registered,
        due: &Due,
        why: &str,
    ) -> Result<Step, Error> {
        if let Some(next) = due.progress.next.smaller() {
            let progress = Progress { next, ..due.progress.clone() };
            self.note(held, due, Note::Progress(&progress)).await?;
            self.postponed(registered, why);
            return Ok(Step::GiveBack { pause: self.retry_after(), failed: false });
        }
        if held.claim.failures >= FAILURES_MAX {
            return self.given_up(held, registered, due, why).await;
        }
        self.postponed(registered, why);
        Ok(Step::GiveBack { pause: self.retry_after(), failed: true })
    }

    /// A copy could not be compared. A fault that passes is waited for; of another one the status
    /// tells, and the audit goes on with the other copies.
    async fn failed(
        &mut self,
        held: &mut Held,
        registered: &Registered,
        due: &Due,
        (error, why): (verify::Error, String),
    ) -> Result<Step, Error> {
        let fault = error.fault();
        if let (verify::Error::Source(error), Fault::Unreachable) = (error, fault) {
            return Err(Error::Source(error));
        }
        if fault == Fault::Unreachable {
            held.session = None;
        }
        let passing = matches!(fault, Fault::Unreachable | Fault::Transient);
        if passing && held.claim.failures < FAILURES_MAX {
            self.postponed(registered, &why);
            return Ok(Step::GiveBack { pause: self.retry_after(), failed: true });
        }
        self.given_up(held, registered, due, &why).await
    }

    /// The copy cannot be compared. The status tells why, and the next copy is compared.
    async fn given_up(
        &mut self,
        held: &Held,
        registered: &Registered,
        due: &Due,
        why: &str,
    ) -> Result<Step, Error> {
        let (label, mapping) = (registered.spec.label(), &due.mapping);
        if self.note(held, due, Note::Failed(why)).await?.is_some() {
            tracing::info!(
                event = "audit_failed",
                tenant = registered.spec.tenant_id,
                destination = registered.spec.name,
                mapping,
                "the audit cannot compare mapping {mapping} in {label}: {why}"
            );
        }
        Ok(Step::Next)
    }
}

/// A person must look: nothing that Offtake does explains the difference. The keys stay out of the
/// log, as the values do; `offtake verify` prints them.
fn tell(
    registered: &Registered,
    mapping: &ResolvedMapping,
    report: &Report,
    rows: u64,
    repaired: bool,
) {
    metrics::counter!(names::AUDIT_DIFFERENCES_TOTAL).increment(rows);
    let (label, mapping) = (registered.spec.label(), mapping.name());
    let what = if repaired { "they are copied again" } else { "see `offtake status`" };
    tracing::error!(
        event = "audit_differs",
        tenant = registered.spec.tenant_id,
        destination = registered.spec.name,
        mapping,
        missing = report.missing,
        extra = report.extra,
        different = report.different,
        repaired,
        "{rows} rows of mapping {mapping} in {label} differ from its query; {what}"
    );
}

fn tell_ended(
    registered: &Registered,
    mapping: &ResolvedMapping,
    progress: &Progress,
    before: Option<i64>,
) {
    let (label, mapping) = (registered.spec.label(), mapping.name());
    let rows = progress.rows;
    if progress.not_compared > 0 {
        // Its key stays out of the log; the status has it.
        tracing::info!(
            event = "audit_incomplete",
            tenant = registered.spec.tenant_id,
            destination = registered.spec.name,
            mapping,
            rows = progress.not_compared,
            "{} rows of mapping {mapping} in {label} cannot be compared; see `offtake status`",
            progress.not_compared
        );
    }
    if progress.equal() && before.is_some_and(|before| before > 0) {
        tracing::info!(
            event = "audit_equal_again",
            tenant = registered.spec.tenant_id,
            destination = registered.spec.name,
            mapping,
            "mapping {mapping} in {label} equals its query again"
        );
    }
    tracing::debug!(
        event = "audited",
        tenant = registered.spec.tenant_id,
        destination = registered.spec.name,
        mapping,
        rows,
        differences = progress.differences,
        unsettled = progress.unsettled,
        "mapping {mapping} in {label} was compared"
    );
}
