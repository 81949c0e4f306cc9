//! Where in a YAML text a setting stands.
//!
//! The YAML parser knows every position but hands none out with its values; it does put them into
//! errors. So the text is read once more with a visitor that fails on purpose when it reaches the
//! setting. Only done to report a mistake.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// One step from the document's root to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    /// A path of keys.
    pub fn keys(keys: &[&str]) -> Vec<Self> {
        keys.iter().map(|key| Self::Key((*key).to_owned())).collect()
    }

    /// The path of a key in one entry of a mapping's `depends_on`.
    pub fn of_dependency(index: usize, keys: &[&str]) -> Vec<Self> {
        let entry = [Self::Key("depends_on".to_owned()), Self::Index(index)];
        entry.into_iter().chain(Self::keys(keys)).collect()
    }
}

/// Line and column, both 1-based; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Where the key (or list item) begins that `path` leads to; None when the text does not contain
/// it.
pub fn place_of_key(text: &str, path: &[Step]) -> Option<Place> {
    stop(text, Walk { path, at_key: true })
}

/// Where its value begins.
pub fn place_of_value(text: &str, path: &[Step]) -> Option<Place> {
    stop(text, Walk { path, at_key: false })
}

/// A key that one mapping of the text has twice, and the place of the second one.
pub fn duplicate_key(text: &str) -> Option<(String, Place)> {
    let mut found = None;
    let error = Distinct { found: &mut found }
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .err()?;
    Some((found?, place_of(&error)?))
}

fn stop(text: &str, walk: Walk<'_>) -> Option<Place> {
    walk.deserialize(serde_yaml::Deserializer::from_str(text))
        .err()
        .and_then(|stopped| place_of(&stopped))
}

/// Where the YAML parser stopped.
pub fn place_of(error: &serde_yaml::Error) -> Option<Place> {
    error.location().map(|location| Place { line: location.line(), column: location.column() })
}

/// Descends along the path; fails at its end.
struct Walk<'a> {
    path: &'a [Step],
    at_key: bool,
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
        while let Some(found) =
            map.next_key_seed(Key { wanted, last: rest.is_empty() && self.at_key })?
        {
            // A mapping that is not read to its end is an error of its own.
            if found {
                map.next_value_seed(Walk { path: rest, at_key: self.at_key })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
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
        sequence.next_element_seed(Walk { path: rest, at_key: self.at_key })?;
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
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

/// Whether a key is the wanted one; fails on it when the path ends there, so that the place is the
/// key's own.
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
        if key == self.wanted && self.last {
            Err(E::custom("here"))
        } else {
            Ok(key == self.wanted)
        }
    }
}

/// Goes through everything; fails at a key that its mapping had before.
struct Distinct<'a> {
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Distinct<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while map.next_key_seed(Fresh { seen: &mut seen, found: self.found })?.is_some() {
            map.next_value_seed(Distinct { found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(Distinct { found: self.found })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key that was not there yet.
struct Fresh<'a> {
    seen: &'a mut BTreeSet<String>,
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Fresh<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Fresh<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        if self.seen.insert(key.to_owned()) {
            return Ok(());
        }
        *self.found = Some(key.to_owned());
        Err(E::custom("again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\n# b: no\nb:\n  query: |\n    c: no\n  list:\n    - { x: 1 }\n    - x: 2\n      c: 3\nd: { e: 1,\n  f: ü, g: 7 }\n";

    #[test]
    fn the_place_is_the_yaml_parsers_own() {
        let check = |path: &str, key: Option<(usize, usize)>, value: Option<(usize, usize)>| {
            let path: Vec<Step> = path
                .split('.')
                .map(|s| s.parse().map(Step::Index).unwrap_or_else(|_| Step::Key(s.to_owned())))
                .collect();
            let plain = |place: Option<Place>| place.map(|p| (p.line, p.column));
            assert_eq!(
                (plain(place_of_key(TEXT, &path)), plain(place_of_value(TEXT, &path))),
                (key, value),
                "{path:?}"
            );
        };
        check("a", Some((1, 1)), Some((1, 4)));
        check("b", Some((3, 1)), Some((4, 3)));
        check("b.query", Some((4, 3)), Some((4, 10)));
        check("b.list.0.x", Some((7, 9)), Some((7, 12)));
        check("b.list.1", Some((8, 7)), Some((8, 7)));
        check("b.list.1.c", Some((9, 7)), Some((9, 10)));
        check("d.g", Some((11, 9)), Some((11, 12)));
        check("d.h", None, None);
        check("b.list.0.y", None, None);
    }

    #[test]
    fn a_key_that_is_there_twice_is_found() {
        assert_eq!(duplicate_key(TEXT), None);
        let twice = duplicate_key("a: 1\nb: { c: 1, d: 2, c: 3 }\n");
        assert_eq!(twice, Some(("c".to_owned(), Place { line: 2, column: 18 })));
    }
}
