//! What the guards of a restore look for: each statement lists keys of rows that must not be.

use offtake_mapping::{Identifier, TableName, Tenant};

use super::super::tables::Reference;
use super::parts::{equal, from, key_text, operand, plan, same_key, stage};
use super::{ADDS, CHANGES, DELETES, KEYS_MAX, OWN, Statements};

impl Statements<'_> {
    /// Keys of staged rows that are not the tenant's by themselves. None: the rule looks at other
    /// tables, which are compared when all rows are planned.
    pub(in crate::snapshots::source) fn list_foreign_stage(&self, at: usize) -> Option<String> {
        let table = self.table(at);
        if matches!(table.tenant, Tenant::Lookup(_)) {
            return None;
        }
        Some(format!(
            "select {} as key from {} s where ({}) is not true limit {KEYS_MAX}",
            key_text(table, "s"),
            stage(at),
            self.rule(table, "s", &TableName::sql)
        ))
    }

    /// Keys that are in the snapshot and belong to another tenant in the source now.
    pub(in crate::snapshots::source) fn list_taken(&self, at: usize) -> String {
        format!(
            "select {} as key from {} p where not p.{OWN} limit {KEYS_MAX}",
            key_text(self.table(at), "p"),
            plan(at)
        )
    }

    /// Keys of rows that would be written and would not be the tenant's afterwards.
    pub(in crate::snapshots::source) fn list_foreign(&self, at: usize) -> String {
        let table = self.table(at);
        format!(
            "select {} as key from {} p where (p.{ADDS} or p.{CHANGES}) and ({}) is not true \
             limit {KEYS_MAX}",
            key_text(table, "p"),
            plan(at),
            self.rule(table, "p", &|name| self.rows_afterwards(name))
        )
    }

    /// Keys of rows that would be deleted and are not the tenant's.
    pub(in crate::snapshots::source) fn list_foreign_deleted(&self, at: usize) -> String {
        let table = self.table(at);
        format!(
            "select {} as key from {} p where p.{DELETES} and ({}) is not true limit {KEYS_MAX}",
            key_text(table, "p"),
            plan(at),
            self.rule(table, "p", &TableName::sql)
        )
    }

    /// Keys of rows that would be written and refer to a row that is not there afterwards. None: the
    /// child is none of the tables.
    pub(in crate::snapshots::source) fn list_dangling(
        &self,
        reference: &Reference,
    ) -> Option<String> {
        let child = self.table(reference.child?);
        let named = reference.child_columns.iter().map(|c| format!("p.{} is not null", c.sql()));
        Some(format!(
            "select {} as key from {} p where (p.{ADDS} or p.{CHANGES}) and {} \
             and not exists (select from {} f where {}) limit {KEYS_MAX}",
            key_text(child, "p"),
            plan(reference.child?),
            named.collect::<Vec<_>>().join(" and "),
            self.rows_of(reference.parent, &reference.parent_name),
            self.refers(reference, "f", "p"),
        ))
    }

    /// Keys of rows that would be deleted or changed although another row, of any tenant, refers to
    /// them and will still do so. What a foreign key does then (`on delete cascade`) was not planned.
    /// None: the parent is none of the tables.
    pub(in crate::snapshots::source) fn list_orphaning(
        &self,
        reference: &Reference,
    ) -> Option<String> {
        let parent = self.table(reference.parent?);
        let still = format!(
            "exists (select from {} k where {} and not exists (select from {} f where {}))",
            self.rows_of(reference.child, &reference.child_name),
            self.refers(reference, "o", "k"),
            self.rows_of(reference.parent, &reference.parent_name),
            self.refers(reference, "f", "k"),
        );
        Some(format!(
            "select {key} as key from {plan} p join {from} o on {same} \
              where (p.{DELETES} or p.{CHANGES}) and {still} limit {KEYS_MAX}",
            key = key_text(parent, "p"),
            plan = plan(reference.parent?),
            from = from(parent),
            same = same_key(parent, "o", "p"),
        ))
    }

    /// Keys of rows that would be deleted while a row refers to them that is changed only afterwards.
    /// The foreign key would refuse that, or delete or change that row. None: the foreign key looks
    /// when all is written, or the child or the parent is none of the tables.
    pub(in crate::snapshots::source) fn list_referred_until_changed(
        &self,
        reference: &Reference,
    ) -> Option<String> {
        let (parent_at, child_at) = (reference.parent?, reference.child?);
        let (parent, child) = (self.table(parent_at), self.table(child_at));
        (!reference.waits_at_deletion).then(|| {
            format!(
                "select {key} as key from {plan} p join {from} o on {same} \
                  where p.{DELETES} and exists ( \
                    select from {changes} r join {children} k on {same_child} \
                     where r.{CHANGES} and {refers} and ({will_refer}) is not true) \
                  limit {KEYS_MAX}",
                key = key_text(parent, "p"),
                plan = plan(parent_at),
                from = from(parent),
                same = same_key(parent, "o", "p"),
                changes = plan(child_at),
                children = from(child),
                same_child = same_key(child, "k", "r"),
                refers = self.refers(reference, "o", "k"),
                will_refer = self.refers(reference, "o", "r"),
            )
        })
    }

    /// Keys of rows of now that have the values of some columns which another row is to have.
    /// `own`: of the tenant's rows, or of those that are not. None: a column has no `=`.
    pub(in crate::snapshots::source) fn list_holders(
        &self,
        at: usize,
        columns: &[Identifier],
        own: bool,
    ) -> Option<String> {
        let table = self.table(at);
        let same: Option<Vec<String>> = columns
            .iter()
            .map(|name| {
                let column = table.column(name).filter(|column| column.equals.is_some())?;
                let side = |alias: &str| operand(column, &format!("{alias}.{}", name.sql()));
                Some(equal(column, &format!("t.{}", name.sql()), &side("p")))
            })
            .collect();
        Some(format!(
            "select {key} as key from {from} t \
              where (({rule}) is true) = {own} \
                and exists (select from {plan} p where (p.{ADDS} or p.{CHANGES}) and {same} \
                                                   and not ({same_key})) \
                and not exists (select from {plan} p where p.{DELETES} and {same_key}) \
              limit {KEYS_MAX}",
            key = key_text(table, "t"),
            from = from(table),
            rule = self.rule(table, "t", &TableName::sql),
            plan = plan(at),
            same = same?.join(" and "),
            same_key = same_key(table, "t", "p"),
        ))
    }
}
