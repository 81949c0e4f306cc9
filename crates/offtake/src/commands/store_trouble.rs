//! What a command tells of a store that does not do what it is asked.

use offtake_jobs::stores::{Error, Trouble};

use crate::outcome::{Exit, Failure};

/// The failure for what could not be done, with the store's own words.
pub(super) fn failure(what: &str, error: &Error) -> Failure {
    let (exit, remedy) = match error.trouble {
        Trouble::Full => (Exit::Failed, "make room there, and run the same command again"),
        Trouble::Denied => (
            Exit::Failed,
            "let this user read and write there, or the store's access key, and run it again",
        ),
        Trouble::NoBucket => {
            (Exit::InvalidConfiguration, "make the bucket, or name another one in `stores`")
        }
        Trouble::Throttled => (Exit::Unreachable, "run it again when the store has less to do"),
        Trouble::Unreachable => {
            (Exit::Unreachable, "run it again when the store answers; `stores` says where it is")
        }
        Trouble::Unavailable => (Exit::Unreachable, "run it again"),
        Trouble::Missing | Trouble::Exists => {
            (Exit::Failed, "look who else writes to the store, and run it again")
        }
    };
    Failure::new(exit, what)
        .because(error.to_string())
        .of_class(error.trouble.as_str(), None)
        .remedy(remedy)
}
