//! `offtake webhook`: the webhooks, one by one.

mod look;
pub(super) mod names;
mod probe;
mod repeat;

use offtake_admin::webhooks;
use offtake_mapping::{foreign, shell_word};
use offtake_webhooks::{SecretKind, fresh_secret};
use secrecy::ExposeSecret as _;

use self::names::{Named, find};
use super::phrases::until;
use super::printing::{say, say_exact};
use super::registry_names::unreadable;
use crate::command_line::Webhook;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(
    context: impl Fn() -> Result<Context, Failure>,
    arguments: &Webhook,
) -> Result<Exit, Failure> {
    // A secret is needed before there is a configuration that can be read.
    if let Webhook::Secret { ed25519 } = arguments {
        return Ok(secret(*ed25519));
    }
    let context = &context()?;
    match arguments {
        Webhook::Secret { .. } => Ok(Exit::Done),
        Webhook::List { tenant, state, json } => {
            look::list(context, tenant.as_deref(), state.as_deref(), *json).await
        }
        Webhook::Show { of, json } => look::show(context, of, *json).await,
        Webhook::Attempts { of, status, limit, json } => {
            look::attempts(context, of, status.as_deref(), *limit, *json).await
        }
        Webhook::Test { of, mapping, key, json } => {
            let row = mapping.as_deref().zip(key.as_deref());
            probe::test(context, of, row, *json).await
        }
        Webhook::Preview { of, mapping, key } => probe::preview(context, of, mapping, key).await,
        Webhook::Resync { of, mapping, yes } => {
            repeat::resync(context, of, mapping.as_deref(), *yes).await
        }
        Webhook::Replay(arguments) => repeat::replay(context, arguments).await,
        Webhook::Enable { .. }
        | Webhook::Disable { .. }
        | Webhook::Pause { .. }
        | Webhook::Resume { .. } => switch(context, arguments).await,
    }
}

/// Standard output has the secret alone, so that a script can store it.
fn secret(ed25519: bool) -> Exit {
    let kind = if ed25519 { SecretKind::Private } else { SecretKind::Symmetric };
    let (secret, public_key) = fresh_secret(kind);
    say_exact(secret.expose_secret());
    if let Some(public_key) = public_key {
        say_exact(public_key);
    }
    Exit::Done
}

async fn switch(context: &Context, arguments: &Webhook) -> Result<Exit, Failure> {
    let (Webhook::Enable { of }
    | Webhook::Disable { of, .. }
    | Webhook::Pause { of, .. }
    | Webhook::Resume { of }) = arguments
    else {
        return Ok(Exit::Done);
    };
    let source = context.connect_source("webhook").await?;
    let Named { webhook, label } = find(context, &source, of).await?;
    let id = webhook.webhook_id;
    let (tenant, name) = (shell_word(&webhook.tenant), shell_word(&webhook.name));
    let failed = |error| unreadable(&error);
    match arguments {
        Webhook::Enable { .. } => {
            names::check_served(&webhook)?;
            webhooks::enable(&source, id).await.map_err(failed)?;
            say(format!("{label} is enabled and goes on where it stopped"));
        }
        Webhook::Disable { reason, .. } => {
            let was = webhooks::disable(&source, id, reason).await.map_err(failed)?;
            say(match was {
                true => format!(
                    "{label} is disabled until `offtake webhook enable --tenant {tenant} --name \
                     {name}`: {}",
                    foreign(reason)
                ),
                false => format!("{label} was disabled already"),
            });
        }
        Webhook::Pause { reason, for_, .. } => {
            let ends = webhooks::pause(&source, id, reason, *for_).await.map_err(failed)?;
            let otherwise =
                format!("until `offtake webhook resume --tenant {tenant} --name {name}`");
            say(format!("paused {label} {}: {}", until(ends, &otherwise), foreign(reason)));
        }
        _ => {
            let was = webhooks::resume(&source, id).await.map_err(failed)?;
            let told = if was { "goes on" } else { "was not paused" };
            say(format!("{label} {told}"));
        }
    }
    Ok(Exit::Done)
}
