//! What no turn does: the days of the attempts log, and what is old.

use std::time::Duration;

use offtake_postgres::SourcePool;

use crate::{Error, Settings, sql};

/// Attaching and dropping wait for readers of the log, and make later readers queue up behind them.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '500ms'; set local synchronous_commit = on";

/// One replica at a time.
const LOCK_KEY: i64 = 0x6f66_6674_616b_6505; // "offtake", 5

/// So many days get a partition ahead: a daemon that cannot add one for a while loses no attempt.
const DAYS_AHEAD: i32 = 2;

/// Makes the attempts log's next days, drops the old ones, and forgets webhooks that nothing names
/// any more. Does nothing while another daemon is at it.
pub(crate) async fn keep(pool: &SourcePool, settings: &Settings) -> Result<(), Error> {
    let mut connection = pool.get().await.map_err(Error::Source)?;
    let transaction = connection.transaction().await.map_err(Error::source)?;
    transaction.batch_execute(LOCK_TIMEOUT).await.map_err(Error::source)?;
    let locked = transaction.query_one("select pg_try_advisory_xact_lock($1)", &[&LOCK_KEY]).await;
    if !locked.map_err(Error::source)?.get::<_, bool>(0) {
        return Ok(());
    }
    let row = transaction.query_one(sql::LIST_ATTEMPT_PARTITIONS, &[]).await;
    let row = row.map_err(Error::source)?;
    let (days, today): (Vec<i32>, i32) = (row.get("days"), row.get("today"));
    for day in today..=today + DAYS_AHEAD {
        if !days.contains(&day) {
            let add = sql::ADD_ATTEMPT_PARTITION.replace("{day}", &day.to_string());
            transaction.batch_execute(&add).await.map_err(Error::source)?;
        }
    }
    let kept = days_of(settings.attempts_keep);
    for day in days.into_iter().filter(|day| *day < today.saturating_sub(kept)) {
        let dropping = format!("drop table offtake.webhook_attempt_{day}");
        transaction.batch_execute(&dropping).await.map_err(Error::source)?;
    }
    let retention = i64::try_from(settings.retention.as_millis()).unwrap_or(i64::MAX / 4);
    transaction.query_one(sql::FORGET_GONE, &[&retention]).await.map_err(Error::source)?;
    transaction.commit().await.map_err(Error::source)
}

/// Whole days, rounded up.
fn days_of(time: Duration) -> i32 {
    i32::try_from(time.as_secs().div_ceil(86_400)).unwrap_or(i32::MAX)
}
