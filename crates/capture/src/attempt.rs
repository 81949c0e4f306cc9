//! One change of the source's schema, with the manners that a running application is owed.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::Blockers;
use crate::note::Note;
use crate::survey::{Relations, SurveyedTable};
use crate::{Error, Options, script, sql};

/// The first pause after a lock was not to be had; it doubles up to [`PAUSE_MAX`]. Meanwhile the
/// writers that queued up behind the attempt run.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Long enough for a transaction of seconds to end between two attempts, short enough that `offtake
/// init` looks alive.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What a script is about.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// Reads after "cannot".
    pub(crate) action: String,
    /// The relation whose lock it needs; 0 where it needs none.
    pub(crate) relation: u32,
    pub(crate) script: &'a str,
    /// The table whose triggers or first function it writes: what it is like then is noted in the
    /// same transaction, or it would look like somebody else's doing.
    pub(crate) notes: Option<&'a SurveyedTable>,
}

/// Runs a script in one transaction, again and again while others stand in its way.
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
        // Of two installers the second sees what the first did.
        transaction.batch_execute(script::INSTALL_LOCK).await?;
        let note = Note::of(Relations::read_of(&transaction, &[table]).await?.of(table));
        transaction.batch_execute(&script::note(function, &note.text())).await?;
    }
    transaction.commit().await
}

/// The first statement of every one of these transactions. Names in the scripts are qualified, but
/// an operator's expression and `like` print under the search path; the application's own is as
/// good as none.
pub(crate) fn settings(lock_timeout: Duration) -> String {
    // 0 would mean to wait for ever, with every writer of the table in the queue behind us.
    format!(
        "set local lock_timeout = {};\nset local search_path = pg_catalog, pg_temp;\n",
        lock_timeout.as_millis().max(1)
    )
}

/// Whether the same script may succeed a moment later: a lock, a deadlock with the application, or
/// another database of the cluster that creates, grants or drops the role that all of them share.
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
