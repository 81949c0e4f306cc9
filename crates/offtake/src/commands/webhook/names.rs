//! Finding the webhook that is meant: in the registry, and in the configuration, which has its URL
//! and its secrets.

use offtake_admin::webhooks::{NamedWebhook, named_webhooks};
use offtake_mapping::{MappingSet, ResolvedMapping, foreign};
use offtake_webhooks::WebhookSpec;
use tokio_postgres::Client;

use crate::command_line::OfWebhook;
use crate::commands::registry_names::{unknown, unreadable};
use crate::commands::tenant_names::Typed;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// A webhook that the registry knows.
pub(in crate::commands) struct Named {
    pub(in crate::commands) webhook: NamedWebhook,
    /// `tenant/name`, fit to be shown.
    pub(in crate::commands) label: String,
}

/// The webhook that is meant, in the registry.
pub(in crate::commands) async fn find(
    context: &Context,
    source: &Client,
    of: &OfWebhook,
) -> Result<Named, Failure> {
    let tenant = tenant(context, source, &of.tenant).await?;
    let of_tenant = named_webhooks(source, Some(&tenant), None).await;
    let of_tenant = of_tenant.map_err(|error| unreadable(&error))?;
    let known: Vec<String> = of_tenant.iter().map(|webhook| webhook.name.clone()).collect();
    let found = of_tenant.into_iter().find(|webhook| webhook.name == of.name);
    let webhook = found.ok_or_else(|| {
        unknown(
            format!("the tenant {tenant} has no webhook named {}", of.name),
            &of.name,
            known.iter().map(String::as_str),
        )
    })?;
    let label = format!("{}/{}", foreign(&webhook.tenant), foreign(&webhook.name));
    Ok(Named { webhook, label })
}

/// The tenant as the configuration spells it. Fails where it has no webhook.
pub(in crate::commands) async fn tenant(
    context: &Context,
    source: &Client,
    tenant: &str,
) -> Result<String, Failure> {
    let all = named_webhooks(source, None, None).await.map_err(|error| unreadable(&error))?;
    if all.iter().any(|webhook| webhook.tenant == tenant) {
        return Ok(tenant.to_owned());
    }
    let typed = Typed::read(context, source, tenant).await;
    let known = all.iter().map(|w| (w.tenant.as_str(), w.tenant_at_source.as_str()));
    if let Some(configured) = typed.configured(known)? {
        return Ok(configured);
    }
    let message = format!("the tenant {tenant} has no webhook");
    let failure = unknown(message, tenant, all.iter().map(|w| w.tenant.as_str()));
    Err(match all.is_empty() {
        true => failure.remedy(
            "none is known yet: start `offtake run`, which reads them from the configuration; a daemon \
             that has just started does so within seconds",
        ),
        false => failure,
    })
}

/// Checks that the registry knows every name that is given. Returns the tenant as the configuration
/// spells it.
pub(in crate::commands) async fn check(
    context: &Context,
    source: &Client,
    of_tenant: Option<&str>,
    name: Option<&str>,
    mapping: Option<&str>,
) -> Result<Option<String>, Failure> {
    let spelt = match of_tenant {
        Some(of_tenant) => Some(tenant(context, source, of_tenant).await?),
        None => None,
    };
    let known = named_webhooks(source, spelt.as_deref(), None).await;
    let known = known.map_err(|error| unreadable(&error))?;
    if let Some(name) = name
        && !known.iter().any(|webhook| webhook.name == name)
    {
        let message = format!("there is no webhook named {name}");
        return Err(unknown(message, name, known.iter().map(|webhook| webhook.name.as_str())));
    }
    let told = || known.iter().flat_map(|webhook| &webhook.mappings).map(String::as_str);
    match mapping {
        Some(mapping) if !told().any(|known| known == mapping) => Err(not_told(mapping, told())),
        _ => Ok(spelt),
    }
}

/// Fails where nothing is sent to it: it would never do what the command asks of it.
pub(in crate::commands) fn check_served(webhook: &NamedWebhook) -> Result<(), Failure> {
    let Some(why) = &webhook.refused else { return Ok(()) };
    let label = format!("{}/{}", foreign(&webhook.tenant), foreign(&webhook.name));
    let what = format!("{label} is not served");
    Err(Failure::new(Exit::SomeDestinationsFailed, what).because(why.clone()))
}

/// Checks that the webhook is told of the mapping.
pub(in crate::commands) fn check_mapping(
    webhook: &NamedWebhook,
    mapping: Option<&str>,
) -> Result<(), Failure> {
    match mapping {
        Some(name) if !webhook.mappings.iter().any(|known| known == name) => {
            Err(not_told(name, webhook.mappings.iter().map(String::as_str)))
        }
        _ => Ok(()),
    }
}

fn not_told<'a>(mapping: &str, told: impl IntoIterator<Item = &'a str>) -> Failure {
    unknown(format!("the webhook is told of no mapping named {mapping}"), mapping, told)
}

/// The webhook that is meant as configuration and query have it, whether a daemon has seen it or
/// not.
pub(in crate::commands) async fn configured(
    context: &Context,
    source: &Client,
    set: &MappingSet,
    of: &OfWebhook,
) -> Result<WebhookSpec, Failure> {
    let list = context.spelt_webhooks(source, set).await?;
    let known = list.usable.iter().map(|s| (s.tenant_id.as_str(), s.tenant_at_source.as_str()));
    let known: Vec<(&str, &str)> = known.collect();
    let meant = match known.iter().any(|(id, _)| *id == of.tenant) {
        true => Some(of.tenant.clone()),
        false => Typed::of_set(source, set, &of.tenant).await.configured(known.iter().copied())?,
    };
    let tenant = meant.as_deref().unwrap_or(&of.tenant);
    let refused = list.refused.iter().find(|r| r.tenant_id == tenant && r.name == of.name);
    if let Some(refused) = refused {
        let what = format!("{}/{} cannot be used", foreign(tenant), foreign(&of.name));
        return Err(Failure::invalid(what).because(refused.why.clone()));
    }
    let found = list.usable.iter().find(|s| s.tenant_id == tenant && s.name == of.name);
    found.cloned().ok_or_else(|| {
        let of_tenant = list.usable.iter().filter(|s| s.tenant_id == tenant);
        let names: Vec<&str> = of_tenant.map(|s| s.name.as_str()).collect();
        match names.is_empty() {
            true => unknown(
                format!("the tenant {tenant} has no webhook"),
                tenant,
                known.iter().map(|(id, _)| *id),
            ),
            false => unknown(
                format!("the tenant {tenant} has no webhook named {}", of.name),
                &of.name,
                names,
            ),
        }
    })
}

/// The mapping of the set, if the webhook is told of it.
pub(in crate::commands) fn mapping_of<'a>(
    spec: &WebhookSpec,
    set: &'a MappingSet,
    name: &str,
) -> Result<&'a ResolvedMapping, Failure> {
    let mut told = set.mappings().iter().filter(|mapping| spec.receives(mapping.name()));
    let found = told.clone().find(|mapping| mapping.name() == name);
    found.map(|mapping| &**mapping).ok_or_else(|| not_told(name, told.by_ref().map(|m| m.name())))
}
