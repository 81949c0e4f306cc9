//! Invariant 9: what a daemon holds in memory, and how many connections it opens, has a bound that
//! does not depend on how much there is to copy.

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
/// What a daemon of a debug build has before it has anything to do, and some for what is on its way
/// between sockets. `sync.workers` of the test, and the spare and the probing ones beside them
/// (crates/offtake/src/daemon/mod.rs).
const SOURCE_MAX: usize = 4 + 10 + 3;
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

/// So many rows of 128 KiB each.
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

/// One tenant has 50 MiB, 29 have 4 MiB each, and all of them are so slow that what was read for
/// them waits.
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
    // Slow enough that every one of them is in the middle of its first batches.
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
    // Each holds the batch that is written and the one that is read ahead.
    let bound = IDLE_MIB + DESTINATIONS * 2 * BATCH_MIB;
    eprintln!("{idle} MiB when idle, {peak} MiB at most, bound {bound} MiB");
    assert!(peak < bound, "{peak} MiB, not {bound}");
    daemon.stop().await;
}

/// From now on the turns are counted.
async fn count_turns(world: &World) {
    let count = "create sequence turn;
                 create function count_turn() returns trigger language plpgsql as $$ begin perform nextval('turn'); return null; end $$;
                 create trigger count_turn after update on offtake.outgoing_request for each row
                   when (new.attempt > old.attempt) execute function count_turn()";
    world.source.execute(count).await;
}

/// What may be read beyond what is needed, in MiB: with a turn that is over, the batch that was
/// read ahead is thrown away, and a slow machine has many turns.
async fn read_in_vain(world: &World, batch_kib: u64) -> u64 {
    let turns: u64 = world.source.query_text("select last_value from turn").await.parse().unwrap();
    turns * batch_kib / 1024
}

/// What does not fit into a batch is read, and thrown away; that may happen once, and not for every
/// batch. Shown to fail without `BatchSizes::fit` (crates/sync/src/batch_size.rs).
#[tokio::test]
async fn wide_rows_are_not_read_again_for_every_chunk() {
    let world =
        plan(&["acme".to_owned()]).proxied_source().setting("/sync/batch_bytes", "512KiB").await;
    world.source.execute(TABLE).await;
    // Before there are triggers: there is a copy, and no changes beside it.
    fill_wide(&world, 100).await;
    init(&world).await;
    count_turns(&world).await;
    let before = world.source_proxy().bytes().1;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let read = world.source_proxy().bytes().1 - before;
    // All of it is 12.5 MiB, in chunks of 3 and 4 rows: once for the first chunk, once for what is
    // copied, one row in eight. Without it, 181 MiB.
    let bound = 36 + read_in_vain(&world, 512).await;
    eprintln!("{} MiB were read, bound {bound} MiB", read / MIB);
    assert!(read / MIB < bound, "{} MiB were read, not {bound}", read / MIB);
    daemon.stop().await;
}

/// The same for changes, while there is a copy too: neither takes the room that the other was read
/// for. Shown to fail where the size of such a batch was halved, each time after all of it was
/// read, and where a chunk that changes had cut told what fits.
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
    // The next one finds copies that have begun, and changes of every row.
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
    // Copies and changes of two mappings are 25 MiB together. Halving read 123 MiB.
    let bound = 50 + read_in_vain(&world, 512).await;
    eprintln!("{} MiB were read, bound {bound} MiB", read / MIB);
    assert!(read / MIB < bound, "{} MiB were read, not {bound}", read / MIB);
    daemon.stop().await;
}

/// The most connections that the daemon had to the source and to acme's server at one moment,
/// looked at all the time. Looked at here, because a server process may outlive its connection for
/// a while.
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
        // Where to, 1 for established, and the inode.
        fields[2].ends_with(&format!(":{port:04X}"))
            && fields[3] == "01"
            && sockets.contains(&PathBuf::from(format!("socket:[{}]", fields[9])))
    });
    established.count()
}

/// 115 destinations, in schemas of one database: more than may have a connection at a time. Shown
/// to fail where a hundred links that are idle are kept while others wait for a place: 15
/// destinations got nothing for more than a minute.
#[tokio::test]
async fn connections_stay_within_the_stated_numbers() {
    const MANY: usize = 115;
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
    // `sync.workers` and the constants of daemon/mod.rs; 100 by links.rs.
    eprintln!("{source} connections to the source, {destinations} to destinations");
    assert!((4..=SOURCE_MAX).contains(&source), "{source} connections to the source");
    // One that is given up is closed a moment later.
    assert!((30..=110).contains(&destinations), "{destinations} connections to destinations");
    daemon.stop().await;
}
