//! What the daemon costs while nothing happens: three tenants, everything applied.

use std::time::Duration;

use anyhow::Context;

use crate::daemon::Daemon;
use crate::rig::Rig;

/// After its start the daemon looks at everything once; that is not idling.
const SETTLE: Duration = Duration::from_secs(5);

/// The kernel's unit of CPU time in /proc; 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

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
    let (ticks, transactions) = (cpu_ticks(daemon.pid())?, transactions(rig).await?);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (ticks, transactions) = (cpu_ticks(daemon.pid())? - ticks, self::transactions(rig).await? - transactions);
    let idle = Idle {
        cpu_percent: ticks / TICKS_PER_SECOND / seconds as f64 * 100.0,
        resident_mib: daemon.resident_mib()?,
        source_transactions_per_second: transactions / seconds as f64,
    };
    daemon.stop().await?;
    Ok(idle)
}

/// User and system time. The second field, the program's name in parentheses, may contain anything.
fn cpu_ticks(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("CPU time is read from /proc, on Linux only")?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).context("unexpected /proc/…/stat");
    Ok(field(11)? + field(12)?)
}

/// Sessions report what they did at most once a second, so this is exact to about that.
async fn transactions(rig: &Rig) -> anyhow::Result<f64> {
    let client = &rig.offtake.source.client;
    let query = "select (xact_commit + xact_rollback)::float8 from pg_stat_database where datname = current_database()";
    Ok(client.query_one(query, &[]).await?.get(0))
}
