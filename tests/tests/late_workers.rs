//! Invariants 3, 4 and 5: a worker that comes late, after another one took its place, changes
//! nothing.
//!
//! The late daemon here has a lease of ten minutes, hence no heartbeat while a test lasts, and
//! takes one request at a time; its lease is ended from outside. Nothing but the fence can stop
//! what it does when it goes on.

#![allow(clippy::unwrap_used)]

use offtake_tests::workload::Workload;
use offtake_tests::{Daemon, PATIENCE, Plan, World, history, oracle, until};

/// Where a worker can stand, and whether it then holds the locks of the destination's cursors.
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
    Workload::plan(["acme", "globex"]).setting("/sync/batch_rows", 7)
}

/// A world in step whose only daemon so far is the late one. Daemons made later have its settings:
/// who stands still with acme's request cannot do globex's, and keeps it however slow the machine
/// is, unless the test ends its lease.
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

/// As if time had passed.
async fn end_leases(world: &World) {
    world.source.execute("update offtake.outgoing_request set leased_until = now() where leased_until is not null").await;
}

/// The daemon takes one request at a time: when another tenant's is done, it has no other any more.
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

/// Everything that Offtake remembers of acme at the source.
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

/// A worker read or wrote one state and stopped; another applied a newer one, a deletion, and a
/// deletion with a new row. Shown to fail, at `sync.after_read`, without `found.cursors !=
/// *cursors` in `Turn::apply` (crates/sync/src/turn.rs): the older row came back, and the deleted
/// ones with it.
#[tokio::test]
async fn a_worker_that_goes_on_late_changes_nothing() {
    let (world, late) = with_late_daemon().await;
    let destination = &world.tenant("acme").destination;
    for (point, locked) in POINTS {
        late.set_failpoint(point, "pause").await;
        // A copy anew comes in chunks; its other points are not those of this round.
        let anew = if point.starts_with("backfill") { "truncate work.note;" } else { "" };
        let older = "insert into work.note (scope, name, body) select {scope}, 'n' || n, 'older' from generate_series(0, 29) n
                       on conflict (scope, name) do update set body = excluded.body where note.name in ('n1', 'n2', 'n3')";
        write(&world, "acme", &format!("{anew} {older}")).await;
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

/// The request is another worker's now: what the late one says about it does not count. Shown to
/// fail without `and attempt = $2` in release_request.sql (the other worker's lease was gone), and
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
        // The other daemon, too, takes one request at a time, and it must be acme's.
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

/// A row that the late worker wrote and that the destination refused from the other one stays in
/// quarantine: otherwise a row would be missing that the status does not know of (invariant 8).
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

/// A process that stands still in the middle of its write holds the destination's locks for as long
/// as the destination lets a transaction idle, and its lease runs out by itself; both then end
/// without it.
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
    // It takes up acme again, which it would not while it worked for its lost claim.
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

/// Attempt, end of the lease, and whether that is over, of the claim on acme's request.
async fn claim(world: &World) -> Result<(String, String, bool), String> {
    let claim = format!(
        "select r.attempt, r.leased_until, r.leased_until < now() from offtake.outgoing_request r join offtake.destination d using (destination_id)
          where d.tenant_id = '{}' and r.leased_until is not null",
        world.id("acme")
    );
    let found = world.source.try_query_text(&claim).await?;
    let [attempt, until, over] =
        found.split('|').collect::<Vec<_>>().try_into().map_err(|_| "nobody has it".to_owned())?;
    Ok((attempt.to_owned(), until.to_owned(), over == "t"))
}

/// While it waits, a worker's heartbeat keeps its lease, and nobody does the same work beside it;
/// when the wait is longer than a statement may take, it gives way and tries again. Shown to fail
/// without `Engine::extend` (crates/sync/src/engine.rs): no claim outlasted its lease.
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
    // A daemon that stands still itself loses its claim, as it should; then the other's has to
    // last.
    until("a claim outlasts its lease while two daemons look for work", PATIENCE, async || {
        let (attempt, ends, _) = claim(&world).await?;
        until("its first lease is over", PATIENCE, async || {
            let over = world
                .source
                .try_query_text(&format!("select now() > '{ends}'::timestamptz"))
                .await?;
            if over == "t" { Ok(()) } else { Err(ends.clone()) }
        })
        .await;
        // Of two rounds the second began after that.
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
