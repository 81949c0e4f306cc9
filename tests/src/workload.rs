//! A seeded random load of writes on a small application of its own: inserts, updates, deletes,
//! re-inserts, changes and swaps of keys, moves between tenants by every kind of tenant rule,
//! parents that take their children along, truncates, rollbacks, savepoints, transactions that stay
//! open. Several writers write at once, in all tenants, with the same keys.
//!
//! ```no_run
//! # async fn example() {
//! use std::time::Duration;
//! use offtake_tests::workload::{Extent, Workload};
//! use offtake_tests::history;
//!
//! let workload = Workload::new(7); // OFFTAKE_SEED replaces it
//! let world = Workload::plan(["acme", "globex"]).await;
//! workload.prepare(&world).await; // tables, first rows, `offtake init`
//! history::install(&world).await;
//! let daemon = world.daemon().await;
//! workload.run(&world, Extent::For(Duration::from_secs(5))).await;
//! # }
//! ```
//!
//! The seed alone determines each writer's statements. With several writers, it does not determine
//! how their statements interleave.

mod mappings;
mod writes;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use offtake_mapping::literal;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::sql::{CREATE_WORKLOAD_SCHEMA, FILL_WORKLOAD};
use crate::{Daemon, PATIENCE, Plan, World, beside, database};
use mappings::MAPPINGS;
use writes::{Transaction, Writer};

/// How long a run is.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    For(Duration),
    /// Transactions per writer; the same number on every machine.
    Steps(u64),
}

/// What a run wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub committed: u64,
    pub rolled_back: u64,
    /// Transactions that a conflict of two writers, or a lost connection, ended.
    pub failed: u64,
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            committed: self.committed + other.committed,
            rolled_back: self.rolled_back + other.rolled_back,
            failed: self.failed + other.failed,
        }
    }
}

/// The writes of one seed. If the test panics, it prints how to replay them.
pub struct Workload {
    seed: u64,
    writers: u64,
}

/// A tenant that has no destination: rows move there and come back.
const ELSEWHERE: &str = "elsewhere";

/// Errors that two writers can cause each other, or that a server can cause both. An application's
/// write must never get any other error.
const CONFLICTS: [SqlState; 6] = [
    SqlState::UNIQUE_VIOLATION,
    SqlState::FOREIGN_KEY_VIOLATION,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
];

impl Workload {
    /// A workload with four writers. `OFFTAKE_SEED` replaces the seed.
    pub fn new(seed: u64) -> Self {
        let replayed = std::env::var("OFFTAKE_SEED")
            .ok()
            .map(|seed| seed.parse().expect("OFFTAKE_SEED is a number"));
        Self { seed: replayed.unwrap_or(seed), writers: 4 }
    }

    /// Changes the number of writers. With one writer every run is the same.
    pub fn writers(self, writers: u64) -> Self {
        Self { writers, ..self }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Plans a world with the workload's mappings; the test can add to the plan. The world is not
    /// ready before [`Self::prepare`].
    pub fn plan<N: Into<String>>(tenants: impl IntoIterator<Item = N>) -> Plan {
        World::with_tenants(tenants).mappings(&MAPPINGS).without_init()
    }

    /// The same for tenants that share one database; see [`World::share_one_database`].
    pub fn shared_plan<N: Into<String>>(tenants: impl IntoIterator<Item = N>) -> Plan {
        let keeping = MAPPINGS.iter().map(|(name, text)| {
            let (table, kept) = (format!("{{ table: {name} }}"), "keep_tenant: true");
            let keeping = text.replace(&table, &format!("{{ table: {name}, {kept} }}"));
            assert!(keeping.contains(kept), "{name} does not keep its tenant");
            ((*name).to_owned(), keeping)
        });
        World::with_tenants(tenants).computed_mappings(keeping).without_init()
    }

    /// Creates the tables and the first rows of every tenant, and runs `offtake init`.
    pub async fn prepare(&self, world: &World) {
        // Its TRUNCATEs may hold a table for longer than a tick waits for it.
        world.allow("lookup_locked");
        world.source.execute(CREATE_WORKLOAD_SCHEMA).await;
        let tenants: Vec<_> = self.tenants(world).iter().map(|tenant| literal(tenant)).collect();
        world.source.execute(&FILL_WORKLOAD.replace("{tenants}", &tenants.join(", "))).await;
        world.succeed(&["init"]).await;
    }

    /// Runs all writers to their end.
    pub async fn run(&self, world: &World, extent: Extent) -> Totals {
        let runs = (0..self.writers).map(|number| self.write(world, number, extent));
        join_all(runs).await.into_iter().fold(Totals::default(), std::ops::Add::add)
    }

    /// Writes while a daemon works that is killed at a failpoint, after `ready`.
    pub async fn run_until_killed(&self, world: &World, point: &str, ready: impl AsyncFn(&Daemon)) {
        let mut daemon = world.spawn_daemon_with_failpoints(&[]);
        let breaks = async {
            daemon.wait_ready().await;
            ready(&daemon).await;
            daemon.set_failpoint(point, "abort").await;
            daemon.wait_exit(PATIENCE).await;
        };
        let write = async || {
            self.run(world, Extent::Steps(10)).await;
        };
        beside(breaks, write).await;
    }

    fn tenants(&self, world: &World) -> Vec<String> {
        world
            .tenants()
            .iter()
            .map(|tenant| tenant.id.clone())
            .chain([ELSEWHERE.to_owned()])
            .collect()
    }

    async fn write(&self, world: &World, number: u64, extent: Extent) -> Totals {
        let mut writer =
            Writer::new(self.seed.wrapping_mul(1000).wrapping_add(number), self.tenants(world));
        let (began, mut totals) = (Instant::now(), Totals::default());
        let mut session: Option<Client> = None;
        for step in 0.. {
            let ended = match extent {
                Extent::For(duration) => began.elapsed() >= duration,
                Extent::Steps(steps) => step >= steps,
            };
            if ended {
                break;
            }
            let client = match session.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => connect(world).await,
            };
            let transaction = writer.transaction();
            match run(&client, &transaction).await {
                Ok(()) if transaction.commit => totals.committed += 1,
                Ok(()) => totals.rolled_back += 1,
                Err(error) if error.code().is_none_or(|code| CONFLICTS.contains(code)) => {
                    totals.failed += 1;
                    let _ = client.batch_execute("rollback").await;
                }
                Err(error) => panic!("{transaction:#?}\n  {}", database::explain(&error)),
            }
            session = Some(client);
        }
        totals
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the workload's seed was {0}; OFFTAKE_SEED={0} replays it", self.seed);
        }
    }
}

/// Waits for a source that is being restarted.
async fn connect(world: &World) -> Client {
    const SETTINGS: &str = "set application_name = 'workload'; set deadlock_timeout = '100ms'; set lock_timeout = '2s'";
    crate::until("the source takes a writer's connection", crate::PATIENCE, async || {
        let client = database::try_connect(&world.source.url()).await?;
        client.batch_execute(SETTINGS).await.map_err(|error| database::explain(&error))?;
        Ok(client)
    })
    .await
}

async fn run(client: &Client, transaction: &Transaction) -> Result<(), Error> {
    client.batch_execute("begin").await?;
    for statement in &transaction.statements {
        client.batch_execute(statement).await?;
    }
    tokio::time::sleep(Duration::from_millis(transaction.open_ms)).await;
    client.batch_execute(if transaction.commit { "commit" } else { "rollback" }).await
}
