//! `offtake verify --repair`: has a daemon copy exactly the rows that differ again.
//!
//! This command writes nothing to a destination. It captures each differing key once more, and a
//! worker applies it; see [`Keys`].

use std::time::Duration;

use offtake_admin::operations::{named_destinations, owe_sync};
use offtake_sync::destinations::DestinationSpec;
use offtake_sync::verify::Keys;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::commands::registry_names::unreadable;
use crate::commands::sync::{wait_until_reached, wait_until_sequenced, warn_without_daemon};
use crate::outcome::{Exit, Failure};

/// How long the command waits for the worker, which takes some ten seconds for a hundred thousand
/// keys.
const WAIT: Duration = Duration::from_secs(120);

/// Captures the keys again for the destination's tenant, and waits until the destination has
/// everything.
pub(super) async fn repair(
    source: &Client,
    spec: &DestinationSpec,
    keys: &Keys,
) -> Result<(), Failure> {
    let failed = |error: tokio_postgres::Error| {
        Failure::of_source("cannot have the differing keys looked at again", &error.into())
    };
    let named = named_destinations(source, Some(&spec.tenant_id), Some(&spec.name))
        .await
        .map_err(|error| unreadable(&error))?;
    let Some(destination) = named.first() else {
        return Err(Failure::new(
            Exit::SomeDestinationsFailed,
            format!("no daemon has seen {} yet", spec.label()),
        )
        .remedy("start `offtake run`"));
    };
    keys.capture(source, &spec.tenant_at_source).await.map_err(failed)?;
    warn_without_daemon(source).await?;
    let deadline = Instant::now() + WAIT;
    wait_until_sequenced(source, deadline).await?;
    let ids = [destination.destination_id];
    let head = owe_sync(source, &ids).await.map_err(|error| unreadable(&error))?;
    match wait_until_reached(source, &ids, head, deadline).await?.first() {
        None => Ok(()),
        Some(row) => {
            let failure = Failure::new(
                Exit::SomeDestinationsFailed,
                format!("{} was not repaired in time", spec.label()),
            );
            Err(match row.get::<_, Option<&str>>("obstacle") {
                Some(obstacle) => failure.because(obstacle),
                None => failure.remedy(
                    "see that `offtake run` is running for this source; the keys stay owed",
                ),
            })
        }
    }
}
