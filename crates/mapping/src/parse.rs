//! From the text of one mapping file to a [`Mapping`], or to everything that is wrong with it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_yaml::Value;

use crate::locate::{Place, Step, duplicate_key, place_of, place_of_key};
use crate::mistake::{nearest_place, place_within};
use crate::nearest::{nearest, suggestion};
use crate::query_text;
use crate::{
    Condition, Dependency, Diagnostic, Identifier, Mapping, OnRowError, Source, TableName, Target,
    Tenant, TenantLookup,
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

const FILE_KEYS: [&str; 6] = ["name", "source", "depends_on", "query", "target", "on_row_error"];
const SOURCE_KEYS: [&str; 3] = ["table", "tenant", "key"];
const LOOKUP_KEYS: [&str; 3] = ["table", "column", "match"];
const DEPENDENCY_KEYS: [&str; 3] = ["table", "match", "where"];
const TARGET_KEYS: [&str; 3] = ["table", "schema_sql", "keep_tenant"];

/// Parses one mapping file. `file` is only used for messages and for the default name, its stem.
pub fn parse(file: &Path, text: &str) -> Result<Mapping, Error> {
    let mut reader = Reader { file, text, path: Vec::new(), diagnostics: Vec::new() };
    let mapping = reader.file();
    match mapping {
        Some(mapping) if reader.diagnostics.is_empty() => Ok(mapping),
        _ => {
            // As someone goes through the file; what is missing altogether comes last.
            reader.diagnostics.sort_by_key(|found| {
                found.place.map_or((usize::MAX, 0), |place| (place.line, place.column))
            });
            Err(Error { diagnostics: reader.diagnostics })
        }
    }
}

/// Reads on after a mistake, so that one look shows them all. What could not be read is None, and
/// was noted.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    /// Where in the document it is.
    path: Vec<Step>,
    diagnostics: Vec<Diagnostic>,
}

/// One mapping of the document.
type Section = serde_yaml::Mapping;

impl Reader<'_> {
    fn file(&mut self) -> Option<Mapping> {
        let document = self.document()?;
        self.known_keys(&document, &FILE_KEYS);
        let name = self.name(&document);
        let source = self.section(&document, "source", true, Self::source);
        let depends_on = self.dependencies(&document);
        let query = self.query(&document);
        let target = self.section(&document, "target", true, Self::target);
        let on_row_error = self.on_row_error(&document);
        let query_line = place_within(
            self.text,
            &Step::keys(&["query"]),
            query.as_deref().unwrap_or_default(),
            0,
        )
        .map_or(1, |p| p.line);
        Some(Mapping {
            name: name?,
            file: self.file.to_owned(),
            text: Arc::from(self.text),
            source: source?,
            depends_on: depends_on?,
            query: query?,
            query_line,
            target: target?,
            on_row_error: on_row_error?,
        })
    }

    fn document(&mut self) -> Option<Section> {
        if let Some((key, place)) = duplicate_key(self.text) {
            self.note_at(Some(place), format!("the key `{key}` is here twice"), "keep one of them");
            return None;
        }
        match serde_yaml::from_str::<Value>(self.text) {
            Ok(Value::Mapping(document)) => Some(document),
            Ok(_) => {
                let remedy = format!(
                    "a mapping file is a list of `key: value` lines; the keys are {}",
                    FILE_KEYS.join(", ")
                );
                self.note_at(None, "the file has no keys".to_owned(), remedy);
                None
            }
            Err(error) => {
                let said = error.to_string();
                let said = said.split(" at line ").next().unwrap_or(&said);
                self.note_at(
                    place_of(&error),
                    format!("this is not YAML: {said}"),
                    "check indentation and quotes around this place",
                );
                None
            }
        }
    }

    fn name(&mut self, document: &Section) -> Option<String> {
        let name = match document.get("name") {
            None => {
                self.file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Some(_) => self.text_of(document, "name")?,
        };
        let plain = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !plain {
            self.note(
                &["name"],
                format!("`{name}` cannot be a mapping's name"),
                "set `name`, of letters, digits, `_` and `-`",
            );
        }
        plain.then_some(name)
    }

    fn source(&mut self, section: &Section) -> Option<Source> {
        self.known_keys(section, &SOURCE_KEYS);
        let table = self.table(section, "table");
        let tenant = self.tenant(section);
        let key = match section.get("key") {
            None => Some(None),
            Some(_) => self.pairs(section, "key", "query column: column of source.table").map(Some),
        };
        Some(Source { table: table?, tenant: tenant?, key: key? })
    }

    fn tenant(&mut self, section: &Section) -> Option<Tenant> {
        if matches!(section.get("tenant"), Some(Value::Mapping(_))) {
            return self.section(section, "tenant", true, |reader, lookup| {
                reader.known_keys(lookup, &LOOKUP_KEYS);
                let table = reader.table(lookup, "table");
                let column = reader.identifier(lookup, "column");
                let matches =
                    reader.pairs(lookup, "match", "column of that table: column of source.table");
                Some(Tenant::Lookup(TenantLookup {
                    table: table?,
                    column: column?,
                    matches: matches?,
                }))
            });
        }
        let text = self.text_of(section, "tenant")?;
        if !plain_name(&text) {
            if let Some(parameter) = crate::scan::tokens(&text)
                .into_iter()
                .find(|t| t.kind == crate::scan::Kind::Parameter)
            {
                self.note_within(
                    "tenant",
                    &text,
                    parameter.at,
                    "the expression has a parameter",
                    "write it over the row's own columns",
                );
                return None;
            }
            return Some(Tenant::Expression(text.trim().to_owned()));
        }
        self.identifier(section, "tenant").map(Tenant::Column)
    }

    fn dependencies(&mut self, document: &Section) -> Option<Vec<Dependency>> {
        let items = match document.get("depends_on") {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(Value::Sequence(items)) => items,
            Some(_) => {
                self.note(
                    &["depends_on"],
                    "this is a list".to_owned(),
                    "begin each entry with `- table:`",
                );
                return None;
            }
        };
        let mut dependencies = Some(Vec::new());
        for (index, item) in items.iter().enumerate() {
            self.path.extend([Step::Key("depends_on".to_owned()), Step::Index(index)]);
            let dependency = match item {
                Value::Mapping(section) => self.dependency(section),
                _ => {
                    self.note(
                        &[],
                        "an entry of `depends_on` has keys".to_owned(),
                        "write `- table: …` and, below it, `match` or `where`",
                    );
                    None
                }
            };
            self.path.truncate(self.path.len() - 2);
            match (dependency, &mut dependencies) {
                (Some(dependency), Some(all)) => all.push(dependency),
                _ => dependencies = None,
            }
        }
        dependencies
    }

    fn dependency(&mut self, section: &Section) -> Option<Dependency> {
        self.known_keys(section, &DEPENDENCY_KEYS);
        let table = self.table(section, "table");
        let condition = match (section.get("match"), section.get("where")) {
            (Some(_), None) => self
                .pairs(section, "match", "column of source.table: column of the changed row")
                .map(Condition::Match),
            (None, Some(_)) => self.condition(section),
            (None, None) if self.misspelt(section, &["match", "where"]) => None,
            (both, _) => {
                let message = if both.is_some() {
                    "`match` and `where` stand together"
                } else {
                    "`match` or `where` is missing"
                };
                let remedy = "use `match: { column of source.table: column of the changed row }`, or `where:` with source.… and changed.…";
                self.note(
                    &[if both.is_some() { "where" } else { "table" }],
                    message.to_owned(),
                    remedy,
                );
                None
            }
        };
        Some(Dependency { table: table?, condition: condition? })
    }

    fn condition(&mut self, section: &Section) -> Option<Condition> {
        let text = self.text_of(section, "where")?;
        let condition = Condition::Where(text.trim().to_owned());
        if let Some(parameter) =
            crate::scan::tokens(&text).into_iter().find(|t| t.kind == crate::scan::Kind::Parameter)
        {
            self.note_within(
                "where",
                &text,
                parameter.at,
                "the condition has a parameter",
                "write it over source.… and changed.…",
            );
            return None;
        }
        if condition.changed_columns().is_empty() {
            let message = "the condition names no column of the changed row";
            self.note(&["where"], message.to_owned(), "write at least one changed.<column>, or every change would refresh the whole table");
            return None;
        }
        Some(condition)
    }

    fn query(&mut self, document: &Section) -> Option<String> {
        let text = self.text_of(document, "query")?;
        let query = text.trim_end().trim_end_matches(';').trim_end().to_owned();
        if crate::scan::tokens(&query).is_empty() {
            self.note(
                &["query"],
                "the query is empty".to_owned(),
                "write the SELECT whose rows the destination gets",
            );
            return None;
        }
        for refusal in query_text::refusals(&query) {
            self.note_within("query", &query, refusal.at, refusal.message, refusal.remedy);
        }
        Some(query)
    }

    fn target(&mut self, section: &Section) -> Option<Target> {
        self.known_keys(section, &TARGET_KEYS);
        let table = self.identifier(section, "table");
        let schema_sql = match section.get("schema_sql") {
            None => Some(None),
            Some(_) => self.text_of(section, "schema_sql").map(Some),
        };
        let keep_tenant = match section.get("keep_tenant") {
            None => Some(false),
            Some(Value::Bool(keep)) => Some(*keep),
            Some(_) => {
                self.note(
                    &["keep_tenant"],
                    "this is `true` or `false`".to_owned(),
                    "write one of the two",
                );
                None
            }
        };
        Some(Target { table: table?, schema_sql: schema_sql?, keep_tenant: keep_tenant? })
    }

    fn on_row_error(&mut self, document: &Section) -> Option<OnRowError> {
        match document.get("on_row_error").map(Value::as_str) {
            None | Some(Some("quarantine")) => Some(OnRowError::Quarantine),
            Some(Some("halt")) => Some(OnRowError::Halt),
            Some(_) => {
                let remedy = "write `quarantine` (the row is set aside, the others go on) or `halt` (the mapping stops in that destination)";
                self.note(&["on_row_error"], "there is no such choice".to_owned(), remedy);
                None
            }
        }
    }
}

/// The pieces.
impl Reader<'_> {
    /// Refuses keys that there are not, each with the one that was probably meant.
    fn known_keys(&mut self, section: &Section, known: &[&str]) {
        for key in section.keys() {
            let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
            if !known.contains(&key.as_str()) {
                let mut path = self.path.clone();
                path.push(Step::Key(key.clone()));
                let remedy = suggestion(&key, "keys here", known.iter().copied());
                self.note_at(
                    place_of_key(self.text, &path),
                    format!("there is no key `{key}` here"),
                    remedy,
                );
            }
        }
    }

    /// Whether an unknown key of the section stands for one of these: then their absence is that
    /// same mistake.
    fn misspelt(&self, section: &Section, keys: &[&str]) -> bool {
        let all =
            [&FILE_KEYS[..], &SOURCE_KEYS, &LOOKUP_KEYS, &DEPENDENCY_KEYS, &TARGET_KEYS].concat();
        let mut unknown = section.keys().filter_map(Value::as_str).filter(|key| !all.contains(key));
        unknown.any(|key| nearest(key, keys.iter().copied()).is_some())
    }

    fn section<T>(
        &mut self,
        section: &Section,
        key: &str,
        required: bool,
        read: impl FnOnce(&mut Self, &Section) -> Option<T>,
    ) -> Option<T> {
        match section.get(key) {
            Some(Value::Mapping(inner)) => {
                self.path.push(Step::Key(key.to_owned()));
                let value = read(self, inner);
                self.path.pop();
                value
            }
            None if required => self.missing(section, key),
            _ => {
                self.note(
                    &[key],
                    format!("`{key}` has keys of its own"),
                    "write `key: value` lines below it",
                );
                None
            }
        }
    }

    fn missing<T>(&mut self, section: &Section, key: &str) -> Option<T> {
        if !self.misspelt(section, &[key]) {
            let remedy = match key {
                "source" => {
                    "say which table's rows drive the mapping: `source: { table: …, tenant: … }`"
                }
                "query" => "write the SELECT whose rows the destination gets",
                "target" => "name the table in the destination: `target: { table: … }`",
                "tenant" => "name the column that holds the tenant's id",
                "column" => "name the column that holds the tenant's id",
                "match" => "pair the columns: `match: { column: column }`",
                _ => "name the table, as schema.table",
            };
            self.note(&[key], format!("`{key}` is missing"), remedy);
        }
        None
    }

    /// A required text.
    fn text_of(&mut self, section: &Section, key: &str) -> Option<String> {
        match section.get(key) {
            None => self.missing(section, key),
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
            Some(Value::String(_) | Value::Null) => {
                let remedy = if key == "query" {
                    "write the SELECT whose rows the destination gets"
                } else {
                    "write it behind the colon"
                };
                self.note(&[key], format!("`{key}` is empty"), remedy);
                None
            }
            Some(_) => {
                self.note(
                    &[key],
                    format!("`{key}` is a text"),
                    "write one value, in quotes if it looks like a number or a list",
                );
                None
            }
        }
    }

    fn table(&mut self, section: &Section, key: &str) -> Option<TableName> {
        let text = self.text_of(section, key)?;
        let table = TableName::from_sql(&text);
        table.map_err(|error| self.note(&[key], error.to_string(), "write it as schema.table")).ok()
    }

    fn identifier(&mut self, section: &Section, key: &str) -> Option<Identifier> {
        let text = self.text_of(section, key)?;
        let name = Identifier::from_sql(&text);
        name.map_err(|error| {
            self.note(&[key], error.to_string(), "give the name as you would write it in SQL")
        })
        .ok()
    }

    /// `meaning` says what is left and what is right of the colon.
    fn pairs(
        &mut self,
        section: &Section,
        key: &str,
        meaning: &str,
    ) -> Option<Vec<(Identifier, Identifier)>> {
        let remedy = format!("write `{key}: {{ {meaning} }}`");
        let entries = match section.get(key) {
            None => return self.missing(section, key),
            Some(Value::Mapping(entries)) if !entries.is_empty() => entries,
            Some(_) => {
                self.note(&[key], format!("`{key}` pairs columns"), remedy);
                return None;
            }
        };
        let mut pairs = Some(Vec::new());
        for (left, right) in entries {
            let found = match (left.as_str(), right.as_str()) {
                (Some(left), Some(right)) => {
                    match (Identifier::from_sql(left), Identifier::from_sql(right)) {
                        (Ok(left_name), Ok(right_name)) => Ok((left_name, right_name)),
                        (Err(error), _) | (_, Err(error)) => {
                            Err((vec![key, left], error.to_string()))
                        }
                    }
                }
                (Some(left), None) => {
                    Err((vec![key, left], "this is not a column's name".to_owned()))
                }
                (None, _) => Err((vec![key], format!("`{key}` pairs columns by their names"))),
            };
            match (found, &mut pairs) {
                (Ok(pair), Some(all)) => all.push(pair),
                (Ok(_), None) => {}
                (Err((at, message)), _) => {
                    self.note(&at, message, remedy.clone());
                    pairs = None;
                }
            }
        }
        pairs
    }

    /// A mistake of the value at these keys below where the reader is.
    fn note(&mut self, keys: &[&str], message: String, remedy: impl Into<String>) {
        let path = self.below(keys);
        self.note_at(nearest_place(self.text, &path), message, remedy);
    }

    fn note_within(
        &mut self,
        key: &str,
        value: &str,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let path = self.below(&[key]);
        self.note_at(place_within(self.text, &path, value, at), message.into(), remedy);
    }

    fn note_at(&mut self, place: Option<Place>, message: String, remedy: impl Into<String>) {
        self.diagnostics.push(Diagnostic::at(self.file, self.text, place, message, remedy));
    }

    fn below(&self, keys: &[&str]) -> Vec<Step> {
        self.path.iter().cloned().chain(Step::keys(keys)).collect()
    }
}

fn plain_name(text: &str) -> bool {
    let text = text.trim();
    if text.len() > 2 && text.starts_with('"') && text.ends_with('"') {
        return !text[1..text.len() - 1].contains('"');
    }
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests;
