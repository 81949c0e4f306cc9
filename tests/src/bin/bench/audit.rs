//! What the continuous audit costs: the processor time of one audit of every copy, and the shares
//! of one core under the default budget.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::Client;

use crate::daemon::{self, Daemon};
use crate::idle::cpu_seconds;
use crate::rig::{Rig, until};

/// Processor seconds since their start.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    daemon: f64,
    source: f64,
    destination: f64,
}

#[derive(Debug)]
pub(crate) struct Audit {
    /// Rows of all copies.
    pub(crate) rows: f64,
    /// What one audit of them takes, without what the daemon takes anyway: seconds of a processor.
    pub(crate) daemon: f64,
    pub(crate) source: f64,
    pub(crate) destination: f64,
    /// How long it takes without a budget.
    pub(crate) elapsed: f64,
    /// The same three under the default budget: shares of one core, in percent.
    pub(crate) shares: [f64; 3],
    /// For how long they were measured.
    pub(crate) seconds: u64,
}

pub(crate) async fn measure(rig: &Rig, seconds: u64) -> anyhow::Result<Audit> {
    let idle = shares(rig, "{ period: off }", seconds).await?;
    let (whole, elapsed) = one_audit(rig).await?;
    let spent = |of: fn(&Cpu) -> f64| (of(&whole) - of(&idle.0) / idle.1 * elapsed).max(0.0);
    let under_budget = budgeted(rig, seconds).await?;
    let share = |of: fn(&Cpu) -> f64| {
        (of(&under_budget.0) / under_budget.1 - of(&idle.0) / idle.1).max(0.0) * 100.0
    };
    let rows = rig.offtake.source.client.query_one("select count(*) from public.account", &[]);
    Ok(Audit {
        rows: rows.await?.get::<_, i64>(0) as f64,
        daemon: spent(|cpu| cpu.daemon),
        source: spent(|cpu| cpu.source),
        destination: spent(|cpu| cpu.destination),
        elapsed,
        shares: [share(|cpu| cpu.daemon), share(|cpu| cpu.source), share(|cpu| cpu.destination)],
        seconds,
    })
}

/// What the three take within some seconds under such a configuration.
async fn shares(rig: &Rig, audit: &str, seconds: u64) -> anyhow::Result<(Cpu, f64)> {
    daemon::configure(rig, &format!("audit: {audit}\n"))?;
    let daemon = Daemon::start(rig)?;
    daemon.wait_until_equal(rig).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, began) = (cpu(rig, &daemon).await?, Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = cpu(rig, &daemon).await?.since(before);
    let elapsed = began.elapsed().as_secs_f64();
    daemon.stop().await?;
    Ok((spent, elapsed))
}

/// One audit of every copy, without a pause.
async fn one_audit(rig: &Rig) -> anyhow::Result<(Cpu, f64)> {
    let source = &rig.offtake.source.client;
    daemon::configure(rig, "audit: { period: 3650d, budget: 100% }\n")?;
    let daemon = Daemon::start(rig)?;
    daemon.wait_until_equal(rig).await?;
    audited(source).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, began) = (cpu(rig, &daemon).await?, Instant::now());
    forget(source).await?;
    audited(source).await?;
    let elapsed = began.elapsed().as_secs_f64();
    let spent = cpu(rig, &daemon).await?.since(before);
    daemon.stop().await?;
    Ok((spent, elapsed))
}

/// The default budget, with more to audit than it allows.
async fn budgeted(rig: &Rig, seconds: u64) -> anyhow::Result<(Cpu, f64)> {
    let again = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if let Err(error) = forget(&rig.offtake.source.client).await {
                return error;
            }
        }
    };
    tokio::select! {
        spent = shares(rig, "{ period: 24h }", seconds) => spent,
        error = again => Err(error),
    }
}

/// Has every copy audited again.
async fn forget(source: &Client) -> anyhow::Result<()> {
    let again = "update offtake.destination_mapping set audited_at = '-infinity' where audited_at > '-infinity'";
    source.batch_execute(again).await.context("cannot have the copies audited again")
}

async fn audited(source: &Client) -> anyhow::Result<()> {
    let open = "select not exists (select from offtake.destination_mapping where audited_at = '-infinity')";
    until("every copy to be audited", async || Ok(source.query_one(open, &[]).await?.get(0))).await
}

async fn cpu(rig: &Rig, daemon: &Daemon) -> anyhow::Result<Cpu> {
    Ok(Cpu {
        daemon: cpu_seconds(daemon.pid())?,
        source: server_seconds(&rig.offtake.source.client).await?,
        destination: server_seconds(&rig.offtake.copy.client).await?,
    })
}

impl Cpu {
    fn since(self, before: Self) -> Self {
        Self {
            daemon: self.daemon - before.daemon,
            source: self.source - before.source,
            destination: self.destination - before.destination,
        }
    }
}

/// What a server's processes have taken, those that have ended included. In hundredths of a second.
async fn server_seconds(client: &Client) -> anyhow::Result<f64> {
    let read = "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
    let postmaster: String = client.query_one(read, &[]).await?.get(0);
    let mut ticks = stat(&postmaster)?.iter().sum::<f64>();
    for process in std::fs::read_dir("/proc")? {
        let process = process?.file_name().to_string_lossy().into_owned();
        if process.bytes().all(|b| b.is_ascii_digit()) && parent(&process) == postmaster {
            ticks += stat(&process).unwrap_or_default()[..2].iter().sum::<f64>();
        }
    }
    Ok(ticks / 100.0)
}

/// User and system time of the process itself, and of its children that have ended.
fn stat(process: &str) -> anyhow::Result<[f64; 4]> {
    let fields = fields(process);
    let time = |at: usize| -> anyhow::Result<f64> {
        Ok(fields.get(at).context("unexpected /proc/…/stat")?.parse()?)
    };
    Ok([time(11)?, time(12)?, time(13)?, time(14)?])
}

fn parent(process: &str) -> String {
    fields(process).get(1).cloned().unwrap_or_default()
}

/// The fields behind the process's name.
fn fields(process: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let rest = text.rsplit(") ").next().unwrap_or_default();
    rest.split_whitespace().map(str::to_owned).collect()
}
