//! What keeps a mapping from being used, told as the mapping parser tells it.

use std::fmt;

use offtake_mapping::{Diagnostic, Mapping, Step};

/// One thing that is wrong with one mapping, or with the source it was checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The mapping's name; empty when the source itself is the problem.
    pub mapping: String,
    /// Where, what and the remedy; without a file when the source itself is the problem.
    pub diagnostic: Diagnostic,
    /// The source could not be asked, so nothing is known against the mappings: try again rather
    /// than refuse them.
    pub source_unavailable: bool,
    /// What several mappings' problems have in common, if it is one thing that the remedy mends for
    /// all of them. A person is told it once.
    pub cause: Option<&'static str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    fn new(mapping: &Mapping, diagnostic: Diagnostic) -> Self {
        Self { mapping: mapping.name.clone(), diagnostic, source_unavailable: false, cause: None }
    }

    /// Something that `mapping` says at `path` and the source contradicts.
    pub(super) fn at(
        mapping: &Mapping,
        path: &[Step],
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(mapping, mapping.mistake(path, message, remedy))
    }

    /// The same of the key at `path`.
    pub(super) fn of_key(
        mapping: &Mapping,
        path: &[Step],
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(mapping, mapping.mistake_of_key(path, message, remedy))
    }

    /// The same of the SQL text `value` at `path`, behind `at` characters.
    pub(super) fn within(
        mapping: &Mapping,
        path: &[Step],
        value: &str,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(mapping, mapping.mistake_within(path, value, at, message, remedy))
    }

    /// The same in the query's text.
    pub(super) fn in_query(
        mapping: &Mapping,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(mapping, mapping.mistake_in_query(at, message, remedy))
    }

    /// A server that no mapping can be used with.
    pub(super) fn of_source(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let diagnostic = Diagnostic::of_file(std::path::Path::new(""), message, remedy);
        Self { mapping: String::new(), diagnostic, source_unavailable: false, cause: None }
    }

    /// The source gave no answer.
    pub(super) fn unavailable(error: &tokio_postgres::Error, remedy: impl Into<String>) -> Self {
        let message = match error.as_db_error() {
            Some(db) => db.message().to_owned(),
            None => error.to_string(),
        };
        let message = format!("the source could not be asked about the mappings: {message}");
        Self::not_now(message, remedy)
    }

    /// What keeps the source from being asked now.
    pub(super) fn not_now(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { source_unavailable: true, ..Self::of_source(message, remedy) }
    }
}
