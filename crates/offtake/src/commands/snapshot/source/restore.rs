//! `offtake snapshot restore --into source`.
//!
//! In this order: the archive is checked as a whole; a transaction that is rolled back shows what
//! would be done; the operator is asked; a snapshot of the source as it is now is made; one
//! transaction does exactly what was shown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use offtake_jobs::archive::{Contents, Kind, Manifest};
use offtake_jobs::snapshots::source::{
    self, Archive, Asked, Error, Mode, Outcome, OwnTable, Planned, PlannedTable, Restoring, Wanted,
    Written,
};
use offtake_jobs::snapshots::{self, Card};
use offtake_jobs::{PublicId, Store};
use offtake_mapping::{foreign, scan, shell_word};
use offtake_postgres::{Connection, Dialer, SqlState, catalog};
use tokio::time::Instant;

use super::super::super::confirm::{confirmed, require_answer};
use super::super::super::printing::say;
use super::super::super::signals::Signals;
use super::super::create::at_source;
use super::super::{store, told as told_of_rows};
use super::create::{make, tables};
use super::told;
use crate::arguments::shown;
use crate::command_line::{Restore, RestoreMode};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// Each attempt waits half a second for a lock, and stages the rows again.
const ATTEMPTS: u32 = 10;

const PAUSE: Duration = Duration::from_millis(500);

/// Between two looks for whom the transaction waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A transaction whose session is gone ends within the source's own timeouts.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(90);

/// What is restored, and by which session.
struct Job<'a> {
    context: &'a Context,
    store: Store,
    id: PublicId,
    card: Card,
    contents: Contents,
    manifest: Manifest,
    tables: Vec<OwnTable>,
    mode: Mode,
    only: Vec<String>,
    condition: Option<String>,
    /// The daemon's role, which only looks.
    source: Connection,
    /// The role of `restore.source_url`.
    session: Connection,
    /// For whose locks it has waited.
    blockers: RefCell<BTreeSet<String>>,
    /// Set when nothing is left to be done but the commit.
    committing: &'a Cell<bool>,
}

pub(in crate::commands::snapshot) async fn execute(
    context: &Context,
    arguments: &Restore,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let committing = Cell::new(false);
    tokio::select! {
        ended = restore(context, arguments, &committing) => ended,
        // Its session ends with it, and so does a transaction that is not committed.
        () = signals.received_unless(&committing) => Ok(Exit::Interrupted),
    }
}

async fn restore(
    context: &Context,
    arguments: &Restore,
    committing: &Cell<bool>,
) -> Result<Exit, Failure> {
    let job = Job::find(context, arguments, committing).await?;
    let planned = job.plan().await.map_err(|error| job.failure(&error))?;
    told::planned(&planned);
    if planned.rows() == 0 {
        say(format!("nothing is to be restored of {}", job.id));
        return Ok(Exit::Done);
    }
    if arguments.dry_run {
        return Ok(Exit::Different);
    }
    let (rows, most) = (planned.rows(), arguments.source.max_rows);
    if rows > most {
        return Err(Failure::new(Exit::Failed, format!("{} would write {rows} rows", job.id))
            .because(format!("at most {most} are written unless --max-rows says otherwise"))
            .because("nothing was changed in the source")
            .remedy(format!(
                "narrow it with --table and --where, or add --max-rows {rows} if that is meant"
            )));
    }
    if !job.agreed(&planned, arguments.yes).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let before = job.before().await?;
    let written = job.write(&planned).await?;
    let sum = |of: fn(&PlannedTable) -> u64| -> u64 { planned.tables.iter().map(of).sum() };
    let counts = [sum(|t| t.added), sum(|t| t.changed), sum(|t| t.deleted)];
    told_of_rows::count(&context.pool, counts).await;
    for note in &written.notes {
        say(note);
    }
    say(format!(
        "restored {} rows of {} into the source; its triggers ran, so copies follow",
        written.rows, job.id
    ));
    say(job.way_back(&before));
    Ok(Exit::Done)
}

impl<'a> Job<'a> {
    async fn find(
        context: &'a Context,
        arguments: &Restore,
        committing: &'a Cell<bool>,
    ) -> Result<Self, Failure> {
        let file = context.configuration.file.display();
        let Some(url) = &context.configuration.restore.source_url else {
            return Err(Failure::invalid(format!(
                "{file} does not allow a restore into the source"
            ))
            .because("it has no restore.source_url, whose role may write the application's tables")
            .remedy("see docs/snapshots.md for that role, and add restore: { source_url: … }"));
        };
        let (store, id, card) = store::named(context, &arguments.snapshot).await?;
        let asked = &arguments.source;
        let mode = match asked.mode {
            RestoreMode::InsertMissing => Mode::InsertMissing,
            RestoreMode::Overwrite => Mode::Overwrite,
            RestoreMode::Mirror => Mode::Mirror,
        };
        if card.kind != Kind::Source {
            return Err(Failure::new(
                Exit::Usage,
                format!("{id} is of the kind {}", card.kind.as_str()),
            )
            .because("what mappings return is not what the application's tables hold")
            .remedy("use a snapshot of `offtake snapshot create --kind source`"));
        }
        if asked.condition.is_some() && asked.table.len() != 1 {
            return Err(Failure::new(Exit::Usage, "--where needs exactly one --table")
                .because("it is a condition over the columns of one table")
                .remedy("name that table with --table"));
        }
        if let Some(condition) = asked.condition.as_deref().filter(|sql| !is_one_condition(sql)) {
            let what = format!("--where {} is not one condition", shown(condition));
            return Err(Failure::new(Exit::Usage, what)
                .because("a bracket or a semicolon in it would end it before its end")
                .remedy("write it as it stands behind WHERE: created_at > '2026-11-20'"));
        }
        if !arguments.dry_run {
            confirm_mirror(mode, asked.confirm.as_deref(), &card.tenant)?;
            let what = format!("this writes rows of {} into the source", foreign(&card.tenant));
            require_answer(arguments.yes, &what)?;
        }
        let checked = snapshots::check(&store, &id, &card).await;
        let (contents, manifest) = checked.map_err(|error| {
            told_of_rows::failure(format!("the snapshot {id} cannot be used"), &error)
        })?;
        let mappings = context.mappings()?;
        let tables = tables(context, &mappings)?;
        let source = context.connect_source("snapshot").await?;
        let set = catalog::resolve(&source, mappings).await?;
        store::require_tenant(&contents, &at_source(&source, &set, &arguments.tenant).await)?;
        let session = Dialer::trusted(context.configuration.sync.connect_timeout)
            .dial(url, "offtake snapshot restore")
            .await
            .map_err(|error| {
                let what = format!("cannot connect to {}", url.place());
                Failure::of_source(&what, &error).source_named_by("restore.source_url")
            })?;
        let job = Self {
            context,
            store,
            id,
            card,
            contents,
            manifest,
            tables,
            mode,
            only: asked.table.clone(),
            condition: asked.condition.clone(),
            source,
            session,
            blockers: RefCell::default(),
            committing,
        };
        let same = source::same_database(&job.source, &job.session).await;
        if !same.map_err(|error| job.failure(&error))? {
            let what = "restore.source_url leads to another database than source.url";
            return Err(Failure::invalid(what)
                .because("a lock of the one is not seen in the other")
                .remedy("name the same server and database in both"));
        }
        Ok(job)
    }

    fn archive(&self) -> Archive<'_> {
        Archive {
            store: &self.store,
            id: &self.id,
            card: &self.card,
            contents: &self.contents,
            manifest: &self.manifest,
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            tables: &self.tables,
            mode: self.mode,
            only: &self.only,
            condition: self.condition.as_deref(),
        }
    }

    /// Finds what is to be done, in a transaction that is rolled back.
    async fn plan(&self) -> Result<Planned, Error> {
        self.again(async || {
            let begun = Restoring::begin(&self.session, self.archive(), self.wanted()).await?;
            let planned = begun.planned().clone();
            Restoring::leave(&self.session).await?;
            Ok(planned)
        })
        .await
    }

    /// Tries again where another session's lock or change is in the way.
    async fn again<T>(&self, attempt: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let mut attempts = 1;
        loop {
            let error = match self.watched(attempt()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            // Where the session is gone, so is its transaction.
            let _ = Restoring::leave(&self.session).await;
            match error.passing() {
                true if attempts == ATTEMPTS => return Err(Error::Locked(ATTEMPTS)),
                true => attempts += 1,
                false => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells for whose locks the work waits, each session once.
    async fn watched<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            let waits_for = source::blockers(&self.source, self.session.server_process());
            let found = tokio::select! {
                done = &mut work => return done,
                found = waits_for => found.unwrap_or_default(),
            };
            for (pid, session) in found {
                let known = |line: &String| line.starts_with(&format!("pid {pid} "));
                let is_new = !self.blockers.borrow().iter().any(known);
                if is_new {
                    eprintln!("offtake: it waits for {session}");
                    self.blockers.borrow_mut().insert(session);
                }
            }
        }
    }

    async fn agreed(&self, planned: &Planned, yes: bool) -> Result<bool, Failure> {
        let sum = |of: fn(&PlannedTable) -> u64| -> u64 { planned.tables.iter().map(of).sum() };
        let what = format!(
            "adds {}, changes {} and deletes {} rows of {} in the application's own tables",
            sum(|t| t.added),
            sum(|t| t.changed),
            sum(|t| t.deleted),
            foreign(&self.card.tenant)
        );
        let question = format!("Restore {} into the source? It {what}.", self.id);
        confirmed(yes, &format!("this {what}"), &question).await
    }

    /// A snapshot of the tenant as it is now. Without one, nothing is written.
    async fn before(&self) -> Result<Card, Failure> {
        let asked = Asked {
            tenant: &self.card.tenant,
            tables: &self.tables,
            partial: true,
            allow_empty: true,
            max_duration: self.context.configuration.snapshots.max_duration,
            job: None,
        };
        let made = make(self.context, &self.store, &asked).await;
        let before = made.map_err(|error| {
            told::failure("cannot make a snapshot of the rows as they are".to_owned(), &error)
                .because("nothing was changed in the source")
        })?;
        say(format!("{} has the rows as they were before this restore", before.id));
        Ok(before)
    }

    async fn write(&self, planned: &Planned) -> Result<Written, Failure> {
        let number = RefCell::new(None);
        let written = self
            .again(async || {
                let begun = Restoring::begin(&self.session, self.archive(), self.wanted()).await?;
                let announce = |transaction| {
                    say(format!("writing in the transaction {transaction} of the source"));
                    number.replace(Some(transaction));
                };
                let written = begun.write(planned, announce).await?;
                self.committing.set(true);
                let committed = begun.commit().await;
                if committed.as_ref().is_err_and(Error::passing) {
                    self.committing.set(false);
                }
                committed.map(|()| written)
            })
            .await;
        match (written, number.into_inner()) {
            (Err(Error::OutcomeUnknown(why)), Some(number)) => {
                self.ask_outcome(number, &why).await?;
                Ok(Written { rows: planned.rows(), notes: Vec::new() })
            }
            (Err(error), _) => Err(self.failure(&self.with_holders(error).await)),
            (Ok(written), _) => Ok(written),
        }
    }

    /// Of a unique constraint that refused a row: names the rows that stand in the way.
    async fn with_holders(&self, error: Error) -> Error {
        let Error::Source(refusal) = &error else { return error };
        if refusal.sqlstate() != Some(&SqlState::UNIQUE_VIOLATION) {
            return error;
        }
        let look = async {
            let begun = Restoring::begin(&self.session, self.archive(), self.wanted()).await?;
            begun.holders().await
        };
        // What was refused is told, also where they cannot be named.
        let rows = look.await.unwrap_or_default();
        let _ = Restoring::leave(&self.session).await;
        Error::Taken { why: refusal.message(), rows }
    }

    /// The reply to the commit was lost: the source knows what became of the transaction.
    async fn ask_outcome(&self, number: i64, why: &str) -> Result<(), Failure> {
        say("the reply to the commit was lost; the source is asked what became of it");
        let deadline = Instant::now() + OUTCOME_TIMEOUT;
        loop {
            let asked = async {
                let source = self.context.connect_source("snapshot").await.ok()?;
                source::outcome(&source, number).await.ok()
            };
            match asked.await {
                Some(Outcome::Committed) => return Ok(()),
                Some(Outcome::RolledBack) => {
                    let what = format!("{} was not restored into the source", self.id);
                    return Err(Failure::new(Exit::Failed, what)
                        .because(why)
                        .because("nothing was changed in the source")
                        .remedy("run it again"));
                }
                Some(Outcome::Open) | None if Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                Some(Outcome::Open) | None => {
                    let what = format!("it is not known whether {} was restored", self.id);
                    return Err(Failure::new(Exit::Unreachable, what).because(why).remedy(format!(
                        "ask the source with `select txid_status({number})`: committed or aborted"
                    )));
                }
            }
        }
    }

    fn way_back(&self, before: &Card) -> String {
        let tenant = shell_word(&self.card.tenant);
        format!(
            "the rows from before are in {id}: `offtake snapshot restore {id} --tenant {tenant} --into \
             source --mode mirror --confirm {tenant}` brings them back",
            id = before.id
        )
    }

    fn failure(&self, error: &Error) -> Failure {
        let blockers: Vec<String> = self.blockers.borrow().iter().cloned().collect();
        let what = format!("cannot restore {} into the source", self.id);
        told::restore_failure(what, error, &blockers)
    }
}

/// Whether the text stays within the brackets that are put around it.
fn is_one_condition(sql: &str) -> bool {
    let mut open = 0_i64;
    for token in scan::tokens(sql) {
        if token.symbol('(') {
            open += 1;
        } else if token.symbol(')') {
            open -= 1;
        }
        if open < 0 || token.symbol(';') {
            return false;
        }
    }
    open == 0
}

/// Rows are deleted only for a tenant that was typed twice.
fn confirm_mirror(mode: Mode, typed: Option<&str>, tenant: &str) -> Result<(), Failure> {
    if mode != Mode::Mirror || typed == Some(tenant) {
        return Ok(());
    }
    let what = format!("--mode mirror deletes rows of {} in the source", foreign(tenant));
    Err(Failure::new(Exit::Usage, what)
        .because("--confirm does not have exactly that tenant")
        .remedy(format!("add --confirm {} if that is meant", shell_word(tenant))))
}
