//! Reading a YAML file that a person wrote: the mapping files and `offtake.yaml`.
//!
//! A [`Document`] is one file. The caller takes the values out of its [`Section`]s and notes what
//! is wrong with them; it reads on after a mistake. What this module promises its callers:
//!
//! - Every mistake of a file is told at once, in the order of the file, each with line and column,
//!   the line itself and a remedy ([`Diagnostic`]).
//! - A text that is not YAML, or that has a key twice, is one mistake, and there is no value.
//! - A text that is nested without end is refused before it is parsed: that would take time that
//!   grows with the square of its length.
//! - An unknown key is told with the known key that was probably meant.
//! - [`Positions`] is the only place that finds lines and columns.
//!
//! The caller decides which words a message has and what an excerpt may show, because
//! `offtake.yaml` has secrets.

mod diagnostic;
mod positions;
mod section;

use std::cell::RefCell;
use std::path::Path;

use serde_yaml::Value;

pub use diagnostic::{Diagnostic, excerpt, excerpt_of_line};
pub use positions::{Position, Positions, Step};
pub use section::{Section, UnknownKey};

/// Makes the excerpt of a text at a position: [`excerpt`], or one that leaves secrets out.
pub type MakeExcerpt = fn(&str, Position) -> String;

/// At most so many mistakes of one file are told.
const MISTAKES_MAX: usize = 100;

/// One file, its value, and the mistakes that were found in it so far.
pub struct Document<'a> {
    file: &'a Path,
    text: &'a str,
    make_excerpt: MakeExcerpt,
    positions: Positions,
    value: Option<Value>,
    mistakes: RefCell<Vec<Diagnostic>>,
}

impl<'a> Document<'a> {
    /// Reads the text of `file`. The name is only used in messages; nothing is opened.
    pub fn read(file: &'a Path, text: &'a str, make_excerpt: MakeExcerpt) -> Self {
        let (positions, mistakes) = (Positions::of(text), RefCell::default());
        let mut document = Self { file, text, make_excerpt, positions, value: None, mistakes };
        document.value = document.parse();
        document
    }

    fn parse(&self) -> Option<Value> {
        if let Some((key, position)) = self.positions.duplicate_key() {
            // What is not a plain word may be a secret that stands where a key belongs.
            let plain = key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
            let key = if plain { format!("the key `{key}`") } else { "a key".to_owned() };
            self.note_at(Some(position), format!("{key} is here twice"), "keep one of them");
            return None;
        }
        if self.positions.too_deep() {
            self.note_file("the values are nested too deep", "write at most 100 levels");
            return None;
        }
        match serde_yaml::from_str(self.text) {
            Ok(value) => Some(value),
            Err(error) => {
                let position =
                    error.location().map(|at| Position { line: at.line(), column: at.column() });
                let said = error.to_string();
                let said = said.split(" at line ").next().unwrap_or(&said);
                self.note_at(
                    position,
                    format!("this is not YAML: {said}"),
                    "check indentation and quotes around this place",
                );
                None
            }
        }
    }

    /// The document's value; None when the text cannot be read, which was noted.
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    pub fn file(&self) -> &'a Path {
        self.file
    }

    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Notes a mistake of the value at `path`; when the text does not have it (a missing key), of
    /// the nearest key above it.
    pub fn note(&self, path: &[Step], message: impl Into<String>, remedy: impl Into<String>) {
        self.note_at(self.positions.nearest(path), message, remedy);
    }

    /// Notes a mistake of the key at `path`.
    pub fn note_key(&self, path: &[Step], message: impl Into<String>, remedy: impl Into<String>) {
        self.note_at(self.positions.of_key(path), message, remedy);
    }

    /// Notes a mistake of the part of the value at `path` that begins after `at` characters of
    /// `value`.
    pub fn note_within(
        &self,
        path: &[Step],
        value: &str,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note_at(self.positions.within(path, value, at), message, remedy);
    }

    /// Notes a mistake of the file as a whole.
    pub fn note_file(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.note_at(None, message, remedy);
    }

    fn note_at(
        &self,
        position: Option<Position>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        // Each takes time that grows with the file, and an operator reads no more.
        if self.mistakes() >= MISTAKES_MAX {
            return;
        }
        let told = self.diagnostic(position, message, remedy);
        self.mistakes.borrow_mut().push(told);
    }

    /// The place of the value at `path`, for a mistake that only another file tells.
    pub fn place(&self, path: &[Step]) -> Diagnostic {
        self.diagnostic(self.positions.nearest(path), "", "")
    }

    fn diagnostic(
        &self,
        position: Option<Position>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        let make_excerpt = |position| (self.make_excerpt)(self.text, position);
        let excerpt = position.map(make_excerpt).unwrap_or_default();
        let whole = Diagnostic::of_file(self.file, message, remedy);
        Diagnostic { position, excerpt, ..whole }
    }

    /// How many mistakes were noted so far.
    pub fn mistakes(&self) -> usize {
        self.mistakes.borrow().len()
    }

    /// Every mistake that was noted, in the order of the file; those without a position are last.
    pub fn into_mistakes(self) -> Vec<Diagnostic> {
        let mut mistakes = self.mistakes.into_inner();
        let order = |position: Position| (position.line, position.column);
        mistakes.sort_by_key(|mistake| mistake.position.map_or((usize::MAX, 0), order));
        mistakes
    }
}
