//! The statements about a tenant's own rows.
//!
//! Every operator that decides whose a row is, or which row it is, is written with its schema. So no
//! function or operator that somebody made in a schema of the search path takes part.

mod guards;
mod parts;

use offtake_mapping::{Identifier, TableName, Tenant, literal};

use self::parts::{
    behind_key, columns, equal, from, is_tenant, key_text, names, operand, plan, same_key, stage,
    updated,
};
use super::tables::{OwnColumn, OwnTables, Reference, Resolved};

/// Keys of each kind that are told.
const KEYS_MAX: usize = 10;

/// What is done with rows that are in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rows whose key is gone come back; all others stay.
    InsertMissing,
    /// Rows that differ are made as they were, too.
    Overwrite,
    /// Rows that are not in the snapshot are deleted, too.
    Mirror,
}

/// How a planned row is told apart, in the plan's own columns.
const ADDS: &str = "offtake_adds";
const CHANGES: &str = "offtake_changes";
const DELETES: &str = "offtake_deletes";
const OWN: &str = "offtake_own";

/// Composes statements for the rows of one tenant.
pub(super) struct Statements<'a> {
    pub(super) of: &'a OwnTables,
    pub(super) tenant: &'a str,
}

/// What a name means in a rule's look-up: a table as it is, or as it will be.
type Rows<'a> = dyn Fn(&TableName) -> String + 'a;

impl Statements<'_> {
    fn table(&self, at: usize) -> &Resolved {
        &self.of.tables[at]
    }

    /// The first rows behind a key, in key order, as lines of COPY text.
    pub(super) fn copy_page(&self, at: usize, after: Option<&[String]>, rows_max: usize) -> String {
        let table = self.table(at);
        let behind = after.map_or_else(String::new, |after| {
            format!(" and {}", behind_key(table, "source", after))
        });
        format!(
            "copy (select {columns} from {from} source where {rule}{behind} order by {key} \
             limit {rows_max}) to stdout",
            columns = columns("source", table.stored()),
            from = from(table),
            rule = self.rule(table, "source", &TableName::sql),
            key = columns("source", table.key_columns()),
        )
    }

    /// Makes the table that takes a snapshot's rows, with the generated columns of the real one.
    /// `given`: the columns that the snapshot has.
    pub(super) fn create_stage(&self, at: usize, given: &[Identifier]) -> String {
        let table = self.table(at);
        let optional = table
            .stored()
            .filter(|column| column.not_null && !given.contains(&column.name))
            .map(|column| {
                format!(
                    "; alter table {} alter column {} drop not null",
                    stage(at),
                    column.name.sql()
                )
            });
        format!(
            "create temp table {} (like {} including generated) on commit drop{}",
            stage(at).trim_start_matches("pg_temp."),
            table.name.sql(),
            optional.collect::<String>()
        )
    }

    pub(super) fn copy_into_stage(&self, at: usize, given: &[Identifier]) -> String {
        let given: Vec<String> = given.iter().map(Identifier::sql).collect();
        format!("copy {} ({}) from stdin", stage(at), given.join(", "))
    }

    /// A key that a snapshot has twice is refused by it.
    pub(super) fn index_stage(&self, at: usize) -> String {
        let key: Vec<String> = self.table(at).key_columns().map(|k| k.name.sql()).collect();
        format!(
            "create unique index on {stage} ({}); analyze {stage}",
            key.join(", "),
            stage = stage(at)
        )
    }

    /// Writes down what is to be done with each row. `given`: the columns that the snapshot has.
    pub(super) fn plan(
        &self,
        at: usize,
        given: &[Identifier],
        (mode, condition): (Mode, Option<&str>),
    ) -> Vec<String> {
        let table = self.table(at);
        let written = updated(table, given);
        let differs = match (mode, written.is_empty()) {
            (Mode::InsertMissing, _) | (_, true) => "false".to_owned(),
            (Mode::Overwrite | Mode::Mirror, false) => format!(
                "row({})::record operator(pg_catalog.*<>) row({})::record",
                columns("t", written.iter().copied()),
                columns("s", written.iter().copied())
            ),
        };
        // What a snapshot does not say stays as it is.
        let kept = |column: &OwnColumn| !column.generated && !given.contains(&column.name);
        let identity = |column: &OwnColumn| {
            column.always_identity && !table.key_columns().any(|key| key.name == column.name)
        };
        let value = |column: &OwnColumn| match kept(column) {
            true => format!("x.{name} as {name}", name = column.name.sql()),
            false if identity(column) => format!(
                "case when x.offtake_there then x.{name} else s.{name} end as {name}",
                name = column.name.sql()
            ),
            false => format!("s.{}", column.name.sql()),
        };
        let values: Vec<String> = table.columns.iter().map(value).collect();
        let there = table.columns.iter().filter(|c| kept(c) || identity(c));
        let there: String = there.map(|c| format!(", t.{}", c.name.sql())).collect();
        let create = format!(
            "create temp table {plan} on commit drop as \
             select {values}, x.offtake_there is null as {ADDS}, \
                    coalesce(x.offtake_differs, false) as {CHANGES}, false as {DELETES}, \
                    coalesce(x.offtake_own, true) as {OWN} \
               from ({staged}) s \
               left join lateral ( \
                 select true as offtake_there, {differs} as offtake_differs, \
                        ({own}) is true as offtake_own{there} \
                   from {from} t where {same}) x on true",
            plan = plan(at).trim_start_matches("pg_temp."),
            values = values.join(", "),
            staged = chosen(&stage(at), None, condition),
            own = self.rule(table, "t", &TableName::sql),
            from = from(table),
            same = same_key(table, "t", "s"),
        );
        let mut statements = vec![create];
        if mode == Mode::Mirror {
            let rule = self.rule(table, "source", &TableName::sql);
            statements.push(format!(
                "insert into {plan} ({names}, {ADDS}, {CHANGES}, {DELETES}, {OWN}) \
                 select {values}, false, false, true, true from ({there}) t \
                  where not exists (select from {stage} s where {same})",
                plan = plan(at),
                names = names(&table.columns),
                values = columns("t", &table.columns),
                there = chosen(&from(table), Some(&rule), condition),
                stage = stage(at),
                same = same_key(table, "t", "s"),
            ));
        }
        let key: Vec<String> = table.key_columns().map(|k| k.name.sql()).collect();
        statements.push(format!(
            "create index on {plan} ({}); analyze {plan}",
            key.join(", "),
            plan = plan(at)
        ));
        statements
    }

    /// A plan without a row, for a table that stays as it is.
    pub(super) fn plan_nothing(&self, at: usize) -> String {
        let table = self.table(at);
        format!(
            "create temp table {} on commit drop as \
             select {}, false as {ADDS}, false as {CHANGES}, false as {DELETES}, true as {OWN} \
               from {} t where false",
            plan(at).trim_start_matches("pg_temp."),
            columns("t", &table.columns),
            from(table)
        )
    }

    /// One row: `added`, `changed`, `deleted`, `staged`.
    pub(super) fn count(&self, at: usize) -> String {
        format!(
            "select count(*) filter (where {ADDS}) as added, \
                    count(*) filter (where {CHANGES}) as changed, \
                    count(*) filter (where {DELETES}) as deleted, \
                    (select count(*) from {}) as staged from {}",
            stage(at),
            plan(at)
        )
    }

    /// One text. Where other rows would be written, or one of them has another value now, it is
    /// another one.
    pub(super) fn digest(&self, at: usize) -> String {
        let table = self.table(at);
        format!(
            "select coalesce(sum(hashtextextended( \
                      row(p.{ADDS}, p.{CHANGES}, {key}, {now})::text collate \"C\", 0)), 0)::text \
               from {plan} p left join {from} t on {same} \
              where p.{ADDS} or p.{CHANGES} or p.{DELETES}",
            key = columns("p", table.key_columns()),
            now = columns("t", &table.columns),
            plan = plan(at),
            from = from(table),
            same = same_key(table, "t", "p"),
        )
    }

    /// Keys of each kind, in key order.
    pub(super) fn list(&self, at: usize) -> String {
        let table = self.table(at);
        let of = |flag: &str, kind: &str| {
            format!(
                "(select '{kind}' as kind, {} as key from {} p where p.{flag} order by {} \
                 limit {KEYS_MAX})",
                key_text(table, "p"),
                plan(at),
                columns("p", table.key_columns())
            )
        };
        [of(ADDS, "add"), of(CHANGES, "change"), of(DELETES, "delete")].join(" union all ")
    }

    pub(super) fn delete(&self, at: usize) -> String {
        let table = self.table(at);
        format!(
            "delete from {} t using {} p where p.{DELETES} and {} and {}",
            from(table),
            plan(at),
            same_key(table, "t", "p"),
            self.rule(table, "t", &TableName::sql)
        )
    }

    /// None: the snapshot has no column but the key's.
    pub(super) fn update(&self, at: usize, given: &[Identifier]) -> Option<String> {
        let table = self.table(at);
        let written = updated(table, given);
        let sets: Vec<String> =
            written.iter().map(|c| format!("{name} = p.{name}", name = c.name.sql())).collect();
        (!sets.is_empty()).then(|| {
            format!(
                "update {} t set {} from {} p where p.{CHANGES} and {} and {}",
                from(table),
                sets.join(", "),
                plan(at),
                same_key(table, "t", "p"),
                self.rule(table, "t", &TableName::sql)
            )
        })
    }

    pub(super) fn insert(&self, at: usize, given: &[Identifier]) -> String {
        let table = self.table(at);
        let given: Vec<&OwnColumn> =
            table.stored().filter(|column| given.contains(&column.name)).collect();
        format!(
            "insert into {} ({}) overriding system value select {} from {} p \
              where p.{ADDS} and {} order by {}",
            table.name.sql(),
            names(given.iter().copied()),
            columns("p", given.iter().copied()),
            plan(at),
            self.rule(table, "p", &TableName::sql),
            columns("p", table.key_columns()),
        )
    }

    /// Keys of rows that were written and are not there as the tenant's, or were deleted and are.
    pub(super) fn list_unwritten(&self, at: usize) -> String {
        let table = self.table(at);
        let there = |rule: &str| {
            let (from, same) = (from(table), same_key(table, "t", "p"));
            format!("exists (select from {from} t where {same}{rule})")
        };
        let own = format!(" and {}", self.rule(table, "t", &TableName::sql));
        format!(
            "select {} as key from {} p \
              where ((p.{ADDS} or p.{CHANGES}) and not {}) or (p.{DELETES} and {}) limit {KEYS_MAX}",
            key_text(table, "p"),
            plan(at),
            there(&own),
            there("")
        )
    }

    /// One row: for each column that was written, in how many rows it holds another value now.
    pub(super) fn count_other_values(&self, at: usize, given: &[Identifier]) -> Option<String> {
        let table = self.table(at);
        let written = updated(table, given);
        let counts: Vec<String> = written
            .iter()
            .map(|column| {
                let name = column.name.sql();
                format!(
                    "count(*) filter (where row(t.{name})::record operator(pg_catalog.*<>) \
                     row(p.{name})::record) as {name}"
                )
            })
            .collect();
        (!counts.is_empty()).then(|| {
            format!(
                "select {} from {} p join {} t on {} where p.{ADDS} or p.{CHANGES}",
                counts.join(", "),
                plan(at),
                from(table),
                same_key(table, "t", "p")
            )
        })
    }

    /// The highest number that is added to a column, which is an integer.
    pub(super) fn highest_added(&self, at: usize, column: &Identifier) -> String {
        format!("select max(p.{}::int8) from {} p where p.{ADDS}", column.sql(), plan(at))
    }

    /// The condition that the row `alias` is the tenant's.
    fn rule(&self, table: &Resolved, alias: &str, rows: &Rows<'_>) -> String {
        let tenant = literal(self.tenant);
        match &table.tenant {
            Tenant::Everyone => "false".to_owned(),
            // The row's own columns, and no others, may be written bare.
            Tenant::Expression(sql) => format!(
                "exists (select from (select {alias}.*) source \
                  where (({sql}\n)::pg_catalog.text operator(pg_catalog.=) {tenant}))"
            ),
            Tenant::Column(name) => match table.column(name) {
                Some(column) => is_tenant(alias, column, &tenant),
                None => "false".to_owned(),
            },
            Tenant::Lookup(lookup) => {
                let mut from = Vec::new();
                let mut same = Vec::new();
                for (at, step) in lookup.steps.iter().enumerate() {
                    let before = if at == 0 { alias.to_owned() } else { format!("l{}", at - 1) };
                    from.push(format!("{} l{at}", rows(&step.table)));
                    let of = self.of.named(&step.table);
                    for (theirs, ours) in &step.matches {
                        let (theirs_sql, ours) =
                            (format!("l{at}.{}", theirs.sql()), format!("{before}.{}", ours.sql()));
                        same.push(match of.and_then(|table| table.column(theirs)) {
                            Some(column) => equal(column, &theirs_sql, &ours),
                            None => "false".to_owned(),
                        });
                    }
                }
                let last = lookup.last();
                let column = self.of.named(&last.table).and_then(|t| t.column(&lookup.column));
                same.push(column.map_or("false".to_owned(), |column| {
                    is_tenant(&format!("l{}", lookup.steps.len() - 1), column, &tenant)
                }));
                format!("exists (select from {} where {})", from.join(", "), same.join(" and "))
            }
        }
    }

    /// The rows of a table after the restore.
    fn rows_afterwards(&self, name: &TableName) -> String {
        let planned = self.of.tables.iter().position(|table| table.name == *name);
        self.rows_of(planned, name)
    }

    fn rows_of(&self, at: Option<usize>, name: &TableName) -> String {
        let Some(at) = at else { return name.sql() };
        let table = self.table(at);
        format!(
            "(select {there} from {from} c where not exists ( \
                select from {plan} r where (r.{CHANGES} or r.{DELETES}) and {same}) \
              union all \
              select {planned} from {plan} r where r.{ADDS} or r.{CHANGES})",
            there = columns("c", &table.columns),
            from = from(table),
            plan = plan(at),
            same = same_key(table, "c", "r"),
            planned = columns("r", &table.columns),
        )
    }

    fn refers(&self, reference: &Reference, parent: &str, child: &str) -> String {
        let pairs = reference.parent_columns.iter().zip(&reference.child_columns);
        let pairs = pairs.zip(&reference.equals).map(|((theirs, ours), equals)| {
            let theirs = self.reference_operand(reference.parent, parent, theirs);
            format!("{theirs} {equals} {}", self.reference_operand(reference.child, child, ours))
        });
        pairs.collect::<Vec<_>>().join(" and ")
    }

    /// A column of a foreign key, as an operand of its operator.
    fn reference_operand(&self, at: Option<usize>, alias: &str, name: &Identifier) -> String {
        let column = at.and_then(|at| self.table(at).column(name));
        let sql = format!("{alias}.{}", name.sql());
        column.map_or(sql.clone(), |column| operand(column, &sql))
    }
}

/// The rows of `from` that the rule, and the operator's condition, let through. The condition sees
/// only rows that the rule has let through, and stands on lines of its own, so that a comment in it
/// ends there.
fn chosen(from: &str, rule: Option<&str>, condition: Option<&str>) -> String {
    let own = format!("select source.* from {from} source where {}", rule.unwrap_or("true"));
    match condition {
        Some(condition) => format!("select source.* from ({own}) source where (\n{condition}\n)"),
        None => own,
    }
}
