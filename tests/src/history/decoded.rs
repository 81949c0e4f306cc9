//! The history of a database that tenants share, read from its server's log. A trigger that records
//! rows would have each tenant written for alone.
//!
//! The server decodes its log as for a subscriber, by the plugin `pgoutput`, whose messages are
//! described in PostgreSQL's documentation ("Logical Replication Message Formats").

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::committed::Committed;
use super::{Change, Reading, by_table, text};
use crate::sql::INSTALL_DECODED_HISTORY;
use crate::{Database, Tenant, World};

/// What was visible in a database that the world's tenants share.
pub struct Decoded {
    changes: Vec<Change>,
}

/// Makes the tenant's server keep every state of every row in its log. The tenant has a server of
/// its own ([`crate::Plan::private_destination`]), which is started again. No daemon runs yet.
pub async fn install(tenant: &Tenant) {
    let database = &tenant.destination;
    database.execute("alter system set wal_level = logical").await;
    tenant.server().await.restart().await.expect("the server starts again");
    database.wait_text("show wal_level", "logical").await;
    database.execute(INSTALL_DECODED_HISTORY).await;
    database.query_text("select pg_create_logical_replication_slot('history', 'pgoutput')").await;
}

impl Decoded {
    /// Everything since [`install`].
    pub async fn read(database: &Database) -> Self {
        let session = database.session().await;
        let sql = "select data from pg_logical_slot_peek_binary_changes('history', null, null, 'proto_version', '1', 'publication_names', 'history')";
        let messages = session.query(sql, &[]).await.expect("decoded::install ran");
        let mut log = Log::default();
        messages.iter().for_each(|row| log.message(&mut Message(row.get(0))));
        Self { changes: log.changes }
    }

    /// How many states of rows there were. A check of no states proves nothing.
    pub fn states(&self) -> usize {
        self.changes.iter().filter(|change| change.table != "_offtake_state").count()
    }

    /// How many transactions moved the cursors of several tenants.
    pub fn of_several_tenants(&self) -> usize {
        let of_one = |transaction: &&[Change]| {
            let cursors = transaction.iter().filter(|change| change.table == "_offtake_state");
            cursors.map(tenant_of).collect::<BTreeSet<_>>().len() < 2
        };
        let transactions = self.changes.chunk_by(|a, b| a.transaction == b.transaction);
        transactions.filter(|transaction| !of_one(transaction)).count()
    }

    /// Panics with everything that must not have been visible to one of the tenants, and with every
    /// row of another tenant.
    pub async fn assert_sound(self, world: &World) {
        let committed = Committed::read(&world.source).await;
        let mut of_tenants = BTreeMap::<String, Vec<Change>>::new();
        for change in self.changes {
            of_tenants.entry(tenant_of(&change)).or_default().push(change);
        }
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
            let changes = of_tenants.remove(&tenant.id).unwrap_or_default();
            for transaction in changes.chunk_by(|a, b| a.transaction == b.transaction) {
                reading.transaction(transaction);
            }
            violations.append(&mut reading.violations);
        }
        violations.extend(of_tenants.keys().map(|stranger| format!("rows of {stranger:?}")));
        super::assert_none(&violations);
    }
}

/// The tenant of the changed row.
fn tenant_of(change: &Change) -> String {
    let row = change.new.as_ref().or(change.old.as_ref());
    row.map(|row| text(row, "tenant_id")).unwrap_or_default()
}

/// What the messages have said so far.
#[derive(Default)]
struct Log {
    transaction: String,
    tables: HashMap<u32, Table>,
    changes: Vec<Change>,
}

#[derive(Clone)]
struct Table {
    name: String,
    /// Name and type.
    columns: Vec<(String, u32)>,
}

impl Log {
    fn message(&mut self, message: &mut Message<'_>) {
        match message.byte() {
            b'B' => {
                message.skip(16);
                self.transaction = message.number().to_string();
            }
            b'R' => {
                let id = message.number();
                let (_schema, name) = (message.text(), message.text());
                message.skip(1);
                let columns = (0..message.count()).map(|_| {
                    message.skip(1);
                    let column = (message.text(), message.number());
                    message.skip(4);
                    column
                });
                let columns = columns.collect();
                self.tables.insert(id, Table { name, columns });
            }
            kind @ (b'I' | b'U' | b'D') => {
                let table = self.tables[&message.number()].clone();
                let mut states: [Option<Value>; 2] = [None, None];
                while !message.0.is_empty() {
                    let old = message.byte() != b'N';
                    let before = states[0].take();
                    let row = message.row(&table, before.as_ref());
                    states = if old { [Some(row), None] } else { [before, Some(row)] };
                }
                let [old, new] = states;
                let same = kind == b'U' && old == new;
                let (id, transaction) = (self.changes.len() as i64, self.transaction.clone());
                self.changes.push(Change { id, transaction, table: table.name, old, new, same });
            }
            _ => {}
        }
    }
}

/// What is left of a message.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(length);
        self.0 = left;
        taken
    }

    fn skip(&mut self, length: usize) {
        self.take(length);
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn count(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).expect("a text ends");
        let text = String::from_utf8_lossy(self.take(end)).into_owned();
        self.skip(1);
        text
    }

    /// A row as `to_jsonb` prints it. A large value that did not change is left out of its message.
    fn row(&mut self, table: &Table, before: Option<&Value>) -> Value {
        let count = self.count();
        assert_eq!(usize::from(count), table.columns.len(), "{}", table.name);
        let mut row = Map::new();
        for (name, of) in &table.columns {
            let value = match self.byte() {
                b'n' => Value::Null,
                b'u' => before.map(|row| row[name].clone()).unwrap_or_default(),
                _ => {
                    let length = self.number() as usize;
                    value(*of, &String::from_utf8_lossy(self.take(length)))
                }
            };
            row.insert(name.clone(), value);
        }
        Value::Object(row)
    }
}

fn value(of: u32, text: &str) -> Value {
    const BOOLEAN: u32 = 16;
    const INTEGERS: [u32; 3] = [20, 21, 23];
    match of {
        BOOLEAN => (text == "t").into(),
        of if INTEGERS.contains(&of) => text.parse::<i64>().expect("an integer").into(),
        _ => text.into(),
    }
}
