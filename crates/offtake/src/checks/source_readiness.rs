//! Whether a daemon can work with the source: it answers, its version will do, it takes writes,
//! `offtake init` of this version has prepared it, and the daemon's role may change its log.

use offtake_postgres::{SourcePool, catalog};
use tokio_postgres::Client;

use crate::outcome::{Exit, Failure, NO_SESSIONS, lost_statement};
use crate::sql;

const READ_ONLY: &str = "the source is read-only: a standby, or a server that was set to read only";
const NAME_THE_PRIMARY: &str = "source.url must name the primary";
const RUN_THE_NEWER: &str = "run the version that prepared the source, or a newer one";

/// Why a daemon cannot work with the source.
pub(crate) enum Obstacle {
    /// The source does not answer, or refuses the connection.
    NoAnswer(offtake_postgres::Error),
    /// The server's version cannot be a source.
    Version(catalog::Problem),
    /// The schema `offtake` is missing, or older than this program.
    Unprepared(String),
    /// A newer version of Offtake applied this migration, and this program does not know what it
    /// changed.
    Newer(String),
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
    let Some(applied) = applied_migrations(&client).await.map_err(no_answer)? else {
        return Err(Obstacle::Unprepared(
            "the source is not prepared: it has no schema `offtake`".to_owned(),
        ));
    };
    if let Some(foreign) =
        client.query_opt(sql::LIST_FOREIGN_RELATIONS, &[]).await.map_err(no_answer)?
    {
        let (role, owner, relation) =
            (foreign.get("role"), foreign.get("owner"), foreign.get("relation"));
        return Err(Obstacle::Rights { role, owner, relation });
    }
    if let Some(name) = unknown_among(&applied) {
        return Err(Obstacle::Newer(name));
    }
    match known_migrations().find(|name| !applied.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Obstacle::Unprepared(format!(
            "the schema `offtake` of the source is older than this program: it lacks {name}"
        ))),
    }
}

/// The last migration of the source that this program does not know: a newer version of Offtake
/// prepared the source. None also where nothing has prepared it.
pub(crate) async fn newer_migration(
    source: &Client,
) -> Result<Option<String>, tokio_postgres::Error> {
    Ok(applied_migrations(source).await?.and_then(|applied| unknown_among(&applied)))
}

/// None where the source is not prepared.
async fn applied_migrations(source: &Client) -> Result<Option<Vec<String>>, tokio_postgres::Error> {
    let prepared = "select to_regclass('offtake.migration') is not null";
    if !source.query_one(prepared, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let rows = source.query(sql::LIST_APPLIED_MIGRATIONS, &[]).await?;
    Ok(Some(rows.iter().map(|row| row.get(0)).collect()))
}

fn unknown_among(applied: &[String]) -> Option<String> {
    let known: Vec<String> = known_migrations().collect();
    applied.iter().rev().find(|name| !known.contains(name)).cloned()
}

/// The migrations of this program. The first entry of the list creates the schema; the table of
/// migrations has no row for it.
fn known_migrations() -> impl Iterator<Item = String> {
    offtake_postgres::migration_sql().into_iter().skip(1).map(|(name, _)| name)
}

fn newer(migration: &str) -> String {
    format!("the schema `offtake` of the source is newer than this program: it has {migration}")
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
            Self::Newer(name) => format!("{}; {RUN_THE_NEWER}", newer(name)),
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
            Self::Newer(name) => Failure::new(Exit::Failed, newer(&name)).remedy(RUN_THE_NEWER),
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
            Self::Newer(name) => (newer(name), RUN_THE_NEWER.to_owned()),
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
