//! The columns of a mapping's table whose type is not the query's: widened in place where no value
//! is lost, and otherwise told with the command that keeps the values.

use offtake_mapping::{Column, ResolvedMapping};
use offtake_postgres::{SqlState, row_fault};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::tables::{Found, Problem};
use super::widening::widens;
use crate::sql;

/// So many values are cast to find out whether a column's values can become another type's: enough
/// to meet a column that holds something else, and some milliseconds.
const TRIED_VALUES: u32 = 10_000;

/// How long a widening may wait for the tenant's own statements on the table before it is tried
/// again later.
const LOCK_TIMEOUT: &str = "2s";

/// A column whose type is not the query's.
struct Misfit<'a> {
    column: &'a Column,
    held: &'a str,
}

/// The columns with another type. A table from `schema_sql` may hold a value in any type that reads
/// its text; the rows themselves decide.
fn misfits<'a>(mapping: &'a ResolvedMapping, found: &'a Found) -> impl Iterator<Item = Misfit<'a>> {
    let columns = mapping.columns.iter().filter(|_| mapping.definition.target.schema_sql.is_none());
    columns.filter_map(|column| {
        let (_, held) = found.columns.iter().find(|(name, _)| name == column.name.as_str())?;
        (*held != column.target_type).then_some(Misfit { column, held })
    })
}

impl Misfit<'_> {
    fn widens(&self) -> bool {
        widens(self.held, &self.column.target_type)
    }
}

/// Whether some column is to be widened.
pub(super) fn are_narrow(mapping: &ResolvedMapping, found: &Found) -> bool {
    misfits(mapping, found).any(|misfit| misfit.widens())
}

/// Widens the columns that are too narrow for the query's values. False: there is none.
pub(super) async fn widen(
    client: &Client,
    table: &str,
    mapping: &ResolvedMapping,
    found: &Found,
    owner: impl Fn() -> String,
) -> Result<bool, Problem> {
    let narrow: Vec<_> = misfits(mapping, found).filter(Misfit::widens).collect();
    let Some(first) = narrow.first() else { return Ok(false) };
    let readers = readers(client, table, &narrow).await?;
    if !readers.is_empty() {
        let column = &first.column;
        return Err(Problem::fault(format!(
            "column {} of {table} is {} and the query gives {}; Postgres alters no type of a \
             column that something else reads: {}. Their owner can take them away there, and make \
             them again when Offtake has altered the column; or keep its type by a cast in the \
             query: {}::{}",
            column.name,
            first.held,
            column.target_type,
            readers.join(", "),
            column.name.sql(),
            first.held
        )));
    }
    // All of them in one statement: where it must rewrite the table, it does so once.
    let changes: Vec<_> = narrow
        .iter()
        .map(|m| format!("alter column {} type {}", m.column.name.sql(), m.column.target_type))
        .collect();
    let command = format!("alter table {table} {}", changes.join(", "));
    // While it waits for a statement of the tenant's, all others there wait behind it.
    let within = format!(
        "select set_config('offtake.lock_timeout', current_setting('lock_timeout'), true); \
         set local lock_timeout = '{LOCK_TIMEOUT}'; {command}; \
         select set_config('lock_timeout', current_setting('offtake.lock_timeout'), true)"
    );
    client.batch_execute(&within).await.map_err(|error| untaken(error, &command, owner))?;
    for Misfit { column, held } in narrow {
        tracing::info!(
            event = "column_widened",
            mapping = mapping.name(),
            column = column.name.as_str(),
            "column {} of {table} was {held} and is {} now",
            column.name,
            column.target_type
        );
    }
    Ok(true)
}

/// The command did not do it: what of that a person must mend.
fn untaken(error: tokio_postgres::Error, command: &str, owner: impl FnOnce() -> String) -> Problem {
    let what = match error.code() {
        Some(&SqlState::QUERY_CANCELED) => "takes longer than sync.statement_timeout",
        Some(&SqlState::LOCK_NOT_AVAILABLE) => "waits for other statements on the table",
        Some(&SqlState::FEATURE_NOT_SUPPORTED | &SqlState::INVALID_TABLE_DEFINITION) => {
            "is refused there"
        }
        _ => return Problem::lacking(error, owner),
    };
    let error = offtake_postgres::Error::from(error);
    Problem::fault(format!(
        "a column is to be widened, and that {what}: {}; it is \
         tried again, or run there when nothing is in the way: `{command}`",
        error.message()
    ))
}

/// A column with a type that its values cannot be altered to without loss.
pub(super) async fn check(
    client: &Client,
    table: &str,
    mapping: &ResolvedMapping,
    found: &Found,
) -> Result<(), Problem> {
    let Some(misfit) = misfits(mapping, found).find(|misfit| !misfit.widens()) else {
        return Ok(());
    };
    let readers = readers(client, table, std::slice::from_ref(&misfit)).await?;
    let Misfit { column, held } = misfit;
    let (name, sql_type) = (column.name.sql(), &column.target_type);
    let remedy = match cast(client, table, column, held).await? {
        Some(cast) => format!(
            "run `alter table {table} alter column {name} type {sql_type} using {cast}` there, \
             which keeps the values, and Offtake copies the rows again"
        ),
        None if mapping.target_key().contains(&column.name) => {
            let mut aside = mapping.definition.target.table.as_str().to_owned();
            aside.push_str("_before");
            format!(
                "no command keeps its values, because some of them are no {sql_type}; run `alter \
                 table {table} rename to {}` there, which keeps them under that name, and Offtake \
                 makes the table with all its rows",
                super::quoted(&aside)
            )
        }
        None => format!(
            "no command keeps its values, because some of them are no {sql_type}; run `alter table \
             {table} drop column {name}` there, and Offtake adds it and fills it from the source"
        ),
    };
    let first = match readers[..] {
        [] => String::new(),
        _ => format!(
            "; first, the owner of {} must take it away, and can make it again afterwards",
            readers.join(", ")
        ),
    };
    Err(Problem::fault(format!(
        "column {} of {table} is {held} and the query gives {sql_type}; {remedy}, or cast it in \
         the query{first}",
        column.name
    )))
}

/// The expression that makes the column's values values of the new type; None: some of them cannot
/// become one.
async fn cast(
    client: &Client,
    table: &str,
    column: &Column,
    held: &str,
) -> Result<Option<String>, Problem> {
    let (name, sql_type) = (column.name.sql(), &column.target_type);
    let mut casts = vec![format!("{name}::{sql_type}"), format!("{name}::text::{sql_type}")];
    if held == "text" || held.starts_with("character") {
        casts.truncate(1);
    }
    for cast in casts {
        client.batch_execute("savepoint trial").await?;
        let tried = client
            .batch_execute(&format!(
                "select count({cast}) from (select {name} from {table} limit {TRIED_VALUES}) t"
            ))
            .await;
        let end = match tried {
            Ok(()) => {
                return client
                    .batch_execute("release savepoint trial")
                    .await
                    .map(|()| Some(cast))
                    .map_err(Problem::from);
            }
            Err(error) => {
                let no_cast = error.code() == Some(&SqlState::CANNOT_COERCE);
                (no_cast || row_fault(&error)).then_some(()).ok_or(error)
            }
        };
        end.map_err(Problem::from)?;
        client.batch_execute("rollback to savepoint trial; release savepoint trial").await?;
    }
    Ok(None)
}

/// What of the tenant's own reads the columns, so that Postgres does not alter their types.
async fn readers(
    client: &Client,
    table: &str,
    misfits: &[Misfit<'_>],
) -> Result<Vec<String>, tokio_postgres::Error> {
    let columns: Vec<&str> = misfits.iter().map(|misfit| misfit.column.name.as_str()).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&table, Type::TEXT), (&columns, Type::TEXT_ARRAY)];
    let rows = client.query_typed(sql::LIST_COLUMN_READERS, &parameters).await?;
    rows.iter().map(|row| row.try_get("reader")).collect()
}
