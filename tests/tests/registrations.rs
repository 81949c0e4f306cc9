//! The registry holds what configuration and query name, whichever process writes to it beside the
//! daemon, and a refresh in which nothing changed costs no look at any destination.

use offtake_tests::receiver::Receiver;
use offtake_tests::{PATIENCE, World, oracle, until};
use serde_json::{Value, json};

/// The destinations come from the table `customer` of the source.
async fn world() -> World {
    let mut world = World::with_tenants(["acme", "globex", "initech"]).await;
    world.configure(|c| {
        c["destinations"]["static"] = serde_json::json!([]);
        c["destinations"]["query"] = "select tenant_id, url from public.customer".into();
        c["destinations"]["refresh"] = "200ms".into();
    });
    world.source.execute("create table public.customer (tenant_id text, url text)").await;
    name(&world, "acme").await;
    name(&world, "globex").await;
    world.fill(5).await;
    world
}

async fn name(world: &World, tenant: &str) {
    let (id, url) = (world.id(tenant), world.tenant(tenant).destination.url());
    let insert = format!("insert into public.customer values ('{id}', '{url}')");
    world.source.execute(&insert).await;
}

/// Waits until exactly these tenants are registered and nothing speaks against them.
async fn wait_registered(world: &World, tenants: &[&str]) {
    let mut wanted: Vec<_> = tenants.iter().map(|tenant| world.id(tenant)).collect();
    wanted.sort_unstable();
    until("these are registered", PATIENCE, async || {
        let registered =
            "select tenant_id from offtake.destination where active and refused is null order by 1";
        let found = world.source.try_query_text(registered).await?;
        if found.lines().collect::<Vec<_>>() == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn what_another_process_registers_is_found_with_the_next_change() {
    let world = world().await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme", "globex"], PATIENCE).await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    // As a daemon with another configuration does.
    let change = format!(
        "update offtake.destination set active = false where tenant_id = '{acme}';
         update offtake.destination set mappings = '{{}}', source_tables = '{{}}' where tenant_id = '{globex}';
         insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables)
         values ('strange', 'main', 'public', 'h', 5432, 'd', 'u', '{{users}}', '{{public.project_user}}')"
    );
    world.source.execute(&change).await;
    name(&world, "initech").await;
    wait_registered(&world, &["acme", "globex", "initech"]).await;
    let mappings = "select count(distinct mappings) || ' ' || count(distinct source_tables) from offtake.destination where active";
    assert_eq!(world.source.query_text(mappings).await, "1 1");
    world.source.execute("update project_user set display_name = 'Ada'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;

    // What is forgotten, and still named, comes back as a new one.
    world
        .source
        .execute(&format!("delete from offtake.destination where tenant_id = '{acme}'"))
        .await;
    world
        .source
        .execute(&format!("delete from public.customer where tenant_id = '{globex}'"))
        .await;
    wait_registered(&world, &["acme", "initech"]).await;
    world.source.execute("update project_user set display_name = 'Bob'").await;
    world.wait_tenants_in_step(&["acme", "initech"], PATIENCE).await;
    daemon.stop().await;
}

/// The statement that registers is counted by what it writes: `updated_at` of every destination
/// stays, and so does the list of registrations.
#[tokio::test]
async fn a_refresh_writes_only_what_has_changed() {
    let world = world().await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme", "globex"], PATIENCE).await;
    let of_others = format!(
        "select count(*) from offtake.registration r join offtake.destination d on d.destination_id = r.destination where tenant_id <> '{}'",
        world.id("initech")
    );
    let before = world.source.query_text(&of_others).await;
    name(&world, "initech").await;
    wait_registered(&world, &["acme", "globex", "initech"]).await;
    world.wait_in_step().await;
    assert_eq!(world.source.query_text(&of_others).await, before);
    let unusable = format!(
        "update public.customer set url = 'nonsense' where tenant_id = '{}'",
        world.id("globex")
    );
    world.source.execute(&unusable).await;
    wait_registered(&world, &["acme", "initech"]).await;
    let blocked = "select count(*) from offtake.destination where active and refused like '%URL%'";
    assert_eq!(world.source.query_text(blocked).await, "1");
    world.allow("destination_refused");
    daemon.stop().await;
}

/// The locks under which the registries of destinations and of webhooks are written.
const REGISTRY_LOCKS: [i64; 2] = [0x6f66_6674_616b_6503, 0x6f66_6674_616b_6504];

/// Ready means that the daemon answers for what it serves; until then it is alive.
#[tokio::test]
async fn a_daemon_is_ready_once_it_has_registered_destinations_and_webhooks() {
    let token = "an-admin-token-of-some-length-0000000000000";
    let (mut world, receiver) = (world().await, Receiver::start().await);
    world.add_webhook("acme", &receiver, json!({}));
    world.configure(|c| c["http"]["admin_token"] = token.into());
    // On a busy machine, a loop may give up waiting for the lock, and begins again.
    world.allow("loop_failed");
    let gate = world.source.connect().await;
    for key in REGISTRY_LOCKS {
        gate.batch_execute(&format!("select pg_advisory_lock({key})")).await.expect("it is free");
    }
    let mut daemon = world.spawn_daemon(&[]);
    daemon.wait_logged("ready").await;
    for (key, name) in REGISTRY_LOCKS.into_iter().zip(["destinations", "webhook list"]) {
        let (code, body) = daemon.get("/readyz").await;
        let told: Value = serde_json::from_str(&body).expect("JSON");
        let all = told["loops"].as_array().expect("a list").iter();
        let waits = all.filter(|one| one["ready"] == false).any(|one| one["name"] == name);
        assert_eq!((code, waits), (503, true), "{body}");
        assert_eq!(daemon.get("/livez").await.0, 200);
        gate.batch_execute(&format!("select pg_advisory_unlock({key})")).await.expect("held");
        until(&format!("{name} is ready"), PATIENCE, async || {
            let (_, body) = daemon.get("/readyz").await;
            let told: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
            let all = told["loops"].as_array().ok_or("no loops")?;
            let is_ready = all.iter().any(|one| one["name"] == name && one["ready"] == true);
            if is_ready { Ok(()) } else { Err(body) }
        })
        .await;
    }
    daemon.wait_ready().await;
    let path = format!("/api/v1/webhooks/{}/main/test", world.id("acme"));
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    let (code, told) = daemon.request("POST", &path, &headers, "{}").await;
    assert_eq!(code, 200, "{told}");
    daemon.stop().await;
}
