//! Whether a table that `schema_sql` made tells the same keys apart as the source.

use offtake_mapping::ResolvedMapping;

use super::tables::Found;

/// Why two keys of the source would be one row of `table`, or two spellings of one key two rows.
/// `made`: `schema_sql` made the table in this transaction, which will be rolled back.
pub(super) fn misfit(
    mapping: &ResolvedMapping,
    table: &str,
    found: &Found,
    made: bool,
) -> Option<String> {
    let Found { columns, coarse, .. } = found;
    mapping.definition.target.schema_sql.as_ref()?;
    mapping.key.iter().find_map(|key| {
        let name = key.query_column.as_str();
        let held = columns.iter().find(|(column, _)| column == name).map(|(_, held)| held)?;
        let usual = mapping.columns.iter().find(|c| c.name == key.query_column)?;
        let again = match made {
            true => String::new(),
            false => format!(
                " and run `drop table {table}` there, and Offtake makes it again with all its rows"
            ),
        };
        let remedy = format!("give it the type {} in schema_sql{again}", usual.target_type);
        if coarse.iter().any(|column| column == name) && !key.coarse {
            return Some(format!(
                "the key column {name} of {table} ({held}) takes different texts as equal, and \
                 the source does not: two of its rows would be one; {remedy}"
            ));
        }
        (key.coarse && !key.by_text && *held != usual.target_type).then(|| {
            format!(
                "the key column {name} of {table} is {held} and at the source {}, of which equal \
                 values may print differently: one of its rows could be two; {remedy}",
                key.sql_type
            )
        })
    })
}
