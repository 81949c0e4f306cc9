//! Tenants that share a place are written for together: by few transactions, and each as if alone.

use offtake_tests::proxy::Mode;
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{Daemon, PATIENCE, Plan, World, oracle, until};
use serde_json::json;

const NOTES: &str = "
source: { table: public.note, tenant: tenant }
query: select tenant as tenant_id, id, body from public.note
target: { table: notes, keep_tenant: true }
";

const MARKS: &str = "
source: { table: public.mark, tenant: tenant }
query: select tenant as tenant_id, id, value from public.mark
target: { table: marks, keep_tenant: true }
";

/// A world of so many tenants in one database, with a note and a mark each, all copied, and a
/// daemon that has just written to each of them.
async fn world(tenants: usize) -> (World, Daemon) {
    let world = World::with_tenants(["first"]).setting("/poller/lease", "2s");
    furnished(world, tenants, |world| world.tenant("first").destination.url()).await
}

/// The same, with a proxy before that database.
async fn proxied(tenants: usize) -> (World, Daemon) {
    let retry = json!({ "initial": "100ms", "max": "500ms" });
    let world = World::with_tenants(["first"]).proxied("first").setting("/sync/retry", retry);
    let url = |world: &World| {
        let first = world.tenant("first");
        first.proxy().url(&first.destination.url())
    };
    furnished(world, tenants, url).await
}

async fn furnished(plan: Plan, tenants: usize, url: impl Fn(&World) -> String) -> (World, Daemon) {
    let mappings = [("notes", NOTES), ("marks", MARKS)];
    let mut world = plan.mappings(&mappings).without_init().await;
    let url = url(&world);
    let all: Vec<_> = (0..tenants)
        .map(|n| json!({ "tenant": format!("t{n}"), "url": url, "shared": true }))
        .collect();
    world.configure(|c| c["destinations"]["static"] = all.into());
    let fill = format!(
        "create table note (tenant text, id integer, body text, primary key (tenant, id));
         create table mark (tenant text, id integer, value numeric, primary key (tenant, id));
         insert into note select 't' || n, 1, 'first' from generate_series(0, {0}) n;
         insert into mark select 't' || n, 1, 1.0 from generate_series(0, {0}) n",
        tenants - 1
    );
    world.source.execute(&fill).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    (world, daemon)
}

/// What both tables have of the tenants that are served, as one text.
const THERE: &str = "select (select md5(string_agg(n::text, ',' order by tenant_id, id)) from notes n where tenant_id like 't%'),
    (select md5(string_agg(m::text, ',' order by tenant_id, id)) from marks m where tenant_id like 't%')";

/// Waits until the copies are those rows, and nothing is owed.
async fn wait_equal(world: &World) {
    let here = THERE
        .replace("notes n", "note n")
        .replace("marks m", "mark m")
        .replace("tenant_id", "tenant");
    until("the copies are equal and nothing is owed", PATIENCE, async || {
        let owed =
            world.source.try_query_text("select count(*) from offtake.outgoing_request").await?;
        let source = world.source.try_query_text(&here).await?;
        let there = world.tenant("first").destination.try_query_text(THERE).await?;
        if owed == "0" && there == source {
            Ok(())
        } else {
            Err(format!("{owed} owed; {there}, not {source}"))
        }
    })
    .await;
}

/// How many batches were applied, and how many destinations were taken up.
async fn counted(daemon: &Daemon) -> (f64, f64) {
    let (_, metrics) = daemon.get("/metrics").await;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    };
    (value("offtake_batches_total{result=\"applied\"} "), value("offtake_take_ups_total "))
}

/// Each tenant's turn alone was a batch, a read and three transactions.
#[tokio::test]
async fn a_change_of_each_of_many_tenants_is_written_by_a_few_transactions() {
    let (world, daemon) = world(130).await;
    let statements = [
        "update note set body = 'second'",
        "insert into note select tenant, 2, 'new' from note; update mark set value = 1.00",
        "delete from note where id = 2; update note set id = 3 where tenant like '%7'",
        "update note set tenant = 't1' where tenant = 't7'; delete from mark where tenant like '%3'",
    ];
    for statement in statements {
        let before = counted(&daemon).await;
        world.source.execute(statement).await;
        wait_equal(&world).await;
        let (batches, take_ups) = counted(&daemon).await;
        assert!(batches - before.0 < 30.0, "{statement}: {} batches", batches - before.0);
        assert!(take_ups - before.1 < 2.0, "{statement}: {} take-ups", take_ups - before.1);
    }
    // What the source was told is what is there.
    let mirrored = "select string_agg(d.tenant_id || m.mapping || m.sequence_id, ',' order by 1) from offtake.destination_mapping m join offtake.destination d using (destination_id)";
    let mirrored =
        mirrored.replace("order by 1", "order by d.tenant_id || m.mapping || m.sequence_id");
    let stand = "select string_agg(tenant_id || mapping || sequence_id, ',' order by tenant_id || mapping || sequence_id) from _offtake_state";
    let there = world.tenant("first").destination.query_text(stand).await;
    assert_eq!(world.source.query_text(&mirrored).await, there);
    daemon.stop().await;
}

/// Rows in the same tables of tenants that are not served, with the keys of rows that are written and
/// deleted, and rows of tenants that are served but of whom nothing changed.
#[tokio::test]
async fn rows_of_others_in_the_same_tables_are_never_touched() {
    let (world, daemon) = world(60).await;
    let there = &world.tenant("first").destination;
    there
        .execute(
            "insert into notes select 'stranger ' || n, 1, 'theirs' from generate_series(1, 500) n;
             insert into marks select 'stranger ' || n, 1, 5 from generate_series(1, 500) n;
             create table seen as select * from notes where tenant_id like 'stranger%';
             analyze notes",
        )
        .await;
    let quiet = "create table quiet as select xmin::text as written, n.* from notes n where tenant_id in ('t58', 't59')";
    there.execute(quiet).await;
    for statement in [
        "update note set body = 'second' where tenant not in ('t58', 't59')",
        "insert into note select tenant, 2, 'new' from note where tenant not in ('t58', 't59')",
        "delete from note where tenant not in ('t58', 't59')",
        "delete from mark where tenant not in ('t58', 't59')",
    ] {
        world.source.execute(statement).await;
        wait_equal(&world).await;
    }
    let gone = "select count(*) from (select * from seen except select * from notes) gone";
    assert_eq!(there.query_text(gone).await, "0");
    assert_eq!(there.query_text("select count(*) from marks where value = 5").await, "500");
    let rewritten = "select count(*) from quiet q where not exists (select from notes n where n.tenant_id = q.tenant_id and n.id = q.id and n.xmin::text = q.written)";
    assert_eq!(there.query_text(rewritten).await, "0");
    daemon.stop().await;
}

/// A row that the destination refuses concerns its tenant only.
#[tokio::test]
async fn a_refused_row_of_one_tenant_delays_no_other() {
    let (world, daemon) = world(60).await;
    daemon.allow("rows_quarantined");
    let there = &world.tenant("first").destination;
    there.execute("alter table notes add constraint clean check (body <> 'poison')").await;
    world
        .source
        .execute("update note set body = case when tenant = 't17' then 'poison' else 'second' end")
        .await;
    until("the others have their rows", PATIENCE, async || {
        let told = there.try_query_text("select count(*) from notes where body = 'second'").await?;
        if told == "59" { Ok(()) } else { Err(told) }
    })
    .await;
    until("the row is in quarantine", PATIENCE, async || {
        let told = "select string_agg(d.tenant_id || ' ' || q.mapping, ',') from offtake.quarantined_row q join offtake.destination d using (destination_id)";
        let told = world.source.try_query_text(told).await?;
        if told == "t17 notes" { Ok(()) } else { Err(told) }
    })
    .await;
    there.execute("alter table notes drop constraint clean").await;
    world.source.execute("update note set body = 'third'").await;
    wait_equal(&world).await;
    daemon.stop().await;
}

/// A daemon dies in the middle of a group's work. Whatever it had done, the next one leaves each
/// tenant with all of its rows.
#[tokio::test]
async fn a_daemon_killed_within_a_group_loses_and_repeats_nothing() {
    let (world, mut daemon) = world(40).await;
    world.allow("*");
    let points =
        ["sync.after_begin", "sync.before_commit", "sync.after_commit", "sync.before_complete"];
    for point in points {
        daemon.set_failpoint(point, "abort").await;
        let change = format!("update note set body = '{point}'; update mark set value = value + 1");
        world.source.execute(&change).await;
        assert!(!daemon.wait_exit(PATIENCE).await.success(), "it dies at {point}");
        daemon = world.daemon().await;
        wait_equal(&world).await;
        // The next one knows all tenants, so that it works for them together.
        world.source.execute("update mark set value = value + 1").await;
        wait_equal(&world).await;
    }
    daemon.stop().await;
}

/// Another daemon's write moves the cursors of some members while a group waits with its batch.
#[tokio::test]
async fn a_late_group_writes_nothing_over_what_another_daemon_wrote() {
    let (world, daemon) = world(30).await;
    world.allow("*");
    daemon.set_failpoint("sync.after_read", "pause").await;
    world.source.execute("update note set body = 'older'").await;
    daemon.wait_at_failpoint("sync.after_read", 1).await;
    // Its process stands still until its leases have ended, and another daemon has them.
    daemon.freeze();
    world
        .source
        .execute("update note set body = 'newer'; delete from mark where tenant like '%1'")
        .await;
    let other = world.daemon().await;
    wait_equal(&world).await;
    daemon.thaw();
    daemon.clear_failpoints().await;
    // Both go on, and the late one's batch is dropped.
    world.source.execute("update note set body = 'newest' where tenant like '%2'").await;
    wait_equal(&world).await;
    daemon.stop().await;
    other.stop().await;
}

/// A tenant's fuse stops its share of a group at once, also while the group waits at the
/// destination; the others are written for without it.
#[tokio::test]
async fn a_stopped_member_holds_up_no_other() {
    let (world, daemon) = world(30).await;
    let there = &world.tenant("first").destination;
    let holder = there.connect().await;
    let lock = "begin; select from notes where tenant_id = 't5' for update";
    holder.batch_execute(lock).await.expect("the row is there");
    world.source.execute("update note set body = 'second'").await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("the group waits for the row", PATIENCE, async || {
        let found = there.try_query_text(waits).await?;
        if found == "0" { Err(found) } else { Ok(()) }
    })
    .await;
    world.succeed(&["fuse", "off", "tenant:t5", "--reason", "a test"]).await;
    until("the others have their rows", PATIENCE, async || {
        let told = there.try_query_text("select count(*) from notes where body = 'second'").await?;
        if told == "29" { Ok(()) } else { Err(told) }
    })
    .await;
    holder.batch_execute("commit").await.expect("the lock is released");
    world.succeed(&["fuse", "on", "tenant:t5"]).await;
    wait_equal(&world).await;
    daemon.stop().await;
}

/// First copies in a place that is not empty: what is there of the tenants goes where the source has
/// no such row, what is there of others stays, and a tenant with more rows than a group copies has
/// all of them. Then a daemon that is started again finds all of them as they are.
#[tokio::test]
async fn first_copies_of_many_are_exact_whatever_is_there() {
    let (world, daemon) = world(30).await;
    daemon.stop().await;
    let there = &world.tenant("first").destination;
    there
        .execute(
            "delete from _offtake_state; update notes set body = 'wrong' where id = 1;
             insert into notes select 't' || n, 77, 'surplus' from generate_series(0, 29) n;
             insert into notes values ('stranger', 1, 'theirs'), ('stranger', 77, 'theirs')",
        )
        .await;
    // As if the source had never served them.
    world
        .source
        .execute("delete from offtake.destination_mapping; delete from offtake.visit")
        .await;
    world.source.execute("insert into note select 't3', n, 'many' from generate_series(100, 2000) n; delete from note where tenant = 't4'").await;
    let owe = "insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id) select 'sync', destination_id, 1 from offtake.destination on conflict do nothing";
    world.source.execute(owe).await;
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    let strangers = "select count(*) from notes where tenant_id = 'stranger' and body = 'theirs'";
    assert_eq!(there.query_text(strangers).await, "2");
    // A batch of the group, a few of t3, and what they owed besides.
    let (batches, _) = counted(&daemon).await;
    assert!(batches < 15.0, "{batches} batches");
    let told = "select count(*), count(*) filter (where source_identity is not null), count(*) filter (where backfilled) from _offtake_state";
    assert_eq!(there.query_text(told).await, "60|60|60");
    let rows = "select sum(rows_done) from offtake.destination_mapping";
    let expect = "select (select count(*) from note) + (select count(*) from mark)";
    assert_eq!(world.source.query_text(rows).await, world.source.query_text(expect).await);
    daemon.stop().await;

    let daemon = world.daemon().await;
    world.source.execute("update note set body = 'again'").await;
    wait_equal(&world).await;
    let (batches, take_ups) = counted(&daemon).await;
    assert!(batches < 15.0 && take_ups < 35.0, "{batches} batches, {take_ups} take-ups");
    assert_eq!(there.query_text(strangers).await, "2");
    daemon.stop().await;
}

/// A place that does not answer is one failure, told once, and its tenants say why. When it answers
/// again, all of them are served.
#[tokio::test]
async fn a_place_that_is_down_is_told_once_for_all_of_its_tenants() {
    let (world, daemon) = proxied(60).await;
    daemon.allow("place_failed");
    // A tenant that is due alone is dialled for alone.
    daemon.allow("destination_failed");
    world.tenant("first").proxy().set(Mode::Refuse);
    world.source.execute("update note set body = 'second'").await;
    let failing = "select count(*), count(distinct reason) from offtake.destination where state = 'blocked' and consecutive_failures >= 2 and reason like 'unreachable%'";
    until("all tenants fail", PATIENCE, async || {
        let told = world.source.try_query_text(failing).await?;
        if told.starts_with("60|") { Ok(()) } else { Err(told) }
    })
    .await;
    world.tenant("first").proxy().set(Mode::Pass);
    wait_equal(&world).await;
    let told = |event: &str| daemon.log().iter().filter(|line| line.event == event).count();
    assert_eq!(told("place_failed"), 1);
    assert!(told("destination_failed") < 10, "{} lines", told("destination_failed"));
    let settled = "select count(*) from offtake.destination where state = 'in_sync' and consecutive_failures = 0";
    assert_eq!(world.source.query_text(settled).await, "60");
    daemon.stop().await;
}

/// A daemon dies while it copies many tenants for the first time: after their cursors have begun,
/// before and after the commit of their rows, and before the source is told.
#[tokio::test]
async fn a_daemon_killed_within_first_copies_of_many_loses_nothing() {
    let (world, daemon) = world(20).await;
    world.allow("*");
    daemon.stop().await;
    let there = &world.tenant("first").destination;
    let points =
        ["sync.after_claim", "sync.after_begin", "sync.after_commit", "sync.before_complete"];
    for point in points {
        there.execute("delete from _offtake_state; update notes set body = 'wrong'; insert into marks values ('t1', 9, 9)").await;
        world
            .source
            .execute("delete from offtake.destination_mapping; delete from offtake.visit")
            .await;
        let owe = "insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id) select 'sync', destination_id, 1 from offtake.destination on conflict do nothing";
        world.source.execute(owe).await;
        let mut killed = world.spawn_daemon_with_failpoints(&[(point, "abort")]);
        assert!(!killed.wait_exit(PATIENCE).await.success(), "it dies at {point}");
        let daemon = world.daemon().await;
        wait_equal(&world).await;
        daemon.stop().await;
    }
}

/// The random workload: every kind of mapping, parents that take their children along, truncates,
/// rollbacks, rows that go from tenant to tenant.
#[tokio::test]
async fn the_random_workload_over_one_database_survives_kills() {
    let workload = Workload::new(51);
    let tenants = (0..12).map(|n| format!("t{n}"));
    let mut world = Workload::shared_plan(tenants).setting("/poller/lease", "1s").await;
    world.allow("*");
    world.share_one_database();
    workload.prepare(&world).await;
    let daemon = world.daemon().await;
    workload.run(&world, Extent::Steps(20)).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let (batches, _) = counted(&daemon).await;
    assert!(batches > 10.0, "{batches} batches");
    daemon.stop().await;
    for point in
        ["sync.after_read", "sync.before_cursor", "sync.after_commit", "sync.before_complete"]
    {
        workload.run_until_killed(&world, point, async |_| {}).await;
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal_after(&world, "after four kills:").await;
    // The workload moves rows to a tenant that Offtake does not serve: no copy has them.
    let strangers = "select count(*) from notes where tenant_id = 'elsewhere'";
    assert_eq!(world.tenant("t0").destination.query_text(strangers).await, "0");
    daemon.stop().await;
}

/// Each change is one tenant's, so there is no group. The tenant's turn takes a session that another
/// one's has left, and dials none.
#[tokio::test]
async fn a_tenant_that_is_due_alone_takes_a_session_of_its_place() {
    let (world, daemon) = proxied(12).await;
    let accepted = || world.tenant("first").proxy().accepted();
    let before = accepted();
    for n in 0..12 {
        let change = format!("update note set body = 'alone' where tenant = 't{n}'");
        world.source.execute(&change).await;
        wait_equal(&world).await;
    }
    let dialled = accepted() - before;
    assert!(dialled <= 1, "{dialled} dials for twelve turns");
    daemon.stop().await;
}
