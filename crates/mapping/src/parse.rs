//! From the text of one mapping file to a [`Mapping`], or a message that says what, where, why and what to do.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Condition, Dependency, Identifier, Mapping, OnRowError, Source, TableName, Target, Tenant, TenantLookup};

/// A mapping file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}\n  remedy: {remedy}", file.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct Error {
    pub file: PathBuf,
    /// 1-based, where it is known.
    pub line: Option<usize>,
    pub message: String,
    pub remedy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    source: RawSource,
    #[serde(default)]
    depends_on: Vec<RawDependency>,
    query: String,
    target: RawTarget,
    #[serde(default)]
    on_row_error: RawOnRowError,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    table: String,
    tenant: RawTenant,
    key: Option<serde_yaml::Mapping>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTenant {
    Text(String),
    Lookup(RawLookup),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLookup {
    table: String,
    column: String,
    r#match: serde_yaml::Mapping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDependency {
    table: String,
    r#match: Option<serde_yaml::Mapping>,
    r#where: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    table: String,
    schema_sql: Option<String>,
    #[serde(default)]
    keep_tenant: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum RawOnRowError {
    #[default]
    Quarantine,
    Halt,
}

/// Parses one mapping file. `file` is only used for messages and for the default name, its stem.
pub fn parse(file: &Path, text: &str) -> Result<Mapping, Error> {
    Parser { file, text }.mapping()
}

struct Parser<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Parser<'_> {
    fn mapping(&self) -> Result<Mapping, Error> {
        let raw: File = serde_yaml::from_str(self.text).map_err(|e| Error {
            file: self.file.to_owned(),
            line: e.location().map(|l| l.line()),
            message: e.to_string(),
            remedy: "compare the file with docs/mappings.md; every key is listed there".to_owned(),
        })?;
        let name = match raw.name {
            Some(name) => name,
            None => self.file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return Err(self.error("name", format!("`{name}` cannot be a mapping's name"), "use letters, digits, `_` and `-`"));
        }
        let query = raw.query.trim_end().trim_end_matches(';').trim_end().to_owned();
        if query.trim().is_empty() {
            return Err(self.error("query", "the query is empty".to_owned(), "write the SELECT whose rows the destination gets"));
        }
        Ok(Mapping {
            name,
            file: self.file.to_owned(),
            source: self.source(raw.source)?,
            depends_on: raw.depends_on.into_iter().map(|d| self.dependency(d)).collect::<Result<_, _>>()?,
            query,
            query_line: self.line_of("query").map_or(1, |line| line + usize::from(self.is_block("query"))),
            target: Target {
                table: self.identifier("table", &raw.target.table)?,
                schema_sql: raw.target.schema_sql,
                keep_tenant: raw.target.keep_tenant,
            },
            on_row_error: match raw.on_row_error {
                RawOnRowError::Quarantine => OnRowError::Quarantine,
                RawOnRowError::Halt => OnRowError::Halt,
            },
        })
    }

    fn source(&self, raw: RawSource) -> Result<Source, Error> {
        let tenant = match raw.tenant {
            RawTenant::Text(text) if plain_name(&text) => Tenant::Column(self.identifier("tenant", &text)?),
            RawTenant::Text(text) if text.trim().is_empty() => {
                return Err(self.error("tenant", "the tenant is empty".to_owned(), "name the column that holds the tenant's id"));
            }
            RawTenant::Text(text) => Tenant::Expression(text.trim().to_owned()),
            RawTenant::Lookup(lookup) => Tenant::Lookup(TenantLookup {
                table: self.table(&lookup.table)?,
                column: self.identifier("column", &lookup.column)?,
                matches: self.pairs("match", &lookup.r#match)?,
            }),
        };
        let key = raw.key.map(|key| self.pairs("key", &key)).transpose()?;
        Ok(Source { table: self.table(&raw.table)?, tenant, key })
    }

    fn dependency(&self, raw: RawDependency) -> Result<Dependency, Error> {
        let condition = match (raw.r#match, raw.r#where) {
            (Some(pairs), None) => Condition::Match(self.pairs("match", &pairs)?),
            (None, Some(sql)) => Condition::Where(sql.trim().to_owned()),
            _ => {
                return Err(self.error(
                    "depends_on",
                    format!("the dependency on {} needs either `match` or `where`", raw.table),
                    "use `match: { source column: column of the changed row }`, or `where:` with source.… and changed.…",
                ));
            }
        };
        if condition.changed_columns().is_empty() {
            return Err(self.error(
                "where",
                format!("the dependency on {} names no column of the changed row", raw.table),
                "write at least one changed.<column>, or every change would refresh the whole table",
            ));
        }
        Ok(Dependency { table: self.table(&raw.table)?, condition })
    }

    fn table(&self, text: &str) -> Result<TableName, Error> {
        TableName::from_sql(text).map_err(|e| self.error("table", e.to_string(), "write it as schema.table"))
    }

    fn identifier(&self, field: &str, text: &str) -> Result<Identifier, Error> {
        Identifier::from_sql(text).map_err(|e| self.error(field, e.to_string(), "give the name as you would write it in SQL"))
    }

    fn pairs(&self, field: &str, raw: &serde_yaml::Mapping) -> Result<Vec<(Identifier, Identifier)>, Error> {
        if raw.is_empty() {
            return Err(self.error(field, format!("`{field}` is empty"), "name at least one pair of columns"));
        }
        raw.iter()
            .map(|(left, right)| match (left.as_str(), right.as_str()) {
                (Some(left), Some(right)) => Ok((self.identifier(field, left)?, self.identifier(field, right)?)),
                _ => Err(self.error(field, format!("`{field}` pairs column names"), "write it as { column: column }")),
            })
            .collect()
    }

    fn error(&self, field: &str, message: String, remedy: &str) -> Error {
        Error { file: self.file.to_owned(), line: self.line_of(field), message, remedy: remedy.to_owned() }
    }

    /// The first line that begins with `field:`, 1-based.
    fn line_of(&self, field: &str) -> Option<usize> {
        let starts = |line: &str| {
            let line = line.trim_start().trim_start_matches("- ");
            line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':'))
        };
        self.text.lines().position(starts).map(|at| at + 1)
    }

    fn is_block(&self, field: &str) -> bool {
        let line = self.line_of(field).and_then(|at| self.text.lines().nth(at - 1));
        line.is_some_and(|line| line.trim_end().ends_with(['|', '>', '-', '+']))
    }
}

fn plain_name(text: &str) -> bool {
    let text = text.trim();
    if text.len() > 2 && text.starts_with('"') && text.ends_with('"') {
        return !text[1..text.len() - 1].contains('"');
    }
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITATIONS: &str = r"
source:
  table: public.invitation
  tenant: { table: public.tenancy, column: id, match: { project_id: project_id, branch_id: branch_id } }
  key: { id: invitation_id }
depends_on:
  - table: public.team
    where: source.data->>'team_id' = changed.team_id::text
query: |
  select 1 as tenant_id, 2 as id;
target:
  table: invitations
";

    #[test]
    fn a_file_becomes_a_mapping() {
        let mapping = parse(Path::new("mappings/invitations.yaml"), INVITATIONS).unwrap();
        assert_eq!(mapping.name, "invitations");
        assert_eq!(mapping.query, "select 1 as tenant_id, 2 as id");
        assert_eq!(mapping.query_line, 10);
        assert!(matches!(mapping.source.tenant, Tenant::Lookup(_)));
    }

    #[test]
    fn mistakes_name_file_line_and_remedy() {
        let check = |from: &str, to: &str, expect: &str| {
            let error = parse(Path::new("m.yaml"), &INVITATIONS.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            assert!(error.starts_with("m.yaml"), "{error}");
        };
        check("target:", "targets:", "targets");
        check("query: |", "query: ''\nx: |", "unknown field `x`");
        check("changed.team_id", "team_id", "names no column of the changed row");
        check("table: public.team\n", "table: a.b.c\n", "schema.table");
    }
}
