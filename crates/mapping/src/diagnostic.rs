//! A mistake in a text, told as a good compiler tells it: where, the line itself, what is wrong,
//! what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::locate::Place;

/// Longer lines are cut round the place: a terminal has no more.
const EXCERPT_CHARS_MAX: usize = 120;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: PathBuf,
    /// None: the mistake is no place's, such as a key that is missing altogether.
    pub place: Option<Place>,
    /// The line of `place` with marks under what is meant; empty without a place.
    pub excerpt: String,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// What to do now.
    pub remedy: String,
}

impl Diagnostic {
    /// A mistake of the file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            place: None,
            excerpt: String::new(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// A mistake at a place of `text`, which is the file's.
    pub fn at(
        file: &Path,
        text: &str,
        place: Option<Place>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let excerpt = place.map(|place| excerpt(text, place)).unwrap_or_default();
        Self { place, excerpt, ..Self::of_file(file, message, remedy) }
    }

    pub fn line(&self) -> Option<usize> {
        self.place.map(|place| place.line)
    }

    /// Everything but the remedy, over several lines.
    pub fn finding(&self) -> String {
        let mut shown = self.file.display().to_string();
        if let Some(Place { line, column }) = self.place {
            shown.push_str(&format!(":{line}:{column}"));
        }
        if !shown.is_empty() {
            shown.push_str(": ");
        }
        shown.push_str(&self.message);
        if !self.excerpt.is_empty() {
            shown.push('\n');
            shown.push_str(&self.excerpt);
        }
        shown
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  remedy: {}", self.finding(), self.remedy)
    }
}

/// The line with its number, and marks under the word at the place.
fn excerpt(text: &str, place: Place) -> String {
    let Some(line) = text.lines().nth(place.line.saturating_sub(1)) else { return String::new() };
    let chars: Vec<char> = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let column = place.column.saturating_sub(1).min(chars.len());
    let from = if chars.len() <= EXCERPT_CHARS_MAX {
        0
    } else {
        column.saturating_sub(EXCERPT_CHARS_MAX / 2)
    };
    let shown: String = chars.iter().skip(from).take(EXCERPT_CHARS_MAX).collect();
    let marks = word_length(&chars[column..]).min(EXCERPT_CHARS_MAX);
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let ellipsis = if from > 0 { "…" } else { "" };
    let indent = " ".repeat(column - from + ellipsis.chars().count());
    format!(
        " {margin} |\n {number} | {ellipsis}{}\n {margin} | {indent}{}",
        shown.trim_end(),
        "^".repeat(marks)
    )
}

/// A name, a quoted text or a number is marked as a whole, anything else by its first character.
fn word_length(rest: &[char]) -> usize {
    let of_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '.');
    match rest.first() {
        Some(quote @ ('"' | '\'')) => {
            rest.iter().skip(1).position(|c| c == quote).map_or(1, |end| end + 2)
        }
        _ => rest.iter().take_while(|c| of_word(c)).count().max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_shown_with_marks_under_the_word() {
        let check = |text: &str, line: usize, column: usize, expect: &str| {
            assert_eq!(excerpt(text, Place { line, column }), expect);
        };
        check(
            "a: 1\nsource: { tabel: x }\n",
            2,
            11,
            "   |\n 2 | source: { tabel: x }\n   |           ^^^^^",
        );
        check("x: 'ü b' # c", 1, 4, "   |\n 1 | x: 'ü b' # c\n   |    ^^^^^");
        check("x:", 1, 9, "   |\n 1 | x:\n   |   ^");
        check("x", 7, 1, "");
        let long = format!("{} here", "x".repeat(200));
        let found = excerpt(&long, Place { line: 1, column: 202 });
        assert!(found.contains("… ") || found.contains("…x"), "{found}");
        assert!(found.lines().nth(2).is_some_and(|marks| marks.ends_with("^^^^")), "{found}");
    }
}
