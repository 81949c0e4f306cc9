//! Taking up a destination: which copies stand, and which must begin.
//!
//! Runs once per session, and again after any doubt. The destination tells facts, the source tells
//! what it knows of them; only then is anything made or set there, and only if the facts still
//! hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use offtake_loops::metrics as names;
use offtake_mapping::{ResolvedMapping, compose, literal};
use offtake_postgres::{PipelinedTransaction, PooledConnection, row_fault};
use offtake_reading::{Head, MappingFault, read_head};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::per_place::doubt_all;
use super::{Turn, within_deadline};
use crate::cursors::{Cursor, Cursors, Identities};
use crate::destinations::{Beginning, Link, OTHERS_PAGE, OtherTenant, TakenUp};
use crate::ownership::{Here, Right, Visit};
use crate::record;
use crate::{Error, sql};

/// At most so many pages of other tenants' cursors are read in one look: a hundred thousand
/// cursors.
const RIVAL_PAGES_MAX: usize = 100;

/// What the source was told of a mapping after a commit at the destination. It may be behind the
/// destination, never ahead.
struct Mirrored {
    identity: String,
    sequence_id: i64,
}

/// What was decided of a destination's copies.
struct Judged {
    /// Where the cursors of copies that must begin will stand.
    beginning: Cursors,
    mirrored: BTreeMap<String, Mirrored>,
    /// A copy that the source was told of is lost.
    lost: bool,
    /// The destination is to be told that this source serves it.
    visit: Option<Visit>,
    adopted: bool,
}

impl Turn<'_> {
    /// Takes the destination up; afterwards `link` has its cursors. False: another worker has the
    /// request.
    pub(super) async fn take_up(&mut self, link: &mut Link) -> Result<bool, Error> {
        metrics::counter!(names::TAKE_UPS_TOTAL).increment(1);
        let (context, registered) = (self.context, self.registered.clone());
        let (id, spec) = (self.claim.destination_id, &registered.spec);
        let work = link.session.take_up(spec, &self.mappings, &context.settings);
        let mut found = within_deadline(context, id, work).await?;
        let Some(mut judged) = self.judge(link, &mut found).await? else { return Ok(false) };
        for (mapping, fault) in std::mem::take(&mut found.faults) {
            self.set_aside(&mapping, fault).await?;
        }
        link.references = found.references.clone();
        let (mut identities, mut cursors) = (found.identities.clone(), found.cursors.clone());
        if found.to_make || !judged.beginning.is_empty() || judged.visit.is_some() {
            let beginning = Beginning {
                spec,
                mappings: &self.mappings,
                found: &found,
                cursors: &judged.beginning,
                visit: judged.visit.as_ref(),
            };
            let work = link.session.begin(&beginning, &context.settings);
            let begun = within_deadline(context, id, work).await?;
            (identities, cursors) = (begun.identities, begun.cursors);
            link.references = begun.references;
            for (mapping, fault) in begun.faults {
                judged.beginning.remove(&mapping);
                self.set_aside(&mapping, fault).await?;
            }
        }
        if let Some(first) = self.first.take().filter(|_| self.reason.is_none()) {
            context.gates.ready(first);
        }
        if judged.visit.is_some() {
            context.visits.done(id);
        }
        if judged.adopted {
            record::end_adoption(&context.pool, id).await?;
        }
        self.tell_replaced(&found.identities, &identities, &judged.mirrored);
        self.note_begun(&judged.beginning).await?;
        if judged.lost {
            doubt_all(context, spec).await?;
        }
        let told = record::begin_copies(&context.pool, self.claim, &self.mappings, &cursors);
        let ours = told.await?;
        link.identities = identities;
        link.cursors = ours.then_some(cursors);
        link.confirmed = true;
        Ok(ours)
    }

    /// Decides which copies must begin. Changes nothing at the destination. A rival, or another
    /// source that serves it, makes all mappings faulty. None: another worker has the request, or
    /// nothing is kept of the destination any more. Read after the destination was looked at: where
    /// its rows were deleted before that look, the request was gone.
    async fn judge(&self, link: &Link, found: &mut TakenUp) -> Result<Option<Judged>, Error> {
        // Read after the cursors: a cursor that is beyond this head is not of this history.
        let mut source = self.context.pool.get().await.map_err(Error::Source)?;
        let head = read_head(&source).await?;
        let mirrored = mirrored(&source, self.claim.destination_id).await?;
        let (mut beginning, mut lost) = (Cursors::new(), false);
        let (id, spec) = (self.claim.destination_id, &self.registered.spec);
        let lease = Some(&self.claim.lease);
        let here = Here::read(&source, id, found.served.as_ref(), lease).await?;
        if !here.ours {
            return Ok(None);
        }
        let daemon = &self.context.visits.daemon;
        let right = here.right(found.served.as_ref(), daemon);
        let obstacle = match (&right, &found.served) {
            (Right::Strangers | Right::NotYet, Some(served)) => {
                Some(here.refusal(&right, served, spec))
            }
            _ => {
                // Not held while the destination is asked.
                drop(source);
                let told = mirrored.values().map(|told| told.identity.as_str());
                let rival = match link.session.not_mounted(told).await? {
                    None => self.rival(link).await?,
                    gone => gone,
                };
                source = self.context.pool.get().await.map_err(Error::Source)?;
                rival
            }
        };
        if let Some(obstacle) = obstacle {
            let blocked = self.mappings.iter().map(|mapping| mapping.name().to_owned());
            let fault = || MappingFault::said(obstacle.clone());
            found.faults = blocked.map(|name| (name, fault())).collect();
            found.to_make = false;
            return Ok(Some(Judged {
                beginning,
                mirrored,
                lost: false,
                visit: None,
                adopted: false,
            }));
        }
        let faulty = |name: &str| found.faults.iter().any(|(faulty, _)| faulty == name);
        for mapping in self.mappings.iter().filter(|mapping| !faulty(mapping.name())) {
            let name = mapping.name();
            let asked =
                right == Right::BeginningAgain || self.resyncs.iter().any(|(_, of)| of == name);
            if asked || !stands(&source, mapping, found, &head, mirrored.get(name)).await? {
                let version = mapping.version.as_str();
                let cursor = Cursor::beginning(head.sequence_id, &head.epoch, version);
                beginning.insert(name.to_owned(), cursor);
                let found = found.cursors.get(name);
                lost |= !asked
                    && mirrored.contains_key(name)
                    && found.is_none_or(|c| c.is_of(mapping) && c.epoch == head.epoch);
            }
        }
        let served = found.served.as_ref();
        let visit = if self.context.visits.due(id)
            || right == Right::BeginningAgain
            || !here.named_by(served)
        {
            Some(here.begin_visit(&source, id, served, daemon).await?)
        } else {
            None
        };
        Ok(Some(Judged { beginning, mirrored, lost, visit, adopted: here.adopt }))
    }

    /// Copies have begun at the destination: the resync requests for them have been met.
    async fn note_begun(&mut self, beginning: &Cursors) -> Result<(), Error> {
        if beginning.is_empty() {
            return Ok(());
        }
        let tenant_id = &self.registered.spec.tenant_at_source;
        let mut source = self.context.pool.get().await.map_err(Error::Source)?;
        for mapping in self.mappings.iter().filter(|m| beginning.contains_key(m.name())) {
            let rows = estimate(&mut source, mapping, tenant_id).await;
            self.begun.push((mapping.name().to_owned(), rows));
        }
        drop(source);
        let (ended, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.resyncs)
            .into_iter()
            .partition(|(_, mapping)| beginning.contains_key(mapping));
        self.resyncs = open;
        let ended: Vec<i64> = ended.into_iter().map(|(resync_id, _)| resync_id).collect();
        if !ended.is_empty() {
            record::end_resyncs(&self.context.pool, &ended).await?;
        }
        Ok(())
    }

    /// Why this tenant's rows cannot go where another tenant's destination writes to. Two
    /// destinations that name one database alike are refused before anything is dialled. Here are
    /// those whose URLs name it differently, each of which would delete the other's rows.
    ///
    /// Tenants that share a place by one name look once for all of them: the look reads the cursors
    /// of every tenant there. They need not look where all destinations are shared.
    pub(super) async fn rival(&self, link: &Link) -> Result<Option<String>, Error> {
        let spec = &self.registered.spec;
        let place = spec.shared.then(|| spec.place.fingerprint());
        if place.as_ref().is_some_and(|place| !self.context.rival_looks.due(place)) {
            return Ok(None);
        }
        let (mut after, began) = (None, Instant::now());
        let pages = if spec.shared && !self.any_unshared().await? { 0 } else { RIVAL_PAGES_MAX };
        for _ in 0..pages {
            let page = self.others(link, after.as_ref()).await?;
            if let Some(rival) = self.rival_among(link, &page, after.as_ref()).await? {
                return Ok(Some(rival));
            }
            match page.last() {
                Some(last) if page.len() == OTHERS_PAGE => {
                    after = Some((last.tenant_id.clone(), last.mapping.clone()));
                }
                _ => break,
            }
        }
        place.into_iter().for_each(|at| self.context.rival_looks.note(at, began.elapsed()));
        Ok(None)
    }

    /// Whether any destination with this schema may not be shared.
    async fn any_unshared(&self) -> Result<bool, Error> {
        let schema = self.registered.spec.place.registration().schema;
        let source = self.context.pool.get().await.map_err(Error::Source)?;
        let row = source.query_one(sql::HAS_UNSHARED, &[&schema]).await.map_err(Error::source)?;
        row.try_get(0).map_err(Error::source)
    }

    /// A page of the cursors that other tenants have in the same schema.
    async fn others(
        &self,
        link: &Link,
        after: Option<&(String, String)>,
    ) -> Result<Vec<OtherTenant>, Error> {
        let (spec, settings) = (&self.registered.spec, &self.context.settings);
        let work = link.session.others(spec, &self.registered.mappings, after, settings);
        within_deadline(self.context, self.claim.destination_id, work).await
    }

    /// A rival among the tenants of one page.
    ///
    /// What is left of a tenant that is served elsewhere, or no longer, is no rival. A table's oid
    /// does not tell: one server restored from another, or two made alike, have the same. But a
    /// cursor only rises, and the source is never told more than there is. So a cursor that is
    /// behind what the source was told before it was read is not the one that is served.
    async fn rival_among(
        &self,
        link: &Link,
        others: &[OtherTenant],
        after: Option<&(String, String)>,
    ) -> Result<Option<String>, Error> {
        if others.is_empty() {
            return Ok(None);
        }
        let spec = &self.registered.spec;
        let tenants: Vec<&str> = others.iter().map(|other| other.tenant_id.as_str()).collect();
        let mappings: Vec<&str> = others.iter().map(|other| other.mapping.as_str()).collect();
        let oids: Vec<Option<&str>> = others.iter().map(|other| other.oid.as_deref()).collect();
        let lately: Vec<bool> = others.iter().map(|other| other.lately).collect();
        let place = spec.place.registration();
        let (schema, database) = (place.schema, place.database);
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&tenants, &mappings, &oids, &lately, &schema, &database, &spec.shared];
        let source = self.context.pool.get().await.map_err(Error::Source)?;
        let told = source.query(sql::FIND_RIVAL, &parameters).await.map_err(Error::source)?;
        drop(source);
        if told.is_empty() {
            return Ok(None);
        }
        let now = self.others(link, after).await?;
        let served = |row: &&Row| {
            let (tenant, mapping, told): (&str, &str, i64) =
                (row.get("tenant_id"), row.get("mapping"), row.get("told"));
            now.iter().any(|other| {
                other.tenant_id == tenant && other.mapping == mapping && other.sequence_id >= told
            })
        };
        Ok(told.iter().find(served).map(|row| {
            let (tenant, name): (&str, &str) = (row.get("tenant_id"), row.get("name"));
            format!(
                "{} and {tenant}/{name} write into schema {schema} of one database, by two names; \
                 give each its own schema, or mark all of them shared. If this is only what is left \
                 of the other, run there: {}",
                spec.label(),
                link.session.forget_tenant_statement(tenant)
            )
        }))
    }

    /// `found`: the tables as they were found. `made`: those that had to be made, too. A table that
    /// was widened since it was found was not replaced.
    fn tell_replaced(
        &self,
        found: &Identities,
        made: &Identities,
        mirrored: &BTreeMap<String, Mirrored>,
    ) {
        let spec = &self.registered.spec;
        for mapping in &self.mappings {
            let now = found.get(mapping.name()).or_else(|| made.get(mapping.name()));
            let before = mirrored.get(mapping.name());
            if now.zip(before).is_some_and(|(now, before)| *now != before.identity) {
                tracing::warn!(
                    event = "table_replaced",
                    tenant = spec.tenant_id,
                    destination = spec.name,
                    mapping = mapping.name(),
                    "the table of mapping {} in {} was truncated, rewritten or replaced; it is \
                     re-copied in place",
                    mapping.name(),
                    spec.label()
                );
            }
        }
    }
}

/// Whether a mapping's cursor still says what has arrived.
async fn stands(
    source: &PooledConnection,
    mapping: &ResolvedMapping,
    found: &TakenUp,
    head: &Head,
    before: Option<&Mirrored>,
) -> Result<bool, Error> {
    let name = mapping.name();
    let Some(cursor) = found.cursors.get(name) else { return Ok(false) };
    let replaced = before.is_some_and(|told| found.identities.get(name) != Some(&told.identity));
    if replaced || found.incomplete.iter().any(|incomplete| incomplete == name) {
        return Ok(false);
    }
    // The cursor has been further: the destination is an older one of itself. Rows that left
    // quarantine there, or were re-copied by command, are in no log.
    let went_back = before.is_some_and(|told| told.sequence_id > cursor.sequence_id);
    let of_this_history = cursor.epoch == head.epoch
        && (head.log_begins..=head.sequence_id).contains(&cursor.sequence_id);
    Ok(!went_back
        && of_this_history
        && cursor.is_of(mapping)
        && readable(source, mapping, cursor).await?)
}

/// Whether the source can go on after the cursor's key, which was read at the destination and so is
/// input from a stranger.
async fn readable(
    source: &PooledConnection,
    mapping: &ResolvedMapping,
    cursor: &Cursor,
) -> Result<bool, Error> {
    let Some(key) = cursor.backfill_key.as_ref().filter(|_| !cursor.backfilled) else {
        return Ok(true);
    };
    let values = mapping.key.iter().zip(key);
    let values: Vec<_> =
        values.map(|(column, value)| format!("{}::{}", literal(value), column.sql_type)).collect();
    match source.simple_query(&format!("select {}", values.join(", "))).await {
        Ok(_) => Ok(key.len() == mapping.key.len()),
        Err(error) if row_fault(&error) => Ok(false),
        Err(error) => Err(Error::source(error)),
    }
}

/// What the source was last told, by mapping.
async fn mirrored(
    source: &PooledConnection,
    destination_id: i64,
) -> Result<BTreeMap<String, Mirrored>, Error> {
    let rows = source.query(sql::READ_MIRRORED, &[&destination_id]).await.map_err(Error::source)?;
    let mirrored = |row: &Row| Mirrored {
        identity: row.get("target_identity"),
        sequence_id: row.get("sequence_id"),
    };
    Ok(rows.iter().map(|row| (row.get("mapping"), mirrored(row))).collect())
}

/// The planner's estimate of a tenant's rows. It only shows progress, so an error is no estimate.
/// It does not wait for an application that has locked a table for itself.
pub(crate) async fn estimate(
    source: &mut PooledConnection,
    mapping: &Arc<ResolvedMapping>,
    tenant_id: &str,
) -> Option<i64> {
    let statement = compose::estimate_rows(mapping, tenant_id);
    let explain = async |session: &PooledConnection| session.query_one(&statement, &[]).await;
    let (_transaction, row) = PipelinedTransaction::open(
        source,
        "begin read only; set local lock_timeout = '100ms'",
        explain,
    )
    .await
    .ok()?;
    row.get::<_, serde_json::Value>(0)[0]["Plan"]["Plan Rows"].as_i64()
}
