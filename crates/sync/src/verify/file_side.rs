//! Reading a SQLite file's side. SQLite has no md5 and prints values in its own way: so its rows are
//! read, each value is printed here as Postgres prints it, and the rows are hashed here as a server
//! hashes them.

use std::collections::HashMap;
use std::time::Duration;

use md5::{Digest as _, Md5};
use offtake_mapping::ResolvedMapping;
use rusqlite::Row;
use rusqlite::types::Value;

use super::file_values::{Printing, composite, held_key};
use super::side::{Checksum, Digest};
use super::statement::{Key, Of, Range, TargetColumn};
use super::{Error, Options, VerifyTarget};
use crate::destinations::{STATE_TABLE, SqliteSession};

/// A file's table in a comparison.
pub(super) struct FileSide<'a> {
    session: &'a SqliteSession,
    table: String,
    /// The column and the value of the tenant, where the table has several.
    tenant: Option<(String, Value)>,
    /// Of the mapping's key, in its order: the names, quoted, and how they are printed.
    key: Vec<(String, Printing)>,
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
        session: &'a SqliteSession,
        target: &VerifyTarget<'_>,
        options: &Options,
    ) -> Result<Self, Error> {
        let mapping = target.mapping;
        let limit = options.statement_timeout;
        let name = mapping.definition.target.table.as_str().to_owned();
        let asked = "select name from pragma_table_xinfo(?1)".to_owned();
        let read = session.fold(limit, (asked, vec![Value::Text(name.clone())]), |all, row| {
            let all: &mut Vec<String> = all;
            all.push(row.get(0)?);
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
        let printed = |name: &offtake_mapping::Identifier| {
            let column = mapping.columns.iter().find(|column| column.name == *name);
            (name.sql(), column.map_or(Printing::Text, |column| Printing::of(mapping, column)))
        };
        let tenant = mapping.definition.target.keep_tenant.then(|| {
            let (name, printing) = printed(&mapping.columns[0].name);
            (name, held_key(printing, target.tenant_at_source))
        });
        Ok(Self {
            session,
            table: mapping.definition.target.table.sql(),
            tenant,
            key: mapping.key.iter().map(|k| printed(&k.query_column)).collect(),
            columns: mapping.columns.iter().map(|c| printed(&c.name)).collect(),
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
        let printing = self.printings();
        let found = self.session.fold(self.limit, (statement, parameters), move |found, row| {
            *found = Some(key_of(row, 0, &printing)?);
            Ok(())
        });
        found.await.map_err(Error::Unreadable)
    }

    /// How many rows a range has.
    pub(super) async fn count(&self, range: &Range) -> Result<u64, Error> {
        let (within, parameters) = self.within(range, None);
        let statement = format!("select count(*) from {} where {within}", self.table);
        let counted = self.session.fold(self.limit, (statement, parameters), |count, row| {
            *count = row.get::<_, i64>(0)?;
            Ok(())
        });
        Ok(counted.await.map_err(Error::Unreadable)?.unsigned_abs())
    }

    pub(super) async fn checksum(&self, range: &Range) -> Result<Checksum, Error> {
        let printing: Vec<Printing> = self.columns.iter().map(|(_, of)| *of).collect();
        let read = self.read(range, None, move |sums: &mut Sums, row| {
            sums.add(digest(row, 0, &printing)?);
            Ok(())
        });
        Ok(read.await?.checksum())
    }

    pub(super) async fn shares(&self, range: &Range) -> Result<HashMap<String, Checksum>, Error> {
        let printing: Vec<Printing> = self.columns.iter().map(|(_, of)| *of).collect();
        let (keys, from) = (self.printings(), self.columns.len());
        let read = self.read(range, None, move |shares: &mut HashMap<String, Sums>, row| {
            let share = digest(row, from, &keys)?;
            shares.entry(format!("{:02x}", share[0])).or_default().add(digest(row, 0, &printing)?);
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
        let printing: Vec<Printing> = self.columns.iter().map(|(_, of)| *of).collect();
        let (keys, from) = (self.printings(), self.columns.len());
        let shares = match of {
            Of::Shares(shares) => Some(shares.clone()),
            _ => None,
        };
        let of_keys = match of {
            Of::Keys(keys) => Some(&keys[..]),
            _ => None,
        };
        let read = self.read(range, of_keys, move |rows: &mut Vec<(Key, [u8; 16])>, row| {
            let key = key_of(row, from, &keys)?;
            if let Some(shares) = &shares {
                let share = format!("{:02x}", digest(row, from, &keys)?[0]);
                if !shares.contains(&share) {
                    return Ok(());
                }
            }
            rows.push((key, digest(row, 0, &printing)?));
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
        let printing: Vec<Printing> = self.columns.iter().map(|(_, of)| *of).collect();
        let (own, from) = (self.printings(), self.columns.len());
        type Found = HashMap<Key, Vec<Option<String>>>;
        let everywhere = Range::default();
        let read = self.read(&everywhere, Some(keys), move |found: &mut Found, row| {
            let texts = printing.iter().enumerate().map(|(at, of)| of.print(row.get_ref(at)?));
            let texts: rusqlite::Result<Vec<Option<String>>> = texts.collect();
            let told = |text: Option<String>| match values {
                true => text,
                false => text.map(|text| {
                    let hash = Md5::digest(composite(&[Some(text)]));
                    hash.iter().map(|byte| format!("{byte:02x}")).collect()
                }),
            };
            found.insert(key_of(row, from, &own)?, texts?.into_iter().map(told).collect());
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
        let there = (there, vec![Value::Text(STATE_TABLE.to_owned())]);
        let count = |count: &mut i64, row: &Row<'_>| {
            *count = row.get(0)?;
            Ok(())
        };
        let there = self.session.fold(self.limit, there, count).await.map_err(Error::Unreadable)?;
        if there == 0 {
            return Ok(None);
        }
        let asked = format!(
            "select count(*) from \"{STATE_TABLE}\" where tenant_id = ?1 and mapping = ?2 and backfilled <> 0 and sequence_id >= ?3"
        );
        let parameters = vec![
            Value::Text(target.tenant_id.to_owned()),
            Value::Text(target.mapping.name().to_owned()),
            Value::Integer(wanted),
        ];
        let passed = self.session.fold(self.limit, (asked, parameters), count).await;
        Ok(Some(passed.map_err(Error::Unreadable)? > 0))
    }

    /// Folds the rows of a range: the mapping's columns, then those of the key.
    async fn read<T: Default + Send + 'static>(
        &self,
        range: &Range,
        keys: Option<&[Key]>,
        each: impl FnMut(&mut T, &Row<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<T, Error> {
        let columns: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let (within, parameters) = self.within(range, keys);
        let statement = format!(
            "select {}, {} from {} where {within}",
            columns.join(", "),
            self.key_columns(),
            self.table
        );
        let read = self.session.fold(self.limit, (statement, parameters), each);
        read.await.map_err(Error::Unreadable)
    }

    fn key_columns(&self) -> String {
        let key: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        key.join(", ")
    }

    fn printings(&self) -> Vec<Printing> {
        self.key.iter().map(|(_, of)| *of).collect()
    }

    /// The condition of a range, and its parameters.
    fn within(&self, range: &Range, keys: Option<&[Key]>) -> (String, Vec<Value>) {
        let mut parameters = Vec::new();
        let mut conditions = Vec::new();
        if let Some((column, value)) = &self.tenant {
            parameters.push(value.clone());
            conditions.push(format!("{column} = ?"));
        }
        let key = self.key_columns();
        let mut row = |key: &Key| {
            let values = key.iter().zip(&self.key).map(|(text, (_, of))| held_key(*of, text));
            parameters.extend(values);
            format!("({})", vec!["?"; key.len()].join(", "))
        };
        for (operator, bound) in [(">", &range.after), ("<=", &range.upto)] {
            if let Some(bound) = bound {
                conditions.push(format!("({key}) {operator} {}", row(bound)));
            }
        }
        if !range.without.is_empty() {
            let without: Vec<String> = range.without.iter().map(&mut row).collect();
            conditions.push(format!("({key}) not in (values {})", without.join(", ")));
        }
        if let Some(keys) = keys {
            let among: Vec<String> = keys.iter().map(&mut row).collect();
            conditions.push(format!("({key}) in (values {})", among.join(", ")));
        }
        let all = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") };
        (all, parameters)
    }
}

fn key_of(row: &Row<'_>, from: usize, printing: &[Printing]) -> rusqlite::Result<Key> {
    let text =
        |(at, of): (usize, &Printing)| Ok(of.print(row.get_ref(from + at)?)?.unwrap_or_default());
    printing.iter().enumerate().map(text).collect()
}

/// The checksum of a row's text.
fn digest(row: &Row<'_>, from: usize, printing: &[Printing]) -> rusqlite::Result<[u8; 16]> {
    let text = |(at, of): (usize, &Printing)| of.print(row.get_ref(from + at)?);
    let texts: rusqlite::Result<Vec<_>> = printing.iter().enumerate().map(text).collect();
    Ok(Md5::digest(composite(&texts?)).into())
}
