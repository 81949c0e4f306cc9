//! Reading what a webhook is told: keys and rows as JSON that the source prints.

use super::fetch::{TenantKeys, Whose};
use super::{array_literal, ordered_key, ordered_literals, printed, row_of};
use crate::{Column, Identifier, KeyColumn, ResolvedMapping, literal};

/// Which rows of a mapping a webhook is told of. A row that is not accepted is to it as if the
/// query did not return it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// SQL over the mapping's columns; the operator's, never a tenant's.
    pub condition: Option<String>,
    /// Each column's text is one of these. From wherever it comes, it is only quoted.
    pub texts: Vec<(Identifier, Vec<String>)>,
}

/// What of a row goes into an event.
#[derive(Debug, Clone, Copy)]
pub struct EventShape<'a> {
    pub accepted: &'a Accepted,
    /// Whether the row's values are told, or its key only.
    pub with_data: bool,
    /// A row whose JSON has more bytes is told without its values.
    pub data_bytes_max: usize,
}

impl Accepted {
    /// The same for every row that has them: a webhook that accepts other rows is told a resync.
    pub fn fingerprint(&self) -> String {
        let texts = self.texts.iter().map(|(column, texts)| format!("{column:?} {texts:?}"));
        let texts: Vec<String> = texts.collect();
        format!("{:?} {}", self.condition, texts.join(", "))
    }

    /// A column of the filter that the mapping does not have.
    pub fn missing_in(&self, mapping: &ResolvedMapping) -> Option<&Identifier> {
        let has = |name: &Identifier| mapping.columns.iter().any(|column| column.name == *name);
        self.texts.iter().map(|(column, _)| column).find(|column| !has(column))
    }

    /// The condition on a row of the query, whose columns are in scope as those of `q`.
    fn sql(&self, mapping: &ResolvedMapping) -> String {
        // The operator's text may end in a comment.
        let condition = self.condition.iter().map(|sql| format!("(\n{sql}\n)"));
        let texts = self.texts.iter().map(|(name, texts)| {
            let column = mapping.columns.iter().find(|column| column.name == *name);
            let sql_type = column.map_or("", |column| column.source_type.as_str());
            let texts: Vec<String> = texts.iter().map(|text| literal(text)).collect();
            let value = printed(&format!("q.{}", name.sql()), sql_type);
            format!("{value} = any(array[{}]::text[])", texts.join(", "))
        });
        let conditions: Vec<String> = condition.chain(texts).collect();
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
    }
}

/// Copies out what is to be told of some keys of one tenant. `keys`: a JSON array of objects, `k`
/// as in `row_key`, `s` the sequence id of the key's change as text, `c` when it was captured. Of a
/// key that is there several times, the newest change counts.
///
/// A line has: the sequence id, when the change was captured, the key as JSON, the key as in
/// `row_key`, `u` (the row is there), `l` (its JSON is too large) or `d` (it is not there), and the
/// row as JSON. The lines are in the order of the sequence ids.
pub fn copy_events(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    keys: &str,
    shape: EventShape<'_>,
) -> String {
    format!("copy (\n{}\n) to stdout", select_events(mapping, tenant_id, keys, shape))
}

/// What [`copy_events`] copies out.
pub fn select_events(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    keys: &str,
    shape: EventShape<'_>,
) -> String {
    let given = format!("select given from jsonb_array_elements({}::jsonb) given", literal(keys));
    events_of(mapping, Whose::Tenant(tenant_id), &given, shape)
}

/// What [`select_events`] selects, of several tenants at once. The first column is the tenant's
/// place in the list, from 1 on; the second one is the tenant of the row, or of the key where there
/// is no row. The rows are in the order of the list, and of the sequence ids for each tenant.
pub fn select_events_of_tenants(
    mapping: &ResolvedMapping,
    tenants: &[TenantKeys<'_>],
    shape: EventShape<'_>,
) -> String {
    let given = format!(
        "select listed.place, listed.tenant, given from unnest({}::text[], {}::jsonb[]) with ordinality \
         listed (tenant, keys, place) cross join lateral jsonb_array_elements(listed.keys) given",
        array_literal(tenants.iter().map(|of| of.tenant_id)),
        array_literal(tenants.iter().map(|of| of.keys))
    );
    events_of(mapping, Whose::Listed, &given, shape)
}

/// `given`: selects the keys, as objects `given`; of several tenants with `place` and `tenant`.
fn events_of(
    mapping: &ResolvedMapping,
    whose: Whose<'_>,
    given: &str,
    shape: EventShape<'_>,
) -> String {
    let of = whose.tenant(mapping);
    let numbered = || mapping.key.iter().enumerate();
    let source = |k: &KeyColumn| literal(k.source_column.as_str());
    let texts = numbered().map(|(at, k)| format!("given -> 'k' ->> {} as k{at}", source(k)));
    let known = numbered().map(|(_, k)| format!("given -> 'k' ->> {} is not null", source(k)));
    let typed = numbered().map(|(at, k)| format!("k{at}::{} as k{at}", k.sql_type));
    // As in `looked_at`: equal keys that print differently are one.
    let apart: Vec<String> = numbered()
        .map(|(at, k)| match k.by_text {
            true => format!("keys.k{at} collate \"C\""),
            false => format!("keys.k{at}::{}", k.sql_type),
        })
        .collect();
    let same = numbered()
        .map(|(at, k)| k.same(&format!("q.{}", k.query_column.sql()), &format!("k.k{at}")));
    let own = numbered().map(|(at, k)| format!("q.{} as offtake_k{at}", k.query_column.sql()));
    let found: Vec<String> =
        numbered().map(|(at, _)| format!("coalesce(r.offtake_k{at}, k.k{at})")).collect();
    format!(
        "with looked_at as materialized (\n\
         select distinct on ({place}{apart}) {whose}{typed}, offtake_sequence_id, offtake_captured_at\n\
           from (select {listed}{texts}, (given ->> 's')::bigint as offtake_sequence_id, given ->> 'c' as offtake_captured_at\n\
                   from ({given}) touched where {known}) keys\n\
          order by {place}{apart}, offtake_sequence_id desc\n\
         )\n\
         select {at}{whose_row}k.offtake_sequence_id, k.offtake_captured_at, {key}, {row_key}, {row}\n\
           from looked_at k\n\
           left join lateral (\n\
         select {data} as offtake_data, {row_tenant}{own} from (\n\
         select q.* from {rows} where {tenant} and {same} offset 0\n\
           ) q where {accepted} offset 0\n\
           ) r on true order by {at}k.offtake_sequence_id",
        place = whose.listed("keys.place, "),
        whose = whose.listed(&format!("place, tenant::{} as tenant, ", mapping.tenant_type)),
        listed = whose.listed("place, tenant, "),
        at = whose.listed("k.place, "),
        whose_row = whose.listed(&format!(
            "coalesce(r.offtake_tenant, {}), ",
            printed("k.tenant", &mapping.tenant_type)
        )),
        row_tenant = whose.listed(&format!(
            "{} as offtake_tenant, ",
            printed("q.tenant_id", &mapping.tenant_type)
        )),
        apart = apart.join(", "),
        typed = join(typed, ", "),
        texts = join(texts, ", "),
        known = join(known, " and "),
        key = key_json(mapping, &found),
        row_key = row_key(mapping, &found),
        row = state_and_data(shape),
        data = data_json(mapping, shape),
        own = join(own, ", "),
        rows = mapping.rows(&of),
        tenant = mapping.of_tenant(&of),
        same = join(same, " and "),
        accepted = shape.accepted.sql(mapping),
    )
}

/// Copies out at most `limit` rows of the tenant in key order, from behind the key `after`, for a
/// backfill. The lines are those of [`copy_events`] without the first two columns; a row that is
/// not accepted has `d`.
pub fn copy_event_chunk(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    after: Option<&[String]>,
    limit: usize,
    shape: EventShape<'_>,
) -> String {
    let of = format!("{}::{}", literal(tenant_id), mapping.tenant_type);
    let order = ordered_key("q", &mapping.key);
    let beyond = match after {
        Some(after) => {
            format!(" and {} > {}", row_of(&order), row_of(&ordered_literals(&mapping.key, after)))
        }
        None => String::new(),
    };
    let own: Vec<String> =
        mapping.key.iter().map(|k| format!("q.{}", k.query_column.sql())).collect();
    format!(
        "copy (\n\
         select {key}, {row_key}, {row}\n\
           from (select q.* from {rows} where {tenant}{beyond} order by {order} limit {limit}) q\n\
           left join lateral (select {data} as offtake_data, true as offtake_k0 where {accepted} offset 0) r on true\n\
          order by {order}\n\
         ) to stdout",
        key = key_json(mapping, &own),
        row_key = row_key(mapping, &own),
        row = state_and_data(shape),
        rows = mapping.rows(&of),
        tenant = mapping.of_tenant(&of),
        order = order.join(", "),
        data = data_json(mapping, shape),
        accepted = shape.accepted.sql(mapping),
    )
}

/// Whether the row `r` is there, and its JSON.
fn state_and_data(shape: EventShape<'_>) -> String {
    let bytes = shape.data_bytes_max;
    // The first key column of a row that is there is not null.
    format!(
        "case when r.offtake_k0 is null then 'd' when octet_length(r.offtake_data) > {bytes} then 'l' else 'u' end, \
         case when octet_length(r.offtake_data) <= {bytes} then r.offtake_data end"
    )
}

/// The row `q` as JSON text: the columns that a destination's table would have.
fn data_json(mapping: &ResolvedMapping, shape: EventShape<'_>) -> String {
    if !shape.with_data {
        return "null::text".to_owned();
    }
    let values = mapping.columns.iter().map(|column| {
        let tenant =
            mapping.definition.target.keep_tenant && column.name == mapping.columns[0].name;
        let value = match tenant {
            true => format!("q.{}", mapping.tenant_column.name.sql()),
            false => format!("q.{}", column.name.sql()),
        };
        format!("{} as {}", in_json(&value, column), column.name.sql())
    });
    format!("(select row_to_json(o)::text from (select {}) o)", join(values, ", "))
}

/// The key as JSON text, with the names and the types that the row has. `values`: of its columns.
fn key_json(mapping: &ResolvedMapping, values: &[String]) -> String {
    let values = mapping.key.iter().zip(values).map(|(k, value)| {
        let column = mapping.columns.iter().find(|column| column.name == k.query_column);
        let value = column.map_or_else(|| value.clone(), |column| in_json(value, column));
        format!("{value} as {}", k.query_column.sql())
    });
    format!("(select row_to_json(o)::text from (select {}) o)", join(values, ", "))
}

/// The key as in `row_key`.
fn row_key(mapping: &ResolvedMapping, values: &[String]) -> String {
    let pairs = mapping.key.iter().zip(values).map(|(k, value)| {
        format!("{}, {}", literal(k.source_column.as_str()), printed(value, &k.sql_type))
    });
    format!("jsonb_build_object({})::text", join(pairs, ", "))
}

/// A value of a column as JSON is to have it. Numbers that a receiver's JSON library would round
/// are texts, and what exists only in the source is the text that a destination's table would have.
fn in_json(value: &str, column: &Column) -> String {
    let element = column.target_type.trim_end_matches("[]");
    let element = element.split('(').next().unwrap_or_default().trim_end();
    let array = if column.target_type.ends_with("[]") { "[]" } else { "" };
    if ["bigint", "numeric", "money"].contains(&element) {
        format!("({value})::text{array}")
    } else if column.target_type != column.source_type {
        format!("({value})::{}", column.target_type)
    } else {
        value.to_owned()
    }
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(source_type: &str, target_type: &str) -> Column {
        Column {
            name: Identifier::new("c").unwrap(),
            source_type: source_type.to_owned(),
            target_type: target_type.to_owned(),
        }
    }

    #[test]
    fn numbers_that_a_receiver_would_round_are_texts() {
        let check = |source: &str, target: &str, expect: &str| {
            assert_eq!(in_json("q.c", &column(source, target)), expect, "{source}");
        };
        check("bigint", "bigint", "(q.c)::text");
        check("numeric(10,2)", "numeric(10,2)", "(q.c)::text");
        check("money", "money", "(q.c)::text");
        check("bigint[]", "bigint[]", "(q.c)::text[]");
        check("numeric(10,2)[]", "numeric(10,2)[]", "(q.c)::text[]");
        check("app.amount", "numeric", "(q.c)::text");
        check("integer", "integer", "q.c");
        check("double precision", "double precision", "q.c");
        check("jsonb", "jsonb", "q.c");
        // What exists only in the source is the text that a destination's table would have.
        check("app.mood", "text", "(q.c)::text");
        check("app.label", "character varying(20)", "(q.c)::character varying(20)");
    }

    #[test]
    fn a_webhook_that_accepts_other_rows_has_another_fingerprint() {
        let plan = |texts: &[&str]| Accepted {
            condition: None,
            texts: vec![(
                Identifier::new("plan").unwrap(),
                texts.iter().map(|text| (*text).to_owned()).collect(),
            )],
        };
        let condition = |sql: &str| Accepted { condition: Some(sql.to_owned()), texts: vec![] };
        let all = [
            Accepted::default(),
            plan(&["pro"]),
            plan(&["pro", "team"]),
            plan(&["pro\", \"team"]),
            condition("true"),
            condition("false"),
        ];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(one.fingerprint() == other.fingerprint(), at == other_at);
            }
        }
    }
}
