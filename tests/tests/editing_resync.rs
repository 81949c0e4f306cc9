//! Re-copies: on an operator's request, during live changes, or because a mapping was removed for a
//! while.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use offtake_tests::samples::TEAMS;
use offtake_tests::{Database, PATIENCE, World, oracle, until};
use tokio_util::sync::CancellationToken;

const USERS: &str = "\
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select tenancy_id as tenant_id, project_user_id as id, display_name from public.project_user where not is_anonymous
target: { table: users }
";

const STAY: i64 = 2_000;

/// Rows over the whole key range are inserted, changed, moved out of the filter and deleted. Rows
/// called `stays` are left alone.
async fn come_and_go(source: &Database, tenant: &str, stop: &CancellationToken) {
    let client = source.connect().await;
    let changes = format!(
        "insert into public.project_user (tenancy_id, display_name) select '{tenant}', 'comes' from generate_series(1, 20);
         update public.project_user set display_name = 'changes' where display_name = 'comes' and random() < 0.5;
         update public.project_user set is_anonymous = true where display_name = 'changes' and random() < 0.3;
         delete from public.project_user where display_name in ('comes', 'changes') and random() < 0.2"
    );
    // As fast as it could, the copy would never catch up with it on a busy machine.
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while !stop.is_cancelled() {
        pace.tick().await;
        client.batch_execute(&changes).await.expect("the application writes");
    }
}

/// Reads again and again until `stop`. Returns the fewest rows seen that must always exist, the
/// most rows seen that must never exist, and the number of reads.
async fn read_all_the_time(destination: &Database, stop: &CancellationToken) -> (i64, i64, u32) {
    let reader = destination.connect().await;
    let (mut fewest, mut most, mut reads) = (i64::MAX, 0, 0);
    while !stop.is_cancelled() || reads <= 10 {
        let look = "select count(*) filter (where display_name = 'stays'), count(*) filter (where display_name = 'never') from users";
        let row = reader.query_one(look, &[]).await.expect("the table is there");
        (fewest, most, reads) = (fewest.min(row.get(0)), most.max(row.get(1)), reads + 1);
    }
    (fewest, most, reads)
}

/// A reader that polls never misses a row that must exist, and never sees one that must not.
#[tokio::test]
async fn a_reader_never_misses_a_row_while_a_copy_is_made_again_under_load() {
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).rows_at_once(50).await;
    let id = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into public.project_user (tenancy_id, display_name) select '{id}', 'stays' from generate_series(1, {STAY});
             insert into public.project_user (tenancy_id, display_name, is_anonymous) select '{id}', 'never', true from generate_series(1, 500)"
        ))
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    let (stop, quiet) = (CancellationToken::new(), CancellationToken::new());
    let resyncs = async {
        for _ in 0..3 {
            let output = world.offtake(&["resync", "--tenant", id, "--wait", "60s"]).await;
            assert!(output.status.success(), "{output:?}");
        }
        quiet.cancel();
        world.wait_in_step().await;
        stop.cancel();
    };
    let writes = come_and_go(&world.source, id, &quiet);
    let ((fewest, most, reads), (), ()) =
        tokio::join!(read_all_the_time(destination, &stop), writes, resyncs);
    assert_eq!((fewest, most), (STAY, 0), "in {reads} reads");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Each member with the name of its team; the teams' table has a mapping of its own.
const MEMBERS: &str = "\
source: { table: public.team_member, tenant: tenancy_id, key: { team: team_id, id: project_user_id } }
depends_on: [{ table: public.team, match: { tenancy_id: tenancy_id, team_id: team_id } }]
query: |
  select m.tenancy_id as tenant_id, m.team_id as team, m.project_user_id as id, t.display_name as team_name
    from public.team_member m join public.team t using (tenancy_id, team_id)
target: { table: members }
";

async fn wait_registered(world: &World, mappings: &str) {
    const REGISTERED: &str = "select array_to_string(mappings, ' ') from offtake.destination";
    world.source.wait_text(REGISTERED, mappings).await;
}

/// The mapping's cursor still exists, but it knows nothing of the time in which the mapping's
/// tables were not captured, or not as the mapping needs. The test fails if the mapping goes on
/// from its cursor: rows that changed meanwhile were missing, and the status said in sync.
#[tokio::test]
async fn a_mapping_that_was_away_is_copied_again_when_it_comes_back() {
    let world = World::with_tenants(["acme"])
        .mappings(&[("members", MEMBERS), ("teams", TEAMS), ("users", USERS)])
        .await;
    world.fill(20).await;
    let mut daemon = world.daemon().await;
    world.wait_in_step().await;
    for restarts in [false, true] {
        for name in ["members", "users"] {
            std::fs::remove_file(world.mappings_folder().join(name).with_extension("yaml"))
                .unwrap();
        }
        wait_registered(&world, "teams").await;
        let init = world.succeed(&["init"]).await;
        assert!(
            init.contains("triggers taken off: public.project_user, public.team_member"),
            "{init}"
        );
        let changes = format!(
            "update public.project_user set display_name = 'away {restarts}'; update public.team set display_name = 'away {restarts}';
             delete from public.team_member where abs(hashtext(project_user_id::text)) % 3 = 0"
        );
        world.source.execute(&changes).await;
        if restarts {
            daemon.stop().await;
            daemon = world.daemon().await;
        }
        for (name, text) in [("members", MEMBERS), ("users", USERS)] {
            world.write_mapping(name, text);
        }
        world.succeed(&["init"]).await;
        wait_registered(&world, "members teams users").await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    // This time only the function of the table it depends on was rewritten for other mappings: no
    // trigger was dropped, and no `init` noticed it.
    std::fs::remove_file(world.mappings_folder().join("members.yaml")).unwrap();
    wait_registered(&world, "teams users").await;
    world.source.execute("update public.team set display_name = 'away for the last time'").await;
    let arrived = "select bool_and(display_name = 'away for the last time') from teams";
    until("the other mapping has it", PATIENCE, async || {
        match world.tenant("acme").destination.query_text(arrived).await.as_str() {
            "t" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
    world.write_mapping("members", MEMBERS);
    wait_registered(&world, "members teams users").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Only `init` sees that the mapping was removed. No trigger was dropped, because another mapping
/// has the same table. The test fails if `init` does not record which mappings are gone: the change
/// of a team's name woke no member, and the status said in sync.
#[tokio::test]
async fn a_mapping_that_was_away_while_no_daemon_ran_is_copied_again() {
    const PLAIN: &str = "\
source: { table: public.team_member, tenant: tenancy_id, key: { team: team_id, id: project_user_id } }
query: select tenancy_id as tenant_id, team_id as team, project_user_id as id from public.team_member
target: { table: plain }
";
    let world = World::with_tenants(["acme"])
        .mappings(&[("members", MEMBERS), ("plain", PLAIN), ("teams", TEAMS)])
        .await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let members = world.mappings_folder().join("members.yaml");
    std::fs::remove_file(&members).unwrap();
    let init = world.succeed(&["init"]).await;
    assert!(
        init.contains("capture function written for: public.team") && !init.contains("taken off"),
        "{init}"
    );
    world.source.execute("update public.team set display_name = 'while nobody was there'").await;
    world.write_mapping("members", MEMBERS);
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    wait_registered(&world, "members plain teams").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A mapping that is removed before its copy began may leave a resync request. The request waits
/// for the mapping, and meanwhile it enqueues no sync.
#[tokio::test]
async fn a_resync_of_a_mapping_that_is_gone_keeps_nobody_busy() {
    const SWEEP: &str = include_str!("../../crates/requests/sql/sweep_due.sql");
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let source = world.source.connect().await;
    for (mapping, owed) in [("gone", "0"), ("teams", "1")] {
        let asked = "insert into offtake.resync_request (destination_id, mapping) select destination_id, $1 from offtake.destination";
        source.execute(asked, &[&mapping]).await.unwrap();
        source.execute(SWEEP, &[&(24 * 60 * 60 * 1000_i64)]).await.unwrap();
        assert_eq!(
            world.source.query_text("select count(*) from offtake.outgoing_request").await,
            owed,
            "{mapping}"
        );
    }
}

/// For a transaction in progress, the old function has not captured what a new mapping needs. The
/// test fails if the function is replaced without waiting for such transactions: the copy began
/// before they were committed, and no change woke it afterwards.
#[tokio::test]
async fn a_mapping_waits_for_writers_that_are_captured_for_others() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(20).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let writer = world.source.connect().await;
    writer.batch_execute("begin; update public.team set display_name = 'under way'").await.unwrap();
    world.write_mapping("members", MEMBERS);
    until("the mapping waits, or is copied", PATIENCE, async || {
        let told = daemon.status().await["config"]["error"].to_string();
        let copied =
            world.source.query_text("select count(*) from offtake.destination_mapping where mapping = 'members' and backfilled").await;
        if told.contains("waiting for it: members") || copied == "1" { Ok(()) } else { Err(told) }
    })
    .await;
    writer.batch_execute("commit").await.unwrap();
    world.succeed(&["init"]).await;
    daemon.reload();
    wait_registered(&world, "members teams").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Earlier changes of the dependency were not captured for the mapping.
#[tokio::test]
async fn a_dependency_that_is_named_later_makes_the_copy_again() {
    let dependency = MEMBERS.lines().find(|line| line.starts_with("depends_on")).unwrap();
    let without = MEMBERS.replace(&format!("{dependency}\n"), "");
    let world =
        World::with_tenants(["acme"]).mappings(&[("teams", TEAMS), ("members", &without)]).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute("update public.team set display_name = 'before it was named'").await;
    world.wait_in_step().await;
    let version = "select version from _offtake_state where mapping = 'members'";
    let acme = &world.tenant("acme").destination;
    let before = acme.query_text(version).await;
    world.write_mapping("members", MEMBERS);
    until("the re-copy begins", PATIENCE, async || {
        let found = acme.query_text(version).await;
        if found == before { Err(found) } else { Ok(()) }
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
