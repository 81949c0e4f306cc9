//! `capture_forms`: what the two forms of capture cost: CPU time of the server process that writes,
//! and rows per second, without capture, captured by statement and captured by row.
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

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use offtake_private_server::{PrivateServer, sweep};

use crate::cpu::cpu_seconds;
use crate::figures::{Figures, whole};
use crate::rig::{Database, TABLE, server, tenant, until};
use crate::row::{Plan, Row};
use crate::rows::NO_CAPTURE;

pub(crate) const ROW: Row = Row {
    name: "capture_forms",
    about: "Tables are written that are captured by statement, or by row where rows come through others.",
    targets: &[],
    measure: |plan| Box::pin(measure(plan)),
};

/// The tables that the application's session writes; the first is not captured.
const WRITTEN: [&str; 3] = ["plain", "by_statement", "by_row"];

/// The tables that the apply worker writes; the first is not captured.
const APPLIED: [&str; 2] = ["received", "by_row_received"];

const CAPTURED: [&str; 3] = ["by_statement", "by_row", "by_row_received"];

const CPU: (&str, &str) = ("CPU of the writing process", "µs per row");
const RATE: (&str, &str) = ("rate", "rows/s");

/// One sample.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// CPU time of the writing process.
    microseconds_per_row: f64,
    rows_per_second: f64,
}

struct Rig {
    upstream: Database,
    source: Database,
    /// Rows that one statement changes.
    rows: u32,
    /// Transactions that change one row each.
    singles: u32,
    _servers: [PrivateServer; 2],
}

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let rig = Rig::start(plan.either(2_000, 200), plan.either(100_000, 2_000)).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        for table in WRITTEN {
            rig.settle(table).await?;
            rig.add(&mut figures, ("one", table), rig.write(table, false).await?);
            rig.settle(table).await?;
            rig.add(&mut figures, ("many", table), rig.write(table, true).await?);
        }
        for table in APPLIED {
            rig.settle(table).await?;
            write_singles(&rig.upstream, table, rig.singles).await?;
            rig.add(&mut figures, ("one", table), rig.apply(rig.singles).await?);
            rig.settle(table).await?;
            write_bulk(&rig.upstream, table).await?;
            rig.add(&mut figures, ("many", table), rig.apply(rig.rows).await?);
        }
        eprintln!("capture_forms: round {round} done");
    }
    Ok(figures)
}

impl Rig {
    async fn start(singles: u32, rows: u32) -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(sweep).await?;
        let servers = [server("logical").await?, server("replica").await?];
        let upstream = Database::create(&servers[0], "upstream").await?;
        let source = Database::create(&servers[1], "application").await?;
        for table in APPLIED {
            create(&upstream, table, rows).await?;
            source.client.batch_execute(&table_named(table)).await?;
        }
        for table in ["plain", "by_statement"] {
            create(&source, table, rows).await?;
        }
        let tree = table_named("above");
        source.client.batch_execute(&tree).await?;
        let child = "create table public.by_row (primary key (tenant_id, id)) inherits (public.above) with (fillfactor = 80)";
        source.client.batch_execute(child).await?;
        fill(&source, "by_row", rows).await?;
        let rig = Self { upstream, source, rows, singles, _servers: servers };
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
                 query: select tenant_id, id, body from public.{table}\n\
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

    async fn write(&self, table: &str, bulk: bool) -> anyhow::Result<Cost> {
        let pid = self.source.backend().await?;
        let (cpu, began) = (cpu_seconds(pid)?, Instant::now());
        let rows = if bulk {
            write_bulk(&self.source, table).await?;
            self.rows
        } else {
            write_singles(&self.source, table, self.singles).await?;
            self.singles
        };
        Ok(Cost::of(rows, cpu_seconds(pid)? - cpu, began.elapsed().as_secs_f64()))
    }

    fn add(&self, figures: &mut Figures, (work, table): (&str, &str), cost: Cost) {
        let by = match APPLIED.contains(&table) {
            true => "by the apply worker",
            false => "by the application",
        };
        let case = match work {
            "one" => format!("{} rows, one in each transaction, {by}", whole(self.singles)),
            _ => format!("{} rows in one statement, {by}", whole(self.rows)),
        };
        let side = match table {
            "by_statement" => "captured by statement",
            "by_row" | "by_row_received" => "captured by row",
            _ => NO_CAPTURE,
        };
        figures.add(&case, CPU, side, cost.microseconds_per_row);
        figures.add(&case, RATE, side, cost.rows_per_second);
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
    TABLE.replace("public.events", &format!("public.{table}"))
}

async fn create(database: &Database, table: &str, rows: u32) -> anyhow::Result<()> {
    database.client.batch_execute(&table_named(table)).await?;
    fill(database, table, rows).await
}

async fn fill(database: &Database, table: &str, rows: u32) -> anyhow::Result<()> {
    let insert = format!(
        "insert into public.{table} (tenant_id, id, body)
         select '{}', n, left(repeat(md5(n::text), 7), 220) from generate_series(1, {rows}) n;
         analyze public.{table}",
        tenant(1)
    );
    Ok(database.client.batch_execute(&insert).await?)
}

/// Changes so many rows, each in a transaction of its own.
async fn write_singles(database: &Database, table: &str, rows: u32) -> anyhow::Result<()> {
    let update = format!(
        "update public.{table} set counter = counter + 1 where tenant_id = '{}' and id = $1",
        tenant(1)
    );
    let update = database.client.prepare(&update).await?;
    for n in 1..=i64::from(rows) {
        ensure!(database.client.execute(&update, &[&n]).await? == 1, "there is no row {n}");
    }
    Ok(())
}

/// Changes every row by one statement.
async fn write_bulk(database: &Database, table: &str) -> anyhow::Result<()> {
    let update = format!("update public.{table} set counter = counter + 1");
    Ok(database.client.batch_execute(&update).await?)
}
