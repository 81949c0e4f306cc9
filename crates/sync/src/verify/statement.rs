//! The statements of a comparison, built from the mapping. Names go through [`Identifier`], values
//! through [`literal`].

use std::time::Duration;

use offtake_mapping::compose::postgres::printed;
use offtake_mapping::{Identifier, KeyColumn, KeyOrder, ResolvedMapping, literal};
use offtake_postgres::TEXT_FORMAT;

use super::VerifyTarget;
use super::printed::{Common, Printed, without_modifiers};

/// A key as the text of its columns.
pub(super) type Key = Vec<String>;

/// A range of keys: beyond `after` and up to, including, `upto`; open where it is None.
#[derive(Debug, Clone, Default)]
pub(super) struct Range {
    pub(super) after: Option<Key>,
    pub(super) upto: Option<Key>,
    /// Keys in it that are left out.
    pub(super) without: Vec<Key>,
}

/// Which rows of a range.
#[derive(Debug, Clone)]
pub(super) enum Of {
    Everything,
    Shares(Vec<String>),
    Keys(Vec<Key>),
}

/// How many shares a range has.
pub(super) const SHARES: u64 = 256;

/// The checksum of rows `r` with a `digest` each.
const SUMS: &str = "count(*)::text, coalesce(sum(('x' || left(r.digest, 16))::bit(64)::bigint), 0)::text, \
                    coalesce(sum(('x' || right(r.digest, 16))::bit(64)::bigint), 0)::text";

/// A column of the destination's table, as its catalog has it.
#[derive(Debug, Clone)]
pub(super) struct TargetColumn {
    pub(super) name: String,
    /// As `format_type` prints it.
    pub(super) sql_type: String,
    /// The same without modifiers; of a domain, what it is made of.
    pub(super) base_type: String,
    /// It holds any text as it is, or its type is unknown to the source: there is nothing to cast
    /// to.
    pub(super) takes_text: bool,
    /// It tells -0 from 0.
    pub(super) signs_zero: bool,
}

/// What a side's server is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Server {
    /// It stores text in another encoding than UTF-8: what is the same text there has other bytes.
    pub(super) converts: bool,
    /// It can tell whether a text is a value of a type (Postgres 16).
    pub(super) checks: bool,
}

/// What [`Server`] is made of: two booleans as text.
pub(super) const DESCRIBE_SERVER: &str = "select (pg_catalog.current_setting('server_encoding') not in ('UTF8', 'SQL_ASCII'))::text, \
                                          (pg_catalog.to_regproc('pg_catalog.pg_input_is_valid') is not null)::text";

/// A key's column in its order.
#[derive(Debug, Clone)]
struct Ordered {
    expression: String,
    /// The expression is of the text's UTF-8 bytes: a character that the server's encoding lacks
    /// can be said in no other way.
    bytes: bool,
}

/// One side as SQL: a relation called `q`, which of its rows count, and its expressions in the
/// mapping's order.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    from: String,
    tenant: Option<String>,
    key_order: Vec<Ordered>,
    key_text: Vec<String>,
    columns: Vec<String>,
    server: Server,
}

/// Begins a transaction that only reads, and prints values as the other side does. Read committed:
/// every statement sees its own moment and holds back no vacuum in between. `row_security = off`
/// makes hidden rows an error.
pub(super) fn begin(statement_timeout: Duration, lock_timeout: Option<Duration>) -> String {
    format!(
        "begin isolation level read committed read only; {TEXT_FORMAT} set local row_security = off; set local jit = off; \
         set local statement_timeout = {limit}; set local lock_timeout = {lock}; \
         set local idle_in_transaction_session_timeout = {idle}",
        limit = statement_timeout.as_millis(),
        lock = lock_timeout.unwrap_or_default().as_millis(),
        // One side is idle while the other reads.
        idle = statement_timeout.as_millis() * 2,
    )
}

/// The same at the destination, where a stranger's schemas are on no path of ours.
pub(super) fn begin_destination(
    statement_timeout: Duration,
    lock_timeout: Option<Duration>,
) -> String {
    let begin = begin(statement_timeout, lock_timeout);
    format!("{begin}; set local search_path = pg_catalog, pg_temp")
}

/// The columns of the destination's table with their types.
pub(super) fn list_columns(schema: &Identifier, target: &VerifyTarget<'_>) -> String {
    format!(
        "select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
                pg_catalog.format_type(t.oid, null), \
                t.typcategory = 'S' or t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace \
           from pg_catalog.pg_attribute a join pg_catalog.pg_type d on d.oid = a.atttypid \
           join pg_catalog.pg_type t on t.oid = coalesce(nullif(d.typbasetype, 0), d.oid) \
           join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
          where n.nspname = {} and c.relname = {} and a.attnum > 0 and not a.attisdropped",
        literal(schema.as_str()),
        literal(target.mapping.definition.target.table.as_str()),
    )
}

/// Selects each value of a key twice, as the source prints it: by the type of the source table's
/// column, and by the type of the query's.
pub(super) fn spell_key(mapping: &ResolvedMapping, key: &[String]) -> String {
    let column = |(k, value): (&KeyColumn, &String)| {
        let by = |sql_type: &str| printed(&format!("{}::{sql_type}", literal(value)), sql_type);
        format!("{}, {}", by(&k.source_type), by(&k.sql_type))
    };
    let columns: Vec<String> = mapping.key.iter().zip(key).map(column).collect();
    format!("select {}", columns.join(", "))
}

impl Relation {
    /// The mapping's query for the tenant.
    pub(super) fn source(
        target: &VerifyTarget<'_>,
        columns: &[TargetColumn],
        server: Server,
    ) -> Self {
        let mapping = target.mapping;
        let value = |name: &Identifier| {
            printed_for(mapping, name, columns).source(&format!("q.{}", name.sql()), server.checks)
        };
        Self {
            from: mapping.rows(&format!("{}::text", literal(target.tenant_at_source))),
            tenant: Some(mapping.of_tenant(&literal(target.tenant_at_source))),
            key_order: mapping.key.iter().map(|k| ordered(k, columns, server, false)).collect(),
            key_text: mapping.key.iter().map(|k| text(&value(&k.query_column))).collect(),
            columns: mapping.columns.iter().map(|c| value(&c.name)).collect(),
            server,
        }
    }

    /// The destination's table; only the tenant's rows where tenants share it.
    pub(super) fn destination(
        schema: &Identifier,
        target: &VerifyTarget<'_>,
        columns: &[TargetColumn],
        server: Server,
    ) -> Self {
        let mapping = target.mapping;
        let keeps_tenant = mapping.definition.target.keep_tenant;
        let value = |name: &Identifier| {
            printed_for(mapping, name, columns).destination(&format!("q.{}", name.sql()))
        };
        Self {
            from: format!("{}.{} q", schema.sql(), mapping.definition.target.table.sql()),
            tenant: keeps_tenant.then(|| {
                format!(
                    "q.{} = {}",
                    mapping.columns[0].name.sql(),
                    literal(target.tenant_at_source)
                )
            }),
            key_order: mapping.key.iter().map(|k| ordered(k, columns, server, true)).collect(),
            key_text: mapping.key.iter().map(|k| text(&value(&k.query_column))).collect(),
            columns: mapping.columns.iter().map(|c| value(&c.name)).collect(),
            server,
        }
    }

    /// The key at which a range of `rows` rows ends, as text per column; no row if there are fewer.
    pub(super) fn boundary(&self, range: &Range, rows: u64) -> String {
        format!(
            "select {} from {} where {} order by {} offset {} limit 1",
            self.key_text.join(", "),
            self.from,
            self.within(range),
            self.order(),
            rows.saturating_sub(1)
        )
    }

    /// How many rows, of which only the keys are read.
    pub(super) fn count(&self, range: &Range) -> String {
        format!("select count(*)::text from {} where {}", self.from, self.within(range))
    }

    /// How many rows, and the sum of both halves of their checksums: a sum, because unlike xor it
    /// sees a row twice.
    pub(super) fn checksum(&self, range: &Range) -> String {
        format!(
            "select {SUMS} from (select {} as digest from {} where {} offset 0) r",
            self.digest(),
            self.from,
            self.within(range)
        )
    }

    /// The same for each share of a range. Shares are by a hash of the key: one pass finds them
    /// all, with or without an index.
    pub(super) fn shares(&self, range: &Range) -> String {
        format!(
            "select r.share, {SUMS} from (select {} as share, {} as digest from {} where {} offset 0) r group by r.share",
            self.share(),
            self.digest(),
            self.from,
            self.within(range)
        )
    }

    /// Keys of a range with the checksums of their rows.
    pub(super) fn rows(&self, range: &Range, of: &Of) -> String {
        let narrowed = match of {
            Of::Everything => String::new(),
            Of::Shares(shares) => {
                let shares: Vec<String> = shares.iter().map(|share| literal(share)).collect();
                format!(" and {} in ({})", self.share(), shares.join(", "))
            }
            Of::Keys(keys) => format!(" and {}", self.among(keys)),
        };
        format!(
            "select {}, {} from {} where {}{narrowed}",
            self.digest(),
            self.key_text.join(", "),
            self.from,
            self.within(range)
        )
    }

    /// Rows without a key are in no range: is there any?
    pub(super) fn null_keys(&self) -> String {
        let null: Vec<String> =
            self.key_order.iter().map(|k| format!("{} is null", k.expression)).collect();
        format!(
            "select exists (select from {} where {} and ({}))::text",
            self.from,
            self.within(&Range::default()),
            null.join(" or ")
        )
    }

    /// Keys and columns of single rows: the values' text, or only their checksums.
    pub(super) fn columns(&self, keys: &[Key], values: bool) -> String {
        let column = |c: &String| {
            let value = if values { text(c) } else { self.md5(&format!("row({c})::text")) };
            format!("case when row({c})::text <> '()' then {value} end")
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        format!(
            "select {}, {} from {} where {} and {}",
            self.key_text.join(", "),
            columns.join(", "),
            self.from,
            self.within(&Range::default()),
            self.among(keys)
        )
    }

    fn among(&self, keys: &[Key]) -> String {
        format!("({}) in ({})", self.order(), self.key_literals(keys))
    }

    /// One of [`SHARES`], as two hexadecimal digits.
    fn share(&self) -> String {
        format!("left({}, 2)", self.md5(&format!("row({})::text", self.key_text.join(", "))))
    }

    /// A row's text quotes its columns, so that no two different rows have the same; NULL is empty,
    /// '' is quoted.
    fn digest(&self) -> String {
        self.md5(&format!("row({})::text", self.columns.join(", ")))
    }

    /// The checksum of a text: of its characters, whatever bytes the server has for them.
    fn md5(&self, text: &str) -> String {
        match self.server.converts {
            true => format!("md5(convert_to({text}, 'UTF8'))"),
            false => format!("md5({text})"),
        }
    }

    fn order(&self) -> String {
        let order: Vec<&str> = self.key_order.iter().map(|k| k.expression.as_str()).collect();
        order.join(", ")
    }

    fn key_literals(&self, keys: &[Key]) -> String {
        keys.iter().map(|key| self.key_literal(key)).collect::<Vec<_>>().join(", ")
    }

    fn key_literal(&self, key: &[String]) -> String {
        let value = |(value, ordered): (&String, &Ordered)| match ordered.bytes {
            true => format!("decode('{}', 'hex')", hexadecimal(value)),
            false => literal(value),
        };
        let values: Vec<String> = key.iter().zip(&self.key_order).map(value).collect();
        format!("({})", values.join(", "))
    }

    fn within(&self, range: &Range) -> String {
        let key = self.order();
        let without = (!range.without.is_empty())
            .then(|| format!("({key}) not in ({})", self.key_literals(&range.without)));
        let after =
            range.after.as_ref().map(|after| format!("({key}) > {}", self.key_literal(after)));
        let upto = range.upto.as_ref().map(|upto| format!("({key}) <= {}", self.key_literal(upto)));
        let conditions: Vec<String> =
            self.tenant.clone().into_iter().chain(after).chain(upto).chain(without).collect();
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
    }
}

fn printed_for(mapping: &ResolvedMapping, name: &Identifier, columns: &[TargetColumn]) -> Printed {
    let column = mapping.columns.iter().find(|c| c.name == *name);
    let held = columns.iter().find(|c| c.name == name.as_str());
    column.zip(held).map_or(Printed::AsIs, |(column, held)| Printed::of(column, held))
}

/// A key's column in an order that is the same on both sides. `there`: at the destination.
fn ordered(k: &KeyColumn, columns: &[TargetColumn], server: Server, there: bool) -> Ordered {
    let mut column = format!("q.{}", k.query_column.sql());
    if k.order == KeyOrder::Text {
        let text = printed(&column, &k.sql_type);
        let expression = match server.converts {
            true => format!("convert_to({text}, 'UTF8')"),
            false => format!("({text} collate \"C\")"),
        };
        return Ordered { expression, bytes: server.converts };
    }
    // A key kept under another type would be ordered by that type.
    let held = columns.iter().find(|c| c.name == k.query_column.as_str());
    if let Some(held) = held.filter(|held| held.sql_type != k.sql_type) {
        match Common::of(&without_modifiers(&k.sql_type), &held.base_type) {
            Some(common) => column = format!("{column}::{}", common.sql_type()),
            None if there => column = format!("{column}::{}", k.sql_type),
            None => {}
        }
    }
    Ordered { expression: column, bytes: false }
}

/// The text that `COPY` would write: `::text` says `true` where COPY says `t`, and cuts the blanks
/// of a `char(n)`.
fn text(value: &str) -> String {
    format!("format('%s', {value})")
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_keysets_and_null_is_not_empty() {
        let relation = Relation {
            from: "t q".to_owned(),
            tenant: None,
            key_order: vec![
                Ordered { expression: "q.a".to_owned(), bytes: false },
                Ordered { expression: "(q.b::text collate \"C\")".to_owned(), bytes: false },
            ],
            key_text: vec![text("q.a"), text("q.b")],
            columns: vec!["q.a".to_owned(), "q.b".to_owned()],
            server: Server::default(),
        };
        let after = Some(vec!["1".to_owned(), "it's".to_owned()]);
        let mut range = Range { after, ..Range::default() };
        let rows = "select md5(row(q.a, q.b)::text), format('%s', q.a), format('%s', q.b) from t q \
                    where (q.a, (q.b::text collate \"C\")) > ('1', 'it''s')";
        assert_eq!(relation.rows(&range, &Of::Everything), rows);
        range.without.push(vec!["2".to_owned(), "b".to_owned()]);
        assert_eq!(
            relation.rows(&range, &Of::Everything),
            format!("{rows} and (q.a, (q.b::text collate \"C\")) not in (('2', 'b'))")
        );
        assert!(relation.checksum(&Range::default()).contains("where true offset 0"));
    }
}
