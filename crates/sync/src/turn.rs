//! One turn of one destination: batches until nothing is owed, or until others should have their
//! turn.

mod mirror;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::BlownFuses;
use offtake_loops::{failpoint, metrics as names};
use offtake_mapping::ResolvedMapping;
use offtake_postgres::{Dialer, SourcePool, SqlState};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::apply::Applied;
use crate::batch_size::BatchSizes;
use crate::destinations::{Link, Links, Registered, Registry};
use crate::error::MappingFault;
use crate::read::{self, Batch, Part, Wanted};
use crate::requests::{self, Claim};
use crate::state::Cursors;
use crate::{Error, Settings, prepare};

/// A destination that owes much gives way after this long. Long enough for a backfill to keep its
/// connection and caches warm, short enough that others barely notice.
const TURN_MAX: Duration = Duration::from_millis(500);

/// How often a turn starts over because another worker moved the cursors, before it lets that
/// worker go on alone.
const STALE_MAX: usize = 3;

/// Added to the statement timeout for a whole destination transaction: the server's own limit
/// should speak first.
const DEADLINE_MARGIN: Duration = Duration::from_secs(10);

/// How long a request of a destination that this process does not know is left to others.
pub(crate) const UNKNOWN_DELAY: Duration = Duration::from_secs(1);

/// What every turn works with.
pub(crate) struct Context {
    pub(crate) pool: SourcePool,
    pub(crate) registry: Registry,
    pub(crate) dialer: Dialer,
    pub(crate) links: Links,
    pub(crate) settings: Settings,
    pub(crate) fuses: watch::Receiver<Arc<BlownFuses>>,
    /// Bounds the batches read from the source at one time; a destination that hangs holds none.
    pub(crate) readers: Arc<Semaphore>,
    pub(crate) sizes: BatchSizes,
    /// The daemon is stopping: finish the batch, start no other.
    pub(crate) stopping: CancellationToken,
}

/// What became of each part of a batch; None: its mapping failed.
type Outcomes = Vec<Option<Applied>>;

/// Mappings that failed by themselves.
type Faults = Vec<(String, MappingFault)>;

/// A batch that was read before its turn.
struct Ahead {
    batch: Batch,
    /// What it was read for.
    cursors: Cursors,
    began: Instant,
}

/// How a turn ended, when the destination and the source did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every mapping has reached this sequence id.
    Reached(i64),
    /// Not everything is done; try again after this long.
    Again(Duration),
    /// This process does not know the destination, and has done nothing.
    Unknown,
}

pub(crate) struct Turn<'a> {
    /// When its destination was reached.
    began: Instant,
    context: &'a Context,
    claim: &'a Claim,
    registered: Arc<Registered>,
    /// The mappings that are worked on; one that fails is taken out.
    mappings: Vec<Arc<ResolvedMapping>>,
    /// The soonest retry of a mapping that is not worked on.
    retry: Option<Duration>,
    /// What the failed mappings said.
    reason: Option<String>,
    begun: Vec<(String, Option<i64>)>,
    /// Copies to begin anew by command; taken with the first preparation.
    resyncs: Vec<(i64, String)>,
    quarantined: bool,
    /// This turn has mirrored the cursors.
    mirrored: bool,
}

/// Works for one claimed request. Whatever it returns, the destination's rows and cursors agree.
pub(crate) async fn take(context: &Context, claim: &Claim) -> Result<Ended, Error> {
    failpoint("sync.after_claim").await.map_err(Error::Source)?;
    let Some(registered) = context.registry.get(claim.destination_id) else {
        return Ok(Ended::Unknown);
    };
    let fuses = context.fuses.borrow().clone();
    let works = |m: &&Arc<ResolvedMapping>| {
        !claim.deferred.iter().any(|name| name == m.name())
            && fuses.blown(&format!("mapping:{}", m.name())).is_none()
    };
    let mappings: Vec<_> = registered.mappings.iter().filter(works).cloned().collect();
    let fused = mappings.len() + claim.deferred.len() < registered.mappings.len();
    let retry = if fused {
        Some(claim.deferred_for.unwrap_or(UNKNOWN_DELAY).min(UNKNOWN_DELAY))
    } else {
        claim.deferred_for
    };
    // One of a mapping that went away again waits until it is back.
    let resyncs = claim
        .resyncs
        .iter()
        .filter(|(_, name)| registered.mappings.iter().any(|m| m.name() == name))
        .cloned()
        .collect();
    let mut turn = Turn {
        began: Instant::now(),
        context,
        claim,
        registered,
        mappings,
        retry,
        reason: None,
        begun: Vec::new(),
        resyncs,
        quarantined: claim.quarantined,
        mirrored: false,
    };
    let mut link = turn.link().await?;
    if !turn.resyncs.is_empty() {
        link.cursors = None;
    }
    let ended = turn.work(&mut link).await?;
    if let (Ended::Reached(_), false, Some(cursors)) = (&ended, turn.mirrored, &link.cursors) {
        // Nothing was written this time, but what was written before may not have been mirrored:
        // the daemon may have died right after the destination's commit.
        turn.mirror_cursors(cursors, &link.identities, &[], Vec::new()).await?;
    }
    if turn.reason.is_none() {
        // After a fault of a mapping the session is not kept: its staging tables may be of a shape
        // that is gone.
        context.links.keep(claim.destination_id, link);
    }
    Ok(ended)
}

impl Turn<'_> {
    async fn link(&self) -> Result<Link, Error> {
        let spec = &self.registered.spec;
        let fingerprint = spec.url.fingerprint();
        if let Some(link) = self.context.links.take(self.claim.destination_id, &fingerprint) {
            return Ok(link);
        }
        let place = self.context.links.place().await.ok_or(Error::Cancelled)?;
        let connection =
            self.context.dialer.dial(&spec.url, "offtake").await.map_err(Error::Destination)?;
        Ok(Link::new(connection, fingerprint, place))
    }

    async fn work(&mut self, link: &mut Link) -> Result<Ended, Error> {
        self.began = Instant::now();
        let mut stale = 0;
        let mut ahead = None;
        loop {
            if self.mappings.is_empty() {
                return Ok(self.end(self.claim.wanted_sequence_id));
            }
            let spec = &self.registered.spec;
            if self.context.fuses.borrow().blown_for(&spec.tenant_id, &spec.name).is_some() {
                return Ok(Ended::Again(self.context.settings.retry_initial));
            }
            if self.context.stopping.is_cancelled() || self.began.elapsed() > TURN_MAX {
                return Ok(Ended::Again(Duration::ZERO));
            }
            let cursors = match link.cursors.clone() {
                Some(cursors) if self.mappings.iter().all(|m| known(&cursors, m)) => cursors,
                _ => {
                    if !self.prepare(link).await? {
                        return Ok(Ended::Again(self.context.settings.retry_initial));
                    }
                    continue;
                }
            };
            match Box::pin(self.step(link, cursors, &mut ahead)).await {
                Ok(Some(head)) => return Ok(self.end(head)),
                Ok(None) => {}
                Err(Error::Stale) if stale < STALE_MAX => {
                    stale += 1;
                    link.cursors = None;
                    metrics::counter!(names::BATCHES_TOTAL, "result" => "dropped").increment(1);
                }
                // Taking the destination up again begins the copies anew that must.
                Err(Error::Lost) if stale < STALE_MAX => {
                    stale += 1;
                    link.cursors = None;
                }
                Err(Error::Stale | Error::Lost) => {
                    return Ok(Ended::Again(self.context.settings.retry_initial));
                }
                Err(Error::Mapping { mapping, fault }) => self.set_aside(&mapping, fault).await?,
                // The next has fewer rows.
                Err(Error::Overflow { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything that could be done is done, up to `head`.
    fn end(&self, head: i64) -> Ended {
        // A request from a history that a restored source no longer has wants more than there is.
        let reached = head.max(self.claim.wanted_sequence_id);
        self.retry.map_or(Ended::Reached(reached), Ended::Again)
    }

    /// False: another worker has the destination.
    async fn prepare(&mut self, link: &mut Link) -> Result<bool, Error> {
        let context = self.context;
        let resyncs = std::mem::take(&mut self.resyncs);
        let anew: Vec<&str> = resyncs.iter().map(|(_, mapping)| mapping.as_str()).collect();
        let work = prepare::destination(
            &link.connection,
            &context.pool,
            &self.registered,
            &self.mappings,
            &anew,
            &context.settings,
        );
        let prepared = within_deadline(context, self.claim.destination_id, work).await?;
        let begun = |mapping: &str| prepared.begun.iter().any(|(name, _)| name == mapping);
        let ended: Vec<i64> =
            resyncs.iter().filter(|(_, mapping)| begun(mapping)).map(|(id, _)| *id).collect();
        if !ended.is_empty() {
            requests::end_resyncs(&context.pool, &ended).await?;
        }
        link.cursors = None;
        link.identities = prepared.identities;
        self.begun.extend(prepared.begun);
        for (mapping, fault) in prepared.faults {
            self.set_aside(&mapping, fault).await?;
        }
        let ours =
            requests::begin_copies(&context.pool, self.claim, &self.mappings, &prepared.cursors)
                .await?;
        link.cursors = ours.then_some(prepared.cursors);
        Ok(ours)
    }

    /// One batch: read, applied, mirrored. Returns the head reached when nothing is left to do.
    /// While it is applied, the batch after it is read, into `ahead`.
    async fn step(
        &mut self,
        link: &mut Link,
        cursors: Cursors,
        ahead: &mut Option<Ahead>,
    ) -> Result<Option<i64>, Error> {
        let mut fetch_began = Instant::now();
        let batch = match ahead.take() {
            // Read for exactly these cursors and mappings, so it is as good as one read now.
            Some(ahead)
                if ahead.cursors == cursors && ahead.batch.parts.len() == self.mappings.len() =>
            {
                fetch_began = ahead.began;
                ahead.batch
            }
            _ => self.read(&cursors).await?,
        };
        failpoint("sync.after_read").await.map_err(Error::Source)?;
        metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "fetch")
            .record(fetch_began.elapsed().as_secs_f64());
        if batch.parts.iter().any(|part| cursors[part.mapping.name()].epoch != batch.epoch) {
            link.cursors = None;
            return Ok(None);
        }
        let mut next = cursors.clone();
        for part in &batch.parts {
            advance(&mut next, part);
        }
        let behind = batch
            .parts
            .iter()
            .any(|part| cursors[part.mapping.name()].sequence_id < self.claim.wanted_sequence_id);
        if batch.has_rows() || behind {
            let apply_began = Instant::now();
            let expected = next.clone();
            let apply = within_deadline(
                self.context,
                self.claim.destination_id,
                self.apply(link, &batch, &cursors, &mut next),
            );
            let (applied, read) = tokio::join!(apply, self.read_ahead(&batch, &expected));
            *ahead = read;
            if applied.is_err() {
                // Whether the commit happened is not known; the destination's own rows tell the
                // next time.
                link.cursors = None;
            }
            let (outcomes, faults) = applied?;
            self.quarantined |=
                outcomes.iter().flatten().any(|applied| !applied.refused.is_empty());
            self.quarantined |= batch.parts.iter().any(|part| !part.refused.is_empty());
            for (mapping, fault) in faults {
                self.set_aside(&mapping, fault).await?;
            }
            self.committed(&batch, &outcomes, fetch_began, apply_began);
            link.cursors = Some(next.clone());
            self.mirror(&batch, &next, &link.identities, &outcomes).await?;
            if batch.parts.iter().any(|part| part.chunk.is_some()) {
                failpoint("backfill.after_chunk").await.map_err(Error::Source)?;
            }
        }
        for part in batch.parts.iter().filter(|part| part.locked_out) {
            // The others go on without it; it is tried again when this turn is over.
            self.mappings.retain(|mapping| mapping.name() != part.mapping.name());
            let retry = self.context.settings.retry_initial;
            self.retry = Some(self.retry.map_or(retry, |other| other.min(retry)));
        }
        self.context.sizes.grow(self.claim.destination_id);
        let settled = |part: &Part| part.exhausted && next[part.mapping.name()].backfilled;
        let failed = self.mappings.len() < batch.parts.len();
        Ok((!failed && batch.parts.iter().all(settled)).then_some(batch.head))
    }

    /// Reads the batch that follows, as if this one were applied. The source reads while the
    /// destination writes; a batch that turns out to be for other cursors is thrown away. None when
    /// there is nothing more, or the read fails: then the next step reads for itself.
    async fn read_ahead(&self, batch: &Batch, cursors: &Cursors) -> Option<Ahead> {
        let more = batch
            .parts
            .iter()
            .any(|part| !part.exhausted || !cursors[part.mapping.name()].backfilled);
        // Quarantined rows would be read twice before it is noted that they were tried; and what is
        // read after the turn's end is thrown away.
        if !more || self.quarantined || self.began.elapsed() > TURN_MAX {
            return None;
        }
        let began = Instant::now();
        Some(Ahead { batch: self.read(cursors).await.ok()?, cursors: cursors.clone(), began })
    }

    async fn read(&self, cursors: &Cursors) -> Result<Batch, Error> {
        let context = self.context;
        let _reader = context.readers.acquire().await.map_err(|_| Error::Cancelled)?;
        let rows_max = context.sizes.get(self.claim.destination_id);
        let wanted = Wanted {
            destination_id: self.claim.destination_id,
            tenant_id: &self.registered.spec.tenant_id,
            mappings: &self.mappings,
            cursors,
            rows_max,
            // One row must always fit, or it would never arrive.
            bytes_max: if rows_max == 1 { usize::MAX } else { context.settings.batch_bytes },
            retry_quarantined: self.quarantined,
            statement_timeout: context.settings.statement_timeout,
        };
        let read = read::batch(&context.pool, &wanted).await;
        // What did not fit was read as well, and thrown away: the next batch asks for what did.
        if let Ok(Batch { fits: Some(fits), .. }) | Err(Error::Overflow { fits }) = &read {
            context.sizes.fit(self.claim.destination_id, *fits);
        }
        read
    }

    /// One mapping failed by itself: the others go on without it.
    async fn set_aside(&mut self, mapping: &str, fault: MappingFault) -> Result<(), Error> {
        let spec = &self.registered.spec;
        let settings = &self.context.settings;
        let backoff = (settings.retry_initial, settings.retry_max);
        let noted =
            requests::fail_mapping(&self.context.pool, self.claim, mapping, &fault, backoff)
                .await?;
        metrics::counter!(names::DESTINATION_ERRORS_TOTAL, "class" => fault.class()).increment(1);
        // A person must look once; that it goes on is in the status.
        if noted.as_ref().is_none_or(|noted| noted.first) {
            tracing::error!(
                event = "mapping_blocked",
                tenant = spec.tenant_id,
                destination = spec.name,
                mapping,
                sqlstate = fault.sqlstate,
                "mapping {mapping} does not arrive at {}: {fault}",
                spec.label()
            );
        }
        let retry = noted.map_or(settings.retry_initial, |noted| noted.retry);
        self.retry = Some(self.retry.map_or(retry, |other| other.min(retry)));
        self.reason.get_or_insert(format!("{mapping}: {fault}"));
        self.mappings.retain(|m| m.name() != mapping);
        Ok(())
    }
}

/// The work of one destination transaction, given up when the server stays silent for longer than
/// its own limits allow.
async fn within_deadline<T>(
    context: &Context,
    destination_id: i64,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = context.settings.statement_timeout + DEADLINE_MARGIN;
    let Ok(result) = tokio::time::timeout(limit, work).await else {
        return Err(Error::Deadline(limit.as_secs()));
    };
    if let Err(Error::Destination(error)) = &result
        && error.sqlstate() == Some(&SqlState::QUERY_CANCELED)
    {
        // The statement timeout: the next batch is smaller.
        context.sizes.halve(destination_id);
    }
    result
}

fn known(cursors: &Cursors, mapping: &ResolvedMapping) -> bool {
    cursors.get(mapping.name()).is_some_and(|cursor| cursor.version == mapping.version.as_str())
}

/// Where a cursor stands once its part of the batch is applied.
fn advance(next: &mut Cursors, part: &Part) {
    let Some(cursor) = next.get_mut(part.mapping.name()) else { return };
    cursor.sequence_id = part.sequence_id;
    if part.anew {
        cursor.backfilled = false;
        cursor.backfill_key = None;
    } else if let Some(chunk) = &part.chunk {
        cursor.backfilled = chunk.up_to.is_none();
        cursor.backfill_key.clone_from(&chunk.up_to);
    }
}

/// A key as `row_key` columns hold it.
fn row_key(mapping: &ResolvedMapping, key: &[String]) -> Value {
    mapping
        .key
        .iter()
        .zip(key)
        .map(|(k, value)| (k.source_column.as_str().to_owned(), Value::String(value.clone())))
        .collect()
}
