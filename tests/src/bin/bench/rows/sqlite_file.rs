//! `sqlite_file`: the initial copy of a tenant's rows into a SQLite file, beside a bare `COPY` of the
//! same rows out of the source; and how long one change takes to be visible in the file.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use tokio::process::Command;

use crate::daemon::Offtake;
use crate::figures::{Figures, percentile};
use crate::rig::{Database, Servers, program, tenant, until};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "sqlite_file",
    about: "1 000 000 rows of one tenant are copied into a SQLite file, from the daemon's start; then single changes.",
    targets: &[
        Target { beside: Some(BARE), limit: Limit::AtLeast(0.9), ..target(RATE.0) },
        Target { limit: Limit::AtMost(5.0), ..target(P50.0) },
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(measure: &'static str) -> Target {
    Target { case: "", measure, side: OFFTAKE, beside: None, limit: Limit::AtMost(1.0) }
}

const BARE: &str = "COPY TO STDOUT";
const RATE: (&str, &str) = ("rate", "rows/s");
const PEAK: (&str, &str) = ("peak memory of the daemon", "MiB");
const P50: (&str, &str) = ("from commit to visible, p50", "ms");
const P99: (&str, &str) = ("from commit to visible, p99", "ms");

/// Between two looks at the cursor.
const LOOK_EVERY: Duration = Duration::from_millis(10);

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rows = plan.either(1_000_000, 20_000);
    let servers = Servers::start().await?;
    let offtake = Offtake::prepare(&servers.source, "application", &[rows]).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        let file = offtake.folder().join(format!("copy_{round}.db"));
        offtake.configure(&format!(
            "destinations:\n  static:\n    - {{ tenant: \"{}\", name: copy_{round}, url: \"sqlite://{}\" }}\n",
            tenant(1),
            file.display()
        ))?;
        offtake.source.settle().await?;
        ours(&offtake, &file, (rows, plan, round), &mut figures).await?;
        offtake.source.settle().await?;
        bare(&offtake.source, rows, &mut figures).await?;
        eprintln!("sqlite_file: round {round} done");
    }
    Ok(figures)
}

async fn ours(
    offtake: &Offtake,
    file: &Path,
    (rows, plan, round): (u32, Plan, usize),
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let daemon = offtake.start()?;
    let complete = until_complete(file, began).await;
    let (reader, seconds) = complete.with_context(|| offtake.last_lines())?;
    let there: i64 = reader.query_row("select count(*) from events", [], |row| row.get(0))?;
    ensure!(there == i64::from(rows), "{there} rows are in the file");
    figures.add("", RATE, OFFTAKE, f64::from(rows) / seconds);
    figures.add("", PEAK, OFFTAKE, daemon.peak_mib()?);
    // No row has any of these counters yet.
    let first = 1_000_000 * i64::try_from(round)?;
    let marks = first..first + plan.either(200, 5);
    let milliseconds = changes(&offtake.source, &reader, rows, marks).await?;
    figures.add("", P50, OFFTAKE, percentile(&milliseconds, 50.0));
    figures.add("", P99, OFFTAKE, percentile(&milliseconds, 99.0));
    drop(reader);
    daemon.stop().await
}

/// A reader of the file, and the seconds until the copy was complete.
async fn until_complete(file: &Path, began: Instant) -> anyhow::Result<(Connection, f64)> {
    until("the daemon to make the file", async || {
        let path = PathBuf::from(file);
        let state = "select 1 from sqlite_master where name = '_offtake_state'";
        let look = || open(&path)?.query_row(state, [], |_| Ok(())).optional();
        Ok(path.exists() && look().is_ok_and(|found| found.is_some()))
    })
    .await?;
    let reader = open(file)?;
    let read = "select 1 from _offtake_state where backfilled";
    while reader.query_row(read, [], |_| Ok(())).optional()?.is_none() {
        ensure!(began.elapsed().as_secs() < 300, "the copy was not complete within 300 s");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok((reader, began.elapsed().as_secs_f64()))
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let reader = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    reader.busy_timeout(Duration::from_secs(10))?;
    Ok(reader)
}

/// Milliseconds from the reply to COMMIT until a reader that looks about once a millisecond sees the
/// change in the file.
async fn changes(
    source: &Database,
    reader: &Connection,
    rows: u32,
    marks: Range<i64>,
) -> anyhow::Result<Vec<f64>> {
    let mut random = StdRng::seed_from_u64(42);
    let write =
        "update public.events set counter = $2 where tenant_id = $1::text::uuid and id = $3";
    let write = source.client.prepare(write).await?;
    let mut look = reader.prepare("select 1 from events where id = ?1 and counter = ?2")?;
    let mut milliseconds = Vec::new();
    for mark in marks {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..180))).await;
        let id = i64::from(random.random_range(1..=rows));
        source.client.execute(&write, &[&tenant(1), &mark, &id]).await?;
        let committed = Instant::now();
        while !look.exists([id, mark])? {
            ensure!(committed.elapsed().as_secs() < 30, "a change was not visible within 30 s");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        milliseconds.push(committed.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(milliseconds)
}

/// The same rows, as `psql` prints them to nobody.
async fn bare(source: &Database, rows: u32, figures: &mut Figures) -> anyhow::Result<()> {
    let copy = format!(
        "copy (select id, body, counter from public.events where tenant_id = '{}') to stdout",
        tenant(1)
    );
    let began = Instant::now();
    let psql = Command::new(program("psql")?)
        .args(["--no-psqlrc", "--quiet", "--dbname", &source.url, "--command", &copy])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status();
    ensure!(psql.await.context("cannot start psql")?.success(), "psql failed");
    figures.add("", RATE, BARE, f64::from(rows) / began.elapsed().as_secs_f64());
    Ok(())
}
