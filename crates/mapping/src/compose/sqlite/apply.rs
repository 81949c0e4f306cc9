//! Writing a mapping's rows into a table of a SQLite database.
//!
//! Values are parameters: `?1` and so on, in the order that each statement names.

use super::Held;
use crate::{Column, Identifier, ResolvedMapping};

/// The statements of one mapping.
#[derive(Debug, Clone)]
pub struct Apply<'a> {
    mapping: &'a ResolvedMapping,
    table: String,
    /// Of the table's primary key, quoted: the tenant's first where the table has it.
    key: Vec<String>,
}

impl<'a> Apply<'a> {
    pub fn new(mapping: &'a ResolvedMapping) -> Self {
        let table = mapping.definition.target.table.sql();
        let key = mapping.target_key().iter().map(Identifier::sql).collect();
        Self { mapping, table, key }
    }

    /// The target, quoted.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Creates the table of the query's columns and the key; for mappings without `schema_sql`.
    ///
    /// A key column takes no NULL, which SQLite would otherwise allow twice in a primary key. Of a
    /// key that is one integer, the table is the index; of any other, only `without rowid` makes it
    /// so.
    pub fn create_table(&self) -> String {
        let columns = self.mapping.columns.iter().map(|column| {
            let name = column.name.sql();
            let not_null = if self.key.contains(&name) { " NOT NULL" } else { "" };
            format!("  {name} {}{not_null}", Held::of(self.mapping, column).declared())
        });
        let columns = columns.collect::<Vec<_>>().join(",\n");
        let rowid = if self.is_rowid() { "" } else { " without rowid" };
        let (table, key) = (&self.table, self.key.join(", "));
        format!("create table {table} (\n{columns},\n  primary key ({key})\n){rowid}")
    }

    fn is_rowid(&self) -> bool {
        let [only] = &self.key[..] else { return false };
        let column = self.mapping.columns.iter().find(|column| column.name.sql() == *only);
        column.is_some_and(|column| Held::of(self.mapping, column) == Held::Integer)
    }

    /// Marks a table as made for this mapping: an index without entries, which goes with the table
    /// and follows it when it is renamed. The nonce is another one for each table that is made.
    pub fn mark_table(&self, nonce: &str) -> String {
        let name = format!("{}{nonce}", Self::mark(self.mapping.name()));
        let name = name.replace('"', "\"\"");
        format!("create index \"{name}\" on {} ({}) where 0", self.table, self.key[0])
    }

    /// What the name of a mapping's mark begins with; the nonce follows.
    pub fn mark(mapping: &str) -> String {
        format!("{}{mapping}:", Self::MARK)
    }

    /// What the name of every mark begins with.
    pub const MARK: &'static str = "offtake:";

    /// Inserts a row, or updates it where it differs. The parameters are the columns.
    pub fn upsert(&self) -> String {
        format!("{} {}", self.insert(), self.where_it_differs())
    }

    /// The end of an INSERT that updates a row that is there where it differs.
    pub(super) fn where_it_differs(&self) -> String {
        let others = self.others();
        let key = self.key.join(", ");
        if others.is_empty() {
            return format!("on conflict ({key}) do nothing");
        }
        let set: Vec<_> = others.iter().map(|c| format!("{c} = excluded.{c}")).collect();
        let of = |row: &str| {
            let columns: Vec<_> = others.iter().map(|c| format!("{row}.{c}")).collect();
            format!("({})", columns.join(", "))
        };
        format!(
            "on conflict ({key}) do update set {} where {} is not {}",
            set.join(", "),
            of(&self.table),
            of("excluded")
        )
    }

    /// The columns beside the key, quoted.
    pub(super) fn others(&self) -> Vec<String> {
        let name = |column: &Column| column.name.sql();
        self.mapping.columns.iter().map(name).filter(|name| !self.key.contains(name)).collect()
    }

    pub(super) fn key(&self) -> &[String] {
        &self.key
    }

    pub(super) fn mapping(&self) -> &'a ResolvedMapping {
        self.mapping
    }

    /// Inserts a row. The parameters are the columns.
    pub fn insert(&self) -> String {
        let columns: Vec<_> = self.mapping.columns.iter().map(|c| c.name.sql()).collect();
        let values: Vec<_> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
        let (table, columns, values) = (&self.table, columns.join(", "), values.join(", "));
        format!("insert into {table} ({columns}) values ({values})")
    }

    /// Deletes the row with a key. The parameters are the columns of the table's key.
    pub fn delete(&self) -> String {
        let same = self.key.iter().enumerate().map(|(at, key)| format!("{key} = ?{}", at + 1));
        format!("delete from {} where {}", self.table, same.collect::<Vec<_>>().join(" and "))
    }

    /// Selects the first keys of a range, in their order. The parameters: the tenant where the table
    /// has it; `after` and `up_to`, the bounds, where the range has them; how many.
    pub fn select_keys(&self, after: bool, up_to: bool) -> String {
        let tenant = usize::from(self.mapping.definition.target.keep_tenant);
        let (tenant, key) = self.key.split_at(tenant);
        let mut parameter = 0;
        let mut parameters = |count: usize| {
            let from = parameter + 1;
            parameter += count;
            (from..=parameter).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ")
        };
        let mut conditions = Vec::new();
        for column in tenant {
            conditions.push(format!("{column} = {}", parameters(1)));
        }
        let row = key.join(", ");
        for (operator, bound) in [(">", after), ("<=", up_to)] {
            if bound {
                conditions.push(format!("({row}) {operator} ({})", parameters(key.len())));
            }
        }
        let of = match conditions.is_empty() {
            true => String::new(),
            false => format!(" where {}", conditions.join(" and ")),
        };
        format!("select {row} from {}{of} order by {row} limit {}", self.table, parameters(1))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{KeyColumn, KeyOrder, parse};

    pub(in crate::compose::sqlite) fn mapping(
        key: &[(&str, &str)],
        others: &[(&str, &str)],
        keep_tenant: bool,
    ) -> ResolvedMapping {
        let keys: Vec<_> = key.iter().map(|(name, _)| format!("{name}: {name}")).collect();
        let file = format!(
            "source: {{ table: t, tenant: tenant, key: {{ {} }} }}\n\
             query: select 1\ntarget: {{ table: notes, keep_tenant: {keep_tenant} }}\n",
            keys.join(", ")
        );
        let definition = parse(std::path::Path::new("notes.yaml"), &file).unwrap();
        let column = |(name, sql_type): &(&str, &str)| Column {
            name: Identifier::new(*name).unwrap(),
            source_type: (*sql_type).to_owned(),
            target_type: (*sql_type).to_owned(),
        };
        let key_column = |(name, sql_type): &(&str, &str)| KeyColumn {
            query_column: Identifier::new(*name).unwrap(),
            source_column: Identifier::new(*name).unwrap(),
            sql_type: (*sql_type).to_owned(),
            source_type: (*sql_type).to_owned(),
            order: KeyOrder::Native,
            equals: "=".to_owned(),
            by_text: false,
            coarse: false,
        };
        let key_columns = key.iter().map(key_column).collect();
        let columns = key.iter().chain(others).map(column).collect();
        ResolvedMapping::new(definition, column(&("tenant_id", "uuid")), key_columns, columns)
            .for_kind(crate::Kind::Sqlite)
    }

    #[test]
    fn a_table_is_made_with_four_types_and_keys_that_are_never_null() {
        let one = mapping(&[("id", "bigint")], &[("price", "numeric(9,2)")], false);
        assert_eq!(
            Apply::new(&one).create_table(),
            "create table \"notes\" (\n  \"id\" INTEGER NOT NULL,\n  \"price\" TEXT,\n  primary key (\"id\")\n)"
        );
        let two = mapping(
            &[("at", "timestamp with time zone"), ("x", "double precision")],
            &[("seen", "timestamp with time zone"), ("y", "real"), ("z", "bytea")],
            true,
        );
        assert_eq!(
            Apply::new(&two).create_table(),
            "create table \"notes\" (\n  \"tenant_id\" TEXT NOT NULL,\n  \"at\" TEXT NOT NULL,\n  \"x\" TEXT NOT NULL,\n  \
             \"seen\" TEXT,\n  \"y\" REAL,\n  \"z\" BLOB,\n  primary key (\"tenant_id\", \"at\", \"x\")\n) without rowid"
        );
    }

    #[test]
    fn rows_are_written_only_where_they_differ() {
        let one = mapping(&[("id", "bigint")], &[("a", "text"), ("b", "text")], false);
        assert_eq!(
            Apply::new(&one).upsert(),
            "insert into \"notes\" (\"id\", \"a\", \"b\") values (?1, ?2, ?3) on conflict (\"id\") do update \
             set \"a\" = excluded.\"a\", \"b\" = excluded.\"b\" \
             where (\"notes\".\"a\", \"notes\".\"b\") is not (excluded.\"a\", excluded.\"b\")"
        );
        let keys = mapping(&[("id", "bigint")], &[], false);
        assert!(Apply::new(&keys).upsert().ends_with("on conflict (\"id\") do nothing"));
    }

    #[test]
    fn a_range_is_of_one_tenant_and_has_its_parameters_in_order() {
        let shared = mapping(&[("a", "text"), ("b", "bigint")], &[], true);
        let apply = Apply::new(&shared);
        assert_eq!(
            apply.select_keys(true, true),
            "select \"a\", \"b\" from \"notes\" where \"tenant_id\" = ?1 and (\"a\", \"b\") > (?2, ?3) \
             and (\"a\", \"b\") <= (?4, ?5) order by \"a\", \"b\" limit ?6"
        );
        let own = mapping(&[("id", "bigint")], &[], false);
        assert_eq!(
            Apply::new(&own).select_keys(false, false),
            "select \"id\" from \"notes\" order by \"id\" limit ?1"
        );
        assert_eq!(
            apply.delete(),
            "delete from \"notes\" where \"tenant_id\" = ?1 and \"a\" = ?2 and \"b\" = ?3"
        );
    }

    #[test]
    fn a_mark_is_an_index_without_entries() {
        let one = mapping(&[("id", "bigint")], &[], false);
        assert_eq!(
            Apply::new(&one).mark_table("x7"),
            "create index \"offtake:notes:x7\" on \"notes\" (\"id\") where 0"
        );
    }
}
