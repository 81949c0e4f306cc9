//! The sequencer's statements about tenants that are looked up, in one step or several.
//!
//! A row's tenant is named by the last of several rows, and each of them may change at any time. A
//! change is sequenced after its commit, when other rows on the way may have changed again. Then
//! the live rows no longer say which tenant had the row, and that tenant would keep it. So every
//! step is looked up among the live rows *and* among the old and new values that the triggers have
//! recorded and that are in this batch or not sequenced yet.
//!
//! Why this is enough: of all changes that cut the way from a row to a tenant, consider those that
//! are committed when the first of them is sequenced. Each has recorded the values that it
//! replaced, and all other rows of the way are live. So in that tick the whole old way is found.

use super::expand::{NUMBERED, typed};
use crate::{CapturedColumn, Identifier, LookupPath, LookupWaking, TenantLookup, Waking, literal};

/// Appends changes of rows whose tenant is looked up.
///
/// The changed rows: `$1` capture ids, `$2` captured_at, `$3` row keys, `$4` deleted, `$5` matched
/// (jsonb). The changes of the tables on the way that are in this batch: `$6` tables, `$7` matched,
/// `$8` tenants (jsonb, or null), see [`expand_dependants`](super::expand_dependants). Returns how
/// many changes were appended.
///
/// A change goes to every tenant that the row leads to. Where there is none, every tenant's
/// destinations look again.
pub fn resolve_tenants(path: &LookupPath) -> String {
    let ours = |name: &Identifier| typed("given.matched", name, name, &path.source_columns);
    format!(
        "with {versions}, resolved as (\n\
           select given.*, array(\n\
                    select tenant_id from (\n{tenants}\n) tenants (tenant_id)\n\
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
        versions = versions(path, ["$6", "$7", "$8"]),
        tenants = tenants_beyond(path, 0, &ours),
        source_table = literal(&path.source_table.to_string()),
    )
}

/// The tenant that a source row belongs to now, as text.
pub(super) fn live_tenant(lookup: &TenantLookup, alias: &str) -> String {
    let steps = lookup.steps.iter().enumerate();
    let from = steps.clone().map(|(at, step)| format!("{} l{at}", step.table.sql()));
    let same = steps.map(|(at, step)| {
        let before = if at == 0 { alias.to_owned() } else { format!("l{}", at - 1) };
        let same = step
            .matches
            .iter()
            .map(|(theirs, ours)| format!("l{at}.{} = {before}.{}", theirs.sql(), ours.sql()));
        same.collect::<Vec<_>>().join(" and ")
    });
    format!(
        "(select l{}.{}::text from {} where {} limit 1)",
        lookup.steps.len() - 1,
        lookup.column.sql(),
        from.collect::<Vec<_>>().join(", "),
        same.collect::<Vec<_>>().join(" and ")
    )
}

/// The tenants that a changed row `changed` of a step leads to, as an array; null is among them
/// where the way ends before a tenant, and means every tenant. A changed row that was handed on
/// brings them along.
pub(super) fn tenants_of_changed(lookup: &LookupWaking) -> String {
    let LookupWaking { path, step } = lookup;
    if step + 1 == path.lookup.steps.len() {
        return format!("array[changed.{}::text]", path.lookup.column.sql());
    }
    let tenants =
        tenants_beyond(path, step + 1, &|ours: &Identifier| format!("changed.{}", ours.sql()));
    format!(
        "case when changed.offtake_given is not null\n\
         then array(select jsonb_array_elements_text(changed.offtake_given))\n\
         else coalesce(nullif(array(\n{tenants}\n), '{{}}'), array[null::text]) end"
    )
}

/// The live rows that a waking finds: the source table, and the tables between it and the changed
/// row's.
pub(super) fn live_rows(waking: &Waking) -> String {
    let source = format!("{} source", waking.mapping.definition.source.table.sql());
    let Some(LookupWaking { path, step }) = &waking.lookup else { return source };
    let joins = path.lookup.steps[..*step].iter().enumerate().map(|(at, step)| {
        let same = step.matches.iter().map(|(theirs, ours)| {
            format!("l{at}.{} = {}.{}", theirs.sql(), row_before(at), ours.sql())
        });
        format!("\n join {} l{at} on {}", step.table.sql(), same.collect::<Vec<_>>().join(" and "))
    });
    std::iter::once(source).chain(joins).collect()
}

/// The alias of the row whose columns a step matches.
pub(super) fn row_before(step: usize) -> String {
    if step == 0 { "source".to_owned() } else { format!("l{}", step - 1) }
}

/// What the triggers have recorded of each step's table and what is not sequenced yet, or is in
/// this batch: as `version_0`, `version_1` … . `taken` are the parameters with the batch's changes.
pub(super) fn versions(path: &LookupPath, taken: [&str; 3]) -> String {
    let [tables, matched, tenants] = taken;
    let taken = format!(
        "taken as materialized (\n\
           select * from unnest({tables}::text[], {matched}::jsonb[], {tenants}::jsonb[]) taken (source_table, matched, tenants)\n\
         )"
    );
    let steps = path.lookup.steps.iter().zip(&path.step_columns).enumerate();
    let versions = steps.map(|(at, (step, columns))| {
        let columns = columns.iter().map(|column| {
            format!("({}) as {}, ", read_back("version.matched", column), column.name.sql())
        });
        format!(
            "version_{at} as materialized (\n\
               select {columns}version.matched as offtake_matched, version.tenants as offtake_tenants, version.open as offtake_open\n\
                 from (select matched, tenants, false as open from taken where source_table = {table}\n\
                       union\n\
                       select matched, nullif(resume -> 'tenants', 'null'), true from offtake.captured_change\n\
                        where source_table = {table} and matched is not null) version\n\
             )",
            columns = columns.collect::<String>(),
            table = literal(&step.table.to_string()),
        )
    });
    std::iter::once(taken).chain(versions).collect::<Vec<_>>().join(", ")
}

/// The rows that depend on a changed row only by what is not sequenced yet. They were deleted, or
/// no longer lead to the changed row. When their own change is sequenced, the way to the tenant
/// that the changed row names will be gone, so that tenant must be told now.
pub(super) fn unsequenced(waking: &Waking) -> String {
    let Some(LookupWaking { path, step }) = &waking.lookup else { return String::new() };
    // The CASE keeps the cast from rows of other tables, whose column of this name may have another
    // type.
    let source_table = literal(&path.source_table.to_string());
    let ours = |name: &Identifier| {
        let value = typed("own.matched", name, name, &path.source_columns);
        format!("case when own.source_table = {source_table} then {value} end")
    };
    format!(
        "\n\
           union all\n\
           select changed.offtake_capture_id, changed.offtake_captured_at, own.row_key, changed.offtake_tenants, 0\n\
             from changed_row changed\n\
             join offtake.captured_change own on own.source_table = {source_table} and own.row_key is not null and own.matched is not null\n\
             {way} where {same}",
        way = way(path, 0..*step, &ours),
        same = reaches_changed(path, *step, 0, &ours),
    )
}

/// The recorded values of tables between the source table and the changed row's that lead to the
/// changed row, are not sequenced yet, and are no longer live. When their own change is sequenced,
/// it would not find the tenant that the changed row names now. So they are handed on to a later
/// tick, together with the tenants.
pub(super) fn handed_on(waking: &Waking) -> Option<String> {
    let LookupWaking { path, step } = waking.lookup.as_ref()?;
    let of_step = |at: usize| {
        let between = &path.lookup.steps[at];
        let ours = |name: &Identifier| format!("w.{}", name.sql());
        let live = path.step_columns[at].iter().map(|column| {
            let name = column.name.sql();
            format!("live.{name} = w.{name}")
        });
        format!(
            "select {table} as source_table, {number} as waking, w.offtake_matched as matched,\n\
                    to_jsonb(changed.offtake_tenants) as tenants, min(changed.offtake_captured_at) as captured_at\n\
               from changed_row changed\n\
               join version_{at} w on w.offtake_open\n\
               {way}\n\
              where {same}\n\
                and not exists (select from {live_table} live where {live})\n\
                and not exists (select from unfinished where unfinished.capture_id = changed.offtake_capture_id)\n\
              group by w.offtake_matched, to_jsonb(changed.offtake_tenants)",
            table = literal(&between.table.to_string()),
            number = waking.number - step + at,
            way = way(path, at + 1..*step, &ours),
            same = reaches_changed(path, *step, at + 1, &ours),
            live_table = between.table.sql(),
            live = live.collect::<Vec<_>>().join(" and "),
        )
    };
    let parts: Vec<String> = (0..*step).map(of_step).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "handed_on as (\n\
               insert into offtake.captured_change (source_table, operation, matched, resume, captured_at)\n\
               select source_table, 'r', matched, jsonb_build_object('mapping', {mapping}, 'waking', waking, 'tenants', tenants), captured_at\n\
                 from (\n{parts}\n) found\n\
             )",
            mapping = literal(waking.mapping.name()),
            parts = parts.join("\nunion all\n"),
        )
    })
}

/// The tenants that the steps from `first` on lead to, one text each, or null. `start` gives the
/// value of a column of the row before.
fn tenants_beyond(
    path: &LookupPath,
    first: usize,
    start: &dyn Fn(&Identifier) -> String,
) -> String {
    let last = path.lookup.steps.len() - 1;
    let all = format!(
        "select l{last}.{}::text from {}",
        path.lookup.column.sql(),
        way_from_nothing(path, first..last + 1, start)
    );
    // Recorded values that were handed on bring the tenants of a change that is sequenced already.
    let handed_on = (first..last).map(|step| {
        format!(
            "select jsonb_array_elements_text(w.offtake_tenants) from {}\n where w.offtake_tenants is not null and {}",
            match first == step {
                true => format!("version_{step} w"),
                false => format!(
                    "{} join version_{step} w on true",
                    way_from_nothing(path, first..step, start)
                ),
            },
            same_row(path, step, "w", first, start),
        )
    });
    std::iter::once(all).chain(handed_on).collect::<Vec<_>>().join("\nunion\n")
}

/// [`way`], as the first thing behind FROM.
fn way_from_nothing(
    path: &LookupPath,
    steps: std::ops::Range<usize>,
    start: &dyn Fn(&Identifier) -> String,
) -> String {
    format!("(select) nothing {}", way(path, steps, start))
}

/// Joins each of the steps, as `l0`, `l1` … : its live rows and its recorded values that match the
/// row before. Lateral, so that each step is one search of an index, whatever the planner knows of
/// the recorded values.
fn way(
    path: &LookupPath,
    steps: std::ops::Range<usize>,
    start: &dyn Fn(&Identifier) -> String,
) -> String {
    let first = steps.start;
    let joins = steps.map(|at| {
        let columns = |alias: &str| {
            let columns =
                path.step_columns[at].iter().map(|column| format!("{alias}.{}", column.name.sql()));
            columns.collect::<Vec<_>>().join(", ")
        };
        format!(
            "cross join lateral (\n\
               select {live} from {table} live where {same_live}\n\
               union all\n\
               select {recorded} from version_{at} recorded where {same_recorded}) l{at}",
            live = columns("live"),
            table = path.lookup.steps[at].table.sql(),
            same_live = same_row(path, at, "live", first, start),
            recorded = columns("recorded"),
            same_recorded = same_row(path, at, "recorded", first, start),
        )
    });
    joins.collect::<Vec<_>>().join("\n")
}

/// The condition that `alias` is the row of a step that the row before leads to. The row before the
/// step `first` is the one that `start` knows.
fn same_row(
    path: &LookupPath,
    step: usize,
    alias: &str,
    first: usize,
    start: &dyn Fn(&Identifier) -> String,
) -> String {
    let same = path.lookup.steps[step].matches.iter().map(|(theirs, ours)| {
        let value = match step == first {
            true => start(ours),
            false => format!("l{}.{}", step - 1, ours.sql()),
        };
        format!("{alias}.{} = {value}", theirs.sql())
    });
    same.collect::<Vec<_>>().join(" and ")
}

/// The condition that the way, which begins at the step `first`, leads to the changed row.
fn reaches_changed(
    path: &LookupPath,
    step: usize,
    first: usize,
    start: &dyn Fn(&Identifier) -> String,
) -> String {
    same_row(path, step, "changed", first, start)
}

fn read_back(json: &str, column: &CapturedColumn) -> String {
    format!("({json} ->> {})::{}", literal(column.name.as_str()), column.sql_type)
}
