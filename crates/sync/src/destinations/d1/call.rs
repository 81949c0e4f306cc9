//! One request: statements in, their results out, and what went wrong in words.
//!
//! A request is one batch, and a batch is one transaction. When no answer comes, or one that says
//! nothing about the batch, the very same request is sent again: every batch that changes something
//! carries the id of its write, and one that has arrived already changes nothing more.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use metrics::counter;
use offtake_loops::metrics as names;
use offtake_postgres::Fault;
use rand::Rng as _;
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use super::database::D1Database;
use super::http::Unanswered;
use super::{Session, Trouble, size};

/// How often the same request is sent.
const ATTEMPTS: u32 = 3;

/// The pause before the same request is sent again; doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// A message is one line in a log, a column and a dashboard.
const MESSAGE_CHARS_MAX: usize = 500;

/// A statement and its parameters, each of which is text or NULL: a number would arrive as a double.
#[derive(Serialize, Clone, Debug)]
pub(super) struct Statement {
    sql: String,
    params: Vec<Option<String>>,
    /// Of the result; None: it returns no rows.
    #[serde(skip)]
    columns: Option<usize>,
}

impl Statement {
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: without_comments(&sql.into()), params: Vec::new(), columns: None }
    }

    pub(super) fn with(mut self, parameter: impl Into<String>) -> Self {
        self.params.push(Some(parameter.into()));
        self
    }

    pub(super) fn with_all(mut self, parameters: impl IntoIterator<Item = Option<String>>) -> Self {
        self.params.extend(parameters);
        self
    }

    /// One that returns rows of so many columns. The answer is JSON, which has no integers of 64 bits
    /// and no bytes: so each value comes with a letter that tells its type, but for doubles, which
    /// come as numbers that read back as the same ones.
    pub(super) fn returning(sql: &str, columns: usize) -> Self {
        let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
        let values: Vec<String> = names
            .iter()
            .map(|c| {
                format!(
                    "case typeof({c}) when 'integer' then 'i'||{c} when 'text' then 't'||{c} when 'blob' then 'b'||hex({c}) else {c} end {c}"
                )
            })
            .collect();
        let sql = without_comments(sql);
        let sql = format!(
            "with q({}) as (\n{sql}\n) select {} from q",
            names.join(","),
            values.join(",")
        );
        Self { sql, params: Vec::new(), columns: Some(columns) }
    }
}

/// The statement without the comment at its beginning: the server needs none.
fn without_comments(sql: &str) -> String {
    let code = sql.trim_start().lines().skip_while(|line| line.starts_with("--"));
    code.collect::<Vec<_>>().join("\n")
}

/// What one statement did.
#[derive(Default, Debug)]
pub(super) struct Done {
    pub(super) changes: u64,
    pub(super) rows: Vec<Vec<Value>>,
}

/// Why a batch did nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// One of our own guards ended it; its name.
    Guard(String),
    Trouble(Trouble),
}

impl Failed {
    /// The trouble alone, where the batch had no guard.
    pub(super) fn into_trouble(self) -> Trouble {
        match self {
            Self::Trouble(trouble) => trouble,
            Self::Guard(name) => {
                let message = format!("another worker has written there ({name})");
                Trouble::new(Fault::Transient, None, message)
            }
        }
    }
}

impl From<Failed> for crate::Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Guard(_) => Self::Stale,
            Failed::Trouble(trouble) => Self::Destination(trouble),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    batch: &'a [Statement],
}

#[derive(Deserialize)]
struct Reply {
    success: bool,
    #[serde(default)]
    errors: Vec<Told>,
    result: Option<Vec<Outcome>>,
}

#[derive(Deserialize, Default)]
struct Told {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    results: Vec<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default)]
    changes: f64,
    /// Milliseconds.
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    rows_read: f64,
    #[serde(default)]
    rows_written: f64,
    /// The bytes of the database.
    size_after: Option<f64>,
}

/// What an answer means.
enum Meaning {
    Done(Vec<Done>, Duration),
    Failed(Failed, &'static str),
    /// Whether the batch was run is not known.
    Unknown {
        message: String,
        slow: bool,
    },
    Limited,
}

impl Session {
    /// Runs a batch: all of it, or nothing.
    pub(super) async fn run(&self, batch: &[Statement]) -> Result<Vec<Done>, Failed> {
        self.run_timed(batch).await.map(|(done, _)| done)
    }

    /// The same, with the time that the database took for it.
    pub(super) async fn run_timed(
        &self,
        batch: &[Statement],
    ) -> Result<(Vec<Done>, Duration), Failed> {
        let body = serde_json::to_vec(&Body { batch }).map(Bytes::from);
        let body = body.map_err(|error| self.failed(Fault::Fatal, &error.to_string()))?;
        let mut unknown: Option<(String, bool)> = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                let pause = PAUSE * 2u32.pow(attempt - 1);
                let spread = rand::rng().random_range(0.5..1.5);
                tokio::time::sleep(pause.mul_f64(spread)).await;
            }
            if let Err(wait) = self.lane.turn().await {
                // Nothing is known of a request that was sent before, whatever the lane says.
                if unknown.is_some() {
                    break;
                }
                return Err(self.limited(wait));
            }
            self.database.usage.request();
            let sent =
                self.client.post(&self.database, body.clone(), D1Database::REQUEST_MAX).await;
            let (meaning, headers) = match sent {
                Ok(answer) => {
                    if let Some(left) = self.lane.told(&answer.headers) {
                        self.database.usage.left(left);
                    }
                    let meaning = self.meaning(answer.status, &answer.body, batch);
                    (meaning, answer.headers)
                }
                Err(Unanswered::NotSent(message)) => {
                    count("failed");
                    if attempt + 1 < ATTEMPTS {
                        continue;
                    }
                    match unknown {
                        Some(_) => break,
                        None => return Err(self.failed(Fault::Unreachable, &message)),
                    }
                }
                Err(Unanswered::Unknown(message)) => {
                    (Meaning::Unknown { message, slow: false }, HeaderMap::new())
                }
                Err(Unanswered::TimedOut(message)) => {
                    (Meaning::Unknown { message, slow: true }, HeaderMap::new())
                }
            };
            match meaning {
                Meaning::Done(done, took) => {
                    count("ok");
                    return Ok((done, took));
                }
                Meaning::Failed(failed, result) => {
                    count(result);
                    return Err(failed);
                }
                Meaning::Unknown { message, slow } => {
                    count("lost");
                    unknown = Some((message, slow));
                }
                Meaning::Limited => {
                    count("limited");
                    let wait = self.lane.refused(&headers);
                    if unknown.is_none() && attempt + 1 == ATTEMPTS {
                        return Err(self.limited(wait));
                    }
                }
            }
        }
        let (message, slow) = unknown.unwrap_or_default();
        let fault = if slow { Fault::TooSlow } else { Fault::OutcomeUnknown };
        Err(self.failed(fault, &message))
    }

    /// The same for a batch that ends in no guard of ours.
    pub(super) async fn ask(&self, batch: &[Statement]) -> Result<Vec<Done>, Trouble> {
        self.run(batch).await.map_err(Failed::into_trouble)
    }

    fn failed(&self, fault: Fault, message: &str) -> Failed {
        let message = self.line(message);
        Failed::Trouble(Trouble::new(fault, None, message))
    }

    fn limited(&self, wait: Duration) -> Failed {
        let message = format!(
            "Cloudflare's limit of requests is used up for this token; nothing is asked with it for \
             {} s",
            wait.as_secs().max(1)
        );
        let trouble = Trouble::new(Fault::Transient, None, message);
        Failed::Trouble(Trouble { wait: Some(wait), ..trouble })
    }

    /// Notes what the database says of itself. Returns how long it took for the batch.
    fn noted(&self, result: &[Outcome]) -> Duration {
        let sum = |of: fn(&Meta) -> f64| result.iter().map(|one| of(&one.meta).max(0.0)).sum();
        let (read, written): (f64, f64) = (sum(|m| m.rows_read), sum(|m| m.rows_written));
        self.database.usage.rows(read as u64, written as u64);
        if let Some(bytes) = result.iter().rev().find_map(|one| one.meta.size_after) {
            self.database.usage.size(bytes.max(0.0) as u64);
            size::note(self.database.name(), bytes.max(0.0) as u64);
        }
        let took: f64 = sum(|meta| meta.duration);
        Duration::try_from_secs_f64(took / 1000.0).unwrap_or(Duration::MAX)
    }

    /// One line, without the token.
    fn line(&self, text: &str) -> String {
        let text = self.database.without_token(text);
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        line.trim().chars().take(MESSAGE_CHARS_MAX).collect()
    }

    fn meaning(&self, status: u16, body: &[u8], batch: &[Statement]) -> Meaning {
        if status == 429 {
            return Meaning::Limited;
        }
        let Ok(reply) = serde_json::from_slice::<Reply>(body) else {
            let slow = matches!(status, 408 | 504 | 524);
            let message = format!("{} answers {status} and no JSON", self.database.host());
            return match status {
                401 | 403 => Meaning::Failed(self.failed(Fault::Credentials, &message), "failed"),
                400..=407 | 409..=499 | 300..=399 => {
                    Meaning::Failed(self.failed(Fault::Fatal, &message), "failed")
                }
                _ => Meaning::Unknown { message, slow },
            };
        };
        if let (true, Some(result)) = (reply.success, reply.result) {
            if result.len() != batch.len() {
                let message = "the endpoint answers other statements than were sent";
                return Meaning::Failed(self.failed(Fault::Fatal, message), "failed");
            }
            let took = self.noted(&result);
            let done = result.into_iter().zip(batch).map(|(outcome, statement)| Done {
                changes: outcome.meta.changes.max(0.0) as u64,
                rows: statement
                    .columns
                    .map_or_else(Vec::new, |columns| rows(outcome.results, columns)),
            });
            return Meaning::Done(done.collect(), took);
        }
        let told = reply.errors.into_iter().next().unwrap_or_default();
        meaning_of(status, told.code, &self.line(&told.message))
    }
}

fn count(result: &'static str) {
    counter!(names::D1_REQUESTS_TOTAL, "result" => result).increment(1);
}

fn rows(
    results: Vec<serde_json::Map<String, serde_json::Value>>,
    columns: usize,
) -> Vec<Vec<Value>> {
    let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    let row = |mut row: serde_json::Map<String, serde_json::Value>| {
        names.iter().map(|name| value(row.remove(name).unwrap_or_default())).collect()
    };
    results.into_iter().map(row).collect()
}

fn value(told: serde_json::Value) -> Value {
    match told {
        serde_json::Value::Number(number) => Value::Real(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => match text.split_at_checked(1) {
            Some(("i", number)) => number.parse().map_or(Value::Null, Value::Integer),
            Some(("t", _)) => {
                let mut text = text;
                text.remove(0);
                Value::Text(text)
            }
            Some(("b", digits)) => {
                let pair = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
                let bytes = (0..digits.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>();
                bytes.map_or(Value::Null, Value::Blob)
            }
            _ => Value::Null,
        },
        _ => Value::Null,
    }
}

/// What an error of the API means. SQLite's errors have SQLite's names in their text, and no other
/// code than 7500.
fn meaning_of(status: u16, code: i64, message: &str) -> Meaning {
    let has = |text: &str| message.contains(text);
    let failed = |fault, state: &str| {
        let state = (!state.is_empty()).then(|| state.to_owned());
        Meaning::Failed(Failed::Trouble(Trouble::new(fault, state, message.to_owned())), "refused")
    };
    let gone = |fault| {
        let message =
            if message.is_empty() { format!("status {status}") } else { message.to_owned() };
        Meaning::Failed(Failed::Trouble(Trouble::new(fault, None, message)), "failed")
    };
    const GUARD: &str = "CHECK constraint failed: offtake_";
    if let Some((_, rest)) = message.split_once(GUARD) {
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        return Meaning::Failed(Failed::Guard(name.to_owned()), "refused");
    }
    for (text, fault, state) in REFUSALS {
        if has(text) {
            return failed(fault, state);
        }
    }
    if code == 7429 {
        return Meaning::Limited;
    }
    let slow = matches!(status, 408 | 504 | 524)
        || ["timed out", "timeout", "exceeded its CPU", "memory limit", "too long"]
            .iter()
            .any(|t| has(t));
    match (status, code) {
        (401 | 403, _) | (_, 10000 | 10001 | 9109 | 6003) => gone(Fault::Credentials),
        (404, _) | (_, 7404) => gone(Fault::Schema),
        (500.., _) | (200, _) => Meaning::Unknown { message: message.to_owned(), slow },
        _ if slow || TRANSIENT.iter().any(|text| has(text)) => {
            Meaning::Unknown { message: message.to_owned(), slow }
        }
        _ => failed(Fault::Fatal, ""),
    }
}

/// What SQLite's errors say, and the SQLSTATE of what a Postgres server would say.
const REFUSALS: [(&str, Fault, &str); 16] = [
    ("UNIQUE constraint failed", Fault::Row, "23505"),
    ("NOT NULL constraint failed", Fault::Row, "23502"),
    ("CHECK constraint failed", Fault::Row, "23514"),
    ("FOREIGN KEY constraint failed", Fault::Row, "23503"),
    ("SQLITE_CONSTRAINT_DATATYPE", Fault::Row, "42804"),
    ("SQLITE_CONSTRAINT", Fault::Row, "23000"),
    ("SQLITE_MISMATCH", Fault::Row, "42804"),
    ("SQLITE_TOOBIG", Fault::Row, "22001"),
    ("string or blob too big", Fault::Row, "22001"),
    ("SQLITE_FULL", Fault::Full, "53100"),
    ("maximum DB size", Fault::Full, "53100"),
    ("SQLITE_AUTH", Fault::Schema, "42501"),
    ("SQLITE_READONLY", Fault::ReadOnly, "25006"),
    ("SQLITE_ERROR", Fault::Schema, "42000"),
    ("no such table", Fault::Schema, "42000"),
    ("no such column", Fault::Schema, "42000"),
];

/// What D1 says when a batch may run once more, or may still run.
const TRANSIENT: [&str; 8] = [
    "overloaded",
    "queued for too long",
    "Network connection lost",
    "reset",
    "internal error",
    "Internal error",
    "storage operation",
    "starting up",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, code: i64, message: &str) -> Option<Fault> {
        match meaning_of(status, code, message) {
            Meaning::Failed(Failed::Trouble(trouble), _) => Some(trouble.fault),
            _ => None,
        }
    }

    #[test]
    fn errors_mean_what_a_server_means_by_them() {
        let unique = "D1_ERROR: UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT";
        assert_eq!(fault(400, 7500, unique), Some(Fault::Row));
        assert_eq!(fault(400, 7500, "no such table: t: SQLITE_ERROR"), Some(Fault::Schema));
        assert_eq!(fault(403, 10000, "Authentication error"), Some(Fault::Credentials));
        assert_eq!(fault(404, 7404, "The database does not exist"), Some(Fault::Schema));
        for lost in ["D1 DB is overloaded.", "Network connection lost.", "D1 DB reset because"] {
            assert!(matches!(meaning_of(400, 7500, lost), Meaning::Unknown { .. }), "{lost}");
        }
        assert!(matches!(meaning_of(504, 0, ""), Meaning::Unknown { slow: true, .. }));
        let guard = "D1_ERROR: CHECK constraint failed: offtake_stale: SQLITE_CONSTRAINT";
        let Meaning::Failed(Failed::Guard(name), _) = meaning_of(400, 7500, guard) else {
            panic!("it is a guard's")
        };
        assert_eq!(name, "stale");
    }

    #[test]
    fn values_come_back_with_their_types() {
        let check = |told: serde_json::Value, expect: Value| assert_eq!(value(told), expect);
        check("i-9223372036854775808".into(), Value::Integer(i64::MIN));
        check("t".into(), Value::Text(String::new()));
        check("tä\n".into(), Value::Text("ä\n".to_owned()));
        check("b00FF".into(), Value::Blob(vec![0, 255]));
        check(serde_json::json!(5e-324), Value::Real(5e-324));
        check(serde_json::Value::Null, Value::Null);
        let exact: serde_json::Value = serde_json::from_str("8.533e+68").expect("a number");
        check(exact, Value::Real(8.533e68));
    }
}
