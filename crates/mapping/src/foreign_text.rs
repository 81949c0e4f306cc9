//! Text from outside, made fit for a terminal, a log and a page.
//!
//! Tenant ids, names and messages of other servers may contain anything: sequences that a terminal
//! obeys, line ends that forge a line of a log, marks that turn the direction of writing round,
//! characters without a width. Every command and every message prints such text through
//! [`foreign`].

use std::borrow::Cow;
use std::fmt::Write as _;

/// A longer text is cut: no name that a person reads is so long.
const CHARS_MAX: usize = 200;

/// The text on one line: what a terminal obeys or does not show is written as `\u{…}`, and what is
/// longer than 200 characters ends with `…`. Any other text is returned as it is.
pub fn foreign(text: &str) -> Cow<'_, str> {
    foreign_within(text, CHARS_MAX)
}

/// The same with a bound of its own.
pub fn foreign_within(text: &str, chars_max: usize) -> Cow<'_, str> {
    let cut = text.char_indices().nth(chars_max).map(|(at, _)| at);
    if cut.is_none() && !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for character in text[..cut.unwrap_or(text.len())].chars() {
        if is_unprintable(character) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    if cut.is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// A longer id of a tenant is refused.
const ID_CHARS_MAX: usize = 400;

/// The text as one word of a command that is printed for a person to run in a shell.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let shown = foreign_within(text, ID_CHARS_MAX);
    let plain = |c: char| c.is_alphanumeric() || "_-./:@%+=,".contains(c);
    match !shown.is_empty() && shown.chars().all(plain) {
        true => shown,
        false => Cow::Owned(format!("'{}'", shown.replace('\'', r"'\''"))),
    }
}

/// JSON as it is, with escapes for what a terminal obeys or does not show: the same values for a
/// program. The line ends between the values stay.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let escaped = |c: char| c != '\n' && is_unprintable(c);
    if !json.contains(escaped) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if escaped(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal obeys the character, shows nothing for it, or writes what follows elsewhere.
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Marks without a width, and marks and overrides of the direction of writing.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_command_is_quoted_where_a_shell_would_take_it_apart() {
        for (text, expect) in [
            ("7b0c8f2e-6f0f", "7b0c8f2e-6f0f"),
            ("tenant:münchen/main", "tenant:münchen/main"),
            ("Feb 3, 2026", "'Feb 3, 2026'"),
            ("o'neil; rm $x", r"'o'\''neil; rm $x'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), expect);
        }
    }

    #[test]
    fn json_means_the_same_with_its_escapes() {
        assert_eq!(printable_json("{\n\"a\": \"ü\"}"), "{\n\"a\": \"ü\"}");
        let hostile = "\u{202e}\u{9b}\u{e0041}";
        let shown = printable_json(hostile).into_owned();
        assert_eq!(shown, "\\u202e\\u009b\\udb40\\udc41");
        let read: serde_yaml::Value =
            serde_yaml::from_str(&format!("\"{}\"", &shown[..12])).unwrap();
        assert_eq!(read.as_str(), Some("\u{202e}\u{9b}"));
    }

    #[test]
    fn what_a_terminal_obeys_or_hides_is_shown() {
        let check = |text: &str, expect: &str| assert_eq!(foreign(text), expect);
        check("acme GmbH – München 東京 🦀", "acme GmbH – München 東京 🦀");
        check("", "");
        check("a\u{1b}[2Jb\nc\td\r", "a\\u{1b}[2Jb\\u{a}c\\u{9}d\\u{d}");
        check("\u{202e}gro.live\u{2066}", "\\u{202e}gro.live\\u{2066}");
        check("a\u{200b}b\u{feff}c\u{e0041}\u{9b}", "a\\u{200b}b\\u{feff}c\\u{e0041}\\u{9b}");
        let long = foreign_within("äöü", 2);
        assert_eq!(long, "äö…");
        assert_eq!(foreign(&"x".repeat(100_000)).chars().count(), CHARS_MAX + 1);
    }
}
