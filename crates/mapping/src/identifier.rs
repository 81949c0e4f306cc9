//! The one place where names and values become SQL text.

use std::fmt;

/// A name as the catalog stores it (no quotes, case kept). [`Identifier::sql`] is the only way it
/// reaches a statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier(String);

/// Why a text cannot be a Postgres name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be a name: {why}")]
pub struct InvalidName {
    name: String,
    why: &'static str,
}

/// Postgres cuts longer names silently (NAMEDATALEN - 1), and a cut name is another name.
const NAME_BYTES_MAX: usize = 63;

impl Identifier {
    /// A name exactly as the catalog stores it. Refuses empty names, NUL, and more than 63 bytes.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        let why = if name.is_empty() {
            "it is empty"
        } else if name.contains('\0') {
            "it contains a NUL byte"
        } else if name.len() > NAME_BYTES_MAX {
            "Postgres cuts names after 63 bytes"
        } else {
            return Ok(Self(name));
        };
        Err(InvalidName { name, why })
    }

    /// A name as people write it in SQL: folded to lower case unless it is in double quotes.
    pub fn from_sql(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => Self::new(quoted.replace("\"\"", "\"")),
            None => Self::new(text.to_ascii_lowercase()),
        }
    }

    /// The bare name, for comparing with catalogs and for messages.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as people write it in SQL: in double quotes only where it needs them.
    pub fn in_sql(&self) -> String {
        if self.folds_to_itself() { self.0.clone() } else { self.sql() }
    }

    /// The same as the value of a YAML key, where double quotes alone would be YAML's own.
    pub fn in_yaml(&self) -> String {
        yaml_value(self.in_sql())
    }

    /// Whether the name means itself when it stands in SQL without quotes. Keywords do not count:
    /// in a mapping file, and behind a dot, they need none.
    fn folds_to_itself(&self) -> bool {
        let mut chars = self.0.chars();
        chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    }

    /// The name in double quotes, safe in any statement.
    pub fn sql(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A schema-qualified table. Shown as `schema.table`, which is also how `source_table` columns hold
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub schema: Identifier,
    pub name: Identifier,
}

impl TableName {
    /// `table`, `schema.table`, either part optionally in double quotes; without a schema it is
    /// `public`.
    pub fn from_sql(text: &str) -> Result<Self, InvalidName> {
        let mut parts = split_outside_quotes(text);
        let name = Identifier::from_sql(&parts.pop().unwrap_or_default())?;
        let schema = match parts.pop() {
            Some(schema) => Identifier::from_sql(&schema)?,
            None => Identifier("public".to_owned()),
        };
        if parts.is_empty() {
            Ok(Self { schema, name })
        } else {
            Err(InvalidName { name: text.to_owned(), why: "a table is written as schema.table" })
        }
    }

    /// The name as people write it in SQL: in double quotes only where it needs them.
    pub fn in_sql(&self) -> String {
        format!("{}.{}", self.schema.in_sql(), self.name.in_sql())
    }

    /// The same as the value of a YAML key, where double quotes alone would be YAML's own.
    pub fn in_yaml(&self) -> String {
        yaml_value(self.in_sql())
    }

    /// `"schema"."table"`.
    pub fn sql(&self) -> String {
        format!("{}.{}", self.schema.sql(), self.name.sql())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A text with double quotes in it stands in single quotes in a YAML file.
fn yaml_value(text: String) -> String {
    if text.contains('"') { format!("'{}'", text.replace('\'', "''")) } else { text }
}

pub(crate) fn split_outside_quotes(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        if c == '.' && !quoted {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// A value as a SQL string literal, for the statements that take no parameters (`COPY (query) TO`,
/// DDL). Correct with either setting of `standard_conforming_strings`.
pub fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_like_postgres_and_quote_for_any_statement() {
        let check = |input: &str, expect: &str| {
            assert_eq!(TableName::from_sql(input).map(|t| t.sql()).unwrap(), expect)
        };
        check("users", r#""public"."users""#);
        check("App.Users", r#""app"."users""#);
        check(r#""App"."we.ird ""t""""#, r#""App"."we.ird ""t""""#);
        assert!(TableName::from_sql("a.b.c").is_err());
        assert!(Identifier::new("x".repeat(64)).is_err());
        assert!(Identifier::new("a\0b").is_err());
    }

    #[test]
    fn names_are_quoted_for_people_only_where_they_need_it() {
        let check = |input: &str, sql: &str, yaml: &str| {
            let name = TableName::from_sql(input).unwrap();
            assert_eq!((name.in_sql().as_str(), name.in_yaml().as_str()), (sql, yaml));
        };
        check("Users", "public.users", "public.users");
        check(r#""User""#, r#"public."User""#, r#"'public."User"'"#);
        check(r#"app."it's""#, r#"app."it's""#, r#"'app."it''s"'"#);
        check(r#""1st""#, r#"public."1st""#, r#"'public."1st"'"#);
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r" E'a\\''b'");
    }
}
