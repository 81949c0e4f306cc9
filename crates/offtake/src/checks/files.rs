//! Whether a daemon can use the files as they are now. A running daemon keeps the files that it
//! read before, so an operator would not notice a mistake until the next restart.

use std::collections::BTreeMap;

use offtake_mapping::MappingSet;
use offtake_postgres::catalog;
use tokio_postgres::Client;

use super::triggers::{Missing, missing_triggers};
use crate::context::Context;
use crate::context::destination_list::statement;
use crate::outcome::Failure;

/// What a look at the files and the source finds.
#[derive(Default)]
pub(crate) struct Found {
    /// What is wrong with the mappings and the destinations query; None where nothing is.
    pub(crate) error: Option<String>,
    /// The mappings whose changes go by unseen, each with the reason.
    pub(crate) uncaptured: BTreeMap<String, String>,
}

/// The mappings as the files have them now, and the triggers that they lack.
pub(crate) struct Files {
    /// None: they cannot be used.
    pub(crate) set: Option<MappingSet>,
    pub(crate) missing: Missing,
    /// Why they cannot be used.
    pub(crate) error: Option<String>,
}

impl Files {
    pub(crate) async fn read(context: &Context, source: &Client) -> Self {
        Self::resolve(context, source).await.unwrap_or_else(|failure| Self {
            set: None,
            missing: Missing::default(),
            error: Some(failure.to_string()),
        })
    }

    async fn resolve(context: &Context, source: &Client) -> Result<Self, Failure> {
        let set = catalog::resolve(source, context.mappings()?).await?;
        let missing = missing_triggers(source, &set).await?;
        Ok(Self { set: Some(set), missing, error: None })
    }
}

pub(crate) async fn find_mistakes(context: &Context, source: &Client) -> Found {
    let Files { missing: Missing { complaint, uncaptured }, error, .. } =
        Files::read(context, source).await;
    if error.is_some() {
        return Found { error, uncaptured };
    }
    let complaints: Vec<String> =
        complaint.into_iter().chain(destinations_query(context, source).await).collect();
    let error = (!complaints.is_empty()).then(|| complaints.join("\n"));
    Found { error, uncaptured }
}

/// Why the destinations query no longer fits the source. It is prepared and not run.
pub(crate) async fn destinations_query(context: &Context, source: &Client) -> Option<String> {
    let query = context.configuration.destinations.query.as_ref()?;
    let error = source.prepare(&statement(query)).await.err()?;
    let why = offtake_postgres::Error::from(error).message();
    Some(format!("the destinations query cannot run: {why}"))
}
