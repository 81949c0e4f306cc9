//! `webhooks`: many webhooks. How many requests a second; how long until ten thousand tenants are
//! told; and what silent receivers cost the others.

use std::time::Instant;

use anyhow::{Context, ensure};

use super::latency::P99;
use super::webhook::registered;
use crate::cpu::Meter;
use crate::daemon::Offtake;
use crate::figures::{Figures, percentile};
use crate::receiver::{Receiver, SECRET};
use crate::rig::Servers;
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "webhooks",
    about: "Webhooks without TLS, one per tenant, their receivers on the same machine: one statement \
            that changes ten rows of each of 1 000 tenants; one that changes a row of each, where all \
            receivers answer, and where 100 of them do not (from its commit until the 2xx of each of \
            the others); and one row of each of 10 000 tenants.",
    targets: &[
        target(SINGLE, RATE.0, OFFTAKE, None, Limit::AtLeast(2_000.0)),
        target(A_ROW_OF_EACH, P99.0, SOME_SILENT, Some(ALL_ANSWER), Limit::AtMost(2.0)),
        target(MANY, SECONDS.0, OFFTAKE, None, Limit::AtMost(30.0)),
        target(MANY, PEAK.0, OFFTAKE, None, Limit::AtMost(300.0)),
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(
    case: &'static str,
    measure: &'static str,
    side: &'static str,
    beside: Option<&'static str>,
    limit: Limit,
) -> Target {
    Target { case, measure, side, beside, limit }
}

const SINGLE: &str = "1 000 webhooks, ten events each";
const A_ROW_OF_EACH: &str = "1 000 webhooks, one event each";
const MANY: &str = "10 000 webhooks, one event each";
const ALL_ANSWER: &str = "all receivers answer";
const SOME_SILENT: &str = "100 receivers are silent";
const RATE: (&str, &str) = ("rate", "requests/s");
const SECONDS: (&str, &str) = ("until all are told", "s");
const PEAK: (&str, &str) = ("peak memory of the daemon", "MiB");

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let servers = Servers::start().await?;
    let receiver = Receiver::start().await?;
    let mut figures = Figures::default();
    let (few, many) = plan.either((1_000, 10_000), (30, 60));
    let offtake = Offtake::prepare(&servers.source, "few", &vec![10; few]).await?;
    configure(&offtake, &receiver)?;
    for round in 1..=plan.rounds {
        receiver.be_silent_below(0);
        offtake.source.settle().await?;
        let daemon = offtake.start()?;
        registered(&offtake, few).await?;
        let told = Told { offtake: &offtake, receiver: &receiver, pid: daemon.pid() };
        told.rate(few, &mut figures).await?;
        registered(&offtake, few).await?;
        told.others(few, 0, ALL_ANSWER, &mut figures).await?;
        registered(&offtake, few).await?;
        let silent = few / 10;
        receiver.be_silent_below(u32::try_from(silent)? + 1);
        // The first time nobody knows which are silent; the second time they are kept apart.
        told.others(few, silent, FIRST_SILENCE, &mut figures).await?;
        told.others(few, silent, SOME_SILENT, &mut figures).await?;
        receiver.be_silent_below(0);
        daemon.stop().await?;
        eprintln!("webhooks: round {round} done");
    }
    let offtake = Offtake::prepare(&servers.source, "many", &vec![1; many]).await?;
    configure(&offtake, &receiver)?;
    for _ in 1..=plan.rounds {
        offtake.source.settle().await?;
        let daemon = offtake.start()?;
        registered(&offtake, many).await?;
        let told = Told { offtake: &offtake, receiver: &receiver, pid: daemon.pid() };
        let seconds = told.change(1, many as u64, MANY, &mut figures).await?;
        figures.add(MANY, SECONDS, OFFTAKE, seconds);
        figures.add(MANY, PEAK, OFFTAKE, daemon.peak_mib()?);
        daemon.stop().await?;
    }
    Ok(figures)
}

const FIRST_SILENCE: &str = "100 receivers fall silent";

/// Fewer than all of the 1 000 connections would be dialled anew in each sample.
const CONNECTIONS: u32 = 2_000;

fn configure(offtake: &Offtake, receiver: &Receiver) -> anyhow::Result<()> {
    offtake.configure(&format!(
        "webhooks:\n  connections: {CONNECTIONS}\n  query: \"select tenant_id::text as tenant_id, \
         'main' as name, '{}' || right(tenant_id::text, 12)::int as url, '{SECRET}' as secret \
         from public.events where id = 1\"\n",
        receiver.url()
    ))
}

struct Told<'a> {
    offtake: &'a Offtake,
    receiver: &'a Receiver,
    pid: u32,
}

impl Told<'_> {
    async fn rate(&self, webhooks: usize, figures: &mut Figures) -> anyhow::Result<()> {
        let events = webhooks as u64 * 10;
        let seconds = self.change(10, events, SINGLE, figures).await?;
        figures.add(SINGLE, RATE, OFFTAKE, events as f64 / seconds);
        Ok(())
    }

    /// Changes the first rows of all tenants; returns the seconds from the commit until all events
    /// were answered.
    async fn change(
        &self,
        rows: i64,
        events: u64,
        case: &str,
        figures: &mut Figures,
    ) -> anyhow::Result<f64> {
        self.receiver.begin();
        let meter = Meter::new(&self.offtake.source.client, None, Some(self.pid));
        let told = async {
            let committed = self.write(rows, events).await?;
            let told = self.receiver.wait_events(events).await;
            told.with_context(|| self.offtake.last_lines())?;
            anyhow::Ok(committed.elapsed().as_secs_f64())
        };
        let (seconds, spent) = meter.during(told).await?;
        spent.add_per(figures, case, OFFTAKE, (events as f64, "event"));
        Ok(seconds)
    }

    async fn write(&self, rows: i64, events: u64) -> anyhow::Result<Instant> {
        let change = "update public.events set counter = counter + 1 where id <= $1";
        let changed = self.offtake.source.client.execute(change, &[&rows]).await?;
        ensure!(changed == events, "{changed} rows were changed");
        Ok(Instant::now())
    }

    /// How long the webhooks wait that are not among the first, silent ones.
    async fn others(
        &self,
        webhooks: usize,
        silent: usize,
        side: &str,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        self.receiver.begin();
        let committed = self.write(1, webhooks as u64).await?;
        let told = self.receiver.wait_events((webhooks - silent) as u64).await;
        told.with_context(|| self.offtake.last_lines())?;
        let milliseconds: Vec<f64> = self
            .receiver
            .answered()
            .values()
            .map(|at| at.saturating_duration_since(committed).as_secs_f64() * 1000.0)
            .collect();
        ensure!(milliseconds.len() == webhooks - silent, "{} answered", milliseconds.len());
        figures.add(A_ROW_OF_EACH, P99, side, percentile(&milliseconds, 99.0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::rig::tenant;

    /// The number at the end of a tenant's id is the path of its webhook.
    #[test]
    fn a_tenant_s_id_ends_with_its_number() {
        assert_eq!(tenant(42).rsplit('-').next().and_then(|end| end.parse::<u32>().ok()), Some(42));
    }
}
