//! The first pages of several turns, read at once.
//!
//! A claim that takes several requests finds webhooks that are due together. Of those that are told
//! the same of the same mappings the pages are read in one snapshot, by one statement per mapping:
//! where each is read by itself, most of what it costs is the transaction around it. Only what is
//! simple is read so. A turn that gets no page reads by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use offtake_mapping::ResolvedMapping;
use offtake_reading::{Error as ReadingError, EventPage, EventsOfGroup, Member, read_event_group};
use offtake_requests::WebhookClaim;
use tokio::sync::{Semaphore, oneshot};

use super::Context;
use crate::Payload;
use crate::event::EVENT_BYTES_MAX;
use crate::registry::Registered;

/// Webhooks whose pages are read at once, at most.
const TOGETHER_MAX: usize = 100;

/// Such reads at one time: one in the server while the next is prepared.
const AT_ONCE_MAX: usize = 2;

/// A read that takes longer is given up, and each turn reads by itself: a slow tenant keeps no other
/// waiting. A hundred are read in a tenth of it.
const PATIENCE: Duration = Duration::from_millis(250);

/// After a read that failed or took too long, webhooks of the same mappings read by themselves for
/// this long.
const UNFIT_FOR: Duration = Duration::from_secs(60);

/// Bytes of rows in one such read, about.
const BYTES_MAX: usize = 16 << 20;

/// A page that is being read for a turn before it begins.
pub(crate) struct PageAhead {
    /// The webhook as it was when the read was asked for.
    registered: Arc<Registered>,
    page: oneshot::Receiver<EventPage>,
}

impl PageAhead {
    /// Waits for the page. None: the turn is to read by itself, or the webhook is another one now.
    pub(super) async fn page(self, registered: &Arc<Registered>) -> Option<EventPage> {
        match Arc::ptr_eq(&self.registered, registered) {
            true => self.page.await.ok(),
            false => None,
        }
    }
}

/// What the reads ahead of a process share.
pub(crate) struct Ahead {
    places: Semaphore,
    /// What webhooks have in common that read by themselves, and since when.
    unfit: Mutex<HashMap<String, Instant>>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { places: Semaphore::new(AT_ONCE_MAX), unfit: Mutex::default() }
    }
}

impl Ahead {
    fn is_unfit(&self, common: &str) -> bool {
        let mut unfit = self.unfit();
        unfit.retain(|_, since| since.elapsed() < UNFIT_FOR);
        unfit.contains_key(common)
    }

    fn note_unfit(&self, common: String) {
        self.unfit().insert(common, Instant::now());
    }

    fn unfit(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A webhook whose page is read with those of others.
struct Asked {
    registered: Arc<Registered>,
    /// For each of its mappings: changes with a higher sequence id are read.
    after: Vec<i64>,
    tell: oneshot::Sender<EventPage>,
}

/// Begins to read the first pages of these claims, as far as they can be read together. Returns them
/// by their requests.
pub(crate) fn read_ahead(
    context: &Arc<Context>,
    claims: &[WebhookClaim],
) -> HashMap<i64, PageAhead> {
    let mut pages = HashMap::new();
    let mut groups: HashMap<String, Vec<Asked>> = HashMap::new();
    for claim in claims.iter().filter(|_| claims.len() > 1) {
        let Some(registered) = context.registry.get(claim.webhook_id) else { continue };
        let Some(after) = positions(&registered, claim) else { continue };
        let (tell, page) = oneshot::channel();
        let ahead = PageAhead { registered: registered.clone(), page };
        pages.insert(claim.lease.request_id, ahead);
        let group = groups.entry(in_common(&registered)).or_default();
        group.push(Asked { registered, after, tell });
    }
    for (common, mut group) in groups {
        // A single webhook that is left over is read alone.
        while group.len() > 1 && !context.ahead.is_unfit(&common) {
            let some = group.split_off(group.len().saturating_sub(TOGETHER_MAX));
            tokio::spawn(read(context.clone(), common.clone(), some));
        }
    }
    pages
}

/// What webhooks have in common whose pages are read together.
fn in_common(registered: &Registered) -> String {
    let versions = registered.mappings.iter().map(|(_, version)| version.as_str());
    format!("{:?} {}", registered.spec.payload, versions.collect::<Vec<_>>().join(" "))
}

/// After which changes a webhook's page begins. None: something else than changes is to be told.
fn positions(registered: &Registered, claim: &WebhookClaim) -> Option<Vec<i64>> {
    let only_changes = registered.refused.is_none()
        && !registered.mappings.is_empty()
        && claim.replays.is_empty()
        && claim.quarantined == 0;
    let position = |(mapping, version): &(Arc<ResolvedMapping>, String)| {
        let cursor = claim.cursors.iter().find(|cursor| cursor.mapping == mapping.name())?;
        let settled = cursor.resync_reason.is_none()
            && cursor.backfilled
            && cursor.deferred_for.is_none()
            && cursor.epoch.is_some()
            && cursor.version.as_ref() == Some(version);
        settled.then_some(cursor.sequence_id)
    };
    only_changes.then(|| registered.mappings.iter().map(position).collect())?
}

/// Reads the pages of some webhooks, and gives each turn its own.
async fn read(context: Arc<Context>, common: String, asked: Vec<Asked>) {
    let Some(first) = asked.first().map(|asked| asked.registered.clone()) else { return };
    // The semaphores are never closed.
    let _place = context.ahead.places.acquire().await;
    let _reader = context.readers.acquire().await;
    let mappings: Vec<Arc<ResolvedMapping>> =
        first.mappings.iter().map(|(mapping, _)| mapping.clone()).collect();
    let read = {
        let members: Vec<Member<'_>> = asked
            .iter()
            .map(|Asked { registered, after, .. }| Member {
                tenant_id: &registered.spec.tenant_at_source,
                after: after.clone(),
            })
            .collect();
        let wanted = EventsOfGroup {
            members: &members,
            mappings: &mappings,
            accepted: &first.spec.accepted,
            with_data: first.spec.payload == Payload::Full,
            data_bytes_max: EVENT_BYTES_MAX,
            bytes_max: BYTES_MAX,
            statement_timeout: context.settings.statement_timeout,
        };
        tokio::time::timeout(PATIENCE, read_event_group(&context.pool, &wanted)).await
    };
    match read {
        Ok(Ok(pages)) => {
            let turns = pages.iter().flatten().count();
            tracing::debug!(event = "webhooks_read_together", turns, "{turns} pages were read");
            for (asked, page) in asked.into_iter().zip(pages) {
                // The turn may have ended meanwhile.
                let _ = page.map(|page| asked.tell.send(page));
            }
        }
        Ok(Err(ReadingError::Source(_) | ReadingError::Overflow { .. })) => {}
        // A row cannot be computed, or a read of several takes too long.
        Ok(Err(_)) | Err(_) => context.ahead.note_unfit(common),
    }
}
