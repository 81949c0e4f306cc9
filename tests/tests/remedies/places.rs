//! What several destinations want of one place: what the reason of the one that is blocked tells
//! to do is enough.

use offtake_tests::printed::{between, command};
use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Daemon, Database, PATIENCE, Source, World, until};
use serde_json::{Value, json};

/// A database that began as a copy of another tenant's still has that tenant's cursors, and nothing
/// shows yet that they are served elsewhere. The printed statement deletes them, and no others.
#[tokio::test]
async fn cursors_that_another_tenant_left_are_deleted_as_printed() {
    let plan = World::with_tenants(["acme", "globex"]);
    let mut world = plan.mappings(&[("teams", TEAMS), ("users", USERS)]).await;
    world.fill(20).await;
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let acme = &world.tenant("acme").destination;
    let (name, server) = (acme.name().to_owned(), acme.url().replace(acme.name(), "postgres"));
    let admin = Database::create(&server, "admin", None).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'";
    admin.execute(&end.replace("{name}", &name)).await;
    let copy = Database::create(&server, "copy", Some(&name)).await;
    world.reach_by("globex", |_| copy.url());
    let daemon = world.daemon().await;
    let says = ["by two names", "If this is only what is left of the other, run there: "];
    let told = world.wait_told(&daemon, "globex", "blocked", &says).await;
    let statement = between(told["reason"].as_str().unwrap(), "run there: ", "\n").to_owned();
    let cursors = "select count(*) from _offtake_state where tenant_id = '{}'";
    let cursors = cursors.replace("{}", world.id("acme"));
    assert_eq!(copy.query_text(&cursors).await, "2");
    copy.execute(&statement).await;
    assert_eq!(copy.query_text(&cursors).await, "0", "{statement}");
    world.succeed(&["sync", "--tenant", world.id("globex")]).await;
    world.wait_told(&daemon, "globex", "in_sync", &[]).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(world.tenant("acme").destination.query_text(&cursors).await, "2");
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

const ITEMS: &str = "
source: { table: public.item, tenant: tenant }
query: select tenant as tenant_id, id from item
target: { table: items, keep_tenant: true }
";

const BRIEF: &str = "
source: { table: public.item, tenant: tenant }
query: select tenant as tenant_id, id, 'brief' as form from item
target: { table: items, keep_tenant: true }
";

/// The destination of `acme` is served, and the query names it. Each row of `customer` is a
/// destination.
async fn served(mappings: &[(&str, &str)]) -> (World, Daemon) {
    let mut world = World::with_tenants(["acme"]).mappings(mappings).without_init().await;
    world.allow("destination_refused");
    world.allow("mapping_blocked");
    let tables = "create table item (tenant text, id int, primary key (tenant, id));
        create table customer (tenant_id text, name text, url text, schema text, shared bool, mappings text[]);
        insert into item values ('acme', 1), ('zoe', 2)";
    world.source.execute(tables).await;
    add(&world, "acme", "main", &world.tenant("acme").destination.url()).await;
    world.configure(|c| {
        c["destinations"] = json!({ "query": "select * from customer", "refresh": "100ms" });
    });
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    wait(&daemon, ("acme", "main"), "in_sync").await;
    (world, daemon)
}

/// A destination that receives the mapping `items`.
async fn add(world: &World, tenant: &str, name: &str, url: &str) {
    let row = format!(
        "insert into customer values ('{tenant}', '{name}', '{url}', 'public', false, '{{items}}')"
    );
    world.source.execute(&row).await;
}

/// The destination's reason, once it is in that state.
async fn wait(daemon: &Daemon, (tenant, name): (&str, &str), state: &str) -> String {
    until(&format!("{tenant}/{name} is {state}"), PATIENCE, async || {
        let (_, body) = daemon.get(&format!("/api/v1/destinations/{tenant}/{name}")).await;
        let told: Value = serde_json::from_str(&body).map_err(|_| body.clone())?;
        match told["state"] == state {
            true => Ok(told["reason"].as_str().unwrap_or_default().to_owned()),
            false => Err(body),
        }
    })
    .await
}

#[tokio::test]
async fn tenants_that_want_one_place_share_it_or_part_as_the_reason_says() {
    let (world, daemon) = served(&[("items", ITEMS)]).await;
    let there = &world.tenant("acme").destination;
    add(&world, "zoe", "main", &there.url()).await;
    let reason = wait(&daemon, ("zoe", "main"), "blocked").await;
    for remedy in ["give each its own schema", "or mark all of them shared"] {
        assert!(reason.contains(remedy), "{reason}");
    }
    world.source.execute("update customer set schema = tenant_id where tenant_id = 'zoe'").await;
    wait(&daemon, ("zoe", "main"), "in_sync").await;
    assert_eq!(there.query_text("select tenant_id || id from zoe.items").await, "zoe2");
    world.source.execute("update customer set schema = 'public', shared = true").await;
    wait(&daemon, ("zoe", "main"), "in_sync").await;
    let rows = "select string_agg(tenant_id || id, ' ' order by id) from items";
    there.wait_text(rows, "acme1 zoe2").await;
    wait(&daemon, ("acme", "main"), "in_sync").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_destination_that_would_receive_two_forms_of_a_table_is_given_one_of_them() {
    let (world, daemon) = served(&[("brief", BRIEF), ("items", ITEMS)]).await;
    let own = Source::destination().await;
    add(&world, "zoe", "main", &own.url()).await;
    wait(&daemon, ("zoe", "main"), "in_sync").await;
    world.source.execute("update customer set mappings = null where tenant_id = 'zoe'").await;
    let reason = wait(&daemon, ("zoe", "main"), "blocked").await;
    // One of the two that it names.
    assert!(reason.contains("list in `mappings` of this destination only one of them"), "{reason}");
    let named = between(&reason, "it receives the mappings ", " and ");
    let update = format!("update customer set mappings = array['{named}'] where tenant_id = 'zoe'");
    world.source.execute(&update).await;
    // Its table still has the rows of the other.
    let says = "holds the rows of the mapping items";
    let reason = until(says, PATIENCE, async || {
        let reason = wait(&daemon, ("zoe", "main"), "blocked").await;
        if reason.contains(says) { Ok(reason) } else { Err(reason) }
    })
    .await;
    own.execute(command(&reason)).await;
    world.succeed(&["sync", "--tenant", "zoe"]).await;
    wait(&daemon, ("zoe", "main"), "in_sync").await;
    own.wait_text("select id || form from items", "2brief").await;
    daemon.stop().await;
}
