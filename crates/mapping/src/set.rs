//! All mappings together: what must be captured, and which change wakes which mapping.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Dependency, Identifier, ResolvedMapping, TableName, Tenant};

/// A validated set of mappings; shared by the loops and replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct MappingSet {
    mappings: Vec<Arc<ResolvedMapping>>,
    /// The same mappings in the form for destinations that tenants share.
    shared: Vec<Arc<ResolvedMapping>>,
    captures: BTreeMap<String, Capture>,
    /// From `schema.table` of a changed table to what its changes wake.
    wakings: BTreeMap<String, Vec<Waking>>,
    needs: Vec<String>,
}

/// What the triggers of one table record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    pub table: TableName,
    /// The source columns of the keys of all mappings that this table drives; empty when mappings
    /// only depend on it.
    pub key: Vec<CapturedColumn>,
    /// One for each distinct tenant rule of those mappings; empty when mappings only depend on it.
    pub tenants: Vec<CapturedTenant>,
    /// Columns that dependants, or the tenant's look-up, match on.
    pub matched: Vec<CapturedColumn>,
}

/// A column as it is written into a JSON object, with the type that reads it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedColumn {
    pub name: Identifier,
    pub sql_type: String,
}

/// How a trigger finds the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CapturedTenant {
    Column(Identifier),
    /// SQL over the row's columns, with the row as `source`.
    Expression(String),
    /// Not known to the trigger: the sequencer looks it up.
    LookedUp,
}

/// One way in which a change of a table concerns another mapping's rows.
#[derive(Debug, Clone)]
pub struct Waking {
    pub mapping: Arc<ResolvedMapping>,
    pub dependency: Dependency,
    /// The changed row's columns, with their types, that the condition reads.
    pub changed: Vec<CapturedColumn>,
    /// Only if the table is that of a tenant look-up: the changed row's column that names the
    /// tenant. Its old value is needed, so that the destinations of the old tenant look again and
    /// delete the row.
    pub tenant_column: Option<Identifier>,
}

impl MappingSet {
    /// `column_type` gives the type of a table's column, as `format_type` prints it. The caller has
    /// checked that every column that a mapping names exists.
    pub fn new(
        mappings: Vec<ResolvedMapping>,
        column_type: impl Fn(&TableName, &Identifier) -> String,
    ) -> Self {
        let mappings: Vec<_> = mappings.into_iter().map(Arc::new).collect();
        let needs = mappings.iter().map(|mapping| mapping.need()).collect();
        let shared = mappings.iter().map(|mapping| match mapping.definition.target.keep_tenant {
            true => mapping.clone(),
            false => Arc::new(mapping.for_shared()),
        });
        let shared = shared.collect();
        let mut set = Self { mappings: mappings.clone(), shared, needs, ..Self::default() };
        for mapping in mappings {
            set.add_source(&mapping, &column_type);
            for dependency in &mapping.definition.depends_on {
                set.add_waking(&mapping, dependency.clone(), None, &column_type);
            }
            if let Tenant::Lookup(lookup) = &mapping.definition.source.tenant {
                let matches = lookup
                    .matches
                    .iter()
                    .map(|(looked_up, row)| (row.clone(), looked_up.clone()))
                    .collect();
                let dependency = Dependency {
                    table: lookup.table.clone(),
                    condition: crate::Condition::Match(matches),
                };
                set.add_waking(&mapping, dependency, Some(lookup.column.clone()), &column_type);
            }
        }
        set
    }

    fn capture(&mut self, table: &TableName) -> &mut Capture {
        self.captures.entry(table.to_string()).or_insert_with(|| Capture {
            table: table.clone(),
            key: Vec::new(),
            tenants: Vec::new(),
            matched: Vec::new(),
        })
    }

    fn add_source(
        &mut self,
        mapping: &ResolvedMapping,
        column_type: &impl Fn(&TableName, &Identifier) -> String,
    ) {
        let source = &mapping.definition.source;
        let capture = self.capture(&source.table);
        for key in &mapping.key {
            add_column(&mut capture.key, &key.source_column, key.source_type.clone());
        }
        let tenant = match &source.tenant {
            Tenant::Column(column) => CapturedTenant::Column(column.clone()),
            Tenant::Expression(sql) => CapturedTenant::Expression(sql.clone()),
            Tenant::Lookup(lookup) => {
                for (_, row) in &lookup.matches {
                    add_column(&mut capture.matched, row, column_type(&source.table, row));
                }
                CapturedTenant::LookedUp
            }
        };
        if !capture.tenants.contains(&tenant) {
            capture.tenants.push(tenant);
        }
    }

    fn add_waking(
        &mut self,
        mapping: &Arc<ResolvedMapping>,
        dependency: Dependency,
        tenant_column: Option<Identifier>,
        column_type: &impl Fn(&TableName, &Identifier) -> String,
    ) {
        let table = dependency.table.clone();
        let changed: Vec<_> = dependency
            .condition
            .changed_columns()
            .into_iter()
            .chain(tenant_column.clone())
            .map(|name| CapturedColumn { sql_type: column_type(&table, &name), name })
            .collect();
        let capture = self.capture(&table);
        for column in &changed {
            add_column(&mut capture.matched, &column.name, column.sql_type.clone());
        }
        self.wakings.entry(table.to_string()).or_default().push(Waking {
            mapping: mapping.clone(),
            dependency,
            changed,
            tenant_column,
        });
    }

    /// All mappings in the form that a destination gets, in the order of their names. Where tenants
    /// share it, every table also has the tenant: [`ResolvedMapping::for_shared`].
    pub fn forms(&self, shared: bool) -> &[Arc<ResolvedMapping>] {
        if shared { &self.shared } else { &self.mappings }
    }

    /// All mappings as their files have them, in the order of their names.
    pub fn mappings(&self) -> &[Arc<ResolvedMapping>] {
        &self.mappings
    }

    /// [`ResolvedMapping::need`] of each mapping, in the same order.
    pub fn needs(&self) -> &[String] {
        &self.needs
    }

    /// The mapping of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<ResolvedMapping>> {
        self.mappings.iter().find(|m| m.name() == name)
    }

    /// What the triggers of every captured table record, in the order of the tables' names.
    pub fn captures(&self) -> impl Iterator<Item = &Capture> {
        self.captures.values()
    }

    /// What a change of this table (`schema.table`) wakes, besides the mappings that the table
    /// drives.
    pub fn wakings(&self, table: &str) -> &[Waking] {
        self.wakings.get(table).map_or(&[], Vec::as_slice)
    }

    /// The mappings that this table (`schema.table`) drives.
    pub fn driven_by<'a>(
        &'a self,
        table: &'a str,
    ) -> impl Iterator<Item = &'a Arc<ResolvedMapping>> {
        self.mappings.iter().filter(move |m| m.source_table() == table)
    }
}

fn add_column(columns: &mut Vec<CapturedColumn>, name: &Identifier, sql_type: String) {
    if !columns.iter().any(|c| c.name == *name) {
        columns.push(CapturedColumn { name: name.clone(), sql_type });
    }
}
