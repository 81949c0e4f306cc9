//! Rows that the mapping's query cannot compute: found among many by reading them apart.
//!
//! A cast that fails, a division by zero, a NUL in a JSON text, a value that prints to more than a
//! gigabyte: one such row makes the whole statement fail, and the error does not say which row it
//! was. So the keys are listed without evaluating the query, and read in ever smaller halves behind
//! savepoints, until each row that fails stands alone.

use bytes::BytesMut;
use offtake_mapping::{OnRowError, ResolvedMapping, compose};
use offtake_postgres::unreadable_row;
use serde_json::Value;
use tokio_postgres::Client;

use crate::copy::{back, copy_out, save};
use crate::{Error, MappingFault, Rows};

/// How many rows of one batch may fail before the fault is the mapping's and not its rows'. Finding
/// one costs about 25 small statements, so this also bounds the time that a hostile table can take.
pub const FAILED_ROWS_MAX: usize = 100;

/// A row that cannot arrive while the others can: the query cannot compute it, or the receiver of
/// the rows refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRow {
    /// In key order, as text.
    pub key: Vec<String>,
    pub sqlstate: String,
    pub error: String,
}

/// What was read although some rows cannot be computed.
pub(crate) struct Apart {
    /// How many keys were listed.
    pub(crate) keys: usize,
    /// The last of the listed keys.
    pub(crate) last: Option<Vec<String>>,
    /// The listed rows that can be computed, in key order.
    pub(crate) rows: Rows,
    /// Those that cannot.
    pub(crate) failed: Vec<FailedRow>,
}

/// Reads the listed keys apart. `list` is a statement of [`compose::list_changed`] or
/// [`compose::list_chunk`]; `error` is why reading all of them at once failed. The transaction is
/// aborted by that error, behind the savepoint `reading`.
pub(crate) async fn read_apart(
    transaction: &Client,
    mapping: &ResolvedMapping,
    tenant_id: &str,
    list: &str,
    error: tokio_postgres::Error,
) -> Result<Apart, Error> {
    if mapping.definition.on_row_error == OnRowError::Halt {
        return Err(Error::mapping(mapping, error));
    }
    back(transaction).await.map_err(Error::source)?;
    // If even the keys cannot be listed, the mapping fails as a whole.
    let listed = transaction.query(list, &[]).await.map_err(|e| Error::mapping(mapping, e))?;
    let keys: Vec<Value> =
        listed.iter().filter_map(|row| serde_json::from_str(row.get(0)).ok()).collect();
    let (mut data, mut failed) = (BytesMut::new(), Vec::new());
    let mut open: Vec<_> = std::iter::once(0..keys.len()).collect();
    while let Some(range) = open.pop() {
        if range.is_empty() {
            continue;
        }
        save(transaction).await.map_err(Error::source)?;
        let statement = compose::copy_keys(
            mapping,
            tenant_id,
            &Value::from(keys[range.clone()].to_vec()).to_string(),
        );
        match copy_out(transaction, &statement, usize::MAX).await {
            Ok((lines, _)) => data.extend_from_slice(&lines),
            Err(error) if unreadable_row(&error) => {
                back(transaction).await.map_err(Error::source)?;
                if range.len() > 1 {
                    let middle = range.start + range.len() / 2;
                    open.push(middle..range.end);
                    open.push(range.start..middle);
                    continue;
                }
                note(&mut failed, mapping, texts(mapping, &keys[range.start]), error)?;
            }
            Err(error) => return Err(Error::mapping(mapping, error)),
        }
    }
    Ok(Apart {
        keys: keys.len(),
        last: keys.last().map(|key| texts(mapping, key)),
        rows: Rows::new(data.freeze()),
        failed,
    })
}

/// Adds one row to those that failed, unless they are too many.
fn note(
    failed: &mut Vec<FailedRow>,
    mapping: &ResolvedMapping,
    key: Vec<String>,
    error: tokio_postgres::Error,
) -> Result<(), Error> {
    let error = offtake_postgres::Error::from(error);
    if failed.len() >= FAILED_ROWS_MAX {
        let what = format!(
            "the query fails at the source for more than {FAILED_ROWS_MAX} rows of one batch"
        );
        return Err(Error::Mapping {
            mapping: mapping.name().to_owned(),
            fault: MappingFault::of(&what, &error),
        });
    }
    let sqlstate = error.sqlstate().map_or_else(String::new, |s| s.code().to_owned());
    failed.push(FailedRow {
        key,
        sqlstate,
        error: format!("the query fails at the source: {}", error.message()),
    });
    Ok(())
}

/// A `row_key` in key order, as text.
fn texts(mapping: &ResolvedMapping, key: &Value) -> Vec<String> {
    mapping
        .key
        .iter()
        .map(|k| key[k.source_column.as_str()].as_str().unwrap_or_default().to_owned())
        .collect()
}
