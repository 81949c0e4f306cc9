//! `webhook`: one webhook, from commit to the receiver's 2xx; and how many events a second it can be
//! told in batches.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::latency::{P50, P99};
use crate::cpu::Meter;
use crate::daemon::Offtake;
use crate::figures::{Figures, percentile};
use crate::receiver::{Receiver, SECRET};
use crate::rig::{Servers, tenant};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "webhook",
    about: "One webhook without TLS, its receiver on the same machine: from the reply to COMMIT until \
            the receiver has written its 2xx; and one statement that changes every row, told in \
            batches of 100, from its commit.",
    targets: &[
        target(OFTEN, P50.0, Limit::AtMost(50.0)),
        target(OFTEN, P99.0, Limit::AtMost(250.0)),
        target(SELDOM, P99.0, Limit::AtMost(250.0)),
        target(BATCHES, RATE.0, Limit::AtLeast(20_000.0)),
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(case: &'static str, measure: &'static str, limit: Limit) -> Target {
    Target { case, measure, side: OFFTAKE, beside: None, limit }
}

const OFTEN: &str = "10 changes/s";
const SELDOM: &str = "1 change/s";
const BATCHES: &str = "batches of 100";
const RATE: (&str, &str) = ("rate", "events/s");

/// Milliseconds between two changes. More than a second is silence, after which the loops look less
/// often.
const PAUSES: [(&str, usize, Range<u64>); 2] = [(OFTEN, 60, 20..180), (SELDOM, 20, 1_050..1_250)];

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rows = plan.either(100_000, 500);
    let servers = Servers::start().await?;
    let offtake = Offtake::prepare(&servers.source, "application", &[rows]).await?;
    let receiver = Receiver::start().await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        for (case, samples, pause) in &PAUSES {
            configure(&offtake, &receiver, 1)?;
            offtake.source.settle().await?;
            let daemon = offtake.start()?;
            registered(&offtake, 1).await?;
            let milliseconds =
                changes(&offtake, &receiver, plan.either(*samples, 3), pause.clone()).await?;
            figures.add(case, P50, OFFTAKE, percentile(&milliseconds, 50.0));
            figures.add(case, P99, OFFTAKE, percentile(&milliseconds, 99.0));
            daemon.stop().await?;
        }
        configure(&offtake, &receiver, 100)?;
        offtake.source.settle().await?;
        let daemon = offtake.start()?;
        registered(&offtake, 1).await?;
        receiver.begin();
        let meter = Meter::new(&offtake.source.client, None, Some(daemon.pid()));
        let told = async {
            let change = "update public.events set counter = counter + 1";
            offtake.source.client.execute(change, &[]).await?;
            let committed = Instant::now();
            receiver.wait_events(u64::from(rows)).await.with_context(|| offtake.last_lines())?;
            anyhow::Ok(committed.elapsed().as_secs_f64())
        };
        let (seconds, spent) = meter.during(told).await?;
        figures.add(BATCHES, RATE, OFFTAKE, f64::from(rows) / seconds);
        spent.add_per(&mut figures, BATCHES, OFFTAKE, (f64::from(rows), "event"));
        daemon.stop().await?;
        eprintln!("webhook: round {round} done");
    }
    Ok(figures)
}

fn configure(offtake: &Offtake, receiver: &Receiver, batch: u32) -> anyhow::Result<()> {
    offtake.configure(&format!(
        "webhooks:\n  static:\n    - {{ tenant: \"{}\", url: \"{}1\", secret: \"{SECRET}\", \
         batch: {{ events: {batch} }} }}\n",
        tenant(1),
        receiver.url()
    ))
}

/// Waits until the daemon has registered so many webhooks, and owes none of them anything.
pub(super) async fn registered(offtake: &Offtake, webhooks: usize) -> anyhow::Result<()> {
    let settled = format!(
        "select count(*) = {webhooks} and bool_and(sequence_id is not null) \
            and not exists (select from offtake.outgoing_request) from offtake.webhook"
    );
    let waited = crate::rig::until("the webhooks to be registered", async || {
        Ok(offtake.source.one::<Option<bool>>(&settled).await?.unwrap_or(false))
    });
    waited.await.with_context(|| offtake.last_lines())
}

/// Milliseconds of each change, one after the other.
async fn changes(
    offtake: &Offtake,
    receiver: &Receiver,
    samples: usize,
    pause: Range<u64>,
) -> anyhow::Result<Vec<f64>> {
    let mut random = StdRng::seed_from_u64(42);
    let mut milliseconds = Vec::new();
    let change = "update public.events set counter = counter + 1 where id = $1";
    for sample in 0..samples {
        tokio::time::sleep(Duration::from_millis(random.random_range(pause.clone()))).await;
        receiver.begin();
        let id = i64::try_from(sample)? + 1;
        offtake.source.client.execute(change, &[&id]).await?;
        let committed = Instant::now();
        receiver.wait_events(1).await.with_context(|| offtake.last_lines())?;
        let answered = receiver.answered().values().next().copied().context("an answer")?;
        ensure!(receiver.events() == 1, "{} events for one change", receiver.events());
        milliseconds.push(answered.saturating_duration_since(committed).as_secs_f64() * 1000.0);
    }
    Ok(milliseconds)
}
