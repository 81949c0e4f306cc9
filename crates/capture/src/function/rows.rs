//! The function that captures a row at a time, for relations whose rows are also written by
//! statements that do not name them: through a table that the captured one is a partition or child
//! of, or by the apply worker of a subscription. Statement-level triggers do not fire there.
//!
//! It evaluates everything that may fail before it writes anything, and inside blocks with an
//! exception handler. A block that writes nothing takes no transaction number, so a bulk write of
//! the application costs no subtransactions on disk. A column that the application dropped or
//! renamed is an error of its block, and then the whole table counts as changed, once per
//! transaction.

use offtake_mapping::{Capture, CapturedTenant, MappingSet, literal};

use super::Records;
use super::object::object;
use super::statements::{Rule, Table};

/// The body of the trigger function for rows.
pub(super) fn body(capture: &Capture, set: &MappingSet, hash: &str) -> String {
    let table = Table::of(capture, set);
    let rules = table.rules();
    let (columns, expressions): (Vec<_>, Vec<_>) = rules
        .iter()
        .enumerate()
        .partition(|(_, rule)| !matches!(rule.tenant, CapturedTenant::Expression(_)));
    let column = |image: &str, at: usize, rule: &Rule<'_>| match rule.tenant {
        CapturedTenant::Column(column) => {
            format!("    {image}_tenant{at} := {image}.{}::text;\n", column.sql())
        }
        CapturedTenant::Expression(_) | CapturedTenant::LookedUp => String::new(),
    };
    let image = |image: &str| {
        let tenants: String = columns.iter().map(|(at, rule)| column(image, *at, rule)).collect();
        format!(
            "    {image}_key := {};\n    {image}_matched := {};\n{tenants}",
            object(&capture.key, &format!("{image}.")),
            matched(capture, image)
        )
    };
    let tenants: String = (0..rules.len())
        .map(|at| {
            format!("  new_tenant{at} text; old_tenant{at} text; blind{at} boolean := false;\n")
        })
        .collect();
    let expressions: String = expressions.iter().map(|(at, rule)| expression(*at, rule)).collect();
    let appends = match rules.is_empty() {
        true => of_dependants(&table),
        false => rules.iter().enumerate().map(|(at, rule)| of_rule(&table, at, rule)).collect(),
    };
    let comment = capture.table.to_string().replace(['\n', '\r'], " ");
    format!(
        "\n-- Captures rows of {comment} that are written through other tables, or by a subscription, for Offtake.\n\
         -- Written by `offtake init`, which also undoes edits.\n\
         {}\n\
         #variable_conflict use_column\n\
         declare\n  gone boolean := false;\n  new_key jsonb; new_matched jsonb; old_key jsonb; old_matched jsonb;\n{tenants}\
         begin\n\
         begin\n  if tg_op <> 'DELETE' then\n{}  end if;\n  if tg_op <> 'INSERT' then\n{}  end if;\n\
         exception when others then\n  gone := true;\nend;\n\
         {}{expressions}{appends}return null;\nend\n",
        Records::of(capture).line(),
        image("new"),
        image("old"),
        lost(&table, hash),
    )
}

fn matched(capture: &Capture, image: &str) -> String {
    match capture.matched.is_empty() {
        true => "null".to_owned(),
        false => object(&capture.matched, &format!("{image}.")),
    }
}

/// A column is not there any more: anything in the table may have changed. Recorded once per
/// transaction, because every row of a bulk write would say the same.
fn lost(table: &Table<'_>, hash: &str) -> String {
    let setting = literal(&format!("offtake.gone_{hash}"));
    let setting = setting.trim();
    format!(
        "if gone then\n  \
           if coalesce(current_setting({setting}, true), '') <> pg_current_xact_id()::text then\n    \
             insert into offtake.captured_change (source_table, operation) values ({}, 't');\n    \
             perform set_config({setting}, pg_current_xact_id()::text, true);\n  \
           end if;\n  \
           return null;\n\
         end if;\n",
        table.source_table
    )
}

/// An operator's expression may fail on an unexpected value: then every tenant looks at the row.
fn expression(at: usize, rule: &Rule<'_>) -> String {
    let tenant = rule.tenant_id();
    let evaluate = |image: &str| {
        format!("    select {tenant} into {image}_tenant{at} from (select {image}.*) source;\n")
    };
    format!(
        "begin\n  if tg_op <> 'DELETE' then\n{}  end if;\n  if tg_op <> 'INSERT' then\n{}  end if;\n\
         exception when others then\n  blind{at} := true;\nend;\n",
        evaluate("new"),
        evaluate("old")
    )
}

fn of_dependants(table: &Table<'_>) -> String {
    format!(
        "if tg_op <> 'DELETE' then\n{}end if;\n\
         if tg_op = 'DELETE' or (tg_op = 'UPDATE' and old_matched is distinct from new_matched) then\n{}end if;\n",
        append(table, "'c'", "null", "null", "new_matched"),
        append(table, "'d'", "null", "null", "old_matched")
    )
}

/// What the statements of [`Rule`] record, for one row.
fn of_rule(table: &Table<'_>, at: usize, rule: &Rule<'_>) -> String {
    let key = |image: &str| match (rule.looked_up(), rule.with_matched) {
        (false, true) => {
            format!("case when {image}_tenant{at} is not null then {image}_key end")
        }
        _ => format!("{image}_key"),
    };
    let known = |image: &str| match rule.looked_up() || rule.with_matched {
        true => String::new(),
        false => format!(" and {image}_tenant{at} is not null"),
    };
    let matched = |image: &str| match rule.with_matched {
        true => format!("{image}_matched"),
        false => "null".to_owned(),
    };
    let left = format!(
        "(old_key is distinct from new_key or old_tenant{at} is distinct from new_tenant{at})"
    );
    let changed = match rule.with_matched {
        true => format!("({left} or old_matched is distinct from new_matched)"),
        false => left.clone(),
    };
    let blind = |image: &str, operation: &str| {
        append(table, operation, "null", &format!("{image}_key"), &matched(image))
    };
    let operation = format!("case when tg_op = 'DELETE' or {left} then 'd' else 'c' end");
    let (new_tenant, old_tenant) = (format!("new_tenant{at}"), format!("old_tenant{at}"));
    format!(
        "if blind{at} then\n\
         if tg_op <> 'DELETE' then\n{}end if;\n\
         if tg_op = 'DELETE' or (tg_op = 'UPDATE' and (old_key, old_matched) is distinct from (new_key, new_matched)) then\n{}end if;\n\
         else\n\
         if tg_op <> 'DELETE'{} then\n{}end if;\n\
         if (tg_op = 'DELETE' or (tg_op = 'UPDATE' and {changed})){} then\n{}end if;\n\
         end if;\n",
        blind("new", "'c'"),
        blind("old", "case tg_op when 'DELETE' then 'd' else 'c' end"),
        known("new"),
        append(table, "'c'", &new_tenant, &key("new"), &matched("new")),
        known("old"),
        append(table, &operation, &old_tenant, &key("old"), &matched("old")),
    )
}

fn append(table: &Table<'_>, operation: &str, tenant: &str, key: &str, matched: &str) -> String {
    format!(
        "  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)\n  \
           values ({}, ({operation})::\"char\", {tenant}, {key}, {matched});\n",
        table.source_table
    )
}
