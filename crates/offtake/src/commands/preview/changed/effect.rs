//! What an edit would do to one copy, as text and as JSON.

use offtake_sync::verify::{Difference, Kind, Report};
use serde_json::{Value, json};

/// What an edit would do to one mapping in one destination.
pub(super) struct Effect {
    pub(super) destination: String,
    pub(super) mapping: String,
    pub(super) outcome: Result<Change, String>,
}

pub(super) enum Change {
    /// The destination has this version of the mapping.
    None,
    /// The table would be created, with this many rows.
    New(i64),
    /// The mapping's file is gone. The table stays as it is.
    Stopped,
    Changed {
        /// Columns that the table lacks.
        added: Vec<String>,
        /// Columns that have another type in the table, and columns that the query no longer gives.
        notes: Vec<String>,
        rows: Box<Report>,
    },
}

impl Effect {
    pub(super) fn line(&self) -> String {
        let (destination, mapping) = (&self.destination, &self.mapping);
        let what = match &self.outcome {
            Err(why) => format!("cannot be told: {why}"),
            Ok(Change::None) => "as it is".to_owned(),
            Ok(Change::New(rows)) => format!("new, {rows} rows"),
            Ok(Change::Stopped) => "stops; its table stays as it is".to_owned(),
            Ok(Change::Changed { added, notes, rows }) => changed(added, notes, rows),
        };
        format!("{destination} {mapping}: {what}")
    }

    pub(super) fn json(&self) -> Value {
        let change = match &self.outcome {
            Err(why) => json!({ "change": null, "error": why }),
            Ok(Change::None) => json!({ "change": "none" }),
            Ok(Change::New(rows)) => json!({ "change": "new", "added": rows }),
            Ok(Change::Stopped) => json!({ "change": "stopped" }),
            Ok(Change::Changed { added, notes, rows }) => json!({
                "change": "changed",
                "added": rows.missing,
                "removed": rows.extra,
                "changed": rows.different,
                "unsettled": rows.unsettled,
                "not_compared": rows.not_compared,
                "columns_added": added,
                "notes": notes,
                "samples": rows.differences,
            }),
        };
        let mut object = json!({ "destination": self.destination, "mapping": self.mapping });
        if let (Some(object), Value::Object(change)) = (object.as_object_mut(), change) {
            object.extend(change);
        }
        object
    }
}

fn changed(added: &[String], notes: &[String], rows: &Report) -> String {
    let Report { missing, extra, different, unsettled, not_compared, .. } = rows;
    let mut text = format!("{missing} rows added, {extra} removed, {different} changed");
    if *unsettled > 0 {
        text.push_str(&format!(", {unsettled} on their way or unknown"));
    }
    if *not_compared > 0 {
        text.push_str(&format!(", {not_compared} cannot be compared"));
    }
    for column in added {
        text.push_str(&format!("\n  column {column} would be added"));
    }
    for note in notes {
        text.push_str(&format!("\n  {note}"));
    }
    for Difference { kind, key, columns, .. } in &rows.differences {
        let sign = match kind {
            Kind::Missing => "+",
            Kind::Extra => "-",
            Kind::Different => "~",
        };
        let columns =
            if columns.is_empty() { String::new() } else { format!(": {}", columns.join(", ")) };
        text.push_str(&format!("\n  {sign} {}{columns}", Value::Object(key.clone())));
    }
    text
}
