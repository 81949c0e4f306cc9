//! One mapping's rows into its table in Postgres, inside the destination's transaction.
//!
//! The rows go through a staging table as the source printed them and are applied by set-based
//! statements. When the destination refuses a row, the lines are halved behind savepoints until the
//! refused ones stand alone.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use offtake_mapping::compose::KeyRange;
use offtake_mapping::compose::postgres::Apply;
use offtake_mapping::{OnRowError, ResolvedMapping};
use offtake_postgres::{Fault, SqlState, row_fault};
use offtake_reading::{Chunk, FAILED_ROWS_MAX, FailedRow, MappingFault, Part, Rows, key_of};
use tokio_postgres::{Client, SimpleQueryMessage, Statement};

use super::copies::{Staging, make_staging};
use crate::Error;
use crate::destinations::Applied;

/// What a stretch of lines goes back to when a row of it is refused.
pub(super) const SAVE: &str = "savepoint stretch";

/// Stretches up to this many lines, and this many bytes of COPY text, are stated in the message
/// that writes them, which saves the round trips of a COPY. Parsing a longer statement costs more
/// than these.
const STATED_LINES_MAX: usize = 50;
const STATED_BYTES_MAX: usize = 64 * 1024;

/// So many rows that collide with others are told apart before the mapping is called faulty: a
/// rotation makes all its rows collide, and finding each takes about 25 small statements.
const COLLIDED_ROWS_MAX: usize = 1000;

/// A staging table in which more has been staged is truncated instead of emptied row by row, which
/// would take 0.6 of the 7 µs that a row of a large batch costs its server. Reading over so much that
/// lies deleted takes some 50 µs.
const STAGING_DELETED_BYTES_MAX: usize = 256 * 1024;

/// Lines to apply, and the key range they are all of, if they are a chunk's.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) lines: Range<usize>,
    pub(super) range: Option<Bounds>,
}

/// The bounds of a chunk's key range: after (exclusive) and up to (inclusive); None is the table's
/// end.
#[derive(Clone)]
pub(super) struct Bounds {
    after: Option<Vec<String>>,
    up_to: Option<Vec<String>>,
}

impl Bounds {
    pub(super) fn as_range(&self) -> KeyRange<'_> {
        KeyRange { after: self.after.as_deref(), up_to: self.up_to.as_deref() }
    }
}

/// When deferrable constraints are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checks {
    /// With each stretch of lines, while the rows can still be told apart.
    AtOnce,
    /// At the end of the batch, by the caller.
    AtTheEnd,
}

impl Checks {
    pub(super) fn statement(self) -> &'static str {
        match self {
            Self::AtOnce => "set constraints all immediate",
            Self::AtTheEnd => "set constraints all deferred",
        }
    }
}

/// Why lines were not applied.
enum Failure {
    Statement(tokio_postgres::Error),
    /// Counts do not add up: something in the destination swallowed or altered rows.
    Interference(i64),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement(error)
    }
}

/// How a part is applied.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) checks: Checks,
    /// The table may change or drop what is written to it.
    pub(super) alters: bool,
    /// The session's staging table; None: it is made.
    pub(super) staging: Option<&'a Staging>,
    /// Rows that the destination refuses are found and left out. Otherwise the first refusal is the
    /// part's error.
    pub(super) divides: bool,
}

/// What [`part`] did.
pub(super) struct Done {
    pub(super) applied: Applied,
    /// As it is once the transaction has run `end` and committed.
    pub(super) staging: Staging,
    /// Statements that are still to be run in this transaction, each with its semicolon; the caller
    /// sends them together with its next ones.
    pub(super) end: String,
}

fn are_stated(lines: usize, bytes: usize) -> bool {
    lines <= STATED_LINES_MAX && bytes <= STATED_BYTES_MAX
}

/// Whether the rows are stated in the message that writes them.
pub(super) fn is_stated(rows: &Rows) -> bool {
    are_stated(rows.len(), rows.bytes())
}

/// Applies changed rows, then the chunk.
pub(super) async fn part(
    client: &Client,
    apply: &Apply<'_>,
    part: &Part,
    manner: Manner<'_>,
) -> Result<Done, Error> {
    let mut applied = Applied::default();
    let mut staging = match manner.staging {
        Some(staging) => staging.clone(),
        None => make_staging(client, apply).await.map_err(|e| classify(&part.mapping, e))?,
    };
    let applier = Applier {
        client,
        apply,
        mapping: &part.mapping,
        copy: &staging.copy,
        checks: manner.checks,
        alters: manner.alters,
        divides: manner.divides,
        unended: AtomicBool::new(false),
        staged: AtomicUsize::new(staging.deleted_bytes),
    };
    if !part.changed.is_empty() {
        applier.all(&part.changed, None, &mut applied).await?;
    }
    if let Some(Chunk { rows, after, up_to }) = &part.chunk {
        let range = Bounds { after: after.clone(), up_to: up_to.clone() };
        if applier.fill_range(rows, &range).await? {
            applied.upserted = applied.upserted.saturating_add(rows.len() as u64);
        } else {
            applier.all(rows, Some(range), &mut applied).await?;
        }
    }
    let end = applier.take_end();
    staging.deleted_bytes = applier.staged.into_inner();
    Ok(Done { applied, staging, end })
}

pub(super) struct Applier<'a> {
    pub(super) client: &'a Client,
    pub(super) apply: &'a Apply<'a>,
    pub(super) mapping: &'a ResolvedMapping,
    /// Fills the staging table.
    pub(super) copy: &'a Statement,
    pub(super) checks: Checks,
    pub(super) alters: bool,
    pub(super) divides: bool,
    /// The last stretch is applied, and the staging table still has its lines: what ends it is sent
    /// together with the next statements, which saves a round trip.
    unended: AtomicBool,
    /// Bytes that were staged since the table was last truncated.
    staged: AtomicUsize,
}

impl Applier<'_> {
    async fn all(
        &self,
        rows: &Rows,
        range: Option<Bounds>,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let mut open = vec![Stretch { lines: 0..rows.len(), range }];
        // Rows whose place among the unique values is taken, maybe by a row that gives it up later
        // in the batch: tried again for as long as that helps some of them, then as a set.
        let (mut collided, mut collided_before) = (Vec::<Stretch>::new(), usize::MAX);
        loop {
            let Some(stretch) = open.pop() else {
                if collided.is_empty() {
                    return Ok(());
                }
                let end = self.take_end();
                self.client.batch_execute(&end).await.map_err(Error::destination)?;
                let mut left = std::mem::take(&mut collided);
                if left.len() < collided_before.min(FAILED_ROWS_MAX + 1) {
                    collided_before = left.len();
                } else {
                    collided_before = 0;
                    left = self.as_set(rows, left, applied).await?;
                }
                open.extend(left.into_iter().rev());
                continue;
            };
            let failure = match self.stretch(rows, &stretch, applied).await {
                Ok(()) => continue,
                Err(failure) => failure,
            };
            let error = self.of_a_row(rows, &stretch, failure)?;
            if !self.divides {
                return Err(classify(self.mapping, error));
            }
            self.rollback().await?;
            if stretch.lines.len() > 1 {
                let (left, right) = self.halve(rows, &stretch);
                open.push(right);
                open.push(left);
                continue;
            }
            if self.is_void(rows, &stretch, &error).await? {
                continue;
            }
            let by_others = [
                SqlState::UNIQUE_VIOLATION,
                SqlState::EXCLUSION_VIOLATION,
                SqlState::FOREIGN_KEY_VIOLATION,
            ];
            let may_be_freed =
                error.code().is_some_and(|code| by_others.contains(code)) && collided_before > 0;
            if may_be_freed && collided.len() < COLLIDED_ROWS_MAX {
                collided.push(stretch);
            } else {
                self.refuse(rows, &stretch, error, applied).await?;
            }
        }
    }

    /// The error, if it may be a single row's; otherwise it is the mapping's or the destination's.
    fn of_a_row(
        &self,
        rows: &Rows,
        stretch: &Stretch,
        failure: Failure,
    ) -> Result<tokio_postgres::Error, Error> {
        let twice = || self.repeated(rows, stretch);
        match failure {
            Failure::Interference(count) => {
                Err(twice().unwrap_or_else(|| self.interference(count)))
            }
            Failure::Statement(error) if error.code() == Some(&SqlState::CARDINALITY_VIOLATION) => {
                Err(twice().unwrap_or_else(|| classify(self.mapping, error)))
            }
            Failure::Statement(error) if row_fault(&error) && !stretch.lines.is_empty() => {
                Ok(error)
            }
            Failure::Statement(error) => Err(classify(self.mapping, error)),
        }
    }

    /// Whether a line says that a row must not exist whose key the table cannot even hold. The
    /// error may also be that of a trigger, so the key alone is tried.
    async fn is_void(
        &self,
        rows: &Rows,
        stretch: &Stretch,
        error: &tokio_postgres::Error,
    ) -> Result<bool, Error> {
        let of_a_value = |error: &tokio_postgres::Error| {
            error.code().is_some_and(|state| state.code().starts_with("22"))
        };
        if rows.present(stretch.lines.clone()) > 0 || !of_a_value(error) {
            return Ok(false);
        }
        self.client.batch_execute(SAVE).await.map_err(Error::destination)?;
        let staged = self.client.batch_execute(&self.stage(rows, stretch.lines.clone())).await;
        self.rollback().await?;
        Ok(staged.is_err_and(|error| of_a_value(&error)))
    }

    /// Two halves, each with its part of the key range.
    fn halve(&self, rows: &Rows, stretch: &Stretch) -> (Stretch, Stretch) {
        let middle = stretch.lines.start + stretch.lines.len() / 2;
        let boundary = || Some(key_of(self.mapping, rows, middle - 1));
        let (left, right) = match &stretch.range {
            Some(Bounds { after, up_to }) => (
                Some(Bounds { after: after.clone(), up_to: boundary() }),
                Some(Bounds { after: boundary(), up_to: up_to.clone() }),
            ),
            None => (None, None),
        };
        (
            Stretch { lines: stretch.lines.start..middle, range: left },
            Stretch { lines: middle..stretch.lines.end, range: right },
        )
    }

    /// One line that the destination does not take: set aside, or the mapping's stop.
    async fn refuse(
        &self,
        rows: &Rows,
        stretch: &Stretch,
        error: tokio_postgres::Error,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let error = offtake_postgres::Error::from(error);
        let key = key_of(self.mapping, rows, stretch.lines.start);
        let halts = self.mapping.definition.on_row_error == OnRowError::Halt;
        if halts || applied.refused.len() >= FAILED_ROWS_MAX {
            let what = if halts {
                format!("the destination refuses the row with key ({})", key.join(", "))
            } else {
                format!("the destination refuses more than {FAILED_ROWS_MAX} rows of one batch")
            };
            return Err(self.fault(MappingFault::of(&what, &error)));
        }
        if let Some(bounds) = &stretch.range {
            // The rest of its range, where the destination may hold rows that the source has not.
            self.guard(&self.apply.guard_range(bounds.as_range(), Some(&key))).await?;
            let statement = self.apply.delete_range(bounds.as_range(), Some(&key));
            applied.deleted += self
                .client
                .execute(&statement, &[])
                .await
                .map_err(|e| classify(self.mapping, e))?;
        }
        let sqlstate = error.sqlstate().map_or_else(String::new, |s| s.code().to_owned());
        // A row may be among the changes and in the chunk.
        applied.refused.retain(|refused| refused.key != key);
        applied.refused.push(FailedRow { key, sqlstate, error: error.message() });
        Ok(())
    }

    /// What ends the last stretch, if it has not been sent; empty otherwise.
    pub(super) fn take_end(&self) -> String {
        if !self.unended.swap(false, Ordering::Relaxed) {
            return String::new();
        }
        let emptied = match self.staged.load(Ordering::Relaxed) > STAGING_DELETED_BYTES_MAX {
            true => {
                self.staged.store(0, Ordering::Relaxed);
                self.apply.truncate_staging()
            }
            false => self.apply.empty_staging(),
        };
        format!("{emptied}; release savepoint stretch; ")
    }

    async fn stretch(
        &self,
        rows: &Rows,
        stretch: &Stretch,
        applied: &mut Applied,
    ) -> Result<(), Failure> {
        let present = rows.present(stretch.lines.clone()) as u64;
        let absent = stretch.lines.len() as u64 - present;
        let data = rows.slice(stretch.lines.clone());
        let stated = are_stated(stretch.lines.len(), data.len());
        self.staged.fetch_add(data.len(), Ordering::Relaxed);
        let mut statements = Vec::new();
        if stated && !stretch.lines.is_empty() {
            statements.push(self.stage(rows, stretch.lines.clone()));
        }
        statements.extend(self.guards(stretch, (present, absent)));
        let staged = statements.len();
        self.push_changes(stretch, (present, absent), &mut statements);
        let changing = statements.len();
        let statements = statements.join("; ");
        // Sent together: the savepoint is there before the first row is. In messages of their own:
        // one with a character that the destination's encoding lacks is refused as a whole, and the
        // savepoint must not be in it.
        let save = self.take_end() + SAVE;
        let save = self.client.batch_execute(&save);
        let counts = if stated {
            let (saved, done) = tokio::join!(biased; save, self.run(&statements));
            saved?;
            done?.0
        } else {
            let (saved, copied) = tokio::join!(biased; save, self.stage_by_copy(rows, data));
            saved?;
            copied?;
            self.run(&statements).await?.0
        };
        // A server may answer with fewer counts than there were statements, or with any number.
        let count = |at: usize| counts.get(at).copied().unwrap_or(0);
        let upserted = if present > 0 { count(changing - 2) } else { 0 };
        let deleted_absent = if absent > 0 { count(staged) } else { 0 };
        // A row that is there already, or is gone already, is not counted either.
        let alters = self.alters || self.apply.updates_itself();
        if alters || upserted < present || deleted_absent < absent {
            let (_, not_applied) = self.run(&self.apply.count_not_applied()).await?;
            let not_applied = not_applied.unwrap_or(0);
            // Of a row that comes twice and is nothing but its key, one stands for both.
            let twice = self.apply.is_all_key() && self.repeated(rows, stretch).is_some();
            if not_applied > 0 || twice {
                return Err(Failure::Interference(not_applied));
            }
        }
        self.unended.store(true, Ordering::Relaxed);
        let changed = (staged..changing).map(count).fold(0, u64::saturating_add);
        applied.upserted = applied.upserted.saturating_add(upserted);
        applied.deleted = applied.deleted.saturating_add(changed.saturating_sub(upserted));
        Ok(())
    }

    /// What must hold before the changes; see [`Apply::guard_absent`].
    fn guards(&self, stretch: &Stretch, (present, absent): (u64, u64)) -> Vec<String> {
        let of_range = |bounds: &Bounds| self.apply.guard_range(bounds.as_range(), None);
        let mut guards = stretch.range.as_ref().map(of_range).unwrap_or_default();
        if absent > 0 {
            guards.extend(self.apply.guard_absent());
        }
        if present > 0 {
            guards.extend(self.apply.guard_present());
        }
        guards
    }

    pub(super) async fn guard(&self, guards: &[String]) -> Result<(), Error> {
        for guard in guards {
            let passed = self.client.batch_execute(guard).await;
            passed.map_err(|error| classify(self.mapping, error))?;
        }
        Ok(())
    }

    /// The statements that change the table, in the order in which their counts are read.
    fn push_changes(
        &self,
        stretch: &Stretch,
        (present, absent): (u64, u64),
        statements: &mut Vec<String>,
    ) {
        if absent > 0 {
            statements.push(self.apply.delete_absent());
        }
        if let Some(bounds) = &stretch.range {
            statements.push(self.apply.delete_range(bounds.as_range(), None));
        }
        if present > 0 {
            statements.push(self.apply.upsert_present());
        }
        statements.push(self.checks.statement().to_owned());
    }

    /// Affected rows of each statement, in order, and the number that one of them may select.
    pub(super) async fn run(
        &self,
        statements: &str,
    ) -> Result<(Vec<u64>, Option<i64>), tokio_postgres::Error> {
        let (mut counts, mut selected) = (Vec::new(), None);
        for message in self.client.simple_query(statements).await? {
            match message {
                SimpleQueryMessage::CommandComplete(count) => counts.push(count),
                SimpleQueryMessage::Row(row) => {
                    selected = row.get(0).and_then(|number| number.parse().ok())
                }
                _ => {}
            }
        }
        Ok((counts, selected))
    }

    /// The query's mistake that looks like the destination's: a key that comes twice, of which only
    /// one row can be there.
    fn repeated(&self, rows: &Rows, stretch: &Stretch) -> Option<Error> {
        let mut seen = HashSet::new();
        let mut present = stretch.lines.clone().filter(|&line| rows.present(line..line + 1) == 1);
        let line = present.find(|&line| !seen.insert(key_of(self.mapping, rows, line)))?;
        let key = key_of(self.mapping, rows, line).join(", ");
        Some(self.fault(MappingFault::repeated_key(&key)))
    }

    fn interference(&self, count: i64) -> Error {
        self.fault(MappingFault::said(format!(
            "{count} rows are not in {} as they were written: a trigger, a rule or a policy there drops or changes them; remove it for \
             Offtake's role",
            self.apply.table()
        )))
    }

    fn fault(&self, fault: MappingFault) -> Error {
        Error::Mapping { mapping: self.mapping.name().to_owned(), fault }
    }
}

/// A statement's error: the mapping's, unless the destination itself is in trouble.
pub(super) fn classify(mapping: &ResolvedMapping, error: tokio_postgres::Error) -> Error {
    let error = offtake_postgres::Error::from(error);
    match error.fault() {
        Fault::Schema | Fault::Row if error.sqlstate().is_some() => Error::Mapping {
            mapping: mapping.name().to_owned(),
            fault: MappingFault::of("the destination refuses it", &error),
        },
        _ => Error::destination(error),
    }
}
