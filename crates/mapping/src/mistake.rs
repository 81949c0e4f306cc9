//! Mistakes of a mapping, with their place in its file.

use crate::locate::{Place, Step, place_of_key, place_of_value};
use crate::{Diagnostic, Mapping};

impl Mapping {
    /// Something that the setting at `path` says and that is not so. Without the setting it is told
    /// of the nearest one above it that is there.
    pub fn mistake(
        &self,
        path: &[Step],
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        let place = nearest_place(&self.text, path);
        Diagnostic::at(&self.file, &self.text, place, message, remedy)
    }

    /// The same of a part of the setting's text that begins after `at` characters.
    pub fn mistake_within(
        &self,
        path: &[Step],
        value: &str,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        let place = place_within(&self.text, path, value, at);
        Diagnostic::at(&self.file, &self.text, place, message, remedy)
    }

    /// The same of the query.
    pub fn mistake_in_query(
        &self,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        self.mistake_within(&Step::keys(&["query"]), &self.query, at, message, remedy)
    }
}

/// The place of the value at `path`, or of the nearest key above it that is there.
pub(crate) fn nearest_place(text: &str, path: &[Step]) -> Option<Place> {
    let value = place_of_value(text, path).filter(|_| place_of_key(text, path).is_some());
    value.or_else(|| (1..path.len()).rev().find_map(|length| place_of_key(text, &path[..length])))
}

/// Where the part of the value at `path` stands that begins after `at` characters of `value`.
///
/// YAML indents, folds and quotes: so the word at that position is looked for in the file, as often
/// as it came before.
pub(crate) fn place_within(text: &str, path: &[Step], value: &str, at: usize) -> Option<Place> {
    let begin = place_of_value(text, path)?;
    let chars: Vec<char> = value.chars().collect();
    // What is missing at the end is told of the last character.
    let last = chars.iter().rposition(|c| !c.is_whitespace())?;
    let mut at = at.min(last);
    while chars[at].is_whitespace() {
        at += 1;
    }
    let part_of_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let word: Vec<char> = match chars[at..].iter().take_while(|c| part_of_word(c)).count() {
        0 => vec![chars[at]],
        length => chars[at..at + length].to_vec(),
    };
    let before = (0..at).filter(|from| chars[*from..].starts_with(&word)).count();
    let file: Vec<char> = text.chars().collect();
    let from = offset_of(&file, begin)?;
    let from = if file[from..].starts_with(&['|']) || file[from..].starts_with(&['>']) {
        from + file[from..].iter().position(|c| *c == '\n')?
    } else {
        from
    };
    let found = (from..file.len()).filter(|at| file[*at..].starts_with(&word)).nth(before)?;
    let line = 1 + file[..found].iter().filter(|c| **c == '\n').count();
    let column = 1 + file[..found].iter().rev().take_while(|c| **c != '\n').count();
    Some(Place { line, column })
}

fn offset_of(file: &[char], place: Place) -> Option<usize> {
    let mut line = 1;
    let begin = file.iter().position(|c| {
        let there = line == place.line;
        line += usize::from(*c == '\n');
        there
    })?;
    Some((begin + place.column - 1).min(file.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_a_value_become_places_of_the_file() {
        let check = |yaml: &str, word: &str, expect: (usize, usize)| {
            let value: serde_yaml::Mapping = serde_yaml::from_str(yaml).unwrap();
            let value = value["query"].as_str().unwrap().to_owned();
            let at = value[..value.rfind(word).unwrap()].chars().count();
            let place = place_within(yaml, &Step::keys(&["query"]), &value, at).unwrap();
            assert_eq!((place.line, place.column), expect, "{yaml}");
        };
        check("query: select x from t", "t", (1, 22));
        check("a: 1\nquery: |\n  select ü,\n    nothing,\n  nothing from t\n", "nothing", (5, 3));
        check("query: >-\n  select a\n  from a\nb: a\n", "a", (3, 8));
        check("query: 'select ''x'' from t'\n", "from", (1, 22));
        check("query: \"select a,\n  b from c\"\n", "c", (2, 10));
    }

    #[test]
    fn what_is_missing_at_the_end_is_told_of_the_last_word() {
        let yaml = "query: |\n  select a\n  where\n\ntarget: 1\n";
        let place = place_within(yaml, &Step::keys(&["query"]), "select a\nwhere\n\n", 99).unwrap();
        assert_eq!((place.line, place.column), (3, 7));
    }
}
