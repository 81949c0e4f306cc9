//! What `check --connect` says about one mapping.

use std::fmt;

use offtake_mapping::compose::Apply;
use offtake_mapping::{Condition, Identifier, MappingSet, ResolvedMapping, TableName, Waking};
use serde::Serialize;
use tokio_postgres::Client;

use crate::plan::{Plans, plans};
use crate::sql;

/// A table of fewer rows is counted: that takes well below a second.
const COUNTED_ROWS_MAX: f64 = 1_000_000.0;

/// One mapping as it would run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) name: String,
    file: String,
    source_table: String,
    target_table: String,
    columns: Vec<Column>,
    woken_by: Vec<WokenBy>,
    pub(super) plan: Plans,
    /// What a destination without the table gets.
    ddl: String,
    pub(super) destinations: Vec<There>,
    #[serde(skip)]
    pub(super) place: String,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    key: bool,
    source_type: String,
    target_type: String,
}

#[derive(Debug, Serialize)]
struct WokenBy {
    table: String,
    /// Of the mapping's source table, for one changed row; None: nobody knows yet.
    rows_at_most: Option<i64>,
    /// The planner's estimate rather than a count.
    estimated: bool,
}

/// The mapping's table in one destination.
#[derive(Debug, Clone, Serialize)]
pub(super) struct There {
    pub(super) tenant: String,
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) differences: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Table {
    /// It would be created.
    Absent,
    Fits,
    /// Offtake's own, with other columns.
    Differs,
    /// Someone else's.
    Foreign,
}

impl Report {
    pub(super) async fn of(source: &Client, set: &MappingSet, mapping: &ResolvedMapping) -> Result<Self, tokio_postgres::Error> {
        let definition = &mapping.definition;
        let mut woken_by = vec![WokenBy { table: mapping.source_table(), rows_at_most: Some(1), estimated: false }];
        for capture in set.captures() {
            for waking in set.wakings(&capture.table.to_string()).iter().filter(|w| w.mapping.name() == mapping.name()) {
                woken_by.push(bound(source, mapping, &capture.table, waking).await?);
            }
        }
        let key = mapping.target_key();
        let columns = mapping.columns.iter().map(|c| Column {
            name: c.name.to_string(),
            key: key.contains(&c.name),
            source_type: c.source_type.clone(),
            target_type: c.target_type.clone(),
        });
        let schema = Identifier::new(crate::configuration::defaults::SCHEMA_NAME).ok();
        let ddl = definition.target.schema_sql.clone().or_else(|| schema.map(|s| Apply::new(mapping, &s, "").create_table()));
        Ok(Self {
            name: mapping.name().to_owned(),
            file: definition.file.display().to_string(),
            source_table: mapping.source_table(),
            target_table: definition.target.table.to_string(),
            columns: columns.collect(),
            woken_by,
            plan: plans(source, mapping).await?,
            ddl: ddl.unwrap_or_default().trim_end().to_owned(),
            destinations: Vec::new(),
            place: format!("{}:{}", definition.file.display(), definition.query_line),
        })
    }

    /// What someone should mend; every line begins with the place.
    pub(super) fn warnings(&self) -> Vec<String> {
        let (place, name) = (&self.place, &self.name);
        let one_key = &self.plan.one_key;
        let whole = one_key.reads_all_of.iter().map(|table| {
            format!("{place}: no index serves one key of {name}: the whole of {table} is read for each; index what the query joins on")
        });
        let tenants = one_key.reads_the_tenants_rows_of.iter().map(|table| {
            format!("{place}: one key of {name} is found among all rows of its tenant in {table}; index the tenant's column with the key's")
        });
        whole.chain(tenants).collect()
    }
}

/// The mapping's table in a destination, as it is now.
pub(super) async fn there(
    client: &Client,
    mapping: &ResolvedMapping,
    schema: &Identifier,
) -> Result<(Table, Vec<String>), tokio_postgres::Error> {
    let apply = Apply::new(mapping, schema, "");
    let rows = client.query(sql::DESCRIBE_COPY, &[&apply.table()]).await?;
    let Some(row) = rows.first() else { return Ok((Table::Absent, Vec::new())) };
    if row.get::<_, Option<&str>>("mark") != Some(&format!("offtake:{}", mapping.name())) {
        let why = format!("{} was made by someone else; with rows in it, it stays untouched", apply.table());
        return Ok((Table::Foreign, vec![why]));
    }
    let columns: Vec<(String, String)> = row.get::<_, Vec<String>>("columns").into_iter().zip(row.get::<_, Vec<String>>("types")).collect();
    let mut differences = Vec::new();
    for column in &mapping.columns {
        match columns.iter().find(|(name, _)| name == column.name.as_str()) {
            None => differences.push(format!("column {} would be added", column.name)),
            Some((_, sql_type)) if *sql_type != column.target_type && mapping.definition.target.schema_sql.is_none() => {
                differences.push(format!("column {} is {sql_type} there, and the query gives {}", column.name, column.target_type));
            }
            Some(_) => {}
        }
    }
    for (name, _) in columns.iter().filter(|(name, _)| !mapping.columns.iter().any(|c| c.name.as_str() == name)) {
        differences.push(format!("column {name} is not in the query and stays as it is"));
    }
    Ok((if differences.is_empty() { Table::Fits } else { Table::Differs }, differences))
}

/// How many rows one change of a table that the mapping depends on refreshes.
async fn bound(source: &Client, mapping: &ResolvedMapping, table: &TableName, waking: &Waking) -> Result<WokenBy, tokio_postgres::Error> {
    let woken = |rows_at_most, estimated| WokenBy { table: table.to_string(), rows_at_most, estimated };
    let from = mapping.definition.source.table.sql();
    let Condition::Match(pairs) = &waking.dependency.condition else {
        let Condition::Where(condition) = &waking.dependency.condition else { return Ok(woken(None, true)) };
        let changed = format!("(select * from {} limit 1)", table.sql());
        let query = format!("explain (format json) select from {from} source, {changed} changed where (\n{condition}\n)");
        let plan: serde_json::Value = source.query_one(&query, &[]).await?.get(0);
        return Ok(woken(plan[0]["Plan"]["Plan Rows"].as_i64(), true));
    };
    let columns: Vec<&str> = pairs.iter().map(|(ours, _)| ours.as_str()).collect();
    let row = source.query_one(sql::BOUND_WOKEN_ROWS, &[&from, &columns]).await?;
    if row.get("unique_key") {
        return Ok(woken(Some(1), false));
    }
    if row.get::<_, f64>("rows") > COUNTED_ROWS_MAX {
        #[allow(clippy::cast_possible_truncation)] // A number of rows.
        return Ok(woken(row.get::<_, Option<f64>>("often").map(|often| often.ceil() as i64), true));
    }
    let grouped: Vec<String> = pairs.iter().map(|(ours, _)| ours.sql()).collect();
    let present: Vec<String> = grouped.iter().map(|column| format!("{column} is not null")).collect();
    let count = format!(
        "select coalesce(max(n), 0) from (select count(*) as n from {from} where {} group by {}) counts",
        present.join(" and "),
        grouped.join(", ")
    );
    Ok(woken(Some(source.query_one(&count, &[]).await?.get(0)), false))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mapping {} ({}): {} -> {}", self.name, self.file, self.source_table, self.target_table)?;
        let widths = |text: fn(&Column) -> &str| self.columns.iter().map(|c| text(c).chars().count()).max().unwrap_or(0);
        let (name, here) = (widths(|c| &c.name).max(6), widths(|c| &c.source_type).max(4));
        writeln!(f, "  {:name$}  {:here$}  there", "column", "here")?;
        for column in &self.columns {
            let key = if column.key { "  (key)" } else { "" };
            writeln!(f, "  {:name$}  {:here$}  {}{key}", column.name, column.source_type, column.target_type)?;
        }
        writeln!(f, "  woken by")?;
        for woken in &self.woken_by {
            let rows = match (woken.rows_at_most, woken.estimated) {
                (None, _) => "an unknown number of rows; analyze the table".to_owned(),
                (Some(1), false) => "1 row".to_owned(),
                (Some(rows), true) => format!("about {rows} rows by the planner's estimate"),
                (Some(rows), false) => format!("at most {rows} rows, as the table is now"),
            };
            writeln!(f, "    {}: one change refreshes {rows}", woken.table)?;
        }
        writeln!(f, "  plan")?;
        let one_key = match self.plan.one_key.on_indexes() {
            true => "on indexes",
            false => "a scan that grows with the table, see the warnings",
        };
        writeln!(f, "    one key: {one_key}")?;
        let page = match (&self.plan.page.reads_all_of, self.plan.page.sorts) {
            (tables, _) if !tables.is_empty() => format!("reads the whole of {} for each page of a copy", tables.join(", ")),
            (_, true) => "sorts the tenant's rows for each page of a copy; an index on the tenant and the key spares that".to_owned(),
            _ => "on indexes".to_owned(),
        };
        writeln!(f, "    one page: {page}")?;
        writeln!(f, "  a destination without it gets")?;
        for line in self.ddl.lines() {
            writeln!(f, "    {line}")?;
        }
        for there in self.destinations.iter().filter(|t| !t.differences.is_empty()) {
            writeln!(f, "  in {}/{}: {}", there.tenant, there.name, there.differences.join("; "))?;
        }
        let count = |table: Table| self.destinations.iter().filter(|t| t.table == table).count();
        write!(f, "  {} destination(s) have it, {} would get it", count(Table::Fits) + count(Table::Differs), count(Table::Absent))
    }
}
