//! Waiting for the source at start.

use std::time::Duration;

use offtake_postgres::SourcePool;
use tokio_util::sync::CancellationToken;

use crate::outcome::{Exit, Failure};
use crate::sql;

/// A source that comes up is noticed within this time; an attempt costs one dial.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The same reason is logged again after so many attempts, about once a minute.
const REMIND_AFTER_ATTEMPTS: u32 = 60;

/// What the source lacks.
enum Missing {
    /// It does not answer, or does not let us in.
    Answer(offtake_postgres::Error),
    /// It answers, and was not prepared.
    Preparation(String),
}

/// Returns when the source answers and is prepared. `patient`: waits for both until shutdown and tells `report` why;
/// otherwise the first obstacle is the failure.
pub async fn wait_until_prepared(
    pool: &SourcePool,
    patient: bool,
    shutdown: &CancellationToken,
    report: impl Fn(&str),
) -> Result<(), Failure> {
    let mut told = (String::new(), 0);
    loop {
        let Err(missing) = look(pool).await else { return Ok(()) };
        let failure = missing.failure();
        if !patient {
            return Err(failure);
        }
        let why = missing.why();
        if told.0 != why || told.1 >= REMIND_AFTER_ATTEMPTS {
            tracing::warn!(event = "source_unavailable", why, "waiting for the source");
            report(&why);
            told = (why, 0);
        }
        told.1 += 1;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
        }
    }
}

async fn look(pool: &SourcePool) -> Result<(), Missing> {
    let answer = |error: tokio_postgres::Error| Missing::Answer(error.into());
    let client = pool.get().await.map_err(Missing::Answer)?;
    let prepared: bool = client.query_one("select to_regclass('offtake.migration') is not null", &[]).await.map_err(answer)?.get(0);
    if !prepared {
        return Err(Missing::Preparation("the source is not prepared: it has no schema `offtake`".to_owned()));
    }
    let rows = client.query(sql::LIST_APPLIED_MIGRATIONS, &[]).await.map_err(answer)?;
    let applied: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // The first entry is the schema itself.
    let lacking = offtake_postgres::migration_sql().into_iter().skip(1).map(|(name, _)| name).find(|name| !applied.contains(name));
    match lacking {
        None => Ok(()),
        Some(name) => Err(Missing::Preparation(format!("the schema `offtake` of the source is older than this program: it lacks {name}"))),
    }
}

impl Missing {
    fn why(&self) -> String {
        match self {
            Self::Answer(error) => error.message(),
            Self::Preparation(lacking) => format!("{lacking}; run `offtake init`"),
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Answer(error) => Failure::of_source("cannot use the source", error),
            Self::Preparation(lacking) => Failure::new(Exit::Failed, lacking.as_str()).remedy("run `offtake init`"),
        }
    }
}
