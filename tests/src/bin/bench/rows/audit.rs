//! `audit`: what the continuous audit costs: the processor time of one audit of every copy, and the
//! shares of one core under the default budget. What the daemon takes anyway is subtracted.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::Client;

use crate::cpu::{cpu_seconds, server_seconds};
use crate::daemon::{Daemon, Offtake};
use crate::figures::Figures;
use crate::rig::{Servers, until};
use crate::row::{Plan, Row};

pub(crate) const ROW: Row = Row {
    name: "audit",
    about: "Every copy is audited while nothing changes; what the daemon takes anyway is subtracted.",
    targets: &[],
    measure: |plan| Box::pin(measure(plan)),
};

const WHOLE: (&str, &str) = ("one audit without a budget", "CPU seconds per million rows");
const SHARE: (&str, &str) = ("audits under the default budget", "% of a core");
const ELAPSED: (&str, &str) = ("one audit without a budget, elapsed", "s");

/// The sides: the daemon, and all processes of the servers.
const SIDES: [&str; 3] = ["daemon", "source", "destination"];

/// Processor seconds of each of [`SIDES`] since their start.
type Cpu = [f64; 3];

/// After its start the daemon looks at everything once. That time is not measured.
const SETTLE: Duration = Duration::from_secs(5);

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let all = [plan.either(200_000, 5_000), 1_000, 1_000];
    let servers = Servers::start().await?;
    let offtake = Offtake::with_copies(&servers, &all).await?;
    let seconds = plan.either(30, 4);
    let rows = f64::from(all.iter().sum::<u32>());
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        let (idle, idle_elapsed) = shares(&offtake, "{ period: off }", seconds).await?;
        let (whole, elapsed) = one_audit(&offtake).await?;
        let (budgeted, budgeted_elapsed) = budgeted(&offtake, seconds).await?;
        for (at, side) in SIDES.iter().enumerate() {
            let idle = idle[at] / idle_elapsed;
            let spent = (whole[at] - idle * elapsed).max(0.0);
            let share = (budgeted[at] / budgeted_elapsed - idle).max(0.0) * 100.0;
            figures.add("", WHOLE, side, spent / rows * 1e6);
            figures.add("", SHARE, side, share);
        }
        figures.add("", ELAPSED, SIDES[0], elapsed);
        eprintln!("audit: round {round} done");
    }
    Ok(figures)
}

/// What the three take within some seconds under such a configuration.
async fn shares(offtake: &Offtake, audit: &str, seconds: u64) -> anyhow::Result<(Cpu, f64)> {
    offtake.configure(&format!("audit: {audit}\n"))?;
    let daemon = offtake.start()?;
    offtake.wait_until_equal().await?;
    tokio::time::sleep(SETTLE).await;
    let (before, began) = (cpu(offtake, &daemon).await?, Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = since(cpu(offtake, &daemon).await?, before);
    let elapsed = began.elapsed().as_secs_f64();
    daemon.stop().await?;
    Ok((spent, elapsed))
}

/// One audit of every copy, without a pause.
async fn one_audit(offtake: &Offtake) -> anyhow::Result<(Cpu, f64)> {
    let source = &offtake.source.client;
    offtake.configure("audit: { period: 3650d, budget: 100% }\n")?;
    let daemon = offtake.start()?;
    offtake.wait_until_equal().await?;
    audited(offtake).await?;
    tokio::time::sleep(SETTLE).await;
    let (before, began) = (cpu(offtake, &daemon).await?, Instant::now());
    forget(source).await?;
    audited(offtake).await?;
    let elapsed = began.elapsed().as_secs_f64();
    let spent = since(cpu(offtake, &daemon).await?, before);
    daemon.stop().await?;
    Ok((spent, elapsed))
}

/// The default budget, with more to audit than it allows.
async fn budgeted(offtake: &Offtake, seconds: u64) -> anyhow::Result<(Cpu, f64)> {
    let again = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if let Err(error) = forget(&offtake.source.client).await {
                return error;
            }
        }
    };
    tokio::select! {
        spent = shares(offtake, "{ period: 24h }", seconds) => spent,
        error = again => Err(error),
    }
}

/// Has every copy audited again.
async fn forget(source: &Client) -> anyhow::Result<()> {
    let again = "update offtake.destination_mapping set audited_at = '-infinity' where audited_at > '-infinity'";
    source.batch_execute(again).await.context("cannot have the copies audited again")
}

async fn audited(offtake: &Offtake) -> anyhow::Result<()> {
    let open = "select not exists (select from offtake.destination_mapping where audited_at = '-infinity')";
    until("every copy to be audited", async || offtake.source.one(open).await).await
}

async fn cpu(offtake: &Offtake, daemon: &Daemon) -> anyhow::Result<Cpu> {
    Ok([
        cpu_seconds(daemon.pid())?,
        server_seconds(&offtake.source.client).await?,
        server_seconds(&offtake.copies[0].database.client).await?,
    ])
}

fn since(now: Cpu, before: Cpu) -> Cpu {
    [now[0] - before[0], now[1] - before[1], now[2] - before[2]]
}
