//! What an idle daemon costs: three tenants, everything applied, no changes.

use std::time::Duration;

use anyhow::Context;

use crate::daemon::Daemon;
use crate::rig::Rig;

/// After its start the daemon looks at everything once. That time is not measured.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Idle {
    /// Share of one core, in percent.
    pub(crate) cpu_percent: f64,
    pub(crate) resident_mib: f64,
    pub(crate) source_transactions_per_second: f64,
}

pub(crate) async fn measure(rig: &Rig, seconds: u64) -> anyhow::Result<Idle> {
    let daemon = Daemon::start(rig)?;
    daemon.wait_until_equal(rig).await?;
    tokio::time::sleep(SETTLE).await;
    let (cpu, transactions) = (cpu_seconds(daemon.pid())?, transactions(rig).await?);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (cpu, transactions) =
        (cpu_seconds(daemon.pid())? - cpu, self::transactions(rig).await? - transactions);
    let idle = Idle {
        cpu_percent: cpu / seconds as f64 * 100.0,
        resident_mib: daemon.resident_mib()?,
        source_transactions_per_second: transactions / seconds as f64,
    };
    daemon.stop().await?;
    Ok(idle)
}

/// User and system time of all threads, exact to the nanosecond. The times in /proc/…/stat are
/// sampled 100 times a second; they count a process that wakes for 0.1 ms at a time only by chance.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .context("CPU time is read from /proc, on Linux only")?
    {
        let times = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += times
            .split_whitespace()
            .next()
            .and_then(|field| field.parse::<f64>().ok())
            .context("unexpected schedstat")?;
    }
    Ok(nanoseconds / 1e9)
}

/// Sessions report their transactions at most once a second, so the number lags by about a second.
async fn transactions(rig: &Rig) -> anyhow::Result<f64> {
    let client = &rig.offtake.source.client;
    let query = "select (xact_commit + xact_rollback)::float8 from pg_stat_database where datname = current_database()";
    Ok(client.query_one(query, &[]).await?.get(0))
}
