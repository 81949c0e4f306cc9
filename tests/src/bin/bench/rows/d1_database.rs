//! `d1_database`: one table is copied into a Cloudflare D1 database, which is D1's own engine on this
//! machine behind the Worker of `deploy/d1-worker`. How fast, and in how many requests?

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use offtake_tests::d1::{self, D1};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::daemon::peak_mib;
use crate::figures::Figures;
use crate::rig::{Database, Servers};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "d1_database",
    about: "offtake copy takes 2 210 059 rows of five columns into a D1 database, of its engine on the same machine; nothing is compared at the end.",
    targets: &[
        Target { limit: Limit::AtLeast(60_000.0), ..target(RATE.0) },
        Target { limit: Limit::AtMost(120.0), ..target(BATCHES.0) },
        Target { limit: Limit::AtMost(100.0), ..target(PEAK.0) },
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(measure: &'static str) -> Target {
    Target { case: "", measure, side: OFFTAKE, beside: None, limit: Limit::AtMost(1.0) }
}

const RATE: (&str, &str) = ("rate", "rows/s");
const BATCHES: (&str, &str) = ("requests that bring rows", "");
const PEAK: (&str, &str) = ("peak memory of the command", "MiB");

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    ensure!(d1::installed(), "scripts/ensure-receivers installs D1's engine");
    let rows = plan.either(2_210_059, 20_000);
    let servers = Servers::start().await?;
    let source = Database::create(&servers.source, "application").await?;
    let fill = format!(
        "create table public.measured (id bigint primary key, team text not null, usr text not null, body text, at timestamptz);
         insert into public.measured
         select n, 'team ' || n % 1000, 'user ' || n, md5(n::text), '2026-01-01'::timestamptz + n * interval '1 s'
           from generate_series(1, {rows}) n"
    );
    source.client.batch_execute(&fill).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        source.settle().await?;
        let folder = tempfile::tempdir()?;
        let engine = D1::start(1, folder.path()).await;
        copy(&source, &engine, rows, &mut figures).await?;
        eprintln!("d1_database: round {round} done");
    }
    Ok(figures)
}

async fn copy(
    source: &Database,
    engine: &D1,
    rows: u32,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let binary = std::env::current_exe()?.with_file_name("offtake");
    let began = Instant::now();
    let mut command = Command::new(binary)
        .args(["copy", "--json", "--no-verify", "--table", "public.measured"])
        .args(["--to", &engine.url(0), "--d1-endpoint", &engine.endpoint()])
        .env("DATABASE_URL", &source.url)
        .env("CLOUDFLARE_API_TOKEN", d1::TOKEN)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start offtake")?;
    let process = command.id().context("it has just started")?;
    let mut lines = BufReader::new(command.stdout.take().context("a pipe")?).lines();
    let (mut batches, mut peak) = (0_u32, 0.0_f64);
    let mut last = String::new();
    while let Some(line) = lines.next_line().await? {
        if line.contains("\"batch\"") {
            batches += 1;
            // There is none of a process that has ended.
            peak = peak_mib(process).unwrap_or(peak);
        }
        last = line;
    }
    ensure!(command.wait().await?.success(), "offtake copy failed: {last}");
    let seconds = began.elapsed().as_secs_f64();
    let there = engine.file(0).query_text("select count(*) from measured");
    ensure!(there == rows.to_string(), "{there} rows are in the database");
    figures.add("", RATE, OFFTAKE, f64::from(rows) / seconds);
    figures.add("", BATCHES, OFFTAKE, f64::from(batches));
    figures.add("", PEAK, OFFTAKE, peak);
    Ok(())
}
