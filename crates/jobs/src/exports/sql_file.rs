//! What stands around the rows of an SQL file. `psql` loads it into a schema of the reader's choice, in
//! one transaction.

use std::sync::Arc;

use offtake_mapping::compose::postgres::{Apply, CREATE_STATE_TABLE};
use offtake_mapping::{ResolvedMapping, literal};

use super::work::Work;

/// The table of the cursors, as the search path finds it.
const STATE: &str = "_offtake_state";

/// What the file begins with: the tables.
pub(super) fn head(work: &Work<'_>) -> Vec<u8> {
    if work.options.inserts {
        let id = &work.job.public_id;
        let mut text =
            format!("-- Offtake export {id}, for databases that read standard SQL.\nbegin;\n");
        if work.options.schema {
            text.push_str(&tables(work));
        }
        return text.into_bytes();
    }
    // The settings say how the values were printed. A psql that goes on after an error would commit
    // a part of the rows.
    let mut text = format!(
        "-- Offtake export {}. Load it with psql.\n\\set ON_ERROR_STOP on\nbegin;\n\
         set local client_encoding = 'UTF8';\nset local standard_conforming_strings = on;\n\
         set local datestyle = 'ISO, YMD';\nset local intervalstyle = 'postgres';\n",
        work.job.public_id
    );
    text.push_str(&tables(work));
    text.into_bytes()
}

/// The statements that create the tables, with the types as Postgres names them.
pub(super) fn tables(work: &Work<'_>) -> String {
    let table = |mapping| format!("{};\n", apply(work, mapping).create_table());
    work.mappings.iter().map(table).collect()
}

/// What stands before a mapping's rows.
pub(super) fn copy(work: &Work<'_>, mapping: &Arc<ResolvedMapping>) -> Vec<u8> {
    format!("{};\n", apply(work, mapping).copy_into_target()).into_bytes()
}

/// What stands behind them.
pub(super) const COPY_END: &[u8] = b"\\.\n";

/// What the file ends with. With state, the cursors of a destination that holds these rows: where the
/// file is loaded and the database is listed as a destination, live sync goes on behind `sequence_id`.
pub(super) fn foot(work: &Work<'_>, sequence_id: i64, epoch: &str) -> Vec<u8> {
    if work.options.inserts {
        return b"commit;\n".to_vec();
    }
    let mut text = String::new();
    if work.options.state {
        text.push_str(&CREATE_STATE_TABLE.replace("{state}", STATE));
        text.push('\n');
        for mapping in work.mappings {
            text.push_str(&format!("{};\n", apply(work, mapping).mark_table()));
            text.push_str(&format!(
                "insert into {STATE} \
                 (tenant_id, mapping, sequence_id, backfilled, epoch, version, updated_at) \
                 values ({}, {}, {sequence_id}, true, {}, {}, now());\n",
                literal(&work.job.tenant_id),
                literal(mapping.name()),
                literal(epoch),
                literal(&mapping.version.to_string())
            ));
        }
    }
    let tables = work.mappings.iter().map(|mapping| mapping.definition.target.table.sql());
    let tables: Vec<String> = tables.collect();
    format!("{text}commit;\nanalyze {};\n", tables.join(", ")).into_bytes()
}

fn apply<'m>(work: &Work<'_>, mapping: &'m Arc<ResolvedMapping>) -> Apply<'m> {
    Apply::on_search_path(mapping, &work.job.tenant_id)
}
