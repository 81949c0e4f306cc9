//! Reading the side of a SQLite file or a D1 database. SQLite has no md5 and prints values in its own
//! way: so its rows are read, each value is printed here as Postgres prints it, and the rows are hashed
//! here as a server hashes them.

use std::collections::HashMap;
use std::time::Duration;

use md5::{Digest as _, Md5};
use offtake_mapping::ResolvedMapping;
use rusqlite::types::Value;

use super::file_values::{Printing, composite, held_key};
use super::side::{Checksum, Digest};
use super::statement::{Key, Of, Range, TargetColumn};
use super::{Error, Options, VerifyTarget};
use crate::destinations::{Cells, D1Session, STATE_TABLE, SqliteSession, Trouble};

/// An answer of D1 has so many rows.
const PAGE_ROWS: usize = 4_000;

/// The database that is read.
#[derive(Clone, Copy)]
pub(super) enum Sqlite<'a> {
    File(&'a SqliteSession),
    D1(&'a D1Session),
}

impl Sqlite<'_> {
    /// Folds the rows of so many columns that a statement selects.
    async fn fold<T: Default + Send + 'static>(
        self,
        limit: Duration,
        (statement, parameters): (String, Vec<String>),
        columns: usize,
        mut each: impl FnMut(&mut T, &dyn Cells) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<T, Trouble> {
        match self {
            Self::File(session) => {
                let parameters = parameters.into_iter().map(Value::Text).collect();
                let each = move |folded: &mut T, row: &rusqlite::Row<'_>| each(folded, row);
                session.fold(limit, (statement, parameters), each).await
            }
            Self::D1(session) => {
                let rows = session.select((&statement, parameters), columns).await?;
                let mut folded = T::default();
                rows.iter().try_for_each(|row| each(&mut folded, row)).map_err(Trouble::from)?;
                Ok(folded)
            }
        }
    }
}

/// A column of the mapping's key.
struct KeyColumn {
    /// Quoted.
    name: String,
    printing: Printing,
    /// Its place among the columns.
    at: usize,
}

/// A table in a comparison.
pub(super) struct FileSide<'a> {
    session: Sqlite<'a>,
    table: String,
    /// The tenant, where the table has several.
    tenant: Option<(KeyColumn, Value)>,
    /// Of the mapping's key, in its order.
    key: Vec<KeyColumn>,
    columns: Vec<(String, Printing)>,
    limit: Duration,
}

/// Sums of a range's checksums, while it is read.
#[derive(Default)]
struct Sums {
    rows: u64,
    halves: [i128; 2],
}

impl Sums {
    fn add(&mut self, digest: [u8; 16]) {
        self.rows += 1;
        let number = u128::from_be_bytes(digest);
        // A server sums both halves as signed numbers.
        self.halves[0] += i128::from((number >> 64) as u64 as i64);
        self.halves[1] += i128::from(number as u64 as i64);
    }

    fn checksum(self) -> Checksum {
        Checksum::new(self.rows, self.halves.map(|half| half.to_string()))
    }
}

impl<'a> FileSide<'a> {
    /// Fails if the table, or a column of it, is not there.
    pub(super) async fn begin(
        session: Sqlite<'a>,
        target: &VerifyTarget<'_>,
        options: &Options,
    ) -> Result<Self, Error> {
        let mapping = target.mapping;
        let limit = options.statement_timeout;
        let name = mapping.definition.target.table.as_str().to_owned();
        let asked = "select name from pragma_table_xinfo(?1)".to_owned();
        let read = session.fold(limit, (asked, vec![name.clone()]), 1, |all, row| {
            let all: &mut Vec<String> = all;
            all.push(row.text(0));
            Ok(())
        });
        let there = read.await.map_err(Error::Unreadable)?;
        if there.is_empty() {
            return Err(Error::TableMissing { table: name });
        }
        let lacks = |column: &&offtake_mapping::Column| {
            !there.iter().any(|there| there.eq_ignore_ascii_case(column.name.as_str()))
        };
        if let Some(column) = mapping.columns.iter().find(lacks) {
            let column = column.name.to_string();
            return Err(Error::ColumnMissing { table: name, column });
        }
        let printing = |column: &offtake_mapping::Column| Printing::of(mapping, column);
        let key_column = |name: &offtake_mapping::Identifier| {
            let at = mapping.columns.iter().position(|column| column.name == *name)?;
            let column = &mapping.columns[at];
            Some(KeyColumn { name: column.name.sql(), printing: printing(column), at })
        };
        let tenant = mapping.definition.target.keep_tenant.then(|| {
            let column = key_column(&mapping.columns[0].name)?;
            let value = held_key(column.printing, target.tenant_at_source);
            Some((column, value))
        });
        Ok(Self {
            session,
            table: mapping.definition.target.table.sql(),
            tenant: tenant.flatten(),
            key: mapping.key.iter().filter_map(|k| key_column(&k.query_column)).collect(),
            columns: mapping.columns.iter().map(|c| (c.name.sql(), printing(c))).collect(),
            limit,
        })
    }

    /// How the source prints the columns, so that both sides print alike.
    pub(super) fn columns_at_source(mapping: &ResolvedMapping) -> Vec<TargetColumn> {
        let held = |column: &offtake_mapping::Column| TargetColumn {
            name: column.name.as_str().to_owned(),
            sql_type: column.source_type.clone(),
            base_type: column.target_type.clone(),
            takes_text: false,
            signs_zero: !matches!(Printing::of(mapping, column), Printing::Double { .. }),
        };
        mapping.columns.iter().map(held).collect()
    }

    pub(super) async fn boundary(&self, range: &Range, rows: u64) -> Result<Option<Key>, Error> {
        let (within, parameters) = self.within(range, None);
        let key = self.key_columns();
        let offset = rows.saturating_sub(1);
        let statement = format!(
            "select {key} from {} where {within} order by {key} limit 1 offset {offset}",
            self.table
        );
        let key = self.key.iter().enumerate().map(|(at, column)| (at, column.printing));
        let key: Vec<_> = key.collect();
        let selected = (statement, parameters);
        let found = self.session.fold(self.limit, selected, key.len(), move |found, row| {
            *found = Some(key_of(row, &key)?);
            Ok(())
        });
        found.await.map_err(Error::Unreadable)
    }

    /// How many rows a range has.
    pub(super) async fn count(&self, range: &Range) -> Result<u64, Error> {
        let (within, parameters) = self.within(range, None);
        let statement = format!("select count(*) from {} where {within}", self.table);
        let selected = (statement, parameters);
        let counted = self.session.fold(self.limit, selected, 1, |count: &mut i64, row| {
            *count = row.number(0);
            Ok(())
        });
        Ok(counted.await.map_err(Error::Unreadable)?.unsigned_abs())
    }

    pub(super) async fn checksum(&self, range: &Range) -> Result<Checksum, Error> {
        let printing = self.printings();
        let read = self.read(range, None, move |sums: &mut Sums, row| {
            sums.add(digest(row, &printing)?);
            Ok(())
        });
        Ok(read.await?.checksum())
    }

    pub(super) async fn shares(&self, range: &Range) -> Result<HashMap<String, Checksum>, Error> {
        let (printing, keys) = (self.printings(), self.key_places());
        let read = self.read(range, None, move |shares: &mut HashMap<String, Sums>, row| {
            let share = digest(row, &keys)?;
            shares.entry(format!("{:02x}", share[0])).or_default().add(digest(row, &printing)?);
            Ok(())
        });
        let sums = read.await?.into_iter();
        Ok(sums.map(|(share, sums)| (share, sums.checksum())).collect())
    }

    pub(super) async fn rows(
        &self,
        range: &Range,
        of: &Of,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<HashMap<Key, Digest>, Error> {
        let (printing, keys) = (self.printings(), self.key_places());
        let shares = match of {
            Of::Shares(shares) => Some(shares.clone()),
            _ => None,
        };
        let of_keys = match of {
            Of::Keys(keys) => Some(&keys[..]),
            _ => None,
        };
        let read = self.read(range, of_keys, move |rows: &mut Vec<(Key, [u8; 16])>, row| {
            let key = key_of(row, &keys)?;
            if let Some(shares) = &shares {
                let share = format!("{:02x}", digest(row, &keys)?[0]);
                if !shares.contains(&share) {
                    return Ok(());
                }
            }
            rows.push((key, digest(row, &printing)?));
            Ok(())
        });
        let mut rows: HashMap<Key, Digest> = HashMap::new();
        for (key, digest) in read.await?.into_iter().filter(|(key, _)| wanted(key)) {
            rows.entry(key).or_default().add(u128::from_be_bytes(digest));
        }
        Ok(rows)
    }

    /// The columns of single rows, by key: their text, or checksums of it.
    pub(super) async fn columns(
        &self,
        keys: &[Key],
        values: bool,
    ) -> Result<HashMap<Key, Vec<Option<String>>>, Error> {
        let (printing, own) = (self.printings(), self.key_places());
        type Found = HashMap<Key, Vec<Option<String>>>;
        let everywhere = Range::default();
        let read = self.read(&everywhere, Some(keys), move |found: &mut Found, row| {
            let texts = printing.iter().map(|(at, of)| of.print(row.at(*at)));
            let texts: rusqlite::Result<Vec<Option<String>>> = texts.collect();
            let told = |text: Option<String>| match values {
                true => text,
                false => text.map(|text| {
                    let hash = Md5::digest(composite(&[Some(text)]));
                    hash.iter().map(|byte| format!("{byte:02x}")).collect()
                }),
            };
            found.insert(key_of(row, &own)?, texts?.into_iter().map(told).collect());
            Ok(())
        });
        read.await
    }

    /// Whether the destination has passed this change.
    pub(super) async fn passed(
        &self,
        target: &VerifyTarget<'_>,
        wanted: i64,
    ) -> Result<Option<bool>, Error> {
        let there = "select count(*) from sqlite_schema where name = ?1".to_owned();
        let there = (there, vec![STATE_TABLE.to_owned()]);
        let count = |count: &mut i64, row: &dyn Cells| {
            *count = row.number(0);
            Ok(())
        };
        let there = self.session.fold(self.limit, there, 1, count).await;
        if there.map_err(Error::Unreadable)? == 0 {
            return Ok(None);
        }
        let asked = format!(
            "select count(*) from \"{STATE_TABLE}\" where tenant_id = ?1 and mapping = ?2 and backfilled <> 0 and sequence_id >= ?3"
        );
        let of = [target.tenant_id, target.mapping.name()].map(str::to_owned);
        let parameters = of.into_iter().chain([wanted.to_string()]).collect();
        let passed = self.session.fold(self.limit, (asked, parameters), 1, count).await;
        Ok(Some(passed.map_err(Error::Unreadable)? > 0))
    }

    /// Folds the rows of a range: the mapping's columns.
    async fn read<T: Default + Send + 'static>(
        &self,
        range: &Range,
        keys: Option<&[Key]>,
        mut each: impl FnMut(&mut T, &dyn Cells) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<T, Error> {
        let columns: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let select = |within: &str| {
            format!("select {} from {} where {within}", columns.join(", "), self.table)
        };
        let Sqlite::D1(session) = self.session else {
            let (within, parameters) = self.within(range, keys);
            let selected = (select(&within), parameters);
            let read = self.session.fold(self.limit, selected, columns.len(), each);
            return read.await.map_err(Error::Unreadable);
        };
        let (mut folded, mut range) = (T::default(), range.clone());
        let own = self.key_places();
        loop {
            let (within, parameters) = self.within(&range, keys);
            let order = self.key_columns();
            let statement = format!("{} order by {order} limit {PAGE_ROWS}", select(&within));
            let page = session.select((&statement, parameters), columns.len()).await;
            let page = page.map_err(Error::Unreadable)?;
            let read = page.iter().try_for_each(|row| each(&mut folded, row));
            let last = page.last().map(|row| key_of(row, &own)).transpose();
            let last = read.and(last).map_err(|error| Error::Unreadable(error.into()))?;
            if page.len() < PAGE_ROWS {
                return Ok(folded);
            }
            range.after = last;
        }
    }

    fn key_columns(&self) -> String {
        let key: Vec<&str> = self.key.iter().map(|column| column.name.as_str()).collect();
        key.join(", ")
    }

    fn printings(&self) -> Vec<(usize, Printing)> {
        self.columns.iter().enumerate().map(|(at, (_, of))| (at, *of)).collect()
    }

    /// Where the key's columns are in a row.
    fn key_places(&self) -> Vec<(usize, Printing)> {
        self.key.iter().map(|column| (column.at, column.printing)).collect()
    }

    /// The condition of a range, and its parameters: D1 takes few, so keys are JSON texts.
    fn within(&self, range: &Range, keys: Option<&[Key]>) -> (String, Vec<String>) {
        let (mut parameters, mut conditions) = (Vec::new(), Vec::new());
        let mut next = |json: serde_json::Value| {
            parameters.push(json.to_string());
            format!("?{}", parameters.len())
        };
        if let Some((column, value)) = &self.tenant {
            let given = element(column.printing, &next(serde_json::json!([told(value)])), 0);
            conditions.push(format!("{} = {given}", column.name));
        }
        let key = self.key_columns();
        let json = |key: &Key| -> serde_json::Value {
            let of = |(text, column): (&String, &KeyColumn)| told(&held_key(column.printing, text));
            key.iter().zip(&self.key).map(of).collect()
        };
        let row = |source: &str| {
            let columns = self.key.iter().enumerate();
            let elements: Vec<_> =
                columns.map(|(at, of)| element(of.printing, source, at)).collect();
            elements.join(", ")
        };
        for (operator, bound) in [(">", &range.after), ("<=", &range.upto)] {
            if let Some(bound) = bound {
                conditions.push(format!("({key}) {operator} ({})", row(&next(json(bound)))));
            }
        }
        let without = (!range.without.is_empty()).then_some(&range.without[..]);
        for (operator, list) in [("not in", without), ("in", keys)] {
            if let Some(list) = list {
                let list = next(list.iter().map(json).collect());
                conditions.push(format!(
                    "({key}) {operator} (select {} from json_each({list}) as offtake_key)",
                    row("offtake_key.value")
                ));
            }
        }
        let all = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") };
        (all, parameters)
    }
}

/// A value of a key in JSON.
fn told(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.into()
        }
    }
}

/// The same, taken out of an array.
fn element(printing: Printing, source: &str, at: usize) -> String {
    match printing {
        Printing::Hexadecimal => format!("unhex({source}->>{at})"),
        _ => format!("{source}->>{at}"),
    }
}

/// Of the columns at these places.
fn key_of(row: &dyn Cells, key: &[(usize, Printing)]) -> rusqlite::Result<Key> {
    key.iter().map(|(at, of)| Ok(of.print(row.at(*at))?.unwrap_or_default())).collect()
}

/// The checksum of the text of the columns at these places.
fn digest(row: &dyn Cells, columns: &[(usize, Printing)]) -> rusqlite::Result<[u8; 16]> {
    let texts: rusqlite::Result<Vec<_>> =
        columns.iter().map(|(at, of)| of.print(row.at(*at))).collect();
    Ok(Md5::digest(composite(&texts?)).into())
}
