//! Merging a whole copy of a tenant's rows into a mapping's table, by key.
//!
//! The staged rows are all rows that the table should have of the tenant, so a row that is not
//! staged is deleted. They are staged by [`Apply::create_staging`], in a temporary table.

use super::{Apply, columns_of, literal};
use crate::Identifier;

/// Of a value that is told, its first characters.
const TOLD_CHARS_MAX: usize = 200;

/// What is told of each row that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Nothing,
    Key,
    /// The key, and the values on both sides.
    Values,
}

impl Apply<'_> {
    /// Copies lines of these columns into the staging table. `tenant`: what the other column has, in
    /// a table that tenants share.
    pub fn copy_columns_into_staging(&self, columns: &[Identifier]) -> String {
        let columns: Vec<_> = columns.iter().map(Identifier::sql).collect();
        format!("copy {} ({}) from stdin", self.staging, columns.join(", "))
    }

    /// Gives every staged row the tenant, where the table has it and the lines have not.
    pub fn stage_for_tenant(&self, tenant_id: &str) -> Option<String> {
        let kept = self.mapping.definition.target.keep_tenant;
        kept.then(|| {
            format!(
                "alter table {} alter column {} set default {}",
                self.staging,
                self.mapping.columns[0].name.sql(),
                literal(tenant_id)
            )
        })
    }

    /// Refuses staged rows of one key, and lets the planner know how many there are.
    pub fn index_staging(&self) -> String {
        let key: Vec<_> = self.mapping.target_key().iter().map(Identifier::sql).collect();
        format!("create unique index on {0} ({1}); analyze {0}", self.staging, key.join(", "))
    }

    /// Counts the rows that are to be added, changed and deleted, and those that are staged.
    pub fn count_differences(&self) -> String {
        format!(
            "select count(*) filter (where d.kind = 'add') as added, count(*) filter (where d.kind = 'change') as changed, \
             count(*) filter (where d.kind = 'delete') as deleted, (select count(*) from {}) as staged from ({}) d",
            self.staging,
            self.differences(Told::Nothing)
        )
    }

    /// The kinds and keys of the first differences, at most `limit` of each kind, and with `told` their
    /// values there and in the snapshot.
    pub fn list_differences(&self, limit: usize, told: Told) -> String {
        format!(
            "select d.kind, d.key, d.there, d.staged from (select kind, key, there, staged, row_number() over (partition by kind order by key collate \"C\") as place \
             from ({}) d) d where d.place <= {limit} order by d.kind, d.place",
            self.differences(told)
        )
    }

    /// The rows that differ, with what is told of them as JSON.
    fn differences(&self, told: Told) -> String {
        let columns = self.mapping.key.iter().map(|k| &k.query_column);
        let of = |alias: &str| match told {
            Told::Nothing => "null::text".to_owned(),
            Told::Key | Told::Values => {
                let pairs = columns.clone().map(|column| {
                    format!("{}, {alias}.{}::text", literal(column.as_str()), column.sql())
                });
                format!("jsonb_build_object({})::text", pairs.collect::<Vec<_>>().join(", "))
            }
        };
        let names: Vec<&Identifier> = self.names().collect();
        let values = |alias: &str| match told {
            Told::Nothing | Told::Key => "null::text".to_owned(),
            Told::Values => {
                let texts = names.iter().map(|name| {
                    let name = name.sql();
                    format!("left({alias}.{name}::text, {TOLD_CHARS_MAX}) as {name}")
                });
                let texts = texts.collect::<Vec<_>>().join(", ");
                format!("(select row_to_json(v)::text from (select {texts}) v)")
            }
        };
        let both = self.same_key("t", "s");
        format!(
            "select 'add' as kind, {staged_key} as key, null::text as there, {staged_values} as staged from {staging} s where not exists (select from {table} t where {both}) \
             union all select 'change', {staged_key}, {there_values}, {staged_values} from {staging} s join {table} t on {both} \
             where row({there})::record *<> row({staged})::record \
             union all select 'delete', {there_key}, {there_values}, null::text from {table} t where {gone}",
            staging = self.staging,
            table = self.table,
            staged_key = of("s"),
            there_key = of("t"),
            staged_values = values("s"),
            there_values = values("t"),
            there = columns_of("t", names.iter().copied()),
            staged = columns_of("s", names.iter().copied()),
            gone = self.outside("t", crate::compose::KeyRange::ALL, None),
        )
    }

    /// Counts the tenant's rows in the table.
    pub fn count_rows(&self) -> String {
        let condition = self.of_tenant("t").map_or_else(String::new, |of| format!(" where {of}"));
        format!("select count(*) from {} t{condition}", self.table)
    }
}
