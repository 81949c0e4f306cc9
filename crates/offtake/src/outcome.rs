//! How a command ends: with an exit code, and, where it could not do what it was asked, with a
//! failure for the operator.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use offtake_postgres::{Fault, SqlState};
use serde_json::{Value, json};

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    /// The command line is wrong. clap exits with it too.
    Usage = 2,
    /// `verify` found a copy that does not equal its query, or `check --diff` one that would
    /// change.
    Different = 3,
    /// The command is done, but not for every destination.
    SomeDestinationsFailed = 4,
    /// The source does not answer (EX_UNAVAILABLE).
    Unreachable = 69,
    /// The time that was given is over, and the same command goes on (EX_TEMPFAIL).
    TimeIsUp = 75,
    /// `offtake.yaml` or a mapping cannot be used (EX_CONFIG).
    InvalidConfiguration = 78,
    /// SIGINT (Ctrl-C) or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed, in the words of the operator's task: one problem or several.
/// [`fmt::Display`] shows all of them, on several lines.
#[derive(Debug)]
#[must_use]
pub struct Failure {
    pub exit: Exit,
    problems: Vec<Problem>,
    /// What kind of failure it is, for programs, where another side has failed: a server's class, as
    /// metrics have it, and its SQLSTATE; or a store's class.
    class: Option<(&'static str, Option<String>)>,
}

/// The message says what happened and where; the remedy says what to do.
#[derive(Debug)]
struct Problem {
    message: String,
    why: Vec<String>,
    remedy: Option<String>,
    cause: Option<Cause>,
}

/// What several problems have in common, and where this one is.
#[derive(Debug)]
struct Cause {
    what: &'static str,
    place: String,
}

/// So many places of one cause are told.
const PLACES_MAX: usize = 10;

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            problems: vec![Problem {
                message: message.into(),
                why: Vec::new(),
                remedy: None,
                cause: None,
            }],
            class: None,
        }
    }

    /// A configuration or mappings that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::InvalidConfiguration, message)
    }

    /// Several failures of the same kind, shown together, so that the operator can mend all of them
    /// at once. The exit code is that of the last one.
    pub fn all(failures: impl IntoIterator<Item = Failure>) -> Self {
        let mut exit = Exit::Failed;
        let mut problems = Vec::new();
        for failure in failures {
            exit = failure.exit;
            problems.extend(failure.problems);
        }
        Self { exit, problems, class: None }
    }

    /// The mistakes in a file that cannot be used.
    fn of_diagnostics(diagnostics: Vec<offtake_mapping::Diagnostic>) -> Self {
        Self::all(
            diagnostics
                .into_iter()
                .map(|found| Self::invalid(found.finding()).remedy(found.remedy)),
        )
    }

    /// The text for standard error. Every problem begins with the program's name. Those of one
    /// cause are told as one.
    pub fn report(&self) -> String {
        let mut told = Vec::new();
        for problem in &self.problems {
            let of_cause = |cause: &Cause| self.with_cause(cause.what);
            match problem.cause.as_ref().map(of_cause).as_deref() {
                None | Some([_]) => told.push(format!("offtake: {problem}")),
                Some(all) if std::ptr::eq(all[0], problem) => {
                    told.push(format!("offtake: {}", in_common(all)));
                }
                Some(_) => {}
            }
        }
        printable_lines(&told.join("\n"))
    }

    fn with_cause(&self, what: &str) -> Vec<&Problem> {
        let same = |problem: &&Problem| problem.cause.as_ref().is_some_and(|c| c.what == what);
        self.problems.iter().filter(same).collect()
    }

    /// Adds why the last problem happened.
    pub fn because(mut self, why: impl Into<String>) -> Self {
        if let Some(problem) = self.problems.last_mut() {
            problem.why.push(why.into());
        }
        self
    }

    /// Sets what to do about the last problem.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        if let Some(problem) = self.problems.last_mut() {
            problem.remedy = Some(remedy.into());
        }
        self
    }

    /// Says for programs which kind of failure another side has had.
    pub fn of_class(mut self, class: &'static str, sqlstate: Option<&str>) -> Self {
        self.class = Some((class, sqlstate.map(str::to_owned)));
        self
    }

    /// The same as [`Failure::report`], for programs.
    pub fn json(&self) -> Value {
        let problem = |problem: &Problem| {
            let Problem { message, why, remedy, .. } = problem;
            json!({ "message": message, "why": why, "remedy": remedy })
        };
        let (class, sqlstate) = self.class.clone().unzip();
        json!({
            "error": {
                "class": class,
                "sqlstate": sqlstate.flatten(),
                "exit": self.exit as u8,
                "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
            }
        })
    }

    /// Where the source is named by something else than the setting `source.url`.
    pub fn source_named_by(mut self, what: &str) -> Self {
        for remedy in self.problems.iter_mut().filter_map(|problem| problem.remedy.as_mut()) {
            *remedy = remedy.replace("source.url", what);
        }
        self
    }

    /// A failure at the source, with the exit code and the remedy for its kind.
    pub fn of_source(while_doing: &str, error: &offtake_postgres::Error) -> Self {
        let class = error.fault().as_str();
        let sqlstate = error.sqlstate().map(SqlState::code);
        let failure =
            |exit| Self::new(exit, while_doing).because(error.message()).of_class(class, sqlstate);
        match error.fault() {
            Fault::Unreachable => failure(Exit::Unreachable)
                .remedy("check source.url, and that the server runs and is reachable from here"),
            Fault::Credentials => failure(Exit::Failed)
                .remedy("check user and password in source.url, and the server's pg_hba.conf"),
            _ if error.sqlstate() == Some(&SqlState::INVALID_CATALOG_NAME) => {
                failure(Exit::Failed).remedy("check the database's name at the end of source.url")
            }
            _ if error.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                failure(Exit::Failed).remedy(
                    "grant the role in source.url what it lacks, or run this as a role that has \
                     it; deploy/grants.sql has what each role needs",
                )
            }
            _ if error.sqlstate() == Some(&SqlState::UNDEFINED_TABLE)
                || error.sqlstate() == Some(&SqlState::INVALID_SCHEMA_NAME) =>
            {
                failure(Exit::Failed)
                    .remedy("run `offtake init` if this source was not prepared yet")
            }
            _ if lost_statement(error) => failure(Exit::Failed).remedy(NO_SESSIONS),
            _ => failure(Exit::Failed),
        }
    }
}

/// One problem instead of several that have one cause.
fn in_common(problems: &[&Problem]) -> Problem {
    let causes: Vec<&Cause> =
        problems.iter().filter_map(|problem| problem.cause.as_ref()).collect();
    let places: Vec<&str> = causes.iter().map(|c| c.place.as_str()).take(PLACES_MAX).collect();
    let more = match problems.len().saturating_sub(PLACES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = causes.first().map_or("", |cause| cause.what);
    let message = format!("{what}: {}{more}", places.join(", "));
    let remedy = problems.first().and_then(|problem| problem.remedy.clone());
    Problem { message, why: Vec::new(), remedy, cause: None }
}

/// The remedy where [`lost_statement`] is true.
pub const NO_SESSIONS: &str = "source.url leads to a pooler in transaction mode; \
                               name the server itself, or a pool in session mode";

/// Whether a prepared statement is gone from our session, or another client's is there: a pooler
/// gives each transaction another session.
pub fn lost_statement(error: &offtake_postgres::Error) -> bool {
    error.sqlstate().is_some_and(|code| {
        [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT].contains(code)
    })
}

/// The text without what a terminal would obey; its lines stay lines.
pub(crate) fn printable_lines(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && offtake_mapping::is_unprintable(character) {
            printable.extend(character.escape_unicode());
        } else {
            printable.push(character);
        }
    }
    printable
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for why in &self.why {
            write!(f, "\n  why: {why}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  remedy: {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&problems.join("\n"))
    }
}

impl Error for Failure {}

impl From<crate::configuration::Error> for Failure {
    fn from(error: crate::configuration::Error) -> Self {
        Self::of_diagnostics(error.diagnostics)
    }
}

impl From<Vec<offtake_postgres::catalog::Problem>> for Failure {
    fn from(problems: Vec<offtake_postgres::catalog::Problem>) -> Self {
        Self::all(problems.into_iter().map(|problem| {
            let exit = if problem.source_unavailable {
                Exit::Unreachable
            } else {
                Exit::InvalidConfiguration
            };
            let place = problem.diagnostic.place();
            let mut cause = problem.cause.map(|what| Cause { what, place });
            let mut failure =
                Self::new(exit, problem.diagnostic.finding()).remedy(problem.diagnostic.remedy);
            failure.problems.iter_mut().for_each(|p| p.cause = cause.take());
            failure
        }))
    }
}

impl From<offtake_mapping::Error> for Failure {
    fn from(error: offtake_mapping::Error) -> Self {
        Self::of_diagnostics(error.diagnostics)
    }
}

impl From<offtake_sequencer::Error> for Failure {
    fn from(error: offtake_sequencer::Error) -> Self {
        match error {
            offtake_sequencer::Error::Connect(source) => {
                Self::of_source("cannot use the source", &source)
            }
            offtake_sequencer::Error::Source(source) => {
                let error = offtake_postgres::Error::from(source);
                let mut failure = Self::of_source("cannot use the source", &error);
                // The source became a standby a moment ago. The daemon waits for it as for a source
                // that does not answer.
                if error.sqlstate() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
                    failure.exit = Exit::Unreachable;
                }
                failure
            }
            locked @ offtake_sequencer::Error::Locked => {
                Self::new(Exit::Unreachable, locked.to_string())
            }
        }
    }
}

impl From<offtake_capture::Error> for Failure {
    fn from(error: offtake_capture::Error) -> Self {
        match error {
            offtake_capture::Error::Postgres(source) => {
                Self::of_source("cannot use the source", &source)
            }
            offtake_capture::Error::Refused { ref source, .. } => {
                Self::of_source(&error.to_string(), source)
            }
            // The text of the others ends with the remedy, on a line of its own.
            other => Self::new(Exit::Failed, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_remedy() {
        let failure = Failure::all([
            Failure::invalid("a.yaml:3: no").because("it is so").remedy("mend it"),
            Failure::new(Exit::Unreachable, "cannot reach the source"),
        ]);
        let expect = "a.yaml:3: no\n  why: it is so\n  remedy: mend it\ncannot reach the source";
        assert_eq!(failure.to_string(), expect);
        assert!(failure.report().ends_with("\nofftake: cannot reach the source"));
        assert_eq!(failure.exit, Exit::Unreachable);
    }
}
