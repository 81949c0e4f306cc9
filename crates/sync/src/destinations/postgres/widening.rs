//! Which changes of a column's type lose no value, so that the column can be altered in place.

/// Whether every value of the type `from` is a value of the type `to` and stays what it is. Both
/// are as `format_type` prints them.
pub(super) fn widens(from: &str, to: &str) -> bool {
    if let (Some(from), Some(to)) = (from.strip_suffix("[]"), to.strip_suffix("[]")) {
        return widens(from, to);
    }
    let (from, to) = (Type::of(from), Type::of(to));
    match (from.name.as_str(), to.name.as_str()) {
        ("smallint", "integer" | "bigint") | ("integer", "bigint") => true,
        ("real", "double precision") => true,
        ("smallint", "numeric") => to.digits_before_the_point_at_least(5),
        ("integer", "numeric") => to.digits_before_the_point_at_least(10),
        ("bigint", "numeric") => to.digits_before_the_point_at_least(19),
        ("numeric", "numeric") => to.takes_numerics_of(&from),
        ("date", "timestamp without time zone") => true,
        ("character varying" | "text", "text") => true,
        ("text", "character varying") => to.modifiers.is_empty(),
        ("character", "text") => true,
        ("character", "character varying") => to.no_shorter_than(&from),
        (from_name, to_name) if from_name == to_name => match from_name {
            "character varying" | "character" | "bit varying" => to.no_shorter_than(&from),
            "timestamp without time zone"
            | "timestamp with time zone"
            | "time without time zone"
            | "time with time zone"
            | "interval" => to.no_shorter_than(&from),
            _ => false,
        },
        _ => false,
    }
}

/// A type's name without its modifiers, and these.
struct Type {
    name: String,
    modifiers: Vec<i32>,
}

impl Type {
    fn of(printed: &str) -> Self {
        let Some((before, rest)) = printed.split_once('(') else {
            return Self { name: printed.to_owned(), modifiers: Vec::new() };
        };
        let (modifiers, after) = rest.split_once(')').unwrap_or((rest, ""));
        Self {
            name: format!("{before}{after}"),
            modifiers: modifiers.split(',').filter_map(|m| m.trim().parse().ok()).collect(),
        }
    }

    /// By length, or by digits of a second; no modifier is no limit.
    fn no_shorter_than(&self, other: &Self) -> bool {
        match (self.modifiers.first(), other.modifiers.first()) {
            (None, _) => self.name != "character",
            (Some(limit), Some(before)) => limit >= before,
            (Some(_), None) => false,
        }
    }

    fn digits_before_the_point_at_least(&self, digits: i32) -> bool {
        match self.modifiers[..] {
            [precision, scale] => scale >= 0 && precision - scale >= digits,
            _ => true,
        }
    }

    fn takes_numerics_of(&self, other: &Self) -> bool {
        match (&self.modifiers[..], &other.modifiers[..]) {
            (&[precision, scale], &[precision_before, scale_before]) => {
                scale >= scale_before && precision - scale >= precision_before - scale_before
            }
            (limits, _) => limits.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_that_keeps_every_value_is_a_widening() {
        for (from, to) in [
            ("character varying(10)", "character varying(200)"),
            ("character varying(10)", "character varying"),
            ("character varying(10)", "text"),
            ("character varying(10)[]", "text[]"),
            ("character(3)", "character(5)"),
            ("smallint", "integer"),
            ("integer", "bigint"),
            ("integer[]", "bigint[]"),
            ("bigint", "numeric"),
            ("integer", "numeric(12,2)"),
            ("numeric(6,2)", "numeric(8,2)"),
            ("numeric(6,2)", "numeric(8,4)"),
            ("numeric(6,2)", "numeric"),
            ("timestamp(3) without time zone", "timestamp without time zone"),
            ("timestamp(0) with time zone", "timestamp(6) with time zone"),
            ("time(0) without time zone", "time without time zone"),
            ("interval(0)", "interval"),
            ("real", "double precision"),
            ("bit varying(3)", "bit varying"),
        ] {
            assert!(widens(from, to), "{from} -> {to}");
            assert!(!widens(to, from), "{to} -> {from}");
        }
        for (from, to) in [
            ("numeric(6,2)", "numeric(8,5)"),
            ("numeric(6,2)", "numeric(6,3)"),
            ("integer", "numeric(10,2)"),
            ("integer", "text"),
            ("bigint", "double precision"),
            ("timestamp without time zone", "timestamp with time zone"),
            ("character(3)", "character"),
            ("bit(3)", "bit(4)"),
            ("json", "jsonb"),
            ("interval day to second", "interval"),
            ("integer", "bigint[]"),
        ] {
            assert!(!widens(from, to), "{from} -> {to}");
        }
    }
}
