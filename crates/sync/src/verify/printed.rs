//! The text in which two columns of different types are compared.
//!
//! Compared is what the query gives with what is there. Neither is cast to the other's precision: a
//! column that rounded the value would make both round. Where two types print one value in two
//! ways, both sides are printed as a third type that holds all values of both.

use offtake_mapping::Column;

use super::statement::TargetColumn;

/// How a column's values are printed on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Printed {
    /// The types are the same, or both texts are the values.
    AsIs,
    /// The destination has one zero, which has no sign.
    Unsigned { sql_type: String },
    /// As a type that holds all values of both, by way of their texts.
    As(Common),
    /// The destination's type pads the value with blanks.
    Unpadded { also_source: bool },
    /// A number here and an amount of money there, which rounds it and prints a currency.
    Money,
    /// The destination reads the source's text as this type, without its modifiers.
    Read { as_type: String, common: Option<Common> },
}

/// A type that holds all values of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Common {
    Number,
    Timestamp,
    TimestampWithZone,
    Time,
}

impl Common {
    fn sql(self, text: &str) -> String {
        match self {
            Self::Number => format!("trim_scale(({text})::numeric)::text"),
            Self::Timestamp => format!("({text})::timestamp::text"),
            Self::TimestampWithZone => format!("({text})::timestamptz::text"),
            Self::Time => format!("({text})::time::text"),
        }
    }

    pub(super) fn sql_type(self) -> &'static str {
        match self {
            Self::Number => "numeric",
            Self::Timestamp => "timestamp without time zone",
            Self::TimestampWithZone => "timestamp with time zone",
            Self::Time => "time without time zone",
        }
    }

    /// The type with all values of both types, if they are of one kind.
    pub(super) fn of(one: &str, other: &str) -> Option<Self> {
        let kinds = (Self::holding(one)?, Self::holding(other)?);
        match kinds {
            (a, b) if a == b => Some(a),
            (Self::Timestamp, Self::TimestampWithZone)
            | (Self::TimestampWithZone, Self::Timestamp) => Some(Self::TimestampWithZone),
            _ => None,
        }
    }

    fn holding(sql_type: &str) -> Option<Self> {
        match sql_type {
            "smallint" | "integer" | "bigint" | "oid" | "numeric" | "real" | "double precision" => {
                Some(Self::Number)
            }
            "date" | "timestamp without time zone" => Some(Self::Timestamp),
            "timestamp with time zone" => Some(Self::TimestampWithZone),
            "time without time zone" | "time with time zone" => Some(Self::Time),
            _ => None,
        }
    }
}

impl Printed {
    /// How the query's column and the destination's are compared.
    pub(super) fn of(column: &Column, held: &TargetColumn) -> Self {
        if !held.signs_zero {
            return Self::Unsigned { sql_type: held.base_type.clone() };
        }
        if held.sql_type == column.source_type || held.sql_type == column.target_type {
            return Self::AsIs;
        }
        let given = without_modifiers(&column.target_type);
        if let Some(common) = Common::of(&given, &held.base_type) {
            // Times that differ in their digits only print the same where they are the same.
            return match common {
                Common::Number => Self::As(common),
                _ if given == held.base_type => Self::AsIs,
                _ => Self::As(common),
            };
        }
        if held.base_type == "character" {
            return Self::Unpadded { also_source: given == "character" };
        }
        if held.base_type == "money" && Common::holding(&given) == Some(Common::Number) {
            return Self::Money;
        }
        // A "char" keeps the first byte of a text.
        if held.takes_text || given == held.base_type || held.base_type == "\"char\"" {
            return Self::AsIs;
        }
        let common = Common::holding(&held.base_type);
        let as_type = common.map_or_else(|| held.base_type.clone(), |c| c.sql_type().to_owned());
        Self::Read { as_type, common }
    }

    /// The source's column as an expression. A text that the destination's type does not read, or
    /// that it rounds, stays as it is: no value there equals it. `checks`: the server can tell
    /// whether a text is a value of a type; otherwise its form decides, where the type has one.
    pub(super) fn source(&self, column: &str, checks: bool) -> String {
        match self {
            Self::AsIs | Self::Unpadded { also_source: false } => column.to_owned(),
            // Of the same type: a sum of another one prints more digits.
            Self::Unsigned { sql_type } => format!("({column} + '0'::{sql_type})"),
            Self::As(common) => common.sql(&format!("{column}::text")),
            Self::Money => Common::Number.sql(&format!("{column}::text")),
            // The cast to text takes the padding away.
            Self::Unpadded { also_source: true } => format!("{column}::text"),
            Self::Read { as_type, common } => {
                let text = format!("{column}::text");
                let read = match common {
                    Some(common) => common.sql(&text),
                    None => format!("{text}::{as_type}::text"),
                };
                let valid = match (checks, form_of(as_type)) {
                    (true, _) => format!("pg_input_is_valid({text}, '{as_type}')"),
                    (false, Some(form)) => format!("{text} ~* '{form}'"),
                    (false, None) => "true".to_owned(),
                };
                let finer = match common {
                    Some(Common::Number) | None => String::new(),
                    Some(_) => format!(" and {text} !~ '{FINER_THAN_MICROSECONDS}'"),
                };
                format!("case when {valid}{finer} then {read} else {text} end")
            }
        }
    }

    /// The destination's column as an expression.
    pub(super) fn destination(&self, column: &str) -> String {
        match self {
            Self::AsIs | Self::Unsigned { .. } => column.to_owned(),
            Self::As(common) | Self::Read { common: Some(common), .. } => {
                common.sql(&format!("{column}::text"))
            }
            Self::Money => Common::Number.sql(column),
            Self::Unpadded { .. } | Self::Read { common: None, .. } => format!("{column}::text"),
        }
    }
}

/// A time with digits that the server's types would round away.
const FINER_THAN_MICROSECONDS: &str = r"[.,]\d{6}\d*[1-9]";

/// The form of the texts that a type reads, for servers before PostgreSQL 16, which cannot tell.
/// None: the type has no simple form, and a text that it does not read makes the statement fail.
fn form_of(sql_type: &str) -> Option<&'static str> {
    match sql_type {
        "numeric" => Some(r"^\s*([-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|nan|[-+]?inf(inity)?)\s*$"),
        "boolean" => Some(r"^\s*(t(r(ue?)?)?|f(a(l(se?)?)?)?|y(es?)?|no?|on|off?|1|0)\s*$"),
        "uuid" => Some(r"^\{?([0-9a-f]{4}-?){7}[0-9a-f]{4}\}?$"),
        _ => None,
    }
}

/// `numeric(6,2)` is `numeric`, `timestamp(3) without time zone` is `timestamp without time zone`.
pub(super) fn without_modifiers(sql_type: &str) -> String {
    match (sql_type.split_once('('), sql_type.split_once(')')) {
        (Some((before, _)), Some((_, after))) => format!("{before}{after}"),
        _ => sql_type.to_owned(),
    }
}
