//! Whether the plan of one statement uses indexes, read from what EXPLAIN says.

use std::collections::HashMap;

use offtake_mapping::{Identifier, ResolvedMapping, TableName, Tenant, scan};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Client;

use crate::sql;

/// A table, as plans name its parts.
#[derive(Debug, Default)]
pub(super) struct SourceTable {
    /// It is partitioned: an index is made on the parent, and not concurrently.
    pub(super) partitioned: bool,
    /// The table, and its partitions or children.
    relations: Vec<Relation>,
    /// The columns of each of their indexes, in order; None for an expression.
    indexes: HashMap<String, Vec<Option<String>>>,
}

#[derive(Debug)]
struct Relation {
    /// As plans name it.
    table: String,
    /// As SQL names it.
    name: String,
    /// It has no page, so that a plan may read it as a whole.
    empty: bool,
    indexes: Vec<String>,
}

impl SourceTable {
    pub(super) async fn read(
        source: &Client,
        table: &TableName,
    ) -> Result<Self, tokio_postgres::Error> {
        let mut found = Self::default();
        for row in source.query(sql::LIST_INDEXES, &[&table.sql()]).await? {
            found.partitioned = row.get("partitioned");
            let (table, name, empty) = (row.get("relation"), row.get("name"), row.get("empty"));
            if found.relations.last().is_none_or(|last| last.name != name) {
                found.relations.push(Relation { table, name, empty, indexes: Vec::new() });
            }
            if let (Some(index), Some(relation)) =
                (row.get::<_, Option<String>>("index"), found.relations.last_mut())
            {
                relation.indexes.push(index.clone());
                found.indexes.insert(index, row.get("columns"));
            }
        }
        Ok(found)
    }

    /// The relations on which an index of these columns, as SQL names them, is to be made. An index
    /// of a table that others inherit from is that table's alone. Empty where the table has no
    /// others.
    pub(super) fn lacking(&self, columns: &[String]) -> Vec<&str> {
        if self.relations.len() < 2 {
            return Vec::new();
        }
        let same = |(has, wanted): (&Option<String>, &String)| {
            has.as_ref()
                .is_some_and(|has| Identifier::new(has).is_ok_and(|has| has.sql() == *wanted))
        };
        let serves = |index: &String| {
            self.indexes
                .get(index)
                .is_some_and(|has| has.len() >= columns.len() && has.iter().zip(columns).all(same))
        };
        let lacks = |relation: &&Relation| !relation.indexes.iter().any(serves);
        self.relations.iter().filter(lacks).map(|relation| relation.name.as_str()).collect()
    }

    /// An empty part of a table that has rows in others: how a plan reads it says nothing.
    fn is_empty_part(&self, table: &str) -> bool {
        self.relations.iter().any(|relation| relation.table == table && relation.empty)
            && self.relations.iter().any(|relation| !relation.empty)
    }

    /// Whether the index finds rows by one of the columns that `goal` knows: each column before it
    /// is in the condition too. Behind a gap a column only filters what the columns before the gap
    /// have found. None where the index is not known.
    fn leads(&self, scan: &Scan, goal: impl Fn(&str) -> bool) -> Option<bool> {
        let columns = self.indexes.get(scan.index?)?;
        for column in columns {
            match column {
                Some(name) if !mentions(scan.condition, name) => return Some(false),
                Some(name) if goal(name) => return Some(true),
                Some(_) => {}
                None => return None,
            }
        }
        Some(false)
    }
}

/// Whether a condition names the column.
fn mentions(condition: &str, column: &str) -> bool {
    scan::tokens(condition).iter().any(|token| token.text == column)
}

/// How one statement finds its rows. The planner was asked to avoid scans of whole tables, which
/// are right for small ones: where it still scans, no index can serve.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct IndexUse {
    /// Tables that are read as a whole, in the order in which the plan names them.
    pub(crate) reads_all_of: Vec<String>,
    /// Tables where an index finds the tenant's rows, and all of these are read for one key.
    pub(crate) reads_the_tenants_rows_of: Vec<String>,
    /// A page of a copy is found by sorting all rows of the tenant.
    pub(crate) sorts: bool,
}

impl IndexUse {
    /// Whether indexes serve the statement, so that it stays cheap however large the tables are.
    pub(crate) fn on_indexes(&self) -> bool {
        self.reads_all_of.is_empty() && self.reads_the_tenants_rows_of.is_empty() && !self.sorts
    }

    /// Reads the plan of a statement that is run for `purpose`.
    pub(super) fn of_plan(
        plan: &Value,
        mapping: &ResolvedMapping,
        table: &SourceTable,
        purpose: &Purpose,
    ) -> Self {
        let mut found = Self::default();
        found.collect(plan, (mapping, table), purpose);
        found
    }

    fn collect(&mut self, node: &Value, of: (&ResolvedMapping, &SourceTable), purpose: &Purpose) {
        match node {
            Value::Array(items) => {
                items.iter().for_each(|item| self.collect(item, of, purpose));
            }
            Value::Object(entries) => {
                let text = |key: &str| entries.get(key).and_then(Value::as_str).unwrap_or_default();
                let kind = text("Node Type");
                let table = text("Relation Name");
                let condition = match kind {
                    "Bitmap Heap Scan" => text("Recheck Cond"),
                    _ => text("Index Cond"),
                };
                // Only tables of the application's count: those of Offtake are read by ranges, and
                // may be small.
                if !table.is_empty() && !of_offtake(table) {
                    let below = entries.get("Plans").and_then(|plans| plans.get(0));
                    let own = entries.get("Index Name");
                    let index = own.or_else(|| below?.get("Index Name")).and_then(Value::as_str);
                    self.note(&Scan { kind, table, index, condition }, of, purpose);
                }
                self.sorts |= kind == "Sort" && matches!(purpose, Purpose::Page);
                entries.values().for_each(|value| self.collect(value, of, purpose));
            }
            _ => {}
        }
    }

    fn note(
        &mut self,
        scan: &Scan,
        (mapping, source): (&ResolvedMapping, &SourceTable),
        purpose: &Purpose,
    ) {
        let by_index = matches!(scan.kind, "Index Scan" | "Index Only Scan" | "Bitmap Heap Scan");
        let own = mapping.definition.source.table.name.as_str();
        let of_source_table = scan.table == own
            || source.relations.iter().any(|relation| relation.table == scan.table);
        if source.is_empty_part(scan.table) {
            return;
        }
        let narrow = match purpose {
            Purpose::OneKey => names_key(scan, mapping, source),
            // Otherwise the pages of one tenant are looked for among the rows of all tenants.
            Purpose::Page => names_tenant(scan.condition, mapping),
            Purpose::Dependants(columns) => {
                let goal = |name: &str| columns.contains(&name);
                columns.is_empty()
                    || source.leads(scan, goal).unwrap_or_else(|| {
                        columns.iter().any(|column| mentions(scan.condition, column))
                    })
            }
        };
        let whole_index =
            by_index && scan.condition.is_empty() && !matches!(purpose, Purpose::Page);
        let tables = if scan.kind == "Seq Scan" || whole_index {
            &mut self.reads_all_of
        } else if by_index && of_source_table && !narrow {
            match purpose {
                Purpose::Page => &mut self.reads_all_of,
                _ => &mut self.reads_the_tenants_rows_of,
            }
        } else {
            return;
        };
        // Partitions are told as their table.
        let told = if of_source_table { own } else { scan.table };
        if !tables.iter().any(|known| known == told) {
            tables.push(told.to_owned());
        }
    }
}

/// What a statement is run for. It decides which parts of its plan would grow with the tables.
pub(super) enum Purpose<'a> {
    /// To read the rows of one key.
    OneKey,
    /// To read one page of a copy.
    Page,
    /// To find the rows that a change of another table refreshes. Holds the columns that tell the
    /// rows of a tenant apart; empty where a condition names none.
    Dependants(&'a [&'a str]),
}

/// A node of a plan that reads a table.
struct Scan<'a> {
    kind: &'a str,
    table: &'a str,
    index: Option<&'a str>,
    /// What the index is searched for; empty where it is read from end to end.
    condition: &'a str,
}

/// Whether the table is the change log, one of its partitions or the quarantine.
fn of_offtake(table: &str) -> bool {
    table.starts_with("change_log") || table == "quarantined_row"
}

fn names_tenant(condition: &str, mapping: &ResolvedMapping) -> bool {
    match &mapping.definition.source.tenant {
        Tenant::Column(column) => mentions(condition, column.as_str()),
        Tenant::Expression(_) | Tenant::Lookup(_) | Tenant::Everyone => true,
    }
}

/// True also where names do not tell: where the key is the tenant's own column, and where the
/// tenant is not a column.
fn names_key(scan: &Scan, mapping: &ResolvedMapping, source: &SourceTable) -> bool {
    let tenant = match &mapping.definition.source.tenant {
        Tenant::Column(column) => column.as_str(),
        Tenant::Expression(_) | Tenant::Lookup(_) | Tenant::Everyone => return true,
    };
    let of_key = |name: &str| mapping.key.iter().any(|k| k.source_column.as_str() == name);
    if of_key(tenant) {
        return true;
    }
    source.leads(scan, of_key).unwrap_or_else(|| {
        mapping.key.iter().any(|k| mentions(scan.condition, k.source_column.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use offtake_mapping::{Column, Identifier, KeyColumn, KeyOrder};
    use serde_json::json;

    use super::*;

    fn mapping() -> ResolvedMapping {
        let text = "source: { table: a, tenant: t, key: { id: id } }\nquery: select 1\ntarget: { table: a }\n";
        let definition = offtake_mapping::parse(Path::new("a.yaml"), text).unwrap();
        let id = Identifier::new("id").unwrap();
        let key = vec![KeyColumn {
            query_column: id.clone(),
            source_column: id,
            sql_type: "integer".to_owned(),
            source_type: "integer".to_owned(),
            order: KeyOrder::Native,
            equals: "=".to_owned(),
            by_text: false,
            coarse: false,
        }];
        let text = "text".to_owned();
        let name = Identifier::new("tenant_id").unwrap();
        let tenant = Column { name, source_type: text.clone(), target_type: text };
        ResolvedMapping::new(definition, tenant, key, Vec::new())
    }

    #[test]
    fn scans_of_the_applications_tables_are_found_at_any_depth() {
        let plan = json!([{ "Plan": { "Node Type": "Nested Loop", "Plans": [
            { "Node Type": "Index Scan", "Relation Name": "a", "Index Cond": "((t = 'x') AND (id = k.k0))" },
            { "Node Type": "Append", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "change_log_0" }] },
            { "Node Type": "Hash", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "b" }, { "Node Type": "Seq Scan", "Relation Name": "b" }] },
            { "Node Type": "Index Only Scan", "Relation Name": "c" },
        ] } }]);
        let found = IndexUse::of_plan(&plan, &mapping(), &SourceTable::default(), &Purpose::OneKey);
        assert_eq!(
            (found.reads_all_of.clone(), found.on_indexes()),
            (vec!["b".to_owned(), "c".to_owned()], false)
        );
        assert!(found.reads_the_tenants_rows_of.is_empty());
    }

    #[test]
    fn an_index_on_the_tenant_alone_is_not_enough() {
        let plan = json!([{ "Plan": { "Node Type": "Index Scan", "Relation Name": "a", "Index Cond": "(t = 'x')" } }]);
        assert_eq!(
            IndexUse::of_plan(&plan, &mapping(), &SourceTable::default(), &Purpose::OneKey)
                .reads_the_tenants_rows_of,
            ["a"]
        );
        let bitmap = json!([{ "Plan": { "Node Type": "Bitmap Heap Scan", "Relation Name": "a", "Recheck Cond": "(t = 'x')" } }]);
        assert_eq!(
            IndexUse::of_plan(
                &bitmap,
                &mapping(),
                &SourceTable::default(),
                &Purpose::Dependants(&["b"])
            )
            .reads_the_tenants_rows_of,
            ["a"]
        );
        assert!(
            IndexUse::of_plan(
                &bitmap,
                &mapping(),
                &SourceTable::default(),
                &Purpose::Dependants(&["t"])
            )
            .on_indexes()
        );
        let sorted = json!([{ "Plan": { "Node Type": "Limit", "Plans": [{ "Node Type": "Sort", "Plans": [plan] }] } }]);
        assert!(
            IndexUse::of_plan(&sorted, &mapping(), &SourceTable::default(), &Purpose::Page).sorts
        );
    }
}
