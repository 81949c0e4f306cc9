//! `offtake status-token`: the token by which a tenant reads how fresh its own copies are.

use offtake_admin::operations::named_destinations;
use offtake_admin::status_token::{Claim, StatusSecret, revocations, revoke};
use offtake_admin::webhooks::named_webhooks;
use offtake_mapping::foreign;
use serde_json::json;
use tokio_postgres::Client;

use super::printing::{say, say_json};
use super::registry_names::{unknown, unreadable};
use super::tenant_names::Typed;
use crate::command_line::StatusToken;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &StatusToken) -> Result<Exit, Failure> {
    let Some(secret) = &context.configuration.http.status_secret else {
        let message = "http.status_secret is not set, so tenants have no view of their own";
        return Err(Failure::new(Exit::InvalidConfiguration, message).remedy(
            "set it to the output of `openssl rand -hex 32`, the same for every daemon, and \
             restart them",
        ));
    };
    let source = context.connect_source("status-token").await?;
    let tenant = known(context, &source, &arguments.tenant).await?;
    let revoked = match arguments.revoke {
        true => revoke(&source, &tenant).await,
        false => revocations(&source, &tenant).await,
    };
    let revoked = revoked.map_err(|error| unreadable(&error))?;
    let claim = Claim { tenant, revoked };
    let token = StatusSecret::new(secret).token(&claim);
    if arguments.json {
        let Claim { tenant, revoked } = claim;
        let path = format!("/tenant#{token}");
        say_json(
            json!({ "tenant": tenant, "token": token, "path": path, "revoked": revoked.to_string() }),
        );
        return Ok(Exit::Done);
    }
    say(&token);
    // Not on standard output, which is the token alone.
    let earlier = if arguments.revoke { "; its earlier ones are not valid any more" } else { "" };
    eprintln!("a token of {}{earlier}. Its page: /tenant#TOKEN", foreign(&claim.tenant));
    Ok(Exit::Done)
}

/// The tenant as the configuration spells it. Fails where it has neither a destination nor a
/// webhook.
async fn known(context: &Context, source: &Client, tenant: &str) -> Result<String, Failure> {
    let named = |of| named_destinations(source, of, None);
    let told = |of| named_webhooks(source, of, None);
    let has = !named(Some(tenant)).await.map_err(|e| unreadable(&e))?.is_empty()
        || !told(Some(tenant)).await.map_err(|e| unreadable(&e))?.is_empty();
    if has {
        return Ok(tenant.to_owned());
    }
    let destinations = named(None).await.map_err(|error| unreadable(&error))?;
    let webhooks = told(None).await.map_err(|error| unreadable(&error))?;
    let ids = destinations.iter().map(|d| (d.tenant.as_str(), d.tenant_at_source.as_str()));
    let ids: Vec<(&str, &str)> = ids
        .chain(webhooks.iter().map(|w| (w.tenant.as_str(), w.tenant_at_source.as_str())))
        .collect();
    let typed = Typed::read(context, source, tenant).await;
    typed.configured(ids.iter().copied())?.ok_or_else(|| {
        let message = format!("the tenant {tenant} has no destination and no webhook");
        unknown(message, tenant, ids.iter().map(|(id, _)| *id))
    })
}
