//! The trigger function of one table, as text.
//!
//! One function serves the four statement-level triggers of a table and of its partitions; it
//! branches on `tg_op`, because a branch costs nothing and four functions would be four things to
//! drift. It runs inside the application's statements, so it only appends: no look-up, no NOTIFY,
//! no error of its own. Its statements are in [`statements`]. A table whose rows are also written
//! through other relations has a second function, for single rows ([`rows`]).

mod lists;
mod object;
mod rows;
mod statements;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use offtake_mapping::{Capture, CapturedTenant, Identifier, MappingSet, TableName, literal};
use sha2::{Digest, Sha256};

/// A function that captures one table's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// The name within the schema `offtake`; needs no quotes.
    pub(crate) name: String,
    pub(crate) body: String,
    /// The body that is tried first. It has no exception handlers, because they would hide an
    /// expression that the role cannot run. None if there are no expressions.
    trial_body: Option<String>,
    /// The body of the function for single rows.
    pub(crate) rows_body: String,
    /// Names and values as `pg_proc.proconfig` shows them.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    /// A column that the function reads. A table is captured for its key or for the columns that
    /// other tables match on, so there is always one.
    pub(crate) any_column: Option<Identifier>,
}

/// The search path of functions that run an operator's expression or print values by settings, and
/// of those for single rows: the system catalog only. Otherwise such a function could run a foreign
/// object of the same name, with the function's rights. The other functions qualify every name and
/// have no setting at all: two settings cost half of what an empty trigger costs.
const SEARCH_PATH: (&str, &str) = ("search_path", "pg_catalog, pg_temp");

/// How keys are printed, whatever the application's session has set. Otherwise a key's text could
/// be read back as another value. The values are those of `offtake_postgres::TEXT_FORMAT`.
const TEXT_SETTINGS: [(&str, &str); 6] = [
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
];

/// Types whose text is the same under any setting. Nearly all keys and tenants have one of these
/// types. Then the text settings are left out, because each one costs microseconds in every
/// statement of the application.
const TYPES_OF_ONE_TEXT: [&str; 6] = ["uuid", "smallint", "integer", "bigint", "text", "boolean"];

/// The first words of the body's line that lists what the function captures. The same in every
/// version of Offtake, so that each can read the functions of the others.
const RECORDS: &str = "-- Records ";

/// What a function captures of its table's changes: one digest for each column, tenant and look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records(BTreeSet<String>);

impl Records {
    pub(crate) fn of(capture: &Capture) -> Self {
        let mut digests = BTreeSet::new();
        let mut add = |what: &str, text: &str| {
            let digest = Sha256::digest(format!("{what} {text}"));
            digests.insert(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect());
        };
        for column in &capture.key {
            add("key", column.name.as_str());
        }
        for tenant in &capture.tenants {
            match tenant {
                CapturedTenant::Column(column) => add("column", column.as_str()),
                CapturedTenant::Expression(sql) => add("expression", sql),
                CapturedTenant::LookedUp => add("looked up", ""),
            }
        }
        for column in &capture.matched {
            add("matched", column.name.as_str());
        }
        Self(digests)
    }

    fn in_body(body: &str) -> Option<Self> {
        let line = body.lines().find_map(|line| line.strip_prefix(RECORDS))?;
        Some(Self(line.split_whitespace().map(str::to_owned).collect()))
    }

    fn line(&self) -> String {
        format!("{RECORDS}{}", Vec::from_iter(self.0.iter().map(String::as_str)).join(" "))
    }

    /// Whether `other` captures everything that this does.
    pub(crate) fn is_part_of(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

/// Ends the name of the function for single rows.
const ROWS: &str = "_rows";

/// Leaves room in Postgres's 63 bytes for `capture_` in front, and the hash and [`ROWS`] at the
/// end.
const SLUG_CHARS_MAX: usize = 40;

impl Function {
    /// The function that `capture` needs. `set` has the tenants' types.
    pub(crate) fn of(capture: &Capture, set: &MappingSet) -> Self {
        let any_column = capture.key.iter().chain(&capture.matched).map(|c| c.name.clone()).next();
        let settings = match one_text(capture, set) {
            true => Vec::new(),
            false => [SEARCH_PATH].into_iter().chain(TEXT_SETTINGS).collect(),
        };
        let expressions =
            capture.tenants.iter().any(|tenant| matches!(tenant, CapturedTenant::Expression(_)));
        Self {
            rows_body: rows::body(capture, set, &Self::hash_for(&capture.table)),
            name: Self::name_for(&capture.table),
            body: statements::body(capture, set, true),
            trial_body: expressions.then(|| statements::body(capture, set, false)),
            settings,
            any_column,
        }
    }

    /// What the installed `body` captures, if it belongs to a capture function that was written for
    /// other needs, by any version of Offtake. None if it captures the same.
    pub(crate) fn of_others(&self, body: &str) -> Option<Records> {
        let theirs = Records::in_body(body)?;
        (Records::in_body(&self.body)? != theirs).then_some(theirs)
    }

    /// A readable part for people, and a hash that tells apart tables whose readable parts are
    /// equal.
    pub(crate) fn name_for(table: &TableName) -> String {
        let text = table.to_string();
        let slug: String = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .take(SLUG_CHARS_MAX)
            .collect();
        format!("capture_{slug}_{}", Self::hash_for(table))
    }

    /// The [`Self::hash`] of that table's function.
    pub(crate) fn hash_for(table: &TableName) -> String {
        let digest = Sha256::digest(table.sql());
        digest.iter().take(4).map(|b| format!("{b:02x}")).collect()
    }

    /// What tells apart this table's names from those of all others.
    pub(crate) fn hash(&self) -> &str {
        self.name.rsplit('_').next().unwrap_or_default()
    }

    /// `offtake.name`.
    pub(crate) fn sql(&self) -> String {
        format!("offtake.{}", self.name)
    }

    /// The name of the function for single rows.
    pub(crate) fn rows_name(&self) -> String {
        format!("{}{ROWS}", self.name)
    }

    /// `offtake.name`, of the function for single rows.
    pub(crate) fn rows_sql(&self) -> String {
        format!("offtake.{}", self.rows_name())
    }

    /// `create or replace function …`.
    pub(crate) fn create(&self) -> String {
        self.create_with(&self.sql(), &self.body, self.settings.as_slice())
    }

    /// The same, of the function for single rows.
    pub(crate) fn create_for_rows(&self) -> String {
        self.create_with(&self.rows_sql(), &self.rows_body, &self.rows_settings())
    }

    /// [`Self::create`] with the body for the trial.
    pub(crate) fn create_for_trial(&self) -> String {
        let body = self.trial_body.as_ref().unwrap_or(&self.body);
        self.create_with(&self.sql(), body, &self.settings)
    }

    fn create_with(&self, name: &str, body: &str, settings: &[(&str, &str)]) -> String {
        let mut sql = format!(
            "create or replace function {name}() returns trigger\nlanguage plpgsql security definer\n"
        );
        for (setting, value) in settings {
            // The search path is a list: in quotes it would be one single name.
            let value =
                if *setting == "search_path" { (*value).to_owned() } else { literal(value) };
            let _ = writeln!(sql, "set {setting} = {value}");
        }
        let quote = dollar_quote(body);
        let _ = writeln!(sql, "as {quote}{body}{quote};");
        sql
    }

    /// Whether [`Self::create`] differs from [`Self::create_for_trial`].
    pub(crate) fn differs_in_trial(&self) -> bool {
        self.trial_body.is_some()
    }

    /// The settings as the catalog shows them.
    pub(crate) fn configuration(&self) -> Vec<String> {
        shown(&self.settings)
    }

    /// The same, of the function for single rows.
    pub(crate) fn rows_configuration(&self) -> Vec<String> {
        shown(&self.rows_settings())
    }

    /// A function for single rows has statements that do not qualify every name.
    fn rows_settings(&self) -> Vec<(&'static str, &'static str)> {
        match self.settings.is_empty() {
            true => vec![SEARCH_PATH],
            false => self.settings.clone(),
        }
    }
}

fn shown(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// A dollar quote that the text does not contain: an operator's tenant expression may contain any
/// of them.
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
    let plain = |sql_type: &str| {
        TYPES_OF_ONE_TEXT.contains(&sql_type) || sql_type.starts_with("character varying")
    };
    let columns = capture.key.iter().chain(&capture.matched).all(|c| plain(&c.sql_type));
    let tenants = capture.tenants.iter().all(|tenant| match tenant {
        // The set does not have the column's own type; the queries expose the column as tenant_id.
        CapturedTenant::Column(_) => {
            set.driven_by(&capture.table.to_string()).all(|m| plain(&m.tenant_type))
        }
        CapturedTenant::Expression(_) => false,
        CapturedTenant::LookedUp => true,
    });
    columns && tenants
}
