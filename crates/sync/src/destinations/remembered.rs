//! What is remembered of destinations without a link.
//!
//! A hundred thousand tenants of one place have the same mappings, versions, epoch and tables. Each
//! text is kept once, so that a destination takes some 300 bytes, and not four kilobytes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{KnownState, Reference};
use crate::cursors::Cursor;

/// By destination.
#[derive(Default)]
pub(super) struct Memory {
    destinations: HashMap<i64, Remembered>,
    texts: HashSet<Arc<str>>,
}

struct Remembered {
    fingerprint: Arc<str>,
    cursors: Box<[(Arc<str>, RememberedCursor)]>,
    identities: Box<[(Arc<str>, Arc<str>)]>,
    references: Vec<Reference>,
    at: Instant,
}

struct RememberedCursor {
    sequence_id: i64,
    backfilled: bool,
    backfill_key: Option<Vec<String>>,
    epoch: Arc<str>,
    version: Arc<str>,
    written: Box<str>,
}

impl Memory {
    pub(super) fn insert(&mut self, destination_id: i64, known: KnownState) {
        let KnownState { fingerprint, cursors, identities, references, at } = known;
        let cursors = cursors.into_iter().map(|(mapping, cursor)| {
            let Cursor { sequence_id, backfilled, backfill_key, epoch, version, written } = cursor;
            let (epoch, version) = (self.text(&epoch), self.text(&version));
            let written = written.into();
            let cursor =
                RememberedCursor { sequence_id, backfilled, backfill_key, epoch, version, written };
            (self.text(&mapping), cursor)
        });
        let cursors = cursors.collect();
        let identities = identities.iter();
        let identities = identities.map(|(name, table)| (self.text(name), self.text(table)));
        let identities = identities.collect();
        let fingerprint = self.text(&fingerprint);
        let remembered = Remembered { fingerprint, cursors, identities, references, at };
        self.destinations.insert(destination_id, remembered);
    }

    pub(super) fn remove(&mut self, destination_id: i64) -> Option<KnownState> {
        let Remembered { fingerprint, cursors, identities, references, at } =
            self.destinations.remove(&destination_id)?;
        let cursors = cursors.into_iter().map(|(mapping, cursor)| {
            let cursor = Cursor {
                sequence_id: cursor.sequence_id,
                backfilled: cursor.backfilled,
                backfill_key: cursor.backfill_key,
                epoch: cursor.epoch.to_string(),
                version: cursor.version.to_string(),
                written: cursor.written.into(),
            };
            (mapping.to_string(), cursor)
        });
        let identities =
            identities.iter().map(|(name, table)| (name.to_string(), table.to_string()));
        Some(KnownState {
            fingerprint: fingerprint.to_string(),
            cursors: cursors.collect(),
            identities: identities.collect(),
            references,
            at,
        })
    }

    /// Forgets what is older, and destinations that are not `wanted`.
    pub(super) fn retain(&mut self, age: Duration, wanted: impl Fn(i64) -> bool) {
        self.destinations.retain(|id, known| wanted(*id) && known.at.elapsed() < age);
        self.destinations.shrink_to(self.destinations.len() * 2);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(kept) = self.texts.get(text) {
            return kept.clone();
        }
        let kept: Arc<str> = text.into();
        self.texts.insert(kept.clone());
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursors::{Cursors, Identities};

    #[test]
    fn what_is_remembered_is_what_was_known_and_each_text_is_kept_once() {
        let cursor = |written: &str| Cursor {
            sequence_id: 7,
            backfilled: false,
            backfill_key: Some(vec!["a".to_owned()]),
            epoch: "epoch".to_owned(),
            version: "version".to_owned(),
            written: written.to_owned(),
        };
        let known = |written| {
            let cursors = Cursors::from([("notes".to_owned(), cursor(written))]);
            let identities = Identities::from([("notes".to_owned(), "1:2".to_owned())]);
            KnownState::new("place".to_owned(), cursors, identities)
        };
        let mut memory = Memory::default();
        memory.insert(1, known("11"));
        memory.insert(2, known("12"));
        assert_eq!(memory.texts.len(), 5);
        let first = memory.remove(1).expect("it is remembered");
        assert_eq!((first.fingerprint, first.cursors), ("place".to_owned(), known("11").cursors));
        assert_eq!(first.identities, known("11").identities);
        assert!(memory.remove(1).is_none());
        memory.retain(Duration::from_secs(60), |id| id != 2);
        assert!(memory.remove(2).is_none());
        assert!(memory.texts.is_empty());
    }
}
