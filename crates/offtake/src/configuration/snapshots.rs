//! The section `snapshots`.

use std::time::Duration;

use offtake_jobs::StoreSpec;
use offtake_jobs::snapshots::Keep;
use offtake_mapping::nearest;

use super::defaults;
use super::section::Section;
use crate::arguments::shown;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// The store that has them, if the file says which.
    pub store: Option<String>,
    pub max_duration: Duration,
    /// None: all are kept.
    pub keep: Option<Keep>,
}

/// A longer one would hold back vacuum at the source for days.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// Ten years.
const WITHIN_MAX: Duration = Duration::from_secs(3650 * 86_400);

impl Snapshots {
    pub(super) fn read(section: &Section, stores: &[StoreSpec]) -> Self {
        let names = || stores.iter().map(|store| store.name.as_str());
        let store = section.text("store");
        if let Some(name) = store.as_deref().filter(|name| !names().any(|known| known == *name)) {
            let remedy = match nearest(name, names()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "write the name of one of the `stores` of this file".to_owned(),
            };
            section.note("store", &format!("there is no store named `{}`", shown(name)), &remedy);
        }
        let max = section.duration(
            "max_duration",
            defaults::SNAPSHOT_MAX_DURATION,
            Duration::from_secs(1)..=DURATION_MAX,
        );
        let keep = section.section("keep");
        let some = keep.is_written();
        let keep = Keep {
            last: keep.count("last", 0, 0..=100_000),
            within: keep.duration("within", Duration::ZERO, Duration::ZERO..=WITHIN_MAX),
        };
        Self { store, max_duration: max, keep: some.then_some(keep) }
    }
}
