//! All mappings together: what must be captured, and which change wakes which mapping.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Condition, Dependency, Identifier, Kind, ResolvedMapping, TableName, Tenant, TenantLookup,
};

/// A validated set of mappings; shared by the loops and replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct MappingSet {
    mappings: Vec<Arc<ResolvedMapping>>,
    /// The same mappings in the form for destinations that tenants share.
    shared: Vec<Arc<ResolvedMapping>>,
    /// Both for SQLite files.
    sqlite: [Vec<Arc<ResolvedMapping>>; 2],
    captures: BTreeMap<String, Capture>,
    /// From `schema.table` of a changed table to what its changes wake.
    wakings: BTreeMap<String, Vec<Waking>>,
    lookups: Vec<Arc<LookupPath>>,
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
    /// Not recorded: the sequencer looks it up, or every tenant receives the row.
    LookedUp,
}

/// One way in which a change of a table concerns another mapping's rows.
#[derive(Debug, Clone)]
pub struct Waking {
    pub mapping: Arc<ResolvedMapping>,
    pub dependency: Dependency,
    /// The changed row's columns, with their types, that the condition reads.
    pub changed: Vec<CapturedColumn>,
    /// Its place among the mapping's wakings. A continued expansion belongs to one of them.
    pub number: usize,
    /// Only if the table is one of the tenant's look-up: which.
    pub lookup: Option<LookupWaking>,
}

/// The part of a look-up in a waking.
#[derive(Debug, Clone)]
pub struct LookupWaking {
    pub path: Arc<LookupPath>,
    /// The step whose table changed, from 0. Its condition matches rows of the step before, or of
    /// the source table.
    pub step: usize,
}

/// A tenant's look-up from one source table, with the columns that the triggers record of each
/// table on the way. Old values are needed too: the old tenant looks again and deletes the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupPath {
    pub source_table: TableName,
    pub lookup: TenantLookup,
    /// Of the source table: what the first step matches.
    pub source_columns: Vec<CapturedColumn>,
    /// Of each step: what it matches, and what the next step matches or the tenant's column.
    pub step_columns: Vec<Vec<CapturedColumn>>,
}

impl LookupPath {
    fn of(
        source_table: &TableName,
        lookup: &TenantLookup,
        column_type: &impl Fn(&TableName, &Identifier) -> String,
    ) -> Self {
        let typed = |table: &TableName, names: Vec<&Identifier>| {
            let mut columns = Vec::new();
            for name in names {
                add_column(&mut columns, name, column_type(table, name));
            }
            columns
        };
        let ours = |step: usize| lookup.steps[step].matches.iter().map(|(_, ours)| ours);
        let step_columns = lookup.steps.iter().enumerate().map(|(at, step)| {
            let theirs = step.matches.iter().map(|(theirs, _)| theirs);
            let names = match at + 1 == lookup.steps.len() {
                true => theirs.chain([&lookup.column]).collect(),
                false => theirs.chain(ours(at + 1)).collect(),
            };
            typed(&step.table, names)
        });
        Self {
            source_table: source_table.clone(),
            lookup: lookup.clone(),
            source_columns: typed(source_table, ours(0).collect()),
            step_columns: step_columns.collect(),
        }
    }

    /// The table of a step, from 0; of the step before the first: the source table.
    pub fn table_before(&self, step: usize) -> &TableName {
        match step {
            0 => &self.source_table,
            step => &self.lookup.steps[step - 1].table,
        }
    }
}

impl Waking {
    /// The table whose rows the condition finds: the mapping's, or the one before it on the way to
    /// the tenant.
    pub fn searched_table(&self) -> &TableName {
        match &self.lookup {
            Some(lookup) => lookup.path.table_before(lookup.step),
            None => &self.mapping.definition.source.table,
        }
    }
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
        let shared: Vec<_> = shared.collect();
        let sqlite = [&mappings, &shared].map(|forms| {
            forms.iter().map(|mapping| Arc::new(mapping.for_kind(Kind::Sqlite))).collect()
        });
        let mut set = Self { mappings: mappings.clone(), shared, sqlite, needs, ..Self::default() };
        for mapping in mappings {
            set.add_source(&mapping, &column_type);
            let dependencies = mapping.definition.depends_on.iter().enumerate();
            for (number, dependency) in dependencies.clone() {
                set.add_waking(&mapping, dependency.clone(), (number, None), &column_type);
            }
            if let Tenant::Lookup(lookup) = &mapping.definition.source.tenant {
                set.add_lookup(&mapping, lookup, dependencies.len(), &column_type);
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
                for (_, row) in &lookup.steps[0].matches {
                    add_column(&mut capture.matched, row, column_type(&source.table, row));
                }
                CapturedTenant::LookedUp
            }
            Tenant::Everyone => CapturedTenant::LookedUp,
        };
        if !capture.tenants.contains(&tenant) {
            capture.tenants.push(tenant);
        }
    }

    /// Adds a waking for each table of the look-up; `number` is the first one's.
    fn add_lookup(
        &mut self,
        mapping: &Arc<ResolvedMapping>,
        lookup: &TenantLookup,
        number: usize,
        column_type: &impl Fn(&TableName, &Identifier) -> String,
    ) {
        let path = LookupPath::of(&mapping.definition.source.table, lookup, column_type);
        let path = match self.lookups.iter().find(|known| ***known == path) {
            Some(known) => known.clone(),
            None => {
                self.lookups.push(Arc::new(path));
                self.lookups[self.lookups.len() - 1].clone()
            }
        };
        for (at, step) in lookup.steps.iter().enumerate() {
            let matches = step.matches.iter().map(|(theirs, ours)| (ours.clone(), theirs.clone()));
            let dependency = Dependency {
                table: step.table.clone(),
                condition: Condition::Match(matches.collect()),
            };
            let lookup = LookupWaking { path: path.clone(), step: at };
            self.add_waking(mapping, dependency, (number + at, Some(lookup)), column_type);
        }
    }

    fn add_waking(
        &mut self,
        mapping: &Arc<ResolvedMapping>,
        dependency: Dependency,
        (number, lookup): (usize, Option<LookupWaking>),
        column_type: &impl Fn(&TableName, &Identifier) -> String,
    ) {
        let table = dependency.table.clone();
        let typed = |name| CapturedColumn { sql_type: column_type(&table, &name), name };
        let changed = match &lookup {
            Some(lookup) => lookup.path.step_columns[lookup.step].clone(),
            None => dependency.condition.changed_columns().into_iter().map(typed).collect(),
        };
        let capture = self.capture(&table);
        for column in &changed {
            add_column(&mut capture.matched, &column.name, column.sql_type.clone());
        }
        let waking = Waking { mapping: mapping.clone(), dependency, changed, number, lookup };
        self.wakings.entry(table.to_string()).or_default().push(waking);
    }

    /// All mappings in the form that a destination gets, in the order of their names. Where tenants
    /// share it, every table also has the tenant: [`ResolvedMapping::for_shared`].
    pub fn forms(&self, shared: bool) -> &[Arc<ResolvedMapping>] {
        self.forms_of(Kind::Postgres, shared)
    }

    /// The same for destinations of this kind.
    pub fn forms_of(&self, kind: Kind, shared: bool) -> &[Arc<ResolvedMapping>] {
        match (kind, shared) {
            (Kind::Postgres, false) => &self.mappings,
            (Kind::Postgres, true) => &self.shared,
            (Kind::Sqlite | Kind::D1, shared) => &self.sqlite[usize::from(shared)],
        }
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

    /// The tables whose changes are resolved by a look-up if no tenant was recorded. A change of a
    /// table of which every tenant receives a mapping stays everyone's.
    pub fn looked_up_tables(&self) -> Vec<String> {
        let everyones = |table: &str| self.driven_by(table).any(|m| m.for_everyone());
        let tables = self.lookups.iter().map(|path| path.source_table.to_string());
        tables.filter(|table| !everyones(table)).collect()
    }

    /// The look-ups of tenants, each once.
    pub fn lookups(&self) -> &[Arc<LookupPath>] {
        &self.lookups
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
