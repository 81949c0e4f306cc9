//! Latency from commit to visible: one row changes and nothing else does. How long until its copy
//! shows the change?

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::rig::{Side, TENANTS};

/// Milliseconds between two changes. They are random; otherwise the changes could fall into step
/// with a polling interval.
pub(crate) const BUSY: Range<u64> = 20..140;

/// Longer than one second, after which Offtake's loops probe less often.
pub(crate) const IDLE: Range<u64> = 1100..1400;

const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

/// The pause between two looks. A reader without a pause keeps itself and its server process busy.
/// On two cores, the side being measured would then wait for a free core at every hand-over, and
/// the benchmark would measure the scheduler.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Milliseconds from the reply to the writer's COMMIT until a reader that looks about once a
/// millisecond sees the row. The reader's pause and round trip (up to about 2 ms) are included on
/// both sides.
pub(crate) async fn sample(
    side: &Side,
    samples: usize,
    pause_milliseconds: Range<u64>,
) -> anyhow::Result<Vec<f64>> {
    side.settle().await?;
    let ids = side
        .source
        .client
        .query(
            "select id::text from public.account where tenant_id::text = $1 order by id limit 5000",
            &[&TENANTS[0]],
        )
        .await?;
    let write = "update public.account set display_name = $3::text, updated_at = clock_timestamp()
                  where tenant_id = $1::text::uuid and id = $2::text::uuid";
    let write = side.source.client.prepare(write).await?;
    let read = side
        .copy
        .client
        .prepare(&format!(
            "select from public.account where {} and display_name = $2",
            side.row_of_copy
        ))
        .await?;
    let mut random = StdRng::seed_from_u64(42);
    let series: String =
        side.source.client.query_one("select gen_random_uuid()::text", &[]).await?.get(0);
    let mut milliseconds = Vec::with_capacity(samples);
    for n in 0..samples {
        tokio::time::sleep(Duration::from_millis(random.random_range(pause_milliseconds.clone())))
            .await;
        let id: String = ids[random.random_range(0..ids.len())].get(0);
        let mark = format!("latency {series} {n}");
        side.source.client.execute(&write, &[&TENANTS[0], &id, &mark]).await?;
        let committed = Instant::now();
        while side.copy.client.query_opt(&read, &[&id, &mark]).await?.is_none() {
            ensure!(
                committed.elapsed() < VISIBLE_WITHIN,
                "a change was not visible within {VISIBLE_WITHIN:?}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        milliseconds.push(committed.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(milliseconds)
}
