//! One key, looked at on both sides: whether its row is there, and whether it is the same.

use offtake_mapping::ResolvedMapping;
use offtake_postgres::TEXT_FORMAT;
use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::ranges::Comparison;
use super::statement::{Of, Range};
use super::{Error, Options, VerifyTarget, end};
use crate::destinations::Reader;

/// What there is of one key, at one moment of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFound {
    /// The mapping's query gives a row for it.
    pub at_source: bool,
    pub at_destination: bool,
    /// Both sides have the same row, or none.
    pub equal: bool,
}

/// Looks a key up by its values as text, in key order. Waits for no change on its way: a row that
/// changes now may differ for a moment.
///
/// As with [`verify`](super::verify()), the clients are the call's alone while it runs.
pub async fn verify_key(
    source: &Client,
    destination: Reader<'_>,
    target: &VerifyTarget<'_>,
    options: &Options,
    key: &[String],
) -> Result<KeyFound, Error> {
    let compared = async {
        let comparison = Comparison::begin(source, destination, target, options).await?;
        let (range, of) = (Range::default(), Of::Keys(vec![key.to_vec()]));
        let there = comparison.source.rows(&range, &of, |_| true).await?;
        let here = comparison.destination.rows(&range, &of, |_| true).await?;
        let (there, here) = (there.into_values().next(), here.into_values().next());
        Ok(KeyFound {
            at_source: there.is_some(),
            at_destination: here.is_some(),
            equal: there == here,
        })
    };
    let outcome = Box::pin(compared).await;
    tokio::join!(end(source), destination.end());
    outcome
}

/// A key as the source prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeltKey {
    /// As the change log has it: the source table's columns as text.
    pub row_key: Value,
    /// For [`verify_key`].
    pub values: Vec<String>,
}

/// Brings a key, the text of each of the mapping's key columns in their order, into the source's
/// own spelling. `source` must not be in a transaction.
pub async fn spell_key(
    source: &Client,
    mapping: &ResolvedMapping,
    key: &[String],
) -> Result<SpeltKey, Error> {
    let statement = super::statement::spell_key(mapping, key);
    let spelt = async {
        source.batch_execute(&format!("begin read only; {TEXT_FORMAT}")).await?;
        source.query_typed(&statement, &[]).await
    };
    let rows = spelt.await;
    end(source).await;
    let rows = rows.map_err(Error::source)?;
    let printed: Vec<Option<String>> =
        rows.first().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).unwrap_or_default();
    let columns = mapping.key.iter().zip(printed.chunks(2));
    let (mut row_key, mut values) = (Map::new(), Vec::new());
    for (column, texts) in columns {
        let [at_source, of_query] = texts else { continue };
        let name = column.source_column.as_str().to_owned();
        row_key.insert(name, at_source.clone().map_or(Value::Null, Value::String));
        values.push(of_query.clone().unwrap_or_default());
    }
    Ok(SpeltKey { row_key: Value::Object(row_key), values })
}
