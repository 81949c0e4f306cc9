//! `offtake snapshot restore` and `offtake snapshot diff`.
//!
//! In this order: the archive is checked as a whole, and compared with what is there in a
//! transaction that is rolled back; the operator is asked; the destination is paused, and no worker
//! has it; one transaction stages the rows again, compares again, merges, and moves the cursors
//! back; the pause ends. Whatever ends before the commit leaves the rows as they were. Where the
//! command dies, the pause ends by itself.

mod hold;
mod load;
mod shape;
mod target;

use std::cell::Cell;
use std::fmt::Write as _;

use offtake_jobs::snapshots::{self, Card};
use offtake_jobs::{PublicId, Store};
use offtake_mapping::{foreign, foreign_within, shell_word};
use offtake_postgres::Connection;
use offtake_sync::destinations::{
    Differences, DifferentRow, RestoreError, RestoredTo, Restoring, Told,
};
use serde_json::{Value, json};

use self::hold::Hold;
pub(super) use self::load::Loaded;
pub(super) use self::target::Target;
use super::super::confirm::{confirmed, require_answer};
use super::super::printing::{say, say_json};
use super::super::signals::Signals;
use super::{store, told};
use crate::command_line::{Diff, Restore, RestoreTo};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// Keys of each kind of difference that are told.
const KEYS_MAX: usize = 10;

/// Of the values of one row.
const VALUES_CHARS_MAX: usize = 2000;

/// A snapshot that was read as a whole, before anything was connected to.
struct Found {
    store: Store,
    id: PublicId,
    card: Card,
    loaded: Loaded,
}

impl Found {
    async fn check(store: Store, id: PublicId, card: Card) -> Result<Self, Failure> {
        let loaded = Loaded::check(&store, &id, &card).await?;
        Ok(Self { store, id, card, loaded })
    }
}

/// What is restored, and into what.
struct Job<'a> {
    context: &'a Context,
    store: Store,
    id: PublicId,
    card: Card,
    loaded: Loaded,
    target: Target,
}

/// How a table differs.
struct Table {
    mapping: String,
    differences: Differences,
    rows: Vec<DifferentRow>,
}

pub(super) async fn diff(context: &Context, arguments: &Diff) -> Result<Exit, Failure> {
    let (store, id, card) = store::named(context, &arguments.snapshot).await?;
    store::require_rows(&card, &store::dry_run_into_source(&card))?;
    let found = Found::check(store, id, card).await?;
    let to = RestoreTo {
        destination: Some(arguments.into.clone()),
        url_file: None,
        ca_file: None,
        schema: None,
    };
    let source = context.connect_source("snapshot").await?;
    let tenant = found.card.tenant.clone();
    let job = Job::find(context, &source, found, (&tenant, &to)).await?;
    let tables = job.compare(values_told(arguments.show_values)).await?;
    tell(&job, &tables, arguments.json);
    Ok(compared(&tables))
}

pub(super) async fn execute(context: &Context, arguments: &Restore) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let prepared = tokio::select! {
        prepared = prepare(context, arguments) => prepared?,
        () = signals.received() => return Ok(Exit::Interrupted),
    };
    match prepared {
        Prepared::Go(job) => job.restore(signals, arguments.hold).await,
        Prepared::Ended(exit) => Ok(exit),
    }
}

/// Everything that changes nothing.
enum Prepared<'a> {
    Go(Box<Job<'a>>),
    Ended(Exit),
}

async fn prepare<'a>(context: &'a Context, arguments: &Restore) -> Result<Prepared<'a>, Failure> {
    let (store, id, card) = store::named(context, &arguments.snapshot).await?;
    store::require_rows(&card, "add --into source")?;
    if !arguments.dry_run {
        let what = format!("this replaces rows of {} by those of {id}", foreign(&arguments.tenant));
        require_answer(arguments.yes, &what)?;
    }
    let found = Found::check(store, id, card).await?;
    let source = context.connect_source("snapshot").await?;
    let job = Job::find(context, &source, found, (&arguments.tenant, &arguments.to)).await?;
    let tables = job.compare(values_told(arguments.show_values)).await?;
    tell(&job, &tables, false);
    if arguments.dry_run {
        return Ok(Prepared::Ended(compared(&tables)));
    }
    if !job.agreed(&tables, arguments).await? {
        say("nothing was changed");
        return Ok(Prepared::Ended(Exit::Failed));
    }
    Ok(Prepared::Go(Box::new(job)))
}

fn values_told(show: bool) -> Told {
    if show { Told::Values } else { Told::Key }
}

fn compared(tables: &[Table]) -> Exit {
    let differ = tables.iter().any(|table| table.differences.any());
    if differ { Exit::Different } else { Exit::Done }
}

impl<'a> Job<'a> {
    async fn find(
        context: &'a Context,
        source: &Connection,
        Found { store, id, card, loaded }: Found,
        (tenant, to): (&str, &RestoreTo),
    ) -> Result<Self, Failure> {
        let target = Target::find(context, source, &loaded, (tenant, to)).await?;
        Ok(Self { context, store, id, card, loaded, target })
    }

    /// Compares in a transaction that is rolled back.
    async fn compare(&self, told: Told) -> Result<Vec<Table>, Failure> {
        let restoring = self.stage().await?;
        self.compare_staged(&restoring, told).await
    }

    async fn compare_staged(
        &self,
        restoring: &Restoring,
        told: Told,
    ) -> Result<Vec<Table>, Failure> {
        let mut tables = Vec::new();
        for mapping in restoring.mappings() {
            let differences = restoring.differences(mapping).await;
            let rows = restoring.different_rows(mapping, KEYS_MAX, told).await;
            tables.push(Table {
                mapping: mapping.name().to_owned(),
                differences: differences.map_err(|error| self.failure(&error))?,
                rows: rows.map_err(|error| self.failure(&error))?,
            });
        }
        Ok(tables)
    }

    async fn stage(&self) -> Result<Restoring, Failure> {
        let of = (&self.store, &self.id, &self.card);
        let restoring = self.target.stage(of, &self.loaded, &self.context.dialer).await?;
        if let Some(registered) = self.target.registered {
            let what = "cannot ask the source whose destination it is";
            let connection = self.context.pool.get().await;
            let connection = connection.map_err(|error| Failure::of_source(what, &error))?;
            let stranger = restoring.served_by_another(&connection, registered).await;
            if let Some(stranger) = stranger.map_err(|error| self.failure(&error))? {
                return Err(self.failure(&RestoreError::Unfit(stranger)));
            }
        }
        Ok(restoring)
    }

    async fn agreed(&self, tables: &[Table], arguments: &Restore) -> Result<bool, Failure> {
        let sum = |of: fn(&Differences) -> u64| -> u64 {
            tables.iter().map(|table| of(&table.differences)).sum()
        };
        let (added, changed, deleted) = (sum(|d| d.added), sum(|d| d.changed), sum(|d| d.deleted));
        let what = format!(
            "adds {added}, changes {changed} and deletes {deleted} rows of {} at {}",
            foreign(&self.card.tenant),
            self.target.label
        );
        if self.target.registered.is_some() && !arguments.hold {
            say(format!(
                "{} follows the source: within seconds it will hold what the source holds now. \
                 --hold keeps it as restored, and --schema restores beside it.",
                self.target.label
            ));
        }
        confirmed(
            arguments.yes,
            &format!("this {what}"),
            &format!("Restore {}? It {what}.", self.id),
        )
        .await
    }

    async fn restore(&self, mut signals: Signals, keep: bool) -> Result<Exit, Failure> {
        let pool = &self.context.pool;
        let hold = match self.target.registered {
            Some(registered) => Some(Hold::begin(pool, registered, &self.id).await?),
            None => None,
        };
        // A signal before the commit ends the work, and then the pause. While it commits, only a
        // second signal does.
        let committing = Cell::new(false);
        let merged = tokio::select! {
            merged = self.merge(hold.as_ref(), &committing) => Some(merged),
            () = signals.received_unless(&committing) => None,
        };
        let ended = match &hold {
            Some(hold) => hold.end(keep && matches!(merged, Some(Ok(_)))).await,
            None => Ok(()),
        };
        let tables = match (merged, &ended) {
            (Some(Ok(tables)), _) => tables,
            (Some(Err(failure)), Ok(())) => return Err(failure),
            (Some(Err(failure)), Err(_)) => {
                return Err(failure.because("its pause ends by itself within an hour"));
            }
            (None, _) => return ended.map(|()| Exit::Interrupted),
        };
        let sum = |of: fn(&Differences) -> u64| -> u64 { tables.iter().map(of).sum() };
        told::count(pool, [sum(|d| d.added), sum(|d| d.changed), sum(|d| d.deleted)]).await;
        let rows: u64 = tables.iter().map(|differences| differences.staged).sum();
        say(format!("restored {rows} rows of {} into {}", self.id, self.target.label));
        ended?;
        if hold.is_some_and(|hold| keep || hold.was_paused()) {
            let tenant = shell_word(&self.target.spec.tenant_id).into_owned();
            let name = shell_word(&self.target.spec.name).into_owned();
            let paused = if keep { "is paused" } else { "stays paused, as it was" };
            say(format!(
                "it {paused}: `offtake resume --tenant {tenant} --destination {name}` lets it follow \
                 the source again"
            ));
        }
        Ok(Exit::Done)
    }

    /// `committing` is set when nothing is left to be done but the commit.
    async fn merge(
        &self,
        hold: Option<&Hold<'_>>,
        committing: &Cell<bool>,
    ) -> Result<Vec<Differences>, Failure> {
        if let Some(hold) = hold {
            hold.wait(self.context.configuration.poller.lease).await?;
        }
        let restoring = self.stage().await?;
        for mapping in &self.target.mappings {
            let differences = restoring.differences(mapping).await;
            differences.map_err(|error| self.failure(&error))?;
        }
        let epoch_now = snapshots::epoch(&self.context.pool).await;
        let epoch_now = epoch_now
            .map_err(|error| told::failure("cannot read the epoch of the source", &error))?;
        let to = RestoredTo {
            sequence_id: self.card.sequence_id,
            epoch: self.card.epoch.clone(),
            epoch_now,
            versions: self.loaded.versions(&self.target.mappings),
        };
        let tell = async || {
            if let Some(hold) = hold {
                hold.tell_source(&to).await?;
            }
            committing.set(true);
            Ok(())
        };
        match restoring.merge(&to, tell).await {
            Ok(tables) => Ok(tables),
            Err(RestoreError::OutcomeUnknown(trouble)) => self.look_again(&trouble.reason).await,
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// The reply to the commit was lost: what is there says whether it happened.
    async fn look_again(&self, why: &str) -> Result<Vec<Differences>, Failure> {
        let looked = async {
            let restoring = self.stage().await?;
            restoring.wait_for_writers().await.map_err(|error| self.failure(&error))?;
            self.compare_staged(&restoring, Told::Key).await
        };
        let (id, label) = (&self.id, &self.target.label);
        let Ok(tables) = looked.await else {
            let what = format!("whether {id} was restored into {label} is not known");
            return Err(Failure::new(Exit::Unreachable, what).because(why).remedy(
                "run it again when that database answers: rows that are as in the snapshot are \
                 left alone",
            ));
        };
        if tables.iter().any(|table| table.differences.any()) {
            let what = format!("{id} was not restored into {label}");
            return Err(Failure::new(Exit::Failed, what).because(why).remedy("run it again"));
        }
        Ok(tables.into_iter().map(|table| table.differences).collect())
    }

    fn failure(&self, error: &RestoreError) -> Failure {
        self.target.failure(&self.id, error)
    }
}

fn tell(job: &Job<'_>, tables: &[Table], as_json: bool) {
    if as_json {
        let tables: Vec<Value> = tables
            .iter()
            .map(|table| {
                let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
                let rows = table.rows.iter().map(|row| {
                    let mut told = json!({ "kind": row.kind, "key": parsed(&row.key) });
                    for (side, values) in [("there", &row.there), ("snapshot", &row.staged)] {
                        if let Some(values) = values {
                            told[side] = parsed(values);
                        }
                    }
                    told
                });
                json!({
                    "mapping": table.mapping,
                    "add": table.differences.added.to_string(),
                    "change": table.differences.changed.to_string(),
                    "delete": table.differences.deleted.to_string(),
                    "rows": table.differences.staged.to_string(),
                    "first": rows.collect::<Vec<_>>(),
                })
            })
            .collect();
        say_json(serde_json::to_string_pretty(&tables).unwrap_or_default());
        return;
    }
    say(format!(
        "{} was made at {} and has {} rows, {} as text",
        job.id,
        job.card.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        job.card.rows,
        told::size(job.card.bytes)
    ));
    for table in tables {
        let Differences { added, changed, deleted, staged } = table.differences;
        if !table.differences.any() {
            say(format!("{}: equal, {staged} rows", table.mapping));
            continue;
        }
        let mut line =
            format!("{}: to add {added}, to change {changed}, to delete {deleted}", table.mapping);
        for row in &table.rows {
            let _ = write!(line, "\n  {} {}", row.kind, foreign(&row.key));
            for (side, values) in [("there:   ", &row.there), ("snapshot:", &row.staged)] {
                if let Some(values) = values {
                    let _ =
                        write!(line, "\n    {side} {}", foreign_within(values, VALUES_CHARS_MAX));
                }
            }
        }
        say(line);
    }
}
