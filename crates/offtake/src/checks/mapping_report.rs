//! Everything that `check --connect` tells about one mapping.

mod display;
mod refreshed_rows;

use offtake_mapping::compose::postgres::Apply;
use offtake_mapping::{Dependency, Identifier, MappingSet, ResolvedMapping, Waking};
use serde::Serialize;
use tokio_postgres::Client;

use self::refreshed_rows::RefreshedRows;
use super::destination_table::DestinationTable;
use super::index_use::{IndexUse, SourceTable};
use super::statement_plans::{
    StatementPlans, index_for_keys, index_for_pages, plan_dependants, plan_statements,
};
use crate::configuration::defaults;

/// One mapping as it would run. `check --connect --json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct MappingReport {
    pub(crate) name: String,
    file: String,
    source_table: String,
    target_table: String,
    columns: Vec<Column>,
    woken_by: Vec<WokenBy>,
    plan: StatementPlans,
    /// The statement that creates an index in the order of the pages, where pages are sorted now.
    page_index: Option<String>,
    /// The statement that creates an index by which one key is found.
    #[serde(skip)]
    key_index: Option<String>,
    /// The statement that creates the table in a destination that has none.
    ddl: String,
    /// What a `shared` destination gets instead; None: the same.
    shared: Option<SharedForm>,
    pub(crate) destinations: Vec<DestinationTable>,
    /// Every tenant receives every row.
    for_everyone: bool,
    /// On so many rows `source.tenant` and the query's `tenant_id` were compared; they agree.
    pub(crate) tenant_rows_compared: i64,
    /// Columns that `schema_sql` lacks and Offtake would add.
    #[serde(skip)]
    pub(crate) columns_added: Vec<String>,
    /// File and line of the query.
    #[serde(skip)]
    place: String,
}

/// A mapping's table where tenants share it.
#[derive(Debug, Serialize)]
struct SharedForm {
    columns: Vec<Column>,
    ddl: String,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    key: bool,
    source_type: String,
    target_type: String,
}

/// A table whose changes refresh rows of the mapping.
#[derive(Debug, Serialize)]
struct WokenBy {
    table: String,
    #[serde(flatten)]
    rows: RefreshedRows,
    /// How the sequencer finds the rows; None for the mapping's own table.
    plan: Option<IndexUse>,
    /// The statement that creates the index for that search, where one is missing.
    index: Option<String>,
    /// File and line of the dependency.
    #[serde(skip)]
    place: String,
}

impl MappingReport {
    /// Asks the source about one mapping of the set.
    pub(crate) async fn of(
        source: &Client,
        set: &MappingSet,
        mapping: &ResolvedMapping,
    ) -> Result<Self, tokio_postgres::Error> {
        let definition = &mapping.definition;
        let table = SourceTable::read(source, &definition.source.table).await?;
        let woken_by = woken_by(source, set, mapping, &table).await?;
        let plan = plan_statements(source, mapping, &table).await?;
        Ok(Self {
            name: mapping.name().to_owned(),
            file: definition.file.display().to_string(),
            source_table: mapping.source_table(),
            target_table: definition.target.table.to_string(),
            columns: columns(mapping),
            woken_by,
            page_index: index_for_pages(mapping, &table).filter(|_| !plan.page.on_indexes()),
            key_index: index_for_keys(mapping, &table),
            plan,
            ddl: create_table(mapping),
            shared: None,
            destinations: Vec::new(),
            for_everyone: mapping.for_everyone(),
            tenant_rows_compared: 0,
            columns_added: Vec::new(),
            place: format!("{}:{}", definition.file.display(), definition.query_line),
        })
    }

    /// Also tells what `shared` destinations get, where it is not what the others get.
    pub(crate) fn add_shared(&mut self, form: &ResolvedMapping) {
        self.shared = Some(SharedForm { columns: columns(form), ddl: create_table(form) });
    }

    /// What the operator should mend. Every line begins with file and line.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let (place, name) = (&self.place, &self.name);
        let one_key = &self.plan.one_key;
        let whole = one_key.reads_all_of.iter().map(|table| {
            format!(
                "{place}: no index serves one key of {name}: \
                 the whole of {table} is read for each; index what the query joins on"
            )
        });
        let index = self.key_index.as_deref().unwrap_or_default();
        let tenants = one_key.reads_the_tenants_rows_of.iter().map(|table| {
            format!(
                "{place}: one key of {name} is found among all rows of its tenant in {table}; \
                 index the tenant's column with the key's: {index}"
            )
        });
        let added = self.columns_added.iter().map(|column| {
            format!(
                "{place}: the schema_sql of {name} has no column {column}, which the query gives; \
                 Offtake adds it to the table, so write it there or take it out of the query"
            )
        });
        let woken = self.woken_by.iter().filter_map(|woken| self.dependants_warning(woken));
        whole.chain(tenants).chain(added).chain(woken).collect()
    }

    /// The warning that no index finds the rows that a change of the table refreshes.
    fn dependants_warning(&self, woken: &WokenBy) -> Option<String> {
        let plan = woken.plan.as_ref().filter(|plan| !plan.on_indexes())?;
        let what = match (plan.reads_all_of.first(), plan.reads_the_tenants_rows_of.first()) {
            (Some(table), _) => format!("the whole of {table} is read"),
            (None, table) => format!(
                "all rows of its tenant in {} are read",
                table.unwrap_or(&self.source_table)
            ),
        };
        let remedy = woken.index.as_deref().unwrap_or("make an index that serves the condition");
        let (place, name, table) = (&woken.place, &self.name, &woken.table);
        Some(format!(
            "{place}: no index finds the rows of {name} that a change of {table} refreshes, \
             so {what} for each; {remedy}"
        ))
    }
}

/// The tables whose changes refresh rows of the mapping, its own table first.
async fn woken_by(
    source: &Client,
    set: &MappingSet,
    mapping: &ResolvedMapping,
    table: &SourceTable,
) -> Result<Vec<WokenBy>, tokio_postgres::Error> {
    let mut woken_by = vec![WokenBy {
        table: mapping.source_table(),
        rows: RefreshedRows::ONE,
        plan: None,
        index: None,
        place: String::new(),
    }];
    for capture in set.captures() {
        let wakings = set.wakings(&capture.table.to_string());
        for waking in wakings.iter().filter(|w| w.mapping.name() == mapping.name()) {
            let (plan, index) = plan_dependants(source, waking, table).await?;
            woken_by.push(WokenBy {
                table: capture.table.to_string(),
                rows: RefreshedRows::ask(source, waking).await?,
                index: index.filter(|_| !plan.on_indexes()),
                plan: Some(plan),
                place: place_of(mapping, waking),
            });
        }
    }
    Ok(woken_by)
}

/// File and line where the mapping declares the dependency.
fn place_of(mapping: &ResolvedMapping, waking: &Waking) -> String {
    let definition = &mapping.definition;
    let path = match &waking.lookup {
        Some(lookup) => lookup.path.lookup.path(lookup.step, &[]),
        None => Dependency::path(waking.number, &[]),
    };
    let line = definition.mistake(&path, "", "").line().unwrap_or(definition.query_line);
    format!("{}:{line}", definition.file.display())
}

fn columns(mapping: &ResolvedMapping) -> Vec<Column> {
    let key = mapping.target_key();
    let column = |c: &offtake_mapping::Column| Column {
        name: c.name.to_string(),
        key: key.contains(&c.name),
        source_type: c.source_type.clone(),
        target_type: c.target_type.clone(),
    };
    mapping.columns.iter().map(column).collect()
}

fn create_table(mapping: &ResolvedMapping) -> String {
    let composed = || {
        let schema = Identifier::new(defaults::SCHEMA_NAME).ok()?;
        Some(Apply::new(mapping, &schema, "").create_table())
    };
    let ddl = mapping.definition.target.schema_sql.clone().or_else(composed);
    ddl.unwrap_or_default().trim_end().to_owned()
}
