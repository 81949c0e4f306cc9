//! Invariant 7: the application's writes never fail, and never wait, because of Offtake.

use std::time::{Duration, Instant};

use offtake_tests::{PATIENCE, World, oracle, until};

/// What `offtake init` and `offtake uninstall` may keep a writer waiting for at most is their lock timeout (250 ms), and the
/// time of the catalog changes behind it; a busy machine adds its own.
const WRITE_TAKES_AT_MOST: Duration = Duration::from_secs(2);

/// Writes to a table over and over until told to stop; returns how many writes there were and how long the longest took.
async fn write_until(world: &World, statement: &str, stop: &tokio_util::sync::CancellationToken) -> (u32, Duration) {
    let client = world.source.connect().await;
    let (mut writes, mut longest) = (0, Duration::ZERO);
    while !stop.is_cancelled() {
        let began = Instant::now();
        client.batch_execute(statement).await.expect("the application's write never fails because of Offtake");
        longest = longest.max(began.elapsed());
        writes += 1;
    }
    (writes, longest)
}

#[tokio::test]
async fn writes_go_on_while_no_daemon_runs_and_a_backlog_is_worked_off() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(100).await;
    // A million in the soak; here enough for several full ticks.
    let backlog = if std::env::var_os("OFFTAKE_SOAK").is_some() { 1_000_000 } else { 60_000 };
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into project_user (tenancy_id, display_name) select '{id}', 'backlog' from generate_series(1, {backlog})"
        ))
        .await;
    let captured: i64 = world.source.query_text("select count(*) from offtake.captured_change").await.parse().expect("a number");
    assert!(captured >= backlog, "{captured} changes are captured");
    let daemon = world.spawn_daemon(&[]);
    let stop = tokio_util::sync::CancellationToken::new();
    let user = format!(
        "update project_user set display_name = 'written' where tenancy_id = '{id}' and project_user_id in
                          (select project_user_id from project_user where tenancy_id = '{id}' limit 1)"
    );
    let drained = async {
        until("the backlog is sequenced", PATIENCE * 10, async || {
            let left = world.source.query_text("select count(*) from offtake.captured_change").await;
            if left.parse::<i64>().expect("a number") < 100 { Ok(()) } else { Err(left) }
        })
        .await;
        stop.cancel();
    };
    let ((writes, longest), ()) = tokio::join!(write_until(&world, &user, &stop), drained);
    assert!(writes > 10 && longest < WRITE_TAKES_AT_MOST, "{writes} writes, the longest took {longest:?}");
    world.wait_in_step_within(PATIENCE * 10).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn init_and_uninstall_do_not_queue_behind_a_long_transaction_with_writers_behind_them() {
    let world = World::with_tenants(["acme"]).without_init().await;
    world.fill(10).await;
    for arguments in [vec!["init"], vec!["uninstall", "--yes"]] {
        // It has written, so whoever wants to change the table's triggers must wait for its end.
        let long = world.source.connect().await;
        long.batch_execute("begin; update team set display_name = 'held'").await.expect("written");
        let stop = tokio_util::sync::CancellationToken::new();
        let user = format!("insert into team (tenancy_id, display_name) values ('{}', 'meanwhile')", world.id("acme"));
        let run = async {
            let command = async {
                let output = world.offtake(&arguments).await;
                stop.cancel();
                output
            };
            let release = async {
                until("it has met the lock, or ended", PATIENCE, async || {
                    let waits = "select count(*) from pg_locks where not granted and relation = 'public.team'::regclass";
                    if world.source.query_text(waits).await != "0" || stop.is_cancelled() { Ok(()) } else { Err("not yet".to_owned()) }
                })
                .await;
                tokio::time::sleep(Duration::from_secs(2)).await;
                long.batch_execute("commit").await.expect("committed");
            };
            tokio::join!(command, release).0
        };
        let ((writes, longest), output) = tokio::join!(write_until(&world, &user, &stop), run);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(writes > 10 && longest < WRITE_TAKES_AT_MOST, "{arguments:?}: {writes} writes, the longest took {longest:?}: {said}");
    }
    let left = "select count(*) from pg_trigger where tgname like 'offtake%'";
    assert_eq!(world.source.query_text(left).await, "0");
}
