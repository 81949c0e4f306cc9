//! From mapping files to mappings that can run: asks the source's catalog for tables, columns, keys
//! and types.
//!
//! Nothing of the operator's SQL is run here. Queries and expressions are only parsed by the
//! server, in a read-only transaction, and every mapping's problems are collected, so that one look
//! at the output is enough to mend them all.

mod definitions;
mod equality;
mod exposed;
mod expressions;
mod fitness;
mod functions;
mod problem;
mod query;
mod read_only;
mod refusal;
mod sql;
mod tables;
mod waiting;

use std::collections::BTreeMap;

use offtake_mapping::{Mapping, MappingSet, ResolvedMapping, Step};
use tokio_postgres::{Client, Error};

use definitions::Definitions;
pub use definitions::{NamedInFunction, tables_in_functions};
use exposed::Exposed;
pub use problem::Problem;
use query::QueryColumn;
use read_only::ReadOnly;
use tables::Tables;

/// `CREATE OR REPLACE TRIGGER`, which replaces a trigger without the lock that stops the
/// application's reads, came with 14.
const SERVER_VERSION_MIN: i32 = 140_000;

/// Resolves a whole set of mappings against the source: either all of them can run together, or
/// everything that is wrong with any of them is returned, in the order of their names.
///
/// Runs one short READ ONLY transaction on `client`, which must not be in one.
pub async fn resolve(client: &Client, mappings: Vec<Mapping>) -> Result<MappingSet, Vec<Problem>> {
    resolve_for(Purpose::KeepInStep, client, mappings).await
}

/// The same for copies that are made once. Nothing is captured for them, so a table fits whose
/// changes triggers could not record; and of a mapping for everyone, all rows are one copy's, so its
/// query may have a column `tenant_id` like any other.
pub async fn resolve_to_copy_once(
    client: &Client,
    mappings: Vec<Mapping>,
) -> Result<MappingSet, Vec<Problem>> {
    resolve_for(Purpose::CopyOnce, client, mappings).await
}

/// What mappings are resolved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    KeepInStep,
    CopyOnce,
}

async fn resolve_for(
    purpose: Purpose,
    client: &Client,
    mut mappings: Vec<Mapping>,
) -> Result<MappingSet, Vec<Problem>> {
    mappings.sort_by(|a, b| a.name.cmp(&b.name));
    let mut problems = conflicts(&mappings);
    match resolve_each(purpose, client, &mappings, &mut problems).await {
        Ok((tables, resolved)) if problems.is_empty() => {
            Ok(MappingSet::new(resolved, |table, column| tables.column_type(table, column)))
        }
        Ok(_) => Err(problems),
        Err(error) => {
            problems.push(waiting::unavailable(client, &mappings, &error).await);
            Err(problems)
        }
    }
}

async fn resolve_each(
    purpose: Purpose,
    client: &Client,
    mappings: &[Mapping],
    problems: &mut Vec<Problem>,
) -> Result<(Tables, Vec<ResolvedMapping>), Error> {
    let transaction = ReadOnly::begin(client).await?;
    problems.extend(check_server(client).await?);
    transaction.narrow().await?;
    let mut tables = Tables::read(client, mappings).await?;
    if purpose == Purpose::CopyOnce {
        tables.need_no_triggers();
    }
    transaction.widen().await?;
    let mut resolved = Vec::new();
    for mapping in mappings {
        match resolve_one(client, &transaction, &tables, mapping).await? {
            Ok(mapping) => resolved.push(mapping),
            Err(found) => problems.extend(found),
        }
    }
    Ok((tables, resolved))
}

async fn resolve_one(
    client: &Client,
    transaction: &ReadOnly<'_>,
    tables: &Tables,
    mapping: &Mapping,
) -> Result<Result<ResolvedMapping, Vec<Problem>>, Error> {
    let mut problems = tables.check(mapping);
    let named_rightly = problems.is_empty();
    if named_rightly {
        problems.extend(expressions::check_conditions(transaction, mapping, tables).await?);
    }
    let prepared = query::prepare(transaction, mapping, tables).await?;
    if prepared.is_ok() {
        problems.extend(functions::check_query(client, mapping).await?);
    }
    let definitions = Definitions::find(client, mapping).await?;
    transaction.narrow().await?;
    let definitions = definitions.text(client).await?;
    if named_rightly {
        problems.extend(expressions::check_tenant(transaction, mapping, tables).await?);
        problems.extend(functions::check_tenant(client, mapping).await?);
    }
    let columns = match prepared {
        Ok(prepared) => Some(prepared.columns(client).await?),
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    transaction.widen().await?;
    // Without the table every further complaint would be a consequence of that one.
    let (Some(mut columns), true) = (columns, named_rightly) else { return Ok(Err(problems)) };
    let exposed = match tables.key(mapping) {
        Ok(key) => {
            let wanted = |name: &str| QueryColumn::names(&key, name);
            equality::read_collations(transaction, mapping, &mut columns, wanted).await?;
            exposed::expose(mapping, tables, &key, columns)
        }
        Err(problem) => Err(vec![*problem]),
    };
    Ok(match exposed {
        Ok(Exposed { tenant, key, columns }) if problems.is_empty() => {
            Ok(ResolvedMapping::new(mapping.clone(), tenant, key, columns).defined_by(&definitions))
        }
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found);
            Err(problems)
        }
    })
}

/// Mappings that cannot stand beside each other, because they have one name. The files alone tell.
/// Two that write to one table may, where no destination receives both.
pub fn conflicts(mappings: &[Mapping]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names: BTreeMap<&str, &Mapping> = BTreeMap::new();
    for mapping in mappings {
        if let Some(other) = names.insert(&mapping.name, mapping) {
            problems.push(Problem::at(
                mapping,
                &Step::keys(&["name"]),
                format!(
                    "the mapping `{}` is also defined in {}",
                    mapping.name,
                    other.file.display()
                ),
                "give one of them another `name`",
            ));
        }
    }
    problems
}

/// Why this server cannot be a source; None: it can.
pub async fn check_server(client: &Client) -> Result<Option<Problem>, Error> {
    let row = client
        .query_one(
            "select current_setting('server_version_num')::int4, current_setting('server_version')",
            &[],
        )
        .await?;
    let (number, version): (i32, String) = (row.get(0), row.get(1));
    Ok(refused_version(number, &version))
}

fn refused_version(number: i32, version: &str) -> Option<Problem> {
    (number < SERVER_VERSION_MIN).then(|| {
        Problem::of_source(
            format!(
                "the source is PostgreSQL {version}, which cannot replace a trigger without stopping the application (CREATE OR REPLACE TRIGGER came with 14)"
            ),
            "upgrade the source to PostgreSQL 14 or later",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_14_are_refused_with_the_reason() {
        let refused = refused_version(130_018, "13.18 (Debian)").expect("13 is refused");
        let shown = refused.to_string();
        assert!(
            shown.starts_with(
                "the source is PostgreSQL 13.18 (Debian), which cannot replace a trigger"
            ),
            "{shown}"
        );
        assert!(
            shown.ends_with("remedy: upgrade the source to PostgreSQL 14 or later")
                && !refused.source_unavailable,
            "{shown}"
        );
        assert!(
            refused_version(140_000, "14.0").is_none()
                && refused_version(180_001, "18.1").is_none()
        );
    }
}
