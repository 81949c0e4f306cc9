//! The four triggers of a captured relation.

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
}

impl Event {
    pub(crate) const ALL: [Event; 4] =
        [Event::Insert, Event::Update, Event::Delete, Event::Truncate];

    /// The trigger's name; needs no quotes.
    pub(crate) fn trigger(self) -> &'static str {
        match self {
            Event::Insert => "offtake_capture_insert",
            Event::Update => "offtake_capture_update",
            Event::Delete => "offtake_capture_delete",
            Event::Truncate => "offtake_capture_truncate",
        }
    }

    /// `pg_trigger.tgtype` of an AFTER … FOR EACH STATEMENT trigger for this event: only the
    /// event's bit is set.
    pub(crate) fn firing(self) -> i32 {
        match self {
            Event::Insert => 4,
            Event::Delete => 8,
            Event::Update => 16,
            Event::Truncate => 32,
        }
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
    pub(crate) fn create(self, relation: &str, function: &Function) -> String {
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
        format!(
            "create or replace trigger {} after {self} on {relation}{referencing} for each statement execute function {}();\n",
            self.trigger(),
            function.sql()
        )
    }

    /// Makes the trigger fire also under `session_replication_role = replica`. ONLY, because each
    /// partition gets a statement of its own.
    pub(crate) fn enable_always(self, relation: &TableName) -> String {
        format!("alter table only {} enable always trigger {};\n", relation.sql(), self.trigger())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Insert => "insert",
            Event::Update => "update",
            Event::Delete => "delete",
            Event::Truncate => "truncate",
        })
    }
}
