//! The rule under `source.tenant`: a column, an expression, a look-up or a list of them, or
//! `everyone`.

use serde_yaml::Value;

use super::fields::{
    self, identifier, pairs, refuse_unknown_keys, section, table as table_name, text,
};
use super::{LOOKUP_KEYS, tenant_expression};
use crate::yaml::Section;
use crate::{LookupStep, TableName, Tenant, TenantLookup};

/// Reads the rule. `table` is the source table, where it could be read.
pub(super) fn read(source: &Section, table: Option<&TableName>) -> Option<Tenant> {
    match source.get("tenant") {
        Some(Value::Mapping(_)) => return section(source, "tenant", one_step).map(Tenant::Lookup),
        Some(Value::Sequence(items)) => return steps(source, table, items).map(Tenant::Lookup),
        _ => {}
    }
    let rule = text(source, "tenant")?;
    // In double quotes it is a column's name.
    if rule.trim().eq_ignore_ascii_case("everyone") {
        return Some(Tenant::Everyone);
    }
    if plain_name(&rule) {
        return identifier(source, "tenant").map(Tenant::Column);
    }
    let remedy = "write it over the row's own columns";
    let expression = fields::sql(source, "tenant", "expression", remedy)?;
    if let Some(found) = tenant_expression::sub_select(&expression) {
        let message = "the tenant's expression reads another table, and a trigger has the row's \
                       own columns only";
        source.note_within("tenant", &expression, found.at, message, found.remedy);
        return None;
    }
    if let Some(found) = tenant_expression::of_session(&expression) {
        let message = format!(
            "`{}` in the tenant's expression is not of the row: it has another value in another \
             session or at another time",
            found.text
        );
        let remedy = "write it over the row's own columns; a column of that name is written \
                      source.<column>";
        source.note_within("tenant", &expression, found.at, message, remedy);
        return None;
    }
    Some(Tenant::Expression(expression.trim().to_owned()))
}

fn one_step(lookup: &Section) -> Option<TenantLookup> {
    let step = step(lookup, "source.table");
    let column = identifier(lookup, "column");
    Some(TenantLookup { steps: vec![step?], column: column?, listed: false })
}

fn step(lookup: &Section, before: &str) -> Option<LookupStep> {
    refuse_unknown_keys(lookup, LOOKUP_KEYS);
    let table = table_name(lookup, "table");
    let matches = pairs(lookup, "match", &format!("column of that table: column of {before}"));
    Some(LookupStep { table: table?, matches: matches? })
}

/// A list of look-ups: each finds a row by the row before it, and the last names the tenant.
fn steps(source: &Section, table: Option<&TableName>, items: &[Value]) -> Option<TenantLookup> {
    if items.is_empty() {
        let remedy = "write `- { table: …, column: …, match: { … } }` for each step";
        source.note(&["tenant"], "the list has no look-up", remedy);
        return None;
    }
    if items.len() > TenantLookup::STEPS_MAX {
        let message = format!("a tenant is found in at most {} steps", TenantLookup::STEPS_MAX);
        let remedy = "keep the tenant's id, or the key of a later step's row, in a column of one \
                      of these tables";
        let path = source.path_to_item("tenant", TenantLookup::STEPS_MAX);
        source.document().note(&path, message, remedy);
        return None;
    }
    let mut steps = Some(Vec::new());
    let mut column = None;
    let mut way: Vec<TableName> = table.into_iter().cloned().collect();
    for (index, item) in items.iter().enumerate() {
        let path = source.path_to_item("tenant", index);
        let Value::Mapping(entries) = item else {
            let remedy = "write `- { table: …, match: { … } }`, and `column` in the last one";
            source.document().note(&path, "a look-up has keys", remedy);
            steps = None;
            continue;
        };
        let entry = Section::new(source.document(), path, Some(entries));
        let before = way.last().map_or_else(|| "source.table".to_owned(), ToString::to_string);
        let read =
            step(&entry, &before).filter(|step| items.len() == 1 || no_cycle(&entry, &way, step));
        if index + 1 == items.len() {
            column = identifier(&entry, "column");
        } else if entry.get("column").is_some() {
            let message = "only the last look-up names the tenant's column";
            let remedy = "remove it here, or end the list with this look-up";
            entry.note(&["column"], message, remedy);
            steps = None;
        }
        way.extend(read.iter().map(|step| step.table.clone()));
        match (read, &mut steps) {
            (Some(step), Some(all)) => all.push(step),
            _ => steps = None,
        }
    }
    Some(TenantLookup { steps: steps?, column: column?, listed: true })
}

/// A table that stands twice on the way would be matched by two conditions at once, and one change
/// could begin an endless search.
fn no_cycle(entry: &Section, way: &[TableName], step: &LookupStep) -> bool {
    let cycle = way.contains(&step.table);
    if cycle {
        let message = format!("the way to the tenant leads back to {}", step.table);
        let remedy = "name each table once, in the order in which the rows lead to the tenant";
        entry.note(&["table"], message, remedy);
    }
    !cycle
}

/// Whether a tenant's rule is a column's name rather than an expression.
fn plain_name(text: &str) -> bool {
    let text = text.trim();
    if text.len() > 2 && text.starts_with('"') && text.ends_with('"') {
        return !text[1..text.len() - 1].contains('"');
    }
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}
