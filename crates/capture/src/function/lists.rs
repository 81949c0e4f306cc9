//! How a capture function appends the rows of a statement that changes many: as lists of keys.
//!
//! One captured row has up to [`KEYS_MAX`] keys of one tenant. A row for each key costs the
//! application's statement more than the change of its own row. The sequencer gives every key of a
//! list a number of its own, so nothing behind it knows of lists.
//!
//! A trigger is not told how many rows a statement changed, and asking would cost each small
//! statement. So the first [`ROWS_BEFORE_LISTS`] rows are appended one by one. If there were as
//! many, the rows behind them follow in lists. A transition table is a list of rows that every scan
//! reads from its beginning, so "the first" are the same rows in every statement.
//!
//! **An update of many rows** must find the keys that old rows have and new rows have not. Old and
//! new rows are packed into lists by position. If every list of old keys equals the list of new
//! keys in its place, then each old key has a new one, and nothing was left behind. Postgres adds
//! both images of a row at the same position, so the lists differ only where keys changed. With
//! another order they would differ more often, and no change would be missed. Where a list differs,
//! all old and new rows are joined by key.
//!
//! **Rows of one tenant**, fewer than [`ROWS_TOGETHER`], are packed into one list, which is then
//! cut: the place of a row need not be known, and that is half of what packing costs. Rows of
//! several tenants, more rows, and keys whose length has no bound are packed by place and tenant.
//!
//! Tables that other tables depend on, and tables whose tenant is looked up, have no lists: the
//! sequencer needs the matched columns of each of their rows.

use offtake_mapping::{CapturedTenant, literal};

use super::object::object_of;
use super::statements::{EQUALS, Rule, TYPES_EQUAL_AS_TEXT};

/// So many rows of a statement are appended one by one. A list saves nothing for a few rows, and
/// costs an application that changes a hundred rows at a time two more statements.
pub(super) const ROWS_BEFORE_LISTS: u32 = 256;

/// A list of 1000 keys costs a key 6 % of what a row of its own costs; longer ones save nothing
/// more, and the sequencer takes a list in one tick.
const KEYS_MAX: u32 = 1000;

/// The texts of a list's keys end within a stretch of so many bytes of all keys' texts: a list
/// has at most these bytes and one key.
const BYTES_MAX: u32 = 256 * 1024;

/// Fewer rows than this may be packed into one list before it is cut. It bounds the memory of the
/// application's backend: some 33 MB for the old and the new list of a `uuid`, 10 of a `bigint`.
const ROWS_TOGETHER: u32 = 250_000;

/// Key and tenant of a row, as values that are compared and then printed.
struct Values {
    keys: Vec<String>,
    /// Whether the value of a key is the column's own, and not its text.
    raw: Vec<bool>,
    tenant: String,
}

impl Rule<'_> {
    /// Whether this rule appends many rows as lists.
    pub(super) fn in_lists(&self) -> bool {
        !self.looked_up() && !self.with_matched
    }

    /// Appends the rows behind the first ones, if the statement before this one appended as many.
    pub(super) fn rest(&self, rows: &str, deleted: bool) -> String {
        let by_place = format!(
            "  {}\n    \
                  from ({}) lists\n   \
                 where lists.page operator(pg_catalog.>) 0;",
            self.append_lists(deleted),
            self.lists(rows, true)
        );
        let append = match self.of_one_tenant() {
            Some(together) => format!(
                "  with first_rows as materialized ({}), after as materialized ({}), appended as (\n  \
                   {}\n    \
                      from {} lists\n  \
                   )\n  \
                   select after.together from after into all_together;\n  \
                   if all_together is not true then\n{by_place}\n  end if;",
                together.first_rows(rows),
                together.collected(rows),
                self.append_lists(deleted),
                together.cut(false),
            ),
            None => by_place,
        };
        format!(
            "  get diagnostics changed_rows = row_count;\n  \
               if changed_rows operator(pg_catalog.>=) {ROWS_BEFORE_LISTS} then\n{append}\n  end if;"
        )
    }

    /// What follows the first rows of an update of several rows. `few` appends the old rows that
    /// were left behind where there are no more than the first.
    pub(super) fn update_of_many(&self, few: &str) -> String {
        let places = ["page", "bytes", "tenant"]
            .map(|place| format!("before.{place} {EQUALS} after.{place}"))
            .join(" and ");
        let same: Vec<String> = (0..self.values().keys.len())
            .map(|at| format!("before.k{at} {EQUALS} after.k{at}"))
            .collect();
        let same = same.join(" and ");
        let lost = match self.first {
            true => {
                format!("\n{}", self.table.append(false, &[self.table.whole(false, "new_rows")]))
            }
            false => String::new(),
        };
        let by_place = format!(
            "  with after as materialized ({}), before as materialized ({}), appended as (\n  \
               {}\n    \
                  from after lists\n   \
                 where lists.page operator(pg_catalog.>) 0\n  \
               )\n  \
               select exists (select from before full join after on {places} where ({same}) is not true)\n    \
                 into some_left;",
            self.lists("new_rows", true),
            self.lists("old_rows", false),
            self.append_lists(false),
        );
        let append = match self.of_one_tenant() {
            Some(together) => format!(
                "  with first_rows as materialized ({}), after as materialized ({}), before as materialized ({}), appended as (\n  \
                   {}\n    \
                      from {} lists\n  \
                   )\n  \
                   select case when before.together and after.together then ({same}) is not true end\n    \
                      from before cross join after into some_left;\n  \
                   if some_left is null then\n{by_place}\n  end if;",
                together.first_rows("new_rows"),
                together.collected("new_rows"),
                together.collected("old_rows"),
                self.append_lists(false),
                together.cut(true),
            ),
            None => by_place,
        };
        format!(
            "  if changed_rows operator(pg_catalog.>=) {ROWS_BEFORE_LISTS} then\n{append}\n  \
               if some_left then\n{}\n  end if;{lost}\n  \
               else\n{few}\n  end if;",
            self.left_behind_in_lists(),
        )
    }

    /// `insert … select …` of `lists`.
    fn append_lists(&self, deleted: bool) -> String {
        let key_column = match self.table.capture.key.as_slice() {
            [column] => literal(column.name.as_str()).trim().to_owned(),
            _ => "null".to_owned(),
        };
        format!(
            "insert into offtake.captured_change (source_table, operation, tenant_id, keys, key_count, key_column, keys_deleted)\n  \
               select {}, 't'::pg_catalog.\"char\", lists.tenant::pg_catalog.text, {}, lists.key_count, {key_column}, {deleted}",
            self.table.source_table,
            match self.values().keys.len() {
                1 => "lists.k0::pg_catalog.text[]",
                _ => "lists.keys",
            },
        )
    }

    /// The rows of a transition table, packed by tenant and position. Page 0 has the first rows.
    fn lists(&self, rows: &str, printed: bool) -> String {
        let values = self.values();
        let columns =
            format!("select {}, {} as tenant from {rows} source", values.named(), values.tenant);
        self.packed(&columns, ROWS_BEFORE_LISTS, printed)
    }

    /// Packs rows that have a tenant and the values `k0`, `k1`, … of a key. The `first` rows are
    /// page 0; pages of lists count from 1.
    fn packed(&self, rows: &str, first: u32, printed: bool) -> String {
        let values = self.values();
        let lists = (0..values.keys.len())
            .map(|at| format!("pg_catalog.array_agg(packed.k{at}) as k{at}"))
            .collect::<Vec<_>>()
            .join(", ");
        let objects = match printed && values.keys.len() > 1 {
            true => format!(", pg_catalog.array_agg({}) as keys", self.printed_object("packed")),
            false => String::new(),
        };
        let page = format!(
            "(pg_catalog.row_number() over counted operator(pg_catalog.-) {first} operator(pg_catalog.+) {}) operator(pg_catalog./) {KEYS_MAX}",
            KEYS_MAX - 1
        );
        format!(
            "\n         \
              select packed.page, packed.bytes, packed.tenant, pg_catalog.count(*)::pg_catalog.int4 as key_count, {lists}{objects}\n           \
                from (select {page} as page, {} as bytes, counted.*\n                   \
                        from {}\n                        ({rows}) counted\n                 \
                      window counted as (rows unbounded preceding)) packed\n          \
               where packed.tenant is not null\n          \
               group by packed.page, packed.bytes, packed.tenant",
            values.stretch(),
            self.table.gone(),
        )
    }

    /// How rows of one tenant are packed, if the length of their keys has a bound.
    fn of_one_tenant(&self) -> Option<OfOneTenant<'_>> {
        let values = self.values();
        values.raw.iter().all(|raw| *raw).then_some(OfOneTenant { rule: self, values })
    }

    fn printed_object(&self, row: &str) -> String {
        let object = object_of(&self.table.capture.key, |at, _| format!("{row}.k{at}"));
        format!("{object}::pg_catalog.text")
    }

    /// Appends, in lists, every old key and tenant that no new row has. A full join, as for a few
    /// rows; nothing is printed before it is known to be left.
    fn left_behind_in_lists(&self) -> String {
        let values = self.values();
        let mut same: Vec<String> = (0..values.keys.len()).map(|at| format!("k{at}")).collect();
        same.push("tenant".to_owned());
        let columns: Vec<String> = same.iter().map(|name| format!("before.{name}")).collect();
        let same: Vec<String> =
            same.iter().map(|name| format!("before.{name} {EQUALS} after.{name}")).collect();
        let behind = format!(
            "select {}\n                          \
               from (select {named}, {tenant} as tenant from old_rows source) before\n                          \
               full join (select true as kept, {named}, {tenant} as tenant from new_rows source) after\n                            \
                 on {}\n                         \
              where after.kept is null",
            columns.join(", "),
            same.join(" and "),
            named = values.named(),
            tenant = values.tenant,
        );
        format!(
            "  {}\n    from ({}) lists;",
            self.append_lists(true),
            self.packed(&behind, 0, true)
        )
    }

    /// As [`Rule::identity`] has them, but the tenant always by itself.
    fn values(&self) -> Values {
        let text = |value: &str| format!("{value}::pg_catalog.text collate pg_catalog.\"C\"");
        let key = &self.table.capture.key;
        let raw: Vec<bool> =
            key.iter().map(|c| TYPES_EQUAL_AS_TEXT.contains(&c.sql_type.as_str())).collect();
        let keys = key.iter().zip(&raw).map(|(column, raw)| match raw {
            true => column.name.sql(),
            false => text(&column.name.sql()),
        });
        let tenant = match self.tenant {
            CapturedTenant::Column(column) if self.table.tenant_equal_as_text => column.sql(),
            _ => format!("{} collate pg_catalog.\"C\"", self.tenant_id()),
        };
        Values { keys: keys.collect(), raw, tenant }
    }
}

/// Packs the rows of a transition table into one list, where they are of one tenant.
struct OfOneTenant<'a> {
    rule: &'a Rule<'a>,
    values: Values,
}

impl OfOneTenant<'_> {
    /// The tenant of the first row, and whether all first rows have it. Most statements of several
    /// tenants are told by this.
    fn first_rows(&self, rows: &str) -> String {
        let gone = self.rule.table.gone();
        let tenant = &self.values.tenant;
        format!(
            "\n         \
              select first.tenant, pg_catalog.bool_and(other.tenant {EQUALS} first.tenant) as alike\n           \
                from (select source.tenant from {gone}\n                        \
                             (select {tenant} as tenant from {rows} source limit 1) source) first\n          \
               cross join (select source.tenant from {gone}\n                        \
                             (select {tenant} as tenant from {rows} source limit {ROWS_BEFORE_LISTS}) source) other\n          \
               group by first.tenant"
        )
    }

    /// The values of all keys in the order of the rows, as `k0`, `k1`, …; `together`: whether that
    /// is all of them and each row is of the first row's tenant. Not true without any row.
    fn collected(&self, rows: &str) -> String {
        let lists = (0..self.values.keys.len())
            .map(|at| format!("pg_catalog.array_agg(collected.k{at}) as k{at}"))
            .collect::<Vec<_>>()
            .join(", ");
        format!(
            "\n         \
              select {lists},\n                \
                     pg_catalog.bool_and((collected.tenant {EQUALS} (select tenant from first_rows)) is true)\n                  \
                       and pg_catalog.count(*) operator(pg_catalog.<) {ROWS_TOGETHER} as together\n           \
                from {}\n                \
                     (select {}, {} as tenant from {rows} source\n                  \
                       limit (select case when alike then {ROWS_TOGETHER} else 0 end from first_rows)) collected",
            self.rule.table.gone(),
            self.values.named(),
            self.values.tenant,
        )
    }

    /// What [`Self::collected`] gives as `after`, cut into the lists to append; nothing, if rows
    /// are not together. `with_before`: old rows were collected too, as `before`.
    fn cut(&self, with_before: bool) -> String {
        let slice = |at: usize| {
            format!("after.k{at}[cut.at:cut.at operator(pg_catalog.+) {}]", KEYS_MAX - 1)
        };
        let slices: Vec<String> = (0..self.values.keys.len()).map(slice).collect();
        let (and_before, and_they) = match with_before {
            true => (" cross join before", " and before.together"),
            false => ("", ""),
        };
        let keys = match slices.as_slice() {
            [slice] => format!("{slice} as k0"),
            _ => {
                let names: Vec<String> = (0..slices.len()).map(|at| format!("k{at}")).collect();
                format!(
                    "(select pg_catalog.array_agg({} order by key.place)\n                          \
                        from rows from ({}) with ordinality key ({}, place)) as keys",
                    self.rule.printed_object("key"),
                    slices
                        .iter()
                        .map(|slice| format!("pg_catalog.unnest({slice})"))
                        .collect::<Vec<_>>()
                        .join(", "),
                    names.join(", "),
                )
            }
        };
        format!(
            "(select first_rows.tenant, {keys},\n                  \
                     pg_catalog.cardinality({}) as key_count\n             \
                from after{and_before} cross join first_rows\n            \
               cross join lateral pg_catalog.generate_series({}, pg_catalog.cardinality(after.k0), {KEYS_MAX}) cut (at)\n            \
               where after.together{and_they})",
            slices[0],
            ROWS_BEFORE_LISTS + 1,
        )
    }
}

impl Values {
    fn named(&self) -> String {
        let named = self.keys.iter().enumerate().map(|(at, value)| format!("{value} as k{at}"));
        named.collect::<Vec<_>>().join(", ")
    }

    /// Which stretch of bytes a row's key ends in. Values that are not texts are small.
    fn stretch(&self) -> String {
        let texts: Vec<String> = (0..self.keys.len())
            .filter(|at| !self.raw[*at])
            .map(|at| format!("coalesce(pg_catalog.octet_length(counted.k{at}), 0)"))
            .collect();
        match texts.is_empty() {
            true => "0".to_owned(),
            false => format!(
                "pg_catalog.sum({}) over counted operator(pg_catalog./) {BYTES_MAX}",
                texts.join(" operator(pg_catalog.+) ")
            ),
        }
    }
}
