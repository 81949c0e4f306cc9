//! What HTTP can ask the daemon of its webhooks: the fingerprints of their secrets, and a test
//! request.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::counter;
use offtake_admin::WebhookAccess;
use offtake_admin::webhooks::{Signature, TestOf, TestRefused, Tested, Testing};
use offtake_loops::metrics as names;
use offtake_postgres::SourcePool;
use offtake_webhooks::{Client, PreviewError, Registered, Registry};
use tokio::sync::watch;

use crate::configuration::Configuration;
use crate::context::receiver_policy;
use crate::webhook_probe::probe;

/// Test requests have connections of their own, so that they wait for no event.
const TEST_CONNECTIONS: usize = 4;

pub(super) struct Access {
    pool: SourcePool,
    registry: Registry,
    configuration: watch::Receiver<Arc<Configuration>>,
    client: Client,
}

impl Access {
    pub(super) fn new(
        pool: SourcePool,
        registry: Registry,
        configuration: watch::Receiver<Arc<Configuration>>,
    ) -> Self {
        let policy = receiver_policy(&configuration.borrow());
        Self { pool, registry, configuration, client: Client::new(policy, TEST_CONNECTIONS) }
    }
}

/// The secrets of a webhook, as far as they may be shown.
pub(crate) fn signatures(spec: &offtake_webhooks::WebhookSpec) -> Vec<Signature> {
    let shown = spec.endpoint.secrets().signatures().into_iter().map(|signature| Signature {
        kind: signature.kind.as_str(),
        fingerprint: signature.fingerprint,
        public_key: signature.public_key,
    });
    shown.collect()
}

impl WebhookAccess for Access {
    fn signatures(&self, webhooks: &[(&str, &str)]) -> Vec<Option<Vec<Signature>>> {
        let all = self.registry.all();
        let known: HashMap<(&str, &str), &Arc<Registered>> = all
            .values()
            .map(|one| ((one.spec.tenant_id.as_str(), one.spec.name.as_str()), one))
            .collect();
        webhooks.iter().map(|name| known.get(name).map(|one| signatures(&one.spec))).collect()
    }

    fn test(&self, of: TestOf) -> Testing {
        let all = self.registry.all();
        let named =
            |one: &&Arc<Registered>| one.spec.tenant_id == of.tenant && one.spec.name == of.name;
        let registered = all.values().find(named).cloned();
        let timeout = self.configuration.borrow().sync.statement_timeout;
        let (pool, client) = (self.pool.clone(), self.client.clone());
        Box::pin(async move {
            let registered = registered.ok_or_else(|| {
                let TestOf { tenant, name, .. } = &of;
                TestRefused::Unavailable(format!("this daemon does not know {tenant}/{name} yet"))
            })?;
            // A task of its own: a client that hangs up must not leave a transaction open in a
            // connection of the pool.
            let tested =
                tokio::spawn(
                    async move { tested(&pool, &client, &registered, of.row, timeout).await },
                );
            tested.await.unwrap_or_else(|error| Err(TestRefused::Unavailable(error.to_string())))
        })
    }
}

async fn tested(
    pool: &SourcePool,
    client: &Client,
    registered: &Registered,
    row: Option<(String, serde_json::Value)>,
    timeout: std::time::Duration,
) -> Result<Tested, TestRefused> {
    let row = match &row {
        None => None,
        Some((name, key)) => {
            let mapping = registered.mappings.iter().find(|(m, _)| m.name() == name);
            let missing = || TestRefused::Wrong(format!("it is told of no mapping {name}"));
            Some((&*mapping.ok_or_else(missing)?.0, key))
        }
    };
    let source = pool
        .get()
        .await
        .map_err(|error| TestRefused::Unavailable(format!("the source: {}", error.message())))?;
    let tested =
        probe(&source, client, &registered.spec, row, timeout).await.map_err(
            |error| match error {
                PreviewError::Key(why) => TestRefused::Wrong(why),
                PreviewError::Source(error) => {
                    TestRefused::Unavailable(offtake_postgres::Error::from(error).message())
                }
            },
        )?;
    if tested.acknowledged {
        counter!(names::WEBHOOK_EVENTS_TOTAL, "kind" => "test").increment(1);
    }
    Ok(tested)
}
