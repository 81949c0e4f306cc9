//! Whether a daemon can use the files as they are now. A running daemon keeps the files that it
//! read before, so an operator would not notice a mistake until the next restart.

use offtake_postgres::catalog;
use tokio_postgres::Client;

use super::triggers::missing_triggers;
use crate::context::Context;
use crate::context::destination_list::statement;
use crate::outcome::Failure;

/// What is wrong with the mappings and the destinations query, as the files and the source have
/// them; None where nothing is.
pub(crate) async fn find_mistakes(context: &Context, source: &Client) -> Option<String> {
    look(context, source).await.unwrap_or_else(|failure| Some(failure.to_string()))
}

async fn look(context: &Context, source: &Client) -> Result<Option<String>, Failure> {
    let set = catalog::resolve(source, context.mappings()?).await?;
    let missing = missing_triggers(source, &set).await?;
    let complaints: Vec<String> =
        missing.into_iter().chain(destinations_query(context, source).await).collect();
    Ok((!complaints.is_empty()).then(|| complaints.join("\n")))
}

/// Why the destinations query no longer fits the source. It is prepared and not run.
async fn destinations_query(context: &Context, source: &Client) -> Option<String> {
    let query = context.configuration.destinations.query.as_ref()?;
    let error = source.prepare(&statement(query)).await.err()?;
    let why = offtake_postgres::Error::from(error).message();
    Some(format!("the destinations query cannot run: {why}"))
}
