//! The statements in SQLite's SQL, for destinations that are SQLite databases, and what a column
//! there holds.

mod apply;
mod held;

pub use apply::Apply;
pub use held::{Affinity, Held};

/// A text as a literal of SQLite's SQL, where a backslash is an ordinary character.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
