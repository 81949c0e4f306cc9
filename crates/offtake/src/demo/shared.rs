//! `offtake demo --shared`: many tenants with a row each, all of them in one shared database.
//!
//! The rows are simple, because what is shown is their number: the first copies of all tenants, one
//! statement that changes a row of each, and how soon single changes are visible beside a load.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::narration::{Step, grouped, ms, say};
use super::probe::Latencies;
use super::sql::{
    CHANGE_ACCOUNT, CHANGE_ALL_ACCOUNTS, CREATE_ACCOUNTS, DIGEST_ACCOUNTS, DIGEST_COPIES,
};
use super::stage::{Stage, connect};
use crate::command_line::Demo;
use crate::outcome::Exit;

/// So many tenants, unless the command line says otherwise.
pub(super) const TENANTS: u32 = 10_000;

/// The shared database on the customers' server.
const SHARED: &str = "shared";

const MAPPING: &str = "\
source: { table: public.account, tenant: tenant_id }
query: select tenant_id, id, plan, seats from public.account
target: { table: accounts }
";

/// Any number will do. It is always the same, so that two runs can be compared.
const SEED: u64 = 7;

/// How long the copies of all tenants may take: much longer than they do, also on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);
const MORE_FOR_EACH: Duration = Duration::from_millis(5);

/// Between two looks at the copies. Each counts all rows.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Counting takes at most this part of the time, so that the demo does not measure itself.
const COUNTS_ONE_IN: u32 = 10;

/// Between two looks at a single row.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// What each server has of shared memory, as an operator would give it to one with so many tenants:
/// enough for their rows and for what Offtake keeps of each, a kilobyte.
pub(super) fn buffers(tenants: u32) -> String {
    format!("{}MB", 128 + tenants / 1000)
}

/// Creates the application with so many tenants, and the database that they share.
pub(super) async fn furnish(stage: &Stage, tenants: u32) -> anyhow::Result<()> {
    let application = stage.create_application(CREATE_ACCOUNTS).await?;
    let fill = "insert into public.account (tenant_id, id, plan, seats)
                select 'tenant-' || n, 1, 'free', 0 from generate_series(1, $1::bigint) n";
    application.execute(fill, &[&i64::from(tenants)]).await?;
    application.batch_execute("analyze").await?;
    let customers = connect(&stage.customers_url("postgres")).await?;
    customers.batch_execute(&format!("create database {SHARED}")).await?;
    stage.make_durable().await
}

/// Writes `offtake.yaml` and the mapping; returns the file's path.
pub(super) fn write_configuration(stage: &Stage, listen: SocketAddr) -> anyhow::Result<PathBuf> {
    let mappings = stage.create_folder()?;
    fs::write(mappings.join("accounts.yaml"), MAPPING)?;
    let file = stage.folder().join("offtake.yaml");
    let text = format!(
        "source: {{ url: \"{}\" }}\nmappings: mappings\ndestinations:\n  query: |\n    \
         select tenant_id, 'main' as name, '{}' as url, true as shared from public.account\n\
         http: {{ listen: \"{listen}\" }}\n\
         # The customers' machines are played by a server on this one.\n\
         security: {{ allow_destinations: [127.0.0.0/8] }}\n",
        stage.application_url(),
        stage.customers_url(SHARED)
    );
    fs::write(&file, text)?;
    Ok(file)
}

/// The application, the shared database, and how many tenants they have.
struct Place {
    application: Client,
    copies: Client,
    tenants: u32,
}

/// Waits for the first copies, changes rows, and compares all rows.
pub(super) async fn perform(
    arguments: &Demo,
    tenants: u32,
    stage: &Stage,
    address: SocketAddr,
) -> anyhow::Result<Exit> {
    let place = Place {
        application: connect(&stage.application_url()).await?,
        copies: connect(&stage.customers_url(SHARED)).await?,
        tenants,
    };
    let step = Step::begin();
    let seconds = place.wait("free").await?;
    step.done(format!("offtake run: the first copies, {}", place.rate(seconds)));
    say(format!("\nDashboard and status: http://{address}/   metrics: /metrics"));
    say(format!(
        "Look into the shared database:\n  psql '{}' -c 'select * from accounts limit 5'\n",
        stage.customers_url(SHARED)
    ));
    let step = Step::begin();
    place.application.execute(CHANGE_ALL_ACCOUNTS, &[&"pro"]).await?;
    let seconds = place.wait("pro").await?;
    step.done(format!("one statement changed a row of each, {}", place.rate(seconds)));
    let step = Step::begin();
    let latencies = place.change_some(arguments, stage).await?;
    let times = latencies.percentiles(0).map_or_else(String::new, |(p50, p99)| {
        format!(
            "visible {} (p50) and {} (p99) after their commit, over {} probes",
            ms(p50),
            ms(p99),
            latencies.count()
        )
    });
    step.done(format!("{} single changes a second at random tenants: {times}", arguments.rate));
    let step = Step::begin();
    place.wait_nothing_owed().await?;
    let expected: String = place.application.query_one(DIGEST_ACCOUNTS, &[]).await?.get(0);
    let found: String = place.copies.query_one(DIGEST_COPIES, &[]).await?.get(0);
    step.done("compared all rows of all tenants\n");
    if expected == found {
        say(format!("All {} copies equal their queries.", grouped(u64::from(tenants))));
        Ok(Exit::Done)
    } else {
        say("The copies do not equal their queries: this is a bug, please report it.");
        Ok(Exit::Different)
    }
}

impl Place {
    /// Waits until every tenant's row has that plan and nothing is owed. Returns the seconds until
    /// the rows were there.
    async fn wait(&self, plan: &str) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let table = "select to_regclass('public.accounts') is not null";
        let count = "select count(*) from public.accounts where plan = $1";
        loop {
            let look = Instant::now();
            let made: bool = self.copies.query_one(table, &[]).await?.get(0);
            let there: i64 = match made {
                true => self.copies.query_one(count, &[&plan]).await?.get(0),
                false => 0,
            };
            if there == i64::from(self.tenants) {
                break;
            }
            if begun.elapsed() > self.limit() {
                bail!("{there} of {} copies were there after {:?}", self.tenants, self.limit());
            }
            // To count a million rows takes a core and a half for a while.
            tokio::time::sleep(LOOK_EVERY.max(look.elapsed() * COUNTS_ONE_IN)).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        self.wait_nothing_owed().await?;
        Ok(seconds)
    }

    async fn wait_nothing_owed(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let settled = "select not exists (select from offtake.outgoing_request)
            and coalesce((select max(sequence_id) from offtake.change_log), 0) <= (select sequence_id from offtake.poller_position)
            and not exists (select from offtake.captured_change)";
        while !self.application.query_one(settled, &[]).await?.get::<_, bool>(0) {
            ensure!(begun.elapsed() < self.limit(), "changes were owed after {:?}", self.limit());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn limit(&self) -> Duration {
        WITHIN + MORE_FOR_EACH * self.tenants
    }

    fn rate(&self, seconds: f64) -> String {
        let rate = (f64::from(self.tenants) / seconds).round() as u64;
        format!("{} tenants a second", grouped(rate))
    }

    /// Changes rows of random tenants at the wanted rate, and measures how soon some of the changes
    /// are visible.
    async fn change_some(&self, arguments: &Demo, stage: &Stage) -> anyhow::Result<Latencies> {
        let latencies = Latencies::default();
        let stop = CancellationToken::new();
        let writing = self.write(arguments.rate, stage, &stop);
        let probing = self.probe(&latencies, &stop);
        let ending = async {
            tokio::time::sleep(arguments.for_).await;
            stop.cancel();
            Ok(())
        };
        tokio::try_join!(writing, probing, ending)?;
        Ok(latencies)
    }

    async fn write(
        &self,
        rate: u32,
        stage: &Stage,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let writer = connect(&stage.application_url()).await?;
        let change = writer.prepare(CHANGE_ACCOUNT).await?;
        let mut random = StdRng::seed_from_u64(SEED);
        let (begun, mut written) = (Instant::now(), 0_u64);
        while !stop.is_cancelled() {
            let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            while written < due && !stop.is_cancelled() {
                // The first tenant is the probe's.
                let tenant = format!("tenant-{}", random.random_range(1..=self.tenants).max(2));
                let seats: i32 = random.random_range(1..1000);
                writer.execute(&change, &[&tenant, &seats]).await?;
                written += 1;
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
        Ok(())
    }

    async fn probe(&self, latencies: &Latencies, stop: &CancellationToken) -> anyhow::Result<()> {
        let change = self.application.prepare(CHANGE_ACCOUNT).await?;
        let look = "select from public.accounts where tenant_id = $1 and id = 1 and seats = $2";
        let look = self.copies.prepare(look).await?;
        let tenant = "tenant-1";
        for seats in 1_000_001_i32.. {
            self.application.execute(&change, &[&tenant, &seats]).await?;
            let committed = Instant::now();
            while self.copies.query_opt(&look, &[&tenant, &seats]).await?.is_none() {
                if stop.is_cancelled() {
                    return Ok(());
                }
                ensure!(committed.elapsed() < WITHIN, "a change was not visible after {WITHIN:?}");
                tokio::time::sleep(PROBE_EVERY).await;
            }
            latencies.add(committed.elapsed());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
        Ok(())
    }
}
