//! Pages of many webhooks at once: what [`read_events`](super::read_events) reads of each, in one
//! snapshot and by a few statements.
//!
//! Only what is simple is read so: the rows of a few changed keys. A webhook of which there is more
//! to read, or whose rows cannot be computed, is left to be read alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::{self, Accepted, EventShape};
use offtake_postgres::{PooledConnection, SourcePool};
use tokio_postgres::Row;

use super::rows::{repeated, rows_of_keys};
use super::{EventPage, EventPart};
use crate::durable::end_durably;
use crate::group::{Printed, lines_of, open, simple, to_read};
use crate::snapshot::age;
use crate::{Error, Member, Rows, sql};

/// What to read for many webhooks that are told the same of the same mappings, each of its tenant.
pub struct EventsOfGroup<'a> {
    pub members: &'a [Member<'a>],
    pub mappings: &'a [Arc<ResolvedMapping>],
    /// Which of their rows the webhooks are told of.
    pub accepted: &'a Accepted,
    pub with_data: bool,
    /// A row whose JSON is larger is returned without it.
    pub data_bytes_max: usize,
    /// More bytes of rows are [`Overflow`](Error::Overflow).
    pub bytes_max: usize,
    pub statement_timeout: Duration,
}

/// Reads a page for each member, in their order, all in one REPEATABLE READ, READ ONLY transaction,
/// which ends before this returns. Each page has everything that there is for its webhook. None: it
/// is to be read alone.
///
/// An error concerns one or several of the members; each is then to be read alone.
pub async fn read_event_group(
    pool: &SourcePool,
    wanted: &EventsOfGroup<'_>,
) -> Result<Vec<Option<EventPage>>, Error> {
    pool.get()
        .await
        .map_err(Error::Source)?
        .uninterrupted(async |connection| in_snapshot(connection, wanted).await)
        .await
}

async fn in_snapshot(
    connection: &mut PooledConnection,
    wanted: &EventsOfGroup<'_>,
) -> Result<Vec<Option<EventPage>>, Error> {
    let statement = sql::READ_EVENT_GROUP_BOUNDS;
    let opened =
        open(connection, statement, wanted.members, wanted.mappings, wanted.statement_timeout);
    let (transaction, bounds) = opened.await?;
    let taken_at = Instant::now();
    let Some(first) = bounds.first() else { return Ok(Vec::new()) };
    let unflushed: Option<&str> = first.get("unflushed");
    let width = wanted.mappings.len();
    let of_members = bounds.chunks(width);
    let mut pages: Vec<_> = of_members.map(|bounds| page_of(wanted, bounds, taken_at)).collect();
    let shape = EventShape {
        accepted: wanted.accepted,
        with_data: wanted.with_data,
        data_bytes_max: wanted.data_bytes_max,
    };
    let mut bytes_left = wanted.bytes_max;
    for (at, mapping) in wanted.mappings.iter().enumerate() {
        let bounds = bounds.iter().skip(at).step_by(width);
        let (members, keys) = to_read(wanted.members, bounds, &pages);
        if keys.is_empty() {
            continue;
        }
        let statement = compose::select_events_of_tenants(mapping, &keys, shape);
        let tenants: Vec<&str> = keys.iter().map(|of| of.tenant_id).collect();
        let printed = Printed { tenants: &tenants, columns: 0, kept: false };
        let lines = lines_of(&transaction, mapping, &statement, printed, bytes_left).await?;
        for (member, lines) in members.into_iter().zip(lines) {
            let read = lines.map(|lines| {
                bytes_left = bytes_left.saturating_sub(lines.len());
                rows_of_keys(Rows::present_only(lines))
            });
            // The same key twice is told with its fault where it is read alone.
            match (read.filter(|rows| repeated(rows).is_none()), &mut pages[member]) {
                (Some(rows), Some(page)) => page.parts[at].rows = rows,
                (_, page) => *page = None,
            }
        }
    }
    if let Some(unflushed) = unflushed {
        end_durably(transaction, unflushed).await.map_err(Error::source)?;
    }
    Ok(pages)
}

/// What the bounds say of a member; its rows are not read yet.
fn page_of(wanted: &EventsOfGroup<'_>, bounds: &[Row], taken_at: Instant) -> Option<EventPage> {
    let first = bounds.first()?;
    let part = |(row, mapping): (&Row, &Arc<ResolvedMapping>)| {
        simple(row).then(|| EventPart {
            mapping: mapping.clone(),
            whole_table: None,
            rows: Vec::new(),
            chunk: None,
            failed: Vec::new(),
            locked_out: false,
            oldest: row.get::<_, Option<f64>>("oldest_seconds").map(age),
        })
    };
    let parts: Option<Vec<EventPart>> = bounds.iter().zip(wanted.mappings).map(part).collect();
    let head = first.get("head");
    Some(EventPage {
        head,
        epoch: first.get("epoch"),
        now: first.get("now"),
        taken_at,
        now_text: first.get("now_text"),
        read_up_to: head,
        exhausted: true,
        parts: parts?,
    })
}
