//! Taking up a destination: which copies stand, and which must begin.
//!
//! Runs once per session, and again after any doubt. The destination tells facts, the source tells
//! what it knows of them; only then is anything made or set there, and only if the facts still hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use offtake_mapping::{ResolvedMapping, compose, literal};
use offtake_postgres::{PipelinedTransaction, PooledConnection, row_fault};
use offtake_reading::{Head, MappingFault, read_head};
use tokio_postgres::Row;

use super::{Turn, within_deadline};
use crate::cursors::{Cursor, Cursors, Identities};
use crate::destinations::{Link, Session, TakenUp};
use crate::record;
use crate::{Error, sql};

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
}

impl Turn<'_> {
    /// Takes the destination up; afterwards `link` has its cursors. False: another worker has the
    /// request.
    pub(super) async fn take_up(&mut self, link: &mut Link) -> Result<bool, Error> {
        let (context, registered) = (self.context, self.registered.clone());
        let (id, spec) = (self.claim.destination_id, &registered.spec);
        let work = link.session.take_up(spec, &self.mappings, &context.settings);
        let mut found = within_deadline(context, id, work).await?;
        let mut judged = self.judge(&link.session, &mut found).await?;
        for (mapping, fault) in std::mem::take(&mut found.faults) {
            self.set_aside(&mapping, fault).await?;
        }
        let mut identities = found.identities.clone();
        link.references = found.references.clone();
        if found.to_make || !judged.beginning.is_empty() {
            let beginning = &judged.beginning;
            let work =
                link.session.begin(spec, &self.mappings, &found, beginning, &context.settings);
            let begun = within_deadline(context, id, work).await?;
            identities = begun.identities;
            link.references = begun.references;
            for (mapping, fault) in begun.faults {
                judged.beginning.remove(&mapping);
                self.set_aside(&mapping, fault).await?;
            }
        }
        self.tell_replaced(&found.identities, &identities, &judged.mirrored);
        self.note_begun(&judged.beginning).await?;
        let mut cursors = found.cursors;
        cursors.extend(judged.beginning);
        let told = record::begin_copies(&context.pool, self.claim, &self.mappings, &cursors);
        let ours = told.await?;
        link.identities = identities;
        link.cursors = ours.then_some(cursors);
        Ok(ours)
    }

    /// Decides which copies must begin. Changes nothing; a rival makes all mappings faulty.
    async fn judge(&self, session: &Session, found: &mut TakenUp) -> Result<Judged, Error> {
        // Read after the cursors: a cursor that is beyond this head is not of this history.
        let source = self.context.pool.get().await.map_err(Error::Source)?;
        let head = read_head(&source).await?;
        let mirrored = mirrored(&source, self.claim.destination_id).await?;
        let mut beginning = Cursors::new();
        if let Some(rival) = self.rival(session, &source, found).await? {
            let blocked = self.mappings.iter().map(|mapping| mapping.name().to_owned());
            found.faults = blocked.map(|name| (name, MappingFault::said(rival.clone()))).collect();
            found.to_make = false;
            return Ok(Judged { beginning, mirrored });
        }
        let faulty = |name: &str| found.faults.iter().any(|(faulty, _)| faulty == name);
        for mapping in self.mappings.iter().filter(|mapping| !faulty(mapping.name())) {
            let name = mapping.name();
            let asked = self.resyncs.iter().any(|(_, of)| of == name);
            if asked || !stands(&source, mapping, found, &head, mirrored.get(name)).await? {
                let version = mapping.version.as_str();
                let cursor = Cursor::beginning(head.sequence_id, &head.epoch, version);
                beginning.insert(name.to_owned(), cursor);
            }
        }
        Ok(Judged { beginning, mirrored })
    }

    /// Copies have begun at the destination: the resync requests for them have been met.
    async fn note_begun(&mut self, beginning: &Cursors) -> Result<(), Error> {
        if beginning.is_empty() {
            return Ok(());
        }
        let tenant_id = &self.registered.spec.tenant_id;
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
    /// What is left of a tenant that is served elsewhere, or no longer, is no rival. A table's oid
    /// does not tell: one server restored from another, or two made alike, have the same. But a
    /// cursor only rises, and the source is never told more than there is. So a cursor that is
    /// behind what the source was told before it was read is not the one that is served.
    async fn rival(
        &self,
        session: &Session,
        source: &PooledConnection,
        found: &TakenUp,
    ) -> Result<Option<String>, Error> {
        let (spec, others) = (&self.registered.spec, &found.others);
        if others.is_empty() {
            return Ok(None);
        }
        let tenants: Vec<&str> = others.iter().map(|other| other.tenant_id.as_str()).collect();
        let mappings: Vec<&str> = others.iter().map(|other| other.mapping.as_str()).collect();
        let oids: Vec<Option<&str>> = others.iter().map(|other| other.oid.as_deref()).collect();
        let lately: Vec<bool> = others.iter().map(|other| other.lately).collect();
        let place = spec.place.registration();
        let (schema, database) = (place.schema, place.database);
        let told = source
            .query(
                sql::FIND_RIVAL,
                &[&tenants, &mappings, &oids, &lately, &schema, &database, &spec.shared],
            )
            .await
            .map_err(Error::source)?;
        if told.is_empty() {
            return Ok(None);
        }
        let now = session.others(spec, &self.registered.mappings).await?;
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
                session.forget_tenant_statement(tenant)
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

/// The planner's estimate of a tenant's rows. It only shows progress, so an error is no estimate. It
/// does not wait for an application that has locked a table for itself.
async fn estimate(
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
