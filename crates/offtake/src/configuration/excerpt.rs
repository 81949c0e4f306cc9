//! The line of `offtake.yaml` that a mistake is in, without what may be a secret.
//!
//! A mistake can be anywhere, also in a line that is not YAML. So the secrets are found in the text
//! of the line: all that follows `://` in a URL, and the value of every key whose name sounds like
//! a secret.

use std::ops::Range;

use offtake_mapping::yaml::excerpt_of_line;
use offtake_mapping::{Position, nearest};

/// Stands in place of what is left out.
const MASK: &str = "***";

/// The keys that hold secrets. A key that is almost spelled like one of them is taken for it.
const SECRET_KEYS: [&str; 3] = ["admin_token", "read_token", "password"];

/// A key that contains one of these sounds like a secret.
const SECRET_PARTS: [&str; 5] = ["token", "pass", "pwd", "secret", "key"];

/// The line at a position of the text, with marks below it; empty when nothing of it may be shown.
pub(super) fn masked_excerpt(text: &str, position: Position) -> String {
    let Some(line) = text.lines().nth(position.line.saturating_sub(1)) else {
        return String::new();
    };
    let characters: Vec<char> = line.chars().collect();
    let hidden = hidden(&characters);
    // Without a colon this is a line inside a longer value, which may be the value of a secret.
    if hidden.is_empty() && !line.contains(':') && position.column <= characters.len() {
        return String::new();
    }
    let (mut shown, mut column) = (String::new(), position.column);
    for (at, character) in characters.iter().enumerate() {
        match hidden.iter().find(|range| range.contains(&at)) {
            None => shown.push(*character),
            Some(range) if range.start == at => {
                shown.push_str(MASK);
                if position.column > range.end {
                    column = column + MASK.len() - range.len();
                } else if position.column > range.start {
                    column -= position.column - 1 - range.start;
                }
            }
            Some(_) => {}
        }
    }
    excerpt_of_line(&shown, Position { column, ..position })
}

/// The characters that are left out, in order.
fn hidden(line: &[char]) -> Vec<Range<usize>> {
    let mut hidden: Vec<Range<usize>> = Vec::new();
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

/// A URL ends behind the last `@` of the line, or later: what stands before an `@` may be a
/// password with blanks or quotes in it.
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

/// The value behind a colon; None when it is a variable, whose name is no secret.
fn value(line: &[char], from: usize) -> Option<Range<usize>> {
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
            let found = masked_excerpt(&format!("x: 1\n{line}\n"), Position { line: 2, column });
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
        // The second line of a value may belong to a secret.
        check("    hunter2", "h", "");
    }
}
