//! Invariants 3, 4 and 5: SIGKILL at any point, lost replies and restarted servers lose no change
//! and repeat nothing visible.
//!
//! Every test runs the seeded workload during the fault (a failing test prints its seed).
//! Afterwards it compares every state that a destination ever showed with what was committed.
//! OFFTAKE_SOAK=1 (`make soak`) makes the tests long.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use offtake_tests::proxy::Cut;
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{Database, PATIENCE, Plan, World, beside, history, oracle, until};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_postgres::{Client, NoTls};

/// Replaces all notes by more rows than a batch has, which also re-copies them.
const RECOPY_NOTES: &str = "truncate work.note;
    insert into work.note (scope, name, body) select 'org/' || tenant, 'n' || n, 'anew' from (select distinct tenant from work.owner) t, generate_series(1, 120) n";

const LEASE: Duration = Duration::from_secs(1);

fn soak() -> bool {
    std::env::var_os("OFFTAKE_SOAK").is_some()
}

fn plan() -> Plan {
    let plan = Workload::plan(["acme", "globex", "initech"])
        .setting("/poller/lease", "1s")
        .rows_at_once(50);
    plan.setting("/sync/retry", serde_json::json!({ "initial": "50ms", "max": "500ms" }))
}

async fn prepared(plan: Plan, workload: &Workload) -> World {
    let world = plan.await;
    world.allow("*");
    workload.prepare(&world).await;
    history::install(&world).await;
    world
}

/// Runs the workload's writes while `breaks` breaks something.
async fn under_load(workload: &Workload, world: &World, breaks: impl Future<Output = ()>) {
    let write = async || {
        workload.run(world, Extent::Steps(10)).await;
    };
    beside(breaks, write).await;
}

/// Every change arrived, nothing forbidden was ever visible, and no lease is left behind.
async fn assert_sound(world: &World) {
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    history::assert_sound(world).await;
    // A daemon that has just started may still visit what is in step.
    let leased = "select count(*) from offtake.outgoing_request where leased_until is not null";
    world.source.wait_text(leased, "0").await;
    for tenant in world.tenants() {
        let states = history::states(&tenant.destination).await;
        assert!(states > 50, "{} saw {states} states only", tenant.name);
    }
}

/// No worker holds a lease that ends later than one lease duration from now. `clock_timestamp()`,
/// because `now()` may be older than a lease that the statement sees.
async fn assert_no_lease_is_long(world: &World) {
    let long = "select count(*) from offtake.outgoing_request where leased_until > clock_timestamp() + interval '{} ms'";
    let long = long.replace("{}", &LEASE.as_millis().to_string());
    assert_eq!(world.source.query_text(&long).await, "0");
}

/// A daemon is killed at each failpoint, while another daemon works. The test fails if the cursors
/// are written in a second transaction after the rows' (`commit` and `begin` before `state::write`
/// in crates/sync/src/turn.rs).
#[tokio::test]
async fn a_daemon_killed_at_any_failpoint_loses_and_repeats_nothing() {
    let workload = Workload::new(21);
    let world = prepared(plan(), &workload).await;
    let survivor = world.daemon().await;
    let kills = async {
        // There is no webhook in this world, no export and no restore; webhook_turns.rs, webhooks/,
        // exports/ and snapshots/ kill processes at theirs.
        let of_loops = ["sequencer.", "poller.", "sync.", "backfill."];
        let of_daemons = |at: &&&str| of_loops.iter().any(|of| at.starts_with(of));
        let points = offtake_loops::FAILPOINTS.iter().filter(of_daemons);
        for point in points {
            let mut killed = world.spawn_daemon_with_failpoints(&[(point, "abort")]);
            let mut recopied_at = Instant::now();
            until(&format!("a daemon dies at {point}"), PATIENCE, async || {
                // Only a re-copy has chunks, and the other daemon may have done it. So request
                // another one.
                if *point == "backfill.after_chunk"
                    && recopied_at.elapsed() > Duration::from_millis(500)
                {
                    world.source.execute(RECOPY_NOTES).await;
                    recopied_at = Instant::now();
                }
                if killed.runs() {
                    Err(format!("it runs; {} times there", killed.failpoint_count(point)))
                } else {
                    Ok(())
                }
            })
            .await;
            assert!(!killed.wait_exit(PATIENCE).await.success());
            assert_no_lease_is_long(&world).await;
        }
    };
    under_load(&workload, &world, kills).await;
    assert_sound(&world).await;
    survivor.stop().await;
}

/// 30 kills in `make soak`, otherwise 8.
#[tokio::test]
async fn daemons_killed_at_random_under_load_lose_and_repeat_nothing() {
    let workload = Workload::new(22);
    let mut random = StdRng::seed_from_u64(workload.seed());
    let world = prepared(plan(), &workload).await;
    let mut daemons = [world.daemon().await, world.daemon().await];
    let kills = async {
        for _ in 0..if soak() { 30 } else { 8 } {
            tokio::time::sleep(Duration::from_millis(random.random_range(50..900))).await;
            let number = random.random_range(0..2);
            daemons[number].kill();
            assert_no_lease_is_long(&world).await;
            daemons[number] = world.spawn_daemon(&[]);
        }
        // The last kill leaves work half-done, and the other daemon finishes it.
        daemons[0].kill();
    };
    under_load(&workload, &world, kills).await;
    assert_sound(&world).await;
    let [_, other] = daemons;
    other.stop().await;
}

/// If the reply to COMMIT is lost, the daemon asks what happened and never assumes it. The reply is
/// lost by a reset or by silence: at the destination, and at the source for sequencing, polling and
/// settling.
#[tokio::test]
async fn a_lost_reply_to_commit_neither_loses_nor_repeats() {
    let workload = Workload::new(23);
    let world = prepared(
        plan().proxied("acme").proxied_source().setting("/sync/statement_timeout", "1s"),
        &workload,
    )
    .await;
    let daemon = world.daemon().await;
    let (acme, source) = (world.tenant("acme").proxy(), world.source_proxy());
    for (proxy, cut) in [
        (acme, Cut::before_reply("commit").times(6)),
        (acme, Cut::after_statement("commit").times(2)),
        (acme, Cut::before_reply("commit").silently()),
        (source, Cut::before_reply("commit").times(12)),
        (source, Cut::before_reply("delete").times(4)),
        (source, Cut::before_reply("update").times(4)),
        // TCP acknowledges everything, so only the daemon's own timeout ends these, after six
        // seconds, in every loop that meets them.
        (source, Cut::before_reply("commit").silently().times(3)),
        // In the middle of a batch's snapshot.
        (source, Cut::before_reply("savepoint").silently()),
    ] {
        let cut = proxy.arm(cut);
        let began = Instant::now();
        until("the replies are lost", PATIENCE, async || {
            workload.run(&world, Extent::Steps(3)).await;
            if cut.count() >= 1 && began.elapsed() > Duration::from_secs(1) {
                Ok(())
            } else {
                Err(cut.count().to_string())
            }
        })
        .await;
        cut.wait().await;
        proxy.disarm();
        world.wait_in_step().await;
    }
    until("the silent sessions are given up", PATIENCE, async || {
        let count = daemon.log_text().matches("server_silent").count();
        if count >= 2 { Ok(()) } else { Err(format!("{count} are")) }
    })
    .await;
    assert_sound(&world).await;
    daemon.stop().await;
}

/// The commit is sent together with the move of the cursors, before it is known whether they move.
/// The test fails if the commit overtakes the move: the rows are then visible without it.
#[tokio::test]
async fn no_row_is_visible_where_the_cursors_cannot_move() {
    let world = World::with_tenants(["acme"]).await;
    world.allow("destination_failed");
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    let refuse = "create function refuse() returns trigger language plpgsql as
                    $$ begin raise exception 'no cursor moves here'; end $$;
                  create trigger refuse before update on _offtake_state for each row execute function refuse()";
    destination.execute(refuse).await;
    world.source.execute("update team set display_name = 'too early'").await;
    until("a write has failed", PATIENCE, async || {
        let failures = "select coalesce(max(failures), 0) from offtake.outgoing_request";
        let failures = world.source.query_text(failures).await;
        if failures == "0" { Err("none has".to_owned()) } else { Ok(()) }
    })
    .await;
    let visible = "select count(*) from teams where display_name = 'too early'";
    assert_eq!(destination.query_text(visible).await, "0", "the rows are there, the cursor is not");
    destination.execute("drop function refuse cascade").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Both servers are stopped at once (immediate mode) and restarted, while writes go on wherever
/// they can.
#[tokio::test]
async fn servers_that_restart_in_the_middle_lose_and_repeat_nothing() {
    let workload = Workload::new(24);
    let world = prepared(plan().private_source().private_destination("acme"), &workload).await;
    let (one, two) = tokio::join!(world.daemon(), world.daemon());
    let restarts = async {
        for round in 0..if soak() { 10 } else { 2 } {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let mut server = if round % 2 == 0 {
                world.source_server().await
            } else {
                world.tenant("acme").server().await
            };
            server.kill_immediate();
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.start_again().await.unwrap();
        }
    };
    under_load(&workload, &world, restarts).await;
    assert_sound(&world).await;
    one.stop().await;
    two.stop().await;
}

/// In `make soak`, every second for a minute.
#[tokio::test]
async fn sessions_that_the_servers_end_are_made_again() {
    let workload = Workload::new(25);
    let world = prepared(plan(), &workload).await;
    let daemon = world.daemon().await;
    let (times, pause) = if soak() { (60, 1000) } else { (16, 250) };
    let terminations = async {
        for _ in 0..times {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                        where datname = current_database() and application_name like 'offtake%'";
            world.source.query_text(sql).await;
            for tenant in world.tenants() {
                tenant.destination.query_text(sql).await;
            }
        }
    };
    under_load(&workload, &world, terminations).await;
    assert_sound(&world).await;
    daemon.stop().await;
}

/// Either server may answer `too many connections` (53300). The daemon waits, reports it, and goes
/// on as soon as a connection is free.
#[tokio::test]
async fn servers_that_take_no_more_connections_are_waited_for() {
    let workload = Workload::new(26);
    let world = prepared(plan().private_source().private_destination("acme"), &workload).await;
    let acme = world.tenant("acme");
    for (database, server) in
        [(&world.source, world.source_server().await), (&acme.destination, acme.server().await)]
    {
        database.execute("alter system set max_connections = 24").await;
        let mut server = server;
        server.restart().await.unwrap();
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    for (database, server) in
        [(&world.source, world.source_server().await), (&acme.destination, acme.server().await)]
    {
        let taken = take_every_connection(database).await;
        // From here on only the daemon asks for connections, and it dials a destination only when
        // there is a reason.
        let refusals = || server.log().matches("too many clients").count();
        let before = refusals();
        world.source.execute("update work.note set body = body || '+'").await;
        until("the daemon is refused, more than once", PATIENCE, async || {
            if refusals() > before + 1 { Ok(()) } else { Err(format!("{} are taken", taken.len())) }
        })
        .await;
        drop(taken);
        workload.run(&world, Extent::Steps(20)).await;
        world.wait_in_step().await;
    }
    assert_sound(&world).await;
    daemon.stop().await;
}

/// Ends the daemon's sessions and takes their connections, until the daemon has none.
async fn take_every_connection(database: &Database) -> Vec<Client> {
    let mut taken = Vec::new();
    until("the daemon has no session", PATIENCE, async || {
        let before = taken.len();
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'offtake%'";
        let ended = database.query_text(end).await;
        while let Ok((client, connection)) = tokio_postgres::connect(&database.url(), NoTls).await {
            tokio::spawn(connection);
            taken.push(client);
        }
        let left = "select count(*) from pg_stat_activity where application_name like 'offtake%'";
        let left = database.query_text(left).await;
        // A session that was ended in this round may leave its connection after the look for one.
        match (ended.as_str(), left.as_str(), taken.len() - before) {
            ("0", "0", 0) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    taken
}

const PERMISSIONS: &str = include_str!("../../mappings/permissions.yaml");

/// A list of keys is taken and numbered in one transaction. So a daemon that dies in between leaves
/// it as it was, and its keys arrive all the same.
#[tokio::test]
async fn a_daemon_killed_while_it_takes_lists_of_keys_loses_none() {
    let world = World::with_tenants(["acme", "globex"])
        .mappings(&[("permissions", PERMISSIONS)])
        .setting("/sequencer/batch_rows", 700)
        .setting("/poller/lease", "1s")
        .await;
    world.allow("*");
    let statements = [
        "insert into permission (tenancy_id, id, permission_id) select t.id, n, 'read' from tenancy t, generate_series(1, 3000) n",
        "update permission set permission_id = 'write'",
        "update permission set id = id + 100000 where id % 3 = 0",
        "delete from permission where id % 2 = 0",
    ];
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    for statement in statements {
        world.source.execute(statement).await;
        let lists = "select count(keys) > 0 from offtake.captured_change";
        assert_eq!(world.source.query_text(lists).await, "t", "{statement}");
        for point in ["sequencer.after_stamp", "sequencer.before_commit"] {
            let mut killed = world.spawn_daemon_with_failpoints(&[(point, "1*off->abort")]);
            assert!(!killed.wait_exit(PATIENCE).await.success());
        }
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
