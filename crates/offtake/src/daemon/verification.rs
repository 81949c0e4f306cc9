//! What `POST …/verify` does inside the daemon: compare one destination's copies with their
//! queries.

use std::sync::Arc;

use offtake_admin::Verifier;
use offtake_postgres::Dialer;
use offtake_sync::audit;
use offtake_sync::destinations::{Registered, Registry, Session};
use offtake_sync::verify::{Options, VerifyTarget, verify};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::configuration::Configuration;
use crate::context::destination_dialer;
use offtake_postgres::chain;

/// A comparison has connections of its own: one that is abandoned half-way leaves transactions
/// open, which end with the connection.
pub(super) fn verifier(
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
    let source = Dialer::trusted(configuration.sync.connect_timeout)
        .dial(&configuration.source.url, "offtake verify")
        .await
        .map_err(|error| format!("the source: {}", error.message()))?;
    let dialer = destination_dialer(configuration);
    let destination = Session::open(&registered.spec.place, &dialer, "offtake verify").await;
    let destination = destination.map_err(|trouble| trouble.message)?;
    let mut found = Vec::new();
    for mapping in registered.mappings.iter() {
        let name = mapping.name();
        let target = VerifyTarget {
            mapping,
            tenant_id: &registered.spec.tenant_id,
            tenant_at_source: &registered.spec.tenant_at_source,
        };
        let options = Options::default();
        let began = audit::begun(&source).await;
        let compared = verify(&source, destination.reader(), &target, &options);
        let outcome = Box::pin(compared).await;
        if let Ok(report) = &outcome {
            let found = (report, began.as_deref());
            audit::note_equal(&source, &destination, &registered.spec, mapping, found).await;
        }
        found.push(match outcome {
            Ok(report) => json!({ "mapping": name, "equal": report.equal(), "report": report }),
            Err(error) => json!({ "mapping": name, "equal": false, "error": chain(&error) }),
        });
    }
    Ok(found)
}
