//! Range by range over the whole key.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use offtake_mapping::Identifier;
use offtake_postgres::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::destination::Destination;
use super::side::{Digest, Side};
use super::statement::{self, Key, Of, Range, Relation, SHARES, Server, TargetColumn};
use super::{DIFFERENCES_MAX, Difference, Error, Kind, Options, Report, VerifyTarget, end};
use crate::destinations::Reader;

/// A range that takes longer was not found through an index: each of them costs a scan, so the next
/// are larger.
const RANGE_TAKES_MAX: Duration = Duration::from_millis(500);
/// What a range grows by then, and to at most; its keys, should they differ, are held in memory.
const RANGE_GROWTH: u64 = 4;
const RANGE_ROWS_MAX: u64 = 160_000;
/// A range of which a statement is not done within its time is tried with so many times fewer rows.
const RANGE_SHRINKS_BY: u64 = 16;
/// Smaller ranges are looked into as they are; of larger ones only the shares that differ, some
/// forty rows of ten thousand each.
const NARROWED_ABOVE: u64 = 4 * SHARES;
/// A destination with so many times the source's rows in a range has it cut, so that its keys fit
/// too.
const SURPLUS_MAX: u64 = 4;

/// Where a range begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Behind this key; None: at the first row.
    after: Option<Key>,
    /// How many rows it has.
    range_rows: u64,
    /// Ranges of more rows took too long.
    #[serde(default)]
    rows_max: Option<u64>,
}

impl Point {
    /// At the first row, with ranges of so many rows to begin with.
    pub fn first(range_rows: u64) -> Self {
        Self { after: None, range_rows: range_rows.max(1), rows_max: None }
    }

    /// The key behind which it begins; None: at the first row.
    pub(crate) fn after(&self) -> Option<&[String]> {
        self.after.as_deref()
    }

    /// With so many fewer rows that a range is done in a part of the time. None: it has one row.
    pub(crate) fn smaller(&self) -> Option<Self> {
        let range_rows = (self.range_rows / RANGE_SHRINKS_BY).max(1);
        let smaller = Self { after: self.after.clone(), range_rows, rows_max: Some(range_rows) };
        (self.range_rows > 1).then_some(smaller)
    }

    /// The range behind it. `took`: how long this one's checksums took.
    fn behind(&self, upto: Key, took: Duration) -> Self {
        let more = match took > RANGE_TAKES_MAX {
            true => self.range_rows * RANGE_GROWTH,
            false => self.range_rows,
        };
        let most = self.rows_max.unwrap_or(RANGE_ROWS_MAX).max(self.range_rows);
        Self { after: Some(upto), range_rows: more.min(most), rows_max: self.rows_max }
    }
}

/// A comparison under way.
pub(super) struct Comparison<'a> {
    pub(super) source: Side<'a>,
    pub(super) destination: Destination<'a>,
    pub(super) reader: Reader<'a>,
    pub(super) target: &'a VerifyTarget<'a>,
    pub(super) options: &'a Options,
    /// How much longer may be waited for what does not come. Waiting that ends with an answer takes
    /// nothing from it, or a large table under load would use it up halfway.
    pub(super) patience: Duration,
    pub(super) report: Report,
}

impl<'a> Comparison<'a> {
    /// Begins a transaction on each side, and reads the destination's columns.
    pub(super) async fn begin(
        source: &'a Client,
        reader: Reader<'a>,
        target: &'a VerifyTarget<'a>,
        options: &'a Options,
    ) -> Result<Self, Error> {
        let (statements, locks) = (options.statement_timeout, options.lock_timeout);
        let began = Instant::now();
        let begin = source.batch_execute(&statement::begin(statements, locks)).await;
        begin.map_err(Error::source)?;
        let there = server(source).await.map_err(Error::source)?;
        let took = began.elapsed();
        let (columns, destination) = Destination::begin(reader, target, options).await?;
        let relation = Relation::source(target, &columns, there);
        Ok(Self {
            source: Side::source(source, relation, options).having_spent(took),
            destination,
            reader,
            target,
            options,
            patience: options.wait,
            report: Report {
                mapping: target.mapping.name().to_owned(),
                tenant: target.tenant_id.to_owned(),
                ..Report::default()
            },
        })
    }

    /// Ends both transactions, and begins the next ones after a pause.
    pub(super) async fn renew(&self, pause: Duration) -> Result<(), Error> {
        tokio::join!(end(self.source.client), self.reader.end());
        tokio::time::sleep(pause).await;
        tokio::try_join!(self.source.begin(), self.destination.renew()).map(|_| ())
    }

    /// Compares range after range, until `enough` of the report so far, or to the end of the key.
    /// Each range has transactions of its own, so that no lock on an application's table is held
    /// for longer. Returns where the last range began, and where the next one begins.
    pub(super) async fn run(
        &mut self,
        from: Point,
        enough: impl Fn(&Report) -> bool,
    ) -> Result<(Point, Option<Point>), Error> {
        if from.after.is_none() && self.source.has_null_keys().await? {
            let columns: Vec<&str> =
                self.target.mapping.key.iter().map(|k| k.query_column.as_str()).collect();
            return Err(Error::NullKey {
                mapping: self.target.mapping.name().to_owned(),
                columns: columns.join(" or "),
            });
        }
        let mut at = from;
        loop {
            let mut range = Range { after: at.after.clone(), ..Range::default() };
            let took = match self.range(&mut range, at.range_rows).await {
                // Its rows are large, or there is no index.
                Err(error) if error.fault() == Fault::TooSlow => {
                    let Some(next) = at.smaller() else { return Err(error) };
                    if enough(&self.report) {
                        return Ok((at, Some(next)));
                    }
                    self.renew(Duration::ZERO).await?;
                    at = next;
                    continue;
                }
                took => took?,
            };
            if let Some(progress) = &self.options.progress {
                progress.send_replace(self.report.rows);
            }
            let Some(upto) = range.upto else { return Ok((at, None)) };
            let next = at.behind(upto, took);
            if enough(&self.report) {
                return Ok((at, Some(next)));
            }
            self.renew(Duration::ZERO).await?;
            at = next;
        }
    }

    /// Compares a range of so many rows; `range.upto` says how far it came. Returns how long its
    /// checksums took.
    async fn range(&mut self, range: &mut Range, range_rows: u64) -> Result<Duration, Error> {
        let began = Instant::now();
        range.upto = self.source.boundary(range, range_rows).await?;
        let (mut there, mut here) = self.checksums(range).await?;
        if here.rows > range_rows.saturating_mul(SURPLUS_MAX) {
            let cut = self.destination.boundary(range, range_rows).await?;
            if cut.is_some() && cut == range.after {
                return Err(Error::KeysStandStill { key: cut.unwrap_or_default().join(", ") });
            }
            range.upto = cut.or_else(|| range.upto.take());
            (there, here) = self.checksums(range).await?;
        }
        let took = began.elapsed();
        if there != here {
            self.look_into(range, there.rows.max(here.rows)).await?;
        }
        self.report.rows += there.rows;
        Ok(took)
    }

    /// Which of a range's rows differ, and tells it.
    async fn look_into(&mut self, range: &Range, rows: u64) -> Result<(), Error> {
        let of = if rows > NARROWED_ABOVE {
            self.differing_shares(range).await?
        } else {
            Of::Everything
        };
        if matches!(&of, Of::Shares(differing) if differing.is_empty()) {
            return Ok(());
        }
        let (there, here) = tokio::try_join!(
            self.source.rows(range, &of, |_| true),
            self.destination.rows(range, &of, |_| true)
        )?;
        self.refuse_duplicates(&there)?;
        let suspects: Vec<Key> = differing(&there, &here).map(|(key, _)| key.clone()).collect();
        drop((there, here));
        if suspects.is_empty() {
            return Ok(());
        }
        let suspected = suspects.len() as u64;
        let confirmed = self.confirm(range, suspects).await?;
        self.tell(confirmed).await?;
        self.report.rechecked += suspected;
        Ok(())
    }

    async fn differing_shares(&self, range: &Range) -> Result<Of, Error> {
        let (there, here) =
            tokio::try_join!(self.source.shares(range), self.destination.shares(range))?;
        let of_source = there
            .iter()
            .filter(|(share, checksum)| here.get(*share) != Some(checksum))
            .map(|(share, _)| share);
        let of_destination_alone = here.keys().filter(|share| !there.contains_key(*share));
        Ok(Of::Shares(of_source.chain(of_destination_alone).cloned().collect()))
    }

    pub(super) fn refuse_duplicates(&self, rows: &HashMap<Key, Digest>) -> Result<(), Error> {
        match rows.iter().find(|(_, digest)| digest.rows > 1) {
            Some((key, _)) => {
                let mapping = self.target.mapping.name().to_owned();
                Err(Error::DuplicateKey {
                    mapping,
                    key: Value::Object(self.key_object(key)).to_string(),
                })
            }
            None => Ok(()),
        }
    }

    /// Counts what differs, and lists it while there is room.
    async fn tell(&mut self, confirmed: Vec<(Key, Kind)>) -> Result<(), Error> {
        let room = self.options.differences_max.saturating_sub(self.report.differences.len());
        let listed = &confirmed[..room.min(confirmed.len())];
        let looked_into = |kind: &Kind| self.options.values || *kind == Kind::Different;
        // An operator who asks for more wants to mend them, not to read them; and thousands of keys
        // are too many for one condition.
        let read = DIFFERENCES_MAX.saturating_sub(self.report.differences.len());
        let keys: Vec<Key> = listed
            .iter()
            .take(read)
            .filter(|(_, kind)| looked_into(kind))
            .map(|(key, _)| key.clone())
            .collect();
        let (mut there, mut here) = (HashMap::new(), HashMap::new());
        if !keys.is_empty() {
            let values = self.options.values;
            (there, here) = tokio::try_join!(
                self.source.columns(&keys, values),
                self.destination.columns(&keys, values)
            )?;
        }
        confirmed.iter().for_each(|(_, kind)| self.report.count(*kind));
        for (key, kind) in listed {
            let difference = self.difference(key, *kind, there.get(key), here.get(key));
            self.report.differences.push(difference);
        }
        Ok(())
    }

    fn difference(
        &self,
        key: &Key,
        kind: Kind,
        there: Option<&Vec<Option<String>>>,
        here: Option<&Vec<Option<String>>>,
    ) -> Difference {
        let names: Vec<&Identifier> = self.target.mapping.columns.iter().map(|c| &c.name).collect();
        // A destination's server may answer with fewer columns than it was asked for.
        let differs = |i: &usize| match (there, here) {
            (Some(there), Some(here)) => there.get(*i) != here.get(*i),
            _ => true,
        };
        let concerned: Vec<usize> = (0..names.len()).filter(differs).collect();
        let named = |i: &usize| names[*i].as_str().to_owned();
        let values = |row: Option<&Vec<Option<String>>>| -> Option<Map<String, Value>> {
            let row = row.filter(|_| self.options.values)?;
            Some(
                concerned
                    .iter()
                    .map(|i| (named(i), row.get(*i).cloned().flatten().into()))
                    .collect(),
            )
        };
        Difference {
            kind,
            key: self.key_object(key),
            columns: if there.is_some() && here.is_some() {
                concerned.iter().map(named).collect()
            } else {
                Vec::new()
            },
            source: values(there),
            destination: values(here),
        }
    }

    pub(super) fn key_object(&self, key: &Key) -> Map<String, Value> {
        let names = self.target.mapping.key.iter().map(|k| k.query_column.as_str().to_owned());
        names.zip(key.iter().map(|v| Value::String(v.clone()))).collect()
    }
}

/// The keys whose rows are not the same on both sides.
pub(super) fn differing<'r>(
    there: &'r HashMap<Key, Digest>,
    here: &'r HashMap<Key, Digest>,
) -> impl Iterator<Item = (&'r Key, Kind)> {
    let of_source = there.iter().filter_map(|(key, digest)| match here.get(key) {
        None => Some((key, Kind::Missing)),
        Some(other) => (digest != other).then_some((key, Kind::Different)),
    });
    of_source
        .chain(here.keys().filter(|key| !there.contains_key(*key)).map(|key| (key, Kind::Extra)))
}

/// What a side's server is; a stranger's answer is not trusted to be of the types that were asked
/// for.
pub(super) async fn server(client: &Client) -> Result<Server, tokio_postgres::Error> {
    let rows = client.query_typed(statement::DESCRIBE_SERVER, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Server::default()) };
    let told = |column: usize| Ok(row.try_get::<_, String>(column)? == "true");
    Ok(Server { converts: told(0)?, checks: told(1)? })
}

pub(super) async fn target_columns(
    destination: &Client,
    schema: &Identifier,
    target: &VerifyTarget<'_>,
) -> Result<Vec<TargetColumn>, Error> {
    let rows = destination
        .query_typed(&statement::list_columns(schema, target), &[])
        .await
        .map_err(Error::destination)?;
    let read = |row: &tokio_postgres::Row| -> Result<TargetColumn, tokio_postgres::Error> {
        Ok(TargetColumn {
            name: row.try_get(0)?,
            sql_type: row.try_get(1)?,
            base_type: row.try_get(2)?,
            takes_text: row.try_get(3)?,
            signs_zero: true,
        })
    };
    let columns: Vec<TargetColumn> =
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::destination)?;
    let table = format!("{schema}.{}", target.mapping.definition.target.table);
    if columns.is_empty() {
        return Err(Error::TableMissing { table });
    }
    let lacks =
        |c: &&offtake_mapping::Column| !columns.iter().any(|held| held.name == c.name.as_str());
    match target.mapping.columns.iter().find(lacks) {
        Some(column) => Err(Error::ColumnMissing { table, column: column.name.to_string() }),
        None => Ok(columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_takes_too_long_shrinks_down_to_one_row() {
        let mut at = Point::first(10_000);
        let mut sizes = Vec::new();
        while let Some(next) = at.smaller() {
            assert_eq!(next.rows_max, Some(next.range_rows), "it does not grow again");
            assert_eq!(next.after, at.after);
            sizes.push(next.range_rows);
            at = next;
        }
        assert_eq!(sizes, [625, 39, 2, 1]);
    }
}
