//! How each column is held at the destination, told before the first row.

use offtake_mapping::compose::sqlite::Held;
use offtake_mapping::{Column, Kind, ResolvedMapping, foreign};
use serde_json::json;

use super::Task;
use super::progress::Progress;
use crate::commands::printing::{say, say_json, table};

pub(super) fn tell(task: &Task, kind: Kind, progress: &Progress) {
    let mapping = &task.job.mapping;
    let columns: Vec<[String; 4]> = mapping
        .columns
        .iter()
        .map(|column| {
            [
                column.name.to_string(),
                column.source_type.clone(),
                kind.declared(mapping, column).to_owned(),
                kept(kind, mapping, column).to_owned(),
            ]
        })
        .collect();
    if progress.as_json() {
        let columns: Vec<_> = columns
            .iter()
            .map(|[name, from, to, kept]| json!({ "column": name, "from": from, "to": to, "kept": kept }))
            .collect();
        say_json(json!({
            "event": "types", "table": mapping.name(), "source": task.source, "columns": columns,
            "indexes": task.job.indexes.iter().map(|i| i.name.to_string()).collect::<Vec<_>>(),
            "not_copied": task.uncopied, "notes": task.notes,
        }));
        return;
    }
    let header = ["COLUMN", "TYPE", "THERE", "VALUES"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(header).chain(columns).collect();
    say(format!("{} → {}", task.source, mapping.definition.target.table.in_sql()));
    say(table(&rows));
    if !task.uncopied.is_empty() {
        let parts: Vec<_> = task.uncopied.iter().map(|part| foreign(part)).collect();
        say(format!("not copied: {}", parts.join(", ")));
    }
    task.notes.iter().for_each(|note| say(format!("note: {note}")));
    say("");
}

/// What of a column's values is kept.
fn kept(kind: Kind, mapping: &ResolvedMapping, column: &Column) -> &'static str {
    let of = column.target_type.as_str();
    match kind {
        Kind::Postgres if column.target_type == column.source_type => "exact",
        Kind::Postgres => "exact, as its base type or text",
        Kind::Sqlite | Kind::D1 => match Held::of(mapping, column) {
            Held::Integer | Held::Bytes => "exact",
            Held::Boolean => "exact, as 1 and 0",
            Held::Real => "exact; -0 becomes 0, NaN and the infinities are text",
            Held::Moment => "as text, with +00:00",
            Held::Text if of == "text" || of.starts_with("character") => "exact",
            Held::Text if of.starts_with("numeric") || of == "money" => {
                "exact, as text: compare with cast(… as real)"
            }
            Held::Text => "as the text that Postgres prints",
        },
    }
}
