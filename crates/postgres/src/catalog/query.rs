//! A mapping's query, as far as the server can tell without running it: its columns and their
//! types.

use std::collections::BTreeSet;

use offtake_mapping::{
    Column, Condition, Dependency, Equality, Identifier, KeyColumn, KeyOrder, Mapping, Step,
    Tenant, scan,
};
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_postgres::{Client, Error, Statement};

use super::equality;
use super::problem::Problem;
use super::read_only::ReadOnly;
use super::sql;
use super::tables::{Tables, folded, meant};

/// The column every query exposes besides its key.
pub(super) const TENANT_COLUMN: &str = "tenant_id";

/// What stands before the query's text in the statement that is prepared, in characters.
const BEFORE_QUERY: &str = "select q.* from (";

/// One column of a query.
#[derive(Debug)]
pub(super) struct QueryColumn {
    pub(super) column: Column,
    /// Its type without modifier.
    base_type: String,
    ordered_alike: bool,
    /// What decides how its values compare: see `describe_types.sql`.
    pub(super) kind: char,
    pub(super) array: bool,
    pub(super) built_in: bool,
    pub(super) collatable: bool,
    pub(super) comparable: bool,
    equals: Option<String>,
    /// Its collation takes different texts as different.
    pub(super) deterministic: bool,
}

impl QueryColumn {
    /// Whether tenant or key are read from the column of that name.
    pub(super) fn names(key: &[(Identifier, Identifier)], name: &str) -> bool {
        name == TENANT_COLUMN || key.iter().any(|(column, _)| column.as_str() == name)
    }
}

/// What a query exposes, by oid; [`Prepared::columns`] gives the types their names.
pub(super) struct Prepared(Statement);

/// Prepares and plans the mapping's query under the session's own search path, as the engine will
/// run it. Planning is what checks the rights on everything that the query reads.
pub(super) async fn prepare(
    transaction: &ReadOnly<'_>,
    mapping: &Mapping,
    tables: &Tables,
) -> Result<Result<Prepared, Vec<Problem>>, Error> {
    let role = tables.role();
    // The line break ends a comment on the query's last line.
    let text = format!("{BEFORE_QUERY}{}\n) q", mapping.query);
    let statement = match transaction.prepare(&text).await? {
        Ok(statement) => statement,
        Err(error) => {
            let mut problem = refused_query(mapping, role, &error);
            if let Some(remedy) = unfolded(tables, mapping, &mapping.query, BEFORE_QUERY, &error) {
                problem.diagnostic.remedy = remedy;
            }
            return Ok(Err(vec![problem]));
        }
    };
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for column in statement.columns() {
        if !seen.insert(column.name()) {
            problems.push(Problem::in_query(
                mapping,
                0,
                format!("the query has two columns named `{}`", column.name()),
                "give one of them another name with `as`",
            ));
        }
        if let Err(invalid) = Identifier::new(column.name()) {
            problems.push(Problem::in_query(
                mapping,
                0,
                invalid.to_string(),
                "give every column of the query a name with `as`",
            ));
        }
    }
    if let Err(error) = transaction.run(&format!("explain {text}")).await? {
        problems.push(refused_query(mapping, role, &error));
    }
    Ok(if problems.is_empty() { Ok(Prepared(statement)) } else { Err(problems) })
}

/// The remedy for a column that needs double quotes, because its name has capitals.
fn unfolded(
    tables: &Tables,
    mapping: &Mapping,
    sql: &str,
    before: &str,
    error: &Error,
) -> Option<String> {
    let db = error.as_db_error().filter(|db| *db.code() == SqlState::UNDEFINED_COLUMN)?;
    let at = position(db, before);
    let tokens = scan::tokens(sql);
    let mut token = tokens.iter().position(|token| token.at == at)?;
    // `alias.column`: the column is last.
    while tokens.get(token + 1).is_some_and(|dot| dot.symbol('.')) && token + 2 < tokens.len() {
        token += 2;
    }
    let column = tables.folded_column(mapping, &tokens[token].text)?;
    Some(format!("write it in double quotes: {}", column.in_sql()))
}

fn refused_query(mapping: &Mapping, role: &str, error: &Error) -> Problem {
    let Some(db) = error.as_db_error() else {
        return Problem::in_query(mapping, 0, error.to_string(), "correct the query");
    };
    let length = mapping.query.chars().count();
    let at = position(db, BEFORE_QUERY);
    let (message, remedy) = match remedy_of(db, role) {
        Some(remedy) => (db.message().to_owned(), remedy),
        // What is refused is our own parenthesis behind the query.
        None if at >= length => {
            let message = db.message().replace("at or near \")\"", "at the end of the query");
            (message, "complete it; it must run on the source by itself, as written".to_owned())
        }
        None => (
            db.message().to_owned(),
            hint(db, "correct the query; it must run on the source by itself, as written"),
        ),
    };
    Problem::in_query(mapping, at, format!("the source refuses the query: {message}"), remedy)
}

/// Characters before the fault, behind `prefix`.
fn position(db: &DbError, prefix: &str) -> usize {
    match db.position() {
        // Postgres counts characters from 1.
        Some(ErrorPosition::Original(at)) => {
            (*at as usize).saturating_sub(1 + prefix.chars().count())
        }
        _ => 0,
    }
}

fn hint(db: &DbError, otherwise: &str) -> String {
    db.hint().map_or_else(|| otherwise.to_owned(), one_line)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The statement that lets `role` do what it may not.
fn remedy_of(db: &DbError, role: &str) -> Option<String> {
    if *db.code() != SqlState::INSUFFICIENT_PRIVILEGE {
        return None;
    }
    // The error names what it is about in its message only: `permission denied for table team`.
    let (kind, name) = db
        .message()
        .strip_prefix("permission denied for ")
        .and_then(|rest| rest.split_once(' '))?;
    let right = match kind {
        "schema" => "usage on schema ",
        "function" => "execute on function ",
        "sequence" => "select on sequence ",
        _ => "select on ",
    };
    let name = name.rsplit(' ').next().unwrap_or(name);
    Some(format!("run as its owner: grant {right}{name} to {role};"))
}

/// Calls in the query whose result is another one each time: no copy could ever equal it.
pub(super) async fn check_functions(
    client: &Client,
    mapping: &Mapping,
) -> Result<Vec<Problem>, Error> {
    let calls = scan::calls(&mapping.query);
    let schemas: Vec<Option<&str>> = calls.iter().map(|c| c.schema.as_deref()).collect();
    let names: Vec<&str> = calls.iter().map(|c| c.name.as_str()).collect();
    let rows = client.query(sql::FIND_VOLATILE_FUNCTIONS, &[&schemas, &names]).await?;
    let problems = rows.iter().filter_map(|row| {
        let position: i32 = row.get("position");
        let call = calls.get(usize::try_from(position - 1).ok()?)?;
        let remedy = match row.get("built_in") {
            true => "take it out of the query; a value that is to stay belongs into a column of the source".to_owned(),
            false => format!("if it only reads, say so at the source: alter function {} stable;", row.get::<_, &str>("signature")),
        };
        let message = format!("`{}` is volatile: it may give another value each time, and no copy can equal that", call.name);
        Some(Problem::in_query(mapping, call.at, message, remedy))
    });
    Ok(problems.collect())
}

impl Prepared {
    /// Names the types. The search path must be `pg_catalog`.
    pub(super) async fn columns(&self, client: &Client) -> Result<Vec<QueryColumn>, Error> {
        let types: Vec<u32> = self.0.columns().iter().map(|c| c.type_().oid()).collect();
        let modifiers: Vec<i32> =
            self.0.columns().iter().map(tokio_postgres::Column::type_modifier).collect();
        let rows = client.query(sql::DESCRIBE_TYPES, &[&types, &modifiers]).await?;
        let described = self.0.columns().iter().zip(rows).filter_map(|(column, row)| {
            Some(QueryColumn {
                column: Column {
                    name: Identifier::new(column.name()).ok()?,
                    source_type: row.get("source_type"),
                    target_type: row.get("target_type"),
                },
                base_type: row.get("base_type"),
                ordered_alike: row.get("ordered_alike"),
                kind: row.get::<_, &str>("kind").chars().next().unwrap_or('b'),
                array: row.get("is_array"),
                built_in: row.get("built_in"),
                collatable: row.get("collatable"),
                comparable: row.get::<_, Option<bool>>("comparable").unwrap_or(false),
                equals: row.get("equals"),
                deterministic: true,
            })
        });
        Ok(described.collect())
    }
}

/// The query's columns, told apart by what they are for.
pub(super) struct Exposed {
    pub(super) tenant_type: String,
    pub(super) key: Vec<KeyColumn>,
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
    let Some(at) = columns.iter().position(|c| c.column.name.as_str() == TENANT_COLUMN) else {
        let remedy = format!("select the tenant's id as {TENANT_COLUMN}");
        let what = "which says whose row it is";
        problems.push(missing_column(mapping, &names, TENANT_COLUMN, what, remedy));
        return Err(problems);
    };
    let tenant = columns.remove(at);
    problems.extend(differing_tenant(mapping, tables, &tenant));
    problems.extend(equality::check_tenant(mapping, &tenant));
    let tenant_type = tenant.column.source_type.clone();
    if mapping.target.keep_tenant {
        columns.insert(0, tenant);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Exposed {
        tenant_type,
        key: found,
        columns: columns.into_iter().map(|c| c.column).collect(),
    })
}

/// One column of the key as the query exposes it, with the problems that it has; or why it is none.
fn key_column(
    mapping: &Mapping,
    tables: &Tables,
    (query_column, source_column): (&Identifier, &Identifier),
    columns: &[QueryColumn],
) -> Result<(KeyColumn, Vec<Problem>), Vec<Problem>> {
    if query_column.as_str() == TENANT_COLUMN {
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
        Tenant::Lookup(lookup) => (&lookup.table, &lookup.column),
        // An expression's text is compared, whatever its type is.
        Tenant::Expression(_) => return None,
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

/// Parses the SQL that mappings hold besides the query, under the session's own search path: the
/// conditions of dependencies, which the sequencer evaluates.
pub(super) async fn check_conditions(
    transaction: &ReadOnly<'_>,
    mapping: &Mapping,
    tables: &Tables,
) -> Result<Vec<Problem>, Error> {
    let mut problems = Vec::new();
    for (index, dependency) in mapping.depends_on.iter().enumerate() {
        let (source, changed) = (mapping.source.table.sql(), dependency.table.sql());
        let (key, condition) = match &dependency.condition {
            Condition::Where(condition) => ("where", condition.clone()),
            Condition::Match(pairs) => {
                let same = pairs.iter().map(|(ours, theirs)| {
                    format!("source.{} = changed.{}", ours.sql(), theirs.sql())
                });
                ("match", same.collect::<Vec<_>>().join(" and "))
            }
        };
        let part = Part {
            subject: format!("the condition on {}", dependency.table),
            path: Dependency::path(index, &[key]),
            before: format!("select from {source} as source, {changed} as changed where (\n"),
            text: &condition,
            after: "\n)".to_owned(),
        };
        problems.extend(part.check(transaction, mapping, tables).await?);
    }
    Ok(problems)
}

/// Parses the tenant's expression as the triggers will: with nothing but the system catalog in the
/// search path. In a WHERE clause, where Postgres refuses what is not of one row (aggregates, window
/// functions, functions that return sets).
pub(super) async fn check_tenant(
    transaction: &ReadOnly<'_>,
    mapping: &Mapping,
    tables: &Tables,
) -> Result<Option<Problem>, Error> {
    let Tenant::Expression(expression) = &mapping.source.tenant else { return Ok(None) };
    let part = Part {
        subject: "the tenant's expression".to_owned(),
        path: Step::keys(&["source", "tenant"]),
        before: format!(
            "select from (select * from {}) as source where (\n",
            mapping.source.table.sql()
        ),
        text: expression,
        after: "\n)::text is not null".to_owned(),
    };
    part.check(transaction, mapping, tables).await
}

/// Functions of the application in the tenant's expression that may read tables: nothing would tell
/// the old tenant when what they read changes.
pub(super) async fn check_tenant_functions(
    client: &Client,
    mapping: &Mapping,
) -> Result<Vec<Problem>, Error> {
    let Tenant::Expression(expression) = &mapping.source.tenant else { return Ok(Vec::new()) };
    let calls = scan::calls(expression);
    let schemas: Vec<Option<&str>> = calls.iter().map(|c| c.schema.as_deref()).collect();
    let names: Vec<&str> = calls.iter().map(|c| c.name.as_str()).collect();
    let rows = client.query(sql::FIND_READING_FUNCTIONS, &[&schemas, &names]).await?;
    let problems = rows.iter().filter_map(|row| {
        let position: i32 = row.get("position");
        let call = calls.get(usize::try_from(position - 1).ok()?)?;
        let message = format!(
            "`{}` in the tenant's expression may read other tables, and a trigger has the row's \
             own columns only",
            call.name
        );
        let remedy = format!(
            "if it depends on its arguments alone, say so at the source: alter function {} \
             immutable; otherwise write a look-up: `tenant: {{ table: …, column: …, match: {{ its \
             column: column of source.table }} }}`",
            row.get::<_, &str>("signature")
        );
        let path = Step::keys(&["source", "tenant"]);
        Some(Problem::within(mapping, &path, expression, call.at, message, remedy))
    });
    Ok(problems.collect())
}

/// SQL of a mapping that is not its query, with what makes a statement of it.
struct Part<'a> {
    subject: String,
    path: Vec<Step>,
    before: String,
    text: &'a str,
    after: String,
}

impl Part<'_> {
    async fn check(
        &self,
        transaction: &ReadOnly<'_>,
        mapping: &Mapping,
        tables: &Tables,
    ) -> Result<Option<Problem>, Error> {
        let statement = format!("{}{}{}", self.before, self.text, self.after);
        let Err(error) = transaction.prepare(&statement).await? else { return Ok(None) };
        let otherwise =
            "correct it; functions and operators outside pg_catalog are written with their schema";
        let (at, message, remedy) = match error.as_db_error() {
            Some(db) => {
                let quoted = unfolded(tables, mapping, self.text, &self.before, &error);
                let remedy = quoted.or_else(|| remedy_of(db, tables.role()));
                let remedy = remedy.unwrap_or_else(|| otherwise.to_owned());
                (position(db, &self.before), db.message().to_owned(), remedy)
            }
            None => (0, error.to_string(), otherwise.to_owned()),
        };
        let message = format!("the source refuses {}: {message}", self.subject);
        // The condition of a `match` is composed: the file does not have its text.
        Ok(Some(match self.path.last() == Some(&Step::Key("match".to_owned())) {
            true => Problem::at(mapping, &self.path, message, remedy),
            false => Problem::within(mapping, &self.path, self.text, at, message, remedy),
        }))
    }
}
