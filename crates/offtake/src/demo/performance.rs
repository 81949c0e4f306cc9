//! The demo, step by step.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use offtake_admin::Destination;
use offtake_mapping::MappingSet;
use offtake_postgres::{catalog, chain, migrate};
use offtake_private_server::sweep;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::load::{Load, Totals};
use super::narration::{self, Flow, Step, grouped, ms, say};
use super::probe::{Latencies, Probe};
use super::proof::{Verdict, prove};
use super::shared;
use super::sql::SELECT_LAST_SEQUENCE_ID;
use super::stage::{Stage, connect};
use crate::command_line::{Demo, DemoDestination};
use crate::context::Context;
use crate::daemon::{Daemon, Options};
use crate::outcome::{Exit, Failure};

/// So many tenants, unless the command line says otherwise.
const TENANTS: u32 = 3;
/// Each has a database, which takes some 8 MB of disk and a connection.
const OWN_DATABASES_MAX: u32 = 100;
/// Enough rows for the initial copy to be seen, and few enough for it to take no time.
const USERS_PER_TENANT: i32 = 500;
/// Any number will do. It is always the same, so that two runs of the demo can be compared.
const SEED: u64 = 7;
/// How long the demo waits until all copies are in sync. It takes tenths of a second, and longer on
/// a busy machine.
pub(super) const IN_STEP_WITHIN: Duration = Duration::from_secs(120);
/// How long the daemon may take to end. What is in flight takes milliseconds, and a person at a
/// terminal would not wait longer.
const DRAINED_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at the copies. Each is a query over the whole registry, and the daemon needs
/// the machine for itself.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs the whole demo, or the part of it until `interrupted`.
pub(super) async fn run(
    arguments: &Demo,
    interrupted: impl Future<Output = ()>,
) -> Result<Exit, Failure> {
    let mut interrupted = std::pin::pin!(interrupted);
    let tenants = tenants(arguments)?;
    let customers = match tenants {
        1 => "one customer".to_owned(),
        more => format!("{} customers", grouped(u64::from(more))),
    };
    let databases = match arguments.shared {
        true => "one database elsewhere for all of them",
        false if arguments.destination == DemoDestination::Sqlite => {
            "a SQLite file for each of them"
        }
        false => "a database elsewhere for each of them",
    };
    say(format!("A SaaS with {customers} in one Postgres, and {databases}.\n"));
    // Before the daemon runs, it is enough to drop what there is: the servers' destructors clean
    // up.
    let (stage, file, mappings) = tokio::select! {
        prepared = prepare(arguments, tenants) => prepared?,
        () = &mut interrupted => return Ok(farewell()),
    };
    let daemon = Daemon::start(Context::load(&file)?, Options::default()).await?;
    let performance = async {
        match arguments.shared {
            true => shared::perform(arguments, tenants, &stage, daemon.address).await,
            false => perform(arguments, &stage, &daemon, &mappings).await,
        }
    };
    let outcome = tokio::select! {
        outcome = performance => {
            outcome.map_err(|error| failed("the demo failed", &error))
        }
        () = daemon.ended() => {
            Err(Failure::new(Exit::Failed, "the daemon ended before the demo did"))
        }
        () = &mut interrupted => Ok(farewell()),
    };
    // End the daemon first. It would report the loss of its servers.
    daemon.stop();
    let ended = tokio::time::timeout(DRAINED_WITHIN, daemon.wait()).await;
    let folders = stage.folders();
    stage.stop().await;
    let left: Vec<_> = folders.iter().filter(|folder| folder.exists()).collect();
    if !left.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("{left:?} could not be removed")));
    }
    let exit = outcome?;
    ended.unwrap_or_else(|_| {
        Err(Failure::new(Exit::Failed, format!("the daemon did not end within {DRAINED_WITHIN:?}")))
    })?;
    Ok(exit)
}

fn farewell() -> Exit {
    say("\ninterrupted: stopping the servers and removing their folders");
    Exit::Interrupted
}

/// Prepares everything that the daemon needs: servers, application, configuration and triggers.
async fn prepare(
    arguments: &Demo,
    tenants: u32,
) -> Result<(Stage, PathBuf, Arc<MappingSet>), Failure> {
    let swept = tokio::task::spawn_blocking(sweep).await.unwrap_or_default();
    if swept > 0 {
        say(format!("  (removed {swept} servers that an earlier demo or test left behind)"));
    }
    let stage = set_the_stage(arguments, tenants)
        .await
        .map_err(|error| failed("cannot prepare the demo", &error))?;
    let listen = free_address(arguments.listen);
    let written = match arguments.shared {
        true => shared::write_configuration(&stage, listen),
        false => stage.write_configuration(listen),
    };
    let file = written.map_err(|error| failed("cannot write the configuration", &error))?;
    let mappings = initialise(&file).await?;
    Ok((stage, file, mappings))
}

/// How many tenants the demo has.
fn tenants(arguments: &Demo) -> Result<u32, Failure> {
    match (arguments.tenants, arguments.shared) {
        (None, false) => Ok(TENANTS),
        (None, true) => Ok(shared::TENANTS),
        (Some(tenants), false) if tenants > OWN_DATABASES_MAX => {
            let message = format!(
                "{tenants} tenants with a database each are more than the demo makes, which is \
                 {OWN_DATABASES_MAX}"
            );
            Err(Failure::new(Exit::Usage, message).remedy("add --shared: one database for all"))
        }
        (Some(tenants), _) => Ok(tenants),
    }
}

async fn set_the_stage(arguments: &Demo, tenants: u32) -> anyhow::Result<Stage> {
    let step = Step::begin();
    let files = arguments.destination == DemoDestination::Sqlite;
    let buffers = arguments.shared.then(|| shared::buffers(tenants));
    let mut stage = Stage::start(files, buffers.as_deref()).await?;
    step.done(match files {
        true => "started a PostgreSQL server for the application; the customers have files",
        false => {
            "started two PostgreSQL servers: one for the application, \
             one that plays the customers' machines"
        }
    });
    let step = Step::begin();
    if arguments.shared {
        shared::furnish(&stage, tenants).await?;
        step.done("created the application, a row of each customer, and an empty database for all");
        return Ok(stage);
    }
    stage.furnish(tenants, USERS_PER_TENANT).await?;
    let names: Vec<_> = stage.tenants.iter().map(|tenant| tenant.name.as_str()).take(6).collect();
    let more = if stage.tenants.len() > names.len() { ", …" } else { "" };
    step.done(format!(
        "created the application, {USERS_PER_TENANT} users for each of {}{more}, \
         and their empty {}",
        names.join(", "),
        if files { "folder" } else { "databases" }
    ));
    Ok(stage)
}

/// The wanted address, or one with a port of the kernel's choice where another program has the
/// wanted port.
fn free_address(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            SocketAddr::new(wanted.ip(), 0)
        }
        // The daemon explains any other obstacle when it binds the address.
        _ => wanted,
    }
}

/// Does what `offtake init` does.
async fn initialise(file: &Path) -> Result<Arc<MappingSet>, Failure> {
    let step = Step::begin();
    let context = Context::load(file)?;
    let definitions = context.mappings()?;
    let mut source = context.connect_source("demo").await?;
    migrate(&mut source).await.map_err(|error| Failure::of_source("cannot migrate", &error))?;
    let set = catalog::resolve(&source, definitions).await?;
    let report =
        offtake_capture::install(&mut source, &set, &offtake_capture::Options::default()).await?;
    let tables = report.installed.len();
    step.done(format!(
        "offtake init: its own schema, and triggers on {tables} tables for {} mappings",
        set.mappings().len()
    ));
    Ok(Arc::new(set))
}

/// Waits for the initial copy, runs the load, and compares all copies with their queries.
async fn perform(
    arguments: &Demo,
    stage: &Stage,
    daemon: &Daemon,
    mappings: &Arc<MappingSet>,
) -> anyhow::Result<Exit> {
    let step = Step::begin();
    let observer = daemon.pool.get().await?;
    let copied = wait_in_step(&observer, stage, mappings).await?;
    step.done(format!(
        "offtake run: copied {} rows, and every copy is in step; the load begins",
        grouped(copied)
    ));
    say(format!("\nDashboard and status: http://{}/   metrics: /metrics", daemon.address));
    say(narration::places(stage));
    say(format!(
        "\nFor {} the application writes {} times a second: inserts, updates, deletes that cascade, \
         new keys, rows that move\n\
         to another tenant, bulk statements, transactions that are rolled back.\n",
        crate::configuration::show_duration(arguments.for_),
        arguments.rate
    ));
    let latencies = Latencies::default();
    let totals = write_and_watch(arguments, stage, &observer, &latencies).await?;
    let step = Step::begin();
    wait_in_step(&observer, stage, mappings).await?;
    say("");
    step.done(format!(
        "stopped after {} writes, and waited until nothing was owed",
        grouped(totals.writes)
    ));
    let step = Step::begin();
    let verdicts = prove(stage, mappings).await?;
    step.done("compared every row of every copy with its query, both ways\n");
    say(narration::verdicts(&verdicts));
    let told = compare_receiver(stage, mappings).await?;
    let (copies, equal) = verdicts
        .iter()
        .flat_map(|v| &v.reports)
        .fold((0, 0), |(all, equal), r| (all + 1, equal + usize::from(r.equal())));
    if let Some((p50, p99)) = latencies.percentiles(0) {
        let count = latencies.count();
        say(format!(
            "\nA change was visible in its copy {} (p50) and {} (p99) after its commit, \
             over {count} probes.",
            ms(p50),
            ms(p99)
        ));
    }
    if verdicts.iter().all(Verdict::equal) {
        say(format!("All {copies} copies equal their queries."));
        Ok(if told { Exit::Done } else { Exit::Different })
    } else {
        say(format!(
            "{equal} of {copies} copies equal their queries: this is a bug, \
             please report it with the lines above."
        ));
        Ok(Exit::Different)
    }
}

/// Whether the first tenant's receiver knows what the query says.
async fn compare_receiver(stage: &Stage, mappings: &MappingSet) -> anyhow::Result<bool> {
    let (Some(receiver), Some(tenant)) = (&stage.receiver, stage.tenants.first()) else {
        return Ok(true);
    };
    let source = connect(&stage.application_url()).await?;
    let picture = receiver.compare(&source, mappings, &tenant.id).await?;
    say(narration::picture(tenant, &picture));
    Ok(picture.equal && picture.unverified == 0)
}

/// Runs the load and the probe at the same time, and prints a line about them now and then.
async fn write_and_watch(
    arguments: &Demo,
    stage: &Stage,
    observer: &Client,
    latencies: &Latencies,
) -> anyhow::Result<Totals> {
    let probe = Probe::new(stage, latencies.clone()).await?;
    let mut load = Load::new(connect(&stage.application_url()).await?, SEED).await?;
    let stop = CancellationToken::new();
    let writes = AtomicU64::new(0);
    let rate = arguments.rate;
    let writing = async {
        load.run(rate, &stop, |totals| writes.store(totals.writes, Ordering::Relaxed))
            .await
            .context("the load failed")
    };
    let probing = async { probe.run(stop.clone()).await.context("the probe failed") };
    let watching = async {
        let until = Instant::now() + arguments.for_;
        let mut flow = Flow::begin(&stage.tenants, last_sequence_id(observer).await?);
        while Instant::now() < until {
            tokio::time::sleep(narration::interval().min(until - Instant::now())).await;
            let destinations =
                offtake_admin::destinations(observer, None, None).await.map_err(admin_error)?;
            flow.line(
                writes.load(Ordering::Relaxed),
                last_sequence_id(observer).await?,
                latencies,
                &destinations,
            );
        }
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(writing, probing, watching)?;
    Ok(load.totals())
}

async fn last_sequence_id(observer: &Client) -> anyhow::Result<i64> {
    Ok(observer.query_one(SELECT_LAST_SEQUENCE_ID, &[]).await?.get(0))
}

/// Waits until every tenant's copies are in sync. Returns the number of rows of the initial copies.
async fn wait_in_step(
    observer: &Client,
    stage: &Stage,
    mappings: &MappingSet,
) -> anyhow::Result<u64> {
    let begun = Instant::now();
    loop {
        let destinations =
            offtake_admin::destinations(observer, None, None).await.map_err(admin_error)?;
        let complete = |d: &Destination| {
            d.state == offtake_admin::State::InSync && d.mappings.len() == mappings.mappings().len()
        };
        if destinations.len() == stage.tenants.len() && destinations.iter().all(complete) {
            let copied =
                destinations.iter().flat_map(|d| &d.mappings).map(|m| m.backfill.rows_done.0);
            return Ok(copied.sum::<i64>().unsigned_abs());
        }
        if begun.elapsed() > IN_STEP_WITHIN {
            let states = destinations.iter().map(|d| {
                format!(
                    "{} {}: {}",
                    d.tenant,
                    d.state.as_str(),
                    d.reason.as_deref().unwrap_or("no reason")
                )
            });
            bail!(
                "the copies were not in step within {IN_STEP_WITHIN:?}: {}",
                states.collect::<Vec<_>>().join("; ")
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn admin_error(error: offtake_admin::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", chain(&error))
}

fn failed(what: &str, error: &anyhow::Error) -> Failure {
    // `chain` leaves out DETAIL of a server's message, which would quote rows.
    Failure::new(Exit::Failed, what).because(chain(error.as_ref()))
}
