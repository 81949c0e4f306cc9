//! Files are of one moment, also where the rows change while they are read in many snapshots.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use offtake_tests::{PATIENCE, World, until};
use serde_json::{Value, json};

use crate::{create, folder, unzipped};

const ACCOUNTS: &str = "
source: { table: public.account, tenant: tenant, key: { id: id } }
query: select a.tenant as tenant_id, a.id, a.amount from public.account a
target: { table: accounts }
";

/// A million rows of each tenant with `OFFTAKE_SOAK=1`.
static ROWS: LazyLock<i64> =
    LazyLock::new(|| if std::env::var_os("OFFTAKE_SOAK").is_some() { 1_000_000 } else { 30_000 });
const AMOUNT: i64 = 1000;

async fn world() -> World {
    let world = World::with_tenants(["acme", "globex"])
        .without_init()
        .mappings(&[("accounts", ACCOUNTS)])
        .setting(
            "/exports",
            json!({ "chunk_rows": *ROWS / 60, "work": "20ms", "pause": "1ms", "settle": "60s" }),
        )
        .await;
    let tables = format!(
        "create table account (tenant text, id int, amount bigint not null, primary key (tenant, id));
         insert into account select t, n, {AMOUNT} from unnest(array['{}', '{}']) t, generate_series(1, {}) n;
         analyze account",
        world.id("acme"),
        world.id("globex"),
        *ROWS
    );
    world.source.execute(&tables).await;
    world.succeed(&["init"]).await;
    world
}

/// Moves amounts between accounts of acme until `end`: in every committed state their sum is the
/// same.
async fn transfer(world: &World, seed: u64, end: &AtomicBool, made: &AtomicU64) {
    let session = world.source.connect().await;
    let acme = world.id("acme");
    let mut number = seed;
    let mut random = |below: i64| {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(number >> 33).unwrap() % below + 1
    };
    while !end.load(Ordering::Relaxed) {
        let (from, to, by) = (random(*ROWS), random(*ROWS), random(100));
        let statement = format!(
            "begin; update account set amount = amount - {by} where tenant = '{acme}' and id = {from};
             update account set amount = amount + {by} where tenant = '{acme}' and id = {to}; commit"
        );
        // Two of them may deadlock, and then nothing has moved.
        match session.batch_execute(&statement).await {
            Ok(()) => made.fetch_add(1, Ordering::Relaxed),
            Err(_) => {
                session.batch_execute("rollback").await.unwrap();
                0
            }
        };
    }
}

/// The sum of a file's column `amount`, and its rows.
fn sum(text: &str) -> (i64, i64) {
    let amounts =
        text.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse::<i64>().unwrap());
    amounts.fold((0, 0), |(sum, rows), amount| (sum + amount, rows + 1))
}

/// Without the wait for changes that are captured and not numbered, some part is older than the
/// others, and the sum is another one.
#[tokio::test]
async fn a_sum_that_never_changes_is_the_same_in_files_of_many_snapshots() {
    let world = world().await;
    let (end, made) = (AtomicBool::new(false), AtomicU64::new(0));
    for round in 0..3 {
        end.store(false, Ordering::Relaxed);
        let before = made.load(Ordering::Relaxed);
        let export = async {
            let name = format!("round-{round}");
            let told = create(&world, "csv", &name, &[]).await;
            end.store(true, Ordering::Relaxed);
            (name, told)
        };
        let transfers = async {
            tokio::join!(
                transfer(&world, 7 + round, &end, &made),
                transfer(&world, 11 + round, &end, &made)
            )
        };
        let ((name, told), _) = tokio::join!(export, transfers);
        assert!(made.load(Ordering::Relaxed) > before + 20, "nothing was moved meanwhile");
        assert_eq!(told["state"], "completed", "{told}");
        assert_eq!(told["consistency"], "settled", "{told}");
        let text = unzipped(&folder(&world, &name).join("accounts.csv.gz"));
        assert_eq!(sum(&text), (*ROWS * AMOUNT, *ROWS), "{told}");
    }
}

/// The next commands of the world follow the failpoints in the file that is returned.
fn failpoints(world: &mut World) -> PathBuf {
    let file = world.folder().join("failpoints");
    world.set_variable("OFFTAKE_FAILPOINTS_FILE", file.to_str().unwrap());
    file
}

/// Replaces the failpoints as a whole, because a command may read at any moment.
fn set(failpoints: &Path, text: &str) {
    let beside = failpoints.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, failpoints).unwrap();
}

/// Locks the table while an export waits between two parts, and lets the export go on. Waits until
/// the command has released it because of the lock.
async fn lock(world: &World, session: &tokio_postgres::Client, failpoints: &Path) {
    let parts = "select count(*) > 1 from offtake.job_chunk
                   join offtake.job using (job_id) where state <> 'completed'";
    world.source.wait_text(parts, "t").await;
    session.batch_execute("begin; lock table account in access exclusive mode").await.unwrap();
    set(failpoints, "");
    let released = "select count(*) from offtake.job
                     where state = 'paused' and leased_until is null and reason like '%lock%'";
    world.source.wait_text(released, "1").await;
}

/// A lock that a migration of the application holds for some seconds does not end the command. It
/// can be cancelled meanwhile.
#[tokio::test]
async fn a_table_that_is_locked_for_a_while_is_waited_for() {
    const HELD: &str = "export.before_chunk=2*off->pause\n";
    let mut world = world().await;
    let failpoints = failpoints(&mut world);
    set(&failpoints, HELD);
    let session = world.source.connect().await;
    let unlocked = async {
        lock(&world, &session, &failpoints).await;
        session.batch_execute("commit").await.unwrap();
    };
    let (told, ()) = tokio::join!(create(&world, "csv", "locked", &[]), unlocked);
    assert_eq!(told["state"], "completed", "{told}");
    let text = unzipped(&folder(&world, "locked").join("accounts.csv.gz"));
    assert_eq!(sum(&text), (*ROWS * AMOUNT, *ROWS), "{told}");

    set(&failpoints, HELD);
    let to = folder(&world, "cancelled");
    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to"];
    let create = [&create[..], &[to.to_str().unwrap()]].concat();
    let cancelled = async {
        lock(&world, &session, &failpoints).await;
        let id = "select public_id from offtake.job where state = 'paused'";
        let id = world.source.query_text(id).await;
        world.succeed(&["export", "cancel", &id]).await;
    };
    let (output, ()) = tokio::join!(world.offtake(&create), cancelled);
    session.batch_execute("commit").await.unwrap();
    let complained = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complained}");
    assert!(complained.contains("was cancelled"), "{complained}");
}

/// A snapshot of before a TRUNCATE reads an empty table afterwards.
#[tokio::test]
async fn a_table_that_is_truncated_meanwhile_is_read_as_of_one_moment() {
    let world = world().await;
    let again = format!(
        "begin; truncate account; insert into account select '{}', n, {AMOUNT} from generate_series(1, {}) n; commit",
        world.id("acme"),
        *ROWS
    );
    let session = world.source.connect().await;
    let end = AtomicBool::new(false);
    let export = async {
        let told = create(&world, "csv", "truncated", &[]).await;
        end.store(true, Ordering::Relaxed);
        told
    };
    let truncating = async {
        let mut times = 0;
        while times < 3 && !end.load(Ordering::Relaxed) {
            session.batch_execute(&again).await.unwrap();
            times += 1;
        }
        times
    };
    let (told, times) = tokio::join!(export, truncating);
    assert!(times > 0);
    assert_ne!(told["consistency"], Value::from("none"), "{told}");
    let text = unzipped(&folder(&world, "truncated").join("accounts.csv.gz"));
    assert_eq!(sum(&text), (*ROWS * AMOUNT, *ROWS), "{told}");
}

/// Some rows take three milliseconds each.
const SLOW: &str = "
source: { table: public.account, tenant: tenant, key: { id: id } }
query: >-
  select a.tenant as tenant_id, a.id, case when a.id > 10000 then public.slowly(a.amount) else a.amount end as amount
    from public.account a
target: { table: accounts }
";

/// The age of the oldest snapshot that an export has had open.
async fn watch_snapshots(world: &World, end: &AtomicBool) -> f64 {
    let age = "select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::float8::text
                 from pg_stat_activity
                where datname = current_database() and application_name like 'offtake%' and backend_xmin is not null";
    let mut oldest: f64 = 0.0;
    while !end.load(Ordering::Relaxed) {
        oldest = oldest.max(world.source.query_text(age).await.parse().unwrap());
    }
    oldest
}

/// One export while the table grows. Returns what is told of it, and the age of its oldest
/// snapshot.
async fn export_slow_rows(world: &World, failpoints: &Path, name: &str) -> (Value, f64) {
    world.source.execute("delete from account where id % 10 = 5").await;
    set(failpoints, "export.before_chunk=3*off->pause\n");
    let end = AtomicBool::new(false);
    let export = async {
        let told = create(world, "csv", name, &[]).await;
        end.store(true, Ordering::Relaxed);
        told
    };
    let grow = async {
        // The copy is in the slow rows, and all parts of its first snapshots are recorded.
        let slow = "select count(*) > 2 from offtake.job_chunk
                      join offtake.job using (job_id) where state <> 'completed'";
        world.source.wait_text(slow, "t").await;
        let insert = format!(
            "insert into account select tenant, id + 5, {AMOUNT} from account where id > 10000"
        );
        world.source.execute(&insert).await;
        set(failpoints, "");
    };
    let (told, oldest, ()) = tokio::join!(export, watch_snapshots(world, &end), grow);
    assert_eq!(told["state"], "completed", "{told}");
    (told, oldest)
}

/// A page that would take longer than what is left of `work` ends with it, while the rows are copied
/// and while chunks that grew are read again. It is read with fewer rows in the next snapshot.
#[tokio::test]
async fn no_snapshot_outlasts_its_time_where_rows_are_slow() {
    let mut world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("accounts", SLOW)])
        .setting(
            "/exports",
            json!({ "chunk_rows": 500, "work": "1s", "pause": "1ms", "settle": "1s" }),
        )
        .await;
    let tables = format!(
        "create table account (tenant text, id int, amount bigint not null, primary key (tenant, id));
         insert into account select '{}', n * 10, {AMOUNT} from generate_series(1, 1500) n;
         analyze account;
         create function slowly(bigint) returns bigint language plpgsql stable as
           'begin perform pg_sleep(0.003); return $1; end'",
        world.id("acme"),
    );
    world.source.execute(&tables).await;
    world.succeed(&["init"]).await;
    let failpoints = failpoints(&mut world);
    // A machine that stands still for a moment keeps any snapshot open. Without the limit every try
    // fails: a page of slow rows takes more than a second and a half.
    let mut round = 0;
    until("no snapshot outlasts its time", PATIENCE * 2, async || {
        round += 1;
        let name = format!("slow-{round}");
        let (told, oldest) = export_slow_rows(&world, &failpoints, &name).await;
        if told["consistency"] != "settled" || oldest >= 1.5 {
            return Err(format!("a snapshot of {oldest} s: {told}"));
        }
        let text = unzipped(&folder(&world, &name).join("accounts.csv.gz"));
        assert_eq!(sum(&text), (2000 * AMOUNT, 2000), "{told}");
        Ok(())
    })
    .await;
}
