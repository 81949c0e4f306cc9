//! From the text of one mapping file to a [`Mapping`], or to everything that is wrong with it.
//!
//! A function that reads a part returns None when it could not; the mistake was then noted. The
//! parts beside it are read all the same, so that every mistake of the file is told at once.

mod fields;
mod tenant;
mod tenant_expression;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_yaml::Value;

use self::fields::{
    identifier, misspelt, pairs, refuse_unknown_keys, section, table, tables, text,
};
use crate::identifier::split_outside_quotes;
use crate::yaml::{Diagnostic, Document, Section, Step, excerpt};
use crate::{
    Condition, Dependency, Identifier, Mapping, OnRowError, Source, TableName, Target, Tenant,
    query_text, scan,
};

/// Everything that is wrong with one mapping file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.diagnostics.iter().map(Diagnostic::to_string).collect();
        f.write_str(&shown.join("\n"))
    }
}

impl std::error::Error for Error {}

const FILE_KEYS: &[&str] =
    &["name", "source", "depends_on", "unchanging", "query", "target", "on_row_error"];
const SOURCE_KEYS: &[&str] = &["table", "tenant", "key"];
const LOOKUP_KEYS: &[&str] = &["table", "column", "match"];
const DEPENDENCY_KEYS: &[&str] = &["table", "match", "where"];
const TARGET_KEYS: &[&str] = &["table", "schema_sql", "keep_tenant"];

/// All keys of a mapping file, by section.
const KEYS: [&[&str]; 5] = [FILE_KEYS, SOURCE_KEYS, LOOKUP_KEYS, DEPENDENCY_KEYS, TARGET_KEYS];

/// Parses one mapping file. `file` is only used for messages and for the default name, which is its
/// stem.
pub fn parse(file: &Path, text: &str) -> Result<Mapping, Error> {
    let document = Document::read(file, text, excerpt);
    let mapping = mapping(&document);
    match (mapping, document.into_mistakes()) {
        (Some(mapping), mistakes) if mistakes.is_empty() => Ok(mapping),
        (_, diagnostics) => Err(Error { diagnostics }),
    }
}

fn mapping(document: &Document) -> Option<Mapping> {
    let Value::Mapping(entries) = document.value()? else {
        let remedy = format!(
            "a mapping file is a list of `key: value` lines; the keys are {}",
            FILE_KEYS.join(", ")
        );
        document.note_file("the file has no keys", remedy);
        return None;
    };
    let root = Section::new(document, Vec::new(), Some(entries));
    refuse_unknown_keys(&root, FILE_KEYS);
    let name = name(&root);
    let source = section(&root, "source", source);
    let depends_on = dependencies(&root);
    let unchanging = tables(&root, "unchanging");
    let query = query(&root);
    let target = section(&root, "target", target);
    let on_row_error = on_row_error(&root);
    let written = query.as_deref().unwrap_or_default();
    let query_begin = document.positions().within(&root.path_to(&["query"]), written, 0);
    let mapping = Mapping {
        name: name?,
        file: document.file().to_owned(),
        text: Arc::from(document.text()),
        source: source?,
        depends_on: depends_on?,
        unchanging: unchanging?,
        query: query?,
        query_line: query_begin.map_or(1, |position| position.line),
        target: target?,
        on_row_error: on_row_error?,
    };
    refuse_captured(&root, &mapping);
    Some(mapping)
}

/// Notes every table under `unchanging` whose changes are captured all the same.
fn refuse_captured(root: &Section, mapping: &Mapping) {
    for (index, table) in mapping.unchanging.iter().enumerate() {
        if mapping.tables().any(|captured| captured == table) {
            let message = format!("{table} stands elsewhere in this file as a table that changes");
            let remedy = "take it out here: its changes refresh rows of this mapping";
            let path = [Step::Key("unchanging".to_owned()), Step::Index(index)];
            root.document().note(&path, message, remedy);
        }
    }
}

fn name(root: &Section) -> Option<String> {
    let name = match root.get("name") {
        None => root.document().file().file_stem().unwrap_or_default().to_string_lossy().into(),
        Some(_) => text(root, "name")?,
    };
    let plain =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !plain {
        let message = format!("`{name}` cannot be a mapping's name");
        root.note(&["name"], message, "set `name`, of letters, digits, `_` and `-`");
    }
    plain.then_some(name)
}

fn source(source: &Section) -> Option<Source> {
    refuse_unknown_keys(source, SOURCE_KEYS);
    let table = table(source, "table");
    let tenant = tenant::read(source, table.as_ref());
    let key = match source.get("key") {
        None => Some(None),
        Some(_) => pairs(source, "key", "query column: column of source.table").map(Some),
    };
    Some(Source { table: table?, tenant: tenant?, key: key? })
}

/// A table and the rule that says which tenant a row of it belongs to: the keys `table` and `tenant`
/// of a section of another file, written as in a mapping. None: a mistake was noted.
pub fn table_of_tenants(section: &Section) -> Option<(TableName, Tenant)> {
    let table = table(section, "table");
    let tenant = tenant::read(section, table.as_ref());
    if tenant == Some(Tenant::Everyone) {
        let message = "rows that every tenant has are no tenant's own";
        section.note(&["tenant"], message, "name the column that holds the tenant");
        return None;
    }
    Some((table?, tenant?))
}

fn dependencies(root: &Section) -> Option<Vec<Dependency>> {
    let items = match root.get("depends_on") {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(Value::Sequence(items)) => items,
        Some(_) => {
            root.note(&["depends_on"], "this is a list", "begin each entry with `- table:`");
            return None;
        }
    };
    let mut dependencies = Some(Vec::new());
    for (index, item) in items.iter().enumerate() {
        let path = Dependency::path(index, &[]);
        match (dependency(root.document(), path, item), &mut dependencies) {
            (Some(dependency), Some(all)) => all.push(dependency),
            _ => dependencies = None,
        }
    }
    dependencies
}

fn dependency(document: &Document, path: Vec<Step>, item: &Value) -> Option<Dependency> {
    let Value::Mapping(entries) = item else {
        let remedy = "write `- table: …` and, below it, `match` or `where`";
        document.note(&path, "an entry of `depends_on` has keys", remedy);
        return None;
    };
    let entry = Section::new(document, path, Some(entries));
    refuse_unknown_keys(&entry, DEPENDENCY_KEYS);
    let table = table(&entry, "table");
    let condition = condition(&entry);
    Some(Dependency { table: table?, condition: condition? })
}

fn condition(entry: &Section) -> Option<Condition> {
    let (at, message) = match (entry.get("match"), entry.get("where")) {
        (Some(_), None) => {
            let meaning = "column of source.table: column of the changed row";
            return pairs(entry, "match", meaning).map(Condition::Match);
        }
        (None, Some(_)) => return where_condition(entry),
        (None, None) if misspelt(entry, &["match", "where"]) => return None,
        (None, None) => ("table", "`match` or `where` is missing"),
        (Some(_), Some(_)) => ("where", "`match` and `where` stand together"),
    };
    let remedy = "use `match: { column of source.table: column of the changed row }`, or `where:` with source.… and changed.…";
    entry.note(&[at], message, remedy);
    None
}

fn where_condition(entry: &Section) -> Option<Condition> {
    let remedy = "write it over source.… and changed.…";
    let text = fields::sql(entry, "where", "condition", remedy)?;
    let condition = Condition::Where(text.trim().to_owned());
    if condition.changed_columns().is_empty() {
        let message = "the condition names no column of the changed row";
        let remedy =
            "write at least one changed.<column>, or every change would refresh the whole table";
        entry.note(&["where"], message, remedy);
        return None;
    }
    Some(condition)
}

fn query(root: &Section) -> Option<String> {
    let text = text(root, "query")?;
    let query = text.trim_end().trim_end_matches(';').trim_end().to_owned();
    if scan::tokens(&query).is_empty() {
        let remedy = "write the SELECT whose rows the destination gets";
        root.note(&["query"], "the query is empty", remedy);
        return None;
    }
    for refusal in query_text::refusals(&query) {
        root.note_within("query", &query, refusal.at, refusal.message, refusal.remedy);
    }
    Some(query)
}

fn target(target: &Section) -> Option<Target> {
    refuse_unknown_keys(target, TARGET_KEYS);
    let table = target_table(target);
    let schema_sql = match target.get("schema_sql") {
        None => Some(None),
        Some(_) => text(target, "schema_sql").map(Some),
    };
    let keep_tenant = match target.get("keep_tenant") {
        None => Some(false),
        Some(Value::Bool(keep)) => Some(*keep),
        Some(_) => {
            target.note(&["keep_tenant"], "this is `true` or `false`", "write one of the two");
            None
        }
    };
    Some(Target { table: table?, schema_sql: schema_sql?, keep_tenant: keep_tenant? })
}

/// The table's name. With a schema before it, it would be a table whose name has a dot.
fn target_table(target: &Section) -> Option<Identifier> {
    let written = target.get("table").and_then(Value::as_str).unwrap_or_default();
    let parts = split_outside_quotes(written);
    let Some(name) = parts.last().filter(|_| parts.len() > 1) else {
        return identifier(target, "table");
    };
    let name = Identifier::from_sql(name).map_or_else(|_| name.clone(), |name| name.in_yaml());
    let remedy = format!(
        "write `table: {name}`; `schema` of a destination says where it is, and a name that has a \
         dot stands in double quotes"
    );
    target.note(&["table"], "a target has no schema before its name", remedy);
    None
}

fn on_row_error(root: &Section) -> Option<OnRowError> {
    match root.get("on_row_error").map(Value::as_str) {
        None | Some(Some("quarantine")) => Some(OnRowError::Quarantine),
        Some(Some("halt")) => Some(OnRowError::Halt),
        Some(_) => {
            let remedy = "write `quarantine` (the row is set aside, the others go on) or `halt` (the mapping stops in that destination)";
            root.note(&["on_row_error"], "there is no such choice", remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests;
