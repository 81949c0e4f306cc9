//! What a turn reads and mirrors together with other turns; [`Joint`] says when.
//!
//! Only what is simple: the changes of a copy that is complete, and the end of its request. Each
//! turn still writes by itself, to a database of its own, and compares the cursors there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use offtake_reading::{Batch, GROUP_CHANGES_MAX, Member, WantedOfGroup, read_group};
use tokio::sync::SemaphorePermit;

use super::Turn;
use super::joint::{Joint, PATIENCE, Role, Waiting};
use crate::Error;
use crate::cursors::{Cursors, Identities};
use crate::record::{self, Done};

/// What other turns read together with.
pub(crate) struct ToRead {
    tenant_id: String,
    after: Vec<i64>,
}

pub(crate) type JointReads = Joint<ToRead, Batch>;

/// The answer: whether the request is completed.
pub(crate) type JointMirrors = Joint<Done, bool>;

/// A destination whose read took longer than others wait reads alone for so many times as long as
/// that, so that it costs others a small part of their time at most. On a machine that was busy for
/// a second it may be all of them, and they must not be read one by one for long.
const SLOW_FOR: u32 = 20;
const SLOW_MAX: Duration = Duration::from_secs(15);

/// Destinations whose reads are slow, and until when they read alone.
#[derive(Default)]
pub(crate) struct SlowReads(Mutex<HashMap<i64, Instant>>);

impl SlowReads {
    fn note(&self, destination_id: i64, took: Duration) {
        let now = Instant::now();
        let mut slow = self.slow();
        slow.retain(|_, until| *until > now);
        slow.insert(destination_id, now + (took * SLOW_FOR).min(SLOW_MAX));
    }

    fn has(&self, destination_id: i64) -> bool {
        self.slow().get(&destination_id).is_some_and(|until| *until > Instant::now())
    }

    fn slow(&self) -> MutexGuard<'_, HashMap<i64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// What turns have in common that read together: the mappings, in the order of their parts.
    /// None: this turn is not a simple one.
    fn in_common(&self, cursors: &Cursors) -> Option<String> {
        let plain = self.mappings.len() == self.registered.mappings.len()
            && self.claim.deferred.is_empty()
            && !self.quarantined
            && self.reason.is_none()
            && self.begun.is_empty()
            && cursors.values().all(|cursor| cursor.backfilled)
            && self.mappings.iter().all(|mapping| cursors.contains_key(mapping.name()));
        let versions = self.mappings.iter().map(|mapping| mapping.version.as_str());
        plain.then(|| versions.collect::<Vec<_>>().join(" "))
    }

    /// Reads the batch that follows `cursors`.
    pub(super) async fn read_with_others(&self, cursors: &Cursors) -> Result<Batch, Error> {
        let context = self.context;
        let id = self.claim.destination_id;
        let alone = context.sizes.get(id) < GROUP_CHANGES_MAX || context.slow_reads.has(id);
        let Some(common) = self.in_common(cursors).filter(|_| !alone) else {
            return self.read_alone(cursors).await;
        };
        let tenant_id = &self.registered.spec.tenant_at_source;
        let after = || self.mappings.iter().map(|m| cursors[m.name()].sequence_id).collect();
        let wish = || ToRead { tenant_id: tenant_id.clone(), after: after() };
        let (mut under_way, mut others) = match context.reads.role(&common, wish).await {
            Role::Done(batch) => return Ok(batch),
            Role::Alone => return self.read_alone(cursors).await,
            Role::Leads(under_way, others) => (under_way, others),
        };
        if others.is_empty() {
            return under_way.during(self.read_alone(cursors)).await;
        }
        // Where the daemon has much to do, the wait for a reader may be longer than the patience.
        let reader = under_way.during(self.reader()).await?;
        others.retain(Waiting::waits);
        if others.is_empty() {
            return under_way.during(self.read_alone_by(reader, cursors)).await;
        }
        let began = Instant::now();
        let wishes = others.iter().map(|other| &other.wish);
        let members: Vec<Member<'_>> = std::iter::once(Member { tenant_id, after: after() })
            .chain(wishes.map(|of| Member { tenant_id: &of.tenant_id, after: of.after.clone() }))
            .collect();
        let wanted = WantedOfGroup {
            members: &members,
            mappings: &self.mappings,
            whole: false,
            bytes_max: context.settings.batch_bytes,
            statement_timeout: context.settings.statement_timeout,
        };
        let read = under_way.during(async {
            let _reader = reader;
            read_group(&context.pool, &wanted).await.map_err(Error::from)
        });
        let batches = match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(batches)) => {
                under_way.note_fit(began);
                let turns = batches.len();
                tracing::debug!(event = "read_together", turns, "{turns} turns read together");
                batches
            }
            Ok(Err(Error::Source(_) | Error::Cancelled)) => Vec::new(),
            // A row cannot be computed, or a read of several takes too long: because of one of them,
            // or because the source is far away.
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(event = "reads_apart", "turns do not read together for a while");
                under_way.note_unfit(began);
                Vec::new()
            }
        };
        drop(under_way);
        let mut batches = batches.into_iter();
        let own = batches.next().flatten();
        for other in others {
            other.tell(batches.next().flatten());
        }
        match own {
            Some(batch) => Ok(batch),
            None => self.read_alone(cursors).await,
        }
    }

    async fn read_alone(&self, cursors: &Cursors) -> Result<Batch, Error> {
        self.read_alone_by(self.reader().await?, cursors).await
    }

    /// What a turn waited for the reader says nothing about its tenant.
    async fn read_alone_by(
        &self,
        reader: SemaphorePermit<'_>,
        cursors: &Cursors,
    ) -> Result<Batch, Error> {
        let began = Instant::now();
        let read = self.read_by(reader, cursors).await;
        let took = began.elapsed();
        if took > PATIENCE {
            tracing::debug!(event = "reads_slowly", ?took, "a turn reads alone for a while");
            self.context.slow_reads.note(self.claim.destination_id, took);
        }
        read
    }

    /// Mirrors the cursors and completes the request. Returns whether more is wanted.
    pub(super) async fn mirror_with_others(
        &mut self,
        cursors: &Cursors,
        identities: &Identities,
        reached: i64,
    ) -> Result<bool, Error> {
        let plain = self.retry.is_none() && self.strain.is_none();
        let Some(common) = self.in_common(cursors).filter(|_| plain) else {
            return self.mirror_cursors(cursors, identities, Some(reached)).await;
        };
        let context = self.context;
        let stands_at = self.mappings.iter().map(|m| cursors[m.name()].sequence_id).min();
        let own = || Done {
            lease: self.claim.lease,
            stands_at: stands_at.unwrap_or(reached),
            reached,
            identities: Arc::new(identities.clone()),
            copied: Vec::new(),
        };
        let role = context.mirrors.role(&common, own).await;
        let (mut under_way, others) = match role {
            Role::Done(completed) => {
                self.mirrored = true;
                return Ok(!completed);
            }
            Role::Alone => {
                return self.mirror_cursors(cursors, identities, Some(reached)).await;
            }
            Role::Leads(under_way, others) => (under_way, others),
        };
        if others.is_empty() {
            let mirror = self.mirror_cursors(cursors, identities, Some(reached));
            return under_way.during(mirror).await;
        }
        let own = own();
        let done: Vec<&Done> =
            std::iter::once(&own).chain(others.iter().map(|other| &other.wish)).collect();
        let told =
            under_way.during(record::mirror_group(&context.pool, &self.mappings, &done)).await;
        drop(under_way);
        let Ok(completed) = told else {
            others.into_iter().for_each(|other| other.tell(None));
            return self.mirror_cursors(cursors, identities, Some(reached)).await;
        };
        let turns = done.len();
        tracing::debug!(event = "mirrored_together", turns, "{turns} turns mirrored together");
        for other in others {
            let completed = completed.contains(&other.wish.lease.request_id);
            other.tell(Some(completed));
        }
        self.mirrored = true;
        Ok(!completed.contains(&self.claim.lease.request_id))
    }
}
