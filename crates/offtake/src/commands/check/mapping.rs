//! What `check --connect` says about one mapping.

use std::fmt;

use offtake_mapping::compose::postgres::Apply;
use offtake_mapping::{
    Condition, Dependency, Identifier, MappingSet, ResolvedMapping, Step, TableName, Waking,
};
use offtake_sync::destinations::{Copied, Place, Session, Standing, Trouble};
use serde::Serialize;
use tokio_postgres::Client;

use crate::explain::explain;
use crate::plan::{
    Plans, Verdict, index_for_dependants, index_for_pages, plan_of_dependants, plans,
};
use crate::sql;
use crate::unwatched::{complaint, unwatched};

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
    /// Tables that the query reads and that wake nothing.
    unwatched: Vec<String>,
    #[serde(skip)]
    complaints: Vec<String>,
    pub(super) plan: Plans,
    /// The statement that makes the index in whose order pages are read, where they are sorted
    /// instead.
    page_index: Option<String>,
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
    /// How it is now, and no unique index keeps it so.
    counted: bool,
    /// How the sequencer finds them; None for the mapping's own table.
    plan: Option<Verdict>,
    /// The statement that makes the index that would serve it.
    index: Option<String>,
    /// Where the file says so.
    #[serde(skip)]
    place: String,
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
    pub(super) async fn of(
        source: &Client,
        set: &MappingSet,
        mapping: &ResolvedMapping,
    ) -> Result<Self, tokio_postgres::Error> {
        let definition = &mapping.definition;
        let mut woken_by = vec![WokenBy::of(mapping.source_table(), Some(1), false)];
        for capture in set.captures() {
            for waking in set
                .wakings(&capture.table.to_string())
                .iter()
                .filter(|w| w.mapping.name() == mapping.name())
            {
                let plan = plan_of_dependants(source, waking).await?;
                let index = index_for_dependants(waking).filter(|_| !plan.on_indexes());
                let bound = bound(source, mapping, &capture.table, waking).await?;
                woken_by.push(WokenBy {
                    plan: Some(plan),
                    index,
                    place: place_of(mapping, waking),
                    ..bound
                });
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
        let plan = plans(source, mapping).await?;
        let unwatched = unwatched(source, definition).await?;
        let ddl = definition
            .target
            .schema_sql
            .clone()
            .or_else(|| schema.map(|s| Apply::new(mapping, &s, "").create_table()));
        Ok(Self {
            name: mapping.name().to_owned(),
            file: definition.file.display().to_string(),
            source_table: mapping.source_table(),
            target_table: definition.target.table.to_string(),
            columns: columns.collect(),
            woken_by,
            complaints: unwatched.iter().map(|table| complaint(definition, table)).collect(),
            unwatched: unwatched.iter().map(ToString::to_string).collect(),
            page_index: index_for_pages(mapping).filter(|_| !plan.page.on_indexes()),
            plan,
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
        let woken = self.woken_by.iter().filter_map(|woken| {
            let plan = woken.plan.as_ref().filter(|plan| !plan.on_indexes())?;
            let what = match plan.reads_all_of.first().or(plan.reads_the_tenants_rows_of.first()) {
                Some(table) if !plan.reads_all_of.is_empty() => format!("the whole of {table} is read"),
                table => format!("all rows of its tenant in {} are read", table.map_or(self.source_table.as_str(), String::as_str)),
            };
            let remedy = woken.index.clone().unwrap_or_else(|| "make an index that serves the condition".to_owned());
            let (place, table) = (&woken.place, &woken.table);
            Some(format!("{place}: no index finds the rows of {name} that a change of {table} refreshes, so {what} for each; {remedy}"))
        });
        self.complaints.iter().cloned().chain(whole).chain(tenants).chain(woken).collect()
    }
}

impl WokenBy {
    fn of(table: String, rows_at_most: Option<i64>, estimated: bool) -> Self {
        Self {
            table,
            rows_at_most,
            estimated,
            counted: false,
            plan: None,
            index: None,
            place: String::new(),
        }
    }
}

/// Where the mapping's file names the dependency.
fn place_of(mapping: &ResolvedMapping, waking: &Waking) -> String {
    let definition = &mapping.definition;
    let path = match definition
        .depends_on
        .iter()
        .position(|dependency| *dependency == waking.dependency)
    {
        Some(index) => Dependency::path(index, &[]),
        None => Step::keys(&["source", "tenant"]),
    };
    let line = definition.mistake(&path, "", "").line().unwrap_or(definition.query_line);
    format!("{}:{line}", definition.file.display())
}

/// The mapping's table in a destination, as it is now.
pub(super) async fn there(
    session: &Session,
    mapping: &ResolvedMapping,
    place: &Place,
) -> Result<(Table, Vec<String>), Trouble> {
    let Copied { standing, columns } = session.table_of(mapping).await?;
    match standing {
        Standing::Absent => return Ok((Table::Absent, Vec::new())),
        Standing::Foreign => {
            let why = format!(
                "{} was made by someone else; with rows in it, it stays untouched",
                place.table_name(mapping)
            );
            return Ok((Table::Foreign, vec![why]));
        }
        Standing::Ours => {}
    }
    let mut differences = Vec::new();
    for column in &mapping.columns {
        match columns.iter().find(|(name, _)| name == column.name.as_str()) {
            None => differences.push(format!("column {} would be added", column.name)),
            Some((_, sql_type))
                if *sql_type != column.target_type
                    && mapping.definition.target.schema_sql.is_none() =>
            {
                differences.push(format!(
                    "column {} is {sql_type} there, and the query gives {}",
                    column.name, column.target_type
                ));
            }
            Some(_) => {}
        }
    }
    for (name, _) in
        columns.iter().filter(|(name, _)| !mapping.columns.iter().any(|c| c.name.as_str() == name))
    {
        differences.push(format!("column {name} is not in the query and stays as it is"));
    }
    Ok((if differences.is_empty() { Table::Fits } else { Table::Differs }, differences))
}

/// How many rows one change of a table that the mapping depends on refreshes.
async fn bound(
    source: &Client,
    mapping: &ResolvedMapping,
    table: &TableName,
    waking: &Waking,
) -> Result<WokenBy, tokio_postgres::Error> {
    let woken = |rows_at_most, estimated| WokenBy::of(table.to_string(), rows_at_most, estimated);
    let from = mapping.definition.source.table.sql();
    let Condition::Match(pairs) = &waking.dependency.condition else {
        let Condition::Where(condition) = &waking.dependency.condition else {
            return Ok(woken(None, true));
        };
        let changed = format!("(select * from {} limit 1)", table.sql());
        let plan = explain(
            source,
            "",
            &format!("select from {from} source, {changed} changed where (\n{condition}\n)"),
            "",
        )
        .await?;
        return Ok(woken(plan[0]["Plan"]["Plan Rows"].as_i64(), true));
    };
    let columns: Vec<&str> = pairs.iter().map(|(ours, _)| ours.as_str()).collect();
    let row = source.query_one(sql::BOUND_WOKEN_ROWS, &[&from, &columns]).await?;
    if row.get("unique_key") {
        return Ok(woken(Some(1), false));
    }
    if row.get::<_, f64>("rows") > COUNTED_ROWS_MAX {
        #[allow(clippy::cast_possible_truncation)] // A number of rows.
        return Ok(woken(
            row.get::<_, Option<f64>>("often").map(|often| often.ceil() as i64),
            true,
        ));
    }
    let grouped: Vec<String> = pairs.iter().map(|(ours, _)| ours.sql()).collect();
    let present: Vec<String> =
        grouped.iter().map(|column| format!("{column} is not null")).collect();
    let count = format!(
        "select coalesce(max(n), 0) from (select count(*) as n from {from} where {} group by {}) counts",
        present.join(" and "),
        grouped.join(", ")
    );
    let most = source.query_one(&count, &[]).await?.get(0);
    Ok(WokenBy { counted: true, ..woken(Some(most), false) })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "mapping {} ({}): {} -> {}",
            self.name, self.file, self.source_table, self.target_table
        )?;
        let widths = |text: fn(&Column) -> &str| {
            self.columns.iter().map(|c| text(c).chars().count()).max().unwrap_or(0)
        };
        let (name, here) = (widths(|c| &c.name).max(6), widths(|c| &c.source_type).max(4));
        writeln!(f, "  {:name$}  {:here$}  there", "column", "here")?;
        for column in &self.columns {
            let key = if column.key { "  (key)" } else { "" };
            writeln!(
                f,
                "  {:name$}  {:here$}  {}{key}",
                column.name, column.source_type, column.target_type
            )?;
        }
        writeln!(f, "  woken by")?;
        for woken in &self.woken_by {
            let rows = match (woken.rows_at_most, woken.estimated) {
                (None, _) => "an unknown number of rows; analyze the table".to_owned(),
                (Some(1), false) if !woken.counted => "1 row".to_owned(),
                (Some(rows), true) => format!("about {rows} rows by the planner's estimate"),
                (Some(rows), false) => format!("at most {rows} row(s), as the table is now"),
            };
            let scan = match woken.plan.as_ref().is_some_and(|plan| !plan.on_indexes()) {
                true => ", found by a scan that grows with the table, see the warnings",
                false => "",
            };
            writeln!(f, "    {}: one change refreshes {rows}{scan}", woken.table)?;
        }
        writeln!(f, "  plan")?;
        let one_key = match self.plan.one_key.on_indexes() {
            true => "on indexes",
            false => "a scan that grows with the table, see the warnings",
        };
        writeln!(f, "    one key: {one_key}")?;
        let page = &self.plan.page;
        let index = self
            .page_index
            .as_ref()
            .map(|index| format!("; this spares that: {index}"))
            .unwrap_or_default();
        let own = self.source_table.rsplit('.').next().unwrap_or_default();
        let page = match (
            page.reads_all_of.iter().find(|table| *table != own),
            page.reads_all_of.is_empty(),
            page.sorts,
        ) {
            (Some(table), ..) => format!("reads the whole of {table} for each page of a copy"),
            (None, false, _) => format!("looks through the rows of all tenants in {own}{index}"),
            (None, true, true) => format!("sorts the tenant's rows for each page of a copy{index}"),
            (None, true, false) => "on indexes".to_owned(),
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
        write!(
            f,
            "  {} destination(s) have it, {} would get it",
            count(Table::Fits) + count(Table::Differs),
            count(Table::Absent)
        )
    }
}
