//! `export_file`: all rows of a tenant as a CSV file in a store that is a folder, beside psql's
//! `\copy` of the same rows into a file.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::rig::{Database, Servers, program, tenant};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "export_file",
    about: "A daemon exports 4 000 000 rows of one tenant, 1 GB, as CSV without compression, from the request to the end; psql copies the same rows into a file.",
    targets: &[
        Target { beside: Some(BARE), limit: Limit::AtLeast(0.6), ..target(RATE.0) },
        Target { limit: Limit::AtMost(256.0), ..target(MEMORY.0) },
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(measure: &'static str) -> Target {
    Target { case: "", measure, side: OFFTAKE, beside: None, limit: Limit::AtMost(1.0) }
}

const BARE: &str = "psql \\copy";
const RATE: (&str, &str) = ("rate", "MB/s");
const MEMORY: (&str, &str) = ("peak memory over the idle daemon", "MiB");

/// How often a row's text is repeated in the file: 11 make it 10 GB, while the source stays small.
const WIDEN: &str = "OFFTAKE_BENCH_EXPORT_WIDEN";

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rows = plan.either(4_000_000, 20_000);
    let widen: u32 = match std::env::var(WIDEN) {
        Ok(text) => text.parse().with_context(|| format!("{WIDEN} is a number"))?,
        Err(_) => 1,
    };
    let servers = Servers::start().await?;
    let offtake = Offtake::prepare(&servers.source, "application", &[rows]).await?;
    let query =
        format!("select tenant_id, id, repeat(body, {widen}) as body, counter from public.events");
    std::fs::write(
        offtake.folder().join("mappings/events.yaml"),
        format!(
            "source: {{ table: public.events, tenant: tenant_id }}\nquery: {query}\ntarget: {{ table: events }}\n"
        ),
    )?;
    offtake.configure(
        "stores: { disk: { kind: disk, path: files } }\nexports: { store: disk, pause: 1ms }\n",
    )?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        offtake.source.settle().await?;
        let (id, bytes) = ours(&offtake, &mut figures).await?;
        offtake.source.settle().await?;
        let file = offtake.folder().join("bare.csv");
        bare(&offtake.source, &query, (&file, bytes), &mut figures).await?;
        // Only now: psql would be given the memory of the deleted files, which is there already. A
        // virtual machine may have to ask for other memory first.
        offtake.run(&["export", "delete", &id, "--yes"]).await?;
        std::fs::remove_file(&file)?;
        eprintln!("export_file: round {round} done");
    }
    Ok(figures)
}

/// Returns the id of the export, and the bytes of its file.
async fn ours(offtake: &Offtake, figures: &mut Figures) -> anyhow::Result<(String, u64)> {
    let daemon = offtake.start()?;
    offtake.wait_until_idle().await?;
    let idle = daemon.resident_mib()?;
    let create =
        ["export", "create", "--tenant", &tenant(1), "--format", "csv", "--wait", "--json"];
    let told = offtake.run(&[&create[..], &["--compression", "none"]].concat()).await?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    ensure!(told["state"] == "completed", "{told}: {}", offtake.last_lines());
    let bytes = told["files"][0]["size"].as_u64().context("the file has a size")?;
    let seconds: f64 = offtake
        .source
        .one("select extract(epoch from finished_at - created_at)::float8 from offtake.job order by job_id desc limit 1")
        .await?;
    figures.add("", RATE, OFFTAKE, bytes as f64 / 1e6 / seconds);
    figures.add("", MEMORY, OFFTAKE, daemon.peak_mib()? - idle);
    let id = told["id"].as_str().context("the export has an id")?;
    daemon.stop().await?;
    Ok((id.to_owned(), bytes))
}

async fn bare(
    source: &Database,
    query: &str,
    (file, bytes): (&Path, u64),
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let tenant = tenant(1);
    let copy = format!(
        "\\copy (select id, body, counter from ({query}) q where tenant_id = '{tenant}' order by id) to '{}' with (format csv)",
        file.display()
    );
    let began = Instant::now();
    let psql = Command::new(program("psql")?)
        .args(["--no-psqlrc", "--quiet", "--dbname", &source.url, "--command", &copy])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status();
    ensure!(psql.await.context("cannot start psql")?.success(), "psql failed");
    let seconds = began.elapsed().as_secs_f64();
    // Ours has a line of names more, and both line ends.
    let there = file.metadata()?.len();
    ensure!(bytes.abs_diff(there) < bytes / 20, "{there} bytes beside {bytes}");
    figures.add("", RATE, BARE, there as f64 / 1e6 / seconds);
    Ok(())
}
