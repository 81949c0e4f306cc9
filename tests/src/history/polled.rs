//! The history of copies that are SQLite files, or D1 databases, whose engine keeps such files. A
//! trigger that records rows would have their tables refused. So a reader of each copy looks at it
//! all the time, each time in one transaction, and notes what differs from its last look.
//!
//! What was there between two looks only is not seen. A look takes a millisecond or two, and a
//! batch of the tests comes every few milliseconds.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use offtake_mapping::Mapping;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};

use super::committed::Committed;
use super::{Change, Reading, by_table, key, text};
use crate::World;

/// Between two questions whether anything has changed; each costs some microseconds.
const PAUSE: Duration = Duration::from_micros(300);

const STATE: &str = "_offtake_state";

/// Readers of all copies of a world. They end when this is dropped.
pub struct Polled {
    readers: Vec<JoinHandle<Vec<Change>>>,
    told: Arc<Told>,
}

/// What the readers and the test tell each other.
#[derive(Default)]
struct Told {
    done: AtomicBool,
    /// Looks at which something differed.
    looks: AtomicUsize,
}

/// What the readers saw.
pub struct Seen {
    /// What must not have been visible, in words.
    pub violations: Vec<String>,
    /// States of rows: a check of no states proves nothing.
    pub states: usize,
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.told.done.store(true, Ordering::Relaxed);
    }
}

impl Polled {
    /// Begins to look at the copies of all tenants, which need not be there yet.
    pub fn begin(world: &World) -> Self {
        let told = Arc::<Told>::default();
        let reader = |path: PathBuf| {
            let (tables, told) = (by_table(world), told.clone());
            thread::spawn(move || read(&path, &tables, &told))
        };
        let files = world.tenants().iter().map(|tenant| tenant.file().path().to_owned());
        Self { readers: files.map(reader).collect(), told }
    }

    /// How often a reader found that something differed.
    pub fn looks(&self) -> usize {
        self.told.looks.load(Ordering::Relaxed)
    }

    /// Panics with everything that must not have been visible. Returns how many states of rows were
    /// seen.
    pub async fn assert_sound(self, world: &World) -> usize {
        let seen = self.end(world).await;
        super::assert_none(&seen.violations);
        seen.states
    }

    /// Ends the readers, and judges what they saw.
    pub async fn end(mut self, world: &World) -> Seen {
        self.told.done.store(true, Ordering::Relaxed);
        let committed = Committed::read(&world.source).await;
        let (mut violations, mut states) = (Vec::new(), 0);
        for (tenant, reader) in world.tenants().iter().zip(std::mem::take(&mut self.readers)) {
            let changes = reader.join().expect("the reader reads to the end");
            states += changes.iter().filter(|change| change.table != STATE).count();
            let mut reading = Reading {
                tenant,
                mappings: by_table(world),
                committed: &committed,
                seen: HashMap::new(),
                cursors: HashMap::new(),
                violations: Vec::new(),
            };
            for look in changes.chunk_by(|a, b| a.transaction == b.transaction) {
                reading.transaction(look);
            }
            violations.append(&mut reading.violations);
        }
        Seen { violations, states }
    }
}

/// Rows by table and key.
type Rows = BTreeMap<(String, String), Value>;

fn read(path: &PathBuf, tables: &BTreeMap<String, Mapping>, told: &Told) -> Vec<Change> {
    let (mut changes, mut before) = (Vec::new(), Rows::new());
    let mut open: Option<(Connection, i64)> = None;
    loop {
        // Asked before the look, so that the last look sees everything.
        let last = told.done.load(Ordering::Relaxed);
        if open.is_none() {
            open = connect(path).ok().map(|connection| (connection, -1));
        }
        if let Some((connection, version)) = &mut open {
            match look(connection, version, tables) {
                Ok(Some(after)) if after != before => {
                    let look = told.looks.fetch_add(1, Ordering::Relaxed);
                    note(&before, &after, &look.to_string(), &mut changes);
                    before = after;
                }
                Ok(Some(_) | None) => {}
                // It is locked for a moment, or another file stands there now.
                Err(_) => open = None,
            }
        }
        if last {
            return changes;
        }
        thread::sleep(PAUSE);
    }
}

fn connect(path: &PathBuf) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// All rows as they are now; None: nothing was written since the last look.
fn look(
    connection: &mut Connection,
    version: &mut i64,
    tables: &BTreeMap<String, Mapping>,
) -> rusqlite::Result<Option<Rows>> {
    let now = connection.query_row("pragma data_version", [], |row| row.get(0))?;
    if now == *version {
        return Ok(None);
    }
    let transaction = connection.transaction()?;
    let mut rows = Rows::new();
    for table in tables.keys().map(String::as_str).chain([STATE]) {
        let there = "select count(*) from sqlite_schema where type = 'table' and name = ?1";
        if transaction.query_row(there, [table], |row| row.get::<_, i64>(0))? == 0 {
            continue;
        }
        let mut statement = transaction.prepare(&format!("select * from \"{table}\""))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mut columns = Map::new();
            for (at, name) in names.iter().enumerate() {
                columns.insert(name.clone(), value(row.get_ref(at)?));
            }
            let row = Value::Object(columns);
            let of = match tables.get(table) {
                Some(mapping) => key(mapping, &row),
                None => text(&row, "mapping"),
            };
            rows.insert((table.to_owned(), of), row);
        }
    }
    transaction.commit()?;
    *version = now;
    Ok(Some(rows))
}

fn value(of: ValueRef<'_>) -> Value {
    match of {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("{bytes:02x?}").into(),
    }
}

/// What differs between two looks.
fn note(before: &Rows, after: &Rows, transaction: &str, changes: &mut Vec<Change>) {
    let gone = before.iter().filter(|(at, _)| !after.contains_key(*at));
    let gone = gone.map(|(at, row)| (at, Some(row), None));
    let new = after.iter().map(|(at, row)| (at, before.get(at), Some(row)));
    for ((table, _), old, new) in gone.chain(new.filter(|(_, old, new)| old != new)) {
        changes.push(Change {
            id: changes.len() as i64,
            transaction: transaction.to_owned(),
            table: table.clone(),
            old: old.cloned(),
            new: new.cloned(),
            same: false,
        });
    }
}
