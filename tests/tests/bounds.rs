//! Invariant 9: a daemon's memory and the number of its connections have bounds that do not depend
//! on how much there is to copy.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offtake_tests::proxy::Mode;
use offtake_tests::{Daemon, Database, PATIENCE, Plan, World, oracle, until};
use serde_json::json;

const DOCUMENTS: &str = "
source: { table: public.document, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.document
target: { table: documents }
";

const LETTERS: &str = "
source: { table: public.document, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.document
target: { table: letters }
";

const TABLE: &str =
    "create table document (tenant text, id integer, body text, primary key (tenant, id))";

const MIB: u64 = 1024 * 1024;
const BATCH_MIB: u64 = 1;
const DESTINATIONS: u64 = 30;
/// `sync.workers` of the test, plus the spare and the probing connections
/// (crates/offtake/src/run.rs).
const SOURCE_MAX: usize = 4 + 10 + 3;
/// The memory of an idle daemon of a debug build, with some room for data between sockets.
const IDLE_MIB: u64 = 90;

fn plan(names: &[String]) -> Plan {
    World::with_tenants(names.iter().cloned()).mappings(&[("documents", DOCUMENTS)]).without_init()
}

async fn prepare(world: &World) {
    world.source.execute(TABLE).await;
    init(world).await;
}

async fn init(world: &World) {
    let init = world.offtake(&["init"]).await;
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
}

/// Inserts `rows` rows of 128 KiB each.
async fn fill_wide(world: &World, rows: u32) {
    let fill = "insert into document select '{tenant}', n, repeat(md5(n::text), 4096) from generate_series(1, {rows}) n";
    world
        .source
        .execute(&fill.replace("{tenant}", world.id("acme")).replace("{rows}", &rows.to_string()))
        .await;
}

/// A line of `/proc/PID/status` in MiB.
fn memory(daemon: &Daemon, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<u64>().unwrap()
        * 1024
        / MIB
}

/// One tenant has 50 MiB and 29 have 4 MiB each. All destinations are so slow that the batches read
/// for them must wait.
#[tokio::test]
async fn memory_is_bounded_by_destinations_at_work_and_not_by_their_rows() {
    let names: Vec<String> = (0..DESTINATIONS).map(|n| format!("t{n:02}")).collect();
    let plan = names.iter().fold(plan(&names), |plan, name| plan.proxied(name));
    let world = plan
        .setting("/sync/batch_bytes", format!("{BATCH_MIB}MiB"))
        .setting("/sync/workers", 8)
        .await;
    world.allow("destination_failed");
    prepare(&world).await;
    for tenant in world.tenants() {
        let rows = if tenant.name == "t00" { 200 } else { 16 };
        let fill = "insert into document select '{tenant}', n, repeat(md5(n::text), 8192) from generate_series(1, {rows}) n";
        world
            .source
            .execute(&fill.replace("{tenant}", &tenant.id).replace("{rows}", &rows.to_string()))
            .await;
        tenant.proxy().set(Mode::Drip(256 * 1024));
    }
    let daemon = world.daemon().await;
    let idle = memory(&daemon, "VmRSS");
    // So slow that every destination is still in its first batches.
    until("all destinations are written to", PATIENCE, async || {
        let begun =
            world.tenants().iter().filter(|tenant| tenant.proxy().bytes().0 > MIB / 3).count();
        if begun == world.tenants().len() { Ok(()) } else { Err(format!("{begun} are")) }
    })
    .await;
    for tenant in world.tenants() {
        tenant.proxy().set(Mode::Pass);
    }
    world.wait_in_step_within(Duration::from_secs(60)).await;
    oracle::assert_tenants_equal(&world, &["t00", "t01"]).await;
    let peak = memory(&daemon, "VmHWM");
    // Each destination holds one batch that is being written and one that is read ahead.
    let bound = IDLE_MIB + DESTINATIONS * 2 * BATCH_MIB;
    eprintln!("{idle} MiB when idle, {peak} MiB at most, bound {bound} MiB");
    assert!(peak < bound, "{peak} MiB, not {bound}");
    daemon.stop().await;
}

/// Starts counting turns.
async fn count_turns(world: &World) {
    let count = "create sequence turn;
                 create function count_turn() returns trigger language plpgsql as $$ begin perform nextval('turn'); return null; end $$;
                 create trigger count_turn after update on offtake.outgoing_request for each row
                   when (new.attempt > old.attempt) execute function count_turn()";
    world.source.execute(count).await;
}

/// How many MiB may be read without need: when a turn ends, the batch that was read ahead is
/// discarded, and a slow machine has many turns.
async fn read_in_vain(world: &World, batch_kib: u64) -> u64 {
    let turns: u64 = world.source.query_text("select last_value from turn").await.parse().unwrap();
    turns * batch_kib / 1024
}

/// Rows that do not fit into a batch are read and discarded. That may happen once, but not for
/// every batch. The test fails without `BatchSizes::fit` (crates/sync/src/batch_size.rs).
#[tokio::test]
async fn wide_rows_are_not_read_again_for_every_chunk() {
    let world =
        plan(&["acme".to_owned()]).proxied_source().setting("/sync/batch_bytes", "512KiB").await;
    world.source.execute(TABLE).await;
    // Filled before the triggers exist, so that there is only a copy and no changes.
    fill_wide(&world, 100).await;
    init(&world).await;
    count_turns(&world).await;
    let before = world.source_proxy().bytes().1;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let read = world.source_proxy().bytes().1 - before;
    // All rows are 12.5 MiB, in chunks of 3 and 4 rows. They are read once for the first chunk and
    // once for the copy; then one row in eight is read twice. Without `fit`, 181 MiB are read.
    let bound = 36 + read_in_vain(&world, 512).await;
    eprintln!("{} MiB were read, bound {bound} MiB", read / MIB);
    assert!(read / MIB < bound, "{} MiB were read, not {bound}", read / MIB);
    daemon.stop().await;
}

/// The same for changes during a copy: neither may use up the space in a batch for which the other
/// was already read. The test fails if such a batch is halved each time after all of it was read,
/// and if a chunk that was cut for the sake of changes is taken as the size that fits.
#[tokio::test]
async fn wide_changes_beside_a_copy_are_not_read_again_for_every_batch() {
    let plan = World::with_tenants(["acme"])
        .mappings(&[("documents", DOCUMENTS), ("letters", LETTERS)])
        .without_init();
    let plan = plan.proxied("acme").proxied_source().setting("/sync/batch_bytes", "512KiB");
    let world = plan.setting("/poller/lease", "1s").await;
    world.allow("destination_failed");
    world.source.execute(TABLE).await;
    fill_wide(&world, 50).await;
    init(&world).await;
    let mut first = world.spawn_daemon_with_failpoints(&[("backfill.after_chunk", "abort")]);
    first.wait_exit(PATIENCE).await;
    // The next daemon finds copies that have begun, and changes of every row.
    world.source.execute("update document set body = repeat(md5(id::text), 4096)").await;
    world.tenant("acme").proxy().set(Mode::Refuse);
    count_turns(&world).await;
    let before = world.source_proxy().bytes().1;
    let daemon = world.daemon().await;
    until("the changes are sequenced", PATIENCE, async || {
        match world.source.query_text("select count(*) from offtake.change_log").await.as_str() {
            "50" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    world.tenant("acme").proxy().set(Mode::Pass);
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let read = world.source_proxy().bytes().1 - before;
    // Copies and changes of two mappings are 25 MiB together. With halving, 123 MiB were read.
    let bound = 50 + read_in_vain(&world, 512).await;
    eprintln!("{} MiB were read, bound {bound} MiB", read / MIB);
    assert!(read / MIB < bound, "{} MiB were read, not {bound}", read / MIB);
    daemon.stop().await;
}

/// The most connections that the daemon had at one moment to the source, and to acme's server,
/// sampled continuously. Counted in the daemon's process, because a server process may outlive its
/// connection for a while.
async fn most_connections(
    world: &World,
    daemon: &Daemon,
    until_done: impl Future<Output = ()>,
) -> (usize, usize) {
    let done = AtomicBool::new(false);
    let work = async {
        until_done.await;
        done.store(true, Ordering::Relaxed);
    };
    let look = async {
        let (mut source, mut destinations) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            source = source.max(connections(daemon, &world.source));
            destinations = destinations.max(connections(daemon, &world.tenant("acme").destination));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (source, destinations)
    };
    tokio::join!(work, look).1
}

/// The daemon's open connections to that database's server.
fn connections(daemon: &Daemon, to: &Database) -> usize {
    let url = to.url();
    let port: u16 = url.rsplit('/').nth(1).unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let sockets: BTreeSet<_> =
        descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", daemon.pid())).unwrap();
    let established = table.lines().filter(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // The remote address, state 1 for established, and the inode.
        fields[2].ends_with(&format!(":{port:04X}"))
            && fields[3] == "01"
            && sockets.contains(&PathBuf::from(format!("socket:[{}]", fields[9])))
    });
    established.count()
}

/// 150 destinations, in schemas of one database: more than may have a connection at a time. The
/// test fails if a hundred idle links are kept while other destinations wait: 50 destinations then
/// get nothing for more than a minute.
#[tokio::test]
async fn connections_stay_within_the_stated_numbers() {
    const MANY: usize = 150;
    let mut world = plan(&["acme".to_owned()]).setting("/sync/workers", 4).await;
    let (tenant, url) = (world.id("acme").to_owned(), world.tenant("acme").destination.url());
    let more: Vec<_> =
        (1..MANY).map(|n| json!({ "tenant": tenant, "name": format!("d{n}"), "schema": format!("s{n}"), "url": url })).collect();
    world.configure(|c| c["destinations"]["static"].as_array_mut().unwrap().extend(more));
    prepare(&world).await;
    world
        .source
        .execute(&format!(
            "insert into document select '{tenant}', n, 'body' from generate_series(1, 50) n"
        ))
        .await;
    let daemon = world.daemon().await;
    let (source, destinations) = most_connections(&world, &daemon, async {
        for round in 0..1 {
            world.wait_in_step_within(Duration::from_secs(40)).await;
            world.source.execute(&format!("update document set body = 'round {round}'")).await;
        }
        world.wait_in_step_within(Duration::from_secs(40)).await;
    })
    .await;
    // The bounds are `sync.workers` plus the connections named in run.rs, and 100 of links.rs.
    eprintln!("{source} connections to the source, {destinations} to destinations");
    assert!((4..=SOURCE_MAX).contains(&source), "{source} connections to the source");
    // A connection that is given up is closed a moment later, so a few more may be seen: 12 were, on
    // a machine that was busy with other tests. Without the bound there is one for each destination.
    assert!((30..=130).contains(&destinations), "{destinations} connections to destinations");
    daemon.stop().await;
}
