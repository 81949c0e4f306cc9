//! The statements that a capture function runs.
//!
//! The statements name columns without their table. Each statement also joins a row called `gone`,
//! which has a null under the name of every captured column, *outside* the subqueries that read the
//! changed rows. SQL looks for a name in the inner query first. When the application drops or
//! renames a captured column, its writes therefore do not fail on an unknown name: the name finds
//! the null of `gone`, and the change is recorded as one of the whole table. The planner removes
//! the row, so a write pays nothing for it.
//!
//! Every name is qualified, also those of types and operators. So the function needs no search path
//! of its own, which would cost every statement of the application microseconds, and runs nothing
//! that a session's search path has in front of the catalog.
//!
//! What a statement costs the application is mostly the setting up of its plan, node by node and
//! column by column. So a statement has no node and no column that it can do without, and updates,
//! which applications make most, are the function's first branch.
//!
//! **An update** first appends every new row, then the old rows that no new row stands for. For one
//! row that is a comparison of one row with one. More rows are compared by a full join, because
//! plpgsql keeps the plan of the session's first, small statement: a full join is never a nested
//! loop, which would take n² steps for a later bulk update of n rows. The planner makes a full join
//! a left join, which can be a nested loop, where a condition rejects the nulls of one side; so no
//! condition here may do that.

use offtake_mapping::{Capture, CapturedTenant, Identifier, MappingSet, literal};

use super::Records;
use super::lists::ROWS_BEFORE_LISTS;
use super::object::object;

/// Types whose `=` is in pg_catalog, can be hashed, and gives the same result as comparing texts.
pub(super) const TYPES_EQUAL_AS_TEXT: [&str; 6] =
    ["uuid", "smallint", "integer", "bigint", "boolean", "date"];

/// The type of `gone`'s nulls, by which a lost column is recognised. The second is for tables that
/// capture a column of the first type.
const TYPES_OF_LOST_COLUMNS: [&str; 2] = ["pg_lsn", "macaddr8"];

/// `=`, wherever the session's search path finds another one.
pub(super) const EQUALS: &str = "operator(pg_catalog.=)";

/// The function's body. Without `handlers` it fails when an operator's expression fails; the trial
/// uses this.
pub(super) fn body(capture: &Capture, set: &MappingSet, handlers: bool) -> String {
    let table = Table { handlers, ..Table::of(capture, set) };
    let rules = table.rules();
    let branch =
        |statement: &dyn Fn(&Rule<'_>) -> String, of_dependants: String| match rules.is_empty() {
            true => of_dependants,
            false => rules.iter().map(statement).collect::<Vec<_>>().join("\n"),
        };
    let comment = capture.table.to_string().replace(['\n', '\r'], " ");
    format!(
        "\n-- Captures changes of {comment} for Offtake. Written by `offtake init`, which also undoes edits.\n\
         -- `gone` stands in for columns that the application drops or renames, so that its writes go on.\n\
         {}\n\
         #variable_conflict use_column\n\
         declare\n  changed_rows bigint;\n  some_left boolean;\n  all_together boolean;\n\
         begin\n\
         if tg_op operator(pg_catalog.=) 'UPDATE' then\n{}\n\
         elsif tg_op operator(pg_catalog.=) 'INSERT' then\n{}\n\
         elsif tg_op operator(pg_catalog.=) 'DELETE' then\n{}\n\
         else\n{}\n\
         end if;\n\
         return null;\n\
         end\n",
        Records::of(capture).line(),
        branch(
            &|rule| rule.guarded(rule.update(), rule.blind_update()),
            table.update_of_dependants()
        ),
        branch(
            &|rule| rule.guarded(rule.append_every("new_rows", 'c'), rule.blind("new_rows", 'c')),
            table.every_matched("new_rows", 'c')
        ),
        branch(
            &|rule| rule.guarded(rule.append_every("old_rows", 'd'), rule.blind("old_rows", 'd')),
            table.every_matched("old_rows", 'd')
        ),
        table.append(false, &[format!("values ({}, 't', null, null)", table.source_table)]),
    )
}

/// One captured table, and the statements that do not depend on its tenants.
pub(super) struct Table<'a> {
    /// The table's name as a literal.
    pub(super) source_table: String,
    pub(super) capture: &'a Capture,
    /// Whether two tenants are equal exactly when their texts are. Judged by the type of the
    /// queries' `tenant_id`, which stands for the type of the column it comes from.
    pub(super) tenant_equal_as_text: bool,
    type_of_lost_columns: &'static str,
    /// Whether an expression that fails is caught.
    handlers: bool,
}

impl<'a> Table<'a> {
    pub(super) fn of(capture: &'a Capture, set: &MappingSet) -> Self {
        let name = capture.table.to_string();
        let captures = |sql_type: &str| {
            capture.key.iter().chain(&capture.matched).any(|c| c.sql_type == sql_type)
        };
        let [usual, other] = TYPES_OF_LOST_COLUMNS;
        Self {
            source_table: literal(&name).trim().to_owned(),
            capture,
            tenant_equal_as_text: set
                .driven_by(&name)
                .all(|m| TYPES_EQUAL_AS_TEXT.contains(&m.tenant_type.as_str())),
            type_of_lost_columns: if captures(usual) { other } else { usual },
            handlers: true,
        }
    }

    /// `matched`: whether the rows of the parts have matched columns.
    pub(super) fn append(&self, matched: bool, parts: &[String]) -> String {
        let rows = parts.join("\n  union all\n  ");
        let matched = if matched { ", matched" } else { "" };
        format!(
            "  insert into offtake.captured_change (source_table, operation, tenant_id, row_key{matched})\n  {rows};"
        )
    }

    /// Every column that the statements name, without repetition.
    fn columns(&self) -> Vec<&Identifier> {
        let tenants = self.capture.tenants.iter().filter_map(|tenant| match tenant {
            CapturedTenant::Column(column) => Some(column),
            CapturedTenant::Expression(_) | CapturedTenant::LookedUp => None,
        });
        let mut columns: Vec<&Identifier> = Vec::new();
        for column in
            self.capture.key.iter().chain(&self.capture.matched).map(|c| &c.name).chain(tenants)
        {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// The row that stands in for lost columns. It is joined in front of the changed rows.
    pub(super) fn gone(&self) -> String {
        let nulls: Vec<String> = self
            .columns()
            .iter()
            .map(|column| {
                format!("null::pg_catalog.{} as {}", self.type_of_lost_columns, column.sql())
            })
            .collect();
        format!("(select {}) gone cross join lateral", nulls.join(", "))
    }

    /// Whether a column was lost, as an expression over a changed row.
    fn lost(&self) -> String {
        let types: Vec<String> = self
            .columns()
            .iter()
            .map(|column| format!("pg_catalog.pg_typeof({})::pg_catalog.oid", column.sql()))
            .collect();
        format!(
            "'pg_catalog.{}'::pg_catalog.regtype::pg_catalog.oid {EQUALS} any (array[{}])",
            self.type_of_lost_columns,
            types.join(", ")
        )
    }

    /// A change of the whole table, if a column was lost. Reads one changed row only.
    pub(super) fn whole(&self, matched: bool, rows: &str) -> String {
        let matched = if matched { ", null::pg_catalog.jsonb" } else { "" };
        format!(
            "select {}, 't'::pg_catalog.\"char\", null::pg_catalog.text, null::pg_catalog.jsonb{matched}\n    \
               from {}\n         \
                    (select {} as lost from {rows} source limit 1) first\n   \
              where first.lost",
            self.source_table,
            self.gone(),
            self.lost(),
        )
    }

    fn row_key(&self) -> String {
        object(&self.capture.key, "")
    }

    fn matched(&self) -> String {
        object(&self.capture.matched, "")
    }

    /// The tenants' rules. A tenant that is looked up comes first: only the first rule's rows carry
    /// the matched columns for the dependants, and the look-up needs these columns too.
    pub(super) fn rules(&self) -> Vec<Rule<'_>> {
        let mut tenants: Vec<&CapturedTenant> = self.capture.tenants.iter().collect();
        tenants.sort_by_key(|tenant| **tenant != CapturedTenant::LookedUp);
        let rule = |(at, tenant)| Rule {
            table: self,
            tenant,
            first: at == 0,
            with_matched: at == 0 && !self.capture.matched.is_empty(),
        };
        tenants.into_iter().enumerate().map(rule).collect()
    }

    /// All matched columns that differ. A row that lost a column is a change of the whole table.
    fn every_matched(&self, rows: &str, operation: char) -> String {
        self.append_matched(
            &format!("(case when changed.lost then 't' else '{operation}' end)"),
            &format!(
                "(select distinct {} as matched, {} as lost from {rows} source) changed",
                self.matched(),
                self.lost()
            ),
        )
    }

    /// Old values that no new row has count as deleted.
    fn update_of_dependants(&self) -> String {
        let lost = "when pg_catalog.bool_or(changed.lost) then 't'";
        let present = "when pg_catalog.bool_or(changed.present) then 'c'";
        self.append_matched(
            &format!("(case {lost} {present} else 'd' end)"),
            &format!(
                "(select true as present, {matched} as matched, {} as lost from new_rows source\n          \
                   union all\n          \
                  select false, {matched}, false from old_rows source) changed\n   \
                  group by changed.matched",
                self.lost(),
                matched = self.matched()
            ),
        )
    }

    fn append_matched(&self, operation: &str, changed: &str) -> String {
        format!(
            "  insert into offtake.captured_change (source_table, operation, matched)\n  \
               select {}, {operation}::pg_catalog.\"char\", changed.matched\n    \
                 from {}\n         {changed};",
            self.source_table,
            self.gone(),
        )
    }
}

/// The statements of one tenant rule.
pub(super) struct Rule<'a> {
    pub(super) table: &'a Table<'a>,
    pub(super) tenant: &'a CapturedTenant,
    pub(super) first: bool,
    pub(super) with_matched: bool,
}

impl Rule<'_> {
    pub(super) fn looked_up(&self) -> bool {
        *self.tenant == CapturedTenant::LookedUp
    }

    pub(super) fn tenant_id(&self) -> String {
        match self.tenant {
            CapturedTenant::Column(column) => format!("{}::pg_catalog.text", column.sql()),
            // On a line of its own; otherwise a comment at its end would swallow what follows.
            CapturedTenant::Expression(sql) => format!("(\n{sql}\n)::pg_catalog.text"),
            CapturedTenant::LookedUp => "null::pg_catalog.text".to_owned(),
        }
    }

    /// The matched columns, as the last column of a subquery of changed rows, if they are recorded.
    fn and_matched(&self) -> String {
        match self.with_matched {
            true => format!(", {} as matched", self.table.matched()),
            false => String::new(),
        }
    }

    /// The matched columns of such a subquery.
    fn matched_of(&self, alias: &str) -> String {
        if self.with_matched { format!(", {alias}.matched") } else { String::new() }
    }

    /// Key and tenant of a row, as values that can be hashed. A value is compared raw if raw values
    /// differ exactly when their texts do. Otherwise its text is compared byte by byte, because the
    /// destination stores the text (`A` and `a` of a citext are two keys there). A tenant that is
    /// part of the key is compared once.
    fn identity(&self) -> Vec<String> {
        let comparable = |value: String, equal: bool| {
            if equal { value } else { format!("{value}::pg_catalog.text collate pg_catalog.\"C\"") }
        };
        let mut values: Vec<String> = Vec::new();
        for column in &self.table.capture.key {
            values.push(comparable(
                column.name.sql(),
                TYPES_EQUAL_AS_TEXT.contains(&column.sql_type.as_str()),
            ));
        }
        match self.tenant {
            CapturedTenant::Column(column) => {
                values.push(comparable(column.sql(), self.table.tenant_equal_as_text))
            }
            CapturedTenant::Expression(_) => {
                values.push(format!("{} collate pg_catalog.\"C\"", self.tenant_id()))
            }
            CapturedTenant::LookedUp => {}
        }
        if values.iter().rev().skip(1).any(|value| Some(value) == values.last()) {
            values.pop();
        }
        values
    }

    /// The row key to record. A row without a tenant is recorded without its key: the sequencer
    /// then only looks at what depends on it.
    fn key_of_tenant(&self, alias: &str) -> String {
        match self.looked_up() {
            true => format!("{alias}.row_key"),
            false => format!("case when {alias}.tenant_id is not null then {alias}.row_key end"),
        }
    }

    /// Every row of a transition table; of a rule that appends many rows as lists, only the first
    /// rows. `tells_lost`: a row of which a column was lost is a change of the whole table.
    fn every(&self, rows: &str, operation: char, tells_lost: bool) -> String {
        let first = match self.in_lists() {
            true => format!(" limit {ROWS_BEFORE_LISTS}"),
            false => String::new(),
        };
        let (operation, lost) = match tells_lost {
            true => (
                format!("(case when changed.lost then 't' else '{operation}' end)"),
                format!(", {} as lost", self.table.lost()),
            ),
            false => (format!("'{operation}'"), String::new()),
        };
        format!(
            "select {}, {operation}::pg_catalog.\"char\", changed.tenant_id, {}{}\n    \
               from {}\n         \
                    (select {} as tenant_id, {} as row_key{}{lost} from {rows} source{first}) changed",
            self.table.source_table,
            self.key_of_tenant("changed"),
            self.matched_of("changed"),
            self.table.gone(),
            self.tenant_id(),
            self.table.row_key(),
            self.and_matched(),
        )
    }

    fn append(&self, parts: &[String]) -> String {
        self.table.append(self.with_matched, parts)
    }

    /// The statement with `part`, which tells too that a column was lost. One rule is enough to
    /// tell it.
    fn append_with_whole(&self, part: String, rows: &str) -> String {
        let mut parts = vec![part];
        if self.first {
            parts.push(self.table.whole(self.with_matched, rows));
        }
        self.append(&parts)
    }

    /// Every row of the transition table. The first rows are appended also where they have no
    /// tenant: the count of appended rows must say whether there are more.
    fn append_every(&self, rows: &str, operation: char) -> String {
        let first = self.append(&[self.every(rows, operation, self.first)]);
        match self.in_lists() {
            true => format!("{first}\n{}", self.rest(rows, operation == 'd')),
            false => first,
        }
    }

    /// Every new row is appended, so the count of appended rows is that of the updated ones. Of one
    /// row, the old and the new image are compared; of many, in [`Self::left_behind`]. A lost
    /// column of the identity compares as unequal. The others are asked for.
    fn update(&self) -> String {
        let mut identity = self.identity();
        if self.with_matched {
            identity.push(self.table.matched());
        }
        let same: Vec<String> =
            (0..identity.len()).map(|at| format!("after.k{at} {EQUALS} before.k{at}")).collect();
        let has_others = self.with_matched || self.table.capture.tenants.len() > 1;
        let (lost, or_lost) = match self.first && has_others {
            true => (format!(", {} as lost", self.table.lost()), " or after.lost"),
            false => (String::new(), ""),
        };
        let behind = self.append_with_whole(self.left_behind(), "new_rows");
        // After the INSERT, FOUND says whether there was a row; after PERFORM, whether it differs.
        format!(
            "{}\n  \
               get diagnostics changed_rows = row_count;\n  \
               if changed_rows operator(pg_catalog.=) 1 then\n    \
                 perform from {}\n         \
                         (select {values} from old_rows source) before cross join lateral\n         \
                         (select {values}{lost} from new_rows source) after\n     \
                   where ({}) is not true{or_lost};\n  \
               end if;\n  \
               if found then\n\
             {}\n  \
               end if;",
            self.append(&[self.every("new_rows", 'c', false)]),
            self.table.gone(),
            same.join(" and "),
            match self.in_lists() {
                true => self.update_of_many(&behind),
                false => behind,
            },
            values = named(&identity),
        )
    }

    /// Appends every old row for which no new row has the same key and tenant, and every old row
    /// whose matched columns changed: rows that depend on the old values must be looked at again
    /// too.
    ///
    /// Compared by `=`, because Postgres can join by `is not distinct from` only with a nested
    /// loop. So a null key never has a partner and is looked at once more than needed.
    fn left_behind(&self) -> String {
        let identity = self.identity();
        let same: Vec<String> =
            (0..identity.len()).map(|at| format!("before.k{at} {EQUALS} after.k{at}")).collect();
        let (operation, unmatched) = match self.with_matched {
            true => (
                "(case when behind.kept then 'c' else 'd' end)",
                " or before.matched operator(pg_catalog.<>) after.matched",
            ),
            false => ("'d'", ""),
        };
        format!(
            "select {}, {operation}::pg_catalog.\"char\", behind.tenant_id, {}{}\n    \
               from {}\n         \
                    (select before.tenant_id, before.row_key{}, after.kept\n            \
                       from (select {} as tenant_id, {} as row_key{and_matched}, {values} from old_rows source) before\n            \
                       full join (select true as kept{and_matched}, {values} from new_rows source) after\n              \
                         on {}\n           \
                      where after.kept is null{unmatched}) behind",
            self.table.source_table,
            self.key_of_tenant("behind"),
            self.matched_of("behind"),
            self.table.gone(),
            self.matched_of("before"),
            self.tenant_id(),
            self.table.row_key(),
            same.join(" and "),
            and_matched = self.and_matched(),
            values = named(&identity),
        )
    }

    /// An operator's expression may fail on an unexpected value; the application's write must not
    /// fail with it. Only expressions get a handler, because a handler is a subtransaction in every
    /// statement of the application.
    fn guarded(&self, statement: String, otherwise: String) -> String {
        match self.tenant {
            CapturedTenant::Expression(_) if self.table.handlers => {
                format!("  begin\n{statement}\n  exception when others then\n{otherwise}\n  end;")
            }
            CapturedTenant::Expression(_)
            | CapturedTenant::Column(_)
            | CapturedTenant::LookedUp => statement,
        }
    }

    /// The rows without evaluating their tenant: every tenant looks again at them.
    fn blind(&self, rows: &str, operation: char) -> String {
        self.append_blind(operation, &self.without_tenant(rows), rows)
    }

    fn blind_update(&self) -> String {
        let both = format!(
            "{}\n          \
              union\n          \
             {}",
            self.without_tenant("new_rows"),
            self.without_tenant("old_rows")
        );
        self.append_blind('c', &both, "new_rows")
    }

    fn append_blind(&self, operation: char, changed: &str, rows: &str) -> String {
        let every = format!(
            "select {}, '{operation}'::pg_catalog.\"char\", null::pg_catalog.text, changed.row_key{}\n    \
               from {}\n         ({changed}) changed",
            self.table.source_table,
            self.matched_of("changed"),
            self.table.gone(),
        );
        self.append_with_whole(every, rows)
    }

    fn without_tenant(&self, rows: &str) -> String {
        format!(
            "select {} as row_key{} from {rows} source",
            self.table.row_key(),
            self.and_matched()
        )
    }
}

fn named(values: &[String]) -> String {
    let named = values.iter().enumerate().map(|(at, value)| format!("{value} as k{at}"));
    named.collect::<Vec<_>>().join(", ")
}
