//! The source's tables, as far as mappings name them.

use std::collections::BTreeMap;

use offtake_mapping::{
    Condition, Dependency, Identifier, Mapping, Step, TableName, Tenant, nearest, suggestion,
};
use tokio_postgres::{Client, Error};

use super::fitness::{self, Unfit};
use super::problem::Problem;
use super::sql;

/// What the catalog says about one table.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// `pg_class.relkind`; None: there is no such relation.
    kind: Option<String>,
    temporary: bool,
    may_enter: bool,
    may_read: bool,
    /// In the table's order.
    columns: Vec<TableColumn>,
    primary_key: Vec<String>,
    /// Why triggers cannot keep a copy of it exact.
    unfit: Vec<Unfit>,
}

#[derive(Debug)]
struct TableColumn {
    name: String,
    /// As `format_type` prints it.
    sql_type: String,
    /// The same without modifier, of a domain's base.
    base_type: String,
}

impl Table {
    fn column(&self, column: &Identifier) -> Option<&TableColumn> {
        self.columns.iter().find(|c| c.name == column.as_str())
    }

    fn column_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.columns.iter().map(|c| c.name.as_str())
    }
}

/// The tables that a set of mappings names.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: BTreeMap<TableName, Table>,
    /// What else there is; only read when a table is not there.
    others: Vec<String>,
    role: String,
    read_once: bool,
}

impl Tables {
    /// Reads what the mappings name. The search path must be `pg_catalog`.
    pub(super) async fn read(client: &Client, mappings: &[Mapping]) -> Result<Self, Error> {
        let mut tables = BTreeMap::new();
        for mapping in mappings {
            for name in mapping.tables() {
                tables.entry(name.clone()).or_insert_with(Table::default);
            }
        }
        let names: Vec<TableName> = tables.keys().cloned().collect();
        let schemas: Vec<&str> = names.iter().map(|n| n.schema.as_str()).collect();
        let relations: Vec<&str> = names.iter().map(|n| n.name.as_str()).collect();
        let mut key_positions: BTreeMap<TableName, Vec<(i32, String)>> = BTreeMap::new();
        for row in client.query(sql::READ_TABLES, &[&schemas, &relations]).await? {
            let position: i32 = row.get("position");
            let Some(name) = usize::try_from(position - 1).ok().and_then(|at| names.get(at)) else {
                continue;
            };
            let table = tables.entry(name.clone()).or_default();
            table.kind = row.get("kind");
            table.temporary = row.get::<_, Option<&str>>("persistence") == Some("t");
            table.may_enter = row.get::<_, Option<bool>>("may_enter") == Some(true);
            table.may_read = row.get::<_, Option<bool>>("may_read") == Some(true);
            if let Some(column) = row.get::<_, Option<String>>("column_name") {
                if let Some(at) = row.get::<_, Option<i32>>("key_position") {
                    key_positions.entry(name.clone()).or_default().push((at, column.clone()));
                }
                table.columns.push(TableColumn {
                    name: column,
                    sql_type: row.get("column_type"),
                    base_type: row.get("base_type"),
                });
            }
        }
        for (name, mut columns) in key_positions {
            columns.sort();
            tables.entry(name).or_default().primary_key =
                columns.into_iter().map(|(_, column)| column).collect();
        }
        for (name, unfit) in fitness::read(client, &names).await? {
            tables.entry(name).or_default().unfit = unfit;
        }
        let role = client.query_one("select quote_ident(current_user)", &[]).await?.get(0);
        let mut others = Vec::new();
        if tables.values().any(|table| table.kind.is_none()) {
            others =
                client.query(sql::LIST_TABLES, &[]).await?.iter().map(|row| row.get(0)).collect();
        }
        Ok(Self { tables, others, role, read_once: false })
    }

    /// The rows are read once: whether triggers could record their changes does not matter.
    pub(super) fn need_no_triggers(&mut self) {
        self.read_once = true;
        self.tables.values_mut().for_each(|table| table.unfit.clear());
    }

    /// Whether rows are read once, and no change of them is captured.
    pub(super) fn read_once(&self) -> bool {
        self.read_once
    }

    /// The role that the daemon is, as SQL writes it.
    pub(super) fn role(&self) -> &str {
        &self.role
    }

    /// The type of a table's column, as `format_type` prints it; empty for what was not found.
    pub(super) fn column_type(&self, table: &TableName, column: &Identifier) -> String {
        let found = self.tables.get(table).and_then(|t| t.column(column));
        found.map(|c| c.sql_type.clone()).unwrap_or_default()
    }

    /// The same without modifier, and of a domain the type that it is over.
    pub(super) fn base_type(&self, table: &TableName, column: &Identifier) -> String {
        let found = self.tables.get(table).and_then(|t| t.column(column));
        found.map(|c| c.base_type.clone()).unwrap_or_default()
    }

    /// Everything that `mapping` says about tables and that is not so.
    pub(super) fn check(&self, mapping: &Mapping) -> Vec<Problem> {
        let tables = mapping.named_tables();
        let mut problems: Vec<Problem> =
            tables.iter().flat_map(|(path, name)| self.check_table(mapping, path, name)).collect();
        for Named { path, of_key, within, table, column } in named_columns(mapping) {
            let Some(found) = self.tables.get(&table).filter(|t| t.kind.is_some()) else {
                continue;
            };
            if found.column(&column).is_none() {
                let message = format!("table {table} has no column `{column}`");
                let remedy = column_remedy(&column, found.column_names(), within.is_some());
                problems.push(match within {
                    Some((text, at)) => Problem::within(mapping, &path, &text, at, message, remedy),
                    None if of_key => Problem::of_key(mapping, &path, message, remedy),
                    None => Problem::at(mapping, &path, message, remedy),
                });
            }
        }
        if problems.is_empty() {
            problems.extend(self.check_dependencies(mapping));
        }
        problems.dedup();
        problems
    }

    fn check_table(&self, mapping: &Mapping, path: &[Step], name: &TableName) -> Vec<Problem> {
        let Some(table) = self.tables.get(name) else { return Vec::new() };
        match self.check_kind(mapping, path, name, table) {
            Some(problem) => vec![problem],
            None => table
                .unfit
                .iter()
                .map(|unfit| Problem::at(mapping, path, &unfit.message, &unfit.remedy))
                .collect(),
        }
    }

    fn check_kind(
        &self,
        mapping: &Mapping,
        path: &[Step],
        name: &TableName,
        table: &Table,
    ) -> Option<Problem> {
        // Capturing our own tables would be a change for every change, for ever; the catalogs take
        // no triggers.
        // Postgres keeps names that begin with pg_ for itself.
        let schema = name.schema.as_str();
        if ["offtake", "information_schema"].contains(&schema) || schema.starts_with("pg_") {
            let message = format!("{name} is not a table of the application");
            return Some(Problem::at(
                mapping,
                path,
                message,
                "name the application's own tables in `table`",
            ));
        }
        let what = match table.kind.as_deref() {
            None => {
                let remedy = self.table_remedy(name);
                return Some(Problem::at(
                    mapping,
                    path,
                    format!("the source has no table {name}"),
                    remedy,
                ));
            }
            Some("r" | "p") if table.temporary => "a temporary table",
            Some("r" | "p") => return self.check_rights(mapping, path, name, table),
            Some("v") => "a view",
            Some("m") => "a materialized view",
            Some("f") => "a foreign table",
            Some(_) => "not a table",
        };
        let instead = match what {
            "a view" => "name the tables behind it, and use it in the query only",
            "a materialized view" => "name the tables behind it, also in the query",
            _ => "keep the rows in one, and name that",
        };
        let remedy = format!(
            "changes are captured by triggers on ordinary and partitioned tables: {instead}"
        );
        Some(Problem::at(mapping, path, format!("{name} is {what}"), remedy))
    }

    /// What a table that is not there may have been meant to be.
    fn table_remedy(&self, name: &TableName) -> String {
        let others = self.others.iter().map(String::as_str);
        let table = |other: &str| {
            let (schema, name) = other.split_once('.')?;
            let schema = Identifier::new(schema).ok()?;
            Some(TableName { schema, name: Identifier::new(name).ok()? })
        };
        let folded = others.clone().find(|other| other.to_lowercase() == name.to_string());
        match (folded.and_then(table), nearest(&name.to_string(), others).and_then(table)) {
            (Some(folded), _) => format!("write it in double quotes: {}", folded.in_yaml()),
            (None, Some(near)) => format!("did you mean {}?", near.in_yaml()),
            (None, None) => {
                "write it as schema.table, in double quotes where the name has capitals".to_owned()
            }
        }
    }

    /// The column of the mapping's tables that has this name once capitals are folded.
    pub(super) fn folded_column(&self, mapping: &Mapping, name: &str) -> Option<Identifier> {
        let tables = mapping.tables().filter_map(|table| self.tables.get(table));
        let names = tables.flat_map(Table::column_names).collect::<Vec<_>>();
        folded(name, names)
    }

    fn check_rights(
        &self,
        mapping: &Mapping,
        path: &[Step],
        name: &TableName,
        table: &Table,
    ) -> Option<Problem> {
        let mut grants = Vec::new();
        if !table.may_enter {
            grants.push(format!("grant usage on schema {} to {};", name.schema.sql(), self.role));
        }
        if !table.may_read {
            grants.push(format!("grant select on {} to {};", name.sql(), self.role));
        }
        let message = format!("the role {} may not read {name}", self.role);
        (!grants.is_empty()).then(|| {
            Problem::at(mapping, path, message, format!("run as its owner: {}", grants.join(" ")))
        })
    }

    /// A change of a row refreshes that row anyway. Dependencies are not followed further than one
    /// step, so this is the only way in which one can lead back to where it began.
    fn check_dependencies(&self, mapping: &Mapping) -> Vec<Problem> {
        let source = &mapping.source;
        let Ok(key) = self.key(mapping) else { return Vec::new() };
        let mut problems = Vec::new();
        for (index, dependency) in mapping.depends_on.iter().enumerate() {
            let Condition::Match(pairs) = &dependency.condition else { continue };
            let same = dependency.table == source.table
                && pairs.iter().all(|(ours, theirs)| ours == theirs);
            if same && key.iter().all(|(_, column)| pairs.iter().any(|(ours, _)| ours == column)) {
                problems.push(Problem::at(
                    mapping,
                    &Dependency::path(index, &["table"]),
                    format!("the dependency on {} leads back to the row that changed, which is looked at anyway", dependency.table),
                    "remove it, or match the rows of this table that depend on the changed one",
                ));
            }
        }
        problems
    }

    /// The (query column, source column) pairs of the mapping's key: as given, or the primary key's
    /// columns less the tenant's, since within one tenant's destination that one is constant.
    pub(super) fn key(
        &self,
        mapping: &Mapping,
    ) -> Result<Vec<(Identifier, Identifier)>, Box<Problem>> {
        if let Some(key) = &mapping.source.key {
            return Ok(key.clone());
        }
        let name = &mapping.source.table;
        let primary_key =
            self.tables.get(name).map(|t| t.primary_key.as_slice()).unwrap_or_default();
        let mut columns: Vec<Identifier> =
            primary_key.iter().filter_map(|c| Identifier::new(c.clone()).ok()).collect();
        if let (Tenant::Column(tenant), true) = (&mapping.source.tenant, columns.len() > 1) {
            columns.retain(|c| c != tenant);
        }
        if columns.is_empty() {
            return Err(Box::new(Problem::at(
                mapping,
                &Step::keys(&["source", "table"]),
                format!("table {name} has no primary key, so its rows cannot be told apart"),
                "give the key in `source.key`: { query column: source column }, of columns that are unique and not null",
            )));
        }
        Ok(columns.into_iter().map(|c| (c.clone(), c)).collect())
    }
}

/// A column that a mapping names.
struct Named {
    path: Vec<Step>,
    /// The key at `path` names it, and not the value.
    of_key: bool,
    /// The SQL text at `path` that names it, and where in there.
    within: Option<(String, usize)>,
    table: TableName,
    column: Identifier,
}

fn named_columns(mapping: &Mapping) -> Vec<Named> {
    let source = &mapping.source;
    let mut columns: Vec<Named> = Vec::new();
    let mut add = |of_key: bool,
                   path: Vec<Step>,
                   within: Option<(String, usize)>,
                   table: &TableName,
                   column: &Identifier| {
        let (table, column) = (table.clone(), column.clone());
        columns.push(Named { path, of_key, within, table, column });
    };
    match &source.tenant {
        Tenant::Column(column) => {
            add(false, Step::keys(&["source", "tenant"]), None, &source.table, column)
        }
        Tenant::Expression(_) | Tenant::Everyone => {}
        Tenant::Lookup(lookup) => {
            let path = lookup.path(lookup.steps.len() - 1, &["column"]);
            add(false, path, None, &lookup.last().table, &lookup.column);
            let mut before = &source.table;
            for (at, step) in lookup.steps.iter().enumerate() {
                for (theirs, ours) in &step.matches {
                    let path = lookup.path(at, &["match", theirs.as_str()]);
                    add(true, path.clone(), None, &step.table, theirs);
                    add(false, path, None, before, ours);
                }
                before = &step.table;
            }
        }
    }
    for (query_column, column) in source.key.iter().flatten() {
        add(
            false,
            Step::keys(&["source", "key", query_column.as_str()]),
            None,
            &source.table,
            column,
        );
    }
    for (index, dependency) in mapping.depends_on.iter().enumerate() {
        match &dependency.condition {
            Condition::Match(pairs) => {
                for (ours, theirs) in pairs {
                    let path = Dependency::path(index, &["match", ours.as_str()]);
                    add(true, path.clone(), None, &source.table, ours);
                    add(false, path, None, &dependency.table, theirs);
                }
            }
            Condition::Where(sql) => {
                for (column, at) in dependency.condition.changed_mentions() {
                    add(
                        false,
                        Dependency::path(index, &["where"]),
                        Some((sql.clone(), at)),
                        &dependency.table,
                        &column,
                    );
                }
            }
        }
    }
    columns
}

/// A column of `columns` that someone who wrote `name` may have meant.
pub(super) fn meant<'a>(name: &str, columns: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, columns).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default()
}

/// What a column that is not there may have been meant to be.
fn column_remedy<'a>(
    name: &Identifier,
    columns: impl IntoIterator<Item = &'a str> + Clone,
    in_sql: bool,
) -> String {
    let written = |name: &Identifier| if in_sql { name.in_sql() } else { name.in_yaml() };
    if let Some(folded) = folded(name.as_str(), columns.clone()) {
        return format!("write it in double quotes: {}", written(&folded));
    }
    let near = nearest(name.as_str(), columns.clone()).and_then(|near| Identifier::new(near).ok());
    match near {
        Some(near) => format!("did you mean `{}`?", written(&near)),
        None => suggestion(name.as_str(), "columns", columns),
    }
}

/// The name that `name` stands for without quotes only if capitals counted.
pub(super) fn folded<'a>(
    name: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<Identifier> {
    let same = |other: &&str| *other != name && other.to_lowercase() == name.to_lowercase();
    names.into_iter().find(same).and_then(|name| Identifier::new(name).ok())
}
