//! A destination that lacks one of its mappings is never `in_sync`, and its status says what is
//! missing, in the words of the command that mends it.

use offtake_tests::{World, oracle};
use serde_json::Value;

const ITEMS: &str = "source: { table: public.item, tenant: org }\n\
                     query: select org as tenant_id, id, v from item\n\
                     target: { table: items }\n";

const LINES: &str = "source: { table: public.line, tenant: { table: public.bill, column: org, match: { id: bill_id } } }\n\
                     query: select b.org as tenant_id, l.id, l.v from line l join bill b on b.id = l.bill_id\n\
                     target: { table: lines }\n";

async fn create_tables(world: &World) {
    let acme = world.id("acme");
    world
        .source
        .execute(&format!(
            "create table item (org text, id int primary key, v int);
             create table bill (id int primary key, org text);
             create table line (id int primary key, bill_id int, v int);
             create index on line (bill_id);
             insert into item values ('{acme}', 1, 1);
             insert into bill values (1, '{acme}');
             insert into line values (1, 1, 1)"
        ))
        .await;
}

/// A world whose daemon has a role of its own, which may read everything, and may put triggers on
/// `item` only.
async fn world_with_a_plain_role() -> World {
    let plan = World::with_tenants(["acme"]).private_source().without_init();
    let mut world = plan.mappings(&[("items", ITEMS)]).await;
    create_tables(&world).await;
    world
        .source
        .execute(
            "create role app_owner nologin;
             create role plain login createrole password 'plain';
             alter table item owner to plain;
             alter table bill owner to app_owner;
             alter table line owner to app_owner;
             grant select on all tables in schema public to plain;
             grant all on schema public to plain, app_owner",
        )
        .await;
    let database = world.source.name().to_owned();
    world.source.execute(&format!("grant create, temporary on database {database} to plain")).await;
    let url = world.source_server().await.url_as("plain", Some("plain"), &database);
    world.configure(|c| c["source"]["url"] = url.into());
    world.succeed(&["init"]).await;
    world
}

#[tokio::test]
async fn a_mapping_without_rights_blocks_its_destinations_with_the_grant() {
    let world = world_with_a_plain_role().await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.write_mapping("lines", LINES);
    let right = "the role plain may not put triggers on public.bill, public.line, which app_owner owns; \
                 run as a superuser: grant app_owner to plain;";
    let told = world.wait_told(&daemon, "acme", "blocked", &["mapping lines waits: "]).await;
    let reason = told["reason"].as_str().expect("a reason");
    assert!(reason.contains(right), "{reason}");
    // It is one of the destination's mappings, and nothing of it is there.
    let lines = told["mappings"].as_array().expect("a list").iter().find(|m| m["name"] == "lines");
    let lines = lines.expect("a mapping that waits is shown");
    assert_eq!(
        (&lines["backfill"]["state"], &lines["sequence_id"]),
        (&"pending".into(), &Value::Null)
    );
    assert!(lines["error"].as_str().is_some_and(|error| error.contains(right)), "{lines:#}");
    // `init` says the same, and the command line too.
    let init = world.offtake(&["init"]).await;
    let stderr = String::from_utf8_lossy(&init.stderr).into_owned();
    assert!(stderr.contains("run as a superuser: grant app_owner to plain;"), "{stderr}");
    let shown = world.succeed(&["status", "--tenant", world.id("acme")]).await;
    assert!(shown.contains("blocked") && shown.contains(right), "{shown}");
    // The remedy, as it is printed.
    let (_, statement) = reason.split_once("run as a superuser: ").expect("a remedy");
    world.source.execute(statement.split_once(';').expect("a statement").0).await;
    world.succeed(&["init"]).await;
    // Asks the daemon to look now, and not within half a minute.
    daemon.reload();
    world.wait_in_step().await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A running mapping: its copy is complete, and changes go by unseen.
#[tokio::test]
async fn a_mapping_whose_triggers_are_gone_is_not_in_sync() {
    let world = world_with_a_plain_role().await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world
        .source
        .execute(
            "create role other_owner nologin; grant all on schema public to other_owner;
             alter table item owner to other_owner; grant select on item to plain;
             alter table item disable trigger user; update item set v = 2",
        )
        .await;
    daemon.reload();
    let told = world
        .wait_told(&daemon, "acme", "blocked", &["mapping items waits: the trigger that"])
        .await;
    let reason = told["reason"].as_str().expect("a reason");
    let (_, statement) = reason.split_once("run as a superuser: ").expect("a remedy");
    world.source.execute(statement.split_once(';').expect("a statement").0).await;
    daemon.reload();
    // The change that went by arrives.
    world.tenant("acme").destination.wait_text("select v from items", "2").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// No daemon runs that could look. The command looks itself, and what it finds decides the state.
#[tokio::test]
async fn triggers_that_go_while_no_daemon_runs_are_in_the_state() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("items", ITEMS)]).await;
    create_tables(&world).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let status = async || -> serde_json::Value {
        let output = world.offtake(&["status", "--json"]).await;
        serde_json::from_slice(&output.stdout).expect("a status")
    };
    assert_eq!(status().await["destinations"][0]["state"], "in_sync");
    world.source.execute("alter table item disable trigger user; update item set v = 2").await;
    let told = status().await;
    let destination = &told["destinations"][0];
    assert_eq!(destination["state"], "blocked", "{told}");
    let reason = destination["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("mapping items waits: the trigger that captures"), "{reason}");
    assert!(reason.ends_with("; run `offtake init`"), "{reason}");
    assert_eq!(told["sync"]["destinations"]["blocked"], 1, "{told}");
    assert_eq!(told["sync"]["destinations"]["in_sync"], 0, "{told}");
    world.succeed(&["init"]).await;
    assert_ne!(status().await["destinations"][0]["state"], "blocked");
    world.allow("*");
    let daemon = world.daemon().await;
    world.tenant("acme").destination.wait_text("select v from items", "2").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_mapping_whose_file_cannot_be_used_blocks_the_destinations_that_should_have_it() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("items", ITEMS)]).await;
    create_tables(&world).await;
    world.succeed(&["init"]).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    // A mistake that only the source can tell; a file that is no mapping; a tenant by a sub-select.
    world.write_mapping("lines", &LINES.replace("l.v", "l.w"));
    world
        .wait_told(
            &daemon,
            "acme",
            "blocked",
            &["the source refuses the query: column l.w does not exist"],
        )
        .await;
    world.write_mapping("lines", "source: [");
    world.wait_told(&daemon, "acme", "blocked", &["mapping lines waits: "]).await;
    let sub_select = LINES.replace(
        "{ table: public.bill, column: org, match: { id: bill_id } }",
        "\"(select b.org from public.bill b where b.id = source.bill_id)\"",
    );
    world.write_mapping("lines", &sub_select);
    let told = world
        .wait_told(&daemon, "acme", "blocked", &["the tenant's expression reads another table"])
        .await;
    let check = world.offtake(&["check"]).await;
    let stderr = String::from_utf8_lossy(&check.stderr).into_owned();
    let remedy = "write it as a look-up: `tenant: { table: public.bill, column: org, match: { id: bill_id } }`";
    assert!(check.status.code() == Some(78) && stderr.contains(remedy), "{stderr}");
    assert!(told["reason"].as_str().is_some_and(|reason| reason.contains(remedy)), "{told:#}");
    let (_, look_up) = remedy.split_once("`tenant: ").expect("a rule");
    world.write_mapping(
        "lines",
        &sub_select.replace(
            "\"(select b.org from public.bill b where b.id = source.bill_id)\"",
            look_up.trim_end_matches('`'),
        ),
    );
    world.wait_in_step().await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    // A mapping whose file was taken away is waited for no longer.
    world.write_mapping("more", "source: [");
    world.wait_told(&daemon, "acme", "blocked", &["mapping more waits"]).await;
    std::fs::remove_file(world.mappings_folder().join("more.yaml")).expect("it is there");
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_not_of_one_row_is_no_tenant() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    create_tables(&world).await;
    world
        .source
        .execute(
            "create schema ours; create function ours.org_of(bill int) returns text stable language sql \
             as 'select org from public.bill where id = $1'; \
             create function ours.plain(org text) returns text stable language sql as 'select lower(org)'",
        )
        .await;
    let refused = async |rule: &str| {
        world.write_mapping("items", &ITEMS.replace("tenant: org", &format!("tenant: \"{rule}\"")));
        let output = world.offtake(&["check", "--connect"]).await;
        assert_eq!(output.status.code(), Some(78), "{rule}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = refused("max(org)").await;
    assert!(told.contains("aggregate functions are not allowed in WHERE"), "{told}");
    let told = refused("first_value(org) over ()").await;
    assert!(told.contains("window functions are not allowed"), "{told}");
    let told = refused("ours.org_of(id)").await;
    assert!(told.contains("`org_of` in the tenant's expression may read other tables"), "{told}");
    let told = refused("coalesce(org, current_user)").await;
    assert!(told.contains("`current_user` in the tenant's expression is not of the row"), "{told}");
    let told = refused("coalesce(org, current_setting('app.org', true))").await;
    assert!(told.contains("`current_setting` in the tenant's expression is not"), "{told}");
    let told = refused("org || random()").await;
    assert!(told.contains("`random` in the tenant's expression is volatile"), "{told}");
    let told = refused("ours.plain(org)").await;
    let remedy = told.split_once("say so at the source: ").expect("a remedy").1;
    world.source.execute(remedy.split_once(';').expect("a statement").0).await;
    world.succeed(&["check", "--connect"]).await;
}

/// The daemon finds within half a minute what the source no longer has, or has as a table that a
/// crash empties. The other mapping goes on.
#[tokio::test]
async fn a_mapping_that_the_source_no_longer_fits_is_not_in_sync() {
    let plan = World::with_tenants(["acme"]).without_init();
    let world = plan.mappings(&[("items", ITEMS), ("lines", LINES)]).await;
    create_tables(&world).await;
    world.succeed(&["init"]).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let changes = [
        ("alter table item rename to item_before", "the source has no table public.item"),
        ("alter table item set unlogged", "public.item is unlogged"),
        ("alter table item rename column v to w", "does not exist"),
    ];
    let undone = [
        "alter table item_before rename to item",
        "alter table item set logged",
        "alter table item rename column w to v",
    ];
    for (n, ((change, says), undo)) in changes.into_iter().zip(undone).enumerate() {
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        world.source.execute(change).await;
        daemon.reload();
        world.wait_told(&daemon, "acme", "blocked", &["mapping items waits: ", says]).await;
        world.source.execute(&format!("update line set v = {n}")).await;
        let v = "select v from lines";
        world.tenant("acme").destination.wait_text(v, &n.to_string()).await;
        // The triggers of the others are looked at all the same.
        let unseen = "alter table line disable trigger all; update line set v = v + 100";
        world.source.execute(unseen).await;
        daemon.reload();
        world.tenant("acme").destination.wait_text(v, &(n + 100).to_string()).await;
        world.source.execute(undo).await;
        daemon.reload();
    }
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
