//! Rows that the mapping's query cannot compute at the source: found among many, and set aside by
//! key.
//!
//! A cast that fails, a division by zero, a NUL in a JSON text: one such row makes the whole
//! statement fail, and says nothing of which row it was. So the keys are listed without evaluating
//! the query, and read by halves behind savepoints until the rows that fail stand alone.

use bytes::{Bytes, BytesMut};
use offtake_mapping::{OnRowError, ResolvedMapping, compose};
use serde_json::Value;
use tokio_postgres::Client;

use crate::destinations::REFUSED_ROWS_MAX;
use crate::error::{MappingFault, row_fault};
use crate::read::RefusedRow;
use crate::{Error, read};

/// The lines of every listed key that can be computed, in key order, and the keys that cannot.
/// `list` is a statement of [`compose::list_changed`] or [`compose::list_chunk`]; `error` is what
/// reading all of them at once said. The transaction stands where it failed, behind the savepoint
/// `reading`.
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
    back(transaction).await?;
    // Where even the keys cannot be listed, it is the mapping that fails.
    let listed = transaction.query(list, &[]).await.map_err(|e| Error::mapping(mapping, e))?;
    let keys: Vec<Value> =
        listed.iter().filter_map(|row| serde_json::from_str(row.get(0)).ok()).collect();
    let mut apart = Apart {
        keys: keys.len(),
        last: keys.last().map(|key| texts(mapping, key)),
        data: BytesMut::new(),
        refused: Vec::new(),
    };
    let mut open: Vec<_> = std::iter::once(0..keys.len()).collect();
    while let Some(range) = open.pop() {
        if range.is_empty() {
            continue;
        }
        transaction.batch_execute("savepoint reading").await.map_err(Error::source)?;
        let statement = compose::copy_keys(
            mapping,
            tenant_id,
            &Value::from(keys[range.clone()].to_vec()).to_string(),
        );
        match read::copy_out(transaction, &statement, usize::MAX).await {
            Ok((lines, _)) => apart.data.extend_from_slice(&lines),
            Err(error) if row_fault(&error) => {
                back(transaction).await?;
                if range.len() > 1 {
                    let middle = range.start + range.len() / 2;
                    open.push(middle..range.end);
                    open.push(range.start..middle);
                    continue;
                }
                apart.refuse(mapping, texts(mapping, &keys[range.start]), error)?;
            }
            Err(error) => return Err(Error::mapping(mapping, error)),
        }
    }
    Ok(apart)
}

/// What was read although some rows cannot be.
pub(crate) struct Apart {
    /// How many keys were listed, and the last of them.
    pub(crate) keys: usize,
    pub(crate) last: Option<Vec<String>>,
    data: BytesMut,
    pub(crate) refused: Vec<RefusedRow>,
}

impl Apart {
    pub(crate) fn lines(&mut self) -> Bytes {
        self.data.split().freeze()
    }

    fn refuse(
        &mut self,
        mapping: &ResolvedMapping,
        key: Vec<String>,
        error: tokio_postgres::Error,
    ) -> Result<(), Error> {
        let error = offtake_postgres::Error::from(error);
        if self.refused.len() >= REFUSED_ROWS_MAX {
            let what = format!(
                "the query fails at the source for more than {REFUSED_ROWS_MAX} rows of one batch"
            );
            return Err(Error::Mapping {
                mapping: mapping.name().to_owned(),
                fault: MappingFault::of(&what, &error),
            });
        }
        let sqlstate = error.sqlstate().map_or_else(String::new, |s| s.code().to_owned());
        self.refused.push(RefusedRow {
            key,
            sqlstate,
            error: format!("the query fails at the source: {}", error.message()),
        });
        Ok(())
    }
}

async fn back(transaction: &Client) -> Result<(), Error> {
    transaction
        .batch_execute("rollback to savepoint reading; release savepoint reading")
        .await
        .map_err(Error::source)
}

/// A `row_key` in key order, as text.
fn texts(mapping: &ResolvedMapping, key: &Value) -> Vec<String> {
    mapping
        .key
        .iter()
        .map(|k| key[k.source_column.as_str()].as_str().unwrap_or_default().to_owned())
        .collect()
}
