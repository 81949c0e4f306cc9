//! What capture costs: CPU time of the server process that writes, and rows per second, without
//! capture, captured by statement and captured by row.
//!
//! Tables are captured by row where statement-level triggers see only a part of what is written:
//! tables of a subscription, and tables in a tree. So there are two writers. The application's
//! session writes a table that is not captured, one that is captured by statement, and one that is
//! captured by row because it inherits from another. The apply worker of a subscription writes a
//! table that is not captured, and one that is.
//!
//! No daemon runs. The work is all Postgres's, so the build of Offtake does not matter. The samples
//! of the variants are interleaved. VACUUM and CHECKPOINT run before every sample, and what was
//! captured is removed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use offtake_private_server::{PrivateServer, sweep};

use crate::idle::cpu_seconds;
use crate::report::{Machine, percentile};
use crate::rig::{Database, SETTINGS, TABLE, TENANTS, database, server, until};

/// How much is written in one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Transactions that change one row each.
    pub(crate) singles: u32,
    /// Rows that one statement changes.
    pub(crate) bulk: u32,
    pub(crate) rounds: usize,
}

pub(crate) const FULL: Extent = Extent { singles: 2_000, bulk: 100_000, rounds: 3 };
pub(crate) const QUICK: Extent = Extent { singles: 200, bulk: 2_000, rounds: 1 };

/// The tables that the application's session writes; the first is not captured.
const WRITTEN: [&str; 3] = ["plain", "by_statement", "by_row"];

/// The tables that the apply worker writes; the first is not captured.
const APPLIED: [&str; 2] = ["received", "by_row_received"];

const CAPTURED: [&str; 3] = ["by_statement", "by_row", "by_row_received"];

/// One sample.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// CPU time of the writing process.
    microseconds_per_row: f64,
    rows_per_second: f64,
}

/// The samples by the work and the table.
type Costs = BTreeMap<(&'static str, &'static str), Vec<Cost>>;

struct Rig {
    upstream: Database,
    source: Database,
    rows: u32,
    _servers: [PrivateServer; 2],
}

pub(crate) async fn run(extent: Extent) -> anyhow::Result<()> {
    let rig = Rig::start(extent).await?;
    let mut costs = Costs::new();
    for round in 1..=extent.rounds {
        for table in WRITTEN {
            rig.settle(table).await?;
            costs
                .entry(("one", table))
                .or_default()
                .push(rig.singles(table, extent.singles).await?);
            rig.settle(table).await?;
            costs.entry(("bulk", table)).or_default().push(rig.bulk(table).await?);
        }
        for table in APPLIED {
            rig.settle(table).await?;
            write_singles(&rig.upstream, table, extent.singles).await?;
            costs.entry(("one", table)).or_default().push(rig.apply(extent.singles).await?);
            rig.settle(table).await?;
            write_bulk(&rig.upstream, table).await?;
            costs.entry(("bulk", table)).or_default().push(rig.apply(rig.rows).await?);
        }
        eprintln!("round {round} done");
    }
    println!("{}", markdown(extent, &costs, &rig).await?);
    Ok(())
}

impl Rig {
    async fn start(extent: Extent) -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(sweep).await?;
        let servers = [server("logical").await?, server("replica").await?];
        let upstream = database(&servers[0], "upstream").await?;
        let source = database(&servers[1], "application").await?;
        let rows = extent.bulk.max(extent.singles);
        for table in APPLIED {
            create(&upstream, table, rows).await?;
            source.client.batch_execute(&table_named(table)).await?;
        }
        for table in ["plain", "by_statement"] {
            create(&source, table, rows).await?;
        }
        let tree = TABLE.replace("public.account", "public.above");
        source.client.batch_execute(&tree).await?;
        let child = "create table public.by_row (primary key (tenant_id, id)) inherits (public.above) with (fillfactor = 90)";
        source.client.batch_execute(child).await?;
        fill(&source, "by_row", rows).await?;
        let rig = Self { upstream, source, rows, _servers: servers };
        rig.subscribe().await?;
        rig.install()?;
        rig.assert_captured_as_named().await?;
        Ok(rig)
    }

    async fn subscribe(&self) -> anyhow::Result<()> {
        let publish = "create publication bench for table public.received, public.by_row_received";
        self.upstream.client.batch_execute(publish).await?;
        let subscribe = format!(
            "create subscription bench connection '{}' publication bench",
            self.upstream.url
        );
        self.source.client.batch_execute(&subscribe).await.context("cannot subscribe")?;
        until("the subscription's first copies", async || {
            let left = "select count(*) filter (where srsubstate <> 'r') = 0 and count(*) = 2 from pg_subscription_rel";
            Ok(self.source.client.query_one(left, &[]).await?.get(0))
        })
        .await?;
        self.stop_worker().await
    }

    /// Runs `offtake init`, which decides how each table is captured.
    fn install(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let mappings = folder.path().join("mappings");
        std::fs::create_dir(&mappings)?;
        for table in CAPTURED {
            let mapping = format!(
                "source: {{ table: public.{table}, tenant: tenant_id, key: {{ id: id }} }}\n\
                 query: select tenant_id, id, display_name from public.{table}\n\
                 target: {{ table: {table} }}\n"
            );
            std::fs::write(mappings.join(table).with_extension("yaml"), mapping)?;
        }
        let file = folder.path().join("offtake.yaml");
        std::fs::write(&file, format!("source: {{ url: \"{}\" }}\n", self.source.url))?;
        init(&file)
    }

    /// The figures would mean nothing if a table were captured in another way than its name says.
    async fn assert_captured_as_named(&self) -> anyhow::Result<()> {
        let query = "select coalesce(bool_or(tgtype & 1 = 1), false), count(*) from pg_trigger
                      where tgrelid = ('public.' || $1::text)::regclass and not tgisinternal and tgtype & 32 = 0";
        for table in WRITTEN.into_iter().chain(APPLIED) {
            let row = self.source.client.query_one(query, &[&table]).await?;
            let (by_row, triggers): (bool, i64) = (row.get(0), row.get(1));
            let as_named = CAPTURED.contains(&table) == (triggers > 0)
                && by_row == table.starts_with("by_row");
            ensure!(as_named, "{table} has {triggers} triggers, by row: {by_row}");
        }
        Ok(())
    }

    async fn settle(&self, table: &str) -> anyhow::Result<()> {
        let source = &self.source.client;
        source.batch_execute("truncate offtake.captured_change").await?;
        source.batch_execute(&format!("vacuum public.{table}")).await?;
        source.batch_execute("checkpoint").await?;
        Ok(self.upstream.client.batch_execute("checkpoint").await?)
    }

    async fn singles(&self, table: &str, singles: u32) -> anyhow::Result<Cost> {
        let pid = backend(&self.source).await?;
        let (cpu, began) = (cpu_seconds(pid)?, Instant::now());
        write_singles(&self.source, table, singles).await?;
        Ok(Cost::of(singles, cpu_seconds(pid)? - cpu, began.elapsed().as_secs_f64()))
    }

    async fn bulk(&self, table: &str) -> anyhow::Result<Cost> {
        let pid = backend(&self.source).await?;
        let (cpu, began) = (cpu_seconds(pid)?, Instant::now());
        write_bulk(&self.source, table).await?;
        Ok(Cost::of(self.rows, cpu_seconds(pid)? - cpu, began.elapsed().as_secs_f64()))
    }

    /// Applies what was written upstream. The worker is a new process, so all of its CPU time
    /// counts.
    async fn apply(&self, rows: u32) -> anyhow::Result<Cost> {
        let position = "select pg_current_wal_insert_lsn()::text";
        let position: String = self.upstream.client.query_one(position, &[]).await?.get(0);
        let began = Instant::now();
        self.source.client.batch_execute("alter subscription bench enable").await?;
        until("the worker to apply everything", async || {
            let applied = "select exists (select from pg_replication_slots
                where slot_name = 'bench' and active and confirmed_flush_lsn >= $1::text::pg_lsn)";
            Ok(self.upstream.client.query_one(applied, &[&position]).await?.get(0))
        })
        .await?;
        let seconds = began.elapsed().as_secs_f64();
        let worker =
            "select pid from pg_stat_subscription where subname = 'bench' and relid is null";
        let pid: i32 = self.source.client.query_one(worker, &[]).await?.get(0);
        let cost = Cost::of(rows, cpu_seconds(pid.unsigned_abs())?, seconds);
        self.stop_worker().await?;
        Ok(cost)
    }

    async fn stop_worker(&self) -> anyhow::Result<()> {
        self.source.client.batch_execute("alter subscription bench disable").await?;
        until("the subscription's worker to end", async || {
            let query = "select not exists (select from pg_replication_slots where slot_name = 'bench' and active)";
            Ok(self.upstream.client.query_one(query, &[]).await?.get(0))
        })
        .await
    }
}

impl Cost {
    fn of(rows: u32, cpu_seconds: f64, seconds: f64) -> Self {
        let rows = f64::from(rows);
        Self { microseconds_per_row: cpu_seconds * 1e6 / rows, rows_per_second: rows / seconds }
    }
}

fn init(configuration: &Path) -> anyhow::Result<()> {
    let binary = std::env::current_exe()?.with_file_name("offtake");
    ensure!(binary.exists(), "{} is not built; `make bench` builds it", binary.display());
    let output = Command::new(binary).arg("--config").arg(configuration).arg("init").output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "offtake init failed: {told}");
    Ok(())
}

fn table_named(table: &str) -> String {
    TABLE.replace("public.account", &format!("public.{table}"))
}

async fn create(database: &Database, table: &str, rows: u32) -> anyhow::Result<()> {
    database.client.batch_execute(&table_named(table)).await?;
    fill(database, table, rows).await
}

async fn fill(database: &Database, table: &str, rows: u32) -> anyhow::Result<()> {
    let insert = format!(
        "insert into public.{table} (tenant_id, id, display_name, email, metadata)
         select '{}', md5(n::text)::uuid, 'Person ' || n, 'person.' || n || '@example.org',
                jsonb_build_object('plan', 'team', 'note', repeat(md5(n::text), 3))
           from generate_series(1, {rows}) n; analyze public.{table}",
        TENANTS[0]
    );
    Ok(database.client.batch_execute(&insert).await?)
}

/// Changes so many rows, each in a transaction of its own.
async fn write_singles(database: &Database, table: &str, rows: u32) -> anyhow::Result<()> {
    let update = format!(
        "update public.{table} set updated_at = clock_timestamp()
          where tenant_id = '{}' and id = md5($1::integer::text)::uuid",
        TENANTS[0]
    );
    let update = database.client.prepare(&update).await?;
    for n in 1..=i32::try_from(rows)? {
        ensure!(database.client.execute(&update, &[&n]).await? == 1, "there is no row {n}");
    }
    Ok(())
}

/// Changes every row by one statement.
async fn write_bulk(database: &Database, table: &str) -> anyhow::Result<()> {
    let update = format!("update public.{table} set updated_at = clock_timestamp()");
    Ok(database.client.batch_execute(&update).await?)
}

/// The server process of the connection.
async fn backend(database: &Database) -> anyhow::Result<u32> {
    let pid: i32 = database.client.query_one("select pg_backend_pid()", &[]).await?.get(0);
    Ok(pid.unsigned_abs())
}

/// The figures as a table. Each cell: the median of the CPU time per row, beside the one without
/// capture, and the median of the rows per second.
async fn markdown(extent: Extent, costs: &Costs, rig: &Rig) -> anyhow::Result<String> {
    let row = rig.source.client.query_one("select current_setting('server_version')", &[]).await?;
    let version: String = row.get(0);
    let median = |work, table, figure: fn(&Cost) -> f64| {
        let samples = costs.get(&(work, table)).map(Vec::as_slice).unwrap_or_default();
        percentile(&samples.iter().map(figure).collect::<Vec<_>>(), 50.0)
    };
    let cell = |work, table, plain| {
        let cpu = |table| median(work, table, |cost| cost.microseconds_per_row);
        let rate = median(work, table, |cost| cost.rows_per_second);
        let more = if table == plain {
            String::new()
        } else {
            format!(", {:.2} times as much", cpu(table) / cpu(plain))
        };
        format!("{:.1} µs{more}; {rate:.0} rows/s", cpu(table))
    };
    let works =
        [("one", extent.singles, "of one row each"), ("bulk", rig.rows, "in one statement")];
    let mut text = "| work | no capture | by statement | by row |\n|---|---|---|---|\n".to_owned();
    for (work, rows, how) in works {
        let [plain, by_statement, by_row] = WRITTEN.map(|table| cell(work, table, "plain"));
        text += &format!(
            "| {rows} rows, {how}, by the application | {plain} | {by_statement} | {by_row} |\n"
        );
    }
    for (work, rows, how) in works {
        let [plain, by_row] = APPLIED.map(|table| cell(work, table, "received"));
        text += &format!(
            "| {rows} rows, {how}, by the apply worker | {plain} | none fires | {by_row} |\n"
        );
    }
    let settings: Vec<_> =
        SETTINGS.iter().map(|(name, value)| format!("`{name} = {value}`")).collect();
    Ok(format!(
        "{text}\nMedians of {} rounds, PostgreSQL {version}, {}; {}.",
        extent.rounds,
        Machine::describe()?.line(),
        settings.join(", ")
    ))
}
