//! The checkpoints of copies that are made once, in the destination: one row for each chunk of a
//! table. The statements are the same in every dialect that a destination has; times are texts that
//! the caller writes by its own clock.
//!
//! The first nine columns are those that people's own tools know this table by. Other programs may
//! read them, set a chunk back to `pending`, or delete a table's rows, which begins it again.

use super::sqlite;
use crate::{Identifier, Kind};

/// The table's name, unless another program has a table of this name.
pub const CHECKPOINTS: &str = "migration_checkpoints";
/// Its name then.
pub const CHECKPOINTS_BESIDE: &str = "_offtake_checkpoints";
/// Rows that a copy left out because the destination refuses them.
pub const SKIPPED: &str = "_offtake_skipped";

/// A statement, and how many columns the rows have that it returns.
#[derive(Debug, Clone)]
pub struct Asked {
    pub sql: String,
    /// 0: it returns no rows.
    pub columns: usize,
}

impl From<String> for Asked {
    fn from(sql: String) -> Self {
        Self { sql, columns: 0 }
    }
}

/// How many columns [`LISTED`] names.
const LISTED_COLUMNS: usize = 14;

/// The columns of [`Checkpoints::list`], in their order.
const LISTED: &str = "id, table_name, records_processed, status, error_message, started_at, \
                      completed_at, copy_id, start_key, end_key, last_key, owner, lease_until, \
                      attempt";

/// Who works on a table, and until when another one must not.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    pub table_name: &'a str,
    pub copy_id: &'a str,
    pub owner: &'a str,
    pub now: &'a str,
    pub until: &'a str,
}

/// The bounds of a chunk: keys as JSON, and as numbers where the key is one integer.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    pub start_key: Option<String>,
    pub end_key: Option<String>,
    pub start_id: Option<i64>,
    pub end_id: Option<i64>,
}

/// The statements about one destination's tables.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// Quoted and qualified.
    table: String,
    skipped: String,
    /// The type of a moment.
    moment: &'static str,
    /// Quotes a text.
    literal: fn(&str) -> String,
}

impl Checkpoints {
    /// `table` and `skipped` as the destination's statements name them.
    pub fn new(kind: Kind, table: String, skipped: String) -> Self {
        match kind {
            Kind::Postgres => {
                Self { table, skipped, moment: "timestamptz", literal: crate::literal }
            }
            Kind::Sqlite | Kind::D1 => {
                Self { table, skipped, moment: "text", literal: sqlite::literal }
            }
        }
    }

    fn text(&self, text: &str) -> String {
        (self.literal)(text)
    }

    fn nullable(&self, text: Option<&str>) -> String {
        text.map_or_else(|| "null".to_owned(), self.literal)
    }

    /// Makes the tables where they are not there.
    pub fn create(&self) -> Vec<String> {
        let Self { table, skipped, moment, .. } = self;
        vec![
            format!(
                "create table if not exists {table} (\n\
                 \x20 id bigint primary key,\n\
                 \x20 table_name text not null,\n\
                 \x20 start_id bigint,\n\
                 \x20 end_id bigint,\n\
                 \x20 records_processed bigint not null default 0,\n\
                 \x20 status text not null default 'pending',\n\
                 \x20 error_message text,\n\
                 \x20 started_at {moment},\n\
                 \x20 completed_at {moment},\n\
                 \x20 created_at {moment} not null default current_timestamp,\n\
                 \x20 copy_id text,\n\
                 \x20 start_key text,\n\
                 \x20 end_key text,\n\
                 \x20 last_key text,\n\
                 \x20 owner text,\n\
                 \x20 lease_until {moment},\n\
                 \x20 attempt integer not null default 0\n\
                 )"
            ),
            format!(
                "create table if not exists {skipped} (\n\
                 \x20 mapping text not null,\n\
                 \x20 row_key text not null,\n\
                 \x20 sqlstate text not null,\n\
                 \x20 error text not null,\n\
                 \x20 noted_at {moment} not null,\n\
                 \x20 primary key (mapping, row_key)\n\
                 )"
            ),
        ]
    }

    /// Fails where there is no such table.
    pub fn probe(&self) -> Asked {
        Asked { sql: format!("select 1 from {} limit 0", self.table), columns: 1 }
    }

    /// Fails where the table is another program's.
    pub fn probe_ours(&self) -> Asked {
        let sql = format!("select {LISTED} from {} limit 0", self.table);
        Asked { sql, columns: LISTED_COLUMNS }
    }

    /// All chunks, or those of one table, in the order in which they were cut.
    pub fn list(&self, table_name: Option<&str>) -> Asked {
        let of = table_name.map(|name| format!(" where table_name = {}", self.text(name)));
        let of = of.unwrap_or_default();
        let sql = format!("select {LISTED} from {}{of} order by id", self.table);
        Asked { sql, columns: LISTED_COLUMNS }
    }

    /// Has the table claimed by one runner, unless another one holds it: its first chunk is there
    /// afterwards. Whether it was claimed, [`holder`](Self::holder) tells.
    pub fn claim(&self, claim: &Claim<'_>) -> Vec<String> {
        let Claim { table_name, copy_id, owner, now, until } = claim;
        let [name, copy, owner, now, until] =
            [table_name, copy_id, owner, now, until].map(|text| self.text(text));
        let table = &self.table;
        vec![
            format!(
                "insert into {table} (id, table_name, status, created_at, copy_id, owner, lease_until) \
                 select (select coalesce(max(id), 0) + 1 from {table}), {name}, 'pending', {now}, {copy}, \
                 {owner}, {until} where not exists (select 1 from {table} where table_name = {name})"
            ),
            format!(
                "update {table} set owner = {owner}, lease_until = {until} where id = (select max(id) \
                 from {table} where table_name = {name}) and (owner is null or owner = {owner} or \
                 lease_until is null or lease_until <= {now}) and not exists (select 1 from {table} \
                 other where other.table_name = {name} and other.owner <> {owner} and \
                 other.lease_until > {now})"
            ),
        ]
    }

    /// The other runner that holds a table: owner, since when, and until when.
    pub fn holder(&self, claim: &Claim<'_>) -> Asked {
        let Claim { table_name, owner, now, .. } = claim;
        let sql = format!(
            "select owner, started_at, lease_until from {} where table_name = {} and owner <> {} and \
             lease_until > {} order by lease_until desc limit 1",
            self.table,
            self.text(table_name),
            self.text(owner),
            self.text(now)
        );
        Asked { sql, columns: 3 }
    }

    /// Ends the lease of a runner that is known to be dead.
    pub fn expire(&self, table_name: &str, owner: &str) -> String {
        format!(
            "update {} set lease_until = null where table_name = {} and owner = {} and lease_until is \
             not null",
            self.table,
            self.text(table_name),
            self.text(owner)
        )
    }

    /// Goes on holding a table while no chunk moves.
    pub fn renew(&self, claim: &Claim<'_>) -> String {
        format!(
            "update {table} set lease_until = {until} where id = (select max(id) from {table} where \
             table_name = {name} and owner = {owner})",
            table = self.table,
            until = self.text(claim.until),
            name = self.text(claim.table_name),
            owner = self.text(claim.owner)
        )
    }

    /// Adds the next chunk, unless it is there: the statement may be sent twice. Its number is the
    /// highest one of all.
    pub fn cut(&self, claim: &Claim<'_>, bounds: &Bounds) -> String {
        let table = &self.table;
        let (name, start) =
            (self.text(claim.table_name), self.nullable(bounds.start_key.as_deref()));
        format!(
            "insert into {table} (id, table_name, status, created_at, copy_id, owner, lease_until, \
             start_key, end_key, start_id, end_id) select (select coalesce(max(id), 0) + 1 from \
             {table}), {name}, 'pending', {}, {}, {}, {}, {start}, {}, {}, {} where not exists (select \
             1 from {table} where table_name = {name} and start_key = {start})",
            self.text(claim.now),
            self.text(claim.copy_id),
            self.text(claim.owner),
            self.text(claim.until),
            self.nullable(bounds.end_key.as_deref()),
            number(bounds.start_id),
            number(bounds.end_id)
        )
    }

    /// Sets the end of the first chunk, which was there before it was known.
    pub fn bound(&self, id: i64, bounds: &Bounds) -> String {
        format!(
            "update {} set end_key = {}, end_id = {} where id = {id}",
            self.table,
            self.nullable(bounds.end_key.as_deref()),
            number(bounds.end_id)
        )
    }

    /// Notes that a runner begins, or goes on with, a chunk.
    pub fn begin(&self, id: i64, claim: &Claim<'_>) -> String {
        format!(
            "update {} set status = 'in_progress', started_at = coalesce(started_at, {now}), owner = {}, \
             lease_until = {}, attempt = attempt + 1, error_message = null where id = {id}",
            self.table,
            self.text(claim.owner),
            self.text(claim.until),
            now = self.text(claim.now)
        )
    }

    /// Moves a chunk on, in the transaction that writes its rows. Rows count once, also where the
    /// reply was lost and the transaction is sent again.
    pub fn moved(&self, id: i64, last_key: &str, rows: u64, until: &str) -> String {
        format!(
            "update {} set last_key = {key}, records_processed = records_processed + case last_key when \
             {key} then 0 else {rows} end, lease_until = {} where id = {id}",
            self.table,
            self.text(until),
            key = self.text(last_key)
        )
    }

    /// The same for the last rows of a chunk.
    pub fn completed(&self, id: i64, rows: u64, claim: &Claim<'_>) -> String {
        format!(
            "update {} set status = 'completed', last_key = end_key, records_processed = \
             records_processed + case status when 'completed' then 0 else {rows} end, completed_at = {}, \
             lease_until = {} where id = {id}",
            self.table,
            self.text(claim.now),
            self.text(claim.until)
        )
    }

    pub fn failed(&self, id: i64, message: &str) -> String {
        format!(
            "update {} set status = 'failed', error_message = {} where id = {id}",
            self.table,
            self.text(message)
        )
    }

    /// Ends the lease. A chunk that is not done waits for the next runner.
    pub fn release(&self, claim: &Claim<'_>) -> String {
        format!(
            "update {} set lease_until = null, status = case status when 'in_progress' then 'pending' \
             else status end where table_name = {} and owner = {}",
            self.table,
            self.text(claim.table_name),
            self.text(claim.owner)
        )
    }

    /// Forgets a table's chunks, and the rows that were left out.
    pub fn restart(&self, table_name: &str) -> Vec<String> {
        let name = self.text(table_name);
        vec![
            format!("delete from {} where table_name = {name}", self.table),
            format!("delete from {} where mapping = {name}", self.skipped),
        ]
    }

    /// Takes every chunk away from the runner that has it, also from one that is at work.
    pub fn reset_stuck(&self) -> String {
        format!(
            "update {} set status = case status when 'in_progress' then 'pending' else status end, \
             lease_until = null where status = 'in_progress' or lease_until is not null",
            self.table
        )
    }

    /// Notes a row that does not arrive.
    pub fn skip(&self, table_name: &str, row: [&str; 3], now: &str) -> String {
        let [key, sqlstate, error] = row.map(|text| self.text(text));
        format!(
            "insert into {} (mapping, row_key, sqlstate, error, noted_at) values ({}, {key}, {sqlstate}, \
             {error}, {}) on conflict (mapping, row_key) do update set sqlstate = excluded.sqlstate, \
             error = excluded.error, noted_at = excluded.noted_at",
            self.skipped,
            self.text(table_name),
            self.text(now)
        )
    }

    /// The rows of a table that were left out: key, SQLSTATE and error.
    pub fn list_skipped(&self, table_name: &str) -> Asked {
        let sql = format!(
            "select row_key, sqlstate, error from {} where mapping = {} order by row_key",
            self.skipped,
            self.text(table_name)
        );
        Asked { sql, columns: 3 }
    }

    /// A row has arrived after all.
    pub fn unskip(&self, table_name: &str, key: &str) -> String {
        let (name, key) = (self.text(table_name), self.text(key));
        format!("delete from {} where mapping = {name} and row_key = {key}", self.skipped)
    }

    /// The names of the two tables, to be qualified: `beside` says which one has the checkpoints.
    pub fn names(beside: bool) -> Option<[Identifier; 2]> {
        let table = if beside { CHECKPOINTS_BESIDE } else { CHECKPOINTS };
        Some([Identifier::new(table).ok()?, Identifier::new(SKIPPED).ok()?])
    }
}

fn number(number: Option<i64>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}
