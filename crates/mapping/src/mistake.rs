//! Mistakes of a mapping that only a database can tell, with their position in its file.

use crate::Mapping;
use crate::yaml::{Diagnostic, Positions, Step};

impl Mapping {
    /// A mistake of the setting at `path`. When the file does not have that setting, the position
    /// is that of the nearest key above it.
    pub fn mistake(
        &self,
        path: &[Step],
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        let position = Positions::of(&self.text).nearest(path);
        Diagnostic::at(&self.file, &self.text, position, message, remedy)
    }

    /// A mistake of the key at `path`, where the key itself is a name of the operator's.
    pub fn mistake_of_key(
        &self,
        path: &[Step],
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        let positions = Positions::of(&self.text);
        let position = positions.of_key(path).or_else(|| positions.nearest(path));
        Diagnostic::at(&self.file, &self.text, position, message, remedy)
    }

    /// A mistake of a part of the setting at `path`: the part that begins after `at` characters of
    /// `value`, the setting as it was read.
    pub fn mistake_within(
        &self,
        path: &[Step],
        value: &str,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        let position = Positions::of(&self.text).within(path, value, at);
        Diagnostic::at(&self.file, &self.text, position, message, remedy)
    }

    /// A mistake of the part of the query that begins after `at` characters.
    pub fn mistake_in_query(
        &self,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        self.mistake_within(&Step::keys(&["query"]), &self.query, at, message, remedy)
    }
}
