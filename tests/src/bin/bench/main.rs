//! `make bench`: how fast Offtake is and what it costs, compared with built-in logical replication
//! in the same run.
//!
//! Method. Private servers with fsync on and autovacuum off. Each side has its own source server,
//! so that neither decodes or logs for the other, and its own database on one destination server.
//! Only the side being measured runs. Rounds are interleaved (A B A B …). Medians are given with
//! minimum and maximum. CHECKPOINT and VACUUM run before every sample.
//! `wal_retrieve_retry_interval` is 10 ms; otherwise built-in replication would be charged with
//! seconds of waiting between restarts of a subscription's worker.

mod audit;
mod capture;
mod catch_up;
mod daemon;
mod idle;
mod latency;
mod replica;
mod report;
mod rig;

use std::process::ExitCode;

use anyhow::{Context, bail};

/// How many rows, rounds and samples are measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Rows of the measured tenant; all of them change in one catch-up sample.
    rows: u32,
    /// Rounds of A and B.
    rounds: usize,
    /// Latency samples per side and round.
    samples: usize,
    /// Latency samples after more than a second without a change. For Offtake only, because
    /// built-in replication does not probe.
    idle_samples: usize,
    idle_seconds: u64,
    audit_seconds: u64,
}

/// For the published figures. 3 rounds, because fewer give no meaningful median. 360 samples,
/// because the p99 of 300 or more samples has at least three samples above it.
const FULL: Extent = Extent {
    rows: 200_000,
    rounds: 3,
    samples: 120,
    idle_samples: 40,
    idle_seconds: 20,
    audit_seconds: 60,
};

/// Only to see that the benchmark still works; its figures mean nothing.
const QUICK: Extent = Extent {
    rows: 5_000,
    rounds: 1,
    samples: 20,
    idle_samples: 5,
    idle_seconds: 3,
    audit_seconds: 5,
};

/// A part that can be run by itself during development.
enum Part {
    Idle,
    Latency,
    CatchUp,
    Audit,
}

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
    let mut extent = FULL;
    let mut save = false;
    let mut part = None;
    let mut of_capture = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--save" => save = true,
            "--quick" => extent = QUICK,
            "--idle" => part = Some(Part::Idle),
            "--latency" => part = Some(Part::Latency),
            "--catch-up" => part = Some(Part::CatchUp),
            "--audit" => part = Some(Part::Audit),
            "--capture" => of_capture = true,
            other => bail!(
                "`{other}` is unknown; --save writes docs/benchmarks.md, --quick only tries whether the benchmark works, --idle, --latency, \
                 --catch-up and --audit print one sample of Offtake's figures, --capture prints what capture costs"
            ),
        }
    }
    if of_capture {
        let quick = extent.rounds == QUICK.rounds;
        return capture::run(if quick { capture::QUICK } else { capture::FULL }).await;
    }
    if let Some(part) = part {
        return look_at(part, extent).await;
    }
    if cfg!(debug_assertions) && save {
        bail!("figures of a debug build are not saved; run `make bench ARGS=--save`");
    }
    let figures = tokio::select! {
        figures = measure(extent) => figures?,
        signal = tokio::signal::ctrl_c() => { signal?; bail!("interrupted"); }
    };
    let text = report::markdown(&extent, &figures);
    println!("{text}");
    if save {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
        std::fs::write(file, text).with_context(|| format!("cannot write {file}"))?;
        eprintln!("saved to docs/benchmarks.md");
    }
    Ok(())
}

async fn look_at(part: Part, extent: Extent) -> anyhow::Result<()> {
    let rig = rig::Rig::start(extent.rows).await?;
    match part {
        Part::Idle => println!("{:?}", idle::measure(&rig, extent.idle_seconds).await?),
        Part::Latency => {
            let offtake = daemon::Daemon::start(&rig)?;
            offtake.wait_until_equal(&rig).await?;
            println!(
                "busy: {}",
                report::milliseconds(
                    &latency::sample(&rig.offtake, extent.samples, latency::BUSY).await?
                )
            );
            println!(
                "idle: {}",
                report::milliseconds(
                    &latency::sample(&rig.offtake, extent.idle_samples, latency::IDLE).await?
                )
            );
            offtake.stop().await?;
        }
        Part::Audit => {
            let measured = audit::measure(&rig, extent.audit_seconds).await?;
            println!("{}", report::audit(&measured));
        }
        Part::CatchUp => {
            for _ in 0..extent.rounds {
                let (rows_per_second, peak_mib) = catch_up::offtake(&rig).await?;
                println!("{rows_per_second:.0} rows/s, {peak_mib:.0} MiB");
            }
        }
    }
    Ok(())
}

async fn measure(extent: Extent) -> anyhow::Result<report::Figures> {
    let machine = report::Machine::describe()?;
    eprintln!(
        "starting three private servers and loading {} rows into each source",
        extent.rows + rig::OTHER_ROWS * 2
    );
    let rig = rig::Rig::start(extent.rows).await?;
    let (date, postgres) = rig.date_and_version().await?;
    let mut latency = report::Pair::<Vec<f64>>::default();
    let mut idle_latency = Vec::new();
    let mut catch_up = report::Pair::<Vec<f64>>::default();
    let mut peak_mib = 0.0_f64;
    for round in 1..=extent.rounds {
        let offtake = daemon::Daemon::start(&rig)?;
        offtake.wait_until_equal(&rig).await?;
        latency.offtake.extend(latency::sample(&rig.offtake, extent.samples, latency::BUSY).await?);
        idle_latency
            .extend(latency::sample(&rig.offtake, extent.idle_samples, latency::IDLE).await?);
        offtake.stop().await?;

        replica::enable(&rig).await?;
        latency
            .built_in
            .extend(latency::sample(&rig.built_in, extent.samples, latency::BUSY).await?);
        replica::disable(&rig).await?;
        eprintln!("round {round}: latency done");

        let (rows_per_second, mib) = catch_up::offtake(&rig).await?;
        catch_up.offtake.push(rows_per_second);
        peak_mib = mib.max(peak_mib);
        catch_up.built_in.push(catch_up::built_in(&rig).await?);
        eprintln!("round {round}: catching up done");
    }
    let idle = idle::measure(&rig, extent.idle_seconds).await?;
    let audit = audit::measure(&rig, extent.audit_seconds).await?;
    Ok(report::Figures {
        machine,
        date,
        postgres,
        latency,
        idle_latency,
        catch_up,
        peak_mib,
        idle,
        audit,
    })
}
