//! The sequencer's statements: which rows depend on a changed row, and which tenant a row belongs
//! to.
//!
//! Each takes the rows of a batch as arrays, appends to `change_log` with numbers above
//! `global_sequence`, and sets that sequence to the last one. The caller must hold the sequencer's
//! lock; otherwise two sequencers could give the same number twice.

use super::look_up;
use crate::equality::outside_catalog;
use crate::{
    CapturedColumn, Condition, Identifier, KeyColumn, ResolvedMapping, Tenant, Waking, literal,
};

/// The numbers of the appended rows: those that follow the sequence's last value. Only the holder
/// of the sequencer's lock moves the sequence.
pub(super) const NUMBERED: &str = "(select last_value from offtake.global_sequence) + row_number() over (order by capture_id, page_order)";

/// Appends a change for every source row that depends on a changed row.
///
/// The changed rows: `$1` capture ids, `$2` captured_at, `$3` matched (jsonb), `$4` the last key
/// that an earlier tick expanded them to (jsonb), or null. `$5`: at most this many rows for one
/// change; a change with more is continued in a later tick.
///
/// If the changed table is one of the tenant's look-up, also `$6`: the tenants (jsonb, an array)
/// that a changed row was handed on with, or null; and the changes of this batch in all tables of
/// the look-up: `$7` tables, `$8` matched, `$9` such tenants.
///
/// Returns one row: how many changes were appended, and how many changes must be continued.
pub fn expand_dependants(waking: &Waking) -> String {
    let mapping = &waking.mapping;
    let (given, versions) = match &waking.lookup {
        None => ("null::jsonb[]", String::new()),
        Some(lookup) => ("$6::jsonb[]", look_up::versions(&lookup.path, ["$7", "$8", "$9"]) + ", "),
    };
    let given =
        format!("unnest($1::bigint[], $2::timestamptz[], $3::jsonb[], $4::jsonb[], {given})");
    format!(
        "with {versions}changed_row as (\n\
           {changed_row}\n\
         ), found as materialized (\n\
           {found}\n\
         ), unfinished as materialized (\n\
           select capture_id, matched, tenants, (array_agg(row_key order by page_order desc))[1] as after, min(captured_at) as captured_at\n\
             from found group by capture_id, matched, tenants having count(*) >= $5\n\
         ), concerned as (\n\
           select capture_id, captured_at, row_key, tenant_ids, page_order from found{unsequenced}\n\
         ), appended as (\n\
           insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)\n\
           select {NUMBERED}, {source_table}, tenant_id, row_key, false, captured_at\n\
             from concerned, unnest(tenant_ids) tenant_id\n\
           returning sequence_id\n\
         ), numbered as (\n\
           select count(*) as rows, setval('offtake.global_sequence', max(sequence_id)) from appended having count(*) > 0\n\
         ), {handed_on}continued as (\n\
           insert into offtake.captured_change (source_table, operation, matched, resume, captured_at)\n\
           select {changed_table}, 'r', matched,\n\
                  jsonb_build_object('mapping', {mapping_name}, 'waking', {number}, 'after', after, 'tenants', tenants), captured_at\n\
             from unfinished\n\
           returning 1\n\
         )\n\
         select coalesce((select rows from numbered), 0)::bigint as appended, (select count(*) from continued)::bigint as continued",
        changed_row = changed_row(waking, &given, true),
        found = found(waking, "$5"),
        unsequenced = look_up::unsequenced(waking),
        source_table = literal(&mapping.source_table()),
        handed_on = look_up::handed_on(waking).map(|cte| cte + ", ").unwrap_or_default(),
        changed_table = literal(&waking.dependency.table.to_string()),
        mapping_name = literal(mapping.name()),
        number = waking.number,
    )
}

/// How [`expand_dependants`] finds the rows, for one changed row without values. It is for EXPLAIN,
/// and needs none of Offtake's own tables.
pub fn find_dependants(waking: &Waking) -> String {
    let given = "(values (0::bigint, now(), '{}'::jsonb, null::jsonb, null::jsonb))";
    let changed_row = changed_row(waking, given, false);
    format!("with changed_row as ({changed_row}) {}", found(waking, "10000"))
}

/// The rows that a change of one row of the table refreshes, whichever row the planner finds first.
/// It is for EXPLAIN, which says how many they may be.
pub fn sample_dependants(waking: &Waking) -> String {
    format!(
        "select from {} cross join (select * from {} limit 1) changed where {}",
        look_up::live_rows(waking),
        waking.dependency.table.sql(),
        condition(waking)
    )
}

/// The changed rows, with the columns that the condition names as columns of their types, and for a
/// look-up with the tenants that they lead to. Without `recorded` these are left out.
fn changed_row(waking: &Waking, given: &str, recorded: bool) -> String {
    let changed = waking
        .changed
        .iter()
        .map(|c| format!(", {} as {}", read_back("r.matched", c), c.name.sql()))
        .collect::<String>();
    let tenants = match &waking.lookup {
        Some(lookup) if recorded => look_up::tenants_of_changed(lookup),
        _ => "array[]::text[]".to_owned(),
    };
    format!(
        "select changed.*, {tenants} as offtake_tenants from (\n\
           select r.capture_id as offtake_capture_id, r.captured_at as offtake_captured_at, r.matched as offtake_matched,\n\
                  r.after as offtake_after, r.tenants as offtake_given{changed}\n\
             from (select min(capture_id) as capture_id, min(captured_at) as captured_at, matched, after, tenants\n\
                     from {given} given (capture_id, captured_at, matched, after, tenants)\n\
                    group by matched, after, tenants) r) changed"
    )
}

/// The source rows that depend on each changed row: for each, at most one page of them.
fn found(waking: &Waking, limit: &str) -> String {
    let mapping = &waking.mapping;
    let source_columns: Vec<_> = mapping.key.iter().map(page_column).collect();
    let after: Vec<_> = mapping.key.iter().map(|k| key_from("changed.offtake_after", k)).collect();
    // Without a tenant, a change concerns every tenant.
    let known = match &mapping.definition.source.tenant {
        Tenant::Lookup(_) | Tenant::Everyone => "true",
        Tenant::Column(_) | Tenant::Expression(_) => "tenant_id is not null",
    };
    format!(
        "select changed.offtake_capture_id as capture_id, changed.offtake_captured_at as captured_at,\n\
                changed.offtake_matched as matched, changed.offtake_given as tenants, page.row_key, page.tenant_ids, page.page_order\n\
           from changed_row changed\n\
           cross join lateral (\n\
             select children.*, row_number() over () as page_order from (\n\
               select {row_key} as row_key,\n\
                      array(select tenant_id from (select {tenant} as tenant_id union select unnest(changed.offtake_tenants)) tenants where {known}) as tenant_ids\n\
                 from {rows}\n\
                where ({condition})\n\
                  and (changed.offtake_after is null or ({columns}) > ({after}))\n\
                order by {columns} limit {limit}) children) page",
        row_key = row_key("source", &mapping.key),
        tenant = tenant_of(mapping, "source"),
        rows = look_up::live_rows(waking),
        condition = condition(waking),
        columns = source_columns.join(", "),
        after = after.join(", "),
    )
}

fn condition(waking: &Waking) -> String {
    match &waking.dependency.condition {
        Condition::Match(pairs) => {
            let searched = waking.lookup.as_ref().map_or(0, |lookup| lookup.step);
            let searched = look_up::row_before(searched);
            let same = pairs.iter().map(|(ours, changed)| {
                format!("{searched}.{} = changed.{}", ours.sql(), changed.sql())
            });
            same.collect::<Vec<_>>().join(" and ")
        }
        Condition::Where(sql) => format!("{sql}\n"),
    }
}

/// The tenant that a source row belongs to now, as text; null if it is everyone's.
pub(super) fn tenant_of(mapping: &ResolvedMapping, alias: &str) -> String {
    match &mapping.definition.source.tenant {
        Tenant::Column(column) => format!("{alias}.{}::text", column.sql()),
        Tenant::Expression(sql) => format!("({sql}\n)::text"),
        Tenant::Lookup(lookup) => look_up::live_tenant(lookup, alias),
        Tenant::Everyone => "null::text".to_owned(),
    }
}

fn row_key(alias: &str, key: &[KeyColumn]) -> String {
    let pairs = key.iter().map(|k| {
        format!("{}, {alias}.{}::text", literal(k.source_column.as_str()), k.source_column.sql())
    });
    format!("jsonb_build_object({})", pairs.collect::<Vec<_>>().join(", "))
}

/// What the pages of dependants are ordered by. Row values are compared by operators of the search
/// path. Those of a type outside pg_catalog need not be on it, and an enum has them but no domain
/// over it: the text is compared instead.
fn page_column(key: &KeyColumn) -> String {
    let column = format!("source.{}", key.source_column.sql());
    match outside_catalog(&key.source_type) {
        true => format!("({column}::text collate \"C\")"),
        false => column,
    }
}

fn key_from(json: &str, key: &KeyColumn) -> String {
    let sql_type = if outside_catalog(&key.source_type) { "text" } else { &key.source_type };
    format!("({json} ->> {})::{sql_type}", literal(key.source_column.as_str()))
}

fn read_back(json: &str, column: &CapturedColumn) -> String {
    format!("({json} ->> {})::{}", literal(column.name.as_str()), column.sql_type)
}

/// The value under `name`, with the type of the column `like`.
pub(super) fn typed(
    json: &str,
    name: &Identifier,
    like: &Identifier,
    columns: &[CapturedColumn],
) -> String {
    let sql_type = columns.iter().find(|c| c.name == *like).map_or("text", |c| c.sql_type.as_str());
    format!("({json} ->> {})::{sql_type}", literal(name.as_str()))
}
