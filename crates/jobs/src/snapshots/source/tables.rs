//! Which tables of the source have rows of their own of a tenant, and what the catalog says of them.

use offtake_mapping::{Identifier, Mapping, TableName, Tenant};
use offtake_postgres::TEXT_FORMAT;
use tokio_postgres::{Client, Row};

use super::Error;
use crate::sql;

/// A table, and the rule that says to which tenant a row of it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTable {
    pub name: TableName,
    pub tenant: Tenant,
}

impl OwnTable {
    /// The tables whose rows drive mappings, and those that the configuration adds. A table of which
    /// every tenant receives all rows belongs to no tenant, and is left out.
    pub fn of<'m>(
        mappings: impl IntoIterator<Item = &'m Mapping>,
        added: &[Self],
    ) -> Result<Vec<Self>, Error> {
        let of_mapping = |mapping: &Mapping| Self {
            name: mapping.source.table.clone(),
            tenant: mapping.source.tenant.clone(),
        };
        let mut tables: Vec<Self> = Vec::new();
        for table in mappings.into_iter().map(of_mapping).chain(added.iter().cloned()) {
            match tables.iter().find(|known| known.name == table.name) {
                _ if table.tenant == Tenant::Everyone => {}
                None => tables.push(table),
                Some(known) if known.tenant == table.tenant => {}
                Some(_) => return Err(Error::TwoRules(table.name.in_sql())),
            }
        }
        Ok(tables)
    }
}

/// A column, with its types as they are printed under `search_path = pg_catalog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnColumn {
    pub name: Identifier,
    pub sql_type: String,
    /// The type behind a domain.
    pub(super) base_type: String,
    pub(super) is_domain: bool,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    /// Computed by the server from other columns.
    pub generated: bool,
    /// `generated always as identity`.
    pub(super) always_identity: bool,
    /// The `=` of its type, as `operator(schema.=)`; None: the type has none.
    pub(super) equals: Option<String>,
}

/// One column of the key by which a row is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnKey {
    /// Its place among the columns.
    pub(super) column: usize,
    pub(super) equals: String,
    pub(super) greater: String,
}

/// A table of a tenant's own rows, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub(super) oid: u32,
    pub name: TableName,
    pub tenant: Tenant,
    /// Its rows are read and written without those of its children by inheritance.
    pub(super) only: bool,
    pub columns: Vec<OwnColumn>,
    pub(super) key: Vec<OwnKey>,
}

/// A foreign key of one of the tables, or to one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    /// Places among the tables; None: it is none of them.
    pub child: Option<usize>,
    pub parent: Option<usize>,
    pub child_name: TableName,
    pub parent_name: TableName,
    pub(super) deferrable: bool,
    /// A row may be deleted before the rows that refer to it are changed.
    pub(super) waits_at_deletion: bool,
    pub child_columns: Vec<Identifier>,
    pub(super) parent_columns: Vec<Identifier>,
    /// The `=` of each pair, the parent's column on its left.
    pub(super) equals: Vec<String>,
}

/// All tables of tenants' own rows, with the keys between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTables {
    pub tables: Vec<Resolved>,
    pub references: Vec<Reference>,
    /// Tables on the way of a look-up that are not among them.
    pub(super) looked_up: Vec<Resolved>,
}

impl Resolved {
    /// As people and archives name it.
    pub fn label(&self) -> String {
        self.name.in_sql()
    }

    /// The columns that hold values of their own, in the order in which a snapshot has them.
    pub fn stored(&self) -> impl Iterator<Item = &OwnColumn> {
        self.columns.iter().filter(|column| !column.generated)
    }

    pub fn key_columns(&self) -> impl Iterator<Item = &OwnColumn> {
        self.key.iter().map(|key| &self.columns[key.column])
    }

    pub(super) fn column(&self, name: &Identifier) -> Option<&OwnColumn> {
        self.columns.iter().find(|column| column.name == *name)
    }
}

impl OwnTables {
    /// Reads the catalog, in the order of `wanted`. `client` must not be in a transaction.
    pub async fn read(client: &Client, wanted: &[OwnTable]) -> Result<Self, Error> {
        let pinned = format!("begin; {TEXT_FORMAT} set local search_path = pg_catalog, pg_temp");
        client.batch_execute(&pinned).await?;
        let read = Self::read_pinned(client, wanted).await;
        client.batch_execute("rollback").await?;
        read
    }

    /// The same in a transaction whose search path is pinned.
    pub(super) async fn read_pinned(client: &Client, wanted: &[OwnTable]) -> Result<Self, Error> {
        let tables = resolve(client, wanted, true).await?;
        let mut looked_up: Vec<OwnTable> = Vec::new();
        for own in wanted {
            let Tenant::Lookup(lookup) = &own.tenant else { continue };
            for step in &lookup.steps {
                let known = tables.iter().any(|table| table.name == step.table)
                    || looked_up.iter().any(|table| table.name == step.table);
                if !known {
                    let table = OwnTable { name: step.table.clone(), tenant: Tenant::Everyone };
                    looked_up.push(table);
                }
            }
        }
        let looked_up = resolve(client, &looked_up, false).await?;
        let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
        let rows = client.query(sql::READ_OWN_REFERENCES, &[&oids]).await?;
        let references = rows.iter().map(reference).collect::<Result<Vec<_>, Error>>()?;
        tables.iter().try_for_each(check_rule)?;
        let columns_of = |name: &TableName| {
            tables.iter().chain(&looked_up).find(|t| t.name == *name).map(|t| &t.columns)
        };
        for table in &tables {
            let Tenant::Lookup(lookup) = &table.tenant else { continue };
            let named = lookup
                .steps
                .iter()
                .flat_map(|step| step.matches.iter().map(|(theirs, _)| (&step.table, theirs)));
            for (of, column) in named.chain([(&lookup.last().table, &lookup.column)]) {
                if columns_of(of).is_some_and(|all| all.iter().any(|c| c.name == *column)) {
                    continue;
                }
                return Err(Error::NoColumn { table: of.in_sql(), column: column.in_sql() });
            }
        }
        Ok(Self { tables, references, looked_up })
    }

    /// Foreign keys of other tables to one of these: their rows are of the tenant too.
    pub fn left_out(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter().filter(|reference| reference.child.is_none())
    }

    /// Foreign keys to tables that are not among these: their rows must be there for a restore.
    pub fn leading_out(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter().filter(|reference| reference.parent.is_none())
    }

    /// A table among these, or on the way of a look-up.
    pub(super) fn named(&self, name: &TableName) -> Option<&Resolved> {
        self.tables.iter().chain(&self.looked_up).find(|table| table.name == *name)
    }
}

async fn resolve(client: &Client, wanted: &[OwnTable], own: bool) -> Result<Vec<Resolved>, Error> {
    let names: Vec<String> = wanted.iter().map(|table| table.name.sql()).collect();
    let rows = client.query(sql::READ_OWN_TABLES, &[&names]).await?;
    let mut tables: Vec<Resolved> = Vec::new();
    let mut keys: Vec<[Vec<String>; 3]> = Vec::new();
    for row in &rows {
        let at: i32 = row.get("at");
        let asked = &wanted[usize::try_from(at).unwrap_or(0)];
        let label = asked.name.in_sql();
        let Some(schema) = row.get::<_, Option<String>>("schema") else {
            return Err(Error::NoTable(label));
        };
        let (name, kind): (String, String) = (row.get("name"), row.get("kind"));
        let temporary = row.get::<_, String>("persistence") == "t";
        if own && (temporary || !matches!(kind.as_str(), "r" | "p")) {
            return Err(Error::NotATable(label));
        }
        let (oid, covered): (u32, bool) = (row.get("oid"), row.get("covered"));
        if covered || tables.iter().any(|known| known.oid == oid) {
            continue;
        }
        tables.push(Resolved {
            oid,
            name: TableName { schema: identifier(schema)?, name: identifier(name)? },
            tenant: asked.tenant.clone(),
            only: kind == "r",
            columns: Vec::new(),
            key: Vec::new(),
        });
        keys.push(["key_columns", "key_equals", "key_greater"].map(|column| row.get(column)));
    }
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    for row in &client.query(sql::READ_OWN_COLUMNS, &[&oids]).await? {
        let oid: u32 = row.get("attrelid");
        if let Some(table) = tables.iter_mut().find(|table| table.oid == oid) {
            table.columns.push(column(row)?);
        }
    }
    for (table, [columns, equals, greater]) in tables.iter_mut().zip(keys) {
        let places = columns
            .iter()
            .map(|name| table.columns.iter().position(|column| column.name.as_str() == name));
        let places: Vec<usize> = places.flatten().collect();
        let whole = places.len() == equals.len() && places.len() == greater.len();
        if own && (places.is_empty() || !whole) {
            return Err(Error::NoKey(table.label()));
        }
        table.key = places
            .into_iter()
            .zip(equals.into_iter().zip(greater))
            .map(|(column, (equals, greater))| OwnKey { column, equals, greater })
            .collect();
    }
    Ok(tables)
}

/// Every column that the rule names is there.
fn check_rule(table: &Resolved) -> Result<(), Error> {
    let named: Vec<&Identifier> = match &table.tenant {
        Tenant::Column(column) => vec![column],
        Tenant::Lookup(lookup) => lookup
            .steps
            .iter()
            .take(1)
            .flat_map(|step| &step.matches)
            .map(|(_, ours)| ours)
            .collect(),
        Tenant::Expression(_) | Tenant::Everyone => Vec::new(),
    };
    match named.into_iter().find(|column| table.column(column).is_none()) {
        Some(column) => Err(Error::NoColumn { table: table.label(), column: column.in_sql() }),
        None => Ok(()),
    }
}

fn column(row: &Row) -> Result<OwnColumn, Error> {
    Ok(OwnColumn {
        name: identifier(row.get("name"))?,
        sql_type: row.get("sql_type"),
        base_type: row.get("base_type"),
        is_domain: row.get("is_domain"),
        not_null: row.get("not_null"),
        has_default: row.get("has_default"),
        generated: row.get("generated"),
        always_identity: row.get::<_, String>("identity") == "a",
        equals: row.get("equals"),
    })
}

fn reference(row: &Row) -> Result<Reference, Error> {
    let place = |column: &str| {
        let place: Option<i32> = row.get(column);
        place.and_then(|place| usize::try_from(place).ok())
    };
    let table = |schema: &str, name: &str| -> Result<TableName, Error> {
        Ok(TableName { schema: identifier(row.get(schema))?, name: identifier(row.get(name))? })
    };
    let names = |column: &str| -> Result<Vec<Identifier>, Error> {
        row.get::<_, Vec<String>>(column).into_iter().map(identifier).collect()
    };
    Ok(Reference {
        name: row.get("name"),
        child: place("child_in"),
        parent: place("parent_in"),
        child_name: table("child_schema", "child_name")?,
        parent_name: table("parent_schema", "parent_name")?,
        deferrable: row.get("deferrable"),
        waits_at_deletion: row.get("waits_at_deletion"),
        child_columns: names("child_columns")?,
        parent_columns: names("parent_columns")?,
        equals: row.get("equals"),
    })
}

/// A name that the catalog has.
fn identifier(name: String) -> Result<Identifier, Error> {
    Identifier::new(name).map_err(|error| Error::Unfit(error.to_string()))
}
