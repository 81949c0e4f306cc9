//! Why the source did not answer in time what it was asked about the mappings: a table is locked, or
//! its own limit on statements is short.

use offtake_mapping::{Mapping, TableName, foreign};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use super::problem::Problem;
use super::sql;

/// What to look at where nothing is locked any more.
const LOOK: &str = "try again; if it comes back, see what the source waits for: \
                    select pid, wait_event_type, state, query from pg_stat_activity \
                    where wait_event_type is not null and backend_type = 'client backend'";

/// The problem of a source that could not be asked. `client` is in no transaction.
pub(super) async fn unavailable(client: &Client, mappings: &[Mapping], error: &Error) -> Problem {
    let late = [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED];
    if error.code().is_none_or(|code| !late.contains(code)) {
        return Problem::unavailable(error, "see that the source is reachable, then try again");
    }
    // Asked again in vain, the first error says as much.
    match told(client, mappings, error).await {
        Ok(problem) => problem,
        Err(_) => Problem::unavailable(error, LOOK),
    }
}

async fn told(client: &Client, mappings: &[Mapping], error: &Error) -> Result<Problem, Error> {
    let tables: Vec<String> = mappings.iter().flat_map(tables).collect();
    let locks = client.query(sql::LIST_LOCKING_SESSIONS, &[&tables]).await?;
    if !locks.is_empty() {
        return Ok(locked(&locks));
    }
    let limit = client.query_one("select current_setting('statement_timeout')", &[]).await?;
    let limit: String = limit.get(0);
    Ok(match error.code() == Some(&SqlState::QUERY_CANCELED) && limit != "0" {
        true => Problem::unavailable(
            error,
            format!(
                "the role in source.url has {limit} for a statement, perhaps too little; {LOOK}"
            ),
        ),
        false => Problem::unavailable(error, LOOK),
    })
}

/// The tables that a mapping names, as SQL writes them.
fn tables(mapping: &Mapping) -> impl Iterator<Item = String> {
    mapping.tables().chain(&mapping.unchanging).map(TableName::sql)
}

fn locked(locks: &[Row]) -> Problem {
    let sessions: Vec<String> = locks.iter().map(session).collect();
    let pids: Vec<String> = locks.iter().map(|row| row.get::<_, i32>("pid").to_string()).collect();
    let message = format!(
        "the source could not be asked about the mappings in time, because a table is locked: {}",
        sessions.join("; ")
    );
    let remedy = format!(
        "try again once that session has ended its transaction: \
         `select * from pg_stat_activity where pid in ({pids})` shows what it does, \
         `select pg_terminate_backend({first})` ends it",
        pids = pids.join(", "),
        first = pids[0]
    );
    Problem::not_now(message, remedy)
}

fn session(row: &Row) -> String {
    let text = |column: &str| foreign(row.get::<_, &str>(column)).into_owned();
    format!(
        "{} by session {} (role {}, application {}, {}, for {} s)",
        text("relation"),
        row.get::<_, i32>("pid"),
        text("user_name"),
        text("application_name"),
        text("state"),
        row.get::<_, i64>("seconds")
    )
}
