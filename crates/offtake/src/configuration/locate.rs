//! On which line of a YAML text a setting stands.
//!
//! The YAML parser knows every position but hands none out with its values; it does put them into errors. So the text is
//! read once more with a visitor that fails on purpose when it reaches the setting. Only done to report a mistake.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One step from the document's root to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The 1-based line of the key (or list item) that `path` leads to; None when the text does not contain it.
pub(super) fn line_of(text: &str, path: &[Step]) -> Option<usize> {
    let found = Walk { path }.deserialize(serde_yaml::Deserializer::from_str(text));
    found.err().and_then(|stopped| stopped.location()).map(|location| location.line())
}

/// Descends along the path; fails at its end.
struct Walk<'a> {
    path: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way to a setting")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(found) = map.next_key_seed(Key { wanted, last: rest.is_empty() })? {
            if found {
                return map.next_value_seed(Walk { path: rest });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*wanted {
            sequence.next_element::<IgnoredAny>()?;
        }
        sequence.next_element_seed(Walk { path: rest })?;
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom("here"))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Err(E::custom("here"))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Err(E::custom("here"))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Err(E::custom("here"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(E::custom("here"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(E::custom("here"))
    }
}

/// Whether a key is the wanted one; fails on it when the path ends there, so that the line is the key's own.
struct Key<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        if key == self.wanted && self.last { Err(E::custom("here")) } else { Ok(key == self.wanted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_yaml_parsers_own() {
        let text = "a: 1\n# b: no\nb:\n  query: |\n    c: no\n  list:\n    - { x: 1 }\n    - x: 2\n      c: 3\nd: { e: 1,\n  f: 2 }\n";
        let check = |path: &str, expect: Option<usize>| {
            let path: Vec<Step> = path.split('.').map(|s| s.parse().map(Step::Index).unwrap_or_else(|_| Step::Key(s.to_owned()))).collect();
            assert_eq!(line_of(text, &path), expect, "{path:?}");
        };
        check("a", Some(1));
        check("b", Some(3));
        check("b.list.0.x", Some(7));
        check("b.list.1", Some(8));
        check("b.list.1.c", Some(9));
        check("d.f", Some(11));
        check("d.g", None);
    }
}
