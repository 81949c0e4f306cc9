//! The sequencer's statements: which rows depend on a changed row, and which tenant a row belongs
//! to.
//!
//! Each takes the rows of a batch as arrays, appends to `change_log` with numbers above
//! `global_sequence`, and sets that sequence to the last one. The caller must hold the sequencer's
//! lock; otherwise two sequencers could give the same number twice.

use crate::equality::outside_catalog;
use crate::{
    CapturedColumn, Condition, Identifier, KeyColumn, ResolvedMapping, Tenant, TenantLookup,
    Waking, literal,
};

/// The numbers of the appended rows: those that follow the sequence's last value. Only the holder
/// of the sequencer's lock moves the sequence.
const NUMBERED: &str = "(select last_value from offtake.global_sequence) + row_number() over (order by capture_id, page_order)";

/// Appends a change for every source row that depends on a changed row.
///
/// The changed rows: `$1` capture ids, `$2` captured_at, `$3` matched (jsonb), `$4` the last key
/// that an earlier tick expanded them to (jsonb), or null. `$5`: at most this many rows for one
/// change; a change with more is continued in a later tick.
///
/// Returns one row: how many changes were appended, and how many changes must be continued.
pub fn expand_dependants(waking: &Waking) -> String {
    let mapping = &waking.mapping;
    format!(
        "with changed_row as (\n\
           {changed_row}\n\
         ), found as materialized (\n\
           {found}\n\
         ), concerned as (\n\
           select capture_id, captured_at, row_key, tenant_ids, page_order from found{unsequenced}\n\
         ), appended as (\n\
           insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)\n\
           select {NUMBERED}, {source_table}, tenant_id, row_key, false, captured_at\n\
             from concerned, unnest(tenant_ids) tenant_id\n\
           returning sequence_id\n\
         ), numbered as (\n\
           select count(*) as rows, setval('offtake.global_sequence', max(sequence_id)) from appended having count(*) > 0\n\
         ), continued as (\n\
           insert into offtake.captured_change (source_table, operation, matched, resume, captured_at)\n\
           select {changed_table}, 'r', matched,\n\
                  jsonb_build_object('mapping', {mapping_name}, 'after', (array_agg(row_key order by page_order desc))[1]), min(captured_at)\n\
             from found group by capture_id, matched having count(*) >= $5\n\
           returning 1\n\
         )\n\
         select coalesce((select rows from numbered), 0)::bigint as appended, (select count(*) from continued)::bigint as continued",
        changed_row = changed_row(
            waking,
            "unnest($1::bigint[], $2::timestamptz[], $3::jsonb[], $4::jsonb[])"
        ),
        found = found(waking, "$5"),
        unsequenced = unsequenced(waking),
        source_table = literal(&mapping.source_table()),
        changed_table = literal(&waking.dependency.table.to_string()),
        mapping_name = literal(mapping.name()),
    )
}

/// How [`expand_dependants`] finds the rows, for one changed row without values. It is for EXPLAIN,
/// and needs none of Offtake's own tables.
pub fn find_dependants(waking: &Waking) -> String {
    let given = "(values (0::bigint, now(), '{}'::jsonb, null::jsonb))";
    format!("with changed_row as ({}) {}", changed_row(waking, given), found(waking, "10000"))
}

/// The changed rows, with the columns that the condition names as columns of their types.
fn changed_row(waking: &Waking, given: &str) -> String {
    let changed = waking
        .changed
        .iter()
        .map(|c| format!(", {} as {}", read_back("r.matched", c), c.name.sql()))
        .collect::<String>();
    format!(
        "select r.capture_id as offtake_capture_id, r.captured_at as offtake_captured_at, r.matched as offtake_matched,\n\
                r.after as offtake_after{changed}\n\
           from (select min(capture_id) as capture_id, min(captured_at) as captured_at, matched, after\n\
                   from {given} given (capture_id, captured_at, matched, after)\n\
                  group by matched, after) r"
    )
}

/// The source rows that depend on each changed row: for each, at most one page of them.
fn found(waking: &Waking, limit: &str) -> String {
    let mapping = &waking.mapping;
    let source_columns: Vec<_> = mapping.key.iter().map(page_column).collect();
    let after: Vec<_> = mapping.key.iter().map(|k| key_from("changed.offtake_after", k)).collect();
    let old_tenant = waking
        .tenant_column
        .as_ref()
        .map(|column| format!(" union select changed.{}::text", column.sql()));
    let known = if matches!(mapping.definition.source.tenant, Tenant::Lookup(_)) {
        "true"
    } else {
        "tenant_id is not null"
    };
    format!(
        "select changed.offtake_capture_id as capture_id, changed.offtake_captured_at as captured_at,\n\
                changed.offtake_matched as matched, page.row_key, page.tenant_ids, page.page_order\n\
           from changed_row changed\n\
           cross join lateral (\n\
             select children.*, row_number() over () as page_order from (\n\
               select {row_key} as row_key,\n\
                      array(select tenant_id from (select {tenant} as tenant_id{old_tenant}) tenants where {known}) as tenant_ids\n\
                 from {table} source\n\
                where ({condition})\n\
                  and (changed.offtake_after is null or ({columns}) > ({after}))\n\
                order by {columns} limit {limit}) children) page",
        row_key = row_key("source", &mapping.key),
        tenant = tenant_of(mapping, "source"),
        old_tenant = old_tenant.unwrap_or_default(),
        table = mapping.definition.source.table.sql(),
        condition = condition(&waking.dependency.condition),
        columns = source_columns.join(", "),
        after = after.join(", "),
    )
}

/// Appends changes of rows whose tenant is looked up in another table.
///
/// The changed rows: `$1` capture ids, `$2` captured_at, `$3` row keys, `$4` deleted, `$5` matched
/// (jsonb). `$6`: the matched columns of the changes of the looked-up table in this batch. Returns
/// how many changes were appended.
///
/// A change goes to the tenant that the looked-up row names now. It also goes to every tenant that
/// the looked-up row names before or after a change that is in this batch or not sequenced yet.
/// When that change is expanded, this row may be gone, and no one would tell the tenant that had it
/// to delete it. Where no tenant is found, every tenant's destinations look again.
pub fn resolve_tenants(
    lookup: &TenantLookup,
    source_table: &str,
    row_columns: &[CapturedColumn],
    lookup_columns: &[CapturedColumn],
) -> String {
    let live = lookup.matches.iter().map(|(theirs, ours)| {
        format!("l.{} = {}", theirs.sql(), typed("given.matched", ours, ours, row_columns))
    });
    let changed = lookup.matches.iter().map(|(theirs, ours)| {
        format!(
            "{} = {}",
            typed("changed.matched", theirs, theirs, lookup_columns),
            typed("given.matched", ours, ours, row_columns)
        )
    });
    format!(
        "with changed as materialized (\n\
           select matched from unnest($6::jsonb[]) taken (matched)\n\
           union\n\
           select matched from offtake.captured_change where source_table = {lookup_table} and matched is not null\n\
         ), resolved as (\n\
           select given.*, array(\n\
                    select tenant_id from (\n\
                      select (select l.{column}::text from {table} l where {live} limit 1)\n\
                      union\n\
                      select changed.matched ->> {column_name} from changed where {changed}) tenants (tenant_id)\n\
                     where tenant_id is not null) as tenant_ids,\n\
                  0 as page_order\n\
             from unnest($1::bigint[], $2::timestamptz[], $3::jsonb[], $4::boolean[], $5::jsonb[])\n\
                  given (capture_id, captured_at, row_key, deleted, matched)\n\
         ), appended as (\n\
           insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)\n\
           select {NUMBERED}, {source_table}, tenant_id, row_key, deleted, captured_at\n\
             from resolved, unnest(coalesce(nullif(tenant_ids, '{{}}'), array[null])) tenant_id\n\
           returning sequence_id\n\
         ), numbered as (\n\
           select count(*) as rows, setval('offtake.global_sequence', max(sequence_id)) from appended having count(*) > 0\n\
         )\n\
         select coalesce((select rows from numbered), 0)::bigint as appended",
        column = lookup.column.sql(),
        column_name = literal(lookup.column.as_str()),
        table = lookup.table.sql(),
        lookup_table = literal(&lookup.table.to_string()),
        live = live.collect::<Vec<_>>().join(" and "),
        changed = changed.collect::<Vec<_>>().join(" and "),
        source_table = literal(source_table),
    )
}

/// Rows that were deleted, or no longer match, by a change that is not sequenced yet. They belonged
/// to the tenant that the changed row of the look-up named. When their own change is sequenced, the
/// look-up names another tenant, so the old tenant must be told now.
fn unsequenced(waking: &Waking) -> String {
    let (Some(column), Condition::Match(pairs)) =
        (&waking.tenant_column, &waking.dependency.condition)
    else {
        return String::new();
    };
    // By value, as the condition itself: equal values may print differently. The CASE keeps the cast
    // from rows of other tables, whose column of this name may have another type.
    let source_table = literal(&waking.mapping.source_table());
    let same = pairs.iter().map(|(source, changed)| {
        format!(
            "case when own.source_table = {source_table} then {} end = changed.{}",
            typed("own.matched", source, changed, &waking.changed),
            changed.sql()
        )
    });
    format!(
        "\n\
           union all\n\
           select changed.offtake_capture_id, changed.offtake_captured_at, own.row_key, array[changed.{}::text], 0\n\
             from changed_row changed\n\
             join offtake.captured_change own on own.source_table = {} and own.row_key is not null and {}",
        column.sql(),
        source_table,
        same.collect::<Vec<_>>().join(" and ")
    )
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Match(pairs) => {
            let same = pairs.iter().map(|(source, changed)| {
                format!("source.{} = changed.{}", source.sql(), changed.sql())
            });
            same.collect::<Vec<_>>().join(" and ")
        }
        Condition::Where(sql) => format!("{sql}\n"),
    }
}

/// The tenant that a source row belongs to now, as text.
pub(super) fn tenant_of(mapping: &ResolvedMapping, alias: &str) -> String {
    match &mapping.definition.source.tenant {
        Tenant::Column(column) => format!("{alias}.{}::text", column.sql()),
        Tenant::Expression(sql) => format!("({sql}\n)::text"),
        Tenant::Lookup(lookup) => {
            let same = lookup
                .matches
                .iter()
                .map(|(theirs, ours)| format!("l.{} = {alias}.{}", theirs.sql(), ours.sql()));
            let same = same.collect::<Vec<_>>().join(" and ");
            format!(
                "(select l.{}::text from {} l where {same} limit 1)",
                lookup.column.sql(),
                lookup.table.sql()
            )
        }
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
fn typed(json: &str, name: &Identifier, like: &Identifier, columns: &[CapturedColumn]) -> String {
    let sql_type = columns.iter().find(|c| c.name == *like).map_or("text", |c| c.sql_type.as_str());
    format!("({json} ->> {})::{sql_type}", literal(name.as_str()))
}
