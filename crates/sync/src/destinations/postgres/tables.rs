//! A mapping's table in Postgres: examined, made, widened, or left alone with a reason.

use std::sync::Arc;

use offtake_mapping::compose::postgres::{ActingKey, Apply, UpdatingKey};
use offtake_mapping::{Column, Identifier, ResolvedMapping, foreign};
use offtake_postgres::Fault;
use offtake_reading::MappingFault;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::trial::unwritable;
use super::{columns, key_equality, quoted, trial};
use crate::Error;
use crate::destinations::elsewhere::{elsewhere, instead_of_taking, key_of, lacks_value};
use crate::destinations::{DestinationSpec, Reference};
use crate::sql;

/// What is there under the target's name.
pub(super) struct Found {
    pub(super) kind: String,
    identity: String,
    mark: Option<String>,
    /// As SQL writes its name: the table, or a partition of it, that is unlogged.
    pub(super) unlogged: Option<String>,
    /// Names and types.
    pub(super) columns: Vec<(String, String)>,
    pub(super) required: Vec<String>,
    /// Columns that are `generated always as (…)`.
    pub(super) computed: Vec<String>,
    /// Columns that are `generated always as identity`.
    pub(super) identities: Vec<String>,
    /// Sorted column names of every unique index, joined by U+001F.
    pub(super) unique_keys: Vec<String>,
    /// Columns of which different texts may be equal.
    pub(super) coarse: Vec<String>,
}

/// What of a mapping's table is there.
pub(super) struct Examined {
    /// See `lock_states.sql`. None: there is no table.
    pub(super) identity: Option<String>,
    /// The table is not there, or lacks columns or the width of one: no cursor says anything about
    /// its rows.
    pub(super) incomplete: bool,
    /// It has everything, the mark too.
    pub(super) ready: bool,
}

/// Whose table it is about, and in which schema.
pub(super) struct Site<'a> {
    pub(super) spec: &'a DestinationSpec,
    pub(super) schema: &'a Identifier,
    /// The role that Offtake has there.
    pub(super) user: &'a str,
}

/// Looks whether the mapping's table is there, is this mapping's own, and fits. Changes nothing.
pub(super) async fn examine(
    client: &Client,
    site: &Site<'_>,
    mapping: &ResolvedMapping,
) -> Result<Examined, Problem> {
    let apply = Apply::new(mapping, site.schema, &site.spec.tenant_id);
    let Some(found) = describe(client, apply.table()).await? else {
        return Ok(Examined { identity: None, incomplete: true, ready: false });
    };
    let marked = check_owner(client, site, &apply, mapping, &found).await?;
    check_fit(client, mapping, apply.table(), &found).await?;
    let incomplete =
        missing_columns(mapping, &found).next().is_some() || columns::are_narrow(mapping, &found);
    Ok(Examined { identity: Some(found.identity), incomplete, ready: marked && !incomplete })
}

/// Makes the mapping's table what it must be and tells what it is then. Runs inside the caller's
/// transaction, behind its savepoint and under [`lock_making`](super::state::lock_making). Nothing
/// is ever dropped or taken over, and no column is given a type that could not hold its values.
pub(super) async fn ensure(
    client: &Client,
    site: &Site<'_>,
    mapping: &ResolvedMapping,
) -> Result<String, Problem> {
    let apply = Apply::new(mapping, site.schema, &site.spec.tenant_id);
    let table = apply.table().to_owned();
    let rights = Rights::of(site, &table);
    let found = match describe(client, &table).await? {
        Some(found) => found,
        None => {
            let found = make(client, site, mapping).await?;
            tracing::info!(
                event = "table_created",
                tenant = site.spec.tenant_id,
                destination = site.spec.name,
                mapping = mapping.name(),
                "created {table}"
            );
            found
        }
    };
    let marked = check_owner(client, site, &apply, mapping, &found).await?;
    // Also a column that the tenant dropped: it comes back empty, whatever the rows held before.
    add_columns(client, &apply, mapping, &found)
        .await
        .map_err(|error| Problem::lacking(error, || rights.change()))?;
    check_fit(client, mapping, &table, &found).await?;
    let widened = columns::widen(client, &table, mapping, &found, || rights.change()).await?;
    if !marked {
        client
            .batch_execute(&apply.mark_table())
            .await
            .map_err(|error| Problem::lacking(error, || rights.change()))?;
    }
    // A widening may have rewritten the table, into another file.
    match widened {
        true => Ok(describe(client, &table).await?.map_or(found.identity, |now| now.identity)),
        false => Ok(found.identity),
    }
}

/// Makes the table that is not there, and tells what it is.
pub(super) async fn make(
    client: &Client,
    site: &Site<'_>,
    mapping: &ResolvedMapping,
) -> Result<Found, Problem> {
    let apply = Apply::new(mapping, site.schema, &site.spec.tenant_id);
    let table = apply.table();
    create(client, site, &apply, mapping, &Rights::of(site, table)).await?;
    let Some(found) = describe(client, table).await? else {
        return Err(Problem::fault(format!(
            "schema_sql ran and {table} is not there; it must create the table that target.table \
             names"
        )));
    };
    trial::check_made(mapping, table, &found)?;
    check_fit(client, mapping, table, &found).await?;
    Ok(found)
}

/// The table, by `schema_sql` or from the query's columns.
async fn create(
    client: &Client,
    site: &Site<'_>,
    apply: &Apply<'_>,
    mapping: &ResolvedMapping,
    rights: &Rights<'_>,
) -> Result<(), Problem> {
    let schema = site.schema.sql();
    match &mapping.definition.target.schema_sql {
        Some(statements) => {
            client.batch_execute(&format!("set local search_path = {schema}, pg_catalog")).await?;
            client
                .batch_execute(statements)
                .await
                .map_err(|error| Problem::lacking(error, || rights.make()))?;
            client.batch_execute(&format!("set local search_path = pg_catalog, {schema}")).await?;
        }
        None => client
            .batch_execute(&apply.create_table())
            .await
            .map_err(|error| Problem::lacking(error, || rights.make()))?,
    }
    Ok(())
}

/// Whether the table has the mapping's mark. One that has not, and holds rows, is someone else's.
async fn check_owner(
    client: &Client,
    site: &Site<'_>,
    apply: &Apply<'_>,
    mapping: &ResolvedMapping,
    found: &Found,
) -> Result<bool, Problem> {
    let table = apply.table();
    if found.kind != "r" && found.kind != "p" {
        return Err(Problem::fault(format!(
            "{table} is not a table; rename it or {}",
            elsewhere(&mapping.definition, "schema")
        )));
    }
    if found.mark.as_deref() == Some(&mark(mapping)) {
        return Ok(true);
    }
    let rights = Rights::of(site, table);
    let rows = client.query_one(&format!("select exists (select from {table})"), &[]).await;
    let rows: bool = rows.map_err(|error| Problem::lacking(error, || rights.change()))?.get(0);
    let of_other = found.mark.as_deref().and_then(|mark| mark.strip_prefix(MARK));
    match (rows, of_other) {
        (false, _) => Ok(false),
        (true, None) => Err(Problem::fault(format!(
            "{table} was there before Offtake and holds rows; it stays untouched. Rename it, or {}",
            elsewhere(&mapping.definition, "schema")
        ))),
        (true, Some(other)) => Err(Problem::fault(format!(
            "{table} {}, where nothing receives {other} there any more, run `drop table {table}` \
             there, and Offtake makes it again with the rows of {}",
            instead_of_taking(&mapping.definition, &foreign(other), "schema"),
            mapping.name(),
            other = foreign(other)
        ))),
    }
}

/// What the comment of a table that Offtake made begins with; the mapping's name follows.
const MARK: &str = "offtake:";

/// The comment that says whose table it is.
pub(super) fn mark(mapping: &ResolvedMapping) -> String {
    format!("{MARK}{}", mapping.name())
}

/// A statement failed, or the table does not fit.
pub(super) enum Problem {
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
    fn of(site: &Site<'_>, table: &'a str) -> Self {
        Self { schema: site.schema.sql(), table, role: quoted(site.user) }
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
    pub(super) fn lacking(
        error: tokio_postgres::Error,
        mended_by: impl FnOnce() -> String,
    ) -> Self {
        if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return Self::Statement(error);
        }
        let mut fault = MappingFault::of("missing rights", &error.into());
        fault.message.push_str(&format!("; run there: {}", mended_by()));
        Self::Fault(fault)
    }

    pub(super) fn fault(message: String) -> Self {
        Self::Fault(MappingFault { sqlstate: None, message })
    }
}

impl Problem {
    /// A mapping's own fault, or the destination's trouble.
    pub(super) fn into_fault(self) -> Result<MappingFault, Error> {
        match self {
            Self::Fault(fault) => Ok(fault),
            Self::Statement(error) => {
                let error = offtake_postgres::Error::from(error);
                match error.fault() {
                    Fault::Schema | Fault::Row | Fault::Fatal if error.sqlstate().is_some() => {
                        Ok(MappingFault::of("cannot make the table ready", &error))
                    }
                    _ => Err(Error::destination(error)),
                }
            }
        }
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement(error)
    }
}

/// The foreign keys between the mappings' tables.
pub(super) async fn references(
    client: &Client,
    schema: &Identifier,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Vec<Reference>, tokio_postgres::Error> {
    let (names, tables) = super::state::names_and_tables(schema, mappings);
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&names, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)];
    let rows = client.query_typed(sql::LIST_REFERENCES, &parameters).await?;
    let reference = |row: &Row| {
        let child: &str = row.try_get("child_table")?;
        let keys = |names: &str, refers: &str| -> Result<Vec<ActingKey>, tokio_postgres::Error> {
            let (names, refers): (Vec<String>, Vec<String>) =
                (row.try_get(names)?, row.try_get(refers)?);
            let key = |(constraint, refers)| {
                let child = child.to_owned();
                ActingKey { constraint, child, refers }
            };
            Ok(names.into_iter().zip(refers).map(key).collect())
        };
        let columns: Vec<String> = row.try_get("updating_columns")?;
        let updating = keys("updating", "updating_refers")?.into_iter().zip(columns);
        let updating = updating.map(|(key, columns)| UpdatingKey {
            key,
            // A server may answer anything.
            columns: serde_json::from_str(&columns).unwrap_or_default(),
        });
        Ok(Reference {
            child: row.try_get("child")?,
            parent: row.try_get("parent")?,
            deferrable: row.try_get("deferrable")?,
            acting: keys("acting", "refers")?,
            updating: updating.collect(),
        })
    };
    rows.iter().map(reference).collect()
}

pub(super) async fn describe(
    client: &Client,
    table: &str,
) -> Result<Option<Found>, tokio_postgres::Error> {
    let rows = client.query_typed(sql::DESCRIBE_TARGET, &[(&table, Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (names, types): (Vec<String>, Vec<String>) =
        (row.try_get("columns")?, row.try_get("types")?);
    Ok(Some(Found {
        kind: row.try_get("kind")?,
        identity: row.try_get("identity")?,
        mark: row.try_get("mark")?,
        unlogged: row.try_get("unlogged")?,
        columns: names.into_iter().zip(types).collect(),
        required: row.try_get("required")?,
        computed: row.try_get("computed")?,
        identities: row.try_get("identities")?,
        unique_keys: row.try_get("unique_keys")?,
        coarse: row.try_get("coarse")?,
    }))
}

/// Columns that the query gives and the table has not.
pub(super) fn missing_columns<'a>(
    mapping: &'a ResolvedMapping,
    found: &'a Found,
) -> impl Iterator<Item = &'a Column> {
    let missing =
        |column: &&Column| !found.columns.iter().any(|(name, _)| name == column.name.as_str());
    mapping.columns.iter().filter(missing)
}

async fn add_columns(
    client: &Client,
    apply: &Apply<'_>,
    mapping: &ResolvedMapping,
    found: &Found,
) -> Result<(), tokio_postgres::Error> {
    for column in missing_columns(mapping, found) {
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
    }
    Ok(())
}

/// An unlogged table is empty after a crash of its server, and its cursor would still say that it
/// holds all rows. Making it logged gives it another identity, so it is copied again; a partitioned
/// table keeps its own.
fn check_persistence(found: &Found) -> Result<(), Problem> {
    let Some(unlogged) = &found.unlogged else { return Ok(()) };
    let remedy = format!("run `alter table {unlogged} set logged` there");
    let remedy = match found.kind.as_str() {
        "p" => format!("{remedy}, then `offtake resync` for this tenant and mapping"),
        _ => format!("{remedy} and Offtake copies the rows again"),
    };
    Err(Problem::fault(format!(
        "{unlogged} is unlogged, so a crash of this server empties it; {remedy}"
    )))
}

/// Why a table cannot be used that has the tenant of each row where this destination does not get
/// it, or lacks it where tenants share the destination.
fn other_form(mapping: &ResolvedMapping, table: &str, found: &Found) -> Option<String> {
    let tenant = mapping.tenant_column.name.as_str();
    let own_sql = mapping.definition.target.schema_sql.is_some();
    if mapping.definition.target.keep_tenant {
        let has = found.columns.iter().any(|(name, _)| name == tenant);
        let mend = match own_sql {
            true => format!("add {} to schema_sql, and run", missing_tenant(mapping)),
            false => "run".to_owned(),
        };
        return (!has).then(|| {
            format!(
                "{table} has no column {tenant}, because it was made for one tenant alone; {mend} \
                 `drop table {table}` there, and Offtake makes it with that column and copies all \
                 rows"
            )
        });
    }
    // A table that is copied once may have a column of that name itself.
    let own = mapping.columns.iter().any(|column| column.name.as_str() == tenant);
    (!own && found.required.iter().any(|name| name == tenant)).then(|| {
        let or = match own_sql {
            true => {
                "set `keep_tenant: true` for the mapping, or take the column out of schema_sql \
                     and run"
                    .to_owned()
            }
            false => "set `keep_tenant: true` for the mapping, or run".to_owned(),
        };
        format!(
            "{table} has the column {tenant}, because tenants shared it, and this destination is \
             not `shared`; {or} `drop table {table}` there, which deletes the rows of all its \
             tenants, and Offtake makes it without that column and copies this tenant's rows"
        )
    })
}

/// What a `schema_sql` must have so that tenants can share its table.
pub(super) fn missing_tenant(mapping: &ResolvedMapping) -> String {
    let Column { name, target_type, .. } = &mapping.tenant_column;
    let key: Vec<String> = mapping.target_key().iter().map(Identifier::in_sql).collect();
    format!("`{} {target_type} not null` and `primary key ({})`", name.in_sql(), key.join(", "))
}

async fn check_fit(
    client: &Client,
    mapping: &ResolvedMapping,
    table: &str,
    found: &Found,
) -> Result<(), Problem> {
    check_persistence(found)?;
    if let Some(why) = other_form(mapping, table, found) {
        return Err(Problem::fault(why));
    }
    if let Some(column) = unwritable(mapping, found) {
        return Err(Problem::fault(column.told(table)));
    }
    columns::check(client, table, mapping, found).await?;
    if let Some(why) = key_equality::misfit(mapping, table, found, false) {
        return Err(Problem::fault(why));
    }
    if let Some(extra) = found
        .required
        .iter()
        .find(|name| !mapping.columns.iter().any(|c| c.name.as_str() == name.as_str()))
    {
        let [why, mend] = lacks_value(&mapping.definition);
        return Err(Problem::fault(format!(
            "column {extra} of {table} is NOT NULL without a default and {why}; drop the \
             constraint, give it a default, or {mend}"
        )));
    }
    let mut key: Vec<String> = mapping.target_key().iter().map(|c| c.as_str().to_owned()).collect();
    key.sort();
    if !found.unique_keys.contains(&key.join("\u{1f}")) {
        let columns = mapping.target_key().iter().map(|c| c.sql()).collect::<Vec<_>>().join(", ");
        let again = match &mapping.definition.target.schema_sql {
            Some(_) => format!(
                "mend schema_sql and run `drop table {table}` there, and Offtake makes it again with all its rows"
            ),
            None if found.mark.as_deref() == Some(&mark(mapping)) => format!(
                "run `drop table {table}` there and Offtake makes it again with all its rows"
            ),
            None => "rename it there, and Offtake makes a table of its own".to_owned(),
        };
        return Err(Problem::fault(format!(
            "{table} has no primary key or unique index on exactly ({}), {}; {again}, or `create \
             unique index on {table} ({columns})` to keep it",
            key.join(", "),
            key_of(&mapping.definition)
        )));
    }
    Ok(())
}
