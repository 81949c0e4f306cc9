//! The source's tables, as far as mappings name them.

use std::collections::BTreeMap;

use offtake_mapping::{Condition, Identifier, Mapping, TableName, Tenant};
use tokio_postgres::{Client, Error};

use super::problem::Problem;
use super::sql;

/// What the catalog says about one table.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// `pg_class.relkind`; None: there is no such relation.
    kind: Option<String>,
    temporary: bool,
    /// Name and type, in the table's order.
    columns: Vec<(String, String)>,
    primary_key: Vec<String>,
}

impl Table {
    pub(super) fn column_type(&self, column: &Identifier) -> Option<&str> {
        self.columns.iter().find(|(name, _)| name == column.as_str()).map(|(_, sql_type)| sql_type.as_str())
    }
}

/// The tables that a set of mappings names.
#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<TableName, Table>);

impl Tables {
    /// Reads what the mappings name. The search path must be `pg_catalog`.
    pub(super) async fn read(client: &Client, mappings: &[Mapping]) -> Result<Self, Error> {
        let mut tables = BTreeMap::new();
        for mapping in mappings {
            for name in named_tables(mapping) {
                tables.entry(name.clone()).or_insert_with(Table::default);
            }
        }
        let names: Vec<TableName> = tables.keys().cloned().collect();
        let schemas: Vec<&str> = names.iter().map(|n| n.schema.as_str()).collect();
        let relations: Vec<&str> = names.iter().map(|n| n.name.as_str()).collect();
        let mut key_positions: BTreeMap<TableName, Vec<(i32, String)>> = BTreeMap::new();
        for row in client.query(sql::READ_TABLES, &[&schemas, &relations]).await? {
            let position: i32 = row.get("position");
            let Some(name) = usize::try_from(position - 1).ok().and_then(|at| names.get(at)) else { continue };
            let table = tables.entry(name.clone()).or_default();
            table.kind = row.get("kind");
            table.temporary = row.get::<_, Option<&str>>("persistence") == Some("t");
            if let Some(column) = row.get::<_, Option<String>>("column_name") {
                if let Some(at) = row.get::<_, Option<i32>>("key_position") {
                    key_positions.entry(name.clone()).or_default().push((at, column.clone()));
                }
                table.columns.push((column, row.get("column_type")));
            }
        }
        for (name, mut columns) in key_positions {
            columns.sort();
            tables.entry(name).or_default().primary_key = columns.into_iter().map(|(_, column)| column).collect();
        }
        Ok(Self(tables))
    }

    /// The type of a table's column, as `format_type` prints it; empty for what was not found.
    pub(super) fn column_type(&self, table: &TableName, column: &Identifier) -> String {
        self.0.get(table).and_then(|t| t.column_type(column)).unwrap_or_default().to_owned()
    }

    /// Everything that `mapping` says about tables and that is not so.
    pub(super) fn check(&self, mapping: &Mapping) -> Vec<Problem> {
        let mut problems: Vec<Problem> = named_tables(mapping).into_iter().filter_map(|name| self.check_table(mapping, name)).collect();
        for (table, column) in named_columns(mapping) {
            let Some(found) = self.0.get(&table).filter(|t| t.kind.is_some()) else { continue };
            if found.column_type(&column).is_none() {
                let names: Vec<&str> = found.columns.iter().map(|(name, _)| name.as_str()).collect();
                problems.push(Problem::of(
                    mapping,
                    format!("table {table} has no column `{column}`"),
                    format!("it has: {}", names.join(", ")),
                ));
            }
        }
        problems.dedup();
        problems
    }

    fn check_table(&self, mapping: &Mapping, name: &TableName) -> Option<Problem> {
        let table = self.0.get(name)?;
        // Capturing our own tables would be a change for every change, for ever; the catalogs take no triggers.
        if ["offtake", "pg_catalog", "information_schema"].contains(&name.schema.as_str()) {
            let message = format!("{name} is not a table of the application");
            return Some(Problem::of(mapping, message, "name the application's own tables in `table`"));
        }
        let what = match table.kind.as_deref() {
            None => {
                let remedy = "write it as schema.table, in double quotes where the name has capitals";
                return Some(Problem::of(mapping, format!("the source has no table {name}"), remedy));
            }
            Some("r" | "p") if table.temporary => "a temporary table",
            Some("r" | "p") => return None,
            Some("v") => "a view",
            Some("m") => "a materialized view",
            Some("f") => "a foreign table",
            Some(_) => "not a table",
        };
        let remedy =
            "changes are captured by triggers on ordinary and partitioned tables: name the tables behind it, and use it in the query only";
        Some(Problem::of(mapping, format!("{name} is {what}"), remedy))
    }

    /// The (query column, source column) pairs of the mapping's key: as given, or the primary key's columns less the
    /// tenant's, since within one tenant's destination that one is constant.
    pub(super) fn key(&self, mapping: &Mapping) -> Result<Vec<(Identifier, Identifier)>, Problem> {
        if let Some(key) = &mapping.source.key {
            return Ok(key.clone());
        }
        let name = &mapping.source.table;
        let primary_key = self.0.get(name).map(|t| t.primary_key.as_slice()).unwrap_or_default();
        let mut columns: Vec<Identifier> = primary_key.iter().filter_map(|c| Identifier::new(c.clone()).ok()).collect();
        if let (Tenant::Column(tenant), true) = (&mapping.source.tenant, columns.len() > 1) {
            columns.retain(|c| c != tenant);
        }
        if columns.is_empty() {
            return Err(Problem::of(
                mapping,
                format!("table {name} has no primary key, so its rows cannot be told apart"),
                "give the key in `source.key`: { query column: source column }, of columns that are unique and not null",
            ));
        }
        Ok(columns.into_iter().map(|c| (c.clone(), c)).collect())
    }
}

fn named_tables(mapping: &Mapping) -> Vec<&TableName> {
    let mut names = vec![&mapping.source.table];
    if let Tenant::Lookup(lookup) = &mapping.source.tenant {
        names.push(&lookup.table);
    }
    names.extend(mapping.depends_on.iter().map(|d| &d.table));
    names
}

fn named_columns(mapping: &Mapping) -> Vec<(TableName, Identifier)> {
    let source = &mapping.source;
    let mut columns: Vec<(TableName, Identifier)> = Vec::new();
    match &source.tenant {
        Tenant::Column(column) => columns.push((source.table.clone(), column.clone())),
        Tenant::Expression(_) => {}
        Tenant::Lookup(lookup) => {
            columns.push((lookup.table.clone(), lookup.column.clone()));
            for (looked_up, row) in &lookup.matches {
                columns.push((lookup.table.clone(), looked_up.clone()));
                columns.push((source.table.clone(), row.clone()));
            }
        }
    }
    columns.extend(source.key.iter().flatten().map(|(_, column)| (source.table.clone(), column.clone())));
    for dependency in &mapping.depends_on {
        if let Condition::Match(pairs) = &dependency.condition {
            columns.extend(pairs.iter().map(|(column, _)| (source.table.clone(), column.clone())));
        }
        columns.extend(dependency.condition.changed_columns().into_iter().map(|column| (dependency.table.clone(), column)));
    }
    columns
}
