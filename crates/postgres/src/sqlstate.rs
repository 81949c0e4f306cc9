//! What an error code means to Offtake. Codes decide, never error texts: texts are translated and change.

use tokio_postgres::error::SqlState;

/// What to do about an error.
///
/// | fault | SQLSTATE | what follows |
/// |---|---|---|
/// | `Transient` | 40 (but 40002), 55P03, 55006, 57014, 57P01-57P05, 08, 53 (but 53100), 58 | the same again, after a backoff; 57014 (statement timeout) with half the batch |
/// | `Unreachable` | none: no server spoke | backoff, circuit breaker |
/// | `Credentials` | 28, 42501 excepted | blocked until the URL or the server's roles change |
/// | `Schema` | 42 (also 42501), 3D, 3F, 0A, 55000, 2B, 26, 34 | blocked; recovers by itself once mended |
/// | `Row` | 21, 22, 23, 40002, 44, 54, P0 but P0000's own syntax, 27, 09 | bisected, the row is quarantined |
/// | `ReadOnly` | 25006 | blocked: a standby, or set read-only |
/// | `Full` | 53100 | blocked: the disk is full |
/// | `Fatal` | everything else | a defect or corruption: a person must look |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    Transient,
    Unreachable,
    Credentials,
    Schema,
    Row,
    ReadOnly,
    Full,
    Fatal,
}

impl Fault {
    /// The label in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Unreachable => "unreachable",
            Self::Credentials => "credentials",
            Self::Schema => "schema",
            Self::Row => "row",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Fatal => "fatal",
        }
    }
}

/// The fault behind a code; see the table at [`Fault`].
pub fn classify(state: &SqlState) -> Fault {
    Fault::Fatal.or_by_code(state)
}

impl Fault {
    fn or_by_code(self, state: &SqlState) -> Self {
        let by_name = [
            (&SqlState::DISK_FULL, Self::Full),
            (&SqlState::READ_ONLY_SQL_TRANSACTION, Self::ReadOnly),
            (&SqlState::T_R_INTEGRITY_CONSTRAINT_VIOLATION, Self::Row),
            (&SqlState::LOCK_NOT_AVAILABLE, Self::Transient),
            (&SqlState::OBJECT_IN_USE, Self::Transient),
            (&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, Self::Schema),
            (&SqlState::DATABASE_DROPPED, Self::Schema),
            (&SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, Self::Transient),
        ];
        if let Some((_, fault)) = by_name.into_iter().find(|(named, _)| *named == state) {
            return fault;
        }
        match state.code().get(..2) {
            Some("08" | "40" | "53" | "57" | "58") => Self::Transient,
            Some("28") => Self::Credentials,
            Some("0A" | "26" | "2B" | "34" | "3D" | "3F" | "42") => Self::Schema,
            Some("09" | "21" | "22" | "23" | "27" | "44" | "54" | "P0") => Self::Row,
            _ => self,
        }
    }
}
