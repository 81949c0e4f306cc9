//! The trigger function of one table, as text.
//!
//! One function serves the four triggers of a table and of its partitions; it branches on `tg_op`, because a branch
//! costs nothing and four functions would be four things to drift. It runs inside the application's statements, so
//! it appends and nothing else: no look-up, no NOTIFY, no error of its own.

use std::fmt::Write as _;

use offtake_mapping::{Capture, CapturedColumn, CapturedTenant, Identifier, MappingSet, literal};
use sha2::{Digest, Sha256};

/// A function that captures one table's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// Within schema `offtake`; needs no quotes.
    pub(crate) name: String,
    pub(crate) body: String,
    /// Name and value as `pg_proc.proconfig` shows them.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    /// A column that it reads. A table is captured for its key or for what others match on, so there always is one.
    pub(crate) any_column: Option<Identifier>,
}

/// What every capture function runs under.
///
/// The search path is the system catalog, so that nobody's object of the same name is run with the function's rights.
///
/// Without nested loops: plpgsql keeps the plan of the session's first statement. Made for one changed row it would join
/// old and new rows by a nested loop, and a later bulk UPDATE of n rows would take n² steps inside the application's
/// statement. Hash and merge joins cost the one-row statement nothing that could be measured.
const SETTINGS: [(&str, &str); 2] = [("search_path", "pg_catalog, pg_temp"), ("enable_nestloop", "off")];

/// How keys are printed, whatever the application's session has set: otherwise they do not read back as themselves. The
/// values are those of `offtake_postgres::TEXT_FORMAT`.
const TEXT_SETTINGS: [(&str, &str); 6] = [
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
];

/// Types whose text is the same under any setting. Nearly all keys and tenants have one of these, and then the settings
/// are left out, since each costs microseconds in every statement of the application.
const TYPES_OF_ONE_TEXT: [&str; 6] = ["uuid", "smallint", "integer", "bigint", "text", "boolean"];

/// Types whose `=` is in pg_catalog, hashes, and says the same as comparing their texts.
const TYPES_EQUAL_AS_TEXT: [&str; 6] = ["uuid", "smallint", "integer", "bigint", "boolean", "date"];

/// Leaves room in Postgres' 63 bytes for `capture_` before and the hash behind.
const SLUG_CHARS_MAX: usize = 40;

impl Function {
    /// The function that `capture` needs. `set` tells the tenants' types.
    pub(crate) fn of(capture: &Capture, set: &MappingSet) -> Self {
        let any_column = capture.key.iter().chain(&capture.matched).map(|c| c.name.clone()).next();
        let mut settings = SETTINGS.to_vec();
        if !one_text(capture, set) {
            settings.extend(TEXT_SETTINGS);
        }
        Self { name: name(capture), body: body(capture), settings, any_column }
    }

    /// `offtake.name`.
    pub(crate) fn sql(&self) -> String {
        format!("offtake.{}", self.name)
    }

    /// `create or replace function …`.
    pub(crate) fn create(&self) -> String {
        let mut sql = format!("create or replace function {}() returns trigger\nlanguage plpgsql security definer\n", self.sql());
        for (setting, value) in &self.settings {
            // A list is written as one; quoted it would be a single name.
            let value = if *setting == "search_path" { (*value).to_owned() } else { literal(value) };
            let _ = writeln!(sql, "set {setting} = {value}");
        }
        let quote = dollar_quote(&self.body);
        let _ = write!(sql, "as {quote}{}{quote};", self.body);
        sql
    }

    /// The settings as the catalog shows them.
    pub(crate) fn configuration(&self) -> Vec<String> {
        self.settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// A readable part for people, and a hash that keeps apart what the readable part does not.
fn name(capture: &Capture) -> String {
    let table = capture.table.to_string();
    let slug: String =
        table.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).take(SLUG_CHARS_MAX).collect();
    let digest = Sha256::digest(capture.table.sql());
    let hash: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("capture_{slug}_{hash}")
}

/// A dollar quote that the text does not contain: an operator's tenant expression may hold any of them.
fn dollar_quote(text: &str) -> String {
    let mut quote = "$offtake$".to_owned();
    let mut n = 0;
    while text.contains(&quote) {
        n += 1;
        quote = format!("$offtake{n}$");
    }
    quote
}

fn one_text(capture: &Capture, set: &MappingSet) -> bool {
    let plain = |sql_type: &str| TYPES_OF_ONE_TEXT.contains(&sql_type) || sql_type.starts_with("character varying");
    let columns = capture.key.iter().chain(&capture.matched).all(|c| plain(&c.sql_type));
    let tenants = capture.tenants.iter().all(|tenant| match tenant {
        // The column's own type is not in the set; the queries expose it as tenant_id.
        CapturedTenant::Column(_) => set.driven_by(&capture.table.to_string()).all(|m| plain(&m.tenant_type)),
        CapturedTenant::Expression(_) => false,
        CapturedTenant::LookedUp => true,
    });
    columns && tenants
}

fn body(capture: &Capture) -> String {
    let table = Table { source_table: literal(&capture.table.to_string()).trim().to_owned(), capture };
    let rules = table.rules();
    let branch = |statement: &dyn Fn(&Rule<'_>) -> String, of_dependants: String| match rules.is_empty() {
        true => of_dependants,
        false => rules.iter().map(statement).collect::<Vec<_>>().join("\n"),
    };
    let comment = capture.table.to_string().replace(['\n', '\r'], " ");
    format!(
        "\n-- Captures changes of {comment} for Offtake. Written by `offtake init`, which also undoes edits.\n\
         #variable_conflict use_column\n\
         begin\n\
         if tg_op = 'INSERT' then\n{}\n\
         elsif tg_op = 'UPDATE' then\n{}\n\
         elsif tg_op = 'DELETE' then\n{}\n\
         else\n{}\n\
         end if;\n\
         return null;\n\
         end\n",
        branch(&|rule| rule.guarded(rule.insert(), rule.blind("new_rows", 'c')), table.insert_of_dependants()),
        branch(&|rule| rule.guarded(rule.update(), rule.blind_update()), table.update_of_dependants()),
        branch(&|rule| rule.guarded(rule.delete(), rule.blind("old_rows", 'd')), table.delete_of_dependants()),
        table.append(&format!("values ({}, 't', null, null, null)", table.source_table)),
    )
}

/// One captured table, and the statements that do not depend on its tenants.
struct Table<'a> {
    /// The table's name as a literal.
    source_table: String,
    capture: &'a Capture,
}

impl Table<'_> {
    fn append(&self, rows: &str) -> String {
        format!("  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)\n  {rows};")
    }

    fn row_key(&self) -> String {
        object(&self.capture.key)
    }

    fn matched(&self) -> String {
        if self.capture.matched.is_empty() { "null::jsonb".to_owned() } else { object(&self.capture.matched) }
    }

    /// The tenants' rules, with the one that is looked up in front: the first rule's rows carry the matched columns for
    /// the dependants, and the look-up needs them itself.
    fn rules(&self) -> Vec<Rule<'_>> {
        let mut tenants: Vec<&CapturedTenant> = self.capture.tenants.iter().collect();
        tenants.sort_by_key(|tenant| **tenant != CapturedTenant::LookedUp);
        let with_matched = |at: usize| at == 0 && !self.capture.matched.is_empty();
        tenants.into_iter().enumerate().map(|(at, tenant)| Rule { table: self, tenant, with_matched: with_matched(at) }).collect()
    }

    fn insert_of_dependants(&self) -> String {
        let (table, matched) = (&self.source_table, self.matched());
        self.append(&format!("select distinct {table}, 'c'::\"char\", null::text, null::jsonb, {matched}\n    from new_rows source"))
    }

    fn delete_of_dependants(&self) -> String {
        let (table, matched) = (&self.source_table, self.matched());
        self.append(&format!("select distinct {table}, 'd'::\"char\", null::text, null::jsonb, {matched}\n    from old_rows source"))
    }

    /// Old values that no new row has are gone, as after a DELETE.
    fn update_of_dependants(&self) -> String {
        let (table, matched) = (&self.source_table, self.matched());
        self.append(&format!(
            "select {table}, (case when bool_or(present) then 'c' else 'd' end)::\"char\", null::text, null::jsonb, matched\n    \
               from (select true as present, {matched} as matched from new_rows source\n          \
                     union all\n          \
                     select false, {matched} from old_rows source) changed\n   \
              group by matched"
        ))
    }
}

/// The statements of one tenant rule.
struct Rule<'a> {
    table: &'a Table<'a>,
    tenant: &'a CapturedTenant,
    with_matched: bool,
}

impl Rule<'_> {
    fn looked_up(&self) -> bool {
        *self.tenant == CapturedTenant::LookedUp
    }

    fn tenant_id(&self) -> String {
        match self.tenant {
            CapturedTenant::Column(column) => format!("source.{}::text", column.sql()),
            // On lines of its own, or a comment at its end would swallow what follows.
            CapturedTenant::Expression(sql) => format!("(\n{sql}\n)::text"),
            CapturedTenant::LookedUp => "null::text".to_owned(),
        }
    }

    fn matched(&self) -> String {
        if self.with_matched { self.table.matched() } else { "null::jsonb".to_owned() }
    }

    /// The columns that tell rows apart, as values that can be hashed: raw where raw values differ exactly when their
    /// texts do; else as bytes of text, since the destination has the text (`A` and `a` of a citext are two keys there).
    fn comparable(&self) -> Vec<String> {
        let columns = self.table.capture.key.iter();
        columns
            .map(|column| {
                let value = format!("source.{}", column.name.sql());
                if TYPES_EQUAL_AS_TEXT.contains(&column.sql_type.as_str()) { value } else { format!("{value}::text collate \"C\"") }
            })
            .collect()
    }

    /// The captured values of every row of a transition table.
    fn captured(&self, rows: &str) -> String {
        format!(
            "select {} as tenant_id, {} as row_key, {} as matched from {rows} source",
            self.tenant_id(),
            self.table.row_key(),
            self.matched()
        )
    }

    /// A row that belongs to nobody is not captured, unless others depend on it: then only for those.
    fn row_key_and_filter(&self, alias: &str) -> (String, String) {
        match (self.looked_up(), self.with_matched) {
            (true, _) => (format!("{alias}.row_key"), String::new()),
            (false, true) => (format!("case when {alias}.tenant_id is not null then {alias}.row_key end"), String::new()),
            (false, false) => (format!("{alias}.row_key"), format!("{alias}.tenant_id is not null")),
        }
    }

    fn every(&self, rows: &str, operation: char) -> String {
        let (row_key, filter) = self.row_key_and_filter("changed");
        let filter = if filter.is_empty() { filter } else { format!("\n   where {filter}") };
        format!(
            "select {}, '{operation}'::\"char\", changed.tenant_id, {row_key}, changed.matched\n    from ({}) changed{filter}",
            self.table.source_table,
            self.captured(rows)
        )
    }

    fn insert(&self) -> String {
        self.table.append(&self.every("new_rows", 'c'))
    }

    fn delete(&self) -> String {
        self.table.append(&self.every("old_rows", 'd'))
    }

    /// Every new row; and every old row that has no new one with its key and tenant, or had other matched columns.
    ///
    /// Joined by `=` and not by `is not distinct from`, which nothing but a nested loop can join: a key that is null
    /// has no partner then, and is looked at once more than needed.
    fn update(&self) -> String {
        let values = self.comparable();
        let named = |prefix: &str| values.iter().enumerate().map(|(at, v)| format!(", {v} as {prefix}{at}")).collect::<String>();
        let mut on: Vec<String> = (0..values.len()).map(|at| format!("before.k{at} = after.k{at}")).collect();
        if !self.looked_up() {
            on.push("before.tenant_id collate \"C\" = after.tenant_id collate \"C\"".to_owned());
        }
        let (row_key, belongs) = self.row_key_and_filter("before");
        let changed = if self.with_matched { "(after.kept is null or before.matched <> after.matched)" } else { "after.kept is null" };
        let filter = if belongs.is_empty() { changed.to_owned() } else { format!("{changed} and {belongs}") };
        self.table.append(&format!(
            "{}\n   union all\n  \
             select {}, (case when after.kept then 'c' else 'd' end)::\"char\", before.tenant_id, {row_key}, before.matched\n    \
               from (select {} as tenant_id, {} as row_key, {} as matched{} from old_rows source) before\n    \
               left join (select true as kept, {} as tenant_id, {} as matched{} from new_rows source) after\n      \
                 on {}\n   \
              where {filter}",
            self.every("new_rows", 'c'),
            self.table.source_table,
            self.tenant_id(),
            self.table.row_key(),
            self.matched(),
            named("k"),
            self.tenant_id(),
            self.matched(),
            named("k"),
            on.join(" and "),
        ))
    }

    /// An operator's expression may fail on a value nobody thought of, and the application's write must not. Only for
    /// expressions: the handler is a subtransaction in every statement of the application.
    fn guarded(&self, statement: String, otherwise: String) -> String {
        match self.tenant {
            CapturedTenant::Expression(_) => format!("  begin\n{statement}\n  exception when others then\n{otherwise}\n  end;"),
            _ => statement,
        }
    }

    /// The rows without asking for their tenant: every tenant looks again at them.
    fn blind(&self, rows: &str, operation: char) -> String {
        self.table.append(&format!(
            "select {}, '{operation}'::\"char\", null::text, {}, {}\n    from {rows} source",
            self.table.source_table,
            self.table.row_key(),
            self.matched()
        ))
    }

    fn blind_update(&self) -> String {
        let captured = |rows: &str| format!("select {} as row_key, {} as matched from {rows} source", self.table.row_key(), self.matched());
        self.table.append(&format!(
            "select {}, 'c'::\"char\", null::text, row_key, matched\n    \
               from ({}\n          \
                     union\n          \
                     {}) changed",
            self.table.source_table,
            captured("new_rows"),
            captured("old_rows")
        ))
    }
}

/// `{"column": "text", …}` of the row called `source`.
fn object(columns: &[CapturedColumn]) -> String {
    let pairs: Vec<String> =
        columns.iter().map(|c| format!("{}, source.{}::text", literal(c.name.as_str()).trim(), c.name.sql())).collect();
    format!("jsonb_build_object({})", pairs.join(", "))
}
