//! The section `exports`.

use std::time::Duration;

use offtake_jobs::StoreSpec;
use offtake_jobs::exports::{CHUNK_ROWS, CHUNK_ROWS_MAX, Compression};
use offtake_webhooks::Secrets;

use super::section::Section;
use super::{ByteSize, DAY, MILLISECOND, SECOND, defaults};
use crate::arguments::shown;

/// How exports work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exports {
    /// The store of exports for which none is named.
    pub store: Option<String>,
    pub workers: u32,
    pub queue: u32,
    /// None: for ever.
    pub keep: Option<Duration>,
    pub chunk_rows: u32,
    pub chunk_bytes: ByteSize,
    /// Of exports that do not say how. Not zstd: its parts are joined by the command that fetches
    /// them.
    pub compression: Compression,
    pub work: Duration,
    pub pause: Duration,
    pub settle: Duration,
    /// What signs callbacks; None: there are none.
    pub callback_secret: Option<CallbackSecret>,
}

/// Equal where the secrets are.
#[derive(Debug, Clone)]
pub struct CallbackSecret(pub Secrets);

impl PartialEq for CallbackSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.signatures() == other.0.signatures()
    }
}

impl Eq for CallbackSecret {}

fn callback_secret(section: &Section) -> Option<CallbackSecret> {
    let mut texts = section.list("callback_secret")?;
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() {
        return None;
    }
    let remedy = "`offtake webhook secret` prints a fresh one";
    let secrets = Secrets::parse(&texts);
    secrets.map_err(|why| section.note("callback_secret", &why, remedy)).ok().map(CallbackSecret)
}

impl Exports {
    /// `stores`: those of the file.
    pub(super) fn read(section: &Section, stores: &[StoreSpec]) -> Self {
        let longest = DAY / 24;
        let store = section.text("store");
        if let Some(name) = &store
            && !stores.iter().any(|store| store.name == *name)
        {
            let message = format!("there is no store named {}", shown(name));
            section.note("store", &message, "name one of those in `stores`");
        }
        Self {
            store,
            workers: section.count("workers", defaults::EXPORT_WORKERS, 1..=64),
            queue: section.count("queue", defaults::EXPORT_QUEUE, 1..=100_000),
            keep: section.duration_or_off("keep", defaults::EXPORT_KEEP, SECOND..=DAY * 3650),
            chunk_rows: section.count("chunk_rows", CHUNK_ROWS, 1..=CHUNK_ROWS_MAX),
            chunk_bytes: section.size(
                "chunk_bytes",
                defaults::EXPORT_CHUNK_BYTES,
                ByteSize(1 << 16)..=ByteSize(1 << 28),
            ),
            compression: section
                .choice("compression", &[("gzip", Compression::Gzip), ("none", Compression::None)])
                .unwrap_or(Compression::Gzip),
            work: section.duration("work", defaults::EXPORT_WORK, MILLISECOND..=longest),
            pause: section.duration("pause", defaults::EXPORT_PAUSE, Duration::ZERO..=longest),
            settle: section.duration("settle", defaults::EXPORT_SETTLE, SECOND..=longest),
            callback_secret: callback_secret(section),
        }
    }
}
