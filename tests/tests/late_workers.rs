//! Invariants 3, 4 and 5: a worker that goes on late, after another worker took over its work,
//! changes nothing.
//!
//! In these tests the late daemon has a lease of ten minutes, so it sends no heartbeat during a
//! test, and it takes one request at a time. The test ends its lease in the table. When the daemon
//! goes on, only the fence can stop its work.

#![allow(clippy::unwrap_used)]

use offtake_tests::workload::Workload;
use offtake_tests::{Daemon, PATIENCE, Plan, World, history, oracle, until};

/// Failpoints at which a worker can stop, and whether it then holds the locks on the destination's
/// cursors.
const POINTS: [(&str, bool); 9] = [
    ("sync.after_claim", false),
    ("sync.after_read", false),
    ("sync.after_begin", true),
    ("sync.mid_batch", true),
    ("sync.before_cursor", true),
    ("sync.before_commit", true),
    ("sync.after_commit", false),
    ("backfill.after_chunk", false),
    ("sync.before_complete", false),
];

fn retry() -> serde_json::Value {
    serde_json::json!({ "initial": "50ms", "max": "300ms" })
}

fn plan() -> Plan {
    Workload::plan(["acme", "globex"]).rows_at_once(7)
}

/// A world in step whose only daemon so far is the late one. Daemons started later have the same
/// settings. A daemon that is paused with acme's request cannot work on globex's request. On any
/// machine it keeps its request until the test ends the lease.
async fn with_late_daemon() -> (World, Daemon) {
    let world = plan().setting("/poller/lease", "10m").setting("/poller/claim_limit", 1).await;
    Workload::new(1).prepare(&world).await;
    history::install(&world).await;
    let late = world.daemon().await;
    world.wait_in_step().await;
    (world, late)
}

async fn write(world: &World, tenant: &str, statements: &str) {
    world
        .source
        .execute(&statements.replace("{scope}", &format!("'org/{}'", world.id(tenant))))
        .await;
}

/// Makes all leases expire.
async fn end_leases(world: &World) {
    world.source.execute("update offtake.outgoing_request set leased_until = now() where leased_until is not null").await;
}

/// Waits until the daemon's turn is over. It takes one request at a time, so when another tenant's
/// request is done it has released the first one.
async fn wait_turn_over(world: &World) {
    write(
        world,
        "globex",
        "update work.note set body = body || '+' where scope = {scope} and name = 'n1'",
    )
    .await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
}

async fn pause_globex(world: &World, at: &str) {
    world
        .source
        .execute(&format!(
            "update offtake.destination set paused_at = {at} where tenant_id = '{}'",
            world.id("globex")
        ))
        .await;
}

async fn wait_for_lock(world: &World) {
    until("the other worker waits for the late one's locks", PATIENCE, async || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        let waiting = world.tenant("acme").destination.query_text(waiting).await;
        if waiting == "0" { Err(waiting) } else { Ok(()) }
    })
    .await;
}

/// Everything that is stored at the source about acme.
async fn remembered(world: &World) -> String {
    let query = format!(
        "select d.sequence_id, d.state, d.consecutive_failures,
                (select string_agg(m.mapping || ':' || m.sequence_id || m.backfilled, ' ' order by m.mapping)
                   from offtake.destination_mapping m where m.destination_id = d.destination_id),
                (select concat_ws(' ', r.request_id, r.attempt, r.leased_by, r.failures)
                   from offtake.outgoing_request r where r.destination_id = d.destination_id)
           from offtake.destination d where d.tenant_id = '{}'",
        world.id("acme")
    );
    world.source.query_text(&query).await
}

/// A worker read or wrote one state and stopped. Another worker then applied a newer state, a
/// deletion, and a deletion followed by a new row. The test fails at `sync.after_read` without
/// `found.cursors != *cursors` in `Turn::apply` (crates/sync/src/turn.rs): the older row came back,
/// and so did the deleted rows.
#[tokio::test]
async fn a_worker_that_goes_on_late_changes_nothing() {
    let (world, late) = with_late_daemon().await;
    let destination = &world.tenant("acme").destination;
    for (point, locked) in POINTS {
        late.set_failpoint(point, "pause").await;
        // Only a re-copy reaches the failpoints of chunks, so it is started for those only.
        let recopy = if point.starts_with("backfill") { "truncate work.note;" } else { "" };
        let older = "insert into work.note (scope, name, body) select {scope}, 'n' || n, 'older' from generate_series(0, 29) n
                       on conflict (scope, name) do update set body = excluded.body where note.name in ('n1', 'n2', 'n3')";
        write(&world, "acme", &format!("{recopy} {older}")).await;
        late.wait_at_failpoint(point, 1).await;

        write(
            &world,
            "acme",
            "update work.note set body = 'newer' where scope = {scope} and name = 'n1';
             delete from work.note where scope = {scope} and name in ('n2', 'n3');
             insert into work.note (scope, name, body) values ({scope}, 'n3', 'again')",
        )
        .await;
        end_leases(&world).await;
        let other = world.daemon().await;
        if locked {
            wait_for_lock(&world).await;
            late.clear_failpoint(point).await;
            world.wait_in_step().await;
            other.stop().await;
        } else {
            world.wait_tenants_in_step(&["acme"], PATIENCE).await;
            other.stop().await;
            let before = (history::states(destination).await, remembered(&world).await);
            late.clear_failpoint(point).await;
            wait_turn_over(&world).await;
            assert_eq!(
                (history::states(destination).await, remembered(&world).await),
                before,
                "{point}"
            );
        }
        let rows = destination
            .query_text(
                "select name, body from notes where name in ('n1', 'n2', 'n3') order by name",
            )
            .await;
        assert_eq!(rows, "n1|newer\nn3|again", "{point}");
    }
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    late.stop().await;
}

/// Another worker has claimed the request, so results of the late worker do not count. The test
/// fails without `and attempt = $2` in release_request.sql (the other worker's lease was gone), and
/// without it in mirror_destination.sql (the status went back to the older cursor).
#[tokio::test]
async fn a_late_worker_says_nothing_about_another_s_claim() {
    let (world, late) = with_late_daemon().await;
    for (late_at, other_at) in [
        ("sync.before_complete", "sync.after_claim"),
        ("sync.after_commit", "sync.before_complete"),
    ] {
        late.set_failpoint(late_at, "pause").await;
        write(
            &world,
            "acme",
            "update work.note set body = 'older' where scope = {scope} and name = 'n1'",
        )
        .await;
        late.wait_at_failpoint(late_at, 1).await;
        // The other daemon also takes one request at a time, and this must be acme's.
        pause_globex(&world, "now()").await;
        let other = world.spawn_daemon_with_failpoints(&[(other_at, "pause")]);
        write(
            &world,
            "acme",
            "update work.note set body = 'newer' where scope = {scope} and name = 'n1'",
        )
        .await;
        end_leases(&world).await;
        other.wait_at_failpoint(other_at, 1).await;
        let before = remembered(&world).await;
        pause_globex(&world, "null").await;
        late.clear_failpoint(late_at).await;
        wait_turn_over(&world).await;
        let after = remembered(&world).await;
        assert_eq!(after, before, "{late_at}");
        other.clear_failpoint(other_at).await;
        world.wait_in_step().await;
        other.stop().await;
    }
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    late.stop().await;
}

/// The late worker wrote a row that the destination later refused from the other worker. The row
/// stays in quarantine; otherwise a row would be missing without the status showing it (invariant
/// 8).
#[tokio::test]
async fn a_late_worker_takes_nothing_out_of_quarantine() {
    let (world, late) = with_late_daemon().await;
    world.allow("rows_quarantined");
    let destination = &world.tenant("acme").destination;
    destination.execute("alter table notes add check (body <> 'refused')").await;
    write(
        &world,
        "acme",
        "update work.note set body = 'refused' where scope = {scope} and name = 'n9'",
    )
    .await;
    world.wait_in_step().await;

    late.set_failpoint("sync.after_commit", "pause").await;
    write(
        &world,
        "acme",
        "update work.note set body = 'taken' where scope = {scope} and name = 'n1'",
    )
    .await;
    late.wait_at_failpoint("sync.after_commit", 1).await;
    write(
        &world,
        "acme",
        "update work.note set body = 'refused' where scope = {scope} and name = 'n1'",
    )
    .await;
    end_leases(&world).await;
    let other = world.daemon().await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    let quarantined =
        "select string_agg(row_key ->> 'name', ' ' order by row_key) from offtake.quarantined_row";
    assert_eq!(world.source.query_text(quarantined).await, "n1 n9");
    other.stop().await;
    late.clear_failpoint("sync.after_commit").await;
    wait_turn_over(&world).await;
    assert_eq!(world.source.query_text(quarantined).await, "n1 n9");
    late.stop().await;
}

/// acme's note n1 was refused with 5000 and could arrive now. Changes are not numbered any more, so
/// a retry writes the row and leaves the cursors where they are.
async fn with_a_row_to_retry(world: &World, daemon: &Daemon) {
    world.allow("rows_quarantined");
    let destination = &world.tenant("acme").destination;
    destination.execute("alter table notes add constraint small check (body <> '5000')").await;
    write(world, "acme", &n1_becomes("5000")).await;
    world.wait_in_step().await;
    let quarantined = "select count(*) from offtake.quarantined_row";
    assert_eq!(world.source.query_text(quarantined).await, "1");
    world.succeed(&["fuse", "off", "sequencer", "--reason", "test"]).await;
    daemon.wait_fuse("sequencer", true).await;
    daemon.wait_round("sequencer").await;
    destination.execute("alter table notes drop constraint small").await;
}

fn n1_becomes(body: &str) -> String {
    format!("update work.note set body = '{body}' where scope = {{scope}} and name = 'n1'")
}

async fn wait_for_n1(world: &World, body: &str) {
    until(&format!("n1 is {body}"), PATIENCE, async || {
        let query = "select body from notes where name = 'n1'";
        let found = world.tenant("acme").destination.try_query_text(query).await?;
        if found == body { Ok(()) } else { Err(found) }
    })
    .await;
}

/// The worker that waits at `sync.after_read` goes on with 5000, after another one wrote 6000.
async fn assert_the_late_retry_is_dropped(world: &World, late: &Daemon) {
    late.clear_failpoint("sync.after_read").await;
    until("the late worker has written, or has dropped its work", PATIENCE, async || {
        let (_, metrics) = late.get("/metrics").await;
        let dropped = metrics.contains("offtake_batches_total{result=\"dropped\"} ");
        let query = "select body from notes where name = 'n1'";
        let found = world.tenant("acme").destination.try_query_text(query).await?;
        if dropped || found == "5000" { Ok(()) } else { Err(found) }
    })
    .await;
    wait_for_n1(world, "6000").await;
    world.succeed(&["fuse", "on", "sequencer", "--reason", "test"]).await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    history::assert_sound(world).await;
}

/// A batch that only retries quarantined rows leaves the cursors where they are. All the same, a
/// worker that read the row before another one wrote it drops its work. The test fails without
/// `written` in `Cursor` (crates/sync/src/cursors.rs): 6000 became 5000 again.
#[tokio::test]
async fn a_late_retry_of_a_quarantined_row_writes_nothing_older() {
    let (world, late) = with_late_daemon().await;
    with_a_row_to_retry(&world, &late).await;
    late.set_failpoint("sync.after_read", "pause").await;
    world.succeed(&["quarantine", "retry", "--tenant", world.id("acme")]).await;
    late.wait_at_failpoint("sync.after_read", 1).await;

    write(&world, "acme", &n1_becomes("6000")).await;
    end_leases(&world).await;
    let other = world.daemon().await;
    wait_for_n1(&world, "6000").await;
    other.stop().await;
    assert_the_late_retry_is_dropped(&world, &late).await;
    late.stop().await;
}

/// `quarantine retry` gives the destination to another worker while the first one is still at work.
#[tokio::test]
async fn a_retry_by_command_lets_no_worker_write_something_older() {
    let world = plan().setting("/poller/lease", "10m").await;
    Workload::new(1).prepare(&world).await;
    history::install(&world).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    with_a_row_to_retry(&world, &daemon).await;
    daemon.set_failpoint("sync.after_read", "1*pause->off").await;
    let retry = ["quarantine", "retry", "--tenant", world.id("acme")];
    world.succeed(&retry).await;
    daemon.wait_at_failpoint("sync.after_read", 1).await;

    write(&world, "acme", &n1_becomes("6000")).await;
    world.succeed(&retry).await;
    wait_for_n1(&world, "6000").await;
    assert_the_late_retry_is_dropped(&world, &daemon).await;
    daemon.stop().await;
}

/// A process that stops in the middle of its write holds the destination's locks until the
/// destination ends the idle transaction, and its lease until it expires. Both end without the
/// process.
#[tokio::test]
async fn a_lease_that_runs_out_in_the_middle_of_a_write_is_another_s() {
    let world = plan()
        .setting("/poller/lease", "1s")
        .setting("/sync/statement_timeout", "1s")
        .setting("/sync/retry", retry())
        .await;
    world.allow("*");
    Workload::new(1).prepare(&world).await;
    history::install(&world).await;
    let late = world.daemon().await;
    world.wait_in_step().await;
    late.set_failpoint("sync.before_commit", "pause").await;
    write(&world, "acme", "update work.note set body = 'older' where scope = {scope}").await;
    late.wait_at_failpoint("sync.before_commit", 1).await;
    late.freeze();
    let other = world.daemon().await;
    write(
        &world,
        "acme",
        "update work.note set body = 'newer' where scope = {scope} and name > 'n1'; delete from work.note where name = 'n1'",
    )
    .await;
    world.wait_in_step().await;
    other.stop().await;
    let states = history::states(&world.tenant("acme").destination).await;
    late.thaw();
    late.clear_failpoints().await;
    // The late daemon works on acme again; it could not if it were still busy with the claim that
    // it lost.
    write(
        &world,
        "acme",
        "insert into work.note (scope, name, body) values ({scope}, 'last', 'last')",
    )
    .await;
    world.wait_in_step().await;
    assert_eq!(history::states(&world.tenant("acme").destination).await, states + 1);
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    late.stop().await;
}

/// The claim on acme's request: attempt, end of the lease, and whether the lease has expired.
async fn claim(world: &World) -> Result<(String, String, bool), String> {
    let claim = format!(
        "select r.attempt, r.leased_until, r.leased_until < now() from offtake.outgoing_request r join offtake.destination d using (destination_id)
          where d.tenant_id = '{}' and r.leased_until is not null",
        world.id("acme")
    );
    let found = world.source.try_query_text(&claim).await?;
    let [attempt, until, over] = found
        .split('|')
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "no worker has it".to_owned())?;
    Ok((attempt.to_owned(), until.to_owned(), over == "t"))
}

/// While a worker waits for a lock, its heartbeat extends its lease, so no other worker does the
/// same work. When the wait exceeds the statement timeout, the worker gives up and retries. The
/// test fails without `Engine::extend` (crates/sync/src/engine.rs): no claim outlasted its lease.
#[tokio::test]
async fn a_lock_in_the_destination_outlasts_the_lease_and_the_statement_timeout() {
    let mut world = plan().setting("/poller/lease", "2s").setting("/sync/retry", retry()).await;
    Workload::new(1).prepare(&world).await;
    history::install(&world).await;
    let (one, two) = tokio::join!(world.daemon(), world.daemon());
    world.wait_in_step().await;
    let tenants_own = world.tenant("acme").destination.connect().await;
    let change =
        "update work.note set body = body || '+' where scope = {scope} and name in ('n1', 'n2')";
    tenants_own.batch_execute("begin; lock table notes in access exclusive mode").await.unwrap();
    write(&world, "acme", change).await;
    wait_for_lock(&world).await;
    // If a daemon itself was stopped by a slow machine, it loses its claim, as it must. Then the
    // other daemon's claim has to last.
    until("a claim outlasts its lease while two daemons look for work", PATIENCE, async || {
        let (attempt, ends, _) = claim(&world).await?;
        until("the claim's first lease is over", PATIENCE, async || {
            let over = world
                .source
                .try_query_text(&format!("select now() > '{ends}'::timestamptz"))
                .await?;
            if over == "t" { Ok(()) } else { Err(ends.clone()) }
        })
        .await;
        // After two rounds, the second one began after that.
        for _ in 0..2 {
            tokio::join!(one.wait_round("sync"), two.wait_round("sync"));
        }
        let now = claim(&world).await?;
        if now.0 == attempt && !now.2 { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    tenants_own.batch_execute("rollback").await.unwrap();
    world.wait_in_step().await;
    one.stop().await;
    two.stop().await;

    world.configure(|c| c["sync"]["statement_timeout"] = "1s".into());
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    tenants_own.batch_execute("begin; lock table notes in access exclusive mode").await.unwrap();
    write(&world, "acme", change).await;
    wait_for_lock(&world).await;
    let gave_way = || {
        daemon
            .log()
            .iter()
            .filter(|line| {
                line.event == "destination_failed" && line.text.contains(world.id("acme"))
            })
            .count()
    };
    let before = gave_way();
    until("the worker gives way", PATIENCE, async || {
        if gave_way() > before { Ok(()) } else { Err("it waits".to_owned()) }
    })
    .await;
    tenants_own.batch_execute("rollback").await.unwrap();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    daemon.stop().await;
}
