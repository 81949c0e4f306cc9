//! Fuses: switches in the source database that stop one loop, tenant, destination or mapping.
//!
//! One task reads them for the whole process and publishes what is blown; a loop looks at its name
//! before each tick and skips the tick while it is blown. When the source cannot be read, the last
//! known state counts: a fuse stays blown through an outage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use offtake_postgres::{Error, SourcePool};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::sql;

/// A fuse acts within a second of the command: half of it for the reading, half for the loop's own
/// tick.
const READ_INTERVAL: Duration = Duration::from_millis(500);
const _: () = assert!(READ_INTERVAL.as_millis() * 2 <= 1000, "the contract says a second");

/// The fuses that are blown, with their reasons; the pause of a destination is one of its fuse's.
/// The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlownFuses {
    reasons: BTreeMap<String, String>,
    unread: bool,
}

impl BlownFuses {
    /// Why the fuse of this name is blown; `None` if it is not. Until the fuses were read once, all
    /// count as blown; otherwise a restart would run what an operator stopped.
    pub fn blown(&self, name: &str) -> Option<&str> {
        if self.unread {
            Some("the fuses have not been read yet")
        } else {
            self.reasons.get(name).map(String::as_str)
        }
    }

    /// The same for a destination: its own fuse, its tenant's, or the whole sync engine's.
    pub fn blown_for(&self, tenant_id: &str, destination: &str) -> Option<&str> {
        self.blown("sync")
            .or_else(|| self.blown(&format!("tenant:{tenant_id}")))
            .or_else(|| self.blown(&format!("destination:{tenant_id}/{destination}")))
    }

    /// The same for a webhook: its own fuse, its tenant's, or the whole loop's.
    pub fn blown_for_webhook(&self, tenant_id: &str, webhook: &str) -> Option<&str> {
        self.blown("webhooks")
            .or_else(|| self.blown(&format!("tenant:{tenant_id}")))
            .or_else(|| self.blown(&format!("webhook:{tenant_id}/{webhook}")))
    }

    /// Names and reasons, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.reasons.iter().map(|(name, reason)| (name.as_str(), reason.as_str()))
    }
}

/// The task that reads the fuses.
pub struct Fuses {
    source: SourcePool,
    published: watch::Sender<Arc<BlownFuses>>,
}

impl Fuses {
    /// Only changes are published. The supervisor passes the same sender when it starts this task
    /// again, so that the last known fuses stay.
    pub fn new(source: SourcePool, published: watch::Sender<Arc<BlownFuses>>) -> Self {
        Self { source, published }
    }

    /// For [`Fuses::new`], before anything was read.
    pub fn unread() -> watch::Sender<Arc<BlownFuses>> {
        watch::Sender::new(Arc::new(BlownFuses { unread: true, ..BlownFuses::default() }))
    }

    /// Reads until cancelled. An unreachable source is not this task's error: the loops that need
    /// the source say so.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(READ_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let read = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                read = self.read() => read,
            };
            match read {
                Ok(blown) => self.publish(blown),
                Err(error) => tracing::debug!(
                    event = "fuses_unread",
                    error = error.message(),
                    "the fuses keep their last known state"
                ),
            }
        }
    }

    async fn read(&self) -> Result<BlownFuses, Error> {
        let client = self.source.get().await?;
        let read = client.prepare_cached(sql::READ_BLOWN_FUSES).await?;
        let mut blown = BlownFuses::default();
        let mut expired = false;
        for row in client.query(&read, &[]).await? {
            if row.try_get("expired")? {
                expired = true;
            } else {
                blown.reasons.insert(row.try_get("name")?, row.try_get("reason")?);
            }
        }
        if expired {
            client.execute(sql::HEAL_FUSES, &[]).await?;
        }
        Ok(blown)
    }

    fn publish(&self, blown: BlownFuses) {
        let blown = Arc::new(blown);
        let changed = self.published.send_if_modified(|current| {
            let changed = **current != *blown;
            if changed {
                current.clone_from(&blown);
            }
            changed
        });
        if changed {
            // Without the reasons: they are free text of the operator, and the status shows them.
            let names: Vec<_> = blown.reasons.keys().map(String::as_str).collect();
            let names = names.join(", ");
            let told = if names.is_empty() { "none" } else { &names };
            tracing::info!(
                event = "fuses_changed",
                blown = names,
                "fuses that are blown from now on: {told}"
            );
        }
    }
}

/// Blows (`enabled: false`) or heals a fuse; with a duration it heals by itself.
pub async fn set_fuse(
    client: &Client,
    name: &str,
    enabled: bool,
    reason: Option<&str>,
    heals_after: Option<Duration>,
) -> Result<(), Error> {
    let seconds = heals_after.filter(|_| !enabled).map(|time| time.as_secs_f64());
    client.execute(sql::SET_FUSE, &[&name, &enabled, &reason, &seconds]).await?;
    Ok(())
}

/// Whether anything listens to a fuse of this name: `sequencer`, `poller`, `sync`, `webhooks`,
/// `exports`, `snapshots`, `destination:TENANT/NAME`, `webhook:TENANT/NAME`, `mapping:NAME`, `tenant:TENANT`.
pub fn names_a_fuse(name: &str) -> bool {
    match name.split_once(':') {
        None => {
            matches!(name, "sequencer" | "poller" | "sync" | "webhooks" | "exports" | "snapshots")
        }
        Some(("destination" | "webhook", rest)) => rest
            .rsplit_once('/')
            .is_some_and(|(tenant, name)| !tenant.is_empty() && !name.is_empty()),
        Some(("mapping" | "tenant", rest)) => !rest.is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_stopped_by_its_own_fuse_its_tenants_or_the_engines() {
        for name in ["sync", "tenant:acme", "destination:acme/main"] {
            let blown =
                BlownFuses { reasons: [(name.to_owned(), "why".to_owned())].into(), unread: false };
            assert_eq!(blown.blown_for("acme", "main"), Some("why"));
            assert_eq!(blown.blown_for("other", "main").is_some(), name == "sync");
        }
        for name in ["webhooks", "tenant:acme", "webhook:acme/main"] {
            let blown =
                BlownFuses { reasons: [(name.to_owned(), "why".to_owned())].into(), unread: false };
            assert_eq!(blown.blown_for_webhook("acme", "main"), Some("why"));
            assert_eq!(blown.blown_for("other", "main"), None);
        }
        assert!(BlownFuses { unread: true, ..BlownFuses::default() }.blown("sequencer").is_some());
        assert!(BlownFuses::default().blown("sequencer").is_none());
    }

    #[test]
    fn only_what_is_listened_to_is_a_fuse() {
        for name in [
            "sequencer",
            "poller",
            "sync",
            "destination:a/b",
            "destination:a/b/c",
            "mapping:users",
            "tenant:acme",
            "webhooks",
            "webhook:a/b",
        ] {
            assert!(names_a_fuse(name), "{name}");
            let kind = name.split(':').next().unwrap_or_default();
            assert!(crate::metrics::FUSES.contains(&kind), "{name} has no metric");
        }
        for name in ["", "sequencers", "destination:a", "destination:/b", "mapping:", "webhook:x"] {
            assert!(!names_a_fuse(name), "{name}");
        }
    }
}
