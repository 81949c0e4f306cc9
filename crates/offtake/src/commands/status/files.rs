//! Whether a daemon can use the files as they are now. A running one keeps what it had, so nobody
//! would see it otherwise.

use offtake_postgres::catalog;
use tokio_postgres::Client;

use crate::configuration::Configuration;
use crate::destinations::{check_static, statement};
use crate::mapping_files;
use crate::outcome::Failure;
use crate::triggers::what_is_missing;

/// What is wrong with the mappings, as files and as the source sees them.
pub(super) async fn trouble(configuration: &Configuration, source: &Client) -> Option<String> {
    look(configuration, source).await.unwrap_or_else(|failure| Some(failure.to_string()))
}

async fn look(configuration: &Configuration, source: &Client) -> Result<Option<String>, Failure> {
    let (definitions, _) = mapping_files::load(&configuration.mappings)?;
    check_static(configuration, &definitions)?;
    let set = catalog::resolve(source, definitions).await?;
    let missing = what_is_missing(source, &set).await?;
    let complaints: Vec<String> =
        missing.into_iter().chain(destinations_query(configuration, source).await).collect();
    Ok((!complaints.is_empty()).then(|| complaints.join("\n")))
}

/// Whether the destinations query still fits the source; it is planned and not run.
async fn destinations_query(configuration: &Configuration, source: &Client) -> Option<String> {
    let query = configuration.destinations.query.as_ref()?;
    let error = source.prepare(&statement(query)).await.err()?;
    Some(format!(
        "the destinations query cannot run: {}",
        offtake_postgres::Error::from(error).message()
    ))
}
