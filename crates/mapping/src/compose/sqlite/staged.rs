//! Writing many rows with one statement, where a statement takes few parameters: rows arrive as one
//! JSON text, an array of arrays in the order of the columns.
//!
//! JSON text carries integers of 64 bits. Doubles come as `[mantissa, exponent]`: not every SQLite
//! reads each decimal text as the double that is meant. NaN and the infinities come as text, bytes
//! as hexadecimal digits. After the columns an array has the number of its row, for [`Staged::note`].

use super::{Apply, Held, literal};
use crate::ResolvedMapping;

/// Where the rows of a statement come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// `?1` is the JSON text.
    Json,
    /// One row that is too long for that: `?1` and so on are its columns.
    Parameters,
}

/// A row of the JSON text, under a name that no column of a mapping's table hides.
const ROW: &str = "offtake_row";
const VALUE: &str = "offtake_row.value";

/// The statements of one mapping.
#[derive(Debug, Clone)]
pub struct Staged<'a> {
    apply: Apply<'a>,
    held: Vec<Held>,
    /// Of the key: its places among the columns.
    key: Vec<usize>,
}

impl<'a> Staged<'a> {
    pub fn new(mapping: &'a ResolvedMapping) -> Self {
        let place = |name| mapping.columns.iter().position(|column| column.name == name);
        Self {
            apply: Apply::new(mapping),
            held: mapping.columns.iter().map(|column| Held::of(mapping, column)).collect(),
            key: mapping.target_key().into_iter().filter_map(place).collect(),
        }
    }

    /// How the columns are held, in their order.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// The columns of the table's key, by their places in a row: the tenant's first where the table
    /// has it.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// Inserts rows, or updates them where they differ.
    pub fn upsert(&self, from: From) -> String {
        // Without a WHERE, `on` would begin the condition of a join.
        format!("{} where true {}", self.insert_as("insert", from), self.apply.where_it_differs())
    }

    /// Inserts rows whose keys are not there.
    pub fn insert(&self, from: From) -> String {
        self.insert_as("insert", from)
    }

    /// Inserts those rows that the table takes.
    pub fn insert_or_ignore(&self, from: From) -> String {
        self.insert_as("insert or ignore", from)
    }

    /// Updates those rows that differ and that the table takes. None: the key is all there is.
    pub fn update_or_ignore(&self, from: From) -> Option<String> {
        let others = self.apply.others();
        if others.is_empty() {
            return None;
        }
        let (table, set) = (self.apply.table(), others.iter());
        let set: Vec<_> = set.map(|column| format!("{column} = offtake_new.{column}")).collect();
        let same = self.apply.key().iter();
        let same: Vec<_> = same.map(|key| format!("{table}.{key} = offtake_new.{key}")).collect();
        let of = |row: &str| {
            let columns: Vec<_> = others.iter().map(|column| format!("{row}.{column}")).collect();
            format!("({})", columns.join(", "))
        };
        Some(format!(
            "update or ignore {table} set {} from ({}) as offtake_new where {} and {} is not {}",
            set.join(", "),
            self.rows(from),
            same.join(" and "),
            of(table),
            of("offtake_new")
        ))
    }

    /// Notes in `into` the numbers of the rows that are not there as they are given. `fixed` are the
    /// values of the table's first columns; `number` is the row's where it comes as parameters.
    pub fn note(&self, from: From, into: &str, fixed: &[&str], number: usize) -> String {
        let fixed: Vec<String> = fixed.iter().map(|text| literal(text)).collect();
        let (number, end) = match from {
            From::Json => (format!("{ROW}.value->>{}", self.held.len()), self.source(from)),
            From::Parameters => (number.to_string(), self.source(from)),
        };
        let table = self.apply.table();
        // One comparison of rows: a chain of conditions would be deeper than D1 allows.
        let columns = &self.apply.mapping().columns;
        let there: Vec<_> =
            columns.iter().map(|column| format!("{table}.{}", column.name.sql())).collect();
        let given: Vec<_> = (0..columns.len()).map(|at| self.value(from, at)).collect();
        format!(
            "insert or ignore into {into} select {}, {number}{end} \
             where not exists (select 1 from {table} where ({}) is ({}))",
            fixed.join(", "),
            there.join(", "),
            given.join(", ")
        )
    }

    /// Deletes the rows with keys. `?1` is the JSON text of the table's keys.
    pub fn delete(&self) -> String {
        let keys: Vec<_> = (0..self.key.len()).map(|at| self.of_key(VALUE, at, at)).collect();
        format!(
            "delete from {} where ({}) in (select {}{})",
            self.apply.table(),
            self.apply.key().join(", "),
            keys.join(", "),
            self.source(From::Json)
        )
    }

    /// Deletes the rows of a range that are not given. `?1` is the JSON text of the keys that are,
    /// without the tenant; then come the tenant where the table has it, and the bounds `after` and
    /// `up_to` where the range has them, each a JSON array.
    pub fn clear(&self, after: bool, up_to: bool) -> String {
        let tenants = usize::from(self.apply.mapping().definition.target.keep_tenant);
        let (tenant, own) = self.apply.key().split_at(tenants.min(self.apply.key().len()));
        let values = |source: &str| {
            let values = (0..own.len()).map(|at| self.of_key(source, at + tenant.len(), at));
            values.collect::<Vec<_>>().join(", ")
        };
        let row = own.join(", ");
        let mut parameter = 1;
        let mut next = || {
            parameter += 1;
            format!("?{parameter}")
        };
        let mut conditions = Vec::new();
        for (at, column) in tenant.iter().enumerate() {
            conditions.push(format!("{column} = {}", self.of_key(&next(), at, 0)));
        }
        for (operator, bound) in [(">", after), ("<=", up_to)] {
            if bound {
                conditions.push(format!("({row}) {operator} ({})", values(&next())));
            }
        }
        let given = values(VALUE);
        conditions.push(format!("({row}) not in (select {given}{})", self.source(From::Json)));
        format!("delete from {} where {}", self.apply.table(), conditions.join(" and "))
    }

    fn insert_as(&self, insert: &str, from: From) -> String {
        let columns = self.apply.mapping().columns.iter();
        let columns: Vec<_> = columns.map(|column| column.name.sql()).collect();
        let (table, columns) = (self.apply.table(), columns.join(", "));
        format!("{insert} into {table} ({columns}) {}", self.rows(from))
    }

    fn rows(&self, from: From) -> String {
        let columns = self.apply.mapping().columns.iter().enumerate();
        let columns: Vec<_> = columns
            .map(|(at, column)| format!("{} as {}", self.value(from, at), column.name.sql()))
            .collect();
        format!("select {}{}", columns.join(", "), self.source(from))
    }

    fn source(&self, from: From) -> &'static str {
        match from {
            From::Json => " from json_each(?1) as offtake_row",
            From::Parameters => "",
        }
    }

    fn value(&self, from: From, at: usize) -> String {
        match from {
            From::Json => element(self.held[at], VALUE, at),
            From::Parameters => parameter(self.held[at], at + 1),
        }
    }

    /// Element `at` of an array of key columns, of which it is the column `of`.
    fn of_key(&self, source: &str, of: usize, at: usize) -> String {
        element(self.held[self.key[of]], source, at)
    }
}

fn element(held: Held, source: &str, at: usize) -> String {
    match held {
        Held::Real => format!(
            "case json_type({source}, '$[{at}]') when 'array' then ({source}->{at}->>0) * pow(2, {source}->{at}->>1) \
             else {source}->>{at} end"
        ),
        Held::Bytes => format!("unhex({source}->>{at})"),
        Held::Integer | Held::Boolean | Held::Text | Held::Moment => format!("{source}->>{at}"),
    }
}

fn parameter(held: Held, at: usize) -> String {
    match held {
        Held::Integer | Held::Boolean => format!("cast(?{at} as INTEGER)"),
        Held::Real => {
            format!(
                "case when json_valid(?{at}) then (?{at}->>0) * pow(2, ?{at}->>1) else ?{at} end"
            )
        }
        Held::Bytes => format!("unhex(?{at})"),
        Held::Text | Held::Moment => format!("?{at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::apply::tests::mapping;
    use super::*;

    #[test]
    fn rows_are_one_parameter_and_values_keep_their_types() {
        let one = mapping(&[("id", "bigint")], &[("b", "bytea")], false);
        assert_eq!(
            Staged::new(&one).upsert(From::Json),
            "insert into \"notes\" (\"id\", \"b\") select offtake_row.value->>0 as \"id\", \
             unhex(offtake_row.value->>1) as \"b\" from json_each(?1) as offtake_row where true on conflict (\"id\") do update set \"b\" = excluded.\"b\" \
             where (\"notes\".\"b\") is not (excluded.\"b\")"
        );
        assert_eq!(
            Staged::new(&one).insert(From::Parameters),
            "insert into \"notes\" (\"id\", \"b\") select cast(?1 as INTEGER) as \"id\", unhex(?2) as \"b\""
        );
        let keys = mapping(&[("id", "bigint")], &[], false);
        assert_eq!(Staged::new(&keys).update_or_ignore(From::Json), None);
    }

    #[test]
    fn a_range_is_cleared_of_what_is_not_given_within_one_tenant() {
        let shared = mapping(&[("a", "text"), ("b", "bigint")], &[], true);
        let staged = Staged::new(&shared);
        assert_eq!(
            staged.clear(true, true),
            "delete from \"notes\" where \"tenant_id\" = ?2->>0 and (\"a\", \"b\") > (?3->>0, ?3->>1) \
             and (\"a\", \"b\") <= (?4->>0, ?4->>1) \
             and (\"a\", \"b\") not in (select offtake_row.value->>0, offtake_row.value->>1 \
             from json_each(?1) as offtake_row)"
        );
        assert_eq!(
            staged.delete(),
            "delete from \"notes\" where (\"tenant_id\", \"a\", \"b\") in \
             (select offtake_row.value->>0, offtake_row.value->>1, offtake_row.value->>2 \
             from json_each(?1) as offtake_row)"
        );
    }
}
