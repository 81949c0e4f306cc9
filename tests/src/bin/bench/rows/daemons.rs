//! `daemons`: several daemons on one source, where the destinations are what limits.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::daemon::{Daemon, Offtake};
use crate::far_link::FarLink;
use crate::figures::Figures;
use crate::rig::{Database, Servers, until};
use crate::row::{Limit, Plan, Row, Target};

pub(crate) const ROW: Row = Row {
    name: "daemons",
    about: "4 000 tenants in two shared databases, each of which answers 200 ms late in both \
            directions; one statement changes a row of each, and one, two or four daemons work on \
            one source. From its commit until all are visible.",
    targets: &[Target {
        case: "",
        measure: RATE.0,
        side: "two daemons",
        beside: Some("one daemon"),
        limit: Limit::AtLeast(1.7),
    }],
    measure: |plan| Box::pin(measure(plan)),
};

const RATE: (&str, &str) = ("rate", "tenants/s");
const SIDES: [(usize, &str); 3] = [(1, "one daemon"), (2, "two daemons"), (4, "four daemons")];

const DELAY: Duration = Duration::from_millis(200);
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);

/// The pause between two looks at the copies, which count all rows.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A shared database that is far away.
struct Place {
    database: Database,
    link: FarLink,
}

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let tenants = plan.either(4_000, 100);
    let servers = Servers::start().await?;
    let offtake = Offtake::prepare(&servers.source, "application", &vec![1; tenants]).await?;
    let (mut places, mut urls) = (Vec::new(), Vec::new());
    for name in ["place_1", "place_2"] {
        let database = Database::create(&servers.destination, name).await?;
        let (link, url) = FarLink::to(&database.url).await?;
        places.push(Place { database, link });
        urls.push(url);
    }
    let (one, two) = (&urls[0], &urls[1]);
    offtake.configure(&format!(
        "destinations:\n  query: \"select tenant_id::text as tenant_id, true as shared, case when \
         hashtext(tenant_id::text) % 2 = 0 then '{one}' else '{two}' end as url from \
         public.events\"\n"
    ))?;
    let mut mark: i64 = offtake.source.one("select max(counter) from public.events").await?;
    let first = start(&offtake, 1)?;
    wait_arrived(&places, mark, tenants).await.with_context(|| offtake.last_lines())?;
    stop(&offtake, first).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        for (count, side) in SIDES {
            let daemons = start(&offtake, count)?;
            // Each has visited what it visits at its start.
            tokio::time::sleep(Duration::from_secs(2)).await;
            wait_nothing_owed(&offtake).await?;
            offtake.source.settle().await?;
            places.iter().for_each(|place| place.link.set(DELAY));
            mark += 1;
            let change = "update public.events set counter = $1";
            let changed = offtake.source.client.execute(change, &[&mark]).await?;
            ensure!(changed == tenants as u64, "{changed} rows were changed");
            let began = Instant::now();
            let arrived = wait_arrived(&places, mark, tenants).await;
            arrived.with_context(|| offtake.last_lines())?;
            figures.add("", RATE, side, tenants as f64 / began.elapsed().as_secs_f64());
            places.iter().for_each(|place| place.link.set(Duration::ZERO));
            wait_nothing_owed(&offtake).await?;
            stop(&offtake, daemons).await?;
        }
        eprintln!("daemons: round {round} done");
    }
    Ok(figures)
}

fn start(offtake: &Offtake, count: usize) -> anyhow::Result<Vec<Daemon>> {
    (0..count).map(|_| offtake.start()).collect()
}

async fn stop(offtake: &Offtake, daemons: Vec<Daemon>) -> anyhow::Result<()> {
    wait_nothing_owed(offtake).await?;
    for daemon in daemons {
        daemon.stop().await?;
    }
    Ok(())
}

/// Waits until the row of every tenant has this counter, in one of the places.
async fn wait_arrived(places: &[Place], mark: i64, tenants: usize) -> anyhow::Result<()> {
    let table = "select to_regclass('public.events') is not null";
    let count = format!("select count(*) from public.events where counter = {mark}");
    let began = Instant::now();
    loop {
        let mut arrived = 0_i64;
        for Place { database, .. } in places {
            if database.one::<bool>(table).await? {
                arrived += database.one::<i64>(&count).await?;
            }
        }
        if arrived == tenants as i64 {
            return Ok(());
        }
        ensure!(began.elapsed() < VISIBLE_WITHIN, "{arrived} arrived within {VISIBLE_WITHIN:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn wait_nothing_owed(offtake: &Offtake) -> anyhow::Result<()> {
    until("nothing to be owed", async || {
        offtake.source.one("select not exists (select from offtake.outgoing_request)").await
    })
    .await
}
