//! Whether the mappings' tenants can have the ids that the configuration file gives them.

use offtake_mapping::MappingSet;
use offtake_sync::destinations::DestinationSpec;
use tokio_postgres::Client;

use crate::context::destination_list::DestinationList;
use crate::context::{Context, tenant_spelling};
use crate::outcome::Failure;

/// A failure for every destination of the file whose tenant a mapping cannot have. Those of the
/// destinations query are refused one by one when they are registered.
pub(crate) async fn check_tenants(
    context: &Context,
    source: &Client,
    set: &MappingSet,
) -> Result<(), Failure> {
    let configuration = &context.configuration;
    let static_ = &configuration.destinations.static_;
    let usable = static_.iter().map(DestinationSpec::from).collect();
    let mut list = DestinationList { usable, ..DestinationList::default() };
    tenant_spelling::spell(source, &mut list, set)
        .await
        .map_err(|error| Failure::of_source("cannot read the tenants' ids", &error.into()))?;
    let failures: Vec<_> = list
        .refused
        .into_iter()
        .map(|refused| {
            let (file, name) = (configuration.file.display(), &refused.name);
            Failure::invalid(format!("{file}: destination {}/{name}", refused.tenant_id))
                .because(refused.why)
        })
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::all(failures)) }
}
