//! `catch_up`: one statement changes every row of one tenant. How many rows a second are copied,
//! from its commit until all of them are visible?

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::cpu::Meter;
use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::replica::Replica;
use crate::rig::{Database, Servers, tenant};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::{BUILT_IN, OFFTAKE};

pub(crate) const ROW: Row = Row {
    name: "catch_up",
    about: "One statement changes 200 000 rows of one tenant; from its commit until all are visible.",
    targets: &[Target {
        case: "",
        measure: RATE.0,
        side: OFFTAKE,
        beside: Some(BUILT_IN),
        limit: Limit::AtLeast(1.2),
    }],
    measure: |plan| Box::pin(measure(plan)),
};

const RATE: (&str, &str) = ("rate", "rows/s");
const PEAK: (&str, &str) = ("peak memory of the daemon", "MiB");

const VISIBLE_WITHIN: Duration = Duration::from_secs(300);

/// The pause between two looks at the copy. It is small compared with a sample of seconds, and
/// cheap for the server that is busy applying.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Rows that are looked at, by their keys. A watcher that counts all rows takes more of the server
/// than the daemon does.
const SAMPLED: u32 = 200;

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rows = plan.either(200_000, 5_000);
    let all = [rows, 1_000, 1_000];
    let servers = Servers::start().await?;
    let offtake = Offtake::with_copies(&servers, &all).await?;
    let built_in = Replica::create(&servers, &all).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        let daemon = offtake.start()?;
        offtake.wait_until_equal().await?;
        offtake.settle().await?;
        let copy = Copy { database: &offtake.copies[0].database, condition: String::new(), rows };
        let pid = Some(daemon.pid());
        copy.sample((OFFTAKE, &offtake.source, pid), &mut figures).await?;
        figures.add("", PEAK, OFFTAKE, daemon.peak_mib()?);
        daemon.stop().await?;

        built_in.enable().await?;
        built_in.settle().await?;
        let condition = format!("tenant_id = '{}' and ", tenant(1));
        let copy = Copy { database: &built_in.copy, condition, rows };
        copy.sample((BUILT_IN, &built_in.source, None), &mut figures).await?;
        built_in.disable().await?;
        eprintln!("catch_up: round {round} done");
    }
    Ok(figures)
}

struct Copy<'a> {
    database: &'a Database,
    /// One more condition for a row of the measured tenant.
    condition: String,
    rows: u32,
}

impl Copy<'_> {
    async fn sample(
        &self,
        (side, source, daemon): (&str, &Database, Option<u32>),
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let mark: i64 = source.one("select max(counter) + 1 from public.events").await?;
        let update = "update public.events set counter = $1 where tenant_id = $2::text::uuid";
        let changed = source.client.execute(update, &[&mark, &tenant(1)]).await?;
        ensure!(changed == u64::from(self.rows), "only {changed} rows were changed");
        let committed = Instant::now();
        let watch = async {
            self.wait_until_visible(mark, committed).await?;
            Ok(committed.elapsed().as_secs_f64())
        };
        let meter = Meter::new(&source.client, Some(&self.database.client), daemon);
        let (seconds, spent) = meter.during(watch).await?;
        let rows = f64::from(self.rows);
        figures.add("", RATE, side, rows / seconds);
        spent.add_per(figures, "", side, (rows, "row"));
        Ok(())
    }

    /// Waits for each sampled row, and then for every row that is still missing.
    async fn wait_until_visible(&self, mark: i64, committed: Instant) -> anyhow::Result<()> {
        let watcher = self.database.again().await?;
        let condition = &self.condition;
        let look = format!("select from public.events where {condition}id = $1 and counter = $2");
        let look = watcher.client.prepare(&look).await?;
        let missing =
            format!("select id from public.events where {condition}counter <> $1 limit 1");
        let mut next: Vec<i64> =
            (0..SAMPLED).map(|n| i64::from(1 + n * (self.rows - 1) / (SAMPLED - 1))).collect();
        while !next.is_empty() {
            for id in next.drain(..) {
                while watcher.client.query_opt(&look, &[&id, &mark]).await?.is_none() {
                    ensure!(
                        committed.elapsed() < VISIBLE_WITHIN,
                        "the changes were not visible within {VISIBLE_WITHIN:?}"
                    );
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            let row = watcher.client.query_opt(&missing, &[&mark]).await?;
            next.extend(row.map(|row| row.get::<_, i64>(0)));
        }
        Ok(())
    }
}
