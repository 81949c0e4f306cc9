//! The kinds of destination, as far as they decide what a mapping's rows look like there.

use crate::compose::sqlite::Held;
use crate::{Column, KeyOrder, ResolvedMapping};

/// The kind of a destination's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Postgres,
    /// A file.
    Sqlite,
    /// A database at Cloudflare, whose SQL is SQLite's.
    D1,
}

impl Kind {
    /// In the registry, in the API and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
            Self::D1 => "d1",
        }
    }

    /// The type that a table made from the query gets for one of the mapping's columns.
    pub fn declared<'c>(self, mapping: &ResolvedMapping, column: &'c Column) -> &'c str {
        match self {
            Self::Postgres => &column.target_type,
            Self::Sqlite | Self::D1 => Held::of(mapping, column).declared(),
        }
    }
}

/// Types whose values SQLite orders as Postgres does, in the columns that hold them there: integers
/// as integers, `false` before `true` as 0 before 1, bytes as bytes, and a uuid as its text.
const ORDERED_ALIKE: [&str; 7] =
    ["smallint", "integer", "bigint", "oid", "boolean", "bytea", "uuid"];

impl ResolvedMapping {
    /// The form of the mapping for destinations of this kind. In SQLite a key of any other type
    /// than a few is kept, ordered and compared as its text, so both sides must order it so. A
    /// `schema_sql` is Postgres's SQL: a table there is made from the query.
    #[must_use]
    pub fn for_kind(&self, kind: Kind) -> Self {
        let mut mapping = self.clone();
        if kind != Kind::Postgres {
            mapping.definition.target.schema_sql = None;
            for key in &mut mapping.key {
                if !ORDERED_ALIKE.contains(&key.sql_type.as_str()) {
                    key.order = KeyOrder::Text;
                    // Keys that are equal at the source and print differently are two keys there.
                    key.by_text |= key.coarse;
                }
            }
        }
        mapping
    }
}
