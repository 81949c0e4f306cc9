//! Whether a daemon can use the files as they are now. A running one keeps what it had, so nobody would see it otherwise.

use offtake_postgres::catalog;
use tokio_postgres::Client;

use crate::configuration::Configuration;
use crate::destinations::check_static;
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
    what_is_missing(source, &set).await
}
