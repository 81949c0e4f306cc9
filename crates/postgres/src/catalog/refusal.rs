//! What the source's refusal of an operator's SQL says: where the fault is, and what to do.

use offtake_mapping::{Mapping, scan};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::read_only::ReadOnly;
use super::tables::Tables;

/// The remedy for a column that needs double quotes, because its name has capitals.
pub(super) fn unfolded(
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

/// Characters before the fault, behind `prefix`.
pub(super) fn position(db: &DbError, prefix: &str) -> usize {
    match db.position() {
        // Postgres counts characters from 1.
        Some(ErrorPosition::Original(at)) => {
            (*at as usize).saturating_sub(1 + prefix.chars().count())
        }
        _ => 0,
    }
}

pub(super) fn hint(db: &DbError, otherwise: &str) -> String {
    db.hint().map_or_else(|| otherwise.to_owned(), one_line)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The statement that lets `role` do what it may not.
pub(super) async fn remedy_of(
    transaction: &ReadOnly<'_>,
    db: &DbError,
    role: &str,
) -> Result<Option<String>, Error> {
    if hides_rows(db) {
        return Ok(Some(format!("run as a superuser: alter role {role} bypassrls;")));
    }
    let Some((kind, name)) = refused_object(db) else { return Ok(None) };
    let Some((name, system)) = transaction.name_refused(kind, name).await? else { return Ok(None) };
    if system {
        let name = name.split('(').next().unwrap_or_default();
        // Such a function writes or reads files, and of such a table no change is captured.
        return Ok(Some(format!(
            "take {name} out of the query: it is for the server's administrators, and no copy \
             can follow it"
        )));
    }
    let right = match kind {
        "schema" => "usage on schema ",
        "function" => "execute on function ",
        "sequence" => "select on sequence ",
        _ => "select on ",
    };
    Ok(Some(format!("run as its owner: grant {right}{name} to {role};")))
}

/// The cause of the refusal, where one remedy mends it for every mapping.
pub(super) fn cause_of(error: &Error) -> Option<&'static str> {
    let hidden = "row-level security would hide rows from the role in source.url, and copies would \
                  lack them";
    error.as_db_error().is_some_and(hides_rows).then_some(hidden)
}

/// Whether a policy would hide rows from the role. Offtake reads with `row_security = off`, which
/// makes that an error: a copy without these rows would look complete.
fn hides_rows(db: &DbError) -> bool {
    *db.code() == SqlState::INSUFFICIENT_PRIVILEGE && db.message().contains("row-level security")
}

/// Kind and name of what the role may not use. The error has them in its message only: `permission
/// denied for table team`.
fn refused_object(db: &DbError) -> Option<(&'static str, &str)> {
    const KINDS: [&str; 7] =
        ["schema", "function", "sequence", "materialized view", "view", "foreign table", "table"];
    if *db.code() != SqlState::INSUFFICIENT_PRIVILEGE {
        return None;
    }
    let about = db.message().strip_prefix("permission denied for ")?;
    KINDS.into_iter().find_map(|kind| Some((kind, about.strip_prefix(kind)?.strip_prefix(' ')?)))
}
