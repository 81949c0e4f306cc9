//! `beside_copies`: a small tenant of a shared database changes while three large ones are copied
//! there. How long until its changes are visible?

use std::time::Instant;

use anyhow::{Context, ensure};

use super::latency::{P50, P99, Probe};
use crate::daemon::Offtake;
use crate::figures::{Figures, percentile};
use crate::rig::{Database, Servers, tenant, until};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "beside_copies",
    about: "Four tenants share one database. While three of them, with 1 000 000 rows each, are \
            copied for the first time, rows of the fourth change one by one: from the reply to \
            COMMIT until a reader of the copy sees the change.",
    targets: &[Target {
        case: "",
        measure: P99.0,
        side: OFFTAKE,
        beside: None,
        limit: Limit::AtMost(250.0),
    }],
    measure: |plan| Box::pin(measure(plan)),
};

const SAMPLES: (&str, &str) = ("changes that were sampled", "changes");
const RATE: (&str, &str) = ("first copies: rate", "rows/s");

/// Rows of the small tenant.
const ROWS: u32 = 300;

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let large: u32 = plan.either(1_000_000, 20_000);
    let servers = Servers::start().await?;
    let rows = [ROWS, large, large, large];
    let offtake = Offtake::prepare(&servers.source, "application", &rows).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        let place = Database::create(&servers.destination, &format!("place_{round}")).await?;
        let destinations = |condition: &str| {
            format!(
                "destinations:\n  query: \"select tenant_id::text, 'main{round}' as name, '{}' as \
                 url, true as shared from (select distinct tenant_id from public.events) t{condition}\"\n",
                place.url
            )
        };
        offtake.configure(&destinations(&format!(" where tenant_id = '{}'", tenant(1))))?;
        let daemon = offtake.start()?;
        wait_backfilled(&offtake, &format!("'main{round}'"), 1).await?;
        daemon.stop().await?;
        offtake.source.settle().await?;

        offtake.configure(&destinations(""))?;
        let daemon = offtake.start()?;
        let begun = until("the large copies to begin", async || {
            let rows = "select coalesce(sum(rows_done), 0) > 0 from offtake.destination_mapping \
                        where not backfilled";
            offtake.source.one(rows).await
        });
        begun.await.with_context(|| offtake.last_lines())?;
        let began = Instant::now();
        let condition = "tenant_id = $3::text::uuid and ";
        let probe = Probe::new(&offtake.source, std::iter::once(&place), condition, ROWS).await?;
        let copying = async || {
            let owed =
                "select exists (select from offtake.destination_mapping where not backfilled)";
            offtake.source.one::<bool>(owed).await
        };
        let milliseconds = probe.alone_while(copying, 20..80).await?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(!milliseconds.is_empty(), "the copies were complete before a change was seen");
        wait_backfilled(&offtake, &format!("'main{round}'"), 4).await?;
        figures.add("", P50, OFFTAKE, percentile(&milliseconds, 50.0));
        figures.add("", P99, OFFTAKE, percentile(&milliseconds, 99.0));
        figures.add("", SAMPLES, OFFTAKE, milliseconds.len() as f64);
        figures.add("", RATE, OFFTAKE, f64::from(large * 3) / seconds);
        daemon.stop().await?;
        eprintln!("beside_copies: round {round} done");
    }
    Ok(figures)
}

async fn wait_backfilled(offtake: &Offtake, name: &str, tenants: u32) -> anyhow::Result<()> {
    let done = format!(
        "select count(*) = {tenants} from offtake.destination_mapping m \
         join offtake.destination d using (destination_id) where d.name = {name} and m.backfilled"
    );
    let done = until("the copies to be complete", async || offtake.source.one(&done).await);
    done.await.with_context(|| offtake.last_lines())?;
    until("nothing to be owed", async || {
        offtake.source.one("select not exists (select from offtake.outgoing_request)").await
    })
    .await
}
