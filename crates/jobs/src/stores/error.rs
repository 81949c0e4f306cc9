//! What can go wrong at a store.

use std::io;

use rustix::io::Errno;

use super::Key;

/// An operation of a store that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Error {
    pub trouble: Trouble,
    /// What was being done, and where.
    what: String,
    why: String,
}

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such object.
    Missing,
    /// There is one already.
    Exists,
    /// No space is left; it may be there again later.
    Full,
    /// A person must mend rights, or what stands where the store should be.
    Denied,
    /// The operator has named a bucket that is not there.
    NoBucket,
    /// The store wants fewer requests.
    Throttled,
    /// The store does not answer, or only with errors of its own.
    Unreachable,
    /// Anything else; it may work later.
    Unavailable,
}

impl Trouble {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Exists => "exists",
            Self::Full => "full",
            Self::Denied => "denied",
            Self::NoBucket => "no_bucket",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Error {
    pub(super) fn new(trouble: Trouble, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { trouble, what: what.into(), why: why.into() }
    }

    /// An object that is not what its writer left.
    pub(crate) fn unusable(what: impl Into<String>) -> Self {
        Self::new(Trouble::Unavailable, what, "it is read and written again")
    }

    /// An object whose content cannot be understood.
    pub(crate) fn unreadable(key: &Key, why: impl Into<String>) -> Self {
        Self::new(Trouble::Denied, format!("cannot read {key}"), why)
    }

    pub(super) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self::new(Trouble::of(error), what, error.to_string())
    }
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind;
        if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            return Self::Denied;
        }
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::AlreadyExists => Self::Exists,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full
            }
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory => Self::Denied,
            _ => Self::Unavailable,
        }
    }
}
