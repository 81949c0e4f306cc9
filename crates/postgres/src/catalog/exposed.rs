//! Tenant and key among the columns of a mapping's query.

use offtake_mapping::{
    Column, Equality, Identifier, KeyColumn, KeyOrder, Mapping, Step, Tenant, scan,
};

use super::equality;
use super::problem::Problem;
use super::query::{QueryColumn, TENANT_COLUMN};
use super::tables::{Tables, folded, meant};

/// The query's columns, told apart by what they are for.
pub(super) struct Exposed {
    pub(super) tenant: Column,
    pub(super) key: Vec<KeyColumn>,
    /// Without the tenant's.
    pub(super) columns: Vec<Column>,
}

/// Finds tenant and key among the query's columns.
pub(super) fn expose(
    mapping: &Mapping,
    tables: &Tables,
    key: &[(Identifier, Identifier)],
    mut columns: Vec<QueryColumn>,
) -> Result<Exposed, Vec<Problem>> {
    let names: Vec<String> = columns.iter().map(|c| c.column.name.to_string()).collect();
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for (query_column, source_column) in key {
        match key_column(mapping, tables, (query_column, source_column), &columns) {
            Ok((column, told)) => {
                found.push(column);
                problems.extend(told);
            }
            Err(told) => problems.extend(told),
        }
    }
    if mapping.source.tenant == Tenant::Everyone {
        return everyones(mapping, tables, found, columns, problems);
    }
    let Some(at) = columns.iter().position(|c| c.column.name.as_str() == TENANT_COLUMN) else {
        let remedy = format!("select the tenant's id as {TENANT_COLUMN}");
        let what = "which says whose row it is";
        problems.push(missing_column(mapping, &names, TENANT_COLUMN, what, remedy));
        return Err(problems);
    };
    let tenant = columns.remove(at);
    problems.extend(differing_tenant(mapping, tables, &tenant));
    problems.extend(equality::check_tenant(mapping, &tenant));
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Exposed {
        tenant: tenant.column,
        key: found,
        columns: columns.into_iter().map(|c| c.column).collect(),
    })
}

/// The columns of a query whose rows every tenant receives. Where the table keeps the tenant, the
/// column is Offtake's own, and holds the tenant's id as the source prints it.
fn everyones(
    mapping: &Mapping,
    tables: &Tables,
    key: Vec<KeyColumn>,
    columns: Vec<QueryColumn>,
    mut problems: Vec<Problem>,
) -> Result<Exposed, Vec<Problem>> {
    let columns: Vec<Column> = columns.into_iter().map(|c| c.column).collect();
    let has_tenant = columns.iter().any(|column| column.name.as_str() == TENANT_COLUMN);
    if has_tenant && !tables.read_once() {
        let message = format!(
            "the query has a column `{TENANT_COLUMN}`, and every tenant receives every row"
        );
        let remedy = "leave it out or call it otherwise; or name in `tenant` the rule that gives a \
                      row's tenant, if each tenant is to receive its own rows";
        problems.push(Problem::in_query(mapping, 0, message, remedy));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let name = Identifier::new(TENANT_COLUMN).unwrap_or_else(|_| unreachable!("a valid name"));
    let text = || "text".to_owned();
    let tenant = Column { name, source_type: text(), target_type: text() };
    Ok(Exposed { tenant, key, columns })
}

/// One column of the key as the query exposes it, with the problems that it has; or why it is none.
fn key_column(
    mapping: &Mapping,
    tables: &Tables,
    (query_column, source_column): (&Identifier, &Identifier),
    columns: &[QueryColumn],
) -> Result<(KeyColumn, Vec<Problem>), Vec<Problem>> {
    let of_one_copy = tables.read_once() && mapping.source.tenant == Tenant::Everyone;
    if query_column.as_str() == TENANT_COLUMN && !of_one_copy {
        let message = format!(
            "`{TENANT_COLUMN}` cannot be a key column: a destination holds one tenant, or has it in front of the key anyway"
        );
        let remedy = format!(
            "expose the column a second time under another name, and write `key: {{ that_name: {source_column} }}`"
        );
        let path = Step::keys(&["source", "key", query_column.as_str()]);
        return Err(vec![Problem::at(mapping, &path, message, remedy)]);
    }
    let Some(c) = columns.iter().find(|c| c.column.name == *query_column) else {
        let names: Vec<String> = columns.iter().map(|c| c.column.name.to_string()).collect();
        let name = query_column.as_str();
        let remedy = match folded(name, names.iter().map(String::as_str)) {
            Some(folded) => format!("write it in double quotes: {}", folded.in_yaml()),
            None => format!(
                "select {} as {}, or name another column in `source.key`",
                source_column.in_sql(),
                query_column.in_sql()
            ),
        };
        let problem = missing_column(mapping, &names, name, "which is in the key", remedy);
        return Err(vec![problem]);
    };
    let table = &mapping.source.table;
    let there = tables.base_type(table, source_column);
    let mut problems = Vec::new();
    if !same_kind(&there, &c.base_type) {
        let of_source = format!("{table}.{source_column}");
        let (name, base_type) = (query_column.as_str(), &c.base_type);
        problems.push(differing(mapping, name, base_type, &of_source, &there));
    }
    problems.extend(equality::check_key(mapping, c));
    let column = KeyColumn {
        query_column: query_column.clone(),
        source_column: source_column.clone(),
        sql_type: c.column.source_type.clone(),
        source_type: tables.column_type(table, source_column),
        order: if c.ordered_alike { KeyOrder::Native } else { KeyOrder::Text },
        equals: c.equals.clone().unwrap_or_else(|| "=".to_owned()),
        by_text: equality::by_text(c),
        coarse: matches!(equality::of(c), Equality::Coarse(_)),
    };
    Ok((column, problems))
}

fn missing_column(
    mapping: &Mapping,
    names: &[String],
    name: &str,
    what: &str,
    remedy: String,
) -> Problem {
    let meant = meant(name, names.iter().map(String::as_str));
    let there = names.join(", ");
    let message = format!("the query has no column `{name}`, {what}{meant}; it has: {there}");
    Problem::in_query(mapping, 0, message, remedy)
}

fn differing_tenant(mapping: &Mapping, tables: &Tables, tenant: &QueryColumn) -> Option<Problem> {
    let (table, column) = match &mapping.source.tenant {
        Tenant::Column(column) => (&mapping.source.table, column),
        Tenant::Lookup(lookup) => (&lookup.last().table, &lookup.column),
        // An expression's text is compared, whatever its type is.
        Tenant::Expression(_) | Tenant::Everyone => return None,
    };
    let there = tables.base_type(table, column);
    let same = same_kind(&there, &tenant.base_type);
    (!same).then(|| {
        differing(mapping, TENANT_COLUMN, &tenant.base_type, &format!("{table}.{column}"), &there)
    })
}

/// Whether values of the two types have the same text and the same order, so that one index serves
/// both.
fn same_kind(a: &str, b: &str) -> bool {
    const TEXTS: [&str; 3] = ["text", "character varying", "name"];
    a == b || (TEXTS.contains(&a) && TEXTS.contains(&b))
}

fn differing(
    mapping: &Mapping,
    column: &str,
    in_query: &str,
    source_column: &str,
    in_table: &str,
) -> Problem {
    let tokens = scan::tokens(&mapping.query);
    let named = |at: usize| tokens[at].depth == 0 && tokens[at].text == column;
    // `… as id` is what the reader looks for.
    let after_as = (1..tokens.len()).find(|at| named(*at) && tokens[at - 1].word("as"));
    let at =
        after_as.or_else(|| (0..tokens.len()).find(|at| named(*at))).map_or(0, |at| tokens[at].at);
    Problem::in_query(
        mapping,
        at,
        format!(
            "`{column}` is {in_query} in the query, and {source_column}, which it comes from, is {in_table}"
        ),
        "expose it as it is, without a cast: a change names a row by that column's own text, and no index serves another type",
    )
}
