//! A world's webhooks: how they come into the configuration, and what their receivers should know.

use std::time::Duration;

use offtake_mapping::{Mapping, Tenant as Rule, literal};
use serde_json::{Value, json};

use super::{LibraryReceiver, Receiver, SECRET};
use crate::{PATIENCE, World, until};

/// Types whose values are told as text: JSON's usual readers would round them.
const TOLD_AS_TEXT: [&str; 3] = ["int8", "numeric", "money"];
const TOLD_AS_TEXTS: [&str; 3] = ["_int8", "_numeric", "_money"];

impl World {
    /// Adds a static webhook of the tenant that tells the receiver. `options` are added to the entry,
    /// or replace what is in it.
    pub fn add_webhook(&mut self, tenant: &str, receiver: &Receiver, options: Value) {
        self.add_webhook_at(tenant, &receiver.url(), options);
    }

    /// The same for any URL.
    pub fn add_webhook_at(&mut self, tenant: &str, url: &str, options: Value) {
        let mut entry = json!({ "tenant": self.id(tenant), "url": url, "secret": SECRET });
        for (name, value) in options.as_object().expect("an object") {
            entry[name] = value.clone();
        }
        self.configure(|configuration| {
            let webhooks = &mut configuration["webhooks"];
            if webhooks["static"].is_null() {
                webhooks["static"] = json!([]);
            }
            // Tests do not wait as long as operators like to.
            for (name, value) in [("initial", "100ms"), ("max", "500ms")] {
                if webhooks["retry"][name].is_null() {
                    webhooks["retry"][name] = value.into();
                }
            }
            webhooks["static"].as_array_mut().expect("a list").push(entry);
            // A dead daemon's leases end soon; webhooks with a long timeout have longer ones.
            if configuration["poller"]["lease"].is_null() {
                configuration["poller"]["lease"] = "3s".into();
            }
        });
    }

    /// Changes the last webhook that was added, for the next [`Self::daemon`] and [`Self::offtake`].
    pub fn change_webhook(&mut self, change: impl FnOnce(&mut Value)) {
        self.configure(|configuration| {
            let all = configuration["webhooks"]["static"].as_array_mut().expect("a list");
            change(all.last_mut().expect("one was added"));
        });
    }

    /// Waits until every change is numbered and polled, and no webhook is owed anything.
    pub async fn wait_webhooks_told(&self, timeout: Duration) {
        until("every webhook was told everything", timeout, async || {
            let owed = "select 'captured', count(*)::text from offtake.captured_change having count(*) > 0
                 union all select 'not polled', count(*)::text
                   from offtake.change_log, offtake.poller_position p where change_log.sequence_id > p.sequence_id having count(*) > 0
                 union all select 'fan out', source_table::text from offtake.fan_out
                 union all select tenant_id || '/' || w.name, coalesce(r.last_error, w.last_error, w.reason, 'owed')
                   from offtake.outgoing_request r join offtake.webhook w using (webhook_id)
                 union all select w.name, m.mapping || ' is not settled' from offtake.webhook_mapping m join offtake.webhook w using (webhook_id)
                  where m.resync_reason is not null or not m.backfilled";
            let owed = self.source.try_query_text(owed).await?;
            if owed.is_empty() { Ok(()) } else { Err(owed) }
        })
        .await;
    }

    /// What a receiver should know of a mapping: each row of the tenant as JSON.
    pub async fn told_rows(&self, tenant: &str, mapping: &Mapping) -> Vec<Value> {
        let session = self.source.connect().await;
        let prepared = session.prepare(&mapping.query).await.expect("the query can be run");
        let keeps_tenant = mapping.target.keep_tenant;
        let columns =
            prepared.columns().iter().map(|column| (column.name(), column.type_().name()));
        let columns: Vec<String> = columns
            .filter(|(name, _)| keeps_tenant || *name != "tenant_id")
            .map(|(name, kind)| {
                let text = match kind {
                    kind if TOLD_AS_TEXT.contains(&kind) => "::text",
                    kind if TOLD_AS_TEXTS.contains(&kind) => "::text[]",
                    _ => "",
                };
                format!("q.\"{name}\"{text} as \"{name}\"")
            })
            .collect();
        let own = match mapping.source.tenant == Rule::Everyone {
            true => "true".to_owned(),
            false => format!("q.tenant_id::text = {}", literal(self.id(tenant))),
        };
        let sql = format!(
            "select row_to_json(r)::text from (select {} from ({}\n) q where {own}) r",
            columns.join(", "),
            mapping.query
        );
        session
            .batch_execute("set timezone = 'UTC'; set extra_float_digits = 1")
            .await
            .expect("set");
        let rows =
            session.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}\n  {error:?}"));
        let parse = |row: &tokio_postgres::Row| {
            serde_json::from_str(row.get::<_, &str>(0)).expect("JSON of the source")
        };
        rows.iter().map(parse).collect()
    }

    /// How what a receiver knows differs from the mappings' queries; empty: it does not.
    async fn told_differences(&self, tenant: &str, mapping: &Mapping, known: Vec<Value>) -> String {
        let wanted = sorted(self.told_rows(tenant, mapping).await);
        let known = sorted(known);
        let only = |of: &[String], not_in: &[String]| -> Vec<String> {
            of.iter().filter(|row| !not_in.contains(row)).take(5).cloned().collect()
        };
        let (missing, surplus) = (only(&wanted, &known), only(&known, &wanted));
        if wanted == known {
            return String::new();
        }
        format!(
            "{tenant}/{}: {} rows wanted, {} known\n  - wanted {}\n  + known  {}\n",
            mapping.name,
            wanted.len(),
            known.len(),
            missing.join("\n  - wanted "),
            surplus.join("\n  + known  ")
        )
    }
}

impl Receiver {
    /// Panics unless what it knows of the tenant equals the queries of these mappings; all if none
    /// is named.
    pub async fn assert_equal(&self, world: &World, tenant: &str, mappings: &[&str]) {
        let found = self.differences(world, tenant, mappings).await;
        assert!(
            found.is_empty(),
            "the receiver knows something else than the queries say:\n{found}"
        );
    }

    /// Waits until what it knows of the tenant equals the queries of all mappings.
    pub async fn wait_equal(&self, world: &World, tenant: &str) {
        self.wait_mappings_equal(world, tenant, &[]).await;
    }

    /// The same for these mappings.
    pub async fn wait_mappings_equal(&self, world: &World, tenant: &str, mappings: &[&str]) {
        until("the receiver knows what the queries say", PATIENCE, async || {
            let found = self.differences(world, tenant, mappings).await;
            if found.is_empty() { Ok(()) } else { Err(found) }
        })
        .await;
    }

    async fn differences(&self, world: &World, tenant: &str, mappings: &[&str]) -> String {
        let mut found = String::new();
        for mapping in world.mappings() {
            if mappings.is_empty() || mappings.contains(&mapping.name.as_str()) {
                let known = self.rows(&mapping.name);
                found += &world.told_differences(tenant, &mapping, known).await;
            }
        }
        found
    }
}

impl LibraryReceiver {
    /// Waits until what it knows of the tenant equals the queries of all mappings.
    pub async fn wait_equal(&self, world: &World, tenant: &str) {
        until("the receiver knows what the queries say", PATIENCE, async || {
            let mut found = String::new();
            for mapping in world.mappings() {
                let known = self.rows(&mapping.name).await;
                found += &world.told_differences(tenant, &mapping, known).await;
            }
            if found.is_empty() { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

/// As text, with the fields in alphabetical order.
fn sorted(rows: Vec<Value>) -> Vec<String> {
    let mut texts: Vec<String> = rows.into_iter().map(|row| in_order(row).to_string()).collect();
    texts.sort_unstable();
    texts
}

fn in_order(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            fields.into_iter().map(|(name, value)| (name, in_order(value))).collect()
        }
        other => other,
    }
}

impl World {
    /// What `GET /api/v1/webhooks/TENANT/main` says.
    pub async fn webhook(&self, daemon: &crate::Daemon, tenant: &str) -> Value {
        let (status, body) =
            daemon.get(&format!("/api/v1/webhooks/{}/main", self.id(tenant))).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Waits until the tenant's webhook `main` is in that state, with all these parts in the reason.
    pub async fn wait_webhook(
        &self,
        daemon: &crate::Daemon,
        tenant: &str,
        state: &str,
        says: &[&str],
    ) -> Value {
        until(&format!("the webhook is {state} {says:?}"), PATIENCE, async || {
            let webhook = self.webhook(daemon, tenant).await;
            let reason = webhook["reason"].as_str().unwrap_or_default();
            let met = webhook["state"] == state && says.iter().all(|part| reason.contains(part));
            if met { Ok(webhook) } else { Err(webhook.to_string()) }
        })
        .await
    }
}
