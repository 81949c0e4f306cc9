//! `first_copy`: the initial copy of a tenant's rows into an empty table, beside `COPY` from one
//! psql into another.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::cpu::Meter;
use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::rig::{Database, Servers, program, tenant, until};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "first_copy",
    about: "1 000 000 rows of one tenant are copied into an empty table; from the daemon's start.",
    targets: &[
        Target { beside: Some(PIPE), limit: Limit::AtLeast(0.6), ..target(RATE.0) },
        Target { limit: Limit::AtMost(64.0), ..target(PEAK.0) },
        Target { limit: Limit::AtMost(1.2), ..target(LAST.0) },
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(measure: &'static str) -> Target {
    Target { case: "", measure, side: OFFTAKE, beside: None, limit: Limit::AtMost(1.0) }
}

const PIPE: &str = "COPY piped into COPY";
const RATE: (&str, &str) = ("rate", "rows/s");
const PEAK: (&str, &str) = ("peak memory of the daemon", "MiB");
const LAST: (&str, &str) = ("time of the last fifth of the rows", "times that of the first");

/// Between two looks at the cursor.
const LOOK_EVERY: Duration = Duration::from_millis(10);

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rows = plan.either(1_000_000, 20_000);
    let servers = Servers::start().await?;
    let mut offtake = Offtake::prepare(&servers.source, "application", &[rows]).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        offtake.replace_copy(&servers.destination, &format!("copy_{round}")).await?;
        offtake.source.settle().await?;
        offtake.copies[0].database.settle().await?;
        ours(&offtake, rows, &mut figures).await?;

        let name = format!("pipe_{round}");
        let copy = Database::create(&servers.destination, &name).await?;
        offtake.source.settle().await?;
        copy.settle().await?;
        pipe(&offtake.source, &copy, rows, &mut figures).await?;
        eprintln!("first_copy: round {round} done");
    }
    Ok(figures)
}

async fn ours(offtake: &Offtake, rows: u32, figures: &mut Figures) -> anyhow::Result<()> {
    let copy = &offtake.copies[0].database;
    let began = Instant::now();
    let daemon = offtake.start()?;
    let watcher = copy.again().await?;
    let meter = Meter::new(&offtake.source.client, Some(&copy.client), Some(daemon.pid()));
    let (moments, spent) =
        meter.during(moments(&watcher, began, rows)).await.with_context(|| offtake.last_lines())?;
    let end = moments.last().context("the daemon copied nothing")?.0;
    figures.add("", RATE, OFFTAKE, f64::from(rows) / end);
    spent.add_per(figures, "", OFFTAKE, (f64::from(rows), "row"));
    figures.add("", PEAK, OFFTAKE, daemon.peak_mib()?);
    if let Some(ratio) = last_beside_first(&moments, f64::from(rows)) {
        figures.add("", LAST, OFFTAKE, ratio);
    }
    offtake.wait_until_equal().await?;
    daemon.stop().await
}

/// The rows that were there at each move of the cursor, with the seconds since `began`; until the
/// copy is complete. The ids are 1, 2, 3 …, so the cursor's key counts the rows.
async fn moments(copy: &Database, began: Instant, rows: u32) -> anyhow::Result<Vec<(f64, f64)>> {
    const READ: &str =
        "select backfilled, coalesce((backfill_key->>0)::bigint, 0) from public._offtake_state";
    until("the daemon to take up the destination", async || {
        copy.one("select to_regclass('public._offtake_state') is not null").await
    })
    .await?;
    let read = copy.client.prepare(READ).await?;
    let mut moments: Vec<(f64, f64)> = Vec::new();
    loop {
        if let Some(row) = copy.client.query_opt(&read, &[]).await? {
            let (complete, key): (bool, i64) = (row.get(0), row.get(1));
            let there = if complete { f64::from(rows) } else { key as f64 };
            if there > moments.last().map_or(0.0, |moment| moment.1) {
                moments.push((began.elapsed().as_secs_f64(), there));
            }
            if complete {
                return Ok(moments);
            }
        }
        ensure!(began.elapsed().as_secs() < 300, "the copy was not complete within 300 s");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The time of the last fifth of the rows, divided by that of the first fifth, both by
/// interpolation between the moments. Begins with the first moment, because before it the daemon
/// started.
fn last_beside_first(moments: &[(f64, f64)], rows: f64) -> Option<f64> {
    let begin = moments.first()?.1;
    let fifth = (rows - begin) / 5.0;
    let at = |wanted: f64| {
        moments.windows(2).find(|pair| pair[0].1 <= wanted && wanted <= pair[1].1).map(|pair| {
            let part = (wanted - pair[0].1) / (pair[1].1 - pair[0].1);
            pair[0].0 + (pair[1].0 - pair[0].0) * part
        })
    };
    let first = at(begin + fifth)? - at(begin)?;
    let last = at(rows)? - at(rows - fifth)?;
    (first > 0.0).then_some(last / first)
}

async fn pipe(
    source: &Database,
    copy: &Database,
    rows: u32,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let create = "create table public.events (id bigint primary key, body text not null, counter bigint not null)";
    copy.client.batch_execute(create).await?;
    let query =
        format!("select id, body, counter from public.events where tenant_id = '{}'", tenant(1));
    let psql = |database: &Database, command: &str| -> anyhow::Result<Command> {
        let mut psql = Command::new(program("psql")?);
        psql.args(["--no-psqlrc", "--quiet", "--dbname"]).arg(&database.url);
        psql.args(["--command", command]).kill_on_drop(true);
        Ok(psql)
    };
    let began = Instant::now();
    let mut writer = psql(source, &format!("copy ({query}) to stdout"))?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start psql")?;
    let rows_of_writer: Stdio = writer.stdout.take().context("no pipe")?.try_into()?;
    let mut reader = psql(copy, "copy public.events from stdin")?
        .stdin(rows_of_writer)
        .spawn()
        .context("cannot start psql")?;
    let programs: Vec<u32> = [writer.id(), reader.id()].into_iter().flatten().collect();
    let mut meter = Meter::new(&source.client, Some(&copy.client), None);
    meter.watch(&programs);
    let both = async {
        let (wrote, read) = tokio::try_join!(writer.wait(), reader.wait())?;
        ensure!(wrote.success() && read.success(), "psql failed");
        Ok(began.elapsed().as_secs_f64())
    };
    let (seconds, spent) = meter.during(both).await?;
    let there: i64 = copy.one("select count(*) from public.events").await?;
    ensure!(there == i64::from(rows), "psql copied {there} rows");
    figures.add("", RATE, PIPE, f64::from(rows) / seconds);
    spent.add_per(figures, "", PIPE, (f64::from(rows), "row"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifth_is_compared_with_the_first() {
        let even: Vec<(f64, f64)> =
            (0..=10).map(|n| (f64::from(n), f64::from(n) * 100.0 + 100.0)).collect();
        let ratio = last_beside_first(&even, 1_100.0).expect("there are moments");
        assert!((ratio - 1.0).abs() < 1e-9, "{ratio}");
        let mut slow = even;
        slow[9].0 = 10.0;
        slow[10].0 = 12.0;
        let ratio = last_beside_first(&slow, 1_100.0).expect("there are moments");
        assert!((ratio - 2.0).abs() < 1e-9, "{ratio}");
    }
}
