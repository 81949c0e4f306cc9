//! One mapping of keys to values inside a document.

use serde_yaml::{Mapping, Value};

use super::{Document, Step};
use crate::nearest::{nearest, suggestion};

/// A mapping of keys to values, and its path in the document.
pub struct Section<'a> {
    document: &'a Document<'a>,
    path: Vec<Step>,
    /// None: the file does not have the section.
    entries: Option<&'a Mapping>,
}

/// A key that may not be in its section.
pub struct UnknownKey {
    pub key: String,
    pub path: Vec<Step>,
    /// The key that was probably meant, or all keys that may be here.
    pub remedy: String,
}

impl<'a> Section<'a> {
    pub fn new(document: &'a Document<'a>, path: Vec<Step>, entries: Option<&'a Mapping>) -> Self {
        Self { document, path, entries }
    }

    /// Whether the file has the section.
    pub fn is_written(&self) -> bool {
        self.entries.is_some()
    }

    pub fn document(&self) -> &'a Document<'a> {
        self.document
    }

    pub fn path(&self) -> &[Step] {
        &self.path
    }

    /// The path of what these keys, one inside the other, lead to.
    pub fn path_to(&self, keys: &[&str]) -> Vec<Step> {
        self.path.iter().cloned().chain(Step::keys(keys)).collect()
    }

    /// The path of one item of a list.
    pub fn path_to_item(&self, key: &str, index: usize) -> Vec<Step> {
        let mut path = self.path_to(&[key]);
        path.push(Step::Index(index));
        path
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.entries.and_then(|entries| entries.get(key))
    }

    /// The keys that are not among the known ones.
    pub fn unknown_keys(&self, known: &[&str]) -> Vec<UnknownKey> {
        let mut unknown = Vec::new();
        for key in self.entries.into_iter().flat_map(Mapping::keys) {
            let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
            if !known.contains(&key.as_str()) {
                let remedy = suggestion(&key, "keys here", known.iter().copied());
                unknown.push(UnknownKey { path: self.path_to(&[&key]), key, remedy });
            }
        }
        unknown
    }

    /// Whether one of the section's keys is none of `known` and is probably meant as one of
    /// `meant`. Then `meant` is not missing, and a message about that would tell one mistake twice.
    pub fn misspelt(&self, known: &[&str], meant: &[&str]) -> bool {
        let written = self.entries.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
        let mut unknown = written.filter(|key| !known.contains(key));
        unknown.any(|key| nearest(key, meant.iter().copied()).is_some())
    }

    /// Notes a mistake of the value that these keys lead to.
    pub fn note(&self, keys: &[&str], message: impl Into<String>, remedy: impl Into<String>) {
        self.document.note(&self.path_to(keys), message, remedy);
    }

    /// Notes a mistake of the part of a key's value that begins after `at` characters of `value`.
    pub fn note_within(
        &self,
        key: &str,
        value: &str,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.document.note_within(&self.path_to(&[key]), value, at, message, remedy);
    }
}
