//! What keeps a mapping from being used, told as the mapping parser tells it.

use std::fmt;
use std::path::PathBuf;

use offtake_mapping::Mapping;

/// One thing that is wrong with one mapping, or with the source it was checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The mapping's file; empty when the source itself is the problem.
    pub file: PathBuf,
    /// 1-based, where it is known.
    pub line: Option<usize>,
    /// The mapping's name; empty when the source itself is the problem.
    pub mapping: String,
    pub message: String,
    pub remedy: String,
    /// The source could not be asked, so nothing is known against the mappings: try again rather than refuse them.
    pub source_unavailable: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}", self.file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}\n  remedy: {}", self.message, self.remedy)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// Something that `mapping` says and the source contradicts.
    pub(super) fn of(mapping: &Mapping, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: mapping.file.clone(),
            line: None,
            mapping: mapping.name.clone(),
            message: message.into(),
            remedy: remedy.into(),
            source_unavailable: false,
        }
    }

    /// The same, in the query's text.
    pub(super) fn in_query(mapping: &Mapping, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(mapping, message, remedy).at_line(Some(mapping.query_line))
    }

    pub(super) fn at_line(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }

    /// A server that no mapping can be used with.
    pub(super) fn of_source(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: PathBuf::new(),
            line: None,
            mapping: String::new(),
            message: message.into(),
            remedy: remedy.into(),
            source_unavailable: false,
        }
    }

    /// The source gave no answer.
    pub(super) fn unavailable(error: &tokio_postgres::Error) -> Self {
        let message = match error.as_db_error() {
            Some(db) => db.message().to_owned(),
            None => error.to_string(),
        };
        let mut problem = Self::of_source(
            format!("the source could not be asked about the mappings: {message}"),
            "see that the source is reachable, then try again",
        );
        problem.source_unavailable = true;
        problem
    }
}
