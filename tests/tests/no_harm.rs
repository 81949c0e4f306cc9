//! Invariant 7: the application's writes never fail, and never wait, because of Offtake.

use std::sync::atomic::{AtomicU32, Ordering};

use offtake_tests::{PATIENCE, World, oracle, until};
use tokio_util::sync::CancellationToken;

/// `offtake init` and `offtake uninstall` may delay a writer by at most their lock timeout (250 ms)
/// plus the time of their catalog changes, which a busy machine may prolong. If they waited for the
/// long transaction without a timeout, a writer would wait for ever: that transaction goes on until
/// more writes were made.
const LOCK_TIMEOUT: &str = "set lock_timeout = '20s'";

/// Writes to a table again and again until told to stop, and counts the writes.
async fn write_until(world: &World, statement: &str, writes: &AtomicU32, stop: &CancellationToken) {
    let client = world.source.connect().await;
    client.batch_execute(LOCK_TIMEOUT).await.expect("any role may set it");
    while !stop.is_cancelled() {
        client
            .batch_execute(statement)
            .await
            .expect("the application's write never fails, nor waits, because of Offtake");
        writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until the application has written `more` times, or was told to stop.
async fn wait_written(writes: &AtomicU32, more: u32, stop: &CancellationToken) {
    let before = writes.load(Ordering::Relaxed);
    until("the application goes on writing", PATIENCE, async || {
        match writes.load(Ordering::Relaxed) - before {
            now if now >= more || stop.is_cancelled() => Ok(()),
            now => Err(format!("{now} times")),
        }
    })
    .await;
}

#[tokio::test]
async fn writes_go_on_while_no_daemon_runs_and_a_backlog_is_worked_off() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(100).await;
    // A million in `make soak`; otherwise enough for several full ticks.
    let backlog = if std::env::var_os("OFFTAKE_SOAK").is_some() { 1_000_000 } else { 60_000 };
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into project_user (tenancy_id, display_name) select '{id}', 'backlog' from generate_series(1, {backlog})"
        ))
        .await;
    let captured: i64 = world
        .source
        .query_text("select count(*) from offtake.captured_change")
        .await
        .parse()
        .expect("a number");
    assert!(captured >= backlog, "{captured} changes are captured");
    let daemon = world.spawn_daemon(&[]);
    let (writes, stop) = (AtomicU32::new(0), CancellationToken::new());
    let user = format!(
        "update project_user set display_name = 'written' where tenancy_id = '{id}' and project_user_id in
                          (select project_user_id from project_user where tenancy_id = '{id}' limit 1)"
    );
    let drained = async {
        until("the backlog is sequenced", PATIENCE * 10, async || {
            let left =
                world.source.query_text("select count(*) from offtake.captured_change").await;
            if left.parse::<i64>().expect("a number") < 100 { Ok(()) } else { Err(left) }
        })
        .await;
        wait_written(&writes, 10, &stop).await;
        stop.cancel();
    };
    tokio::join!(write_until(&world, &user, &writes, &stop), drained);
    world.wait_in_step_within(PATIENCE * 10).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn init_and_uninstall_do_not_queue_behind_a_long_transaction_with_writers_behind_them() {
    let world = World::with_tenants(["acme"]).without_init().await;
    world.fill(10).await;
    for arguments in [vec!["init"], vec!["uninstall", "--yes"]] {
        // This transaction has written, so a session that changes the table's triggers must wait
        // for its end.
        let long = world.source.connect().await;
        long.batch_execute("begin; update team set display_name = 'held'").await.expect("written");
        let (writes, stop) = (AtomicU32::new(0), CancellationToken::new());
        let user = format!(
            "insert into team (tenancy_id, display_name) values ('{}', 'meanwhile')",
            world.id("acme")
        );
        let run = async {
            let command = async {
                let output = world.offtake(&arguments).await;
                stop.cancel();
                output
            };
            let release = async {
                until("the command has met the lock, or ended", PATIENCE, async || {
                    let waits = "select count(*) from pg_locks
                                  where not granted and relation = 'public.team'::regclass
                                    and database = (select oid from pg_database where datname = current_database())";
                    if world.source.query_text(waits).await != "0" || stop.is_cancelled() { Ok(()) } else { Err("not yet".to_owned()) }
                })
                .await;
                // A writer that queued behind a waiting lock would stand still until the long
                // transaction ends.
                wait_written(&writes, 20, &stop).await;
                long.batch_execute("commit").await.expect("committed");
            };
            tokio::join!(command, release).0
        };
        let ((), output) = tokio::join!(write_until(&world, &user, &writes, &stop), run);
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
    let left = "select count(*) from pg_trigger where tgname like 'offtake%'";
    assert_eq!(world.source.query_text(left).await, "0");
}
