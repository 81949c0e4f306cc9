//! What one mapping file says, before it is checked against a database.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Identifier, Step, TableName, scan};

/// One mapping file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Unique in the set; the file's stem unless the file has a `name`.
    pub name: String,
    /// Where it was read from, for messages.
    pub file: PathBuf,
    /// The whole file, for the excerpts in messages.
    pub text: Arc<str>,
    pub source: Source,
    /// Other tables whose changes refresh rows of `source.table`.
    pub depends_on: Vec<Dependency>,
    /// Tables that the query reads and whose rows never change, as the operator says: nothing
    /// captures them.
    pub unchanging: Vec<TableName>,
    /// A query without parameters that exposes `tenant_id` and the key columns; no trailing
    /// semicolon.
    pub query: String,
    /// 1-based line of the file on which the query's text begins.
    pub query_line: usize,
    pub target: Target,
    pub on_row_error: OnRowError,
}

impl Mapping {
    /// Whether a person wrote it into a file, and can mend it there. `offtake copy`
    /// makes the mapping of a table by itself.
    pub fn is_written(&self) -> bool {
        !self.text.is_empty()
    }

    /// Every table whose changes concern this mapping, each with the path of the setting that names
    /// it: the source table, the tables of a tenant's look-up, those of `depends_on`. A table that
    /// is named twice is here twice.
    pub fn named_tables(&self) -> Vec<(Vec<Step>, &TableName)> {
        let mut tables = vec![(Step::keys(&["source", "table"]), &self.source.table)];
        if let Tenant::Lookup(lookup) = &self.source.tenant {
            let steps = lookup.steps.iter().enumerate();
            tables.extend(steps.map(|(at, step)| (lookup.path(at, &["table"]), &step.table)));
        }
        for (index, dependency) in self.depends_on.iter().enumerate() {
            tables.push((Dependency::path(index, &["table"]), &dependency.table));
        }
        tables
    }

    /// The tables of [`Mapping::named_tables`].
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.named_tables().into_iter().map(|(_, table)| table)
    }
}

/// The table whose rows drive a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub table: TableName,
    pub tenant: Tenant,
    /// (column of the query, column of the source table). None: the primary key's columns without
    /// the tenant's, under their own names.
    pub key: Option<Vec<(Identifier, Identifier)>>,
}

/// How a source row names its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    /// A column of the row.
    Column(Identifier),
    /// A SQL expression over the row's own columns, which may be written bare or as
    /// `source.<column>`.
    Expression(String),
    /// A column of a row of another table. The sequencer looks that row up by columns of this row,
    /// or of a row that it has looked up before, after the commit.
    Lookup(TenantLookup),
    /// Every tenant receives every row.
    Everyone,
}

/// `tenant: { table, column, match: { its column: this row's column } }`, or a list of such steps,
/// of which only the last has a `column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantLookup {
    /// From the source row to the row that names the tenant; never empty.
    pub steps: Vec<LookupStep>,
    /// The column of the last step's table that holds the tenant's id.
    pub column: Identifier,
    /// The file has a list, and not one look-up.
    pub listed: bool,
}

impl TenantLookup {
    /// Each step may read a row per changed row in the sequencer's tick, and waits for its table's
    /// locks. No schema that we know needs more than three.
    pub const STEPS_MAX: usize = 4;

    /// The path of keys in the step at `index`.
    pub fn path(&self, index: usize, keys: &[&str]) -> Vec<Step> {
        let step = self.listed.then_some(Step::Index(index));
        Step::keys(&["source", "tenant"]).into_iter().chain(step).chain(Step::keys(keys)).collect()
    }

    /// The last step, whose table names the tenant.
    pub fn last(&self) -> &LookupStep {
        &self.steps[self.steps.len() - 1]
    }
}

/// One row that is looked up on the way to the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupStep {
    pub table: TableName,
    /// (column of the looked-up table, column of the row before it: the source row for the first
    /// step); never empty.
    pub matches: Vec<(Identifier, Identifier)>,
}

/// Changes of `table` refresh the rows of the mapping's source table that meet the condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub table: TableName,
    pub condition: Condition,
}

impl Dependency {
    /// The path of keys in the entry of `depends_on` at `index`.
    pub fn path(index: usize, keys: &[&str]) -> Vec<Step> {
        let entry = [Step::Key("depends_on".to_owned()), Step::Index(index)];
        entry.into_iter().chain(Step::keys(keys)).collect()
    }
}

/// Which source rows a changed row concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// (column of the source table, column of the changed row); never empty.
    Match(Vec<(Identifier, Identifier)>),
    /// SQL over `source.<column>` and `changed.<column>`.
    Where(String),
}

impl Condition {
    /// The columns of the changed row that the triggers must record, in order of first mention.
    pub fn changed_columns(&self) -> Vec<Identifier> {
        self.changed_mentions().into_iter().map(|(column, _)| column).collect()
    }

    /// The same columns, each with the number of characters before it in the SQL of a `where`; 0 in
    /// a `match`, whose pairs are not SQL.
    pub fn changed_mentions(&self) -> Vec<(Identifier, usize)> {
        let mentions: Vec<_> = match self {
            Condition::Match(pairs) => {
                pairs.iter().map(|(_, changed)| (changed.clone(), 0)).collect()
            }
            Condition::Where(sql) => scan::columns_of(sql, "changed")
                .into_iter()
                .filter_map(|token| Some((Identifier::new(token.text).ok()?, token.at)))
                .collect(),
        };
        let mut distinct: Vec<(Identifier, usize)> = Vec::new();
        for (column, at) in mentions {
            if !distinct.iter().any(|(known, _)| *known == column) {
                distinct.push((column, at));
            }
        }
        distinct
    }
}

/// Where the rows go in a destination's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub table: Identifier,
    /// DDL that creates the table. None: Offtake creates it from the query's column types and the
    /// key.
    pub schema_sql: Option<String>,
    /// Also write `tenant_id`, as the first key column: needed where tenants share a schema.
    pub keep_tenant: bool,
}

/// What to do with a row that a destination refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRowError {
    /// Set it aside with its key and error, and write the other rows.
    #[default]
    Quarantine,
    /// Stop this mapping in that destination.
    Halt,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_columns_are_read_from_conditions() {
        let check = |sql: &str, expect: &[&str]| {
            let columns = Condition::Where(sql.to_owned()).changed_columns();
            assert_eq!(columns.iter().map(Identifier::as_str).collect::<Vec<_>>(), expect);
        };
        check("source.data->>'team_id' = changed.team_id::text", &["team_id"]);
        check("changed.A = source.a and CHANGED.\"B c\" = 1 and changed.a > 2", &["a", "B c"]);
        check("unchanged.x = 1 and s.changed.y = 2", &[]);
        check("\"changed\".a = source.a and changed . b = 1", &["a", "b"]);
    }

    #[test]
    fn what_only_looks_like_a_column_of_the_changed_row_is_not_one() {
        let check = |sql: &str| {
            let columns = Condition::Where(format!("changed.a = 1 and {sql}")).changed_columns();
            let names: Vec<_> = columns.iter().map(Identifier::as_str).collect();
            assert_eq!(names, ["a"], "{sql}");
        };
        check("source.note <> 'changed.x'");
        check(r"source.note <> e'\' changed.x'");
        check("true -- changed.x");
        check("true /* changed.x /* changed.y */ changed.z */");
        check("source.\"changed.x\" = 1");
        check("source.\"a changed.x\" = 1");
        check("source.note <> $$ changed.x $$");
        check("source.note <> $q$ changed.x $$ changed.y $q$");
    }
}
