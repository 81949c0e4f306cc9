//! Waiting for the source at start.

use std::time::Duration;

use offtake_postgres::{SourcePool, catalog};
use tokio_util::sync::CancellationToken;

use crate::outcome::{Exit, Failure, NO_SESSIONS, lost_statement};
use crate::sql;

/// A source that comes up is noticed within this time; an attempt costs one dial.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The same reason is logged again after so many attempts, about once a minute.
const REMIND_AFTER_ATTEMPTS: u32 = 60;

const READ_ONLY: &str = "the source is read-only: a standby, or somebody made it so";
const NAME_THE_PRIMARY: &str = "source.url must name the primary";

/// What the source lacks.
enum Missing {
    /// It does not answer, or does not let us in.
    Answer(offtake_postgres::Error),
    /// It is of a version that cannot be a source.
    Version(catalog::Problem),
    /// It answers, and was not prepared.
    Preparation(String),
    /// It takes no writes: a standby, or made read-only.
    ReadOnly,
    /// It is prepared, and not for this role.
    Rights { role: String, owner: String, relation: String },
}

/// Returns when the source answers and is prepared. `patient`: waits for both until shutdown and
/// tells `report` why; otherwise the first obstacle is the failure. A server that is too old is a
/// failure in any case.
pub async fn wait_until_prepared(
    pool: &SourcePool,
    patient: bool,
    shutdown: &CancellationToken,
    report: impl Fn(&str),
) -> Result<(), Failure> {
    let mut told = (String::new(), 0);
    loop {
        let Err(missing) = look(pool).await else { return Ok(()) };
        if !patient || matches!(missing, Missing::Version(_)) {
            return Err(missing.failure());
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
    if let Some(problem) = catalog::check_server(&client).await.map_err(answer)? {
        return Err(Missing::Version(problem));
    }
    let read_only = "select current_setting('transaction_read_only')::boolean";
    if client.query_one(read_only, &[]).await.map_err(answer)?.get(0) {
        return Err(Missing::ReadOnly);
    }
    let prepared: bool = client
        .query_one("select to_regclass('offtake.migration') is not null", &[])
        .await
        .map_err(answer)?
        .get(0);
    if !prepared {
        return Err(Missing::Preparation(
            "the source is not prepared: it has no schema `offtake`".to_owned(),
        ));
    }
    if let Some(foreign) =
        client.query_opt(sql::LIST_FOREIGN_RELATIONS, &[]).await.map_err(answer)?
    {
        let (role, owner, relation) =
            (foreign.get("role"), foreign.get("owner"), foreign.get("relation"));
        return Err(Missing::Rights { role, owner, relation });
    }
    let rows = client.query(sql::LIST_APPLIED_MIGRATIONS, &[]).await.map_err(answer)?;
    let applied: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // The first entry is the schema itself.
    let lacking = offtake_postgres::migration_sql()
        .into_iter()
        .skip(1)
        .map(|(name, _)| name)
        .find(|name| !applied.contains(name));
    match lacking {
        None => Ok(()),
        Some(name) => Err(Missing::Preparation(format!(
            "the schema `offtake` of the source is older than this program: it lacks {name}"
        ))),
    }
}

impl Missing {
    fn why(&self) -> String {
        match self {
            Self::Answer(error) if lost_statement(error) => {
                format!("{}; {NO_SESSIONS}", error.message())
            }
            Self::Answer(error) => error.message(),
            Self::Version(problem) => problem.to_string(),
            Self::Preparation(lacking) => format!("{lacking}; run `offtake init`"),
            Self::ReadOnly => format!("{READ_ONLY}; {NAME_THE_PRIMARY}"),
            Self::Rights { .. } => format!("{}; {}", self.rights(), self.grant()),
        }
    }

    fn failure(self) -> Failure {
        match self {
            Self::Version(problem) => Failure::from(vec![problem]),
            Self::Answer(error) => Failure::of_source("cannot use the source", &error),
            Self::Preparation(lacking) => {
                Failure::new(Exit::Failed, lacking).remedy("run `offtake init`")
            }
            Self::ReadOnly => Failure::new(Exit::Failed, READ_ONLY).remedy(NAME_THE_PRIMARY),
            Self::Rights { .. } => Failure::new(Exit::Failed, self.rights()).remedy(self.grant()),
        }
    }

    fn rights(&self) -> String {
        let Self::Rights { role, owner, relation } = self else { return String::new() };
        format!(
            "the role {role} may not change offtake.{relation}, which {owner} owns; the daemon adds and drops partitions there"
        )
    }

    fn grant(&self) -> String {
        let Self::Rights { role, owner, .. } = self else { return String::new() };
        format!(
            "run part 3 of deploy/grants.sql as {owner}, or as a superuser: grant {owner} to {role};"
        )
    }
}
