//! Reading one configuration text: which keys there may be, and what a mistake says.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use offtake_mapping::{Place, Step, duplicate_key, place_of, place_of_key, suggestion};
use serde_yaml::{Mapping, Value};

use super::substitute::Variables;
use super::units::{ByteSize, parse_duration, show_duration};

/// The JSON Schema of `offtake.yaml`: the one list of its keys, with what each of them does.
pub const SCHEMA: &str = include_str!("schema.json");

static SCHEMA_TREE: LazyLock<serde_json::Value> = LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap_or_default());

/// A configuration that cannot be used. Unlike a mapping's it comes without the line itself, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {}{message}", file.display(), place.map(|p| format!(":{}:{}", p.line, p.column)).unwrap_or_default(), if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct Error {
    pub file: PathBuf,
    /// Where it is known.
    pub place: Option<Place>,
    /// The setting, as in `sync.retry.max`; empty when the text as a whole is wrong.
    pub field: String,
    pub message: String,
    pub remedy: String,
}

/// The text being read, for messages.
pub(super) struct Document<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    pub(super) variables: Variables<'a>,
}

impl Document<'_> {
    /// Parses the text and refuses keys that the schema does not have.
    pub(super) fn parse(&self) -> Result<Value, Error> {
        let wrong = |place, message, remedy: &str| Error {
            file: self.file.to_owned(),
            place,
            field: String::new(),
            message,
            remedy: remedy.to_owned(),
        };
        if let Some((key, place)) = duplicate_key(self.text) {
            return Err(wrong(Some(place), format!("the key `{key}` is here twice"), "keep one of them"));
        }
        let value: Value = serde_yaml::from_str(self.text).map_err(|error| {
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or(&said);
            wrong(place_of(&error), format!("this is not YAML: {said}"), "check indentation and quotes around this place")
        })?;
        self.refuse_unknown(&value, &SCHEMA_TREE, &mut Vec::new())?;
        Ok(value)
    }

    fn refuse_unknown(&self, value: &Value, schema: &serde_json::Value, path: &mut Vec<Step>) -> Result<(), Error> {
        if let (Some(entries), Some(known)) = (value.as_mapping(), schema["properties"].as_object()) {
            for (key, value) in entries {
                let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
                path.push(Step::Key(key.clone()));
                let Some(schema) = known.get(&key) else {
                    return Err(self.error(
                        path,
                        "there is no such key".to_owned(),
                        suggestion(&key, "keys here", known.keys().map(String::as_str)),
                    ));
                };
                self.refuse_unknown(value, schema, path)?;
                path.pop();
            }
        } else if let (Some(items), Some(schema)) = (value.as_sequence(), schema.get("items")) {
            for (index, value) in items.iter().enumerate() {
                path.push(Step::Index(index));
                self.refuse_unknown(value, schema, path)?;
                path.pop();
            }
        }
        Ok(())
    }

    /// A mistake at `path`; when the text does not contain it (a missing key), the place is the nearest key above.
    pub(super) fn error(&self, path: &[Step], message: String, remedy: String) -> Error {
        let place = (1..=path.len()).rev().find_map(|length| place_of_key(self.text, &path[..length]));
        Error { file: self.file.to_owned(), place, field: show_path(path), message, remedy }
    }
}

fn show_path(path: &[Step]) -> String {
    let mut shown = String::new();
    for step in path {
        match step {
            Step::Key(key) if shown.is_empty() => shown.push_str(key),
            Step::Key(key) => shown.push_str(&format!(".{key}")),
            Step::Index(index) => shown.push_str(&format!("[{index}]")),
        }
    }
    shown
}

/// One mapping of the document, and where it is.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    path: Vec<Step>,
    /// None: the section is absent, and every setting in it has its default.
    entries: Option<&'a Mapping>,
}

impl<'a> Section<'a> {
    pub(super) fn root(document: &'a Document<'a>, value: &'a Value) -> Result<Self, Error> {
        Self::at(document, Vec::new(), Some(value))
    }

    fn at(document: &'a Document<'a>, path: Vec<Step>, value: Option<&'a Value>) -> Result<Self, Error> {
        let entries = match value {
            None | Some(Value::Null) => None,
            Some(Value::Mapping(entries)) => Some(entries),
            Some(_) => return Err(document.error(&path, "this is a section".to_owned(), "write `key: value` lines below it".to_owned())),
        };
        Ok(Self { document, path, entries })
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.entries.and_then(|entries| entries.get(key)).filter(|value| !value.is_null())
    }

    fn path_to(&self, key: &str) -> Vec<Step> {
        let mut path = self.path.clone();
        path.push(Step::Key(key.to_owned()));
        path
    }

    pub(super) fn section(&self, key: &str) -> Result<Self, Error> {
        Self::at(self.document, self.path_to(key), self.get(key))
    }

    /// The sections of a list.
    pub(super) fn sections(&self, key: &str) -> Result<Vec<Self>, Error> {
        let items = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Sequence(items)) => items,
            Some(_) => return Err(self.error(key, "this is a list", "begin each entry with `- `")),
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let mut path = self.path_to(key);
            path.push(Step::Index(index));
            sections.push(Self::at(self.document, path, Some(item))?);
        }
        Ok(sections)
    }

    /// A scalar as text, substituted; None when it is absent, null, or empty after substitution.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = self.scalar(&self.path_to(key), value)?;
        Ok((!text.is_empty()).then_some(text))
    }

    pub(super) fn required(&self, key: &str) -> Result<String, Error> {
        let description = schema_at(&self.path_to(key))["description"].as_str().unwrap_or_default();
        self.text(key)?.ok_or_else(|| self.error(key, "this is required", description))
    }

    fn scalar(&self, path: &[Step], value: &Value) -> Result<String, Error> {
        let raw = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(self.document.error(path, "this is a single value".to_owned(), "write it as `key: value`".to_owned())),
        };
        self.document.variables.substitute(&raw).map_err(|e| self.document.error(path, e.message, e.remedy))
    }

    /// A list of texts, or one text with commas, so that a variable can hold a list.
    pub(super) fn list(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Sequence(items)) => {
                let mut texts = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let mut path = self.path_to(key);
                    path.push(Step::Index(index));
                    texts.push(self.scalar(&path, item)?);
                }
                Ok(Some(texts))
            }
            Some(_) => {
                let text = self.text(key)?.unwrap_or_default();
                Ok(Some(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()))
            }
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.text(key)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.error(key, "this is `true` or `false`", "write one of the two")),
        }
    }

    pub(super) fn count(&self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<u32, Error> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        let remedy = || format!("write a whole number from {} to {}; the default is {default}", range.start(), range.end());
        text.replace('_', "").parse().ok().filter(|n| range.contains(n)).ok_or_else(|| self.unusable(key, &remedy()))
    }

    pub(super) fn duration(&self, key: &str, default: Duration, range: RangeInclusive<Duration>) -> Result<Duration, Error> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
        let remedy =
            || format!("write a duration from {least} to {most}, such as 5ms, 60s or 7d; the default is {}", show_duration(default));
        parse_duration(&text).filter(|d| range.contains(d)).ok_or_else(|| self.unusable(key, &remedy()))
    }

    pub(super) fn size(&self, key: &str, default: ByteSize, range: RangeInclusive<ByteSize>) -> Result<ByteSize, Error> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        let remedy = || format!("write a size from {} to {}, such as 8MiB; the default is {default}", range.start(), range.end());
        ByteSize::parse(&text).filter(|s| range.contains(s)).ok_or_else(|| self.unusable(key, &remedy()))
    }

    /// Quotes the value as the file has it, before substitution: a variable in the wrong place may be a secret.
    fn unusable(&self, key: &str, remedy: &str) -> Error {
        let written = match self.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => flag.to_string(),
            _ => String::new(),
        };
        self.error(key, &format!("`{written}` cannot be used here"), remedy)
    }

    pub(super) fn error(&self, key: &str, message: &str, remedy: &str) -> Error {
        self.document.error(&self.path_to(key), message.to_owned(), remedy.to_owned())
    }
}

/// The schema's node for a setting.
pub(super) fn schema_at(path: &[Step]) -> &'static serde_json::Value {
    path.iter().fold(&SCHEMA_TREE, |node, step| match step {
        Step::Key(key) => &node["properties"][key],
        Step::Index(_) => &node["items"],
    })
}
