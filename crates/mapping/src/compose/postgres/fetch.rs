//! Reading a mapping's rows out of the source.

use super::{array_literal, ordered_key, ordered_literals, printed, row_of};
use crate::compose::{Changed, KeyRange};
use crate::{Column, KeyColumn, KeyOrder, ResolvedMapping, literal};

/// Copies out the current state of every changed key, one line each: whether the query returns a
/// row for it (`t` or `f`), then the mapping's columns. With `f` only the key columns are set: that
/// row must not exist in the destination.
pub fn copy_changed(mapping: &ResolvedMapping, changed: Changed<'_>) -> String {
    let whose = Whose::Tenant(changed.tenant_id);
    copied(&looked_at(mapping, whose, &touched(mapping, changed), ""))
}

/// The same for the keys of a JSON array, each written as in `row_key`; in key order.
pub fn copy_keys(mapping: &ResolvedMapping, tenant_id: &str, keys: &str) -> String {
    copied(&select_keys(mapping, tenant_id, keys))
}

/// Copies out what a statement selects.
pub fn copied(select: &str) -> String {
    format!("copy (\n{select}\n) to stdout")
}

/// Selects what [`copy_keys`] copies: a column for each value of a line.
pub fn select_keys(mapping: &ResolvedMapping, tenant_id: &str, keys: &str) -> String {
    let given = format!(
        "select {} from jsonb_array_elements({}::jsonb) row_key",
        key_texts(mapping),
        literal(keys)
    );
    let order = format!(" order by {}", in_key_order(mapping));
    looked_at(mapping, Whose::Tenant(tenant_id), &given, &order)
}

/// Some keys of one tenant: a JSON array, each key as in `row_key`.
#[derive(Debug, Clone, Copy)]
pub struct TenantKeys<'a> {
    pub tenant_id: &'a str,
    pub keys: &'a str,
}

/// What [`select_keys`] selects, of several tenants at once. The first column is the tenant's place
/// in the list, from 1 on; the rows are in the order of the list, and in key order for each tenant.
pub fn select_keys_of_tenants(mapping: &ResolvedMapping, tenants: &[TenantKeys<'_>]) -> String {
    let given = format!(
        "select given.place, given.tenant, {} from unnest({}::text[], {}::jsonb[]) with ordinality \
         given (tenant, keys, place) cross join lateral jsonb_array_elements(given.keys) row_key",
        key_texts(mapping),
        array_literal(tenants.iter().map(|of| of.tenant_id)),
        array_literal(tenants.iter().map(|of| of.keys))
    );
    let order = format!(" order by k.place, {}", in_key_order(mapping));
    looked_at(mapping, Whose::Listed, &given, &order)
}

/// Selects the rows of several tenants, at most `limit` of each, in key order. The first column is
/// the tenant's place in the list, from 1 on; the others are those of [`copy_chunk`].
pub fn select_tenants(mapping: &ResolvedMapping, tenant_ids: &[&str], limit: usize) -> String {
    let output = mapping.columns.iter().map(|column| format!("r.{}", column.name.sql()));
    let ids = array_literal(tenant_ids.iter().copied());
    format!(
        "select k.place, {output} from (\n\
         select place, tenant::{tenant_type} as tenant from unnest({ids}::text[]) with ordinality given (tenant, place)\n\
           ) k cross join lateral (\n\
         select q.* from {rows} where {tenant} order by {order} limit {limit}\n\
           ) r order by k.place, {again}",
        output = join(output, ", "),
        tenant_type = mapping.tenant_type,
        rows = mapping.rows("k.tenant"),
        tenant = mapping.of_tenant("k.tenant"),
        order = ordered_key("q", &mapping.key).join(", "),
        again = ordered_key("r", &mapping.key).join(", "),
    )
}

fn in_key_order(mapping: &ResolvedMapping) -> String {
    let order = mapping.key.iter().enumerate().map(|(at, k)| match k.order {
        KeyOrder::Native => format!("k.k{at}"),
        KeyOrder::Text => format!("({}) collate \"C\"", printed(&format!("k.k{at}"), &k.sql_type)),
    });
    join(order, ", ")
}

/// Whose keys are looked at.
#[derive(Clone, Copy)]
pub(super) enum Whose<'a> {
    /// All are one tenant's.
    Tenant(&'a str),
    /// Each comes with its tenant, and with the tenant's place in a list.
    Listed,
}

impl Whose<'_> {
    /// The tenant of a key `k`, as an expression of the tenant's type.
    pub(super) fn tenant(self, mapping: &ResolvedMapping) -> String {
        match self {
            Self::Tenant(id) => tenant_literal(mapping, id),
            Self::Listed => "k.tenant".to_owned(),
        }
    }

    /// What this adds to each of some lists of columns.
    pub(super) fn listed(self, columns: &str) -> &str {
        match self {
            Self::Tenant(_) => "",
            Self::Listed => columns,
        }
    }
}

/// The keys that [`copy_changed`] looks at, one JSON text each. The mapping's query is not run.
pub fn list_changed(mapping: &ResolvedMapping, changed: Changed<'_>) -> String {
    let key = mapping.key.iter().enumerate();
    let pairs = key.map(|(at, k)| format!("{}, k{at}", literal(k.source_column.as_str())));
    format!(
        "select distinct jsonb_build_object({})::text from ({}) keys where {}",
        join(pairs, ", "),
        touched(mapping, changed),
        known(mapping)
    )
}

/// The keys of the rows that [`copy_chunk`] copies, in key order, one JSON text each. Only the key
/// columns of the mapping's query are evaluated.
pub fn list_chunk(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    range: KeyRange<'_>,
    limit: usize,
) -> String {
    let pairs = mapping.key.iter().map(|k| {
        format!(
            "{}, {}",
            literal(k.source_column.as_str()),
            printed(&format!("q.{}", k.query_column.sql()), &k.sql_type)
        )
    });
    format!(
        "select jsonb_build_object({})::text {}",
        join(pairs, ", "),
        page_of(mapping, tenant_id, range, limit)
    )
}

/// Selects two keys, as text by column: that of row number `rows` of a range, in key order, and the
/// one behind it. Only the key columns of the mapping's query are evaluated.
pub fn find_end(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    range: KeyRange<'_>,
    rows: usize,
) -> String {
    let key = mapping.key.iter();
    let texts = key.map(|k| printed(&format!("q.{}", k.query_column.sql()), &k.sql_type));
    let page = page_of(mapping, tenant_id, range, 2);
    format!("select {} {page} offset {}", join(texts, ", "), rows.saturating_sub(1))
}

/// The texts of a key's columns, out of its `row_key`; null: it has no such column.
fn key_texts(mapping: &ResolvedMapping) -> String {
    let key = mapping.key.iter().enumerate();
    let texts =
        key.map(|(at, k)| format!("row_key ->> {} as k{at}", literal(k.source_column.as_str())));
    join(texts, ", ")
}

/// The same out of the element `k.key` of a list `l`.
fn listed_key_texts(mapping: &ResolvedMapping) -> String {
    let single = mapping.key.len() == 1;
    let key = mapping.key.iter().enumerate();
    let texts = key.map(|(at, k)| {
        let column = literal(k.source_column.as_str());
        let alone = match single {
            true => format!("when l.key_column = {column} then k.key "),
            false => String::new(),
        };
        format!("case {alone}when l.key_column is null then k.key::jsonb ->> {column} end as k{at}")
    });
    join(texts, ", ")
}

/// The condition that the texts are a key's.
fn known(mapping: &ResolvedMapping) -> String {
    join((0..mapping.key.len()).map(|at| format!("k{at} is not null")), " and ")
}

/// Selects the texts of every key that changed or is due for another attempt.
fn touched(mapping: &ResolvedMapping, changed: Changed<'_>) -> String {
    let own = format!("tenant_id = {}", literal(changed.tenant_id));
    let mut touched = Vec::new();
    for tenant in [own.as_str(), "tenant_id is null"] {
        let log = Logged { tenant, mapping, after: changed.after, up_to: changed.up_to };
        touched.push(format!("select {} {}", key_texts(mapping), log.single_keys()));
        if changed.lists {
            touched.push(format!("select {} {}", listed_key_texts(mapping), log.listed_keys()));
        }
    }
    if let Some(destination_id) = changed.retry_quarantined_of {
        touched.push(format!(
            "select {} from offtake.quarantined_row where destination_id = {destination_id} and mapping = {} and retry_at <= now()",
            key_texts(mapping),
            literal(mapping.name())
        ));
    }
    touched.join(" union all ")
}

/// A list of keys has at most so many; see `crates/capture/src/function/lists.rs`.
const LISTED_KEYS_MAX: i64 = 1000;

/// The log's keys of a mapping's table, of some tenant or none, with sequence ids in a range.
struct Logged<'a> {
    tenant: &'a str,
    mapping: &'a ResolvedMapping,
    after: i64,
    up_to: i64,
}

impl Logged<'_> {
    /// The end of a SELECT of the keys that have rows of their own, and of whole tables.
    fn single_keys(&self) -> String {
        let Self { tenant, mapping, after, up_to } = self;
        format!(
            "from offtake.change_log where {tenant} and source_table = {} and sequence_id > {after} and sequence_id <= {up_to} and key_count is null",
            literal(&mapping.source_table())
        )
    }

    /// The same of those in lists `l`: elements `k.key` at their positions.
    fn listed_keys(&self) -> String {
        let Self { tenant, mapping, after, up_to } = self;
        // In SQL, the sum of two small numbers could be too large for their type.
        let last = up_to.saturating_add(LISTED_KEYS_MAX);
        format!(
            "from offtake.change_log l cross join lateral unnest(l.keys) with ordinality k (key, position) \
             where l.{tenant} and l.source_table = {} and l.sequence_id > {after} and l.sequence_id < {last} \
             and l.key_count is not null and l.sequence_id - l.key_count < {up_to} and l.sequence_id - l.key_count + k.position > {after} and l.sequence_id - l.key_count + k.position <= {up_to}",
            literal(&mapping.source_table())
        )
    }
}

/// What [`copy_changed`] copies, for the keys whose texts `touched` selects.
///
/// The query is a lateral sub-select with `offset 0`. So Postgres runs it once for each key, with
/// the key as a condition on its output: a query with groups or windows, too, reads the rows of one
/// key and not all rows of the tenant.
fn looked_at(mapping: &ResolvedMapping, whose: Whose<'_>, touched: &str, order: &str) -> String {
    let of = whose.tenant(mapping);
    let typed =
        mapping.key.iter().enumerate().map(|(at, k)| format!("k{at}::{} as k{at}", k.sql_type));
    // Equal keys can print differently (1.0 and 1.00). They are one key if the destination's column
    // has the same type, and two if it holds the key as text.
    let apart = mapping.key.iter().enumerate().map(|(at, k)| match k.by_text {
        true => format!("keys.k{at} collate \"C\""),
        false => format!("keys.k{at}::{}", k.sql_type),
    });
    let same = mapping
        .key
        .iter()
        .enumerate()
        .map(|(at, k)| k.same(&format!("q.{}", k.query_column.sql()), &format!("k.k{at}")));
    let output = mapping.columns.iter().map(|column| {
        if let Some(at) = mapping.key.iter().position(|k| k.query_column == column.name) {
            format!("coalesce(r.{}, k.k{at})", column.name.sql())
        } else if mapping.definition.target.keep_tenant && column.name == mapping.columns[0].name {
            of.clone()
        } else {
            format!("r.{}", column.name.sql())
        }
    });
    format!(
        "with looked_at as materialized (select distinct on ({place}{apart}) {whose}{typed} from ({touched}) keys where {known})\n\
         select {at}r.offtake_present is not null, {output}\n\
           from looked_at k\n\
           left join lateral (\n\
         select q.*, true as offtake_present from {rows} where {tenant} and {same} offset 0\n\
           ) r on true{order}",
        place = whose.listed("keys.place, "),
        whose = whose.listed(&format!("place, tenant::{} as tenant, ", mapping.tenant_type)),
        at = whose.listed("k.place, "),
        typed = join(typed, ", "),
        apart = join(apart, ", "),
        known = known(mapping),
        output = join(output, ", "),
        rows = mapping.rows(&of),
        tenant = mapping.of_tenant(&of),
        same = join(same, " and "),
    )
}

/// Copies out at most `limit` rows of the tenant in key order, the first of a range. The lines are
/// those of [`copy_changed`] without the first column: all these rows are there.
pub fn copy_chunk(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    range: KeyRange<'_>,
    limit: usize,
) -> String {
    let output = mapping.columns.iter().map(|column| format!("q.{}", column.name.sql()));
    format!(
        "copy (\nselect {} {}\n) to stdout",
        join(output, ", "),
        page_of(mapping, tenant_id, range, limit)
    )
}

/// The rows of [`copy_chunk`], each as the JSON object that the server prints, behind its key: a line
/// has the key's columns in key order, and then the JSON.
pub fn copy_chunk_json(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    range: KeyRange<'_>,
    limit: usize,
) -> String {
    let columns = mapping.columns.iter().map(|column| format!("q.{}", column.name.sql()));
    let key = mapping.key.iter().map(|k| format!("offtake_row.{}", k.query_column.sql()));
    format!(
        "copy (\nselect {key}, row_to_json(offtake_row) from (select {columns} {page}) offtake_row\n) to stdout",
        key = join(key, ", "),
        columns = join(columns, ", "),
        page = page_of(mapping, tenant_id, range, limit)
    )
}

/// Ranges of keys of which is asked whether something in them changed.
#[derive(Debug, Clone, Copy)]
pub struct ReadRange<'a> {
    pub range: KeyRange<'a>,
    /// Changes with a higher sequence id count.
    pub after: i64,
}

/// Selects the places in the list, from 0 on, of those ranges in which a key changed up to the
/// sequence id `up_to`. Where more than `keys_max` keys changed, all ranges count: the statement
/// compares each key with each range.
pub fn list_changed_ranges(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    ranges: &[ReadRange<'_>],
    (up_to, keys_max): (i64, usize),
) -> String {
    let after = ranges.iter().map(|range| range.after).min().unwrap_or(up_to);
    let log = |tenant: String| {
        let log = Logged { tenant: &tenant, mapping, after, up_to };
        format!(
            "select row_key, sequence_id {} union all \
             select case when l.key_column is null then k.key::jsonb else jsonb_object(array[l.key_column, k.key]) end, \
             l.sequence_id - l.key_count + k.position {}",
            log.single_keys(),
            log.listed_keys()
        )
    };
    let source = |k: &KeyColumn| format!("row_key ->> {}", literal(k.source_column.as_str()));
    let typed = mapping
        .key
        .iter()
        .map(|k| format!("({})::{} as {}", source(k), k.sql_type, k.query_column.sql()));
    let known = mapping.key.iter().map(|k| format!("{} is not null", source(k)));
    let key = row_of(&ordered_key("k", &mapping.key));
    let hit = ranges.iter().enumerate().map(|(at, ReadRange { range, after })| {
        let bound = |operator: &str, bound: Option<&[String]>| match bound {
            Some(bound) => {
                format!(" and {key} {operator} {}", row_of(&ordered_literals(&mapping.key, bound)))
            }
            None => String::new(),
        };
        format!(
            "select {at} where exists (select from k where k.offtake_sequence_id > {after}{}{}) \
             or exists (select from whole where offtake_sequence_id > {after} or many)",
            bound(">", range.after),
            bound("<=", range.up_to)
        )
    });
    format!(
        "with touched as materialized (select row_key, max(sequence_id) as sequence_id from ({of_tenant} union all {of_all}) \
         entry group by row_key limit {keys_max} + 1),\n\
         k as materialized (select sequence_id as offtake_sequence_id, {typed} from touched where {known}),\n\
         whole as materialized (select max(sequence_id) filter (where row_key is null) as offtake_sequence_id, \
         count(*) > {keys_max} as many from touched)\n\
         {hit}",
        of_tenant = log(format!("tenant_id = {}", literal(tenant_id))),
        of_all = log("tenant_id is null".to_owned()),
        typed = join(typed, ", "),
        known = join(known, " and "),
        hit = join(hit, "\nunion all "),
    )
}

fn page_of(
    mapping: &ResolvedMapping,
    tenant_id: &str,
    range: KeyRange<'_>,
    limit: usize,
) -> String {
    let key = ordered_key("q", &mapping.key);
    let bound = |operator: &str, bound: Option<&[String]>| match bound {
        Some(bound) => {
            let literals = ordered_literals(&mapping.key, bound);
            format!(" and {} {operator} {}", row_of(&key), row_of(&literals))
        }
        None => String::new(),
    };
    format!(
        "from {rows} where {tenant}{after}{up_to} order by {order} limit {limit}",
        after = bound(">", range.after),
        up_to = bound("<=", range.up_to),
        rows = mapping.rows(&tenant_literal(mapping, tenant_id)),
        tenant = mapping.of_tenant(&tenant_literal(mapping, tenant_id)),
        order = key.join(", "),
    )
}

/// `EXPLAIN` of the query for all rows of a tenant; its top node has the planner's estimate of how
/// many there are.
pub fn estimate_rows(mapping: &ResolvedMapping, tenant_id: &str) -> String {
    format!(
        "explain (format json) select from {} where {}",
        mapping.rows(&tenant_literal(mapping, tenant_id)),
        mapping.of_tenant(&tenant_literal(mapping, tenant_id))
    )
}

/// Measures some rows of a tenant, `rows_max` at most: how many they are, the bytes of the largest
/// one, and of the largest value on its way. Values are measured as text, those of bytea as bytes;
/// on their way they are hexadecimal digits.
pub fn measure_rows(mapping: &ResolvedMapping, tenant_id: &str, rows_max: usize) -> String {
    let bytes = |column: &Column| {
        let name = column.name.sql();
        match column.target_type == "bytea" {
            true => format!("coalesce(octet_length(q.{name}), 0)"),
            false => format!("coalesce(octet_length(q.{name}::text), 0)"),
        }
    };
    let on_its_way = |column: &Column| match column.target_type == "bytea" {
        true => format!("2 * {}", bytes(column)),
        false => bytes(column),
    };
    let all: Vec<String> = mapping.columns.iter().map(bytes).collect();
    let each: Vec<String> = mapping.columns.iter().map(on_its_way).collect();
    format!(
        "select count(*), coalesce(max(bytes), 0)::bigint, coalesce(max(on_its_way), 0)::bigint\n\
           from (select {} as bytes, greatest({}) as on_its_way\n\
                   from {} where {} limit {rows_max}) measured",
        all.join(" + "),
        each.join(", "),
        mapping.rows(&tenant_literal(mapping, tenant_id)),
        mapping.of_tenant(&tenant_literal(mapping, tenant_id))
    )
}

fn tenant_literal(mapping: &ResolvedMapping, tenant_id: &str) -> String {
    format!("{}::{}", literal(tenant_id), mapping.tenant_type)
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}
