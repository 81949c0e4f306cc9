//! When two values are the same: by the type's own `=`, or by their text.
//!
//! A mapping's query finds rows by value (`q.tenant_id = …`, `q.key = …`). The change log, the
//! cursors and the quarantine name rows by text, as the source prints it under pinned settings.
//! Wherever two values are equal and their texts are not, one of the two would miss rows. So every
//! type has a class here, and the class decides what it may be used for:
//!
//! | class | as a tenant | in a key |
//! |---|---|---|
//! | [`Equality::Text`] | yes | yes |
//! | [`Equality::Coarse`] | refused, with the expression to write instead | yes |
//! | [`Equality::None`] | refused | refused |
//!
//! A key of a coarse type is found by value, like the unique index of the source finds it. Where
//! the destination tells more values apart than the source does (a citext or an enum is text
//! there), it is compared by text as well: see [`crate::KeyColumn::by_text`].
//!
//! docs/equality.md says the same for operators.

/// What the catalog says about the type of a query's column. Domains are resolved already: the
/// protocol names their base type.
#[derive(Debug, Clone, Copy)]
pub struct TypeFacts<'a> {
    /// As `format_type` prints it under `search_path = pg_catalog`, with its modifier.
    pub sql_type: &'a str,
    /// `pg_type.typtype`.
    pub kind: char,
    /// Its elements are of another type: an array.
    pub array: bool,
    /// It is in pg_catalog.
    pub built_in: bool,
    /// False under a nondeterministic collation, whose `=` takes different texts as equal.
    pub deterministic: bool,
    /// It, and every type that it is made of, has a default operator class with `=`.
    pub comparable: bool,
}

/// How `=` of a type relates to the text of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equality {
    /// Two values are equal exactly when they print the same.
    Text,
    /// Equal values may print differently, or nothing is known about the type. `{}` in the
    /// expression stands for a column; it gives equal values one text.
    Coarse(&'static str),
    /// The type has no `=`.
    None,
}

/// Built-in types without a modifier that matters, of which equal values print the same.
/// `character` pads a value to its length and ignores the blanks, and a cast to text cuts them.
const TEXT: [&str; 24] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "oid",
    "uuid",
    "text",
    "character varying",
    "character",
    "bpchar",
    "name",
    "\"char\"",
    "bytea",
    "date",
    "timestamp without time zone",
    "timestamp with time zone",
    "time without time zone",
    "time with time zone",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "money",
    "pg_lsn",
];

/// Types of which equal values may print differently, each with the expression that gives equal
/// values one text.
const COARSE: [(&str, &str); 5] = [
    // 1.0 and 1.00. With a scale, as in numeric(10,2), every value prints with that many digits.
    ("numeric", "trim_scale({})::text"),
    // 0 and -0.
    ("real", "({} + 0)::text"),
    ("double precision", "({} + 0)::text"),
    // 1 mon and 30 days.
    ("interval", "extract(epoch from {})::text"),
    // {"a": 1.0} and {"a": 1.00}.
    ("jsonb", "{}::text"),
];

impl Equality {
    pub fn of(facts: TypeFacts<'_>) -> Self {
        let name = without_modifier(facts.sql_type);
        let scaled = name != facts.sql_type;
        if !facts.comparable {
            return Self::None;
        }
        if !facts.deterministic {
            return Self::Coarse(if facts.array {
                "{}::text collate \"C\""
            } else {
                "lower({}) collate \"C\""
            });
        }
        if facts.kind == 'e' || (facts.built_in && TEXT.contains(&name.as_str())) {
            return Self::Text;
        }
        if name == "numeric" && scaled {
            return Self::Text;
        }
        let coarse = COARSE.iter().find(|(known, _)| facts.built_in && *known == name);
        let citext = !facts.built_in && (name == "citext" || name.ends_with(".citext"));
        match coarse {
            Some((_, expression)) => Self::Coarse(expression),
            None if citext => Self::Coarse("lower({}::text)"),
            // Arrays, ranges and composites of such types, and types of extensions.
            None => Self::Coarse("{}::text"),
        }
    }

    /// The expression over `column` that gives equal values one text, where there is one.
    pub fn normal_form(self, column: &str) -> Option<String> {
        match self {
            Self::Coarse(expression) => Some(expression.replace("{}", column)),
            Self::Text | Self::None => None,
        }
    }
}

/// `numeric(10,2)` is `numeric`; `timestamp(3) with time zone` is `timestamp with time zone`.
pub fn without_modifier(sql_type: &str) -> String {
    // A quoted name may contain parentheses. The modifier comes after it.
    let (quoted, rest) = sql_type.split_at(sql_type.rfind('"').map_or(0, |at| at + 1));
    match rest.split_once('(').and_then(|(name, rest)| Some((name, rest.split_once(')')?.1))) {
        Some((name, behind)) => format!("{quoted}{name}{behind}"),
        None => sql_type.to_owned(),
    }
}

/// Whether a type is outside pg_catalog: `format_type` printed it with its schema, because the
/// search path was `pg_catalog`. No built-in type has a dot in its name.
pub(crate) fn outside_catalog(sql_type: &str) -> bool {
    sql_type.contains('.')
}

/// `expression` as an operand of its type's `=`; it is of `sql_type`, or of a domain over it.
///
/// Postgres finds the `=` of an enum for the enum itself, and not for a domain over it, so the
/// domain is taken off. A built-in type is left as it is: Postgres compares a `varchar` or a `name`
/// with a `text` without a cast, and no index serves a `name` that was cast. A type with a modifier
/// is left as it is too, because its cast is a function, which no index serves.
pub(crate) fn operand(expression: &str, sql_type: &str) -> String {
    match outside_catalog(sql_type) && without_modifier(sql_type) == sql_type {
        true => format!("{expression}::{sql_type}"),
        false => expression.to_owned(),
    }
}

/// SQL that brings a tenant's id into the spelling of a type: two expressions over the text `id`.
/// The first is the spelling. The second is whether the id names a value of the type at all: a cast
/// to `varchar(4)` cuts a longer id, which would then be another tenant's.
pub fn spelling(id: &str, tenant_type: &str) -> (String, String) {
    let name = without_modifier(tenant_type);
    match name.as_str() {
        "text" => (id.to_owned(), "true".to_owned()),
        "character varying" | "name" | "\"char\"" => {
            let spelt = format!("{id}::{tenant_type}::text");
            (spelt.clone(), format!("{spelt} = {id}"))
        }
        "character" | "bpchar" => {
            let spelt = format!("{id}::{tenant_type}::text");
            (spelt.clone(), format!("{spelt} = rtrim({id}, ' ')"))
        }
        _ if name == tenant_type => (format!("{id}::{tenant_type}::text"), "true".to_owned()),
        _ => (format!("{id}::{tenant_type}::text"), format!("{id}::{tenant_type} = {id}::{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in(sql_type: &str) -> TypeFacts<'_> {
        TypeFacts {
            sql_type,
            kind: 'b',
            array: false,
            built_in: true,
            deterministic: true,
            comparable: true,
        }
    }

    #[test]
    fn every_class_of_types_has_its_equality() {
        for exact in ["uuid", "character varying(20)", "character(5)", "numeric(10,2)", "inet"] {
            assert_eq!(Equality::of(built_in(exact)), Equality::Text, "{exact}");
        }
        assert_eq!(Equality::of(built_in("timestamp(3) with time zone")), Equality::Text);
        let own = TypeFacts { built_in: false, ..built_in("public.mood") };
        assert_eq!(Equality::of(TypeFacts { kind: 'e', ..own }), Equality::Text);
        let form = |facts| Equality::of(facts).normal_form("org").expect("coarse");
        assert_eq!(form(built_in("numeric")), "trim_scale(org)::text");
        assert_eq!(form(built_in("double precision")), "(org + 0)::text");
        let citext = TypeFacts { built_in: false, ..built_in("ext.citext") };
        assert_eq!(form(citext), "lower(org::text)");
        assert_eq!(form(TypeFacts { kind: 'c', ..own }), "org::text");
        let any_case = TypeFacts { deterministic: false, ..built_in("text") };
        assert_eq!(form(any_case), "lower(org) collate \"C\"");
        let json = TypeFacts { comparable: false, ..built_in("json") };
        assert_eq!(Equality::of(json), Equality::None);
        // A type of one's own that has the name of a built-in one.
        assert_eq!(form(TypeFacts { built_in: false, ..built_in("\"uuid\"") }), "org::text");
    }

    #[test]
    fn a_modifier_is_told_from_a_parenthesis_in_a_name() {
        let check = |sql_type: &str, expect: &str| assert_eq!(without_modifier(sql_type), expect);
        check("numeric(10,2)", "numeric");
        check("timestamp(3) with time zone", "timestamp with time zone");
        check("\"char\"", "\"char\"");
        check("public.\"plan(s)\"", "public.\"plan(s)\"");
        check("\"my(gis)\".geometry(Point,4326)", "\"my(gis)\".geometry");
    }

    #[test]
    fn only_types_outside_the_catalog_are_cast_before_they_are_compared() {
        let check = |sql_type: &str, expect: &str| assert_eq!(operand("k", sql_type), expect);
        for built_in in ["integer", "\"char\"", "character varying(4)", "numeric(10,2)[]", "name"] {
            check(built_in, "k");
        }
        check("public.mood", "k::public.mood");
        check("public.\"my.type\"", "k::public.\"my.type\"");
        check("public.\"plan(s)\"", "k::public.\"plan(s)\"");
        check("public.\"char\"", "k::public.\"char\"");
        check("ext.geometry(Point,4326)", "k");
    }

    #[test]
    fn a_cast_that_cuts_an_id_does_not_count_as_reading_it() {
        assert_eq!(spelling("id", "uuid"), ("id::uuid::text".to_owned(), "true".to_owned()));
        let (_, same) = spelling("id", "character varying(4)");
        assert_eq!(same, "id::character varying(4)::text = id");
        let (_, same) = spelling("id", "character(4)");
        assert_eq!(same, "id::character(4)::text = rtrim(id, ' ')");
        let (_, same) = spelling("id", "numeric(10,2)");
        assert_eq!(same, "id::numeric(10,2) = id::numeric");
    }
}
