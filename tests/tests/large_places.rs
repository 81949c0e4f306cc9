//! A database that very many tenants share: what a start, an edited mapping, or the loss of its
//! tables costs is not what it costs for a single tenant, times their number.

use std::path::Path;

use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::json;

const NOTES: &str = "
source: { table: public.note, tenant: tenant }
query: select tenant as tenant_id, id, body from public.note
target: { table: notes, keep_tenant: true }
";

/// The schema of the place. No other test's statements name it.
const SCHEMA: &str = "of_very_many";

/// So many tenants of a shared place are visited by a daemon's start, although they stand.
const VISITED: usize = 100;

/// A world of so many tenants in one database, which the destinations query names, with a note each.
async fn world(tenants: usize) -> World {
    let plan = World::with_tenants(["first"]).mappings(&[("notes", NOTES)]).without_init();
    let mut world = plan.await;
    let url = world.tenant("first").destination.url();
    world.configure(|c| {
        c["destinations"] = json!({
            "query": format!("select tenant as tenant_id, '{url}' as url, '{SCHEMA}' as schema, true as shared from served"),
            "refresh": "200ms",
        });
    });
    let fill = format!(
        "create table note (tenant text, id integer, body text, primary key (tenant, id));
         create table served (tenant text primary key);
         insert into served select 't' || n from generate_series(1, {tenants}) n;
         insert into note select tenant, 1, 'first' from served"
    );
    world.source.execute(&fill).await;
    world.succeed(&["init"]).await;
    world
}

const THERE: &str = "select md5(string_agg(tenant_id || ' ' || id || ' ' || body, ',' order by tenant_id, id)) from of_very_many.notes";

/// Waits until the copies are the rows of all tenants, those that are served are registered, and
/// nothing is owed. That is asked last: before, what is written may not be owed yet.
async fn wait_equal(world: &World) {
    let here = THERE.replace("tenant_id", "tenant").replace("of_very_many.notes", "note");
    until("the copies are equal and nothing is owed", 2 * PATIENCE, async || {
        let registered = "select (select count(*) from served) - count(*) from offtake.destination where active and refused is null";
        let missing = world.source.try_query_text(registered).await?;
        let source = world.source.try_query_text(&here).await?;
        let there = world.tenant("first").destination.try_query_text(THERE).await?;
        let owed =
            world.source.try_query_text("select count(*) from offtake.outgoing_request").await?;
        match owed == "0" && missing == "0" && there == source {
            true => Ok(()),
            false => Err(format!("{owed} owed, {missing} not registered; {there}, not {source}")),
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

/// Has the destination's server log all statements of the sessions that begin from now on.
async fn log_statements(world: &World) {
    let destination = &world.tenant("first").destination;
    let database = destination.query_text("select quote_ident(current_database())").await;
    destination.execute(&format!("alter database {database} set log_statement = 'all'")).await;
}

/// Those of them that read other tenants' cursors in this world's schema.
async fn looks_for_rivals(world: &World) -> usize {
    let data = world.tenant("first").destination.query_text("show data_directory").await;
    let log = Path::new(&data).with_file_name("server.log");
    let text = std::fs::read_to_string(&log).expect("the server's log can be read");
    let looks = text.split("LOG: ").filter(|entry| entry.contains("Which other tenants have"));
    looks.filter(|entry| entry.contains(SCHEMA)).count()
}

/// Waits until so many destinations were taken up, and sees that there are no more.
async fn wait_visited(world: &World, daemon: &Daemon, wanted: usize) {
    until("the place was visited", PATIENCE, async || {
        let (_, take_ups) = counted(daemon).await;
        if take_ups >= wanted as f64 { Ok(()) } else { Err(format!("{take_ups} visits")) }
    })
    .await;
    world.source.wait_text("select count(*) from offtake.outgoing_request", "0").await;
    let (_, take_ups) = counted(daemon).await;
    assert_eq!(take_ups, wanted as f64);
}

/// Without the versions of copies at the source, each start visited every destination.
#[tokio::test]
async fn a_start_visits_few_of_the_tenants_of_a_place_that_stand() {
    let tenants = VISITED + 60;
    let world = world(tenants).await;
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    daemon.stop().await;

    log_statements(&world).await;
    let daemon = world.daemon().await;
    wait_visited(&world, &daemon, VISITED).await;
    daemon.stop().await;
    // None can have a rival, so that the cursors of all tenants are not read.
    assert_eq!(looks_for_rivals(&world).await, 0);

    // A daemon of the version before wrote them last; it may have had another mapping.
    world.source.execute("update offtake.destination_mapping set updated_at = now()").await;
    let daemon = world.daemon().await;
    wait_visited(&world, &daemon, tenants).await;
    // What such a visit says is that they stand, with this version.
    world.source.execute("update note set body = 'new'").await;
    wait_equal(&world).await;
    daemon.stop().await;
    let daemon = world.daemon().await;
    wait_visited(&world, &daemon, VISITED).await;
    daemon.stop().await;
}

/// Each tenant had a turn of its own, of some thirty statements.
#[tokio::test]
async fn an_edited_mapping_is_copied_again_for_many_tenants_together() {
    let world = world(130).await;
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    let (batches, _) = counted(&daemon).await;
    world.write_mapping("notes", &NOTES.replace("id, body", "id, upper(body) as body"));
    until("the edited mapping is everywhere", PATIENCE, async || {
        let edited = "select count(*) from of_very_many.notes where body = 'FIRST'";
        let there = world.tenant("first").destination.try_query_text(edited).await?;
        if there == "130" { Ok(()) } else { Err(there) }
    })
    .await;
    let (after, _) = counted(&daemon).await;
    assert!(after - batches < 30.0, "{} batches", after - batches);
    // And so is an edit that is found by a start.
    daemon.stop().await;
    world.write_mapping("notes", NOTES);
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    let (batches, _) = counted(&daemon).await;
    assert!(batches < 30.0, "{batches} batches");
    daemon.stop().await;
}

/// A quiet tenant whose rows were lost waited for a visit: of a million tenants, for half a day.
#[tokio::test]
async fn tables_that_were_emptied_are_filled_again_for_all_tenants() {
    let world = world(130).await;
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    daemon.stop().await;
    let place = &world.tenant("first").destination;
    let losses = [
        "truncate of_very_many.notes",
        "drop table of_very_many.notes",
        "truncate of_very_many.notes, of_very_many._offtake_state",
    ];
    for loss in losses {
        // Of all tenants, a daemon doubts once a minute at most.
        let daemon = world.daemon().await;
        wait_visited(&world, &daemon, VISITED).await;
        place.execute(loss).await;
        world.source.execute("update note set body = body || '.' where tenant = 't7'").await;
        wait_equal(&world).await;
        let (batches, _) = counted(&daemon).await;
        assert!(batches < 30.0, "{loss}: {batches} batches");
        daemon.stop().await;
    }
}

/// The list is registered in several transactions.
#[tokio::test]
async fn a_daemon_killed_between_the_parts_of_a_registration_loses_no_tenant() {
    let world = world(2600).await;
    world.allow("*");
    for parts in 0..3 {
        let point = ("registry.after_commit", &*format!("{parts}*off->1*abort"));
        let mut daemon = world.spawn_daemon_with_failpoints(&[point]);
        let status = daemon.wait_exit(PATIENCE).await;
        assert!(!status.success(), "{parts}: {status}");
        assert_eq!(daemon.failpoint_count(point.0), 1, "{parts}");
    }
    let registered = "select count(*) between 1000 and 2599 from offtake.destination";
    assert_eq!(world.source.query_text(registered).await, "t");
    // The dead daemons' workers had claimed the first ones; a minute need not be waited for here.
    // The server may still commit a claim of theirs.
    world.source.wait_left().await;
    let leases =
        "update offtake.outgoing_request set leased_until = null, failures = 0, not_before = now()";
    world.source.execute(leases).await;
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn very_many_tenants_are_registered_by_two_daemons_at_once() {
    let mut world = world(2600).await;
    world.allow("destination_refused");
    // Two of them claim one schema for themselves.
    let url = world.tenant("first").destination.url();
    let query = format!(
        "select tenant as tenant_id, '{url}' as url, true as shared, '{SCHEMA}' as schema from served
         union all select 'claims' || n, '{url}', false, 'claimed' from generate_series(1, 2) n"
    );
    world.configure(|c| c["destinations"]["query"] = query.into());
    let mut daemons = [world.spawn_daemon(&[]), world.spawn_daemon(&[])];
    for daemon in &mut daemons {
        daemon.wait_ready().await;
    }
    let refused = "select string_agg(tenant_id, ' ' order by tenant_id) from offtake.destination where refused is not null";
    world.source.wait_text(refused, "claims1 claims2").await;
    wait_equal(&world).await;
    let change = "delete from served where tenant like '%1';
                  insert into served values ('new'); insert into note values ('new', 1, 'first')";
    world.source.execute(change).await;
    wait_equal(&world).await;
    for daemon in daemons {
        daemon.stop().await;
    }
}
