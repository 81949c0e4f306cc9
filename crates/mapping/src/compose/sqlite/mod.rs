//! The statements in SQLite's SQL, for destinations that are SQLite databases, and what a column
//! there holds.

mod apply;
mod held;
mod staged;

pub use apply::Apply;
pub use held::{Affinity, Held};
pub use staged::{From, Staged};

/// A text as a literal of SQLite's SQL, where a backslash is an ordinary character.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
