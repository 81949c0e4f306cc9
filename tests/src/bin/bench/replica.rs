//! The side to compare with: built-in logical replication, a publication and a subscription.

use anyhow::Context;

use crate::rig::{self, Database, Servers, until};

/// A source and a copy of all its rows. The subscription is disabled except while it is measured.
pub(crate) struct Replica {
    pub(crate) source: Database,
    pub(crate) copy: Database,
}

impl Replica {
    /// Loads a source with so many rows of each tenant, copies them, and leaves the subscription
    /// disabled.
    pub(crate) async fn create(servers: &Servers, rows: &[u32]) -> anyhow::Result<Self> {
        let source = Database::create(&servers.logical, "application").await?;
        rig::load(&source, rows).await?;
        let copy = Database::create(&servers.destination, "built_in").await?;
        let replica = Self { source, copy };
        let publish = "create publication bench for table public.events";
        replica.source.client.batch_execute(publish).await?;
        // Like a copy that Offtake makes, it has the default fillfactor.
        let table = rig::TABLE.replace(" with (fillfactor = 80)", "");
        replica.copy.client.batch_execute(&table).await?;
        let subscribe = format!(
            "create subscription bench connection '{}' publication bench",
            replica.source.url
        );
        replica.copy.client.batch_execute(&subscribe).await.context("cannot subscribe")?;
        replica.wait_until_current().await?;
        replica.disable().await?;
        Ok(replica)
    }

    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        self.source.settle().await?;
        self.copy.settle().await
    }

    pub(crate) async fn enable(&self) -> anyhow::Result<()> {
        self.copy.client.batch_execute("alter subscription bench enable").await?;
        self.wait_until_current().await
    }

    pub(crate) async fn disable(&self) -> anyhow::Result<()> {
        self.copy.client.batch_execute("alter subscription bench disable").await?;
        until("the subscription's worker to leave the source", async || {
            let left = "select not exists (select from pg_replication_slots where slot_name = 'bench' and active)";
            self.source.one(left).await
        })
        .await
    }

    /// Waits until the tables are copied and everything written so far is applied.
    pub(crate) async fn wait_until_current(&self) -> anyhow::Result<()> {
        let now: String = self.source.one("select pg_current_wal_insert_lsn()::text").await?;
        until("built-in replication to be current", async || {
            let copied =
                "select not exists (select from pg_subscription_rel where srsubstate <> 'r')";
            let confirmed = format!(
                "select exists (select from pg_replication_slots
                  where slot_name = 'bench' and active and confirmed_flush_lsn >= '{now}'::pg_lsn)"
            );
            Ok(self.copy.one(copied).await? && self.source.one(&confirmed).await?)
        })
        .await
    }
}
