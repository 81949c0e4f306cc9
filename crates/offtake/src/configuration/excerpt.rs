//! The line of `offtake.yaml` that a mistake is in, without what may be a secret.
//!
//! A mistake can be anywhere, also in a line that is not YAML, and a URL or a password has no form
//! of its own: `host=h password=p` is as good a connection string as `postgresql://u:p@h`. So it is
//! the key that decides. The values of the keys that hold no secret are shown, and nothing else is:
//! not the value of an unknown key (it may be a misspelt one), not a comment, not a word that
//! belongs to no key.

use std::ops::Range;
use std::sync::LazyLock;

use offtake_mapping::yaml::excerpt_of_line;
use offtake_mapping::{Position, nearest};
use serde_json::Value;

use super::section::SCHEMA_TREE;

/// Stands in place of what is left out.
const MASK: &str = "***";

/// The keys whose values are URLs, tokens, or SQL that may contain them.
const SECRET_KEYS: [&str; 11] = [
    "admin_token",
    "read_token",
    "url",
    "query",
    "password",
    "secret",
    "status_secret",
    "headers",
    "where",
    "access_key_id",
    "secret_access_key",
];

/// A key that contains one of these holds a secret, whatever the schema says about it.
const SECRET_PARTS: [&str; 8] = ["token", "pass", "pwd", "secret", "key", "dsn", "uri", "conn"];

/// A longer key is no key of a configuration.
const KEY_CHARS_MAX: usize = 64;

/// Unknown keys show a value that is no longer than this and looks like a number or a flag.
const NUMBER_CHARS_MAX: usize = 12;

/// The keys of the schema that hold a value which may be shown, and those that hold a section.
static KNOWN: LazyLock<(Vec<String>, Vec<String>)> = LazyLock::new(|| {
    let (mut plain, mut sections) = (Vec::new(), Vec::new());
    collect(&SCHEMA_TREE, &mut plain, &mut sections);
    (plain, sections)
});

fn collect(node: &Value, plain: &mut Vec<String>, sections: &mut Vec<String>) {
    for (key, below) in node["properties"].as_object().into_iter().flatten() {
        let items = &below["items"];
        let named = &below["additionalProperties"];
        let has_keys = [below, items, named].iter().any(|node| node["properties"].is_object());
        if has_keys { &mut *sections } else { &mut *plain }.push(key.clone());
        collect(below, plain, sections);
        collect(items, plain, sections);
        collect(&below["additionalProperties"], plain, sections);
    }
}

/// What a key says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// A value that may be shown.
    Plain,
    /// More keys.
    Section,
    /// A URL or a secret.
    Secret,
    /// The key is not known.
    Unknown,
}

impl Holds {
    fn of(key: &str) -> Self {
        let (plain, sections) = &*KNOWN;
        let key = key.to_lowercase();
        let secret = SECRET_KEYS.contains(&key.as_str());
        if secret {
            Self::Secret
        } else if plain.contains(&key) {
            Self::Plain
        } else if sections.contains(&key) {
            Self::Section
        } else if SECRET_PARTS.iter().any(|part| key.contains(part))
            || nearest(&key, SECRET_KEYS).is_some()
        {
            Self::Secret
        } else {
            Self::Unknown
        }
    }
}

/// The line at a position of the text, with marks below it; empty when nothing of it may be shown.
pub(super) fn masked_excerpt(text: &str, position: Position) -> String {
    let mut reader = Reader::default();
    let mut lines = text.lines();
    for line in lines.by_ref().take(position.line.saturating_sub(1)) {
        reader.read(&line.chars().collect::<Vec<_>>());
    }
    let Some(line) = lines.next() else { return String::new() };
    let characters: Vec<char> = line.chars().collect();
    let Some(hidden) = reader.read(&characters) else { return String::new() };
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
    if !shown.chars().any(char::is_alphanumeric) {
        return String::new();
    }
    excerpt_of_line(&shown, Position { column, ..position })
}

/// Reads the lines of a file in turn, and remembers what a line inherits from those above it.
#[derive(Default)]
struct Reader {
    /// The column of a key whose hidden value may go on in lines that are indented deeper.
    hidden_below: Option<usize>,
    /// The quote of a hidden value that is not closed yet.
    open_quote: Option<char>,
    /// Whether this is in a list of values that may be shown.
    plain_above: bool,
}

impl Reader {
    /// The characters of the line that are left out, in order; None: all of it.
    fn read(&mut self, line: &[char]) -> Option<Vec<Range<usize>>> {
        if let Some(quote) = self.open_quote {
            if line.contains(&quote) {
                self.open_quote = None;
            }
            return None;
        }
        let indent = line.iter().position(|c| !c.is_whitespace())?;
        match self.hidden_below {
            Some(column) if indent > column => return None,
            _ => self.hidden_below = None,
        }
        let mut hidden = Vec::new();
        let mut at = indent;
        while at < line.len() {
            let character = line[at];
            let dash = character == '-' && line.get(at + 1).is_none_or(|c| c.is_whitespace());
            if character.is_whitespace() || "{}[],".contains(character) || dash {
                self.plain_above &= character != ']';
                at += 1;
            } else if let Some((key, value)) = key(line, at) {
                at = self.read_value(line, (at, &key), value, &mut hidden);
            } else {
                let end = end_of_plain(line, at);
                if !(self.plain_above && harmless(&line[at..end])) {
                    hidden.push(at..if self.plain_above { end } else { line.len() });
                }
                at = hidden.last().map_or(end, |last: &Range<usize>| end.max(last.end));
            }
        }
        Some(hidden)
    }

    /// Reads the value that begins at or behind `from`. Returns where to read on.
    fn read_value(
        &mut self,
        line: &[char],
        (key_begin, key): (usize, &str),
        from: usize,
        hidden: &mut Vec<Range<usize>>,
    ) -> usize {
        let holds = Holds::of(key);
        let blanks = line[from..].iter().take_while(|c| c.is_whitespace()).count();
        let begin = from + blanks;
        let first = line.get(begin).copied();
        self.plain_above = holds == Holds::Plain && first.is_none_or(|first| first == '[');
        let Some(first) = first else {
            if holds == Holds::Secret {
                self.hidden_below = Some(key_begin);
            }
            return begin;
        };
        if matches!(first, '{' | '[') && holds != Holds::Secret {
            return begin;
        }
        let (range, closed) = value(line, begin);
        let shown = match holds {
            Holds::Plain => harmless(&line[range.clone()]),
            Holds::Secret => variable(&line[range.clone()]),
            Holds::Section | Holds::Unknown => {
                number(&line[range.clone()]) || variable(&line[range.clone()])
            }
        };
        if shown {
            return range.end + usize::from(closed.is_some());
        }
        // Where a hidden value ends is only certain behind its closing quote.
        let (end, quote) = match closed {
            Some(quote) => {
                let last = line[range.start..].iter().rposition(|c| *c == quote);
                (last.map_or(line.len(), |length| range.start + length), None)
            }
            None => (line.len(), Some(first).filter(|c| matches!(c, '"' | '\''))),
        };
        if closed.is_none() {
            self.hidden_below = Some(key_begin);
            self.open_quote = quote;
        }
        hidden.push(range.start..end);
        end + usize::from(closed.is_some())
    }
}

/// The key that begins at `at`, and where its value may begin.
fn key(line: &[char], at: usize) -> Option<(String, usize)> {
    let quote = Some(line[at]).filter(|c| matches!(c, '"' | '\''));
    let begin = at + usize::from(quote.is_some());
    let of_word = |c: &&char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let length = line[begin..].iter().take_while(of_word).count();
    if length == 0 || length > KEY_CHARS_MAX {
        return None;
    }
    let mut end = begin + length;
    if quote.is_some() {
        if line.get(end).copied() != quote {
            return None;
        }
        end += 1;
    }
    let colon = end + line[end..].iter().take_while(|c| c.is_whitespace()).count();
    let after = line.get(colon + 1);
    let is_key = line.get(colon) == Some(&':')
        && (quote.is_some() || after.is_none_or(|c| c.is_whitespace()));
    is_key.then(|| (line[begin..begin + length].iter().collect(), colon + 1))
}

/// The characters of the value that begins at `begin`, without quotes, and the quote that closes
/// it.
fn value(line: &[char], begin: usize) -> (Range<usize>, Option<char>) {
    match line[begin] {
        quote @ ('"' | '\'') => {
            let ends = |at: &usize| {
                let after = line.get(at + 1);
                line[*at] == quote && after.is_none_or(|c| c.is_whitespace() || "},]".contains(*c))
            };
            match (begin + 1..line.len()).find(ends) {
                Some(end) => (begin + 1..end, Some(quote)),
                None => (begin + 1..line.len(), None),
            }
        }
        _ => (begin..end_of_plain(line, begin), None),
    }
}

/// Where a value without quotes ends, at the latest in a list or between braces.
fn end_of_plain(line: &[char], begin: usize) -> usize {
    let mut braces = 0_usize;
    let ends = |at: &usize| match line[*at] {
        '{' => {
            braces += 1;
            false
        }
        '}' if braces > 0 => {
            braces -= 1;
            false
        }
        '}' | ']' | ',' => true,
        '#' => *at == begin || line[at - 1].is_whitespace(),
        _ => false,
    };
    let found = (begin..line.len()).find(ends);
    found.map_or(line.len(), |end| if end == begin { line.len() } else { end })
}

/// Whether a value of a key that holds no secret is what such values look like.
fn harmless(value: &[char]) -> bool {
    let assigns = value.iter().any(|c| matches!(c, '=' | '@' | ';' | '#'));
    let holds = |two: [char; 2]| value.windows(2).any(|pair| pair == two);
    // A line of .pgpass has four colons; so may an IPv6 address.
    let colons = value.iter().filter(|c| **c == ':').count();
    let address = value.contains(&'[') || holds([':', ':']);
    !assigns && !holds(['/', '/']) && (colons < 2 || address)
}

/// `${NAME}` and nothing more: the name of a variable is no secret, its default may be one.
fn variable(value: &[char]) -> bool {
    let text: String = value.iter().collect();
    let name = text.trim_end().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// A number, with a unit or without, or a flag.
fn number(value: &[char]) -> bool {
    let text: String = value.iter().collect();
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    matches!(text, "true" | "false" | "|" | ">" | "|-" | ">-")
        || text.len() <= NUMBER_CHARS_MAX
            && unit.len() < text.len()
            && unit.len() <= 3
            && unit.chars().all(|c| c.is_ascii_alphabetic())
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
        check("url: postgres://u:pw@h/d", "post", "url: ***\n     ^");
        check("url: postgres://u:p w@h/d", "url", "url: ***\n^^^");
        check(
            "{ url: \"postgres://u:p\"w@h/d\", shared: x }",
            "x",
            "{ url: \"***\", shared: x }\n                      ^",
        );
        check("{ urll: postgres://u:p@h/d }", "urll", "{ urll: ***\n  ^^^^");
        check("  admin_token: abc # old", "abc", "  admin_token: ***\n               ^");
        check("  admin_tokn: 'it is'", "admin", "  admin_tokn: '***'\n  ^^^^^^^^^^");
        check("  db-password: a, b }", "db", "  db-password: ***\n  ^^^^^^^^^^^");
        check("  read_token: \"${T}\"", "read", "  read_token: \"${T}\"\n  ^^^^^^^^^^");
        check("  read_token: \"${T:-pw}\"", "read", "  read_token: \"***\"\n  ^^^^^^^^^^");
        check("  read_token: ${T}pw", "read", "  read_token: ***\n  ^^^^^^^^^^");
        check("sync: { workers: 0 } # pw", "0", "sync: { workers: 0 } ***\n                 ^");
        check("retry: { initial: 5s,", "5s", "retry: { initial: 5s,\n                  ^^");
        check("tenant: a, host=h password=p", "tenant", "tenant: a, ***\n^^^^^^");
        check("tenant: host=h password=p", "tenant", "tenant: ***\n^^^^^^");
        check(
            "allow_destinations: [10.0.0.0/33]",
            "10",
            "allow_destinations: [10.0.0.0/33]\n                     ^^^^^^^^",
        );
        check("- h:5432:d:u:pw", "h", "");
        check("    hunter2", "h", "");
    }

    #[test]
    fn no_form_of_a_connection_string_is_shown() {
        let forms = [
            "host=127.0.0.1 user=postgres password=Canary dbname=x",
            "Server=h;User Id=u;Pwd=Canary;Database=x",
            "jdbc:postgresql://h/d?user=u&password=Canary",
            "u:Canary@h/d",
            "postgres:/u:Canary@h/d",
            "127.0.0.1:5432:d:u:Canary",
            "PGPASSWORD=Canary psql -h h",
            "user: u, password: Canary",
            "{ password: Canary }",
            "[Canary]",
            "|2 Canary",
        ];
        for form in forms {
            for text in [
                format!("url: {form}"),
                format!("url: \"{form}\""),
                format!("- {{ tenant: a, url: {form} }}"),
                format!("- {{ tenant: a, url: '{form}', shared: x }}"),
                format!("- {{ tenant: a, {form} }}"),
                format!("- \"{form}\""),
                format!("- {form}"),
                form.to_owned(),
                format!("connection: {form}"),
                format!("database: {form}"),
                format!("source: {form}"),
                format!("url: |\n  {form}"),
                format!("url: >-\n  a\n\n  {form}"),
                format!("url:\n  {form}"),
                format!("url: \"a\n{form}\""),
                format!("{{ url: 'a\n{form}', shared: x }}"),
                format!("# url: {form}"),
                format!("sync: {{ workers: 0 }} # {form}"),
            ] {
                for line in 1..=text.lines().count() {
                    for column in [1, 4, 12, 60] {
                        let shown = masked_excerpt(&text, Position { line, column });
                        assert!(!shown.contains("Canary"), "{text}\n{shown}");
                    }
                }
            }
        }
    }
}
