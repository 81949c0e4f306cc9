//! A daemon that goes on late with a group, after another one took its tenants over, and replies
//! that are lost.
//!
//! The late daemon has a lease of ten minutes, so it sends no heartbeat during a test. The test ends
//! its leases in the table. When the daemon goes on, only the fence can stop its work.

use offtake_tests::proxy::Cut;
use offtake_tests::{Daemon, PATIENCE, Plan, World, until};
use serde_json::Value;

use super::{
    assert_told, logged, made, plan, sum, together, versions, wait_equal, wait_together,
    write_together,
};

/// So many tenants are written for by the late daemon, and two others show that it is done.
const LATE: usize = 8;
const OTHERS: &str = "tenant in ('t8', 't9')";

fn late_plan() -> Plan {
    plan()
        .setting("/poller/lease", "10m")
        // A transaction that stands still for twice as long is ended.
        .setting("/sync/statement_timeout", "500ms")
}

async fn late_world(plan: Plan) -> (World, Daemon) {
    let (world, late) = made(plan, LATE + 2).await;
    world.allow("*");
    (world, late)
}

/// The late daemon works for all of them together, and stands still at that point with eight.
async fn pause_at(world: &World, late: &Daemon, point: &str) {
    let change = "update mark set value = value + 1";
    // What it knows may be from before another daemon's work.
    world.source.execute(change).await;
    wait_equal(world).await;
    // Those that a claim leaves over may come one by one.
    write_together(world, late, change, LATE as u64).await;
    let before = late.failpoint_count(point);
    late.set_failpoint(point, "pause").await;
    let older = format!("update note set body = 'older, {point}' where not {OTHERS}");
    world.source.execute(&older).await;
    late.wait_at_failpoint(point, before + 1).await;
    let leased = "select count(*) from offtake.outgoing_request where leased_until is not null";
    world.source.wait_text(leased, &LATE.to_string()).await;
    assert_eq!(late.failpoint_count(point), before + 1, "{point}: not once for all of them");
}

/// The process stands still, but not within a transaction at the source, which all daemons need.
pub(super) async fn freeze(world: &World, late: &Daemon) {
    let open = "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'offtake%' and state <> 'idle'";
    until("the daemon stands still outside its transactions", PATIENCE, async || {
        late.freeze();
        let found = world.source.try_query_text(open).await?;
        if found == "0" {
            return Ok(());
        }
        late.thaw();
        Err(found)
    })
    .await;
}

async fn end_leases(world: &World) {
    let end =
        "update offtake.outgoing_request set leased_until = now() where leased_until is not null";
    world.source.execute(end).await;
}

/// Waits until the late daemon's worker is done with the first tenants: it takes these two then.
async fn wait_done(world: &World, late: &Daemon) {
    let pairs = || {
        let told = late.log().into_iter().filter(|line| line.event == "written_together");
        let told = told.filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
        // Their cursors may be others by now, for the other daemon visits everybody.
        let both = |of: &Value| Some(of["members"].as_u64()? + of["left_out"].as_u64()?);
        told.filter(|told| both(told) == Some(2)).count()
    };
    let before = pairs();
    world.source.execute(&format!("update mark set value = value + 1 where {OTHERS}")).await;
    until("the late daemon writes for two others", PATIENCE, async || {
        if pairs() > before { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
}

/// Its process stands still at each point of a group, past its leases, and another daemon writes
/// newer rows. When it goes on, it changes nothing: neither rows, nor cursors, nor what the source
/// was told. The test fails without `locked.cursors == *of.expected` in `Session::hold`
/// (crates/sync/src/destinations/postgres/group.rs) at `sync.after_read`: older rows came back.
#[tokio::test]
async fn a_late_group_writes_nothing_over_what_another_daemon_wrote() {
    let (world, late) = late_world(late_plan()).await;
    for point in [
        "sync.after_read",
        "sync.after_begin",
        "sync.before_commit",
        "sync.after_commit",
        "sync.before_complete",
    ] {
        pause_at(&world, &late, point).await;
        freeze(&world, &late).await;
        let newer = "update note set body = 'newer' where tenant in ('t1', 't2');
            delete from note where tenant in ('t3', 't4');
            insert into note values ('t4', 1, 'again'), ('t5', 2, 'new');
            delete from mark where tenant = 't6'";
        world.source.execute(newer).await;
        end_leases(&world).await;
        let other = world.daemon().await;
        wait_equal(&world).await;
        other.stop().await;
        let which = "tenant_id not in ('t8', 't9')";
        let both = async || {
            (versions(&world, "notes", which).await, versions(&world, "marks", which).await)
        };
        let before = both().await;
        late.thaw();
        late.clear_failpoints().await;
        wait_done(&world, &late).await;
        wait_equal(&world).await;
        assert_eq!(both().await, before, "{point}");
        assert_told(&world, point).await;
        let again = "delete from note where id = 2; insert into note values ('t3', 1, 'back'); insert into mark values ('t6', 1, 1)";
        world.source.execute(again).await;
        wait_equal(&world).await;
    }
    late.stop().await;
}

/// What the source knows of the first tenants.
async fn remembered(world: &World) -> String {
    let query = format!(
        "select d.tenant_id, d.sequence_id, d.state, m.mapping, m.sequence_id, m.updated_at, r.request_id, r.attempt, r.leased_by, r.wanted_sequence_id
           from offtake.destination d join offtake.destination_mapping m using (destination_id) left join offtake.outgoing_request r using (destination_id)
          where not {} order by d.tenant_id, m.mapping",
        OTHERS.replace("tenant", "d.tenant_id")
    );
    world.source.query_text(&query).await
}

/// Another daemon has claimed the tenants, so the late one's results do not count. The test fails
/// without `r.attempt = told.attempt` in mirror_group.sql (the source was told of older cursors),
/// and without `r.attempt = done.attempt` in complete_requests.sql (the other's leases were gone).
#[tokio::test]
async fn a_late_group_says_nothing_about_another_s_claims() {
    // A daemon that works for the first tenants cannot take the others.
    let (world, late) = late_world(late_plan().setting("/poller/claim_limit", LATE)).await;
    for (late_at, other_at) in [
        ("sync.before_complete", "sync.after_claim"),
        ("sync.after_commit", "sync.before_complete"),
    ] {
        pause_at(&world, &late, late_at).await;
        let other = world.spawn_daemon_with_failpoints(&[(other_at, "pause")]);
        let newer = format!("update note set body = 'newer' where not {OTHERS}");
        world.source.execute(&newer).await;
        end_leases(&world).await;
        // Each of those whose lease has run out is worked on alone.
        other.wait_at_failpoint(other_at, LATE).await;
        let before = remembered(&world).await;
        late.clear_failpoints().await;
        // It takes one of the others when it is done with one of the first.
        let change = format!("update note set body = 'now, {late_at}' where {OTHERS}");
        world.source.execute(&change).await;
        let arrived = format!("select count(*) from notes where body = 'now, {late_at}'");
        world.tenant("first").destination.wait_text(&arrived, "2").await;
        assert_eq!(remembered(&world).await, before, "{late_at}");
        other.clear_failpoints().await;
        wait_equal(&world).await;
        assert_told(&world, late_at).await;
        other.stop().await;
    }
    late.stop().await;
}

/// The daemon does not learn whether a group's commit happened, at the destination or at the source.
/// It asks, and writes no row twice.
#[tokio::test]
async fn replies_that_a_group_loses_leave_nothing_owed() {
    let plan = plan().setting("/poller/lease", "2s").proxied("first").proxied_source();
    let (world, daemon) = made(plan, 40).await;
    world.allow("*");
    let (there, source) = (world.tenant("first").proxy(), world.source_proxy());
    for (number, (proxy, cut)) in [
        (there, Cut::before_reply("commit")),
        (there, Cut::after_statement("commit")),
        // Also that of the next attempt, which is a look at the cursors.
        (there, Cut::before_reply("commit").times(2)),
        (there, Cut::before_reply("update")),
        (source, Cut::before_reply("commit").times(6)),
        (source, Cut::before_reply("delete")),
    ]
    .into_iter()
    .enumerate()
    {
        let before = together(&daemon);
        let (cuts, of_the_source) = (cut.clone(), number > 3);
        let cut = proxy.arm(cut);
        let change =
            format!("update note set body = 'change {number}'; update mark set value = {number}");
        world.source.execute(&change).await;
        if of_the_source {
            // Those of other loops are lost, too.
            until("a reply is lost", PATIENCE, async || match cut.count() {
                0 => Err("none is".to_owned()),
                _ => Ok(()),
            })
            .await;
        } else {
            cut.wait().await;
        }
        wait_equal(&world).await;
        proxy.disarm();
        assert_told(&world, &format!("{cuts:?}")).await;
        if number < 2 {
            // All rows are one transaction's, whose reply was lost.
            let commits = "select count(distinct xmin::text) from notes";
            let commits = world.tenant("first").destination.query_text(commits).await;
            assert_eq!(commits, "1", "{cuts:?}: rows were written twice, or each alone");
        }
        // They work together again.
        world.source.execute("update note set body = body || '+'").await;
        wait_equal(&world).await;
        wait_together(&daemon, before, 40).await;
    }
    assert!(sum(&daemon, "group_left", "members") >= 40, "no group lost its reply");
    daemon.stop().await;
}

/// The commit is sent together with the move of the cursors, before it is known whether they move.
/// The test fails if the commit overtakes the move (`states::write`,
/// crates/sync/src/destinations/postgres/states.rs): the rows of all are visible then, and the
/// cursors are not moved.
#[tokio::test]
async fn no_row_of_a_group_is_visible_where_a_cursor_cannot_move() {
    let (world, daemon) = made(plan().setting("/poller/lease", "5s"), 12).await;
    world.allow("destination_failed");
    let there = &world.tenant("first").destination;
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no cursor moves here'; end $$;
        create trigger refuse before update on _offtake_state for each row when (new.tenant_id = 't7') execute function refuse()";
    there.execute(refuse).await;
    let left = logged(&daemon, "group_left");
    world.source.execute("update note set body = 'second'; update mark set value = 2").await;
    let failed =
        "select string_agg(tenant_id, ',') from offtake.destination where consecutive_failures > 0";
    world.source.wait_text(failed, "t7").await;
    assert!(logged(&daemon, "group_left") > left, "no group was refused");
    let early = "select string_agg(distinct tenant_id, ',') from notes where body = 'second' and tenant_id = 't7'";
    assert_eq!(there.query_text(early).await, "", "a row is there, its cursor is not");
    let others = "select count(*) from notes where body = 'second'";
    there.wait_text(others, "11").await;
    there.execute("drop function refuse cascade").await;
    wait_equal(&world).await;
    assert_told(&world, "when the cursors move").await;
    daemon.stop().await;
}
