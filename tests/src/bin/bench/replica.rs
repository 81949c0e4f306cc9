//! The side to compare with: built-in logical replication, a publication and a subscription.

use anyhow::Context;

use crate::rig::{Rig, TABLE, until};

/// Copies the rows and leaves the subscription disabled.
pub(crate) async fn create(rig: &Rig) -> anyhow::Result<()> {
    let side = &rig.built_in;
    side.source.client.batch_execute("create publication bench for table public.account").await?;
    side.copy.client.batch_execute(TABLE).await?;
    let subscription =
        format!("create subscription bench connection '{}' publication bench", side.source.url);
    side.copy.client.batch_execute(&subscription).await.context("cannot subscribe")?;
    wait_until_current(rig).await?;
    disable(rig).await
}

pub(crate) async fn enable(rig: &Rig) -> anyhow::Result<()> {
    rig.built_in.copy.client.batch_execute("alter subscription bench enable").await?;
    wait_until_current(rig).await
}

pub(crate) async fn disable(rig: &Rig) -> anyhow::Result<()> {
    rig.built_in.copy.client.batch_execute("alter subscription bench disable").await?;
    until("the subscription's worker to leave the source", async || {
        let query = "select not exists (select from pg_replication_slots where slot_name = 'bench' and active)";
        Ok(rig.built_in.source.client.query_one(query, &[]).await?.get(0))
    })
    .await
}

/// Waits until the tables are copied and everything written so far is applied.
async fn wait_until_current(rig: &Rig) -> anyhow::Result<()> {
    let side = &rig.built_in;
    let now: String =
        side.source.client.query_one("select pg_current_wal_insert_lsn()::text", &[]).await?.get(0);
    until("built-in replication to be current", async || {
        let copied = "select not exists (select from pg_subscription_rel where srsubstate <> 'r')";
        let confirmed = "select exists (select from pg_replication_slots
                                         where slot_name = 'bench' and active and confirmed_flush_lsn >= $1::text::pg_lsn)";
        Ok(side.copy.client.query_one(copied, &[]).await?.get(0) && side.source.client.query_one(confirmed, &[&now]).await?.get(0))
    })
    .await
}
