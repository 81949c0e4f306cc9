//! Names of objects.

use std::fmt;

/// The name of an object: words of letters, digits, `_`, `-` and `.`, with slashes between them. No
/// word begins with a dot, so none leads upwards, and none is that of an unfinished object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Of a whole key; object stores allow 1024.
const KEY_BYTES_MAX: usize = 900;

/// Of one word: what file systems allow, less what an unfinished object's name adds.
const WORD_BYTES_MAX: usize = 200;

impl Key {
    /// None where the text is no key.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let word = |word: &str| {
            !word.is_empty()
                && word.len() <= WORD_BYTES_MAX
                && !word.starts_with('.')
                && word.chars().all(of_word)
        };
        (text.len() <= KEY_BYTES_MAX && text.split('/').all(word)).then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of something below this one.
    pub fn below(&self, text: &str) -> Option<Self> {
        Self::new(format!("{}/{text}", self.0))
    }

    /// The words above the last one, and the last one.
    pub(super) fn split(&self) -> (Vec<&str>, &str) {
        let mut words: Vec<&str> = self.0.split('/').collect();
        let last = words.pop().unwrap_or_default();
        (words, last)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_nowhere_but_down() {
        for good in ["a", "exp_1/users.csv.gz/000001.a1r0", "A-b_c.d/e"] {
            assert!(Key::new(good).is_some(), "{good}");
        }
        let long = "x".repeat(WORD_BYTES_MAX + 1);
        for bad in
            ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".a", "a/.b", "a b", "ü", "a\0", &long]
        {
            assert!(Key::new(bad).is_none(), "{bad}");
        }
        assert!(Key::new("a").unwrap().below("../b").is_none());
    }
}
