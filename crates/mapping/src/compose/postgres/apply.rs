//! Writing a mapping's rows into a destination.

use super::guard::{ActingKey, UpdatingKey};
use super::{
    array_literal, columns_of, ordered_key, ordered_key_bytes, ordered_literal_bytes,
    ordered_literals, row_of,
};
use crate::compose::KeyRange;
use crate::{Identifier, KeyColumn, ResolvedMapping, literal};

/// The statements of one mapping in one destination's schema.
#[derive(Debug, Clone)]
pub struct Apply<'a> {
    pub(super) mapping: &'a ResolvedMapping,
    pub(super) table: String,
    pub(super) staging: String,
    /// Restricts every statement to the tenants that are written for, where the table holds several.
    tenants: Option<Tenants>,
    /// What refers to the table and acts when a row of it is deleted.
    pub(super) acting: Vec<ActingKey>,
    /// What refers to the table and acts when a row of it changes, with the rows `c` that are
    /// written after it.
    pub(super) updating: Vec<(UpdatingKey, Option<String>)>,
    /// The destination stores text in another encoding than UTF-8.
    converts: bool,
}

/// Whose rows a statement may touch in a table that tenants share.
#[derive(Debug, Clone)]
enum Tenants {
    /// The column, and the tenant's id as a literal.
    One(String, String),
    /// The column, and their ids as the literal of an array: a staged row is its own tenant's.
    Several(String, String),
}

/// How the values of a key become SQL.
pub(super) type Literals = fn(&[KeyColumn], &[String]) -> Vec<String>;

impl<'a> Apply<'a> {
    pub fn new(mapping: &'a ResolvedMapping, schema: &Identifier, tenant_id: &str) -> Self {
        // The column's own type reads the id; the source's (an enum) need not exist here.
        let one = |column: &Identifier| Tenants::One(column.sql(), literal(tenant_id));
        Self::for_those(mapping, schema, one)
    }

    /// The same for rows of several tenants in one staging table; the mapping keeps the tenant.
    pub fn of_tenants(
        mapping: &'a ResolvedMapping,
        schema: &Identifier,
        tenant_ids: &[&str],
    ) -> Self {
        let ids = array_literal(tenant_ids.iter().copied());
        let several = |column: &Identifier| Tenants::Several(column.sql(), ids);
        Self::for_those(mapping, schema, several)
    }

    /// For a table that the search path finds: in a file that is loaded into a schema of the
    /// reader's choice. For statements that make the table and fill it.
    pub fn on_search_path(mapping: &'a ResolvedMapping, tenant_id: &str) -> Self {
        let schema = mapping.definition.target.table.clone();
        let table = mapping.definition.target.table.sql();
        Self { table, ..Self::new(mapping, &schema, tenant_id) }
    }

    fn for_those(
        mapping: &'a ResolvedMapping,
        schema: &Identifier,
        tenants: impl FnOnce(&Identifier) -> Tenants,
    ) -> Self {
        let kept = mapping.definition.target.keep_tenant.then(|| &mapping.columns[0].name);
        let tenants = kept.map(tenants);
        Self {
            mapping,
            table: format!("{}.{}", schema.sql(), mapping.definition.target.table.sql()),
            staging: format!("pg_temp.\"offtake_{}\"", mapping.version),
            tenants,
            acting: Vec::new(),
            updating: Vec::new(),
            converts: false,
        }
    }

    /// The same for a destination that stores text in another encoding than UTF-8.
    pub fn converting(self, converts: bool) -> Self {
        Self { converts, ..self }
    }

    /// The target, quoted and qualified.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Creates the table of the query's columns and the key; for mappings without `schema_sql`.
    pub fn create_table(&self) -> String {
        let key = self.mapping.target_key();
        let columns =
            self.mapping.columns.iter().map(|c| format!("  {} {}", c.name.sql(), c.target_type));
        let key: Vec<_> = key.iter().map(Identifier::sql).collect();
        format!(
            "create table {} (\n{},\n  primary key ({})\n)",
            self.table,
            columns.collect::<Vec<_>>().join(",\n"),
            key.join(", ")
        )
    }

    /// Marks a table as made for this mapping: a table without the mark is never taken over.
    pub fn mark_table(&self) -> String {
        format!(
            "comment on table {} is {}",
            self.table,
            literal(&format!("offtake:{}", self.mapping.name()))
        )
    }

    /// Creates the staging table: a temporary table with the target's own column types. Every user
    /// of it leaves it empty. An existing one is dropped first: since it was made, the target's
    /// columns may have changed.
    ///
    /// It has no constraints, because a row that stands for a deletion has only its key. It is not
    /// `on commit delete rows`: every commit would then truncate every staging table of the
    /// session, with its TOAST table and index, in the file system (8 to 17 ms for a change of one
    /// row).
    pub fn create_staging(&self) -> String {
        format!(
            "drop table if exists {0}; \
             create temporary table {0} as select false as offtake_present, {1} from {2} t with no data; \
             alter table {0} alter column offtake_present set default true",
            self.staging,
            columns_of("t", self.names()),
            self.table
        )
    }

    /// Fills the staging table by COPY: each row's mark (present or not) and its columns.
    pub fn copy_into_staging(&self) -> String {
        let columns: Vec<_> = self.names().map(Identifier::sql).collect();
        format!("copy {} (offtake_present, {}) from stdin", self.staging, columns.join(", "))
    }

    /// The same for lines without the mark, of rows that are all present.
    pub fn copy_present_into_staging(&self) -> String {
        self.copy_into(&self.staging)
    }

    /// Copies such lines into the target itself. Fails when a row of the same key is there.
    pub fn copy_into_target(&self) -> String {
        self.copy_into(&self.table)
    }

    fn copy_into(&self, table: &str) -> String {
        let columns: Vec<_> = self.names().map(Identifier::sql).collect();
        format!("copy {table} ({}) from stdin", columns.join(", "))
    }

    /// Fills the staging table with a few rows by one INSERT, which saves the round trips of a
    /// COPY. The values are as the source printed them; the target's types read them as in a COPY.
    pub fn stage<'r>(&self, rows: impl Iterator<Item = (bool, &'r [Option<String>])>) -> String {
        let columns: Vec<_> = self.names().map(Identifier::sql).collect();
        let value =
            |value: &Option<String>| value.as_deref().map_or_else(|| "null".to_owned(), literal);
        let lines = rows.map(|(present, row)| {
            let values: Vec<_> =
                std::iter::once(present.to_string()).chain(row.iter().map(value)).collect();
            format!("({})", values.join(", "))
        });
        format!(
            "insert into {} (offtake_present, {}) values {}",
            self.staging,
            columns.join(", "),
            lines.collect::<Vec<_>>().join(", ")
        )
    }

    pub fn empty_staging(&self) -> String {
        format!("delete from {}", self.staging)
    }

    /// The same, and gives back the space of rows that were deleted earlier. It writes to the
    /// catalog, so it is not done for every batch.
    pub fn truncate_staging(&self) -> String {
        format!("truncate {}", self.staging)
    }

    /// Deletes the staged keys that no longer exist.
    pub fn delete_absent(&self) -> String {
        format!(
            "delete from {} t using {} s where not s.offtake_present and {}",
            self.table,
            self.staging,
            self.same_key("t", "s")
        )
    }

    /// Deletes the rows that have the staged keys, whatever is to become of them.
    pub fn delete_staged(&self) -> String {
        format!(
            "delete from {} t using {} s where {}",
            self.table,
            self.staging,
            self.same_key("t", "s")
        )
    }

    /// Writes the staged rows, in key order, also into a key that is an identity column. A row that
    /// the table has already, byte for byte, is not written. Rows are compared by their bytes
    /// (`*<>`), because equal values can differ: 1.0 and 1.00, or '1 mon' and '30 days'.
    pub fn upsert_present(&self) -> String {
        let key = self.mapping.target_key();
        // The row is found by equality of keys. Where equal keys can differ (1.0 and 1.00), the
        // source's value is written.
        let exact = |name: &Identifier| {
            !self.mapping.key.iter().any(|k| k.by_text && k.query_column == *name)
                && (self.mapping.columns.iter())
                    .any(|c| c.name == *name && equal_means_same(&c.source_type))
        };
        let set: Vec<_> =
            self.names().filter(|name| !(key.contains(name) && exact(name))).collect();
        let key_sql: Vec<_> = key.iter().map(Identifier::sql).collect();
        let columns: Vec<_> = self.names().map(Identifier::sql).collect();
        let action = if set.is_empty() {
            "do nothing".to_owned()
        } else {
            format!(
                "do update set {} where row({})::record *<> row({})::record",
                set.iter()
                    .map(|c| format!("{0} = excluded.{0}", c.sql()))
                    .collect::<Vec<_>>()
                    .join(", "),
                columns_of("t", set.iter().copied()),
                columns_of("excluded", set.iter().copied()),
            )
        };
        format!(
            "insert into {} as t ({}) overriding system value select {} from {} s where s.offtake_present{} order by {} on conflict ({}) {action}",
            self.table,
            columns.join(", "),
            columns_of("s", self.names()),
            self.staging,
            self.of_these_tenants("s").map_or_else(String::new, |these| format!(" and {these}")),
            columns_of("s", &key),
            key_sql.join(", "),
        )
    }

    /// Deletes the rows of a key range that are not staged. The staged rows must be all rows that
    /// the source has in that range.
    ///
    /// The row with the key `spare` is kept although it is not staged: the source has it, and the
    /// destination refuses its new version.
    pub fn delete_range(&self, range: KeyRange<'_>, spare: Option<&[String]>) -> String {
        format!("delete from {} t where {}", self.table, self.outside("t", range, spare))
    }

    /// Counts the rows of a key range, to one: 0 if the range is empty.
    pub fn count_in_range(&self, range: KeyRange<'_>) -> String {
        let conditions = self.within("t", range);
        let within = match conditions.is_empty() {
            true => String::new(),
            false => format!(" where {}", conditions.join(" and ")),
        };
        format!("select count(*) from (select from {} t{within} limit 1) t", self.table)
    }

    /// The key of a row, and how its values are said for a comparison with it.
    pub(super) fn compared_key(&self, row: &str) -> (Vec<String>, Literals) {
        match self.converts {
            true => (ordered_key_bytes(row, &self.mapping.key), ordered_literal_bytes),
            false => (ordered_key(row, &self.mapping.key), ordered_literals),
        }
    }

    /// The rows of a key range that are not staged.
    pub(super) fn outside(
        &self,
        row: &str,
        range: KeyRange<'_>,
        spare: Option<&[String]>,
    ) -> String {
        let mut conditions = self.within(row, range);
        conditions.extend(spare.map(|values| self.bound(row, values, "<>")));
        conditions.push(format!(
            "not exists (select from {} s where {})",
            self.staging,
            self.same_key(row, "s")
        ));
        conditions.join(" and ")
    }

    /// The tenant's rows of a key range.
    fn within(&self, row: &str, range: KeyRange<'_>) -> Vec<String> {
        let mut conditions: Vec<String> = self.of_tenant(row).into_iter().collect();
        conditions.extend(range.after.map(|values| self.bound(row, values, ">")));
        conditions.extend(range.up_to.map(|values| self.bound(row, values, "<=")));
        conditions
    }

    fn bound(&self, row: &str, values: &[String], operator: &str) -> String {
        let (key, literals) = self.compared_key(row);
        format!("{} {operator} {}", row_of(&key), row_of(&literals(&self.mapping.key, values)))
    }

    /// Every column is part of the key.
    pub fn is_all_key(&self) -> bool {
        let key = self.mapping.target_key();
        self.names().all(|name| key.contains(name))
    }

    /// Counts the staged rows whose state in the table (present with these values, or absent) is
    /// not the staged one. Anything but 0 means that something in the destination interfered, such
    /// as a trigger.
    ///
    /// The lateral sub-select with `offset 0` finds each row by its key. A join could be planned as
    /// a scan of the whole table by its index, because nothing is known of the staging table: 24 ms
    /// for 50 rows of 100 000.
    pub fn count_not_applied(&self) -> String {
        let names: Vec<_> = self.names().collect();
        format!(
            "select count(*) from {} s left join lateral (select t.* from {} t where {} offset 0) t on true \
             where case when s.offtake_present then row({})::record *<> row({})::record else t.{} is not null end",
            self.staging,
            self.table,
            self.same_key("t", "s"),
            columns_of("t", names.iter().copied()),
            columns_of("s", names.iter().copied()),
            self.mapping.key[0].query_column.sql(),
        )
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a Identifier> + use<'a> {
        self.mapping.columns.iter().map(|c| &c.name)
    }

    /// In a table that tenants share: the row is of one of these tenants.
    pub(super) fn of_tenant(&self, row: &str) -> Option<String> {
        self.tenants.as_ref().map(|tenants| match tenants {
            Tenants::One(column, id) => format!("{row}.{column} = {id}"),
            Tenants::Several(column, ids) => format!("{row}.{column} = any ({ids})"),
        })
    }

    /// The same where several tenants are written for at once, so that a row's own value says whose
    /// it is.
    fn of_these_tenants(&self, row: &str) -> Option<String> {
        let several = matches!(self.tenants, Some(Tenants::Several(..)));
        self.of_tenant(row).filter(|_| several)
    }

    /// Both rows are one tenant's: the tenant, or one of those that are written for. That is said of
    /// the staged row. Said of the table's row, it would let the server read all rows of those
    /// tenants instead of one for each key.
    fn same_tenant(&self, row: &str, staged: &str) -> Option<String> {
        self.tenants.as_ref().map(|tenants| match tenants {
            Tenants::One(column, id) => format!("{row}.{column} = {id}"),
            Tenants::Several(column, ids) => {
                format!("{row}.{column} = {staged}.{column} and {staged}.{column} = any ({ids})")
            }
        })
    }

    pub(super) fn same_key(&self, row: &str, staged: &str) -> String {
        let same = self.mapping.key.iter().map(|k| {
            let column = k.query_column.sql();
            let equal = format!("{row}.{column} = {staged}.{column}");
            match k.by_text {
                // The table may be of `schema_sql`, with a key column that is as coarse as the
                // source's.
                true => format!(
                    "{equal} and {row}.{column}::text collate \"C\" = {staged}.{column}::text"
                ),
                false => equal,
            }
        });
        self.same_tenant(row, staged).into_iter().chain(same).collect::<Vec<_>>().join(" and ")
    }
}

/// Whether two equal values of a type always print the same.
fn equal_means_same(sql_type: &str) -> bool {
    const EXACT: [&str; 12] = [
        "uuid",
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "text",
        "character varying",
        "bytea",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "oid",
    ];
    EXACT.contains(&sql_type.split('(').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Column, KeyOrder, parse};

    /// What is written for several tenants at once names all of them in every statement that
    /// changes the table, and compares each row's own tenant.
    #[test]
    fn statements_for_several_tenants_name_them_and_compare_each_row_s_own() {
        let text = "name: notes\nsource: { table: public.note, tenant: tenant }\n\
                    query: select tenant as tenant_id, id from public.note\n\
                    target: { table: notes, keep_tenant: true }";
        let definition = parse(Path::new("notes.yaml"), text).unwrap();
        let name = |name: &str| Identifier::new(name).unwrap();
        let column = |of: &str| Column {
            name: name(of),
            source_type: "text".to_owned(),
            target_type: "text".to_owned(),
        };
        let key = KeyColumn {
            query_column: name("id"),
            source_column: name("id"),
            sql_type: "text".to_owned(),
            source_type: "text".to_owned(),
            order: KeyOrder::Text,
            equals: "=".to_owned(),
            by_text: false,
            coarse: false,
        };
        let mapping =
            ResolvedMapping::new(definition, column("tenant_id"), vec![key], vec![column("id")]);
        let apply = Apply::of_tenants(&mapping, &name("public"), &["a\"b\\c'd", "e,f"]);
        let among = format!("= any ({})", literal(r#"{"a\"b\\c'd","e,f"}"#));
        for statement in [apply.delete_absent(), apply.delete_staged(), apply.count_not_applied()] {
            assert!(statement.contains(&format!("s.\"tenant_id\" {among}")), "{statement}");
            assert!(statement.contains("t.\"tenant_id\" = s.\"tenant_id\""), "{statement}");
        }
        let range = apply.delete_range(KeyRange { after: None, up_to: None }, None);
        assert!(range.contains(&format!("t.\"tenant_id\" {among}")), "{range}");
        let upsert = apply.upsert_present();
        assert!(upsert.contains(&format!("s.\"tenant_id\" {among}")), "{upsert}");
    }
}
