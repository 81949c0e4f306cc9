//! A destination's tables: made, taken up again, widened, or left alone with a reason.

use offtake_mapping::compose::postgres::Apply;
use offtake_mapping::{Identifier, ResolvedMapping};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::destinations::DestinationSpec;
use crate::error::MappingFault;
use crate::sql;

/// What is there under the target's name.
struct Found {
    kind: String,
    identity: String,
    mark: Option<String>,
    columns: Vec<(String, String)>,
    required: Vec<String>,
    /// Sorted column names of every unique index, joined by U+001F.
    unique_keys: Vec<String>,
}

/// A table that is there and fits.
pub(crate) struct Ensured {
    /// The table was made or widened just now: no cursor says anything about its rows.
    pub(crate) fresh: bool,
    /// See `lock_states.sql`.
    pub(crate) identity: String,
}

/// Makes sure that the mapping's table is there, is this mapping's own, and fits. Runs inside the
/// caller's transaction, behind its savepoint. Nothing is ever dropped, retyped or taken over.
/// Tells what the table is.
pub(crate) async fn ensure(
    client: &Client,
    spec: &DestinationSpec,
    mapping: &ResolvedMapping,
) -> Result<Ensured, Problem> {
    let apply = Apply::new(mapping, &spec.schema, &spec.tenant_id);
    let table = apply.table().to_owned();
    let mark = format!("offtake:{}", mapping.name());
    let rights = Rights::of(spec, &table);
    let mut found = describe(client, &table).await?;
    let made = found.is_none();
    if made {
        match &mapping.definition.target.schema_sql {
            Some(statements) => {
                client
                    .batch_execute(&format!(
                        "set local search_path = {}, pg_catalog",
                        spec.schema.sql()
                    ))
                    .await?;
                client
                    .batch_execute(statements)
                    .await
                    .map_err(|error| Problem::lacking(error, || rights.make()))?;
                client
                    .batch_execute(&format!(
                        "set local search_path = pg_catalog, {}",
                        spec.schema.sql()
                    ))
                    .await?;
            }
            None => client
                .batch_execute(&apply.create_table())
                .await
                .map_err(|error| Problem::lacking(error, || rights.make()))?,
        }
        tracing::info!(
            event = "table_created",
            tenant = spec.tenant_id,
            destination = spec.name,
            mapping = mapping.name(),
            "created {table}"
        );
        found = describe(client, &table).await?;
    }
    let Some(found) = found else {
        return Err(Problem::fault(format!(
            "schema_sql ran and {table} is not there; it must create the table that target.table names"
        )));
    };
    if found.kind != "r" && found.kind != "p" {
        return Err(Problem::fault(format!(
            "{table} is not a table; rename it or set another target.table"
        )));
    }
    if found.mark.as_deref() != Some(&mark) {
        let rows = client.query_one(&format!("select exists (select from {table})"), &[]).await;
        let rows: bool = rows.map_err(|error| Problem::lacking(error, || rights.change()))?.get(0);
        if rows {
            return Err(Problem::fault(format!(
                "{table} was there before Offtake and holds rows; it stays untouched. Rename it, or set another target.table or schema"
            )));
        }
    }
    // Also one that the tenant dropped: it comes back empty, whatever the rows held before.
    let widened = add_columns(client, &apply, mapping, &found)
        .await
        .map_err(|error| Problem::lacking(error, || rights.change()))?;
    check_fit(mapping, &table, &found)?;
    if found.mark.as_deref() != Some(&mark) {
        client
            .batch_execute(&apply.mark_table())
            .await
            .map_err(|error| Problem::lacking(error, || rights.change()))?;
    }
    Ok(Ensured { fresh: made || widened, identity: found.identity })
}

/// A statement failed, or the table does not fit.
pub(crate) enum Problem {
    Statement(tokio_postgres::Error),
    Fault(MappingFault),
}

/// What gives the destination's role a right that it lacks.
struct Rights<'a> {
    schema: String,
    table: &'a str,
    role: String,
}

impl<'a> Rights<'a> {
    fn of(spec: &DestinationSpec, table: &'a str) -> Self {
        let role =
            Identifier::new(spec.url.user()).map_or_else(|_| String::new(), |name| name.sql());
        Self { schema: spec.schema.sql(), table, role }
    }

    fn make(&self) -> String {
        format!("grant usage, create on schema {} to {}", self.schema, self.role)
    }

    fn change(&self) -> String {
        format!("alter table {} owner to {}", self.table, self.role)
    }
}

impl Problem {
    /// A right is missing: the mapping's fault, with the statement that mends it. Anything else
    /// stays what it is.
    fn lacking(error: tokio_postgres::Error, mended_by: impl FnOnce() -> String) -> Self {
        if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return Self::Statement(error);
        }
        let mut fault = MappingFault::of("missing rights", &error.into());
        fault.message.push_str(&format!("; run there: {}", mended_by()));
        Self::Fault(fault)
    }

    fn fault(message: String) -> Self {
        Self::Fault(MappingFault { sqlstate: None, message })
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement(error)
    }
}

async fn describe(client: &Client, table: &str) -> Result<Option<Found>, tokio_postgres::Error> {
    let rows = client.query_typed(sql::DESCRIBE_TARGET, &[(&table, Type::TEXT)]).await?;
    Ok(rows.first().map(|row| Found {
        kind: row.get("kind"),
        identity: row.get("identity"),
        mark: row.get("mark"),
        columns: row
            .get::<_, Vec<String>>("columns")
            .into_iter()
            .zip(row.get::<_, Vec<String>>("types"))
            .collect(),
        required: row.get("required"),
        unique_keys: row.get("unique_keys"),
    }))
}

/// Adds the columns that the query has and the table has not; tells whether there were any.
async fn add_columns(
    client: &Client,
    apply: &Apply<'_>,
    mapping: &ResolvedMapping,
    found: &Found,
) -> Result<bool, tokio_postgres::Error> {
    let mut added = false;
    for column in &mapping.columns {
        if !found.columns.iter().any(|(name, _)| name == column.name.as_str()) {
            client
                .batch_execute(&format!(
                    "alter table {} add column {} {}",
                    apply.table(),
                    column.name.sql(),
                    column.target_type
                ))
                .await?;
            tracing::info!(
                event = "column_added",
                mapping = mapping.name(),
                column = column.name.as_str(),
                "added column {}",
                column.name
            );
            added = true;
        }
    }
    Ok(added)
}

fn check_fit(mapping: &ResolvedMapping, table: &str, found: &Found) -> Result<(), Problem> {
    for column in &mapping.columns {
        // A table from schema_sql may hold a value in any type that reads its text; the rows
        // themselves decide.
        let there = found.columns.iter().find(|(name, _)| name == column.name.as_str());
        if let Some((_, sql_type)) = there
            && mapping.definition.target.schema_sql.is_none()
            && *sql_type != column.target_type
        {
            // The rows are copied anew afterwards in any case, so that no conversion of the old
            // ones needs to be there.
            let remedy = match mapping.target_key().contains(&column.name) {
                true => format!("drop table {table}"),
                false => format!(
                    "alter table {table} alter column {0} type {1} using null::{1}",
                    column.name.sql(),
                    column.target_type
                ),
            };
            return Err(Problem::fault(format!(
                "column {} of {table} is {sql_type} and the query gives {}; run `{remedy}` there and Offtake copies the rows anew, or \
                 cast it in the query",
                column.name, column.target_type,
            )));
        }
    }
    if let Some(extra) = found
        .required
        .iter()
        .find(|name| !mapping.columns.iter().any(|c| c.name.as_str() == name.as_str()))
    {
        return Err(Problem::fault(format!(
            "column {extra} of {table} is NOT NULL without a default and the query does not give it; drop the constraint, give it a \
             default, or add it to the query"
        )));
    }
    let mut key: Vec<String> = mapping.target_key().iter().map(|c| c.as_str().to_owned()).collect();
    key.sort();
    if !found.unique_keys.contains(&key.join("\u{1f}")) {
        let columns = mapping.target_key().iter().map(|c| c.sql()).collect::<Vec<_>>().join(", ");
        let anew = match &mapping.definition.target.schema_sql {
            Some(_) => format!(
                "mend schema_sql and run `drop table {table}` there, and Offtake makes it anew with all its rows"
            ),
            None => format!(
                "run `drop table {table}` there and Offtake makes it anew with all its rows"
            ),
        };
        return Err(Problem::fault(format!(
            "{table} has no primary key or unique index on exactly ({}), the mapping's key; {anew}, or `create unique index on {table} \
             ({columns})` to keep it",
            key.join(", ")
        )));
    }
    Ok(())
}
