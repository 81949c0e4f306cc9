//! The rows of a page: those of keys, and those of a backfill.

use bytes::Bytes;
use offtake_mapping::compose::{self, EventShape, KeyRange};
use offtake_mapping::{ResolvedMapping, foreign};
use offtake_postgres::unreadable_row;
use serde_json::Value;
use tokio_postgres::Client;

use super::{
    Change, EventChunk, EventPage, EventPart, EventPosition, EventRow, EventsWanted, FailedEvent,
    RowState,
};
use crate::copy::{back, saved_copy, saved_select};
use crate::{Error, FAILED_ROWS_MAX, MappingFault, Rows};

/// Rows of up to so many keys are selected, and not copied.
const SELECTED_KEYS_MAX: usize = 50;

/// What was read of some keys.
#[derive(Default)]
pub(super) struct Read {
    pub(super) rows: Vec<EventRow>,
    pub(super) failed: Vec<FailedEvent>,
    pub(super) bytes: usize,
    /// There are rows behind these.
    pub(super) cut: bool,
}

pub(super) async fn read_keys(
    transaction: &Client,
    wanted: &EventsWanted<'_>,
    position: &EventPosition<'_>,
    keys: &[Change],
    bytes_max: usize,
) -> Result<Read, Error> {
    match lines(transaction, wanted, position, keys, bytes_max).await {
        Ok((data, cut)) => {
            let bytes = data.len();
            let rows = rows_of_keys(Rows::present_only(data));
            if let Some(key) = repeated(&rows) {
                return Err(repeated_key(position.mapping, key));
            }
            Ok(Read { rows, failed: Vec::new(), bytes, cut })
        }
        Err(error) if unreadable_row(&error) && !wanted.halt => {
            back(transaction).await.map_err(Error::source)?;
            read_apart(transaction, wanted, position, keys).await
        }
        Err(error) => Err(Error::mapping(position.mapping, error)),
    }
}

/// The lines of some keys. Those of a few are selected: COPY takes one more round trip.
async fn lines(
    transaction: &Client,
    wanted: &EventsWanted<'_>,
    position: &EventPosition<'_>,
    keys: &[Change],
    bytes_max: usize,
) -> Result<(Bytes, bool), tokio_postgres::Error> {
    if keys.len() <= SELECTED_KEYS_MAX {
        let (tenant_id, shape) = (wanted.tenant_id, shape(wanted, position));
        let select = compose::select_events(position.mapping, tenant_id, &json_of(keys), shape);
        if let Some(lines) = saved_select(transaction, &select, bytes_max).await? {
            return Ok(lines);
        }
    }
    saved_copy(transaction, &statement(wanted, position, keys), bytes_max).await
}

fn json_of(keys: &[Change]) -> String {
    keys.iter().map(|change| change.object.clone()).collect::<Value>().to_string()
}

fn statement(wanted: &EventsWanted<'_>, position: &EventPosition<'_>, keys: &[Change]) -> String {
    let (tenant_id, shape) = (wanted.tenant_id, shape(wanted, position));
    compose::copy_events(position.mapping, tenant_id, &json_of(keys), shape)
}

fn shape<'a>(wanted: &EventsWanted<'_>, position: &EventPosition<'a>) -> EventShape<'a> {
    EventShape {
        accepted: position.accepted,
        with_data: wanted.with_data,
        data_bytes_max: wanted.data_bytes_max,
    }
}

pub(super) fn repeated(rows: &[EventRow]) -> Option<&str> {
    // Rows of one key have one sequence id, and stand beside each other.
    let mut pairs = rows.windows(2);
    let same = |pair: &&[EventRow]| {
        pair[0].sequence_id == pair[1].sequence_id && pair[0].row_key == pair[1].row_key
    };
    pairs.find(same).map(|pair| pair[0].row_key.as_str())
}

fn repeated_key(mapping: &ResolvedMapping, key: &str) -> Error {
    let fault = MappingFault::repeated_key(&foreign(key));
    Error::Mapping { mapping: mapping.name().to_owned(), fault }
}

/// Reads keys in ever smaller halves, until each row that the query cannot compute stands alone.
async fn read_apart(
    transaction: &Client,
    wanted: &EventsWanted<'_>,
    position: &EventPosition<'_>,
    keys: &[Change],
) -> Result<Read, Error> {
    let mut read = Read::default();
    let mut open: Vec<&[Change]> = vec![keys];
    while let Some(some) = open.pop().filter(|some| !some.is_empty()) {
        match saved_copy(transaction, &statement(wanted, position, some), usize::MAX).await {
            Ok((data, _)) => {
                read.bytes += data.len();
                read.rows.extend(rows_of_keys(Rows::present_only(data)));
            }
            Err(error) if unreadable_row(&error) => {
                back(transaction).await.map_err(Error::source)?;
                if some.len() > 1 {
                    let (one, other) = some.split_at(some.len() / 2);
                    open.extend([other, one]);
                    continue;
                }
                note(&mut read.failed, position.mapping, &some[0], error)?;
            }
            Err(error) => return Err(Error::mapping(position.mapping, error)),
        }
    }
    // Two spellings of one key may have been in different halves: the newer state is the same.
    read.rows.sort_by_key(|row| row.sequence_id);
    Ok(read)
}

/// Adds one row to those that failed, unless they are too many.
fn note(
    failed: &mut Vec<FailedEvent>,
    mapping: &ResolvedMapping,
    change: &Change,
    error: tokio_postgres::Error,
) -> Result<(), Error> {
    let error = offtake_postgres::Error::from(error);
    if failed.len() >= FAILED_ROWS_MAX {
        let what = format!(
            "the query fails at the source for more than {FAILED_ROWS_MAX} rows of one page"
        );
        let fault = MappingFault::of(&what, &error);
        return Err(Error::Mapping { mapping: mapping.name().to_owned(), fault });
    }
    failed.push(FailedEvent {
        row_key: change.object["k"].to_string(),
        sequence_id: change.sequence_id,
        captured_at: change.object["c"].as_str().unwrap_or_default().to_owned(),
        sqlstate: error.sqlstate().map_or_else(String::new, |s| s.code().to_owned()),
        error: format!("the query fails at the source: {}", error.message()),
    });
    Ok(())
}

/// Reads the next stretch of a backfill, of the first mapping that wants one and can be read.
pub(super) async fn read_chunk_of_page(
    transaction: &Client,
    wanted: &EventsWanted<'_>,
    page: &mut EventPage,
    bytes_left: usize,
) -> Result<(), Error> {
    let (head, now) = (page.head, page.now_text.clone());
    let mut parts = wanted.positions.iter().zip(&mut page.parts);
    let to_copy = |(position, part): &(&EventPosition<'_>, &mut EventPart)| {
        position.chunk.is_some() && part.whole_table.is_none() && !part.locked_out
    };
    let Some((position, part)) = parts.find(to_copy) else { return Ok(()) };
    match read_chunk(transaction, wanted, position, (head, &now), bytes_left).await {
        Ok((mut chunk, failed)) => {
            // A key of the page is told as one of the page.
            let told: std::collections::HashSet<&str> =
                part.rows.iter().map(|row| row.row_key.as_str()).collect();
            chunk.rows.retain(|row| !told.contains(row.row_key.as_str()));
            part.failed.extend(failed);
            part.chunk = Some(chunk);
        }
        Err(error) => part.lock_out(error, transaction).await?,
    }
    Ok(())
}

async fn read_chunk(
    transaction: &Client,
    wanted: &EventsWanted<'_>,
    position: &EventPosition<'_>,
    (head, now): (i64, &str),
    bytes_left: usize,
) -> Result<(EventChunk, Vec<FailedEvent>), Error> {
    let mapping = position.mapping;
    let after = position.chunk.and_then(|chunk| chunk.range().after);
    let limit = wanted.changes_max;
    let shape = shape(wanted, position);
    let statement = compose::copy_event_chunk(mapping, wanted.tenant_id, after, limit, shape);
    match saved_copy(transaction, &statement, bytes_left).await {
        Ok((data, cut)) => {
            let mut rows = rows_of_chunk(Rows::present_only(data), (head, now));
            let last = rows.last().filter(|_| cut || rows.len() >= limit);
            let up_to = last.map(|row| key_texts(mapping, &row.row_key));
            rows.retain(|row| row.state != RowState::Absent);
            Ok((EventChunk { rows, up_to }, Vec::new()))
        }
        Err(error) if unreadable_row(&error) && !wanted.halt => {
            back(transaction).await.map_err(Error::source)?;
            let range = KeyRange::behind(after);
            let list = compose::list_chunk(mapping, wanted.tenant_id, range, limit);
            let listed = transaction.query(&list, &[]).await;
            let listed = listed.map_err(|error| Error::mapping(mapping, error))?;
            let keys: Vec<Change> = listed
                .iter()
                .filter_map(|row| serde_json::from_str::<Value>(row.get(0)).ok())
                .map(|key| Change {
                    sequence_id: head,
                    object: serde_json::json!({ "k": key, "s": head.to_string(), "c": now }),
                })
                .collect();
            let last = keys.last().filter(|_| keys.len() >= limit);
            let up_to = last.map(|change| key_texts(mapping, &change.object["k"].to_string()));
            let mut read = read_apart(transaction, wanted, position, &keys).await?;
            read.rows.retain(|row| row.state != RowState::Absent);
            Ok((EventChunk { rows: read.rows, up_to }, read.failed))
        }
        Err(error) => Err(Error::mapping(mapping, error)),
    }
}

/// A key that is written as in `row_key`, in key order, as text.
pub fn key_texts(mapping: &ResolvedMapping, row_key: &str) -> Vec<String> {
    let key: Value = serde_json::from_str(row_key).unwrap_or_default();
    let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    mapping.key.iter().map(|k| text(k.source_column.as_str())).collect()
}

pub(super) fn rows_of_keys(rows: Rows) -> Vec<EventRow> {
    (0..rows.len())
        .map(|line| {
            let mut fields = rows.fields(line, &[0, 1, 2, 3, 4, 5]).into_iter();
            let mut next = || fields.next().flatten();
            EventRow {
                sequence_id: next().and_then(|id| id.parse().ok()).unwrap_or(0),
                captured_at: next().unwrap_or_default(),
                key: next().unwrap_or_default(),
                row_key: next().unwrap_or_default(),
                state: state(next().as_deref(), next()),
            }
        })
        .collect()
}

fn rows_of_chunk(rows: Rows, (sequence_id, captured_at): (i64, &str)) -> Vec<EventRow> {
    (0..rows.len())
        .map(|line| {
            let mut fields = rows.fields(line, &[0, 1, 2, 3]).into_iter();
            let mut next = || fields.next().flatten();
            EventRow {
                sequence_id,
                captured_at: captured_at.to_owned(),
                key: next().unwrap_or_default(),
                row_key: next().unwrap_or_default(),
                state: state(next().as_deref(), next()),
            }
        })
        .collect()
}

fn state(letter: Option<&str>, data: Option<String>) -> RowState {
    match letter {
        Some("u") => RowState::Present(data),
        Some("l") => RowState::TooLarge,
        _ => RowState::Absent,
    }
}
