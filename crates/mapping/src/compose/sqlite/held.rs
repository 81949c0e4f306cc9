//! How the values of a column are held in SQLite.
//!
//! Columns are declared only `INTEGER`, `REAL`, `TEXT` or `BLOB`. Other names have an affinity that
//! changes values: a column declared `JSON`, `DECIMAL` or `TIMESTAMP` is NUMERIC, and turns the
//! text `0012` into 12 and `1.10` into 1.1.

use crate::{Column, KeyOrder, ResolvedMapping};

/// How SQLite holds a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Integer,
    /// 1 and 0.
    Boolean,
    /// A double. NaN and the infinities are text in the same column: bound as doubles they become
    /// NULL, or cannot be said in JSON.
    Real,
    /// The text that COPY prints.
    Text,
    /// The same for a time with a zone, whose `+00` becomes `+00:00`: SQLite's date functions
    /// return NULL for the short form.
    Moment,
    Bytes,
}

impl Held {
    /// Of a column of the mapping's table. A key that both sides order by its text is held as that
    /// text, exactly as it is printed.
    pub fn of(mapping: &ResolvedMapping, column: &Column) -> Self {
        let key = mapping.key.iter().find(|k| k.query_column == column.name);
        if key.is_some_and(|k| k.order == KeyOrder::Text) {
            return Self::Text;
        }
        Self::of_type(&column.target_type)
    }

    fn of_type(sql_type: &str) -> Self {
        match sql_type {
            "smallint" | "integer" | "bigint" | "oid" => Self::Integer,
            "boolean" => Self::Boolean,
            "real" | "double precision" => Self::Real,
            "bytea" => Self::Bytes,
            _ if sql_type.starts_with("timestamp") && sql_type.ends_with(" with time zone") => {
                Self::Moment
            }
            _ => Self::Text,
        }
    }

    /// The type that a table made from the query declares.
    pub fn declared(self) -> &'static str {
        match self {
            Self::Integer | Self::Boolean => "INTEGER",
            Self::Real => "REAL",
            Self::Text | Self::Moment => "TEXT",
            Self::Bytes => "BLOB",
        }
    }

    /// Whether a column of this affinity holds the values as they are.
    pub fn fits(self, affinity: Affinity) -> bool {
        match self {
            Self::Bytes => true,
            Self::Text | Self::Moment => matches!(affinity, Affinity::Text | Affinity::Blob),
            Self::Real => affinity != Affinity::Text,
            Self::Integer | Self::Boolean => {
                matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Blob)
            }
        }
    }
}

/// What SQLite does to a value that is stored in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    Integer,
    Text,
    /// None: a value stays as it is.
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    /// Of a declared type, by SQLite's rules in their order.
    pub fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |names: &[&str]| names.iter().any(|name| declared.contains(name));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if declared.is_empty() || has(&["BLOB"]) {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_held_as_the_table_says() {
        let check = |held: Held, types: &[&str]| {
            for sql_type in types {
                assert_eq!(Held::of_type(sql_type), held, "{sql_type}");
            }
        };
        check(Held::Integer, &["smallint", "integer", "bigint", "oid"]);
        check(Held::Boolean, &["boolean"]);
        check(Held::Real, &["real", "double precision"]);
        check(Held::Bytes, &["bytea"]);
        check(Held::Moment, &["timestamp with time zone", "timestamp(3) with time zone"]);
        check(
            Held::Text,
            &[
                "numeric",
                "numeric(10,2)",
                "money",
                "text",
                "character(3)",
                "json",
                "jsonb",
                "timestamp without time zone",
                "date",
                "time with time zone",
                "time(3) with time zone",
                "interval",
                "uuid",
                "inet",
                "integer[]",
                "timestamp with time zone[]",
                "bytea[]",
                "int4range",
                "xml",
                "bit varying(8)",
            ],
        );
    }

    #[test]
    fn affinities_are_those_of_sqlite() {
        let check = |affinity: Affinity, types: &[&str]| {
            for declared in types {
                assert_eq!(Affinity::of(declared), affinity, "{declared}");
            }
        };
        check(Affinity::Integer, &["INTEGER", "int8", "bigint", "FLOATING POINT"]);
        check(Affinity::Text, &["TEXT", "varchar(9)", "CLOB"]);
        check(Affinity::Blob, &["", "BLOB"]);
        check(Affinity::Real, &["REAL", "double precision", "FLOAT"]);
        check(
            Affinity::Numeric,
            &["STRING", "JSON", "UUID", "BOOLEAN", "DATETIME", "TIMESTAMP", "DECIMAL(9,2)", "ANY"],
        );
    }

    #[test]
    fn a_column_that_changes_values_does_not_fit() {
        assert!(!Held::Text.fits(Affinity::of("JSON")));
        assert!(!Held::Moment.fits(Affinity::of("TIMESTAMP")));
        assert!(!Held::Real.fits(Affinity::of("TEXT")));
        assert!(!Held::Integer.fits(Affinity::of("REAL")));
        for held in [Held::Integer, Held::Boolean, Held::Real, Held::Text, Held::Bytes] {
            assert!(held.fits(Affinity::of(held.declared())), "{held:?}");
        }
    }
}
