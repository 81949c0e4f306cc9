//! Records everything that was ever visible in a destination, and judges whether it was allowed to
//! be.
//!
//! [`install`] makes a Postgres destination record every state of every row; it must run before a
//! daemon starts. Of files and D1 databases a reader records what it sees ([`polled`]); [`record`]
//! does what fits the kind. [`assert_sound`] reads the record afterwards, transaction by transaction, and checks:
//!
//! - Nothing visible is repeated: no transaction writes a row and leaves it as it was.
//! - Rows and cursor move together: a transaction that changes rows of a mapping also moves the
//!   mapping's cursor. A cursor never goes back within its epoch and version.
//! - For the mappings of [`crate::workload`], whose rows carry versions: every state was committed
//!   at the source for this tenant. A key never goes back to an older state, not even after a
//!   deletion.

mod committed;
pub mod decoded;
pub mod polled;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use committed::Committed;
use offtake_mapping::Mapping;
use serde_json::Value;

use crate::sql::INSTALL_HISTORY;
use crate::{Database, Tenant, World};
pub use polled::Polled;

/// Makes every destination of the world record its rows. Call it before the first daemon starts.
pub async fn install(world: &World) {
    for tenant in world.tenants() {
        install_in(&tenant.destination).await;
    }
}

/// The same for one destination.
pub async fn install_in(destination: &Database) {
    destination.execute(INSTALL_HISTORY).await;
}

/// What records the copies of a world, whatever their kind.
pub enum Recorded {
    ByTriggers,
    ByReaders(Polled),
}

/// Begins to record every copy of the world. Call it before the first daemon starts.
pub async fn record(world: &World) -> Recorded {
    if world.tenants().iter().all(|tenant| tenant.file.is_some()) {
        return Recorded::ByReaders(Polled::begin(world));
    }
    install(world).await;
    Recorded::ByTriggers
}

impl Recorded {
    /// Panics with everything that must not have been visible. Returns how many states of rows were
    /// seen: a check of no states proves nothing.
    pub async fn assert_sound(self, world: &World) -> usize {
        match self {
            Self::ByReaders(polled) => polled.assert_sound(world).await,
            Self::ByTriggers => {
                assert_sound(world).await;
                let mut seen = 0;
                for tenant in world.tenants() {
                    seen += states(&tenant.destination).await;
                }
                seen
            }
        }
    }
}

/// Panics with everything that must not have been visible.
pub async fn assert_sound(world: &World) {
    assert_none(&violations(world).await);
}

fn assert_none(violations: &[String]) {
    const SHOWN: usize = 20;
    let shown = violations.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
    assert!(
        violations.is_empty(),
        "{} times something was visible that must not be:\n  {shown}",
        violations.len()
    );
}

/// Everything that must not have been visible, in words.
pub async fn violations(world: &World) -> Vec<String> {
    let committed = Committed::read(&world.source).await;
    let mut violations = Vec::new();
    for tenant in world.tenants() {
        let mut reading = Reading {
            tenant,
            mappings: by_table(world),
            committed: &committed,
            seen: HashMap::new(),
            cursors: HashMap::new(),
            violations: Vec::new(),
        };
        let changes = read(&tenant.destination).await;
        for transaction in changes.chunk_by(|a, b| a.transaction == b.transaction) {
            reading.transaction(transaction);
        }
        reading.interleaved(&changes);
        violations.append(&mut reading.violations);
    }
    violations
}

/// How many states of rows a destination has recorded. A check of no states proves nothing.
pub async fn states(destination: &Database) -> usize {
    let count = destination
        .query_text("select count(*) from history.change where table_name <> '_offtake_state'")
        .await;
    count.parse().expect("a count")
}

/// The DDL statements that ran in a destination, with their times, oldest first.
pub async fn ddl(destination: &Database) -> Vec<String> {
    let lines =
        destination.query_text("select at, tag, identity from history.ddl order by at").await;
    lines.lines().map(str::to_owned).collect()
}

struct Change {
    id: i64,
    transaction: String,
    table: String,
    old: Option<Value>,
    new: Option<Value>,
    same: bool,
}

async fn read(destination: &Database) -> Vec<Change> {
    let session = destination.session().await;
    let sql =
        "select id, transaction::text, table_name, old, new, same from history.change order by id";
    let rows = session.query(sql, &[]).await.expect("history::install ran");
    let change = |row: &tokio_postgres::Row| Change {
        id: row.get(0),
        transaction: row.get(1),
        table: row.get(2),
        old: row.get(3),
        new: row.get(4),
        same: row.get(5),
    };
    rows.iter().map(change).collect()
}

fn by_table(world: &World) -> BTreeMap<String, Mapping> {
    world
        .mappings()
        .into_iter()
        .map(|mapping| (mapping.target.table.as_str().to_owned(), mapping))
        .collect()
}

/// The net effect of one transaction on a key.
struct Net {
    id: i64,
    before: Option<Value>,
    after: Option<Value>,
}

/// The last visible state of a key.
struct Seen {
    present: bool,
    row: Value,
}

struct Reading<'a> {
    tenant: &'a Tenant,
    mappings: BTreeMap<String, Mapping>,
    committed: &'a Committed,
    /// Last states by table and key.
    seen: HashMap<(String, String), Seen>,
    /// Cursors by mapping: sequence id, and epoch with version.
    cursors: HashMap<String, (i64, String)>,
    violations: Vec<String>,
}

impl Reading<'_> {
    fn transaction(&mut self, changes: &[Change]) {
        let mut moved = BTreeSet::new();
        for change in changes.iter().filter(|change| change.table == "_offtake_state") {
            let Some(state) = &change.new else { continue };
            moved.insert(text(state, "mapping"));
            self.cursor(change.id, state);
        }
        // Per key only the first old and the last new state count; states in between were never
        // visible.
        let mut net: BTreeMap<(String, String), Net> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.table != "_offtake_state") {
            let Some(mapping) = self.mappings.get(&change.table) else { continue };
            if !moved.contains(&mapping.name) {
                self.violations.push(self.say(
                    change.id,
                    &change.table,
                    "rows changed and the cursor did not move",
                    &change.new,
                ));
            }
            if change.same {
                self.violations.push(self.say(
                    change.id,
                    &change.table,
                    "a row was written as it was",
                    &change.new,
                ));
            }
            // An update that changes the key is a deletion and an insertion.
            for (row, before, after) in
                [(&change.old, &change.old, &None), (&change.new, &None, &change.new)]
            {
                if let Some(row) = row {
                    let at = (change.table.clone(), key(mapping, row));
                    let net = net.entry(at).or_insert_with(|| Net {
                        id: change.id,
                        before: before.clone(),
                        after: None,
                    });
                    net.after.clone_from(after);
                }
            }
        }
        for ((table, key), net) in net {
            self.state(table, key, net);
        }
    }

    fn cursor(&mut self, id: i64, state: &Value) {
        let mapping = text(state, "mapping");
        let sequence_id = state["sequence_id"].as_i64().expect("a number");
        let history = format!("{} {}", text(state, "epoch"), text(state, "version"));
        if let Some((before, of)) = self.cursors.get(&mapping)
            && *of == history
            && sequence_id < *before
        {
            let what = format!("the cursor went back from {before} to {sequence_id}");
            self.violations.push(self.say(id, &mapping, &what, &None));
        }
        self.cursors.insert(mapping, (sequence_id, history));
    }

    fn state(&mut self, table: String, key: String, net: Net) {
        let at = (table.clone(), key.clone());
        let (id, unrecorded) = (net.id, net.before.map(|row| Seen { present: true, row }));
        let before = self.seen.remove(&at).or(unrecorded);
        let Some(row) = net.after else {
            if let Some(seen) = before {
                self.seen.insert(at, Seen { present: false, ..seen });
            }
            return;
        };
        if before.as_ref().is_some_and(|seen| seen.present && seen.row == row) {
            self.violations.push(self.say(
                id,
                &table,
                "a row was replaced by itself",
                &Some(row.clone()),
            ));
        }
        if row.get("version").is_some() {
            if let Some(seen) = &before {
                let order = versions(&row).cmp(&versions(&seen.row));
                if order.is_lt() || (order.is_eq() && !seen.present) {
                    let what = format!(
                        "after {} ({}) came back",
                        seen.row,
                        if seen.present { "visible" } else { "deleted" }
                    );
                    self.violations.push(self.say(id, &table, &what, &Some(row.clone())));
                }
            }
            if let Err(what) = self.committed.check(
                &self.mappings[&table].source.table.name,
                &self.tenant.id,
                &key,
                &row,
            ) {
                self.violations.push(self.say(id, &table, &what, &Some(row.clone())));
            }
        }
        self.seen.insert(at, Seen { present: true, row });
    }

    /// Reports changes of several transactions that are mixed. Only one transaction may write at a
    /// time, so the changes of a transaction must be consecutive.
    fn interleaved(&mut self, changes: &[Change]) {
        let mut known = BTreeSet::new();
        for run in changes.chunk_by(|a, b| a.transaction == b.transaction) {
            if !known.insert(&run[0].transaction) {
                let what = format!("transaction {} wrote while another did", run[0].transaction);
                self.violations.push(self.say(run[0].id, &run[0].table, &what, &None));
            }
        }
    }

    fn say(&self, id: i64, table: &str, what: &str, row: &Option<Value>) -> String {
        format!(
            "{} {table} (history.change {id}): {what} {}",
            self.tenant.name,
            row.as_ref().unwrap_or(&Value::Null)
        )
    }
}

/// The versions of the row, of the joined row, and of that row's owner. As long as the ones before
/// stay the same, each can only rise.
fn versions(row: &Value) -> [Option<i64>; 3] {
    ["version", "joined_version", "owner_version"].map(|column| row[column].as_i64())
}

/// The key's columns as text. A mapping file of the workload without a key has the key `id`.
fn key(mapping: &Mapping, row: &Value) -> String {
    match &mapping.source.key {
        Some(columns) => columns
            .iter()
            .map(|(column, _)| text(row, column.as_str()))
            .collect::<Vec<_>>()
            .join("|"),
        None => text(row, "id"),
    }
}

fn text(row: &Value, column: &str) -> String {
    match &row[column] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
