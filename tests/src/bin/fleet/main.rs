//! What many registered destinations cost: how long every route of the API takes (`fleet answers`),
//! or else an idle daemon, a refresh in which one tenant appeared,
//! a scrape, a page of the list, a claim and a sweep, at several numbers of destinations.
//! `tests/load/README.md` says how to run it.
//!
//! The destinations come from the daemon's own destinations query. Nothing is copied: the fuse
//! `sync` is off, and the registry is then filled as if every copy stood.

mod answers;
mod fleet;
mod process;

use std::time::{Duration, Instant};

use anyhow::Context;
use fleet::Fleet;

/// How long the idle daemon is measured: two refreshes at the default interval.
const IDLE: Duration = Duration::from_secs(60);

/// Each request and statement is measured so often; the median counts.
const TIMES: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    const USAGE: &str = "usage: fleet NUMBER...: how many destinations to register\n  \
                         or: fleet answers NUMBER ROWS: and how many rows the log has";
    let mut arguments = std::env::args().skip(1).peekable();
    let of_answers = arguments.next_if(|first| first == "answers").is_some();
    let numbers: Result<Vec<u32>, _> = arguments.map(|n| n.parse()).collect();
    let numbers = numbers.context(USAGE)?;
    if of_answers {
        let [destinations, rows] = numbers.try_into().ok().context(USAGE)?;
        println!("\n{destinations} destinations, {rows} rows in the log");
        return answers::measure(destinations, rows).await;
    }
    for destinations in numbers {
        println!("\n{destinations} destinations");
        measure(destinations).await?;
    }
    Ok(())
}

fn tell(what: &str, value: f64, unit: &str) {
    println!("  {what:<44} {value:>10.2} {unit}");
}

async fn measure(destinations: u32) -> anyhow::Result<()> {
    let fleet = Fleet::create(destinations).await?;
    let began = Instant::now();
    let mut daemon = fleet.start()?;
    fleet.wait_registered(destinations.into()).await?;
    tell("registered after", began.elapsed().as_secs_f64(), "s");
    fleet.settle().await?;
    // The first look after that sees what the settling wrote.
    fleet.get(daemon.port, "/metrics").await?;
    tokio::time::sleep(Duration::from_secs(40)).await;
    tell("memory", daemon.mib("VmRSS:")?, "MiB");
    tell("memory at its peak", daemon.mib("VmHWM:")?, "MiB");
    tell(
        "memory per destination",
        daemon.mib("VmRSS:")? * 1048576.0 / f64::from(destinations),
        "B",
    );
    let (cpu, server) = (daemon.cpu_seconds()?, fleet.server_seconds().await?);
    tokio::time::sleep(IDLE).await;
    let idle = (daemon.cpu_seconds()? - cpu) / IDLE.as_secs_f64();
    let server_idle = (fleet.server_seconds().await? - server) / IDLE.as_secs_f64();
    tell("idle, the daemon", idle * 100.0, "% of a core");
    tell("idle, the source", server_idle * 100.0, "% of a core");
    measure_arrival(&fleet, &daemon, destinations, (idle, server_idle)).await?;
    for (what, path) in [
        ("a scrape", "/metrics"),
        ("GET status", "/api/v1/status"),
        ("a page of the list", "/api/v1/destinations"),
        ("a page by lag", "/api/v1/destinations?sort=lag"),
        ("a page of state blocked", "/api/v1/destinations?state=blocked"),
    ] {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            // Scrapes of one second share a reading; a status that took long is read rarely.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let began = Instant::now();
            match fleet.get(daemon.port, path).await? {
                200 => times.push(began.elapsed().as_secs_f64() * 1000.0),
                code => println!("  {what}: answered {code} after {:?}", began.elapsed()),
            }
        }
        tell(what, median(times), "ms");
    }
    let began = Instant::now();
    fleet.offtake(&["status"])?;
    tell("offtake status", began.elapsed().as_secs_f64() * 1000.0, "ms");
    for (what, statement, parameters) in fleet::STATEMENTS {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            times.push(fleet.statement_ms(statement, parameters).await?);
        }
        tell(what, median(times), "ms");
    }
    daemon.stop()
}

/// One more tenant appears: how long until it is registered, and what that costs beyond idling.
async fn measure_arrival(
    fleet: &Fleet,
    daemon: &process::Daemon,
    destinations: u32,
    (idle, server_idle): (f64, f64),
) -> anyhow::Result<()> {
    let (cpu, server) = (daemon.cpu_seconds()?, fleet.server_seconds().await?);
    let began = Instant::now();
    fleet.add_tenant().await?;
    fleet.wait_registered(i64::from(destinations) + 1).await?;
    tell("one more tenant is registered after", began.elapsed().as_secs_f64(), "s");
    // What follows the registration's commit counts too.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seconds = began.elapsed().as_secs_f64();
    let daemon = daemon.cpu_seconds()? - cpu - idle * seconds;
    let server = fleet.server_seconds().await? - server - server_idle * seconds;
    tell("one more tenant, the daemon", daemon.max(0.0) * 1000.0, "ms of CPU");
    tell("one more tenant, the source", server.max(0.0) * 1000.0, "ms of CPU");
    Ok(())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
