//! What an error code means to Offtake. Codes decide, never error texts: texts are translated and
//! change.

use tokio_postgres::error::SqlState;

/// What to do about an error.
///
/// | fault | SQLSTATE | what follows |
/// |---|---|---|
/// | `Transient` | 08, 40, 53, 57, 58 and the idle limits, except for what is named below; a lock not had; a prepared statement lost or doubled by a pooler | the same again on a new connection, after a backoff |
/// | `TooSlow` | 57014, the statement timeout | the same with half the batch |
/// | `OutcomeUnknown` | none: the reply to COMMIT is missing | what stands there is read before anything else is done |
/// | `Unreachable` | none: no server spoke | backoff, circuit breaker |
/// | `Credentials` | 28 | blocked until the URL or the server's roles change |
/// | `Schema` | 42 (missing privileges among them), 0A, 2B, 34, 39, 3D, 3F, 55, a dropped database, limits of a statement | blocked; recovers by itself once mended |
/// | `Row` | 09, 20, 21, 22, 23, 27, 2F, 38, 44, 54, P0, 40002 | the batch is bisected, the row is quarantined |
/// | `ReadOnly` | 25006 | blocked: a standby, or set read-only |
/// | `Full` | 53100 | blocked: the disk is full |
/// | `Fatal` | everything else | a defect of ours, or corruption: a person must look |
///
/// Row faults are those that depend on the values: refused by a type (22), a constraint (23, 44) or
/// a trigger (09, 20, 27, 2F, 38, P0 with `RAISE EXCEPTION`), too large for an index (54), or two
/// rows where one is expected (21), which a mapping's scalar subquery does for one key and not for
/// the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    Transient,
    TooSlow,
    OutcomeUnknown,
    Unreachable,
    Credentials,
    Schema,
    Row,
    ReadOnly,
    Full,
    Fatal,
}

impl Fault {
    /// The label in metrics and JSON. `TooSlow` and `OutcomeUnknown` are told as what they look
    /// like from outside.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient | Self::TooSlow => "transient",
            Self::Unreachable | Self::OutcomeUnknown => "unreachable",
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
    match *state {
        SqlState::QUERY_CANCELED => Fault::TooSlow,
        SqlState::DISK_FULL => Fault::Full,
        SqlState::READ_ONLY_SQL_TRANSACTION => Fault::ReadOnly,
        SqlState::T_R_INTEGRITY_CONSTRAINT_VIOLATION => Fault::Row,
        SqlState::LOCK_NOT_AVAILABLE
        | SqlState::OBJECT_IN_USE
        | SqlState::INVALID_SQL_STATEMENT_NAME
        | SqlState::DUPLICATE_PSTATEMENT
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Fault::Transient,
        SqlState::DATABASE_DROPPED
        | SqlState::STATEMENT_TOO_COMPLEX
        | SqlState::TOO_MANY_COLUMNS
        | SqlState::TOO_MANY_ARGUMENTS => Fault::Schema,
        _ => by_class(state.code()),
    }
}

fn by_class(code: &str) -> Fault {
    // PostgreSQL 17's limit on a whole transaction, which has no name in the driver yet.
    if code == "25P04" {
        return Fault::Transient;
    }
    match code.get(..2) {
        Some("08" | "40" | "53" | "57" | "58") => Fault::Transient,
        Some("28") => Fault::Credentials,
        Some("0A" | "2B" | "34" | "39" | "3D" | "3F" | "42" | "55") => Fault::Schema,
        Some("09" | "20" | "21" | "22" | "23" | "27" | "2F" | "38" | "44" | "54" | "P0") => {
            Fault::Row
        }
        _ => Fault::Fatal,
    }
}

/// Whether one row can cause this error while other rows need not. A cardinality violation is left
/// out: the query gives more rows than it may, which is the mapping's fault.
pub fn row_fault(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        *code != SqlState::CARDINALITY_VIOLATION && classify(code) == Fault::Row
    })
}

/// The same for an error while rows are read. A value that prints to more than a gigabyte is an
/// internal error to the server (XX000: invalid memory alloc request size), and so is a row whose
/// pages are damaged (XX001). Only reading the others apart tells whether it is one row.
pub fn unreadable_row(error: &tokio_postgres::Error) -> bool {
    let internal = [SqlState::INTERNAL_ERROR, SqlState::DATA_CORRUPTED];
    row_fault(error) || error.code().is_some_and(|code| internal.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_table_says() {
        let check = |fault: Fault, codes: &str| {
            for code in codes.split_whitespace() {
                assert_eq!(classify(&SqlState::from_code(code)), fault, "{code}");
            }
        };
        check(
            Fault::Transient,
            "40001 40P01 55P03 55006 57P01 57P02 57P03 57P05 08006 08P01 53000 53200 53300 58030 25P03 25P04 26000 42P05",
        );
        check(Fault::TooSlow, "57014");
        check(Fault::Credentials, "28000 28P01");
        check(Fault::Schema, "42P01 42703 42501 42804 3F000 3D000 0A000 55000 57P04 54011 54001");
        check(
            Fault::Row,
            "22001 22003 22P02 22021 23502 23505 23514 23P01 21000 54000 P0001 P0004 44000 38000 40002",
        );
        check(Fault::ReadOnly, "25006");
        check(Fault::Full, "53100");
        check(Fault::Fatal, "XX000 XX001 25P02 F0000 99999 ZZ");
    }
}
