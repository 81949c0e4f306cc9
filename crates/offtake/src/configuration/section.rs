//! Reading one configuration text: which keys there may be, and what a mistake says.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use offtake_mapping::{
    Diagnostic, Place, Step, duplicate_key, nearest, place_of, place_of_key, place_of_value,
    suggestion,
};
use serde_yaml::{Mapping, Value};

use super::excerpt;
use super::substitute::Variables;
use super::units::{ByteSize, parse_duration, show_duration};

/// The JSON Schema of `offtake.yaml`: the one list of its keys, with what each of them does.
pub const SCHEMA: &str = include_str!("schema.json");

static SCHEMA_TREE: LazyLock<serde_json::Value> =
    LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap_or_default());

/// A configuration that cannot be used: everything that is wrong with it, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Error {
    pub diagnostics: Vec<Diagnostic>,
}

/// The text being read. Reading goes on after a mistake, with the default in its place, so that one
/// look at the output is enough to mend them all.
pub(super) struct Document<'a> {
    file: &'a Path,
    text: &'a str,
    variables: Variables<'a>,
    mistakes: RefCell<Vec<Diagnostic>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, variables: Variables<'a>) -> Self {
        Self { file, text, variables, mistakes: RefCell::default() }
    }

    /// Parses the text and notes keys that the schema does not have. Without a value, the text as a
    /// whole is wrong.
    pub(super) fn parse(&self) -> Option<Value> {
        if let Some((key, place)) = duplicate_key(self.text) {
            self.note_at(Some(place), format!("the key `{key}` is here twice"), "keep one of them");
            return None;
        }
        match serde_yaml::from_str(self.text) {
            Ok(value) => {
                self.note_unknown(&value, &SCHEMA_TREE, &mut Vec::new());
                Some(value)
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

    /// Everything that was noted, in the order of the file; None when the text can be used.
    pub(super) fn error(&self) -> Option<Error> {
        let mut diagnostics = self.mistakes.take();
        diagnostics.sort_by_key(|found| {
            found.place.map_or((usize::MAX, 0), |place| (place.line, place.column))
        });
        (!diagnostics.is_empty()).then_some(Error { diagnostics })
    }

    fn note_unknown(&self, value: &Value, schema: &serde_json::Value, path: &mut Vec<Step>) {
        if let (Some(entries), Some(known)) = (value.as_mapping(), schema["properties"].as_object())
        {
            for (key, value) in entries {
                let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
                path.push(Step::Key(key.clone()));
                match known.get(&key) {
                    Some(schema) => self.note_unknown(value, schema, path),
                    None => {
                        let remedy =
                            suggestion(&key, "keys here", known.keys().map(String::as_str));
                        let message = format!("{}: there is no such key", show_path(path));
                        self.note_at(place_of_key(self.text, path), message, &remedy);
                    }
                }
                path.pop();
            }
        } else if let (Some(items), Some(schema)) = (value.as_sequence(), schema.get("items")) {
            for (index, value) in items.iter().enumerate() {
                path.push(Step::Index(index));
                self.note_unknown(value, schema, path);
                path.pop();
            }
        }
    }

    /// A mistake of the value at `path`; when the text does not contain it (a missing key), of the
    /// nearest key above.
    pub(super) fn note(&self, path: &[Step], message: &str, remedy: &str) {
        let value =
            place_of_value(self.text, path).filter(|_| place_of_key(self.text, path).is_some());
        let place = value.or_else(|| {
            (1..path.len()).rev().find_map(|length| place_of_key(self.text, &path[..length]))
        });
        self.note_at(place, format!("{}: {message}", show_path(path)), remedy);
    }

    fn note_at(&self, place: Option<Place>, message: String, remedy: &str) {
        let excerpt =
            place.map(|place| excerpt::of(self.file, self.text, place)).unwrap_or_default();
        self.mistakes.borrow_mut().push(Diagnostic {
            place,
            excerpt,
            ..Diagnostic::of_file(self.file, message, remedy)
        });
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
    pub(super) fn root(document: &'a Document<'a>, value: Option<&'a Value>) -> Self {
        Self::at(document, Vec::new(), value)
    }

    fn at(document: &'a Document<'a>, path: Vec<Step>, value: Option<&'a Value>) -> Self {
        let entries = match value {
            None | Some(Value::Null) => None,
            Some(Value::Mapping(entries)) => Some(entries),
            Some(_) => {
                document.note(&path, "this is a section", "write `key: value` lines below it");
                None
            }
        };
        Self { document, path, entries }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.entries.and_then(|entries| entries.get(key)).filter(|value| !value.is_null())
    }

    fn path_to(&self, key: &str) -> Vec<Step> {
        let mut path = self.path.clone();
        path.push(Step::Key(key.to_owned()));
        path
    }

    pub(super) fn section(&self, key: &str) -> Self {
        Self::at(self.document, self.path_to(key), self.get(key))
    }

    /// The sections of a list.
    pub(super) fn sections(&self, key: &str) -> Vec<Self> {
        let items = match self.get(key) {
            None => return Vec::new(),
            Some(Value::Sequence(items)) => items,
            Some(_) => {
                self.note(key, "this is a list", "begin each entry with `- `");
                return Vec::new();
            }
        };
        let of_item = |(index, item)| {
            let mut path = self.path_to(key);
            path.push(Step::Index(index));
            Self::at(self.document, path, Some(item))
        };
        items.iter().enumerate().map(of_item).collect()
    }

    /// A scalar as text, substituted; None when it is absent, null, or empty after substitution.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text = self.scalar(&self.path_to(key), self.get(key)?)?;
        (!text.is_empty()).then_some(text)
    }

    /// The same; of an absent one the schema's default, in which a variable may stand.
    pub(super) fn text_or_default(&self, key: &str) -> Option<String> {
        if self.get(key).is_some() {
            return self.text(key);
        }
        let path = self.path_to(key);
        let default = schema_at(&path)["default"].as_str().unwrap_or_default().to_owned();
        self.scalar(&path, &Value::String(default)).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, key: &str) -> Option<String> {
        let noted = self.mistakes();
        let text = self.text(key);
        // A key that is there under a misspelt name, and a variable that is not set, are mistakes
        // that were told.
        let told = self.mistakes() > noted || self.misspelt(key);
        if text.is_none() && !told {
            let what = if self.get(key).is_some() {
                "this is empty, and it is required"
            } else {
                "this is required"
            };
            self.note(
                key,
                what,
                schema_at(&self.path_to(key))["description"].as_str().unwrap_or_default(),
            );
        }
        text
    }

    fn misspelt(&self, key: &str) -> bool {
        let known = schema_at(&self.path);
        let mut unknown =
            self.entries.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
        unknown.any(|written| {
            known["properties"].get(written).is_none() && nearest(written, [key]).is_some()
        })
    }

    fn scalar(&self, path: &[Step], value: &Value) -> Option<String> {
        let raw = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => {
                self.document.note(path, "this is a single value", "write it as `key: value`");
                return None;
            }
        };
        self.document
            .variables
            .substitute(&raw)
            .map_err(|e| self.document.note(path, &e.message, &e.remedy))
            .ok()
    }

    /// A list of texts, or one text with commas, so that a variable can hold a list.
    pub(super) fn list(&self, key: &str) -> Option<Vec<String>> {
        match self.get(key)? {
            Value::Sequence(items) => {
                let text = |(index, item)| {
                    let mut path = self.path_to(key);
                    path.push(Step::Index(index));
                    self.scalar(&path, item)
                };
                Some(items.iter().enumerate().filter_map(text).collect())
            }
            _ => {
                let text = self.text(key).unwrap_or_default();
                Some(
                    text.split(',')
                        .map(str::trim)
                        .filter(|t| !t.is_empty())
                        .map(str::to_owned)
                        .collect(),
                )
            }
        }
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        match self.text(key).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.note(key, "this is `true` or `false`", "write one of the two");
                false
            }
        }
    }

    pub(super) fn count(&self, key: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let remedy = || {
            format!(
                "write a whole number from {} to {}; the default is {default}",
                range.start(),
                range.end()
            )
        };
        self.value(
            key,
            |text| text.replace('_', "").parse().ok().filter(|n| range.contains(n)),
            remedy,
        )
        .unwrap_or(default)
    }

    pub(super) fn duration(
        &self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
        let remedy = || {
            format!(
                "write a duration from {least} to {most}, such as 5ms, 60s or 7d; the default is {}",
                show_duration(default)
            )
        };
        self.value(key, |text| parse_duration(text).filter(|d| range.contains(d)), remedy)
            .unwrap_or(default)
    }

    pub(super) fn size(
        &self,
        key: &str,
        default: ByteSize,
        range: RangeInclusive<ByteSize>,
    ) -> ByteSize {
        let remedy = || {
            format!(
                "write a size from {} to {}, such as 8MiB; the default is {default}",
                range.start(),
                range.end()
            )
        };
        self.value(key, |text| ByteSize::parse(text).filter(|s| range.contains(s)), remedy)
            .unwrap_or(default)
    }

    /// Quotes a value that cannot be used as the file has it, before substitution: a variable in
    /// the wrong place may be a secret.
    fn value<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        remedy: impl Fn() -> String,
    ) -> Option<T> {
        let value = read(&self.text(key)?);
        if value.is_none() {
            let written = match self.get(key) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                Some(Value::Bool(flag)) => flag.to_string(),
                _ => String::new(),
            };
            self.note(key, &format!("`{written}` cannot be used here"), &remedy());
        }
        value
    }

    /// How many were noted so far, in the whole document: what follows from a mistake is none of
    /// its own.
    pub(super) fn mistakes(&self) -> usize {
        self.document.mistakes.borrow().len()
    }

    pub(super) fn note(&self, key: &str, message: &str, remedy: &str) {
        self.document.note(&self.path_to(key), message, remedy);
    }

    /// A mistake of one item of a list.
    pub(super) fn note_item(&self, key: &str, index: usize, message: &str, remedy: &str) {
        let mut path = self.path_to(key);
        path.push(Step::Index(index));
        self.document.note(&path, message, remedy);
    }
}

/// The schema's node for a setting.
pub(super) fn schema_at(path: &[Step]) -> &'static serde_json::Value {
    path.iter().fold(&SCHEMA_TREE, |node, step| match step {
        Step::Key(key) => &node["properties"][key],
        Step::Index(_) => &node["items"],
    })
}
