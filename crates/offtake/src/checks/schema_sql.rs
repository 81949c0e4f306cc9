//! Whether a mapping's `schema_sql` makes a table that the mapping's rows fit into, asked of the
//! source: there is a server of the same kind before there is any destination.

use std::sync::Arc;

use offtake_mapping::{ResolvedMapping, Step};
use offtake_sync::destinations::{Tried, try_schema_sql};
use tokio_postgres::Client;

use crate::outcome::Failure;

/// Fails with every mapping whose `schema_sql` can work in no destination.
pub(crate) async fn require_fit(
    source: &Client,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for mapping in mappings {
        if let Err(failure) = try_out(source, mapping).await
            && try_out(source, &mapping.for_shared()).await.is_err()
        {
            failures.push(failure);
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::all(failures)) }
}

/// Tries it out; returns the columns that it lacks, which Offtake would add.
pub(crate) async fn try_out(
    source: &Client,
    mapping: &ResolvedMapping,
) -> Result<Vec<String>, Failure> {
    let tried = try_schema_sql(source, mapping).await.map_err(|error| {
        let what = format!("cannot try the schema_sql of mapping {}", mapping.name());
        Failure::of_source(&what, &error.into())
    })?;
    let Tried { misfit, added } = tried.unwrap_or_default();
    let Some(misfit) = misfit else { return Ok(added) };
    let path = Step::keys(&["target", "schema_sql"]);
    let told = mapping.definition.mistake(&path, misfit.message, misfit.remedy);
    Err(Failure::invalid(told.finding()).remedy(told.remedy))
}
