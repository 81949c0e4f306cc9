//! `shared_place`: many tenants in one shared database, with a row each. How many a second are
//! copied first, and how many when a row of each changes?

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::cpu::Meter;
use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::rig::{Database, Servers};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "shared_place",
    about: "10 000 tenants of one shared database, with one row each: the first copies, from the \
            daemon's start; and one statement that changes a row of each, from its commit until all \
            are visible.",
    targets: &[target(COPIES), target(CHANGES)],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(case: &'static str) -> Target {
    let limit = Limit::AtLeast(5_000.0);
    Target { case, measure: RATE.0, side: OFFTAKE, beside: None, limit }
}

const COPIES: &str = "first copies";
const CHANGES: &str = "one changed row of each";
const RATE: (&str, &str) = ("rate", "tenants/s");
const PEAK: (&str, &str) = ("peak memory of the daemon", "MiB");

const VISIBLE_WITHIN: Duration = Duration::from_secs(300);

/// The pause between two looks at the copies, which count all rows: a millisecond of the server.
const LOOK_EVERY: Duration = Duration::from_millis(50);

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let tenants = plan.either(10_000, 200);
    let servers = Servers::start().await?;
    let rows = vec![1; tenants];
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        // A source that knows no destination yet. One that has those of the round before would also
        // have to end 10 000 of them.
        let offtake =
            Offtake::prepare(&servers.source, &format!("application_{round}"), &rows).await?;
        let place = Database::create(&servers.destination, &format!("place_{round}")).await?;
        offtake.configure(&format!(
            "destinations:\n  query: \"select tenant_id::text as tenant_id, 'main' as name, \
             '{}' as url, true as shared from public.events\"\n",
            place.url
        ))?;
        sample(&offtake, &place, tenants, &mut figures).await?;
        eprintln!("shared_place: round {round} done");
    }
    Ok(figures)
}

async fn sample(
    offtake: &Offtake,
    place: &Database,
    tenants: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let source = &offtake.source.client;
    offtake.source.settle().await?;
    let watcher = place.again().await?;
    let began = Instant::now();
    let daemon = offtake.start()?;
    let meter = Meter::new(source, Some(&place.client), Some(daemon.pid()));
    let mut mark: i64 = offtake.source.one("select max(counter) from public.events").await?;
    let arrived = wait_arrived(&watcher, mark, tenants, began);
    let (seconds, spent) = meter.during(arrived).await.with_context(|| offtake.last_lines())?;
    figures.add(COPIES, RATE, OFFTAKE, tenants as f64 / seconds);
    spent.add_per(figures, COPIES, OFFTAKE, (tenants as f64, "tenant"));
    wait_nothing_owed(&offtake.source).await?;

    offtake.source.settle().await?;
    place.settle().await?;
    mark += 1;
    let changed = source.execute("update public.events set counter = $1", &[&mark]).await?;
    ensure!(changed == tenants as u64, "{changed} rows were changed");
    let committed = Instant::now();
    let meter = Meter::new(source, Some(&place.client), Some(daemon.pid()));
    let arrived = wait_arrived(&watcher, mark, tenants, committed);
    let (seconds, spent) = meter.during(arrived).await.with_context(|| offtake.last_lines())?;
    figures.add(CHANGES, RATE, OFFTAKE, tenants as f64 / seconds);
    spent.add_per(figures, CHANGES, OFFTAKE, (tenants as f64, "tenant"));
    wait_nothing_owed(&offtake.source).await?;
    figures.add("", PEAK, OFFTAKE, daemon.peak_mib()?);
    daemon.stop().await
}

/// Waits until the row of every tenant has this counter; returns the seconds since `began`.
async fn wait_arrived(
    place: &Database,
    mark: i64,
    tenants: usize,
    began: Instant,
) -> anyhow::Result<f64> {
    let table = "select to_regclass('public.events') is not null";
    let count = format!("select count(*) from public.events where counter = {mark}");
    loop {
        if place.one::<bool>(table).await? && place.one::<i64>(&count).await? == tenants as i64 {
            return Ok(began.elapsed().as_secs_f64());
        }
        ensure!(began.elapsed() < VISIBLE_WITHIN, "not all arrived within {VISIBLE_WITHIN:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn wait_nothing_owed(source: &Database) -> anyhow::Result<()> {
    crate::rig::until("nothing to be owed", async || {
        source.one("select not exists (select from offtake.outgoing_request)").await
    })
    .await
}
