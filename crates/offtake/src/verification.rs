//! Comparing one destination's copies with their queries on behalf of `POST …/verify`, inside the
//! daemon.

use std::sync::Arc;

use offtake_admin::Verifier;
use offtake_egress::AddressPolicy;
use offtake_postgres::{Dialer, chain};
use offtake_sync::destinations::{Registered, Registry};
use offtake_sync::verify::{Options, VerifyTarget, verify};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::configuration::Configuration;

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
    let destination =
        Dialer::new(policy, connect_timeout).dial(&registered.spec.url, "offtake verify").await;
    let destination = destination.map_err(|error| error.message())?;
    let mut found = Vec::new();
    for mapping in &registered.mappings {
        let target = VerifyTarget {
            mapping,
            tenant_id: &registered.spec.tenant_id,
            schema: &registered.spec.schema,
        };
        found.push(
            match Box::pin(verify(&source, &destination, &target, &Options::default())).await {
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
