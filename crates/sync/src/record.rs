//! What the source records of a destination while a worker holds its request: mirrored cursors,
//! copies begun, failed mappings, quarantined rows.
//!
//! These statements write `destination`, `destination_mapping`, `quarantined_row` and
//! `resync_request`. Where a late worker could do harm they check that the lease is still ours,
//! with the request and its attempt; that is the only use they make of `outgoing_request`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::ResolvedMapping;
use offtake_postgres::{PooledConnection, SourcePool};
use offtake_requests::{Claim, Lease};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::cursors::{Cursors, Identities};
use crate::destinations::AuditResult;
use crate::{Error, sql};

/// Deletes resync requests: the destination's cursors say that these copies have begun.
pub(crate) async fn end_resyncs(pool: &SourcePool, resync_ids: &[i64]) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection.execute(sql::END_RESYNC_REQUESTS, &[&resync_ids]).await.map_err(Error::source)?;
    Ok(())
}

/// The destination names this source now, as an operator asked.
pub(crate) async fn end_adoption(pool: &SourcePool, destination_id: i64) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection.execute(sql::END_ADOPTION, &[&destination_id]).await.map_err(Error::source)?;
    Ok(())
}

/// Records which version of each mapping the destination has a copy of. Called before anything is
/// read for these copies. False: another worker has the request.
pub(crate) async fn begin_copies(
    pool: &SourcePool,
    claim: &Claim,
    mappings: &[Arc<ResolvedMapping>],
    cursors: &Cursors,
) -> Result<bool, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let begun: Vec<_> = mappings
        .iter()
        .filter_map(|mapping| Some((mapping, cursors.get(mapping.name())?.sequence_id)))
        .collect();
    let names: Vec<&str> = begun.iter().map(|(mapping, _)| mapping.name()).collect();
    let needs: Vec<String> = begun.iter().map(|(mapping, _)| mapping.need()).collect();
    let sequence_ids: Vec<i64> = begun.iter().map(|(_, sequence_id)| *sequence_id).collect();
    let told = connection
        .query_opt(
            sql::BEGIN_COPIES,
            &[&claim.lease.request_id, &claim.lease.attempt, &names, &needs, &sequence_ids],
        )
        .await;
    Ok(told.map_err(Error::source)?.is_some())
}

/// [`begin_copies`] for many destinations, each with the sequence id of every mapping. Returns the
/// requests that are ours.
pub(crate) async fn begin_copies_of_group(
    pool: &SourcePool,
    mappings: &[Arc<ResolvedMapping>],
    begun: &[(Lease, Vec<i64>)],
) -> Result<HashSet<i64>, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let names: Vec<&str> = mappings.iter().map(|mapping| mapping.name()).collect();
    let needs: Vec<String> = mappings.iter().map(|mapping| mapping.need()).collect();
    let requests: Vec<i64> = begun.iter().map(|(lease, _)| lease.request_id).collect();
    let attempts: Vec<i64> = begun.iter().map(|(lease, _)| lease.attempt).collect();
    let positions: Vec<i64> = begun.iter().flat_map(|(_, at)| at.iter().copied()).collect();
    let parameters: [&(dyn ToSql + Sync); 5] = [&requests, &attempts, &names, &needs, &positions];
    let told = connection.query(sql::BEGIN_COPIES_OF_GROUP, &parameters).await;
    Ok(told.map_err(Error::source)?.iter().map(|row| row.get(0)).collect())
}

/// What was recorded of a mapping's failure.
pub(crate) struct Noted {
    /// After how long it is tried again.
    pub(crate) retry: Duration,
    /// It did not fail the last time, or with another error.
    pub(crate) first: bool,
}

/// Records the failure of one mapping. None: another worker has the request.
pub(crate) async fn fail_mapping(
    pool: &SourcePool,
    claim: &Claim,
    mapping: &str,
    fault: &crate::MappingFault,
    retry: (Duration, Duration),
) -> Result<Option<Noted>, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let row = connection
        .query_opt(
            sql::FAIL_MAPPING,
            &[
                &claim.lease.request_id,
                &claim.lease.attempt,
                &mapping,
                &fault.sqlstate,
                &pool.storable(&fault.message),
                &milliseconds(retry.0),
                &milliseconds(retry.1),
            ],
        )
        .await
        .map_err(Error::source)?;
    Ok(row.map(|row| Noted {
        retry: Duration::from_millis(row.get::<_, i64>("retry_ms").max(0).unsigned_abs()),
        first: row.get("first"),
    }))
}

/// What is mirrored of a destination after a commit there.
pub(crate) struct Mirror<'a> {
    pub(crate) cursors: &'a Cursors,
    pub(crate) identities: &'a Identities,
    /// Rows that a chunk of this step copied, by mapping.
    pub(crate) chunk_rows: &'a [(String, i64)],
    /// Mappings whose copy begins with this step, with the planner's estimate of their rows.
    pub(crate) begun: &'a [(String, Option<i64>)],
    pub(crate) state: &'a str,
    pub(crate) reason: Option<&'a str>,
}

/// What the source answers to a mirror.
pub(crate) struct Mirrored {
    pub(crate) more_wanted: bool,
    /// The turn may go on: the request is still its own, and the destination neither paused nor
    /// removed.
    pub(crate) goes_on: bool,
}

/// Writes the mirror, unless another worker has the request. `reached`: completes the request in
/// the same transaction, if every mapping has reached what is wanted by then.
pub(crate) async fn mirror(
    pool: &SourcePool,
    claim: &Claim,
    mirror: &Mirror<'_>,
    reached: Option<i64>,
) -> Result<Mirrored, Error> {
    let mut connection = pool.get().await.map_err(Error::Source)?;
    let statement =
        connection.prepare_cached(sql::MIRROR_DESTINATION).await.map_err(Error::source)?;
    let names: Vec<&String> = mirror.cursors.keys().collect();
    let rows = |name: &String| {
        mirror.chunk_rows.iter().find(|(m, _)| m == name).map_or(0, |(_, rows)| *rows)
    };
    let total =
        |name: &String| mirror.begun.iter().find(|(m, _)| m == name).and_then(|(_, total)| *total);
    let sequence_ids: Vec<i64> = mirror.cursors.values().map(|c| c.sequence_id).collect();
    let backfilled: Vec<bool> = mirror.cursors.values().map(|c| c.backfilled).collect();
    let chunk_rows: Vec<i64> = names.iter().map(|n| rows(n)).collect();
    let totals: Vec<Option<i64>> = names.iter().map(|n| total(n)).collect();
    let reason = mirror.reason.map(|reason| pool.storable(reason));
    let begun: Vec<&String> = mirror.begun.iter().map(|(m, _)| m).collect();
    let identities: Vec<Option<&String>> =
        names.iter().map(|n| mirror.identities.get(*n)).collect();
    let versions: Vec<&str> = mirror.cursors.values().map(|c| c.version.as_str()).collect();
    let parameters: [&(dyn ToSql + Sync); 12] = [
        &claim.lease.request_id,
        &claim.lease.attempt,
        &names,
        &sequence_ids,
        &backfilled,
        &chunk_rows,
        &totals,
        &mirror.state,
        &reason,
        &begun,
        &identities,
        &versions,
    ];
    let Some(reached) = reached else {
        let told = connection.query_opt(&statement, &parameters).await.map_err(Error::source)?;
        let goes_on = told.is_some_and(|row| row.get("goes_on"));
        return Ok(Mirrored { more_wanted: true, goes_on });
    };
    let write =
        async |session: &PooledConnection| session.execute(&statement, &parameters).await.map(drop);
    let completed =
        offtake_requests::complete_with(&mut connection, claim.lease, reached, write).await;
    let completed = completed.map_err(Error::source)?;
    Ok(Mirrored { more_wanted: !completed, goes_on: true })
}

/// What a commit has done for one destination of many.
pub(crate) struct Done {
    pub(crate) lease: Lease,
    /// All its mappings have this cursor, or a later one.
    pub(crate) stands_at: i64,
    /// Up to here nothing is owed any more.
    pub(crate) reached: i64,
    /// What the mappings' tables are.
    pub(crate) identities: Arc<Identities>,
    /// How many rows were copied of each mapping, where copies began with this commit.
    pub(crate) copied: Vec<i64>,
}

/// Mirrors one commit of many destinations, none of whose mappings has failed, and completes their
/// requests in the same transaction. Returns the requests that are completed: of the others more is
/// wanted, or another worker has them.
pub(crate) async fn mirror_group(
    pool: &SourcePool,
    mappings: &[Arc<ResolvedMapping>],
    done: &[&Done],
) -> Result<HashSet<i64>, Error> {
    let mut connection = pool.get().await.map_err(Error::Source)?;
    let statement = connection.prepare_cached(sql::MIRROR_GROUP).await.map_err(Error::source)?;
    let names: Vec<&str> = mappings.iter().map(|mapping| mapping.name()).collect();
    let requests: Vec<i64> = done.iter().map(|of| of.lease.request_id).collect();
    let attempts: Vec<i64> = done.iter().map(|of| of.lease.attempt).collect();
    let stand_at: Vec<i64> = done.iter().map(|of| of.stands_at).collect();
    let tables: Vec<Option<&String>> =
        done.iter().flat_map(|of| names.iter().map(|name| of.identities.get(*name))).collect();
    let copied: Vec<i64> = done.iter().flat_map(|of| of.copied.iter().copied()).collect();
    let copied = (!copied.is_empty()).then_some(copied);
    let versions: Vec<&str> = mappings.iter().map(|mapping| mapping.version.as_str()).collect();
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&requests, &attempts, &stand_at, &names, &tables, &copied, &versions];
    let write =
        async |session: &PooledConnection| session.execute(&statement, &parameters).await.map(drop);
    let done: Vec<(Lease, i64)> = done.iter().map(|of| (of.lease, of.reached)).collect();
    let completed = offtake_requests::complete_all_with(&mut connection, &done, write).await;
    completed.map_err(Error::source)
}

/// What a destination does not tell its tenant yet.
pub(crate) async fn untold_audits(
    pool: &SourcePool,
    destination_id: i64,
) -> Result<Vec<AuditResult>, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let rows = connection.query(sql::LIST_UNTOLD_AUDITS, &[&destination_id]).await;
    let audit = |row: &Row| AuditResult {
        mapping: row.get("mapping"),
        verified_at: row.get("verified_at"),
        differences: row.get("differences"),
    };
    Ok(rows.map_err(Error::source)?.iter().map(audit).collect())
}

/// The destination tells these now, or cannot.
pub(crate) async fn audits_told(
    pool: &SourcePool,
    destination_id: i64,
    audits: &[AuditResult],
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let mappings: Vec<&str> = audits.iter().map(|a| a.mapping.as_str()).collect();
    let verified_at: Vec<Option<&str>> = audits.iter().map(|a| a.verified_at.as_deref()).collect();
    let differences: Vec<Option<i64>> = audits.iter().map(|a| a.differences).collect();
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&destination_id, &mappings, &verified_at, &differences];
    connection.execute(sql::END_UNTOLD_AUDITS, &parameters).await.map_err(Error::source)?;
    Ok(())
}

/// A refused row on its way into `quarantined_row`.
pub(crate) struct Refusal {
    pub(crate) row_key: Value,
    pub(crate) sqlstate: String,
    pub(crate) error: String,
}

/// Records refused rows before the destination's commit that leaves them out.
pub(crate) async fn quarantine(
    pool: &SourcePool,
    destination_id: i64,
    mapping: &str,
    rows: &[Refusal],
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection
        .execute(
            sql::QUARANTINE_ROWS,
            &[
                &destination_id,
                &mapping,
                &rows.iter().map(|r| &r.row_key).collect::<Vec<_>>(),
                &rows.iter().map(|r| &r.sqlstate).collect::<Vec<_>>(),
                &rows.iter().map(|r| pool.storable(&r.error)).collect::<Vec<_>>(),
            ],
        )
        .await
        .map_err(Error::source)?;
    Ok(())
}

/// Takes rows out of quarantine that the destination took after all, unless another worker has the
/// request.
pub(crate) async fn release_quarantined(
    pool: &SourcePool,
    claim: &Claim,
    mapping: &str,
    keys: &[Value],
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection
        .execute(
            sql::RELEASE_QUARANTINED,
            &[&claim.lease.request_id, &claim.lease.attempt, &mapping, &keys],
        )
        .await
        .map_err(Error::source)?;
    Ok(())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
