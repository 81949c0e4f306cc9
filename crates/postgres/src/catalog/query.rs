//! A mapping's query, as far as the server can tell without running it: its columns and their
//! types.

use std::collections::BTreeSet;

use offtake_mapping::{Column, Identifier, Mapping, scan};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Error, Statement};

use super::problem::Problem;
use super::read_only::ReadOnly;
use super::refusal::{cause_of, hint, position, remedy_of, unfolded};
use super::sql;
use super::tables::Tables;

/// The column every query exposes besides its key.
pub(super) const TENANT_COLUMN: &str = "tenant_id";

/// What stands before the query's text in the statement that is prepared, in characters.
const BEFORE_QUERY: &str = "select q.* from (";

/// One column of a query.
#[derive(Debug)]
pub(super) struct QueryColumn {
    pub(super) column: Column,
    /// Its type without modifier.
    pub(super) base_type: String,
    pub(super) ordered_alike: bool,
    /// What decides how its values compare: see `describe_types.sql`.
    pub(super) kind: char,
    pub(super) array: bool,
    pub(super) built_in: bool,
    pub(super) collatable: bool,
    pub(super) comparable: bool,
    pub(super) equals: Option<String>,
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
            let mut problem = refused_query(transaction, mapping, role, &error).await?;
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
    // Without a row: the server also looks at what a transaction that only reads may not do, such
    // as locking rows.
    for statement in [format!("explain {text}"), format!("{text} limit 0")] {
        if let Err(error) = transaction.run(&statement).await? {
            problems.push(refused_query(transaction, mapping, role, &error).await?);
            break;
        }
    }
    Ok(if problems.is_empty() { Ok(Prepared(statement)) } else { Err(problems) })
}

async fn refused_query(
    transaction: &ReadOnly<'_>,
    mapping: &Mapping,
    role: &str,
    error: &Error,
) -> Result<Problem, Error> {
    let Some(db) = error.as_db_error() else {
        return Ok(Problem::in_query(mapping, 0, error.to_string(), "correct the query"));
    };
    let length = mapping.query.chars().count();
    if *db.code() == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Ok(writing_query(mapping, db));
    }
    let at = position(db, BEFORE_QUERY);
    let (message, remedy) = match remedy_of(transaction, db, role).await? {
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
    let message = format!("the source refuses the query: {message}");
    let problem = Problem::in_query(mapping, at, message, remedy);
    Ok(Problem { cause: cause_of(error), ..problem })
}

/// A query that does what a transaction that only reads may not do; the server gives no place.
fn writing_query(mapping: &Mapping, db: &DbError) -> Problem {
    let message = format!("the source refuses the query: {}", db.message());
    match locking(&mapping.query) {
        Some(at) => {
            let remedy = "take the locking clause out of the query: a copy only reads the rows, \
                          from one snapshot";
            Problem::in_query(mapping, at, message, remedy)
        }
        None => {
            let remedy = "read from a view or a function that neither locks nor writes rows: a \
                          copy only reads them";
            Problem::in_query(mapping, 0, message, remedy)
        }
    }
}

/// Characters before the first `for update`, `for share` or the like.
fn locking(query: &str) -> Option<usize> {
    let tokens = scan::tokens(query);
    let strength = |token: &scan::Token| {
        ["update", "share", "no", "key"].iter().any(|strength| token.word(strength))
    };
    let clause = tokens.windows(2).find(|pair| pair[0].word("for") && strength(&pair[1]))?;
    Some(clause[0].at)
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
