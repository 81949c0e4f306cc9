//! Unlogged tables: a crash of their server empties them, and no trigger fires.

use std::time::Duration;

use offtake_private_server::PrivateServer;
use offtake_tests::{Daemon, PATIENCE, Plan, World, oracle, until};

use crate::{mapping, start};

/// The daemon looks at the source's tables every 30 seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

const TABLES: &str = "create table hot (org text, id int, v int, primary key (org, id));
    create table cold (org text, id int, v int, primary key (org, id));
    insert into hot select '{t}', n, n from generate_series(1, 100) n;
    insert into cold select '{t}', n, n from generate_series(1, 100) n";

/// A world with both tables and their mappings, and a daemon; in step.
async fn hot_and_cold(plan: Plan) -> (World, Daemon) {
    let (hot, cold) = (mapping("hot", "id, v"), mapping("cold", "id, v"));
    let world = plan.mappings(&[("hot", &hot), ("cold", &cold)]).without_init().await;
    world.allow("*");
    let daemon = start(&world, &TABLES.replace("{t}", world.id("acme"))).await;
    world.wait_in_step().await;
    (world, daemon)
}

async fn refusals(world: &World) -> String {
    let mut told = String::new();
    for arguments in [&["check", "--connect"][..], &["init"]] {
        let output = world.offtake(arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {stderr}");
        assert!(told.is_empty() || told == stderr, "{told}\n{stderr}");
        told = stderr;
    }
    told
}

/// Runs what stands behind `remedy: ` in every message.
async fn obey(world: &World, told: &str) {
    let remedies: Vec<&str> = told
        .lines()
        .filter_map(|line| Some(line.split_once("remedy: run as its owner: ")?.1))
        .collect();
    assert!(!remedies.is_empty(), "{told}");
    for remedy in remedies {
        world.source.execute(remedy).await;
    }
}

#[tokio::test]
async fn an_unlogged_table_is_refused_with_the_statement_that_mends_it() {
    let dependent = "source: { table: public.cold, tenant: org }\n\
        depends_on: [{ table: public.pt, match: { id: id } }, { table: public.parent, match: { id: id } }]\n\
        query: select org as tenant_id, id, v from public.cold\ntarget: { table: cold }\n";
    let hot = mapping("hot", "id, v");
    let world = World::with_tenants(["acme"])
        .mappings(&[("hot", &hot), ("cold", dependent)])
        .without_init()
        .await;
    let tables = TABLES.replace("{t}", world.id("acme"));
    world
        .source
        .execute(&format!(
            "{tables}; alter table hot set unlogged;
             create table pt (id int) partition by list (id); create table pt_1 partition of pt for values in (1);
             create unlogged table \"pt 2\" partition of pt for values in (2);
             create table parent (id int); create unlogged table child () inherits (parent);
             create unlogged table referred (id int primary key); alter table child add foreign key (id) references referred"
        ))
        .await;
    let told = refusals(&world).await;
    for expect in [
        "hot.yaml:1:18: public.hot is unlogged",
        "cold.yaml:2:23: public.pt has the unlogged partition public.pt 2",
        "public.parent has the unlogged child public.child",
        "alter table public.referred set logged; alter table public.child set logged;",
        "remedy: run as its owner: alter table public.hot set logged;",
        "remedy: run as its owner: alter table public.\"pt 2\" set logged;",
    ] {
        assert!(told.contains(expect), "{expect}\n{told}");
    }
    obey(&world, &told).await;
    let daemon = start(&world, "select").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A table becomes unlogged while the daemon runs, and a crash empties it. Another daemon finds it
/// logged again.
#[tokio::test]
async fn a_table_that_was_unlogged_for_a_while_is_copied_again() {
    let (world, daemon) = hot_and_cold(World::with_tenants(["acme"]).private_source()).await;
    world.source.execute("alter table hot set unlogged").await;
    until("the status tells it", FOUND_WITHIN, async || {
        let told = daemon.status().await["config"]["error"].to_string();
        if told.contains("public.hot is unlogged") { Ok(()) } else { Err(told) }
    })
    .await;
    daemon.stop().await;
    crash(&mut *world.source_server().await).await;
    world.source.wait_text("select count(*) from hot", "0").await;
    let output = world.offtake(&["run", "--once"]).await;
    assert_eq!(output.status.code(), Some(78), "{}", String::from_utf8_lossy(&output.stderr));
    world.source.execute("alter table hot set logged; insert into hot values ('x', 1, 1)").await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The destination's table: the mapping waits, with the statement that mends it, and is copied
/// again.
#[tokio::test]
async fn a_destination_table_that_is_unlogged_is_not_written_to() {
    let plan = World::with_tenants(["acme"]).private_destination("acme");
    let (world, daemon) = hot_and_cold(plan).await;
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table cold set unlogged").await;
    world.source.execute("update cold set v = v + 1 where id < 10").await;
    let remedy = "alter table public.cold set logged";
    until("the status tells it", FOUND_WITHIN, async || {
        let told = daemon.status().await["destinations"][0].to_string();
        let names_it = told.contains("is unlogged") && told.contains(remedy);
        if names_it { Ok(()) } else { Err(told) }
    })
    .await;
    crash(&mut *world.tenant("acme").server().await).await;
    until("the destination answers", PATIENCE, async || {
        acme.try_query_text("select 1").await.map(drop)
    })
    .await;
    acme.execute(remedy).await;
    world.source.execute("update cold set v = v + 1 where id < 20; update hot set v = 0").await;
    oracle::wait_equal(&world, FOUND_WITHIN).await;
    daemon.stop().await;
}

/// A partitioned table keeps its identity when a partition of it is made logged, so the reason
/// names one command more.
#[tokio::test]
async fn an_unlogged_partition_at_a_destination_is_mended_by_two_commands() {
    let plan = World::with_tenants(["acme"]).private_destination("acme");
    let (world, daemon) = hot_and_cold(plan).await;
    let acme = &world.tenant("acme").destination;
    let parted = "
        drop table cold;
        create table cold (id int primary key, v int) partition by range (id);
        create unlogged table cold_1 partition of cold default;
        comment on table cold is 'offtake:cold'";
    acme.execute(parted).await;
    world.source.execute("update cold set v = v + 1 where id < 10").await;
    let remedy = "alter table public.cold_1 set logged";
    until("the status tells it", FOUND_WITHIN, async || {
        let told = daemon.status().await["destinations"][0].to_string();
        let says = [remedy, "then `offtake resync` for this tenant and mapping"];
        if says.iter().all(|part| told.contains(part)) { Ok(()) } else { Err(told) }
    })
    .await;
    acme.execute(remedy).await;
    world.succeed(&["resync", "--tenant", world.id("acme"), "--mapping", "cold"]).await;
    oracle::wait_equal(&world, FOUND_WITHIN).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    daemon.stop().await;
}

async fn crash(server: &mut PrivateServer) {
    server.kill_immediate();
    server.start_again().await.expect("it starts again");
}
