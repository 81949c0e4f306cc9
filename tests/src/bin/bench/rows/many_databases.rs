//! `many_databases`: many tenants, each in a database of its own. How many destinations a second
//! receive a changed row, where links are open and where each is dialled?

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::cpu::Meter;
use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::rig::{Database, Servers, tenant};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "many_databases",
    about: "1 000 tenants, each in a database of its own, with one row each: the first copies, from \
            the daemon's start; one statement that changes a row of each, from its commit until \
            nothing is owed, where the daemon has at most 100 connections and dials each; and the \
            same for 90 of them, to which it is connected.",
    targets: &[target(DIALLED, 300.0), target(LINKED, 1_000.0)],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(case: &'static str, least: f64) -> Target {
    let limit = Limit::AtLeast(least);
    Target { case, measure: RATE.0, side: OFFTAKE, beside: None, limit }
}

const COPIES: &str = "first copies";
const DIALLED: &str = "one changed row of each, dialled";
const LINKED: &str = "one changed row of 90, connected";
const RATE: (&str, &str) = ("rate", "destinations/s");
const PEAK: (&str, &str) = ("peak memory of the daemon", "MiB");

/// Fewer than the daemon's connections.
const LINKED_TENANTS: usize = 90;

/// One statement for so few is over within a tenth of a second.
const LINKED_STATEMENTS: usize = 10;

const WITHIN: Duration = Duration::from_secs(300);

/// The pause between two looks at what is owed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Nothing is on its way: neither to the log, nor to a request, nor to a destination.
const NOTHING_OWED: &str = "
    select not exists (select from offtake.captured_change)
       and (select sequence_id from offtake.poller_position) >= (select sequence_id from offtake.log_head)
       and not exists (select from offtake.outgoing_request)";

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let tenants = plan.either(1_000, 12);
    let servers = Servers::start().await?;
    let offtake = Offtake::prepare(&servers.source, "application", &vec![1; tenants]).await?;
    for number in 1..=tenants {
        Database::create(&servers.destination, &format!("tenant_{number}")).await?;
    }
    let url = servers.destination.url("tenant_0");
    offtake.configure(&format!(
        "destinations:\n  query: \"select tenant_id::text as tenant_id, replace('{url}', 'tenant_0', \
         'tenant_' || right(tenant_id::text, 12)::int) as url from public.events\"\n"
    ))?;
    offtake.source.settle().await?;
    let mut figures = Figures::default();
    let began = Instant::now();
    let daemon = offtake.start()?;
    // Registered first: before that, nothing is owed.
    let registered = format!(
        "select count(*) = {tenants} and bool_and(state = 'in_sync') from offtake.destination"
    );
    let copied = wait(&offtake, &registered, began).await?;
    figures.add(COPIES, RATE, OFFTAKE, tenants as f64 / copied);
    let mut mark = 0;
    for round in 1..=plan.rounds {
        let sample = Sample { offtake: &offtake, pid: daemon.pid() };
        offtake.source.settle().await?;
        sample.take(DIALLED, (tenants, 1), &mut mark, &mut figures).await?;
        let linked = LINKED_TENANTS.min(tenants);
        // Connected from now on.
        sample.change(linked, &mut mark).await?;
        sample.take(LINKED, (linked, LINKED_STATEMENTS), &mut mark, &mut figures).await?;
        eprintln!("many_databases: round {round} done");
    }
    figures.add("", PEAK, OFFTAKE, daemon.peak_mib()?);
    daemon.stop().await?;
    check(&offtake, &servers, tenants).await?;
    Ok(figures)
}

struct Sample<'a> {
    offtake: &'a Offtake,
    pid: u32,
}

impl Sample<'_> {
    async fn take(
        &self,
        case: &str,
        (tenants, statements): (usize, usize),
        mark: &mut i64,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let meter = Meter::new(&self.offtake.source.client, None, Some(self.pid));
        let work = async {
            let mut seconds = 0.0;
            for _ in 0..statements {
                seconds += self.change(tenants, mark).await?;
            }
            anyhow::Ok(seconds)
        };
        let (seconds, spent) = meter.during(work).await?;
        let destinations = (tenants * statements) as f64;
        figures.add(case, RATE, OFFTAKE, destinations / seconds);
        spent.add_per(figures, case, OFFTAKE, (destinations, "destination"));
        Ok(())
    }

    /// Changes the row of the first tenants; returns the seconds until nothing is owed.
    async fn change(&self, tenants: usize, mark: &mut i64) -> anyhow::Result<f64> {
        *mark += 1;
        let change = "update public.events set counter = $1 where tenant_id <= $2::text::uuid";
        let changed = self.offtake.source.client.execute(change, &[mark, &tenant(tenants)]).await?;
        ensure!(changed == tenants as u64, "{changed} rows were changed");
        wait(self.offtake, NOTHING_OWED, Instant::now()).await
    }
}

/// Waits until the source says so; returns the seconds since `began`.
async fn wait(offtake: &Offtake, condition: &str, began: Instant) -> anyhow::Result<f64> {
    while !offtake.source.one::<Option<bool>>(condition).await?.unwrap_or(false) {
        if began.elapsed() > WITHIN {
            return Err(anyhow::anyhow!("not within {WITHIN:?}: {condition}"))
                .with_context(|| offtake.last_lines());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Every copy has the last value of its row.
async fn check(offtake: &Offtake, servers: &Servers, tenants: usize) -> anyhow::Result<()> {
    for number in 1..=tenants {
        let there = Database::open(&servers.destination, &format!("tenant_{number}")).await?;
        let copied: i64 = there.one("select counter from public.events").await?;
        let expected =
            format!("select counter from public.events where tenant_id = '{}'", tenant(number));
        let expected: i64 = offtake.source.one(&expected).await?;
        ensure!(copied == expected, "tenant {number} has {copied}, not {expected}");
    }
    Ok(())
}
