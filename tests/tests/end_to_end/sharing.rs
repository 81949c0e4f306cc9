//! Several destinations of one tenant, and several tenants in one database.

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Database, PATIENCE, Source, World, oracle, until};
use serde_json::{Value, json};

/// Waits until the mapping's table in that destination equals its query.
async fn wait_equal(
    world: &World,
    tenant: &str,
    mapping: &str,
    destination: &Database,
    schema: &str,
) {
    let mappings = world.mappings();
    let mapping = mappings.iter().find(|m| m.name == mapping).expect("a known mapping");
    until("the copy equals its query", PATIENCE, async || {
        let there = destination
            .try_query_text(&format!("select from \"{schema}\".{}", mapping.target.table.sql()))
            .await;
        there.map_err(|error| format!("{schema}: {error}"))?;
        let difference =
            oracle::compare(&world.source, world.id(tenant), mapping, destination, schema).await;
        if difference.missing.is_empty() && difference.surplus.is_empty() {
            Ok(())
        } else {
            Err(difference.to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn a_tenant_s_second_destination_has_its_own_mappings_and_schema() {
    let mut world = World::with_tenants(["acme", "globex"]).await;
    let second = Source::destination().await;
    let destination = json!({ "tenant": world.id("acme"), "name": "reports", "url": second.url(), "schema": "copies", "mappings": ["users", "teams"] });
    world.configure(|c| {
        c["destinations"]["static"].as_array_mut().expect("a list").push(destination)
    });
    second.execute("create schema copies").await;
    world.fill(30).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute("update project_user set display_name = 'twice'").await;
    world.wait_in_step().await;
    wait_equal(&world, "acme", "users", &second, "copies").await;
    wait_equal(&world, "acme", "teams", &second, "copies").await;
    assert_eq!(
        second.query_text("select count(*) from pg_tables where schemaname = 'copies'").await,
        "3",
        "two mappings and the state"
    );
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

const SHARED_USERS: &str = "
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select u.tenancy_id as tenant_id, u.project_user_id as id, u.display_name from public.project_user u where not u.is_anonymous
target: { table: users, keep_tenant: true }
";

#[tokio::test]
async fn tenants_that_share_a_database_keep_their_rows_apart() {
    let mut world = World::with_tenants(["acme", "globex", "initech"])
        .mappings(&[("users", SHARED_USERS)])
        .await;
    let shared = Source::destination().await;
    world.configure(|c| {
        for destination in c["destinations"]["static"].as_array_mut().expect("a list") {
            destination["url"] = shared.url().into();
            destination["shared"] = true.into();
        }
    });
    world.fill(20).await;
    let daemon = world.daemon().await;
    for tenant in ["acme", "globex", "initech"] {
        wait_equal(&world, tenant, "users", &shared, "public").await;
    }
    // The same key is inserted for all three, and then deleted for one.
    world
        .source
        .execute(
            "insert into project_user (tenancy_id, project_user_id, display_name) select id, md5('x')::uuid, display_name from tenancy",
        )
        .await;
    world
        .source
        .execute(&format!("delete from project_user where tenancy_id = '{}'", world.id("globex")))
        .await;
    for tenant in ["acme", "globex", "initech"] {
        wait_equal(&world, tenant, "users", &shared, "public").await;
    }
    assert_eq!(
        shared.query_text("select string_agg(display_name, ' ' order by display_name) from users where id = md5('x')::uuid").await,
        "acme initech"
    );
    assert_eq!(shared.query_text("select count(*) from _offtake_state").await, "3");
    daemon.stop().await;
}

/// Whether a destination is told that another one writes to its tables.
fn is_second(told: &Value) -> bool {
    let reason = told["reason"].as_str().unwrap_or_default();
    reason.contains("write into schema public") && reason.contains("by two names")
}

/// Nothing in the two URLs shows that they name one database. A naive engine fails: each copy
/// deletes the other tenant's rows because they are not its own, the status says in sync for both,
/// and both tenants see the rows of both.
#[tokio::test]
async fn one_database_by_two_names_is_one_tenant_s() {
    let mut world = World::with_tenants(["acme", "globex"]).await;
    let apart = world.tenant("globex").destination.url();
    let together = world.tenant("acme").destination.url();
    let by_another_name = together.replace("127.0.0.1", "localhost");
    assert_ne!(together, by_another_name);
    world.configure(|c| {
        c["security"]["allow_destinations"].as_array_mut().expect("a list").push("::1/128".into())
    });
    world.reach_by("globex", |_| by_another_name.clone());
    world.fill(20).await;
    world.allow("mapping_blocked");
    // Both begin at once; the destination that is first keeps the database.
    let daemon = world.daemon().await;
    let blocked = until("one of them is blocked", PATIENCE, async || {
        let told = [world.told(&daemon, "acme").await, world.told(&daemon, "globex").await];
        let blocked: Vec<&Value> = told.iter().filter(|told| told["state"] == "blocked").collect();
        let [blocked] = blocked.as_slice() else { return Err(format!("{told:?}")) };
        // While both make their tables, one may be blocked by the other for a moment.
        if !is_second(blocked) {
            return Err(blocked.to_string());
        }
        Ok((*blocked).clone())
    })
    .await;
    let reason = blocked["reason"].as_str().unwrap_or_default();
    for part in ["acme", "globex"].map(|name| format!("{}/main", world.id(name))) {
        assert!(reason.contains(&part), "{reason}");
    }
    let first = if blocked["tenant"] == *world.id("acme") { "globex" } else { "acme" };
    for mapping in ["users", "teams"] {
        wait_equal(&world, first, mapping, &world.tenant("acme").destination, "public").await;
    }
    daemon.stop().await;

    // What globex left in acme's database does no harm once globex has another database.
    world.reach_by("globex", |_| apart.clone());
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A tenant's database that was created as a copy of another tenant's has the other's cursors, and
/// tables with the same oids; on another server even under the same name. The test fails if only
/// oids are compared: the tenant was blocked for ever.
#[tokio::test]
async fn a_database_that_began_as_a_copy_of_another_tenant_s_is_its_own() {
    let mut world = World::with_tenants(["acme", "globex"]).await;
    world.fill(20).await;
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let acme = &world.tenant("acme").destination;
    let server = acme.url().replace(acme.name(), "postgres");
    let end_sessions =
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
            .replace("{name}", acme.name());
    let name = acme.name().to_owned();
    let admin = Database::create(&server, "admin", None).await;
    admin.execute(&end_sessions).await;
    let copy = Database::create(&server, "copy", Some(&name)).await;
    world.reach_by("globex", |_| copy.url());
    let daemon = world.daemon().await;
    world.source.execute("update project_user set display_name = 'both change'").await;
    for mapping in ["users", "teams"] {
        wait_equal(&world, "globex", mapping, &copy, "public").await;
    }
    daemon.stop().await;
}

/// If both destinations begin to receive a new mapping at once, it is not given to the second one,
/// although neither has a cursor for it yet. The test fails if each mapping is judged by itself.
#[tokio::test]
async fn who_is_second_in_a_database_is_not_first_with_a_new_mapping() {
    let mut world = World::with_tenants(["acme", "globex"]).mappings(&[("teams", TEAMS)]).await;
    let by_another_name = world.tenant("acme").destination.url().replace("127.0.0.1", "localhost");
    world.configure(|c| {
        c["security"]["allow_destinations"].as_array_mut().expect("a list").push("::1/128".into())
    });
    world.reach_by("globex", |_| by_another_name.clone());
    world.fill(20).await;
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    let blocked = async || {
        let told = [world.told(&daemon, "acme").await, world.told(&daemon, "globex").await];
        told.into_iter()
            .find(|told| told["state"] == "blocked" && is_second(told))
            .ok_or("no destination is blocked".to_owned())
    };
    let second = until("one of them is blocked", PATIENCE, blocked).await;
    let (first, second) =
        if second["tenant"] == *world.id("acme") { ("globex", "acme") } else { ("acme", "globex") };
    // The first destination cannot start with the new mapping.
    world
        .succeed(&[
            "pause",
            "--tenant",
            world.id(first),
            "--destination",
            "main",
            "--reason",
            "a test",
        ])
        .await;
    world.write_mapping("users", USERS);
    let told = format!(
        "select coalesce(error, '') from offtake.destination_mapping m join offtake.destination d using (destination_id)
                        where d.tenant_id = '{}' and m.mapping = 'users'",
        world.id(second)
    );
    until("the second is blocked for it too", PATIENCE, async || {
        match world.source.try_query_text(&told).await? {
            error if error.contains("by two names") => Ok(()),
            error => Err(error),
        }
    })
    .await;
    assert_eq!(
        world
            .tenant("acme")
            .destination
            .query_text("select to_regclass('public.users') is null")
            .await,
        "t"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn destinations_of_the_query_come_and_go() {
    let mut world = World::with_tenants(["acme", "globex"]).await;
    world
        .source
        .execute("create table tenant_database (tenancy_id uuid primary key, url text)")
        .await;
    let add = |name: &str| {
        format!(
            "insert into tenant_database values ('{}', '{}')",
            world.id(name),
            world.tenant(name).destination.url()
        )
    };
    let (add_acme, add_globex) = (add("acme"), add("globex"));
    world.configure(|c| {
        c["destinations"] =
            json!({ "query": "select tenancy_id as tenant_id, 'main' as name, url from tenant_database -- all", "refresh": "100ms" });
    });
    world.fill(20).await;
    world.source.execute(&add_acme).await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    oracle::assert_tenants_equal(&world, &["acme"]).await;
    world.source.execute(&add_globex).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // A destination that the query no longer returns gets nothing any more and keeps what it has.
    world
        .source
        .execute(&format!(
            "delete from tenant_database where tenancy_id = '{}'",
            world.id("globex")
        ))
        .await;
    until("globex is not active", PATIENCE, async || {
        let active =
            world.source.query_text("select count(*) from offtake.destination where active").await;
        if active == "1" { Ok(()) } else { Err(format!("{active} are active")) }
    })
    .await;
    let before = world.tenant("globex").destination.query_text("select count(*) from users").await;
    world.source.execute("delete from project_user").await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    assert_eq!(
        world.tenant("acme").destination.query_text("select count(*) from users").await,
        "0"
    );
    assert_eq!(
        world.tenant("globex").destination.query_text("select count(*) from users").await,
        before
    );
    daemon.stop().await;
}

/// Existing destinations go on unharmed. But new tenants get no destination, so the status must
/// report the failure.
#[tokio::test]
async fn a_query_of_destinations_that_fails_is_told_until_it_runs() {
    let mut world = World::with_tenants(["acme"]).await;
    world.source.execute("create table tenant_database (tenancy_id uuid, url text); insert into tenant_database values (null, '')").await;
    let add = format!(
        "insert into tenant_database values ('{}', '{}')",
        world.id("acme"),
        world.tenant("acme").destination.url()
    );
    world.source.execute(&add).await;
    world.configure(|c| {
        c["destinations"] = json!({ "query": "select tenancy_id as tenant_id, url from tenant_database", "refresh": "50ms" });
    });
    world.fill(5).await;
    world.allow("destination_without_tenant");
    world.allow("destinations_query_failed");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let told = async || daemon.status().await["config"]["error"].clone();
    assert_eq!(told().await, Value::Null);
    world.source.execute("alter table tenant_database rename url to place").await;
    let error = until("the status reports the failed query", PATIENCE, async || {
        told().await.as_str().map(str::to_owned).ok_or_else(String::new)
    })
    .await;
    assert!(
        error.contains("the destinations query failed: column \"url\" does not exist"),
        "{error}"
    );
    let shown = world.succeed(&["status"]).await;
    assert!(
        shown.contains("the destinations query cannot run: column \"url\" does not exist"),
        "{shown}"
    );
    world.source.execute("alter table tenant_database rename place to url").await;
    until("the status reports no failed query any more", PATIENCE, async || {
        let told = told().await;
        if told.is_null() { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    assert!(!world.succeed(&["status"]).await.contains("the destinations query"));
    for event in ["destination_without_tenant", "destinations_query_failed"] {
        assert_eq!(
            daemon.log().iter().filter(|line| line.event == event).count(),
            1,
            "{event} is logged once, and not at each refresh"
        );
    }
    daemon.stop().await;
}
