//! `offtake preview`: the rows that a destination would hold, and what edited mappings would change
//! before they go live.

mod changed;

use offtake_mapping::compose::{KeyRange, copy_chunk};
use offtake_mapping::{MappingSet, ResolvedMapping, foreign, is_unprintable};
use offtake_postgres::{TEXT_FORMAT, catalog};
use serde_json::{Map, Value};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::printing::{say, say_json};
use super::registry_names::{of_tenant, unknown};
use crate::command_line::Preview;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// Longer values are cut, so that a row stays one line on most terminals.
const CELL_CHARS_MAX: usize = 40;

/// `offtake check --diff`: prints what `offtake preview --changed` does, and exits with
/// [`Exit::Different`] where copies would change.
pub(super) async fn difference(context: &Context, json: bool) -> Result<Exit, Failure> {
    let arguments =
        Preview { tenant: None, mapping: None, limit: 0, changed: true, mappings: None, json };
    look(context, &arguments, Exit::Different).await
}

pub(super) async fn execute(context: Context, arguments: &Preview) -> Result<Exit, Failure> {
    let context = context.with_mapping_folder(arguments.mappings.clone());
    look(&context, arguments, Exit::Done).await
}

async fn look(context: &Context, arguments: &Preview, if_changed: Exit) -> Result<Exit, Failure> {
    let mappings = context.mappings()?;
    let source = context.connect_source("preview").await?;
    let set = catalog::resolve(&source, mappings).await?;
    if let Some(name) = &arguments.mapping
        && set.get(name).is_none()
    {
        return Err(unknown(
            format!("there is no mapping named {name}"),
            name,
            set.mappings().iter().map(|m| m.name()),
        ));
    }
    if arguments.changed {
        return changed::execute(context, arguments, &source, &set, if_changed).await;
    }
    let (Some(tenant), Some(name)) = (&arguments.tenant, &arguments.mapping) else {
        return Err(Failure::new(
            Exit::Usage,
            "--tenant and --mapping are needed without --changed",
        ));
    };
    let shared = only_shared(context, &source, &set, (tenant, name)).await;
    let form = set.forms(shared).iter().find(|mapping| mapping.name() == name);
    let Some(mapping) = form else { return Ok(Exit::Failed) };
    let rows = rows(context, &source, mapping, tenant, arguments.limit).await?;
    if arguments.json {
        print_json(mapping, &rows);
    } else {
        print_table(mapping, &rows);
        if rows.is_empty() {
            let tenant = foreign(tenant);
            say(format!(
                "the query gives no rows of tenant {tenant}; is this how {} spells it?",
                mapping.source_table()
            ));
        }
    }
    Ok(Exit::Done)
}

/// Whether the tenant gets the mapping in shared destinations alone. A list that cannot be read
/// does not keep the rows from being shown.
async fn only_shared(
    context: &Context,
    source: &Client,
    set: &MappingSet,
    (tenant, mapping): (&str, &str),
) -> bool {
    let list = context.spelt_destinations(source, set).await.unwrap_or_default();
    let list = of_tenant(source, set, list, Some(tenant)).await.unwrap_or_default();
    let mut its = list.usable.iter().filter(|d| d.receives(mapping));
    its.clone().next().is_some() && its.all(|destination| destination.shared)
}

/// The first rows in key order, as text.
async fn rows(
    context: &Context,
    source: &Client,
    mapping: &ResolvedMapping,
    tenant: &str,
    limit: u32,
) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let copy = copy_chunk(mapping, tenant, KeyRange::ALL, limit as usize);
    let query = copy
        .strip_prefix("copy (")
        .and_then(|rest| rest.trim_end().strip_suffix(") to stdout"))
        .unwrap_or_default();
    let timeout = context.configuration.sync.statement_timeout.as_millis();
    let begin = format!(
        "begin transaction read only; set local row_security = off; \
         set local statement_timeout = {timeout}; {TEXT_FORMAT}"
    );
    let failed = |error: tokio_postgres::Error| {
        Failure::of_source(
            &format!("cannot read the rows of mapping {}", mapping.name()),
            &error.into(),
        )
    };
    source.batch_execute(&begin).await.map_err(failed)?;
    let answer = source.simple_query(query).await;
    source.batch_execute("rollback").await.map_err(failed)?;
    let mut rows = Vec::new();
    // The tenant is the only value in the statement that the operator typed.
    let unlike = answer.as_ref().err().and_then(tokio_postgres::Error::code)
        == Some(&SqlState::INVALID_TEXT_REPRESENTATION);
    if unlike && mapping.tenant_type != "text" {
        let message = format!(
            "{tenant} cannot be a tenant: {} names its tenants by {}",
            mapping.source_table(),
            mapping.tenant_type
        );
        return Err(Failure::new(Exit::Usage, message)
            .remedy("give the tenant as `offtake status` and the destinations name it"));
    }
    for message in answer.map_err(failed)? {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
        }
    }
    Ok(rows)
}

fn print_json(mapping: &ResolvedMapping, rows: &[Vec<Option<String>>]) {
    let names: Vec<&str> = mapping.columns.iter().map(|c| c.name.as_str()).collect();
    let object = |row: &Vec<Option<String>>| -> Map<String, Value> {
        names
            .iter()
            .zip(row)
            .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
            .collect()
    };
    let objects: Vec<_> = rows.iter().map(object).collect();
    say_json(serde_json::to_string_pretty(&objects).unwrap_or_default());
}

fn print_table(mapping: &ResolvedMapping, rows: &[Vec<Option<String>>]) {
    let mut lines: Vec<Vec<String>> =
        vec![mapping.columns.iter().map(|c| c.name.to_string()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|value| cell(value.as_deref())).collect()));
    let widths: Vec<usize> = (0..mapping.columns.len())
        .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0))
        .collect();
    for line in lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        say(cells.join("  ").trim_end());
    }
}

/// A value on one bounded line. A null looks different from any text.
fn cell(value: Option<&str>) -> String {
    let Some(value) = value else { return "(null)".to_owned() };
    let plain: String = value
        .chars()
        .flat_map(|c| if is_unprintable(c) { c.escape_default().collect() } else { vec![c] })
        .collect();
    match plain.char_indices().nth(CELL_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &plain[..at]),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_bounded_line() {
        assert_eq!(cell(None), "(null)");
        assert_eq!(cell(Some("a\nb\u{1b}")), "a\\nb\\u{1b}");
        assert_eq!(cell(Some(&"ü".repeat(50))), format!("{}…", "ü".repeat(40)));
    }
}
