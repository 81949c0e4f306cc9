//! A mistake in a file, told as a compiler tells it: where it is, what is wrong, the line itself,
//! what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Position;

/// A longer line is cut, so that a terminal shows it on one line; the part round the position
/// stays.
const EXCERPT_CHARS_MAX: usize = 120;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: PathBuf,
    /// None: the mistake is not at one position, such as a key that is missing.
    pub position: Option<Position>,
    /// The line of `position` with marks under the word there; empty without a position.
    pub excerpt: String,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Diagnostic {
    /// A mistake of the file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            excerpt: String::new(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// A mistake at a position of `text`, which is the file's.
    pub fn at(
        file: &Path,
        text: &str,
        position: Option<Position>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let excerpt = position.map(|position| excerpt(text, position)).unwrap_or_default();
        Self { position, excerpt, ..Self::of_file(file, message, remedy) }
    }

    pub fn line(&self) -> Option<usize> {
        self.position.map(|position| position.line)
    }

    /// File, line and column; empty without a file.
    pub fn place(&self) -> String {
        let file = self.file.display();
        match self.position {
            Some(Position { line, column }) => format!("{file}:{line}:{column}"),
            None => file.to_string(),
        }
    }

    /// Everything but the remedy, over several lines.
    pub fn finding(&self) -> String {
        let mut shown = self.place();
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

/// The line at `position` with its number, and marks under the word there; empty when the text has
/// no such line.
pub fn excerpt(text: &str, position: Position) -> String {
    let line = text.lines().nth(position.line.saturating_sub(1));
    line.map(|line| excerpt_of_line(line, position)).unwrap_or_default()
}

/// The same of a line that is at hand.
pub fn excerpt_of_line(line: &str, position: Position) -> String {
    let chars: Vec<char> = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let column = position.column.saturating_sub(1).min(chars.len());
    let from = if chars.len() <= EXCERPT_CHARS_MAX {
        0
    } else {
        column.saturating_sub(EXCERPT_CHARS_MAX / 2)
    };
    let shown: String = chars.iter().skip(from).take(EXCERPT_CHARS_MAX).collect();
    let marks = word_length(&chars[column..]).min(EXCERPT_CHARS_MAX);
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    let ellipsis = if from > 0 { "…" } else { "" };
    let indent = " ".repeat(column - from + ellipsis.chars().count());
    format!(
        " {margin} |\n {number} | {ellipsis}{}\n {margin} | {indent}{}",
        shown.trim_end(),
        "^".repeat(marks)
    )
}

/// How many characters are marked: all of a name, also of one with quoted parts such as
/// `app."User"`, a quoted text or a number, one of anything else.
fn word_length(rest: &[char]) -> usize {
    let of_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '.');
    let quoted = |rest: &[char]| {
        let quote = rest.first().filter(|c| matches!(c, '"' | '\''))?;
        rest.iter().skip(1).position(|c| c == quote).map(|end| end + 2)
    };
    let mut length = 0;
    loop {
        let part = match quoted(&rest[length..]) {
            Some(part) => part,
            None => rest[length..].iter().take_while(|c| of_word(c)).count(),
        };
        length += part;
        let next = rest.get(length);
        // A quoted part goes on behind a dot, and with a quote that is written twice.
        let goes_on = match rest.get(length.wrapping_sub(1)) {
            Some('.') => next == Some(&'"'),
            Some(quote @ ('"' | '\'')) => next == Some(&'.') || next == Some(quote),
            _ => false,
        };
        if part == 0 || !goes_on {
            return length.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_shown_with_marks_under_the_word() {
        let check = |text: &str, line: usize, column: usize, expect: &str| {
            assert_eq!(excerpt(text, Position { line, column }), expect);
        };
        check(
            "a: 1\nsource: { tabel: x }\n",
            2,
            11,
            "   |\n 2 | source: { tabel: x }\n   |           ^^^^^",
        );
        check("x: 'ü b' # c", 1, 4, "   |\n 1 | x: 'ü b' # c\n   |    ^^^^^");
        check(
            "t: app.\"User Name\".x, y",
            1,
            4,
            "   |\n 1 | t: app.\"User Name\".x, y\n   |    ^^^^^^^^^^^^^^^^^",
        );
        check("t: 'a.\"B\"' }", 1, 4, "   |\n 1 | t: 'a.\"B\"' }\n   |    ^^^^^^^");
        check("x.\"a\"\"b\" c", 1, 3, "   |\n 1 | x.\"a\"\"b\" c\n   |   ^^^^^^");
        check("x:", 1, 9, "   |\n 1 | x:\n   |   ^");
        check("x", 7, 1, "");
        let long = format!("{} here", "x".repeat(200));
        let found = excerpt(&long, Position { line: 1, column: 202 });
        assert!(found.contains("… ") || found.contains("…x"), "{found}");
        assert!(found.lines().nth(2).is_some_and(|marks| marks.ends_with("^^^^")), "{found}");
    }
}
