//! What is told of a snapshot of the kind `source`, and of its restore.

use std::fmt::Write as _;

use offtake_jobs::snapshots::Error as SnapshotError;
use offtake_jobs::snapshots::source::{Error, Planned, PlannedTable};
use offtake_mapping::foreign;
use offtake_postgres::{Fault, SqlState, chain};

use super::super::super::printing::say;
use super::super::told;
use crate::outcome::{Exit, Failure};

/// No statement that writes was sent, or what it did was rolled back.
const UNTOUCHED: &str = "nothing was changed in the source";

/// The failure for what could not be made.
pub(super) fn failure(what: String, error: &Error) -> Failure {
    let failed = |exit| Failure::new(exit, &what).because(chain(error));
    match error {
        Error::Snapshot(SnapshotError::TooLong(_)) => failed(Exit::Failed)
            .because(told::HOLDS_BACK_VACUUM)
            .remedy("raise snapshots.max_duration"),
        Error::Snapshot(error) => told::failure(what, error),
        Error::Source(error) => Failure::of_source(&what, error),
        Error::TwoRules(_) => failed(Exit::InvalidConfiguration)
            .remedy("let the mappings and snapshots.tables name one tenant for the table"),
        Error::NoTable(_) | Error::NoColumn { .. } => failed(Exit::InvalidConfiguration)
            .remedy("name tables and columns of the source in mappings and snapshots.tables"),
        Error::NotATable(_) => failed(Exit::InvalidConfiguration)
            .remedy("name the tables behind it in snapshots.tables"),
        Error::NoKey(_) => failed(Exit::InvalidConfiguration)
            .remedy("add a primary key, by which a row is found again"),
        Error::LeftOut(_) => failed(Exit::Failed).remedy(
            "add each to snapshots.tables, as { table: …, tenant: … }; or add --partial, and \
             their rows will not come back",
        ),
        _ => failed(Exit::Failed),
    }
}

/// The failure for what could not be restored. `blockers`: sessions whose locks were in the way.
pub(super) fn restore_failure(what: String, error: &Error, blockers: &[String]) -> Failure {
    let failed = |why: String| Failure::new(Exit::Failed, &what).because(why).because(UNTOUCHED);
    match error {
        Error::Source(error) if error.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            failed(error.message()).remedy(
                "grant the role of restore.source_url what it lacks; docs/snapshots.md has the \
                 statements",
            )
        }
        Error::Source(error) if error.sqlstate().is_some() => failed(error.message())
            .remedy("mend that in the source, or leave those rows out with --table and --where"),
        Error::Source(error) => {
            let exit = match error.fault() {
                Fault::Unreachable | Fault::OutcomeUnknown => Exit::Unreachable,
                _ => Exit::Failed,
            };
            Failure::new(exit, what)
                .because(error.message())
                .because(UNTOUCHED)
                .remedy("check restore.source_url, and run it again")
        }
        Error::Unfit(why) => failed(foreign(why).into_owned()).remedy(
            "restore what fits with --table; `offtake snapshot download` gives the others as files \
             that psql loads",
        ),
        Error::Guarded(lines) => {
            let refused = Failure::new(Exit::Failed, &what);
            let refused = lines.iter().fold(refused, |refused, line| refused.because(line));
            refused.because("no statement that writes was sent").remedy(
                "restore what these rows need together with them, or leave them out with --table \
                 and --where",
            )
        }
        Error::Taken { why, rows } => {
            let refused = Failure::new(Exit::Failed, &what).because(why);
            let refused = rows.iter().fold(refused, |refused, row| refused.because(row));
            refused.because(told::ONE_AFTER_THE_OTHER).because(UNTOUCHED).remedy(
                "give those rows other values for the moment, and run it again; or leave the rows \
                 that are to have these values out with --table and --where",
            )
        }
        Error::Locked(_) => {
            let locked = failed(chain(error));
            let locked = blockers
                .iter()
                .fold(locked, |locked, session| locked.because(format!("it waited for {session}")));
            locked.remedy("end that session, or wait for it, and run this again")
        }
        Error::Changed(why) => failed(foreign(why).into_owned())
            .remedy("see what is different with --dry-run, and run it again"),
        _ => failure(what, error).because(UNTOUCHED),
    }
}

/// What would be done, without a value.
pub(super) fn planned(planned: &Planned) {
    for table in &planned.tables {
        let PlannedTable { table: name, staged, added, changed, deleted, first, .. } = table;
        if table.rows() == 0 {
            say(format!("{}: nothing to do, {staged} rows in the snapshot", foreign(name)));
            continue;
        }
        let mut line = format!(
            "{}: to add {added}, to change {changed}, to delete {deleted}; {staged} rows in the \
             snapshot",
            foreign(name)
        );
        for (kind, key) in first {
            let _ = write!(line, "\n  {kind} {}", foreign(key));
        }
        say(line);
    }
    for note in &planned.notes {
        say(note);
    }
}
