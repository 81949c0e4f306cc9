//! Catching up. Every row of one tenant changed while no replication ran. How many rows per second
//! are copied, from the start until the last row is visible? Offtake's time includes its own start
//! and the sequencing. The time of built-in replication includes its decoding.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::daemon::Daemon;
use crate::replica;
use crate::rig::{Rig, Side, TENANTS};

const VISIBLE_WITHIN: Duration = Duration::from_secs(300);

/// The pause between two looks at the copy. It is small compared with a sample of seconds, and
/// cheap for the server that is busy applying.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Rows per second, and the daemon's peak memory.
pub(crate) async fn offtake(rig: &Rig) -> anyhow::Result<(f64, f64)> {
    let mark = change_every_row(&rig.offtake).await?;
    let begun = Instant::now();
    let daemon = Daemon::start(rig)?;
    let seconds = seconds_until_visible(&rig.offtake, begun, &mark, rig.rows).await?;
    daemon.wait_until_equal(rig).await?;
    let peak_mib = daemon.peak_mib()?;
    daemon.stop().await?;
    Ok((f64::from(rig.rows) / seconds, peak_mib))
}

/// Rows per second.
pub(crate) async fn built_in(rig: &Rig) -> anyhow::Result<f64> {
    let mark = change_every_row(&rig.built_in).await?;
    let begun = Instant::now();
    rig.built_in.copy.client.batch_execute("alter subscription bench enable").await?;
    let seconds = seconds_until_visible(&rig.built_in, begun, &mark, rig.rows).await?;
    replica::disable(rig).await?;
    Ok(f64::from(rig.rows) / seconds)
}

/// One statement changes all rows of the tenant except one; the next changes that one. A copy that
/// shows the second change has applied the first. The last row must not be part of the first
/// statement, because Offtake writes a row's current values and not those of each change.
async fn change_every_row(side: &Side) -> anyhow::Result<String> {
    let mark: String =
        side.source.client.query_one("select gen_random_uuid()::text", &[]).await?.get(0);
    let last = last_row(side).await?;
    let others = "update public.account set display_name = $2 || ' ' || left(id::text, 8), updated_at = clock_timestamp()
                   where tenant_id = $1::text::uuid and id <> $3::text::uuid";
    side.source.client.execute(others, &[&TENANTS[0], &mark, &last]).await?;
    let one = "update public.account set display_name = $2 where tenant_id = $1::text::uuid and id = $3::text::uuid";
    side.source.client.execute(one, &[&TENANTS[0], &format!("{mark} last"), &last]).await?;
    side.settle().await?;
    Ok(mark)
}

async fn last_row(side: &Side) -> anyhow::Result<String> {
    let query = "select min(id::text) from public.account where tenant_id = $1::text::uuid";
    Ok(side.source.client.query_one(query, &[&TENANTS[0]]).await?.get(0))
}

async fn seconds_until_visible(
    side: &Side,
    begun: Instant,
    mark: &str,
    rows: u32,
) -> anyhow::Result<f64> {
    let copy = &side.copy.client;
    let id = last_row(side).await?;
    let look = copy
        .prepare(&format!(
            "select from public.account where {} and display_name = $2",
            side.row_of_copy
        ))
        .await?;
    while copy.query_opt(&look, &[&id, &format!("{mark} last")]).await?.is_none() {
        ensure!(
            begun.elapsed() < VISIBLE_WITHIN,
            "the changes were not visible within {VISIBLE_WITHIN:?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let there = copy
        .query_one(
            "select count(*) from public.account where display_name like $1 || ' %'",
            &[&mark],
        )
        .await?
        .get::<_, i64>(0);
    ensure!(
        there == i64::from(rows),
        "the last change was visible when only {there} of {rows} were"
    );
    Ok(seconds)
}
