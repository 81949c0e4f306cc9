//! The section `snapshots`.

use std::time::Duration;

use offtake_jobs::StoreSpec;
use offtake_jobs::archive::Kind;
use offtake_jobs::snapshots::Keep;
use offtake_jobs::snapshots::source::OwnTable;
use offtake_mapping::nearest;
use offtake_postgres::{ConnectionString, InvalidUrl};

use super::section::Section;
use super::{DAY, defaults};
use crate::arguments::shown;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// The store that has them, if the file says which.
    pub store: Option<String>,
    /// Snapshots at the same time in one daemon.
    pub workers: u32,
    pub max_duration: Duration,
    /// How often daemons make one of each tenant; None: only when they are asked for.
    pub every: Option<Duration>,
    /// What daemons make of each tenant, one after the other; never empty.
    pub kinds: Vec<Kind>,
    /// None: all are kept.
    pub keep: Option<Keep>,
    /// Tables beside those of mappings whose rows snapshots of the kind `source` have.
    pub tables: Vec<OwnTable>,
}

/// Restoring into the source.
#[derive(Debug, Clone)]
pub struct Restore {
    /// A role that may write the application's tables. None: nothing is restored there.
    pub source_url: Option<ConnectionString>,
}

impl Restore {
    pub(super) fn read(section: &Section) -> Self {
        let url = section.text("source_url").and_then(|url| {
            let url = ConnectionString::source(&url);
            let note = |e: InvalidUrl| {
                section.note("source_url", &format!("{}: {}", e.what, e.why), e.remedy);
            };
            url.map_err(note).ok()
        });
        Self { source_url: url }
    }
}

/// A longer one would hold back vacuum at the source for days.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// Shorter ones are rather what a destination or its log is for.
const EVERY_MIN: Duration = Duration::from_secs(60);
const EVERY_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Ten years.
const WITHIN_MAX: Duration = Duration::from_secs(3650 * 86_400);

impl Snapshots {
    /// The store of snapshots for which none is named.
    pub fn default_store<'a>(&'a self, stores: &'a [StoreSpec]) -> Option<&'a str> {
        match (&self.store, stores) {
            (Some(name), _) => Some(name),
            (None, [only]) => Some(&only.name),
            (None, _) => None,
        }
    }

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
        let every =
            section.text("every").map(|_| section.duration("every", DAY, EVERY_MIN..=EVERY_MAX));
        if every.is_some() && store.is_none() && stores.len() != 1 {
            let message = match stores.is_empty() {
                true => "there is no store that snapshots could be kept in",
                false => "there are several stores, and it is not said which one has the snapshots",
            };
            section.note(
                "every",
                message,
                "name one of the `stores` of this file in snapshots.store",
            );
        }
        let kinds = kinds(section);
        let workers = section.count("workers", defaults::SNAPSHOT_WORKERS, 1..=64);
        let tables = section.sections("tables");
        let tables = tables.iter().filter_map(|table| {
            let (name, tenant) = table.table_of_tenants()?;
            Some(OwnTable { name, tenant })
        });
        let tables = tables.collect();
        let keep = some.then_some(keep);
        Self { store, workers, max_duration: max, every, kinds, keep, tables }
    }
}

/// Without a list, `rows`.
fn kinds(section: &Section) -> Vec<Kind> {
    let remedy = "write one or both of rows and source: [rows, source]";
    let names = section.list("kinds").unwrap_or_else(|| vec![Kind::Rows.as_str().to_owned()]);
    let mut kinds = Vec::new();
    for (at, name) in names.iter().enumerate() {
        match [Kind::Rows, Kind::Source].into_iter().find(|kind| kind.as_str() == name) {
            Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
            Some(_) => section.note_item("kinds", at, "this is there already", remedy),
            None => section.note_item("kinds", at, "there is no such kind", remedy),
        }
    }
    if names.is_empty() {
        section.note("kinds", "this is empty", remedy);
    }
    kinds
}
