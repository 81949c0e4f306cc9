//! `update`: what the application's own throughput loses to Offtake.

use std::time::Instant;

use crate::cpu::{Group, Meter};
use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::pgbench::Load;
use crate::replica::Replica;
use crate::rig::{Database, Servers, load};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::{NO_CAPTURE, TRIGGERS};

pub(crate) const ROW: Row = Row {
    name: "update",
    about: "From four sessions, pgbench changes one row in each transaction, as fast as it can.",
    targets: &[
        Target { limit: Limit::AtLeast(0.75), ..target(TRIGGERS, NO_CAPTURE) },
        Target { limit: Limit::AtLeast(0.65), ..target(DAEMON, NO_CAPTURE) },
        Target { limit: Limit::AtLeast(0.85), ..target(DAEMON, SUBSCRIBER) },
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(side: &'static str, beside: &'static str) -> Target {
    let limit = Limit::AtLeast(1.0);
    Target { case: "", measure: THROUGHPUT.0, side, beside: Some(beside), limit }
}

const DAEMON: &str = "whole daemon";
const SUBSCRIBER: &str = "logical subscriber";
const SIDES: [&str; 4] = [NO_CAPTURE, TRIGGERS, DAEMON, SUBSCRIBER];

const THROUGHPUT: (&str, &str) = ("throughput", "transactions/s");
const WAL: (&str, &str) = ("write-ahead log of the source", "bytes per transaction");
const BEHIND: (&str, &str) = ("after the end, until the copy is equal", "s");

/// The databases: a source without capture, one with triggers and no daemon, and both sides that
/// keep a copy.
struct Rig {
    plain: Database,
    triggers: Offtake,
    offtake: Offtake,
    built_in: Replica,
    _servers: Servers,
}

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rows = plan.either(100_000, 2_000);
    let all = [rows, 1_000, 1_000];
    let servers = Servers::start().await?;
    let plain = Database::create(&servers.source, "plain").await?;
    load(&plain, &all).await?;
    let rig = Rig {
        plain,
        triggers: Offtake::prepare(&servers.source, "triggers", &all).await?,
        offtake: Offtake::with_copies(&servers, &all).await?,
        built_in: Replica::create(&servers, &all).await?,
        _servers: servers,
    };
    let load = Load { seconds: plan.either(12, 2), rate: None, rows: 1, tenants: 1, ids: rows };
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        for side in SIDES {
            rig.sample(side, load, &mut figures).await?;
        }
        eprintln!("update: round {round} done");
    }
    Ok(figures)
}

impl Rig {
    async fn sample(&self, side: &str, load: Load, figures: &mut Figures) -> anyhow::Result<()> {
        match side {
            NO_CAPTURE => {
                self.plain.settle().await?;
                measured(side, load, (&self.plain, None, None), figures).await
            }
            TRIGGERS => {
                let source = &self.triggers.source;
                source.client.batch_execute("truncate offtake.captured_change").await?;
                source.settle().await?;
                measured(side, load, (source, None, None), figures).await
            }
            DAEMON => {
                let daemon = self.offtake.start()?;
                self.offtake.wait_until_equal().await?;
                self.offtake.settle().await?;
                let copy = &self.offtake.copies[0].database;
                let pid = Some(daemon.pid());
                measured(side, load, (&self.offtake.source, Some(copy), pid), figures).await?;
                let ended = Instant::now();
                self.offtake.wait_until_equal().await?;
                figures.add("", BEHIND, side, ended.elapsed().as_secs_f64());
                daemon.stop().await
            }
            _ => {
                let Replica { source, copy } = &self.built_in;
                self.built_in.enable().await?;
                self.built_in.settle().await?;
                measured(side, load, (source, Some(copy), None), figures).await?;
                let ended = Instant::now();
                self.built_in.wait_until_current().await?;
                figures.add("", BEHIND, side, ended.elapsed().as_secs_f64());
                self.built_in.disable().await
            }
        }
    }
}

/// One sample, after a warm-up that fills caches.
async fn measured(
    side: &str,
    load: Load,
    (source, copy, daemon): (&Database, Option<&Database>, Option<u32>),
    figures: &mut Figures,
) -> anyhow::Result<()> {
    Load { seconds: load.seconds.div_ceil(6), ..load }.run(source).await?;
    let wal = source.wal_bytes().await?;
    let meter = Meter::new(&source.client, copy.map(|copy| &copy.client), daemon);
    let (tps, spent) = meter.during(load.run(source)).await?;
    let transactions = tps * spent.elapsed;
    figures.add("", THROUGHPUT, side, tps);
    spent.add_per(figures, "", side, (transactions, "transaction"));
    let all: f64 = Group::ALL.iter().map(|group| spent.seconds(*group)).sum();
    figures.add("", ("CPU of all of them", "µs per transaction"), side, all / transactions * 1e6);
    figures.add("", WAL, side, (source.wal_bytes().await? - wal) / transactions);
    Ok(())
}
