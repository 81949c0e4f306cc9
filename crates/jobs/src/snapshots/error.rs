use std::time::Duration;

use super::source;
use crate::archive::{Refused, WriterError};
use crate::stores;

/// What a snapshot can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A mapping's query fails at the source.
    #[error(transparent)]
    Query(offtake_reading::Error),
    #[error("the source cannot be reached")]
    Source(#[source] offtake_postgres::Error),
    #[error(transparent)]
    Store(#[from] stores::Error),
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// The tenant has no row in any table.
    #[error("there is nothing to snapshot: the tenant has no row")]
    Empty,
    /// Again and again: the snapshot would lack rows.
    #[error("a table was truncated or rewritten while it was read")]
    Broken,
    #[error("it was not complete after {}", in_words(*.0))]
    TooLong(Duration),
    #[error("{free} bytes are free in the store, and at least {FREE_BYTES_MIN} must be")]
    NoSpace { free: u64 },
    /// Of a snapshot of the kind `source`.
    #[error(transparent)]
    Own(Box<source::Error>),
    /// Another process makes it, or it was deleted.
    #[error("another process has taken over")]
    Lost,
    #[error("it was cancelled")]
    Cancelled,
    /// The archive is not as Offtake writes it.
    #[error("the archive of {id} is refused: {refused}")]
    Refused { id: String, refused: Refused },
    /// The archive is whole, and another one than its card says.
    #[error("the archive of {id} is not the one that was written: {what}")]
    Changed { id: String, what: &'static str },
}

impl From<offtake_reading::Error> for Error {
    fn from(error: offtake_reading::Error) -> Self {
        match error {
            offtake_reading::Error::Source(error) => Self::Source(error),
            of_query => Self::Query(of_query),
        }
    }
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        match error {
            source::Error::Snapshot(error) => error,
            of_its_own => Self::Own(Box::new(of_its_own)),
        }
    }
}

impl Error {
    /// Of the query of a mapping that fails.
    pub fn sqlstate(&self) -> Option<&str> {
        use offtake_reading::Error::{Mapping, Row, TooSlow};
        match self {
            Self::Query(Mapping { fault, .. } | Row { fault, .. } | TooSlow { fault, .. }) => {
                fault.sqlstate.as_deref()
            }
            _ => None,
        }
    }

    /// For a log, which has nothing of a row.
    pub fn logged(&self) -> String {
        match self {
            Self::Query(offtake_reading::Error::Row { mapping, .. }) => {
                format!(
                    "mapping {mapping}: a row cannot be taken; the snapshot's status says which"
                )
            }
            error => offtake_postgres::chain(error),
        }
    }
}

/// A store with less room is full: a member, its compressor and other writers need some.
pub(super) const FREE_BYTES_MIN: u64 = 256 << 20;

fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}
