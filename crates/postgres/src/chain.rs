//! An error with its causes, as one line of text.

use std::error::Error as StdError;

use crate::Error;
use crate::error::describe;

/// `what failed: why: why that`. A cause that the line already quotes is left out.
///
/// Where a Postgres server reported the error, the line ends with its code and primary message, as
/// in [`Error::message`]: its DETAIL, HINT and CONTEXT quote rows.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    with_causes(String::new(), Some(error))
}

/// Appends an error and its causes to a line.
pub(crate) fn with_causes(mut line: String, mut next: Option<&(dyn StdError + 'static)>) -> String {
    while let Some(error) = next {
        next = None;
        let text = if let Some(error) = error.downcast_ref::<Error>() {
            error.message()
        } else if let Some(server) = error
            .downcast_ref::<tokio_postgres::Error>()
            .and_then(tokio_postgres::Error::as_db_error)
        {
            describe(server)
        } else {
            next = error.source();
            error.to_string()
        };
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Step {
        what: &'static str,
        source: Option<Box<dyn StdError + Send + Sync>>,
    }

    fn step(what: &'static str, source: impl StdError + Send + Sync + 'static) -> Step {
        Step { what, source: Some(Box::new(source)) }
    }

    #[test]
    fn causes_follow_their_error_once_each() {
        let check = |error: Step, expect: &str| assert_eq!(chain(&error), expect);
        let last = || Step { what: "the disk\nis gone", source: None };
        check(
            step("cannot copy", step("cannot read", last())),
            "cannot copy: cannot read: the disk is gone",
        );
        check(step("cannot read: the disk\nis gone", last()), "cannot read: the disk is gone");
        let refused = Error::Dial(offtake_egress::Error::Unreachable {
            host: "db".into(),
            port: 5432,
            source: io::ErrorKind::ConnectionRefused.into(),
        });
        check(
            step("the source failed", refused),
            "the source failed: cannot connect to db:5432: connection refused",
        );
    }
}
