//! Whether a daemon can work with the source: it answers, its version will do, it takes writes,
//! `offtake init` has prepared it, and the daemon's role may change its log.

use offtake_postgres::{SourcePool, catalog};

use crate::outcome::{Exit, Failure, NO_SESSIONS, lost_statement};
use crate::sql;

const READ_ONLY: &str = "the source is read-only: a standby, or a server that was set to read only";
const NAME_THE_PRIMARY: &str = "source.url must name the primary";

/// Why a daemon cannot work with the source.
pub(crate) enum Obstacle {
    /// The source does not answer, or refuses the connection.
    NoAnswer(offtake_postgres::Error),
    /// The server's version cannot be a source.
    Version(catalog::Problem),
    /// The schema `offtake` is missing, or older than this program.
    Unprepared(String),
    /// The source takes no writes: it is a standby, or was made read-only.
    ReadOnly,
    /// Another role owns a table that the daemon adds partitions to and drops them from.
    Rights { role: String, owner: String, relation: String },
}

/// Looks once; the first obstacle is the error.
pub(crate) async fn look(pool: &SourcePool) -> Result<(), Obstacle> {
    let no_answer = |error: tokio_postgres::Error| Obstacle::NoAnswer(error.into());
    let client = pool.get().await.map_err(Obstacle::NoAnswer)?;
    if let Some(problem) = catalog::check_server(&client).await.map_err(no_answer)? {
        return Err(Obstacle::Version(problem));
    }
    let read_only = "select current_setting('transaction_read_only')::boolean";
    if client.query_one(read_only, &[]).await.map_err(no_answer)?.get(0) {
        return Err(Obstacle::ReadOnly);
    }
    let prepared: bool = client
        .query_one("select to_regclass('offtake.migration') is not null", &[])
        .await
        .map_err(no_answer)?
        .get(0);
    if !prepared {
        return Err(Obstacle::Unprepared(
            "the source is not prepared: it has no schema `offtake`".to_owned(),
        ));
    }
    if let Some(foreign) =
        client.query_opt(sql::LIST_FOREIGN_RELATIONS, &[]).await.map_err(no_answer)?
    {
        let (role, owner, relation) =
            (foreign.get("role"), foreign.get("owner"), foreign.get("relation"));
        return Err(Obstacle::Rights { role, owner, relation });
    }
    let rows = client.query(sql::LIST_APPLIED_MIGRATIONS, &[]).await.map_err(no_answer)?;
    let applied: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // The first entry creates the schema; the table of migrations has no row for it.
    let lacking = offtake_postgres::migration_sql()
        .into_iter()
        .skip(1)
        .map(|(name, _)| name)
        .find(|name| !applied.contains(name));
    match lacking {
        None => Ok(()),
        Some(name) => Err(Obstacle::Unprepared(format!(
            "the schema `offtake` of the source is older than this program: it lacks {name}"
        ))),
    }
}

impl Obstacle {
    /// Whether the obstacle may go away while a daemon waits. A server of a wrong version stays.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::Version(_))
    }

    /// One line, for a daemon that waits.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::NoAnswer(error) if lost_statement(error) => {
                format!("{}; {NO_SESSIONS}", error.message())
            }
            Self::NoAnswer(error) => error.message(),
            Self::Version(problem) => problem.to_string(),
            Self::Unprepared(lacking) => format!("{lacking}; run `offtake init`"),
            Self::ReadOnly => format!("{READ_ONLY}; {NAME_THE_PRIMARY}"),
            Self::Rights { .. } => format!("{}; {}", self.rights(), self.grant()),
        }
    }

    /// The failure of a daemon that does not wait.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Version(problem) => Failure::from(vec![problem]),
            Self::NoAnswer(error) => Failure::of_source("cannot use the source", &error),
            Self::Unprepared(lacking) => {
                Failure::new(Exit::Failed, lacking).remedy("run `offtake init`")
            }
            Self::ReadOnly => Failure::new(Exit::Failed, READ_ONLY).remedy(NAME_THE_PRIMARY),
            Self::Rights { .. } => Failure::new(Exit::Failed, self.rights()).remedy(self.grant()),
        }
    }

    /// What is wrong, and what to do about it.
    pub(crate) fn told(&self) -> (String, String) {
        match self {
            Self::NoAnswer(error) if lost_statement(error) => {
                (error.message(), NO_SESSIONS.to_owned())
            }
            Self::NoAnswer(error) => {
                (error.message(), "check source.url, and that the server answers".to_owned())
            }
            Self::Version(problem) => {
                (problem.diagnostic.finding(), problem.diagnostic.remedy.clone())
            }
            Self::Unprepared(lacking) => (lacking.clone(), "run `offtake init`".to_owned()),
            Self::ReadOnly => (READ_ONLY.to_owned(), NAME_THE_PRIMARY.to_owned()),
            Self::Rights { .. } => (self.rights(), self.grant()),
        }
    }

    fn rights(&self) -> String {
        let Self::Rights { role, owner, relation } = self else { return String::new() };
        format!(
            "the role {role} may not change offtake.{relation}, which {owner} owns; \
             the daemon adds and drops partitions there"
        )
    }

    fn grant(&self) -> String {
        let Self::Rights { role, owner, .. } = self else { return String::new() };
        format!(
            "run part 3 of deploy/grants.sql as {owner}, or as a superuser: grant {owner} to {role};"
        )
    }
}
