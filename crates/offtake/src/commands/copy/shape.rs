//! `--shape`: how the columns of a type are copied, as an expression in the query. Both sides of the
//! comparison at the end go through it.

use offtake_mapping::Identifier;

use crate::outcome::{Exit, Failure};

/// The shapes that there are: of which type, their names, and their expressions.
const SHAPES: [(&str, &str, &str); 9] = [
    ("timestamptz", "unix_ms", "(extract(epoch from {}) * 1000)::bigint"),
    ("timestamptz", "unix_s", "floor(extract(epoch from {}))::bigint"),
    ("timestamp", "unix_ms", "(extract(epoch from {}) * 1000)::bigint"),
    ("timestamp", "unix_s", "floor(extract(epoch from {}))::bigint"),
    ("date", "unix_s", "extract(epoch from {})::bigint"),
    ("numeric", "float8", "{}::float8"),
    ("interval", "seconds", "extract(epoch from {})::float8"),
    ("array", "json", "pg_catalog.to_jsonb({})"),
    ("uuid", "text", "{}::text"),
];

/// What was asked for.
pub(super) struct Shapes(Vec<(&'static str, &'static str)>);

impl Shapes {
    pub(super) fn parse(texts: &[String]) -> Result<Self, Failure> {
        let mut shapes: Vec<(&'static str, &'static str)> = Vec::new();
        for text in texts {
            let named = text.split_once('=').map(|(of, shape)| (of.trim(), shape.trim()));
            let known = SHAPES.iter().find(|(of, shape, _)| named == Some((*of, *shape)));
            let Some((of, _, expression)) = known else {
                let all: Vec<_> =
                    SHAPES.iter().map(|(of, shape, _)| format!("{of}={shape}")).collect();
                return Err(Failure::new(
                    Exit::Usage,
                    format!("--shape: there is no shape {text}"),
                )
                .remedy(format!("write one of {}", all.join(", "))));
            };
            if shapes.iter().any(|(other, _)| other == of) {
                return Err(Failure::new(Exit::Usage, format!("--shape: {of} has two shapes"))
                    .remedy("give one of them"));
            }
            shapes.push((of, expression));
        }
        Ok(Self(shapes))
    }

    /// The column as the query gives it. A key stays what it is: both sides must order it alike.
    pub(super) fn column(
        &self,
        column: &Identifier,
        (sql_type, is_array): (&str, bool),
        is_key: bool,
    ) -> String {
        let name = column.sql();
        let of = named(sql_type, is_array);
        match self.0.iter().find(|(shaped, _)| Some(*shaped) == of && !is_key) {
            Some((_, expression)) => format!("{} as {name}", expression.replace("{}", &name)),
            None => name,
        }
    }
}

/// What people call a type here.
fn named(sql_type: &str, is_array: bool) -> Option<&'static str> {
    if is_array {
        return Some("array");
    }
    let base = sql_type.split('(').next().unwrap_or_default().trim_end();
    Some(match base {
        "timestamp" | "timestamp with time zone" | "timestamp without time zone" => {
            if sql_type.ends_with(" with time zone") { "timestamptz" } else { "timestamp" }
        }
        "date" => "date",
        "numeric" => "numeric",
        "interval" => "interval",
        "uuid" => "uuid",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_an_expression_of_the_columns_of_its_type() {
        let texts = ["timestamptz=unix_ms", "numeric=float8", "array=json"].map(str::to_owned);
        let shapes = Shapes::parse(&texts).unwrap();
        let column = Identifier::new("a b").unwrap();
        let check = |of: &str, array: bool, key: bool, expect: &str| {
            assert_eq!(shapes.column(&column, (of, array), key), expect);
        };
        let ms = "(extract(epoch from \"a b\") * 1000)::bigint as \"a b\"";
        check("timestamp with time zone", false, false, ms);
        check("timestamp(3) with time zone", false, false, ms);
        check("timestamp with time zone", false, true, "\"a b\"");
        check("timestamp without time zone", false, false, "\"a b\"");
        check("numeric(12,2)", false, false, "\"a b\"::float8 as \"a b\"");
        check("numeric(12,2)[]", true, false, "pg_catalog.to_jsonb(\"a b\") as \"a b\"");
        check("text", false, false, "\"a b\"");
    }

    #[test]
    fn a_shape_that_is_not_there_is_refused_with_those_that_are() {
        let refused = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Shapes::parse(&texts).err().unwrap().report()
        };
        assert!(refused(&["numeric=int"]).contains("numeric=float8"));
        assert!(refused(&["numeric"]).contains("there is no shape numeric"));
        let two = refused(&["timestamptz=unix_ms", "timestamptz=unix_s"]);
        assert!(two.contains("timestamptz has two shapes"), "{two}");
    }
}
