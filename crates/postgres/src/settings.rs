//! Session settings that decide how values look as text.
//!
//! Rows travel as opaque text, so a value is only the same value on both sides if both sessions
//! print and read it under the same settings, whatever the role or the database has as its
//! defaults.

/// The text settings once, with the scope each user of them needs.
macro_rules! text_format {
    ($set:literal) => {
        concat!(
            $set,
            " datestyle = 'ISO, MDY'; ",
            $set,
            " intervalstyle = 'postgres'; ",
            $set,
            " timezone = 'UTC'; ",
            $set,
            " extra_float_digits = 1; ",
            $set,
            " bytea_output = 'hex'; ",
            // `money` prints in the locale of the session.
            $set,
            " lc_monetary = 'C'; ",
            // How arrays, XML and string literals are read back.
            $set,
            " array_nulls = on; ",
            $set,
            // Types are compared by the names that the server prints for them.
            " quote_all_identifiers = off; ",
            $set,
            " xmloption = 'content'; ",
            $set,
            " standard_conforming_strings = on;"
        )
    };
}

/// Makes text mean the same on both sides, for one transaction: the first statement of every
/// transaction that reads or writes rows. `SET LOCAL`, because behind pgbouncer, or after a
/// tenant's trigger called `set_config`, a session's settings are not ours.
pub const TEXT_FORMAT: &str = text_format!("set local");

/// The same for a whole session of the [`SourcePool`](crate::SourcePool), where the sessions are
/// ours.
pub(crate) const TEXT_FORMAT_SESSION: &str = text_format!("set");

/// What else a source session gets once. `row_security = off` turns silently missing rows into an
/// error. The idle limit is a minute: our transactions are milliseconds, and a stopped process must
/// not hold the sequencer's lock for longer than an operator's patience. `jit = off`: our
/// statements touch few rows by key, and a poor estimate would have them compiled for half a second
/// first. The isolation is the one that the loops are written for: each statement after a lock sees
/// what its last holder committed.
pub(crate) const SOURCE_SESSION: &str = "set row_security = off; set jit = off; set idle_in_transaction_session_timeout = '60s'; \
     set default_transaction_isolation = 'read committed'; set default_transaction_read_only = off;";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_form_differs_from_the_local_one_by_its_scope_only() {
        assert_eq!(TEXT_FORMAT.replace("set local ", "set "), TEXT_FORMAT_SESSION);
    }
}
