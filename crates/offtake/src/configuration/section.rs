//! Reading the settings of one configuration text, with the schema as the list of its keys.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use offtake_mapping::yaml::{self, Document};
use offtake_mapping::{Diagnostic, Step, TableName, Tenant, table_of_tenants};
use offtake_sync::audit::Share;
use serde_yaml::Value;

use crate::arguments::shown;

use super::excerpt::masked_excerpt;
use super::substitute::{Unresolved, Variables};
use super::units::{ByteSize, parse_duration, parse_share, show_duration, show_share};

/// The JSON Schema of `offtake.yaml`: the one list of its keys, with what each of them does.
pub const SCHEMA: &str = include_str!("schema.json");

pub(super) static SCHEMA_TREE: LazyLock<serde_json::Value> =
    LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap_or_default());

/// A configuration that cannot be used: everything that is wrong with it, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Error {
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the text of `file`, and notes the keys that the schema does not have.
pub(super) fn read_document<'a>(file: &'a Path, text: &'a str) -> Document<'a> {
    let document = Document::read(file, text, masked_excerpt);
    if let Some(value) = document.value() {
        note_unknown_keys(&document, value, &mut Vec::new());
    }
    document
}

fn note_unknown_keys(document: &Document, value: &Value, path: &mut Vec<Step>) {
    let node = schema_at(path);
    match value {
        // Its keys are names that the operator chooses.
        Value::Mapping(entries) if node["additionalProperties"]["properties"].is_object() => {
            for (key, value) in entries {
                let Some(key) = key.as_str() else { continue };
                path.push(Step::Key(key.to_owned()));
                note_unknown_keys(document, value, path);
                path.pop();
            }
        }
        Value::Mapping(entries) => {
            let Some(known) = node["properties"].as_object() else { return };
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            let section = yaml::Section::new(document, path.clone(), Some(entries));
            for unknown in section.unknown_keys(&known) {
                let message = format!("{}: there is no such key", show_path(&unknown.path));
                document.note_key(&unknown.path, message, unknown.remedy);
            }
            for (key, value) in entries {
                let Some(key) = key.as_str().filter(|key| known.contains(key)) else { continue };
                path.push(Step::Key(key.to_owned()));
                note_unknown_keys(document, value, path);
                path.pop();
            }
        }
        Value::Sequence(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push(Step::Index(index));
                note_unknown_keys(document, value, path);
                path.pop();
            }
        }
        _ => {}
    }
}

/// The path as it is written in messages. A key that is no plain word may be a secret that stands
/// where a key belongs, so it is not repeated.
fn show_path(path: &[Step]) -> String {
    let of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut shown = String::new();
    for step in path {
        let step = match step {
            Step::Key(key) if !key.chars().all(of_word) => &Step::Key("***".to_owned()),
            step => step,
        };
        match step {
            Step::Key(key) if shown.is_empty() => shown.push_str(key),
            Step::Key(key) => shown.push_str(&format!(".{key}")),
            Step::Index(index) => shown.push_str(&format!("[{index}]")),
        }
    }
    shown
}

/// One section of the configuration.
///
/// A setting that the file does not give, or gives without a value, has its default. So has one
/// that cannot be used: the mistake is noted and the rest is read, so that all mistakes are told at
/// once.
pub(super) struct Section<'a> {
    section: yaml::Section<'a>,
    variables: Variables<'a>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(document: &'a Document<'a>, variables: Variables<'a>) -> Self {
        Self::at(document, variables, Vec::new(), document.value())
    }

    fn at(
        document: &'a Document<'a>,
        variables: Variables<'a>,
        path: Vec<Step>,
        value: Option<&'a Value>,
    ) -> Self {
        let entries = match value {
            None | Some(Value::Null) => None,
            Some(Value::Mapping(entries)) => Some(entries),
            Some(_) => {
                let remedy = "write `key: value` lines below it";
                note_setting(document, &path, "this is a section", remedy);
                None
            }
        };
        Self { section: yaml::Section::new(document, path, entries), variables }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.section.get(key).filter(|value| !value.is_null())
    }

    fn path_to(&self, key: &str) -> Vec<Step> {
        self.section.path_to(&[key])
    }

    /// Whether the file has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn document(&self) -> &'a Document<'a> {
        self.section.document()
    }

    pub(super) fn section(&self, key: &str) -> Self {
        Self::at(self.document(), self.variables, self.path_to(key), self.get(key))
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
            let path = self.section.path_to_item(key, index);
            Self::at(self.document(), self.variables, path, Some(item))
        };
        items.iter().enumerate().map(of_item).collect()
    }

    /// The sections of a section whose keys are names, each with its name.
    pub(super) fn named_sections(&self, key: &str) -> Vec<(String, Self)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Value::Mapping(entries) = value else {
            self.note(key, "this is a section", "write `name: { … }` lines below it");
            return Vec::new();
        };
        let named = |(name, value): (&Value, &'a Value)| {
            let name = written(name)?;
            let path = self.section.path_to(&[key, &name]);
            let section = Self::at(self.document(), self.variables, path, Some(value));
            // Anything else was noted.
            (value.is_mapping() || value.is_null()).then_some((name, section))
        };
        entries.iter().filter_map(named).collect()
    }

    /// A single value as text, with its variables replaced; None when the file does not give it or
    /// when nothing is left of it.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text = self.scalar(&self.path_to(key), self.get(key)?)?;
        (!text.is_empty()).then_some(text)
    }

    /// The same; when the file does not give it, the schema's default, which may be a variable.
    pub(super) fn text_or_default(&self, key: &str) -> Option<String> {
        if self.get(key).is_some() {
            return self.text(key);
        }
        let path = self.path_to(key);
        let default = schema_at(&path)["default"].as_str().unwrap_or_default().to_owned();
        self.scalar(&path, &Value::String(default)).filter(|text| !text.is_empty())
    }

    /// The same; a mistake when there is none.
    pub(super) fn required(&self, key: &str) -> Option<String> {
        let noted = self.mistakes();
        let text = self.text(key);
        // A misspelt key, or a variable that is not set, was noted already.
        let told = self.mistakes() > noted || self.misspelt(key);
        if text.is_none() && !told {
            let what = if self.get(key).is_some() {
                "this is empty, and it is required"
            } else {
                "this is required"
            };
            let description = &schema_at(&self.path_to(key))["description"];
            self.note(key, what, description.as_str().unwrap_or_default());
        }
        text
    }

    fn misspelt(&self, key: &str) -> bool {
        let known = schema_at(self.section.path())["properties"].as_object();
        let known: Vec<&str> = known.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        self.section.misspelt(&known, &[key])
    }

    fn scalar(&self, path: &[Step], value: &Value) -> Option<String> {
        let Some(written) = written(value) else {
            note_setting(
                self.document(),
                path,
                "this is a single value",
                "write it as `key: value`",
            );
            return None;
        };
        let unresolved = |e: Unresolved| note_setting(self.document(), path, &e.message, &e.remedy);
        self.variables.substitute(&written).map_err(unresolved).ok()
    }

    /// A list of texts, or one text with commas, so that a variable can hold a list.
    pub(super) fn list(&self, key: &str) -> Option<Vec<String>> {
        match self.get(key)? {
            Value::Sequence(items) => {
                let text =
                    |(index, item)| self.scalar(&self.section.path_to_item(key, index), item);
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

    /// The entries of a section whose keys are free.
    pub(super) fn texts(&self, key: &str) -> Vec<(String, String)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Value::Mapping(entries) = value else {
            self.note(key, "this is a section", "write `key: value` lines below it");
            return Vec::new();
        };
        let text = |(name, value): (&Value, &Value)| {
            let name = written(name)?;
            let path = self.section.path_to(&[key, &name]);
            Some((name, self.scalar(&path, value)?))
        };
        entries.iter().filter_map(text).collect()
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let read = |text: &str| choices.iter().find(|(word, _)| *word == text).map(|(_, it)| *it);
        self.value(key, read, || format!("write {}", words.join(" or ")))
    }

    /// A list of durations.
    pub(super) fn durations(
        &self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Vec<Duration>> {
        let texts = self.list(key)?;
        let mut durations = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            match parse_duration(text).filter(|duration| range.contains(duration)) {
                Some(duration) => durations.push(duration),
                None => {
                    let (least, most) =
                        (show_duration(*range.start()), show_duration(*range.end()));
                    let remedy = format!("write durations from {least} to {most}, such as 5m");
                    self.note_item(key, at, "this cannot be used here", &remedy);
                }
            }
        }
        Some(durations)
    }

    /// A table and whose its rows are, as in a mapping file.
    pub(super) fn table_of_tenants(&self) -> Option<(TableName, Tenant)> {
        table_of_tenants(&self.section)
    }

    /// Whether the file has the section.
    pub(super) fn is_written(&self) -> bool {
        self.section.is_written()
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
        self.duration_with(key, default, range, "")
    }

    /// `others`: what else may be written there.
    fn duration_with(
        &self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
        others: &str,
    ) -> Duration {
        let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
        let fits = |text: &&str| parse_duration(text).is_some_and(|d| range.contains(&d));
        let remedy = || {
            let mut examples: Vec<&str> = ["5ms", "60s", "7d"].into_iter().filter(fits).collect();
            if examples.is_empty() {
                examples.push("5s");
            }
            format!(
                "write a duration from {least} to {most}, such as {}{others}; the default is {}",
                examples.join(" or "),
                show_duration(default)
            )
        };
        self.value(key, |text| parse_duration(text).filter(|d| range.contains(d)), remedy)
            .unwrap_or(default)
    }

    /// The same, or `off`.
    pub(super) fn duration_or_off(
        &self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        match self.get(key) {
            // Older YAML, and other readers of it, take `off` for a boolean.
            Some(Value::Bool(false)) => None,
            Some(_) if self.text(key).as_deref() == Some("off") => None,
            _ => Some(self.duration_with(key, default, range, ", or off")),
        }
    }

    /// What `read` makes of the text; None where it is absent, or `off`.
    pub(super) fn choice_or_off<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        remedy: &str,
    ) -> Option<T> {
        match self.get(key) {
            Some(Value::Bool(false)) => None,
            Some(_) if self.text(key).as_deref() == Some("off") => None,
            _ => self.value(key, read, || remedy.to_owned()),
        }
    }

    pub(super) fn share(&self, key: &str, default: Share) -> Share {
        let remedy = || {
            let default = show_share(default);
            format!("write a share from 0.01% to 100%, such as 5%; the default is {default}")
        };
        self.value(key, parse_share, remedy).unwrap_or(default)
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

    /// A value that `read` understands. The message about one that it does not quotes the file, not
    /// what the variables stand for: a variable in the wrong place may be a secret.
    fn value<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        remedy: impl Fn() -> String,
    ) -> Option<T> {
        let value = read(&self.text(key)?);
        if value.is_none() {
            let written = self.get(key).and_then(written).unwrap_or_default();
            self.note(key, &format!("`{}` cannot be used here", shown(&written)), &remedy());
        }
        value
    }

    /// How many mistakes were noted so far in the whole document. A reader compares two counts, to
    /// leave out what only follows from a mistake that was noted already.
    pub(super) fn mistakes(&self) -> usize {
        self.document().mistakes()
    }

    pub(super) fn note(&self, key: &str, message: &str, remedy: &str) {
        note_setting(self.document(), &self.path_to(key), message, remedy);
    }

    /// The place of one item of a list, for a mistake that is found later.
    pub(super) fn place_of_item(&self, key: &str, index: usize) -> Diagnostic {
        self.document().place(&self.section.path_to_item(key, index))
    }

    /// Notes a mistake of one item of a list.
    pub(super) fn note_item(&self, key: &str, index: usize, message: &str, remedy: &str) {
        note_setting(self.document(), &self.section.path_to_item(key, index), message, remedy);
    }
}

/// Notes a mistake; every message begins with the path of the setting.
fn note_setting(document: &Document, path: &[Step], message: &str, remedy: &str) {
    document.note(path, format!("{}: {message}", show_path(path)), remedy);
}

/// A single value as the file has it.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The schema's node for a setting.
fn schema_at(path: &[Step]) -> &'static serde_json::Value {
    path.iter().fold(&SCHEMA_TREE, |node, step| match step {
        Step::Key(key) => match node["properties"].get(key) {
            Some(below) => below,
            None => &node["additionalProperties"],
        },
        Step::Index(_) => &node["items"],
    })
}
