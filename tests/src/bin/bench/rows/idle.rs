//! `idle`: what a daemon costs while nothing changes.

use std::time::Duration;

use crate::cpu::{Group, Meter};
use crate::daemon::Offtake;
use crate::figures::Figures;
use crate::rig::{Database, Servers};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::OFFTAKE;

pub(crate) const ROW: Row = Row {
    name: "idle",
    about: "Three tenants, everything applied, no changes.",
    targets: &[target(CPU.0, 1.0), target(TRANSACTIONS.0, 60.0)],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(measure: &'static str, most: f64) -> Target {
    Target { case: "", measure, side: OFFTAKE, beside: None, limit: Limit::AtMost(most) }
}

const CPU: (&str, &str) = ("daemon", "% of a core");
const AT_SOURCE: (&str, &str) = ("its sessions at the source", "% of a core");
const AT_DESTINATION: (&str, &str) = ("its sessions at the destination", "% of a core");
const TRANSACTIONS: (&str, &str) = ("transactions at the source", "per second");
const RESIDENT: (&str, &str) = ("memory of the daemon", "MiB");

/// After its start the daemon looks at everything once. That time is not measured.
const SETTLE: Duration = Duration::from_secs(5);

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let servers = Servers::start().await?;
    let rows = plan.either(100_000, 2_000);
    let offtake = Offtake::with_copies(&servers, &[rows, 1_000, 1_000]).await?;
    let seconds = plan.either(20, 3);
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        let daemon = offtake.start()?;
        offtake.wait_until_equal().await?;
        tokio::time::sleep(SETTLE).await;
        let source = &offtake.source;
        let before = transactions(source).await?;
        let meter = Meter::new(
            &source.client,
            Some(&offtake.copies[0].database.client),
            Some(daemon.pid()),
        );
        let window = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(())
        };
        let ((), spent) = meter.during(window).await?;
        let share = |group| spent.seconds(group) / spent.elapsed * 100.0;
        figures.add("", CPU, OFFTAKE, share(Group::Program));
        figures.add("", AT_SOURCE, OFFTAKE, share(Group::Source));
        figures.add("", AT_DESTINATION, OFFTAKE, share(Group::Destination));
        // Those of the meter, which lists the sessions twice a second, are not the daemon's.
        let of_meter = f64::from(spent.lists) / spent.elapsed;
        let rate = (transactions(source).await? - before) / spent.elapsed - of_meter;
        figures.add("", TRANSACTIONS, OFFTAKE, rate);
        figures.add("", RESIDENT, OFFTAKE, daemon.resident_mib()?);
        daemon.stop().await?;
        eprintln!("idle: round {round} done");
    }
    Ok(figures)
}

/// Sessions report their transactions at most once a second, so the number lags by about a second.
async fn transactions(source: &Database) -> anyhow::Result<f64> {
    source
        .one("select (xact_commit + xact_rollback)::float8 from pg_stat_database where datname = current_database()")
        .await
}
