//! The destinations that the command line names, as the configuration has them.

use offtake_admin::operations::Named;
use offtake_sync::destinations::DestinationSpec;
use tokio_postgres::Client;

use crate::command_line::Resync;
use crate::commands::registry_names::{configured, unknown, unknown_tenant};
use crate::context::Context;
use crate::outcome::Failure;

/// `specs`: all destinations of configuration and query; `registered`: those of the registry.
pub(super) async fn chosen<'a>(
    context: &Context,
    source: &Client,
    specs: &'a [DestinationSpec],
    registered: &[Named],
    arguments: &Resync,
) -> Result<Vec<&'a DestinationSpec>, Failure> {
    let tenant = &arguments.of.tenant;
    let of = |tenant: &str| -> Vec<&'a DestinationSpec> {
        specs.iter().filter(|spec| spec.tenant_id == tenant).collect()
    };
    let mut of_tenant = of(tenant);
    if of_tenant.is_empty()
        && let Some(configured) = configured(context, source, tenant, registered).await?
    {
        of_tenant = of(&configured);
    }
    if of_tenant.is_empty() {
        return Err(unknown_tenant(tenant, registered));
    }
    let Some(name) = &arguments.of.destination else { return Ok(of_tenant) };
    let known: Vec<&str> = of_tenant.iter().map(|spec| spec.name.as_str()).collect();
    if !known.contains(&name.as_str()) {
        let message = format!("the tenant {tenant} has no destination named {name}");
        return Err(unknown(message, name, known));
    }
    Ok(of_tenant.into_iter().filter(|spec| spec.name == *name).collect())
}
