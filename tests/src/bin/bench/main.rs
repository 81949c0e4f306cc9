//! `make bench`: how fast Offtake is and what it costs, compared with built-in logical replication
//! and with a source without capture, in the same run.
//!
//! [`rows`] has a module for each row of the table: a name, what is done, what it should reach, and
//! a function that measures. `--list` lists them, `--only` chooses.
//!
//! Method. Private servers with fsync on and autovacuum off. Each side has its own source database,
//! and Offtake and built-in replication each a server of their own, so that neither decodes or logs
//! for the other. Only the side being measured runs. The sides take turns in rounds (A B A B …).
//! Medians are given with minimum and maximum. VACUUM and CHECKPOINT run before every sample, and a
//! warm-up where caches count. `wal_retrieve_retry_interval` is 10 ms; otherwise built-in
//! replication would be charged with seconds of waiting between restarts of its worker.
//!
//! CPU time is read from /proc, by group of processes ([`cpu`]); sessions are told apart by their
//! `application_name`.

mod arguments;
mod compare;
mod cpu;
mod daemon;
mod far_link;
mod figures;
mod machine;
mod page;
mod pgbench;
mod receiver;
mod replica;
mod report;
mod rig;
mod row;
mod rows;

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

use self::arguments::Arguments;
use self::report::{MeasuredRow, Report};
use self::row::Row;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.list {
        for row in rows::ROWS {
            println!("{:14} {}", row.name, row.about);
        }
        return Ok(());
    }
    // Read before hours of measuring, not after.
    let before = arguments.compare.as_deref().map(|file| Report::read(&[file])).transpose()?;
    let (report, failed) = if arguments.from.is_empty() {
        tokio::select! {
            measured = measure(&arguments) => measured?,
            signal = tokio::signal::ctrl_c() => { signal?; bail!("interrupted"); }
        }
    } else {
        let files: Vec<_> = arguments.from.iter().map(AsRef::as_ref).collect();
        (Report::read(&files)?, Vec::new())
    };
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    match &before {
        Some(before) => print!("{}", compare::text(before, &report)),
        None => print!("{}", page::text(&report)),
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    if arguments.save {
        let fit = report.build == "release" && !report.quick;
        ensure!(fit, "figures of a debug build, or of --quick, are not saved");
        let missing = rows::ROWS.iter().map(|row| row.name).filter(|n| report.row(n).is_none());
        let missing: Vec<_> = missing.collect();
        ensure!(
            missing.is_empty(),
            "the page would lose {}: measure it too, or add an earlier report with --from",
            missing.join(", ")
        );
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
        std::fs::write(file, page::text(&report))
            .with_context(|| format!("cannot write {file}"))?;
        eprintln!("saved to docs/benchmarks.md");
    }
    Ok(())
}

/// Measures the chosen rows, and names those that failed. The report is written after each row: a
/// later failure, or Ctrl-C, does not lose it.
async fn measure(arguments: &Arguments) -> anyhow::Result<(Report, Vec<String>)> {
    let mut report = Report::begin(arguments.plan).await?;
    let mut failed = Vec::new();
    for row in &arguments.rows {
        let Row { name, measure, .. } = row;
        eprintln!("{name}: {}", row.about);
        match measure(arguments.plan).await {
            Ok(figures) => {
                report.rows.push(MeasuredRow { name: (*name).to_owned(), figures: figures.0 });
            }
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                failed.push((*name).to_owned());
            }
        }
        if let Some(file) = &arguments.json {
            report.write(file)?;
        }
    }
    Ok((report, failed))
}
