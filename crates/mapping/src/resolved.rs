//! A mapping with what the source's catalog says about it: types, key and columns.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::equality::operand;
use crate::{Condition, Identifier, Mapping, TableName, Tenant};

/// A mapping with everything the statements need. Made by `offtake_postgres::catalog::resolve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedMapping {
    pub definition: Mapping,
    /// Type of the query's `tenant_id` column, as `format_type` prints it; `text` where every
    /// tenant receives every row.
    pub tenant_type: String,
    /// The column that holds the tenant where a destination's table has it: the query's
    /// `tenant_id`.
    pub tenant_column: Column,
    /// In key order; never empty.
    pub key: Vec<KeyColumn>,
    /// The columns a destination's table has, in query order, key columns included. `tenant_id` is
    /// the first when `keep_tenant` is set and absent otherwise. See
    /// [`for_shared`](Self::for_shared).
    pub columns: Vec<Column>,
    pub version: Version,
    /// Hash of the views and functions that the query reads and calls; empty where there are none.
    definitions: String,
}

/// One column of a mapping's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name in the query and in the destination.
    pub query_column: Identifier,
    /// The source table's column it comes from; its name in `row_key`.
    pub source_column: Identifier,
    /// Type of the query's column.
    pub sql_type: String,
    /// Type of the source table's column.
    pub source_type: String,
    pub order: KeyOrder,
    /// The type's `=` as SQL writes it: `=`, or `operator(schema.=)` for a type outside
    /// pg_catalog, whose schema is on no search path of ours.
    pub equals: String,
    /// The destination tells more values apart than `=` does at the source, so that keys are
    /// compared by their text as well: a citext is text there, and so is a text under a
    /// nondeterministic collation, which is a text under the database's own.
    pub by_text: bool,
    /// Keys that are equal at the source may print differently.
    pub coarse: bool,
}

impl KeyColumn {
    /// The condition that two expressions hold the same key. Each is of `sql_type`, or of a domain
    /// over it: the query's column, the source table's, a literal.
    pub fn same(&self, one: &str, other: &str) -> String {
        let operand = |expression| operand(expression, &self.sql_type);
        let by_value = format!("{} {} {}", operand(one), self.equals, operand(other));
        match self.by_text {
            true => {
                let text = |value: &str| crate::compose::postgres::printed(value, &self.sql_type);
                format!("{by_value} and {} collate \"C\" = {}", text(one), text(other))
            }
            false => by_value,
        }
    }
}

/// How a key column is ordered, so that a range means the same in the source and in a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// The type's own order, which is the same everywhere (numbers, uuid, times, bytea, boolean).
    Native,
    /// As text, `COLLATE "C"`: text, and every type whose order may differ between two databases
    /// (enums, domains, composites).
    Text,
}

/// One column of a destination's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: Identifier,
    /// Type in the source, as `format_type` prints it.
    pub source_type: String,
    /// Type that a table made from the query gets: the same for built-in types, the base type for
    /// domains, text for types that exist only in the source (enums, composites).
    pub target_type: String,
}

/// Hash of everything that decides a mapping's rows. When it changes, the mapping's rows are
/// re-copied in place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// The version of a mapping whose columns resolved as given.
    /// `definitions`: those of the views and functions between the query and its tables.
    pub fn of(
        definition: &Mapping,
        key: &[KeyColumn],
        columns: &[Column],
        definitions: &str,
    ) -> Self {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        add(&definition.source.table.to_string());
        add(definition.query.trim());
        add(&definition.target.table.to_string());
        add(if definition.target.keep_tenant { "keep tenant" } else { "" });
        // Which change wakes which row. Under the old rules changes may have been missed, so the
        // rows must be re-copied.
        for text in wakes(definition) {
            add(&text);
        }
        for k in key {
            add(k.query_column.as_str());
            add(k.source_column.as_str());
            add(&k.sql_type);
        }
        for c in columns {
            add(c.name.as_str());
            add(&c.target_type);
        }
        if !definitions.is_empty() {
            add(definitions);
        }
        let digest = hash.finalize();
        Self(digest.iter().take(8).map(|b| format!("{b:02x}")).collect())
    }

    /// 16 hexadecimal digits, as `_offtake_state.version` holds them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What decides, besides the key, which change wakes which row of a mapping and whose it is.
fn wakes(definition: &Mapping) -> Vec<String> {
    let pairs = |of: &TableName, pairs: &[(Identifier, Identifier)]| {
        let columns =
            pairs.iter().flat_map(|(a, b)| [a.as_str().to_owned(), b.as_str().to_owned()]);
        std::iter::once(of.to_string()).chain(columns).collect::<Vec<_>>()
    };
    let mut texts = match &definition.source.tenant {
        Tenant::Column(column) => vec![column.as_str().to_owned()],
        Tenant::Expression(sql) => vec!["expression".to_owned(), sql.clone()],
        // A column's name is not empty.
        Tenant::Everyone => vec![String::new(), "everyone".to_owned()],
        Tenant::Lookup(lookup) => {
            let steps = lookup.steps.iter().map(|step| pairs(&step.table, &step.matches));
            let column = lookup.column.as_str().to_owned();
            std::iter::once(vec![column]).chain(steps).collect::<Vec<_>>().concat()
        }
    };
    for dependency in &definition.depends_on {
        texts.push("depends on".to_owned());
        texts.extend(match &dependency.condition {
            Condition::Match(columns) => pairs(&dependency.table, columns),
            Condition::Where(sql) => {
                vec![dependency.table.to_string(), "where".to_owned(), sql.clone()]
            }
        });
    }
    texts
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ResolvedMapping {
    /// The mapping with what its version follows from. `columns`: those of the query, without the
    /// tenant's.
    pub fn new(
        definition: Mapping,
        tenant_column: Column,
        key: Vec<KeyColumn>,
        mut columns: Vec<Column>,
    ) -> Self {
        if definition.target.keep_tenant {
            columns.insert(0, tenant_column.clone());
        }
        let version = Version::of(&definition, &key, &columns, "");
        let tenant_type = tenant_column.source_type.clone();
        let definitions = String::new();
        Self { definition, tenant_type, tenant_column, key, columns, version, definitions }
    }

    /// The same mapping, whose query reads its tables through views and functions. Others give
    /// other rows, so they are part of the version. `definitions`: what they do, as one text.
    #[must_use]
    pub fn defined_by(self, definitions: &str) -> Self {
        if definitions.is_empty() {
            return self;
        }
        let digest = Sha256::digest(definitions);
        self.with_definitions(digest.iter().map(|b| format!("{b:02x}")).collect())
    }

    fn with_definitions(self, definitions: String) -> Self {
        let version = Version::of(&self.definition, &self.key, &self.columns, &definitions);
        Self { version, definitions, ..self }
    }

    /// The form that a destination gets which several tenants share: its table also has
    /// `tenant_id`, as the first column of the key. It is the same where the file itself says
    /// `keep_tenant`, the version too.
    #[must_use]
    pub fn for_shared(&self) -> Self {
        if self.definition.target.keep_tenant {
            return self.clone();
        }
        let mut definition = self.definition.clone();
        definition.target.keep_tenant = true;
        let (tenant, key) = (self.tenant_column.clone(), self.key.clone());
        Self::new(definition, tenant, key, self.columns.clone())
            .with_definitions(self.definitions.clone())
    }

    /// The mapping's unique name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// The mapping's name, and a hash of what the triggers and the sequencer must know to wake it:
    /// the source table and its key, the tenant's rule, the dependencies.
    pub fn need(&self) -> String {
        let keys = self.key.iter().map(|key| key.source_column.as_str().to_owned());
        let mut hash = Sha256::new();
        for text in std::iter::once(self.source_table()).chain(wakes(&self.definition)).chain(keys)
        {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let digest: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("{} {digest}", self.name())
    }

    /// Whether every tenant receives every row.
    pub fn for_everyone(&self) -> bool {
        self.definition.source.tenant == Tenant::Everyone
    }

    /// Whether `tenant_id` is a column like any other: of a table that is copied once, as a whole.
    fn has_a_tenant_of_its_own(&self) -> bool {
        let tenant = &self.tenant_column.name;
        self.for_everyone()
            && !self.definition.target.keep_tenant
            && self.columns.iter().any(|column| column.name == *tenant)
    }

    /// The query as `q`, for FROM; `tenant` is an SQL expression. The query of a mapping that every
    /// tenant receives has no column for the tenant: it is that tenant's for whom it is read.
    pub fn rows(&self, tenant: &str) -> String {
        // The query may end in a comment.
        let query = format!("(\n{}\n)", self.definition.query);
        match self.for_everyone() && !self.has_a_tenant_of_its_own() {
            true => format!("(select {tenant} as tenant_id, everyones.* from {query} everyones) q"),
            false => format!("{query} q"),
        }
    }

    /// The condition that a row `q` of the query is the tenant's; `tenant` is an SQL expression.
    pub fn of_tenant(&self, tenant: &str) -> String {
        if self.has_a_tenant_of_its_own() {
            return "true".to_owned();
        }
        self.same_tenant("q.tenant_id", tenant)
    }

    /// The condition that two expressions are the same tenant. The only types outside pg_catalog
    /// that a tenant may have are enums, and their `=` is in pg_catalog.
    pub fn same_tenant(&self, one: &str, other: &str) -> String {
        let operand = |expression| operand(expression, &self.tenant_type);
        format!("{} = {}", operand(one), operand(other))
    }

    /// `schema.table` of the table whose rows drive it, as `source_table` columns hold it.
    pub fn source_table(&self) -> String {
        self.definition.source.table.to_string()
    }

    /// The columns of the destination table's primary key, in order: `tenant_id` first if the
    /// mapping keeps it.
    pub fn target_key(&self) -> Vec<Identifier> {
        let tenant = self.definition.target.keep_tenant.then(|| self.columns[0].name.clone());
        tenant.into_iter().chain(self.key.iter().map(|k| k.query_column.clone())).collect()
    }
}
