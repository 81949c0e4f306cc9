//! `statement`: what one statement over many rows costs, with capture and without.

use std::time::Instant;

use anyhow::ensure;

use crate::cpu::cpu_seconds;
use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::rig::{Database, Servers, load};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::{NO_CAPTURE, TRIGGERS};

pub(crate) const ROW: Row = Row {
    name: "statement",
    about: "One UPDATE of 200 000 rows, of which no indexed column changes.",
    targets: &[Target {
        case: "",
        measure: TIME.0,
        side: TRIGGERS,
        beside: Some(NO_CAPTURE),
        limit: Limit::AtMost(1.5),
    }],
    measure: |plan| Box::pin(measure(plan)),
};

const TIME: (&str, &str) = ("time", "s");
const CPU: (&str, &str) = ("CPU of its backend", "µs per row");
const WAL: (&str, &str) = ("write-ahead log", "bytes per row");

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rows = plan.either(200_000, 5_000);
    let servers = Servers::start().await?;
    let plain = Database::create(&servers.source, "plain").await?;
    load(&plain, &[rows]).await?;
    let triggers = Offtake::prepare(&servers.source, "triggers", &[rows]).await?;
    let mut figures = Figures::default();
    // The first statement of each side only fills caches.
    for round in 0..=plan.rounds {
        let mut discarded = Figures::default();
        let kept = if round == 0 { &mut discarded } else { &mut figures };
        sample(NO_CAPTURE, &plain, rows, kept).await?;
        let source = &triggers.source;
        source.client.batch_execute("truncate offtake.captured_change").await?;
        sample(TRIGGERS, source, rows, kept).await?;
        eprintln!("statement: round {round} done");
    }
    Ok(figures)
}

async fn sample(
    side: &str,
    database: &Database,
    rows: u32,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    database.settle().await?;
    let pid = database.backend().await?;
    let (cpu, wal) = (cpu_seconds(pid)?, database.wal_bytes().await?);
    let began = Instant::now();
    let update = "update public.events set counter = counter + 1";
    let changed = database.client.execute(update, &[]).await?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(changed == u64::from(rows), "only {changed} rows were changed");
    let rows = f64::from(rows);
    figures.add("", TIME, side, seconds);
    figures.add("", CPU, side, (cpu_seconds(pid)? - cpu) / rows * 1e6);
    figures.add("", WAL, side, (database.wal_bytes().await? - wal) / rows);
    Ok(())
}
