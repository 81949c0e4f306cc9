//! Two copies of a table's definition in a schema of their own, one of them captured: for measuring
//! what capture costs, without writing to the table or to Offtake's log.
//!
//! The captured copy has the very function and triggers that [`crate::install`] would write. Only
//! the names of the function and of the log are others: those of the schema. The function belongs
//! to the current role, and not to one that can only append; what a call costs does not depend on
//! that.

use offtake_mapping::{Identifier, MappingSet, TableName, literal};

use crate::function::Function;
use crate::sql;
use crate::survey::{Relations, by_rows};
use crate::trigger::Event;

/// The copy without triggers.
pub const WITHOUT_CAPTURE: &str = "without_capture";

/// The copy with triggers.
pub const WITH_CAPTURE: &str = "with_capture";

/// Rows of the table, without indexes: what is written to the copies comes from here.
pub const SAMPLE: &str = "sample";

/// The log of the captured copy.
pub const LOG: &str = "captured_change";

/// How to make the copies.
#[derive(Debug, Clone)]
pub struct Copies {
    /// Creates the schema with everything in it, in one transaction.
    pub script: String,
    /// Whether the table is captured row by row.
    pub by_rows: bool,
}

/// The copies of `table`. None if no mapping of the set has the table captured. `schema` needs no
/// quotes. `storage` has the table's storage parameters, as names and values.
///
/// Defaults and identities are left out: every column is given a value, and a default may draw
/// from the application's sequence. Foreign keys, triggers and rules are never copied.
pub fn copies(
    set: &MappingSet,
    relations: &Relations,
    table: &TableName,
    (schema, comment): (&Identifier, &str),
    storage: &[(String, String)],
) -> Option<Copies> {
    let capture = set.captures().find(|capture| capture.table == *table)?;
    let function = Function::of(capture, set);
    let by_rows = by_rows(relations.of(table));
    let (create, events): (String, &[Event]) = match by_rows {
        true => (function.create() + &function.create_for_rows(), &Event::OF_ROWS),
        false => (function.create(), &Event::OF_STATEMENTS),
    };
    let copy = |name: &str| format!("{schema}.{name}");
    let triggers: String = events
        .iter()
        .map(|event| {
            let (relation, trigger) = (copy(WITH_CAPTURE), event.trigger(&function, true));
            event.create(&relation, &function, true)
                + &format!("alter table {relation} enable always trigger {trigger};\n")
        })
        .collect();
    // The function's name and the log's begin alike, and nothing else of Offtake's is named in it.
    let capturing = (create + &triggers).replace("offtake.capture", &format!("{schema}.capture"));
    let copies: String = [WITHOUT_CAPTURE, WITH_CAPTURE]
        .map(|name| {
            format!(
                "create table {0} (like {1} including all excluding defaults excluding identity);\n\
                 alter table {0} set (autovacuum_enabled = off{2});\n",
                copy(name),
                table.sql(),
                parameters(storage)
            )
        })
        .concat();
    let script = format!(
        "begin;\n\
         create schema {schema};\n\
         comment on schema {schema} is {};\n\
         create unlogged table {} (like {});\n\
         {copies}{}{capturing}\
         commit;\n",
        literal(comment).trim(),
        copy(SAMPLE),
        table.sql(),
        sql::CREATE_COPY_LOG.replace("{schema}", schema.as_str()),
    );
    Some(Copies { script, by_rows })
}

/// `, name = 'value'` for each; the setting of autovacuum is not the application's here.
fn parameters(storage: &[(String, String)]) -> String {
    let kept = storage.iter().filter(|(name, _)| !name.starts_with("autovacuum"));
    kept.map(|(name, value)| format!(", {name} = {}", literal(value).trim())).collect()
}
