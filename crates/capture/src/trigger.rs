//! The triggers of a captured relation.
//!
//! A relation may belong to several captured tables: a partition and its root may both be mapped,
//! and a table may inherit from two others. Each captured table has triggers of its own there, so a
//! trigger is named after what it fires on. One captured table has these plain names on a relation:
//! the relation itself, or the first table that covers it. The names of the others' triggers end in
//! the hash of the captured table that they serve.

use std::fmt;

use offtake_mapping::TableName;

use crate::function::Function;

/// What a trigger fires on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Insert,
    Update,
    Delete,
    Truncate,
    /// Insert, update and delete of each row. It takes the place of the first three where rows are
    /// written by statements that do not name the relation.
    Row,
}

impl Event {
    /// Of a relation that is written by statements that name it or the captured table.
    pub(crate) const OF_STATEMENTS: [Event; 4] =
        [Event::Insert, Event::Update, Event::Delete, Event::Truncate];

    /// Of a relation whose rows are also written through others. TRUNCATE fires the trigger of
    /// every relation that it empties, whichever it names.
    pub(crate) const OF_ROWS: [Event; 2] = [Event::Row, Event::Truncate];

    /// The plain name; needs no quotes.
    pub(crate) fn plain_trigger(self) -> &'static str {
        match self {
            Event::Insert => "offtake_capture_insert",
            Event::Update => "offtake_capture_update",
            Event::Delete => "offtake_capture_delete",
            Event::Truncate => "offtake_capture_truncate",
            Event::Row => "offtake_capture_row",
        }
    }

    /// The name of the trigger that serves the captured table of `function`; needs no quotes.
    /// `plain` says whether that table has the plain names on the relation.
    pub(crate) fn trigger(self, function: &Function, plain: bool) -> String {
        match plain {
            true => self.plain_trigger().to_owned(),
            false => format!("{}_{}", self.plain_trigger(), function.hash()),
        }
    }

    /// `pg_trigger.tgtype` of an AFTER trigger for this event: the bits of its events, and the
    /// lowest one of a trigger FOR EACH ROW.
    pub(crate) fn firing(self) -> i32 {
        match self {
            Event::Insert => 4,
            Event::Delete => 8,
            Event::Update => 16,
            Event::Truncate => 32,
            Event::Row => 1 | 4 | 8 | 16,
        }
    }

    /// Whether a trigger on `other` captures everything that one on this event does.
    pub(crate) fn is_part_of(self, other: Event) -> bool {
        self == other || (other == Event::Row && self != Event::Truncate)
    }

    /// The name of the transition table with the rows before the statement, if the event has one.
    pub(crate) fn old_rows(self) -> Option<&'static str> {
        matches!(self, Event::Update | Event::Delete).then_some("old_rows")
    }

    /// The name of the transition table with the rows after the statement, if the event has one.
    pub(crate) fn new_rows(self) -> Option<&'static str> {
        matches!(self, Event::Insert | Event::Update).then_some("new_rows")
    }

    /// `create or replace trigger …` on a relation given as SQL. Takes SHARE ROW EXCLUSIVE there:
    /// writers wait, readers do not.
    pub(crate) fn create(self, relation: &str, function: &Function, plain: bool) -> String {
        let mut referencing = String::new();
        if let Some(old_rows) = self.old_rows() {
            referencing.push_str(&format!(" old table as {old_rows}"));
        }
        if let Some(new_rows) = self.new_rows() {
            referencing.push_str(&format!(" new table as {new_rows}"));
        }
        if !referencing.is_empty() {
            referencing.insert_str(0, " referencing");
        }
        let (events, each, runs) = match self {
            Event::Row => ("insert or update or delete".to_owned(), "row", function.rows_sql()),
            _ => (self.to_string(), "statement", function.sql()),
        };
        format!(
            "create or replace trigger {} after {events} on {relation}{referencing} for each {each} execute function {runs}();\n",
            self.trigger(function, plain),
        )
    }

    /// Makes the trigger fire also under `session_replication_role = replica`. ONLY, because each
    /// partition gets a statement of its own.
    pub(crate) fn enable_always(
        self,
        relation: &TableName,
        function: &Function,
        plain: bool,
    ) -> String {
        let trigger = self.trigger(function, plain);
        format!("alter table only {} enable always trigger {trigger};\n", relation.sql())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Insert => "insert",
            Event::Update => "update",
            Event::Delete => "delete",
            Event::Truncate => "truncate",
            Event::Row => "each row that is written through another table",
        })
    }
}
