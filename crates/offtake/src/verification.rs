//! Comparing one destination's copies with their queries on behalf of `POST …/verify`, inside the
//! daemon.

use std::sync::Arc;

use offtake_admin::Verifier;
use offtake_postgres::{AddressPolicy, Dialer};
use offtake_sync::destinations::{Registered, Registry, Session};
use offtake_sync::verify::{Options, VerifyTarget, verify};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::configuration::Configuration;
use crate::outcome::chain;

/// Connections of its own, for a comparison that is given up leaves its transactions to their end.
pub(crate) fn verifier(
    registry: Registry,
    configuration: watch::Receiver<Arc<Configuration>>,
) -> Verifier {
    Box::new(move |tenant, name| {
        let registered = registry
            .all()
            .values()
            .find(|r| r.spec.tenant_id == tenant && r.spec.name == name)
            .cloned();
        let configuration = configuration.borrow().clone();
        Box::pin(async move {
            let registered = registered
                .ok_or_else(|| format!("this daemon does not know {tenant}/{name} yet"))?;
            compare(&registered, &configuration).await
        })
    })
}

async fn compare(
    registered: &Registered,
    configuration: &Configuration,
) -> Result<Vec<Value>, String> {
    let connect_timeout = configuration.sync.connect_timeout;
    let source =
        Dialer::trusted(connect_timeout).dial(&configuration.source.url, "offtake verify").await;
    let source = source.map_err(|error| format!("the source: {}", error.message()))?;
    let policy = AddressPolicy::new(configuration.security.allow_destinations.clone());
    let dialer = Dialer::new(policy, connect_timeout);
    let destination = Session::open(&registered.spec.place, &dialer, "offtake verify").await;
    let destination = destination.map_err(|trouble| trouble.message)?;
    let mut found = Vec::new();
    for mapping in &registered.mappings {
        let target = VerifyTarget { mapping, tenant_id: &registered.spec.tenant_id };
        found.push(
            match Box::pin(verify(&source, destination.reader(), &target, &Options::default()))
                .await
            {
                Ok(report) => {
                    json!({ "mapping": mapping.name(), "equal": report.equal(), "report": report })
                }
                Err(error) => {
                    json!({ "mapping": mapping.name(), "equal": false, "error": chain(&error) })
                }
            },
        );
    }
    Ok(found)
}
