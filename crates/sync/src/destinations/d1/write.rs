//! A batch's write into a D1 database: one request that compares, applies and moves the cursors.
//!
//! A request that is refused did nothing. What it was refused for decides what the next one is like,
//! and the next one is another write with another id: other rows never come under an id that was
//! sent.

use std::sync::Arc;
use std::time::Duration;

use offtake_loops::failpoint;
use offtake_mapping::{OnRowError, ResolvedMapping, foreign};
use offtake_postgres::Fault;
use offtake_reading::{FAILED_ROWS_MAX, FailedRow, MappingFault, Part, key_of};

use super::call::{Done, Failed, Statement};
use super::refusals;
use super::sqlite::schema::Schema;
use super::sqlite::{Cells as _, apply, sql as shared, state, tables};
use super::stage::Stage;
use super::{Session, Trouble, fence, sql};
use crate::Error;
use crate::cursors::{Cursors, Identities};
use crate::destinations::{Applied, Aside, Faults, TenantWrite, Written};

/// Cloudflare ends a request after 30 seconds, and a database may be three times as busy as it was.
const SLOW: Duration = Duration::from_secs(10);

/// The number of a chunk's first line. Changed rows have those below.
pub(super) const CHUNK: usize = 1_000_000_000;

/// How the rows of a part are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// All of them, each where it is.
    Plain,
    /// Their old versions are deleted first: two rows may have swapped a unique value.
    Set,
    /// Those that the table takes; the others are noted.
    Isolating,
}

/// One part, and how it is written.
pub(super) struct Plan<'a> {
    pub(super) part: &'a Part,
    changed: Option<Stage<'a>>,
    chunk: Option<Stage<'a>>,
    form: Form,
    /// Why the plain form was refused.
    pub(super) reason: Option<Trouble>,
    fault: Option<MappingFault>,
    /// Rows that are left out without asking.
    refused: Vec<FailedRow>,
}

/// What a statement's changes count as.
#[derive(Clone, Copy)]
enum Counts {
    Deleted,
    Upserted,
    Nothing,
    /// Its rows are the numbers of refused ones.
    Refused,
}

impl Session {
    pub(in crate::destinations) async fn write(
        &self,
        writes: &[TenantWrite<'_>],
        aside: &Aside<'_>,
    ) -> Result<Vec<Option<Written>>, Error> {
        self.prove().await.map_err(Error::Destination)?;
        let mut all = Vec::with_capacity(writes.len());
        for write in writes {
            all.push(self.tenant(write, aside).await?);
        }
        Ok(all)
    }

    /// None: the tenant's cursors or tables are others than the batch was read for.
    async fn tenant(
        &self,
        write: &TenantWrite<'_>,
        aside: &Aside<'_>,
    ) -> Result<Option<Written>, Error> {
        let known = |m: &Arc<ResolvedMapping>| write.identities.contains_key(m.name());
        if !write.mappings.iter().all(known) {
            return Ok(None);
        }
        failpoint("sync.after_begin").await.map_err(Error::destination)?;
        let mut plans: Vec<Plan<'_>> = write.parts.iter().map(Plan::new).collect();
        for plan in &plans {
            aside.set(&plan.part.mapping, &plan.part.failed).await?;
            aside.set(&plan.part.mapping, &plan.refused).await?;
            failpoint("sync.mid_batch").await.map_err(Error::destination)?;
        }
        failpoint("sync.before_cursor").await.map_err(Error::destination)?;
        // Each refusal takes a plan one step further, and a plan has few.
        for _ in 0..=plans.len() * 4 {
            let id = state::write_id();
            let mut cursors = write.next.clone();
            for plan in plans.iter().filter(|plan| plan.fault.is_some()) {
                let name = plan.part.mapping.name();
                cursors.insert(name.to_owned(), write.expected[name].clone());
            }
            let cursor = |m: &Arc<ResolvedMapping>| {
                Some((m.name().to_owned(), cursors.get(m.name())?.clone()))
            };
            let mut ours: Cursors = write.mappings.iter().filter_map(cursor).collect();
            let mut batch = vec![fence::cursors(write.tenant_id, write.expected, &id)];
            batch.extend(fence::tables(write.mappings, &of(write)));
            batch.extend(fence::moves(write.tenant_id, &mut ours, &id));
            let mut counts = Vec::new();
            for (at, plan) in plans.iter().enumerate() {
                for (statement, count) in plan.statements(write, &id) {
                    counts.push((batch.len(), at, count));
                    batch.push(statement);
                }
            }
            // Rows that the batch itself leaves out are known once it is done.
            if let Some(also) = write.also.filter(|_| plans.iter().all(|p| p.fault.is_none())) {
                let known = plans.iter().flat_map(|p| p.part.failed.iter().chain(&p.refused));
                let statements = also(&known.cloned().collect::<Vec<_>>());
                batch.extend(statements.into_iter().map(Statement::new));
            }
            failpoint("sync.before_commit").await.map_err(Error::destination)?;
            let failed = match self.run_timed(&batch).await {
                Ok((done, took)) => {
                    failpoint("sync.after_commit").await.map_err(Error::destination)?;
                    cursors.extend(ours.clone());
                    let mut written = Written {
                        outcomes: Vec::new(),
                        faults: Faults::new(),
                        cursors,
                        slow: took > SLOW,
                    };
                    if !written.slow {
                        self.database.reach.done(write.parts.iter().map(|part| part.bytes()).sum());
                    }
                    let lines = outcomes(&plans, &done, &counts, &mut written);
                    let written_as = refusals::WrittenAs { write, aside, id: &id, ours };
                    self.settle(&plans, lines, written_as, &mut written).await?;
                    return Ok(Some(written));
                }
                Err(failed) => failed,
            };
            match failed {
                Failed::Guard(name) if name == "trigger" => {
                    if !self.find_triggers(&mut plans).await? {
                        return Ok(None);
                    }
                }
                Failed::Guard(name) if name == "refusals" => {
                    self.escalate(&mut plans, write, Failed::Guard(name)).await?;
                }
                Failed::Guard(_) => return Ok(None),
                // The tenant dropped a table of ours: what was taken up is not there any more.
                Failed::Trouble(trouble)
                    if trouble.fault == Fault::Schema && trouble.message.contains("_offtake_") =>
                {
                    return Ok(None);
                }
                Failed::Trouble(trouble) if matches!(trouble.fault, Fault::Row | Fault::Schema) => {
                    self.escalate(&mut plans, write, Failed::Trouble(trouble)).await?;
                }
                Failed::Trouble(trouble) => return Err(Error::Destination(trouble)),
            }
        }
        let message = "the database refuses the same batch for ever new reasons".to_owned();
        Err(Error::Destination(Trouble::new(Fault::Transient, None, message)))
    }

    /// Finds which parts a refusal concerns, and what to do with each.
    async fn escalate(
        &self,
        plans: &mut [Plan<'_>],
        write: &TenantWrite<'_>,
        failed: Failed,
    ) -> Result<(), Error> {
        let active: Vec<usize> = (0..plans.len()).filter(|at| plans[*at].is_active()).collect();
        if let [only] = active[..] {
            plans[only].escalate(failed);
            return Ok(());
        }
        let mut found = false;
        for at in active {
            let id = state::write_id();
            let statements = plans[at].statements(write, &id).into_iter().map(|(one, _)| one);
            let mut batch: Vec<_> = statements.collect();
            batch.push(Statement::new(sql::PROBE));
            match self.run(&batch).await {
                Err(Failed::Guard(name)) if name == "probe" => {}
                Err(Failed::Trouble(trouble))
                    if !matches!(trouble.fault, Fault::Row | Fault::Schema) =>
                {
                    return Err(Error::Destination(trouble));
                }
                Err(failed) => {
                    plans[at].escalate(failed);
                    found = true;
                }
                Ok(_) => {
                    let message = "the endpoint commits a batch that a guard ended".to_owned();
                    return Err(Error::Destination(Trouble::new(Fault::Fatal, None, message)));
                }
            }
        }
        match (found, failed) {
            (true, _) => Ok(()),
            // Each part fits by itself: only what the parts do to each other is refused.
            (false, Failed::Trouble(trouble)) => {
                Err(Error::Destination(Trouble { fault: Fault::Schema, ..trouble }))
            }
            (false, failed) => Err(failed.into()),
        }
    }

    /// Makes the mappings faulty whose tables have triggers. False: none has one by now.
    async fn find_triggers(&self, plans: &mut [Plan<'_>]) -> Result<bool, Error> {
        let objects = self.ask(&[Statement::returning(shared::LIST_OBJECTS, 4)]).await;
        let schema = Schema::of(&objects.map_err(Error::Destination)?[0].rows);
        let mut found = false;
        for plan in plans {
            let name = plan.part.mapping.definition.target.table.as_str();
            let Some(table) = schema.table(name) else { continue };
            if let Err(problem) = tables::check_triggers(table) {
                plan.fault = Some(problem.into_fault()?);
                found = true;
            }
        }
        Ok(found)
    }
}

/// The tables that a batch was read for, of the mappings whose parts it has.
fn of(write: &TenantWrite<'_>) -> Identities {
    let known = |m: &Arc<ResolvedMapping>| {
        Some((m.name().to_owned(), write.identities.get(m.name())?.clone()))
    };
    write.mappings.iter().filter_map(known).collect()
}

/// Counts what was done, part by part. Returns the numbers of refused rows, with their parts.
fn outcomes(
    plans: &[Plan<'_>],
    done: &[Done],
    counts: &[(usize, usize, Counts)],
    written: &mut Written,
) -> Vec<(usize, usize)> {
    for plan in plans {
        written.outcomes.push(match &plan.fault {
            None => Some(Applied { refused: plan.refused.clone(), ..Applied::default() }),
            Some(fault) => {
                written.faults.push((plan.part.mapping.name().to_owned(), fault.clone()));
                None
            }
        });
    }
    let mut lines = Vec::new();
    for (statement, at, count) in counts {
        let Some(applied) = &mut written.outcomes[*at] else { continue };
        match count {
            Counts::Deleted => applied.deleted += done[*statement].changes,
            Counts::Upserted => applied.upserted += done[*statement].changes,
            Counts::Nothing => {}
            Counts::Refused => {
                let numbers = done[*statement].rows.iter().map(|row| row.number(0));
                lines.extend(numbers.map(|number| (*at, number.unsigned_abs() as usize)));
            }
        }
    }
    lines
}

impl<'a> Plan<'a> {
    fn new(part: &'a Part) -> Self {
        let mapping = &*part.mapping;
        let chunk = part.chunk.as_ref();
        let repeated = apply::refuse_repeated(mapping, &part.changed)
            .and_then(|()| chunk.map_or(Ok(()), |c| apply::refuse_repeated(mapping, &c.rows)));
        let fault = match repeated {
            Err(Error::Mapping { fault, .. }) => Some(fault),
            _ => None,
        };
        let all = |_| true;
        let changed =
            (!part.changed.is_empty()).then(|| Stage::new(mapping, &part.changed, 0, all));
        let chunk = chunk.map(|chunk| Stage::new(mapping, &chunk.rows, CHUNK, all));
        let mut plan = Self {
            part,
            changed,
            chunk,
            form: Form::Plain,
            reason: None,
            fault,
            refused: Vec::new(),
        };
        plan.refuse_large();
        plan
    }

    /// Rows that are too large are known before anything is sent.
    fn refuse_large(&mut self) {
        let mapping = &*self.part.mapping;
        let stages = self.changed.iter().chain(&self.chunk);
        let keys = stages.flat_map(|stage| {
            stage.too_large.iter().map(|line| key_of(mapping, stage.rows, *line))
        });
        let error = "the row is larger than D1 takes: 2 000 000 bytes, of which bytea counts twice where \
                     one value is near that";
        for key in keys {
            self.refused.retain(|refused| refused.key != key);
            let (sqlstate, error) = ("22001".to_owned(), error.to_owned());
            self.refused.push(FailedRow { key, sqlstate, error });
        }
        let halts = mapping.definition.on_row_error == OnRowError::Halt;
        if let Some(first) = self.refused.first()
            && (halts || self.refused.len() > FAILED_ROWS_MAX)
        {
            let key = first.key.join(", ");
            let message =
                format!("the destination refuses the row with key ({}): {error}", foreign(&key));
            self.fault = Some(MappingFault { sqlstate: Some("22001".to_owned()), message });
            self.refused.clear();
        }
    }

    fn is_active(&self) -> bool {
        self.fault.is_none() && (self.changed.is_some() || self.chunk.is_some())
    }

    /// The rows with these numbers.
    pub(super) fn only(&self, numbers: &[usize]) -> Vec<Stage<'a>> {
        let (part, mapping) = (self.part, &*self.part.mapping);
        let stage = |rows, first: usize| {
            Stage::new(mapping, rows, first, |line| numbers.contains(&(first + line)))
        };
        let changed = stage(&part.changed, 0);
        let chunk = part.chunk.as_ref().map(|chunk| stage(&chunk.rows, CHUNK));
        let some = |stage: &Stage<'_>| !stage.pieces.is_empty();
        [changed].into_iter().chain(chunk).filter(some).collect()
    }

    /// The key of the row with a number.
    pub(super) fn key(&self, number: usize) -> Vec<String> {
        let rows = match (&self.part.chunk, number.checked_sub(CHUNK)) {
            (Some(chunk), Some(line)) => return key_of(&self.part.mapping, &chunk.rows, line),
            _ => &self.part.changed,
        };
        key_of(&self.part.mapping, rows, number)
    }

    fn statements(&self, write: &TenantWrite<'_>, id: &str) -> Vec<(Statement, Counts)> {
        if self.fault.is_some() {
            return Vec::new();
        }
        let mut statements = Vec::new();
        let mut add = |of: Vec<Statement>, count: Counts| {
            statements.extend(of.into_iter().map(|statement| (statement, count)));
        };
        if let Some(stage) = &self.changed {
            add(stage.delete_absent(), Counts::Deleted);
        }
        if let Some(stage) = &self.changed {
            self.rows(stage, &mut add);
        }
        for (stage, chunk) in self.chunk.iter().zip(&self.part.chunk) {
            add(stage.clear(chunk, write.tenant_at_source), Counts::Deleted);
            self.rows(stage, &mut add);
        }
        if self.form == Form::Isolating {
            let (tenant, mapping) = (write.tenant_id, self.part.mapping.name());
            for stage in self.changed.iter().chain(&self.chunk) {
                add(stage.note("\"_offtake_refused\"", &[tenant, mapping, id]), Counts::Nothing);
            }
            let guard = Statement::new(sql::GUARD_REFUSALS).with(tenant).with(mapping).with(id);
            add(vec![guard.with(FAILED_ROWS_MAX.to_string())], Counts::Nothing);
            let list = "select line from \"_offtake_refused\" where tenant_id = ?1 and mapping = ?2 and write_id = ?3";
            let list = Statement::returning(list, 1).with(tenant).with(mapping).with(id);
            add(vec![list], Counts::Refused);
        }
        statements
    }

    fn rows(&self, stage: &Stage<'_>, add: &mut impl FnMut(Vec<Statement>, Counts)) {
        match self.form {
            Form::Plain => add(stage.upsert(), Counts::Upserted),
            Form::Set => {
                let lines = stage.pieces.iter().flat_map(|piece| piece.lines.iter().copied());
                add(stage.delete(lines), Counts::Nothing);
                add(stage.insert(), Counts::Upserted);
            }
            Form::Isolating => add(stage.write_or_ignore(), Counts::Upserted),
        }
    }

    /// What follows from a refusal.
    fn escalate(&mut self, failed: Failed) {
        let halts = self.part.mapping.definition.on_row_error == OnRowError::Halt;
        let trouble = match failed {
            Failed::Guard(_) => {
                let reason = self.reason.as_ref();
                let (sqlstate, told) = reason.map_or((None, ""), |r| (r.code.clone(), &*r.message));
                let message = format!(
                    "the destination refuses more than {FAILED_ROWS_MAX} rows of one batch: {told}"
                );
                self.fault = Some(MappingFault { sqlstate, message });
                return;
            }
            Failed::Trouble(trouble) => trouble,
        };
        let swapped = trouble.code.as_deref() == Some("23505");
        let next = match self.form {
            _ if trouble.fault != Fault::Row => None,
            Form::Plain if swapped => Some(Form::Set),
            Form::Plain | Form::Set if !halts => Some(Form::Isolating),
            _ => None,
        };
        match next {
            Some(form) => {
                self.form = form;
                self.reason.get_or_insert(trouble);
            }
            None => {
                let message = format!("the destination refuses it: {}", trouble.message);
                self.fault = Some(MappingFault { sqlstate: trouble.code, message });
            }
        }
    }
}
