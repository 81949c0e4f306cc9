//! One change of the source's schema, made so that a running application hardly waits for it: one
//! transaction under a short lock timeout, retried after a pause.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::Blockers;
use crate::note::Note;
use crate::survey::{Relations, SurveyedTable};
use crate::{Error, Options, script, sql};

/// The first pause after the lock timeout; it doubles up to [`PAUSE_MAX`]. During the pause the
/// writers run that queued up behind the attempt.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Long enough for a transaction of seconds to end between two attempts, short enough that `offtake
/// init` looks alive.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A script to run, and what it touches.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// What the script does, in words that fit after "cannot".
    pub(crate) action: String,
    /// The relation that the script locks; 0 if it locks none.
    pub(crate) relation: u32,
    pub(crate) script: &'a str,
    /// The table whose triggers, or whose first function, the script writes. Its new state is
    /// recorded (see [`Note`]) in the same transaction; otherwise the next look would take our own
    /// change for a foreign one.
    pub(crate) notes: Option<&'a SurveyedTable>,
}

/// Runs a script in one transaction; tries again while locks or concurrent installers block it.
pub(crate) async fn attempt(
    client: &mut Client,
    options: &Options,
    step: Step<'_>,
) -> Result<(), Error> {
    let mut pause = PAUSE_MIN;
    for attempt in 0..=options.retries {
        if attempt > 0 {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        match run(client, options.lock_timeout, &step).await {
            Ok(()) => return Ok(()),
            Err(error) if passing(&error) && attempt < options.retries => {
                tracing::info!(event = "capture.retry", action = %step.action, sqlstate = error.code().map(SqlState::code), "trying again");
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                let blockers = blockers(client, step.relation).await?;
                return Err(Error::Blocked {
                    action: step.action,
                    attempts: options.retries + 1,
                    blockers,
                });
            }
            Err(error) => return Err(Error::Refused { action: step.action, source: error.into() }),
        }
    }
    Ok(())
}

async fn run(
    client: &mut Client,
    lock_timeout: Duration,
    step: &Step<'_>,
) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(&settings(lock_timeout)).await?;
    transaction.batch_execute(step.script).await?;
    if let Some(SurveyedTable { table, function, .. }) = step.notes {
        // With the installers' lock, the second of two installers records what the first one did
        // too.
        transaction.batch_execute(script::INSTALL_LOCK).await?;
        let note = Note::of(Relations::read_of(&transaction, &[table]).await?.of(table));
        transaction.batch_execute(&script::note(function, &note.text())).await?;
    }
    transaction.commit().await
}

/// The first statements of every such transaction. Our own names are qualified, but an operator's
/// expression and LIKE depend on the search path. The application's search path is of no use here:
/// the functions do not run under it either.
pub(crate) fn settings(lock_timeout: Duration) -> String {
    // 0 would mean no timeout: every writer of the table would queue up behind us without end.
    format!(
        "set local lock_timeout = {};\nset local search_path = pg_catalog, pg_temp;\n",
        lock_timeout.as_millis().max(1)
    )
}

/// Whether the same script may succeed a moment later: after a lock timeout, after a deadlock with
/// the application, or when another database of the cluster creates, grants or drops the shared
/// role at the same time.
fn passing(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else { return false };
    let shared_role =
        [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_OBJECT, SqlState::UNDEFINED_OBJECT];
    let concurrent =
        *db.code() == SqlState::INTERNAL_ERROR && db.message().contains("tuple concurrently");
    [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ]
    .contains(db.code())
        || shared_role.contains(db.code())
        || concurrent
}

async fn blockers(client: &Client, relation: u32) -> Result<Blockers, Error> {
    let rows = client.query(sql::READ_BLOCKERS, &[&relation]).await?;
    let describe = |row: &tokio_postgres::Row| {
        format!(
            "process {} (user {}, application {}, {}, {} s in its transaction, {})",
            row.get::<_, i32>("pid"),
            row.get::<_, &str>("user_name"),
            row.get::<_, &str>("application_name"),
            row.get::<_, &str>("state"),
            row.get::<_, i64>("seconds"),
            row.get::<_, &str>("mode")
        )
    };
    Ok(Blockers(rows.iter().map(describe).collect()))
}
