//! The line of `offtake.yaml` that a mistake is in, without what may be a secret.
//!
//! A mistake may be anywhere, also in a line that the YAML parser does not understand, so what is
//! left out is found in the line's text: the login and the rest behind `://`, and the value of
//! every key that sounds like a secret.

use std::path::Path;

use offtake_mapping::{Diagnostic, Place, nearest};

/// Stands in place of what is left out.
const MASK: &str = "***";

/// The keys that hold secrets; one that is nearly written like them was meant to be one of them.
const SECRET_KEYS: [&str; 3] = ["admin_token", "read_token", "password"];

/// Parts of a key that make it sound like a secret.
const SECRET_PARTS: [&str; 5] = ["token", "pass", "pwd", "secret", "key"];

/// The line at a place of the text, with marks below it; empty where nothing of it can be shown.
pub(super) fn of(file: &Path, text: &str, place: Place) -> String {
    let Some(line) = text.lines().nth(place.line.saturating_sub(1)) else { return String::new() };
    let characters: Vec<char> = line.chars().collect();
    let hidden = hidden(&characters);
    // A line of a longer value: whose, it does not say.
    if hidden.is_empty() && !line.contains(':') && place.column <= characters.len() {
        return String::new();
    }
    let (mut shown, mut column) = (String::new(), place.column);
    for (at, character) in characters.iter().enumerate() {
        match hidden.iter().find(|range| range.contains(&at)) {
            None => shown.push(*character),
            Some(range) if range.start == at => {
                shown.push_str(MASK);
                if place.column > range.end {
                    column = column + MASK.len() - range.len();
                } else if place.column > range.start {
                    column -= place.column - 1 - range.start;
                }
            }
            Some(_) => {}
        }
    }
    let masked = format!("{}{shown}", "\n".repeat(place.line.saturating_sub(1)));
    Diagnostic::at(file, &masked, Some(Place { line: place.line, column }), "", "").excerpt
}

/// The characters that are left out, in order.
fn hidden(line: &[char]) -> Vec<std::ops::Range<usize>> {
    let mut hidden: Vec<std::ops::Range<usize>> = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let range = if line[at..].starts_with(&[':', '/', '/']) {
            Some(at + 3..end_of_url(line, at + 3))
        } else if line[at] == ':' && secret_key(line, at) {
            value(line, at + 1)
        } else {
            None
        };
        match range {
            Some(range) if !range.is_empty() => {
                at = range.end;
                hidden.push(range);
            }
            _ => at += 1,
        }
    }
    hidden
}

/// Behind the last `@` of the line at least: whatever stands before one may be a password with
/// blanks or quotes in it.
fn end_of_url(line: &[char], begin: usize) -> usize {
    let from = line[begin..].iter().rposition(|c| *c == '@').map_or(begin, |at| begin + at);
    let ends = |c: &char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}');
    line[from..].iter().position(ends).map_or(line.len(), |length| from + length)
}

/// Whether the word before the colon names a secret.
fn secret_key(line: &[char], colon: usize) -> bool {
    let of_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let before: String =
        line[..colon].iter().rev().skip_while(|c| !of_word(c)).take_while(|c| of_word(c)).collect();
    let key: String = before.chars().rev().collect::<String>().to_lowercase();
    SECRET_PARTS.iter().any(|part| key.contains(part)) || nearest(&key, SECRET_KEYS).is_some()
}

/// The value behind a colon, unless it is a variable's name.
fn value(line: &[char], from: usize) -> Option<std::ops::Range<usize>> {
    let begin = from + line[from..].iter().position(|c| !c.is_whitespace())?;
    let quote = Some(line[begin]).filter(|c| matches!(c, '"' | '\''));
    let inside = begin + usize::from(quote.is_some());
    if line[inside..].starts_with(&['$', '{']) {
        return None;
    }
    let end = match quote {
        Some(quote) => line[inside..]
            .iter()
            .rposition(|c| *c == quote)
            .map_or(line.len(), |length| inside + length),
        None => line.len(),
    };
    Some(inside..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_without_its_secrets() {
        let check = |line: &str, word: &str, expect: &str| {
            let column = line.find(word).map_or(1, |at| line[..at].chars().count() + 1);
            let found = of(
                Path::new("offtake.yaml"),
                &format!("x: 1\n{line}\n"),
                Place { line: 2, column },
            );
            let shown: Vec<&str> = found
                .lines()
                .skip(1)
                .map(|line| line.split_once("| ").map_or("", |(_, rest)| rest))
                .collect();
            assert_eq!(shown.join("\n"), expect, "{line}");
        };
        check("sync: { worker: 3 }", "worker", "sync: { worker: 3 }\n        ^^^^^^");
        check("url: postgres://u:pw@h/d", "post", "url: postgres://***\n     ^^^^^^^^");
        check("url: postgres://u:p w@h/d", "url", "url: postgres://***\n^^^");
        check(
            "{ url: \"postgres://u:p\"w@h/d\", shared: x }",
            "x",
            "{ url: \"postgres://***\", shared: x }\n                                 ^",
        );
        check("{ urll: postgres://u:p@h/d }", "urll", "{ urll: postgres://*** }\n  ^^^^");
        check("  admin_token: abc # old", "abc", "  admin_token: ***\n               ^");
        check("  admin_tokn: 'it is'", "admin", "  admin_tokn: '***'\n  ^^^^^^^^^^");
        check("  db-password: a, b }", "db", "  db-password: ***\n  ^^^^^^^^^^^");
        check("  read_token: \"${T}\"", "read", "  read_token: \"${T}\"\n  ^^^^^^^^^^");
        // A value's second line may be anything.
        check("    hunter2", "h", "");
    }
}
