//! One mapping serves a tenant with a database of its own, and tenants who share one.

use offtake_mapping::Mapping;
use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Database, PATIENCE, Source, World, oracle, until};
use serde_json::json;

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// Acme has a database of its own; globex and initech share the one that is returned.
async fn mixed(mappings: &[(&str, &str)]) -> (World, Database) {
    let mut world = World::with_tenants(TENANTS).mappings(mappings).await;
    let shared = Source::destination().await;
    let acme = world.id("acme").to_owned();
    world.configure(|c| {
        for destination in c["destinations"]["static"].as_array_mut().expect("a list") {
            if destination["tenant"] != *acme {
                destination["url"] = shared.url().into();
                destination["shared"] = true.into();
            }
        }
    });
    (world, shared)
}

/// The mapping as a shared destination has it.
fn form(mapping: &Mapping, shared: bool) -> Mapping {
    let mut form = mapping.clone();
    form.target.keep_tenant |= shared;
    form
}

/// Waits until the tenants' tables equal their queries.
async fn wait_equal(world: &World, shared: &Database) {
    until("every copy equals its query", PATIENCE, async || {
        for tenant in TENANTS {
            let own = tenant == "acme";
            let there = if own { &world.tenant("acme").destination } else { shared };
            for mapping in world.mappings() {
                let table = mapping.target.table.sql();
                there.try_query_text(&format!("select 1 from {table}")).await?;
                let (mapping, id) = (form(&mapping, !own), world.id(tenant));
                let found = oracle::compare(&world.source, id, &mapping, there, "public").await;
                if !found.missing.is_empty() || !found.surplus.is_empty() {
                    return Err(found.to_string());
                }
            }
        }
        Ok(())
    })
    .await;
}

/// The columns of the table and of its primary key.
async fn columns(database: &Database, table: &str) -> String {
    let query = "select string_agg(attname, ' ' order by attnum) || ' | ' || \
                   (select string_agg(a.attname, ' ' order by array_position(i.indkey::int2[], a.attnum)) \
                      from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) \
                     where i.indrelid = c.attrelid and i.indisprimary) \
                   from pg_attribute c where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped \
                  group by attrelid";
    database.query_text(&query.replace("{table}", table)).await
}

/// Standard output and standard error, and the exit code.
async fn run(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.offtake(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("the command ends by itself");
    (code, format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// Invariants 1 and 2. Before, the shared destinations were refused unless every mapping had the
/// tenant's column, and then acme's own database had it too.
#[tokio::test]
async fn one_mapping_serves_own_and_shared_databases() {
    let (world, shared) = mixed(&[("users", USERS), ("teams", TEAMS)]).await;
    let acme = &world.tenant("acme").destination;
    world.fill(20).await;
    let checked = world.succeed(&["check", "--connect"]).await;
    assert!(checked.contains("in shared destinations with the tenant of each row"), "{checked}");
    let daemon = world.daemon().await;
    wait_equal(&world, &shared).await;
    assert_eq!(columns(acme, "users").await, "id display_name | id");
    assert_eq!(columns(&shared, "users").await, "tenant_id id display_name | tenant_id id");

    // The same key for all three; then it goes for one, changes for another and moves to a third.
    let insert = "insert into project_user (tenancy_id, project_user_id, display_name) \
                  select id, md5('x')::uuid, display_name from tenancy";
    world.source.execute(insert).await;
    wait_equal(&world, &shared).await;
    let (one, other) = (world.id("globex"), world.id("initech"));
    let changes = format!(
        "delete from project_user where tenancy_id = '{one}' and project_user_id = md5('x')::uuid; \
         update project_user set display_name = 'changed' where tenancy_id = '{other}'; \
         delete from team where tenancy_id = '{other}'"
    );
    world.source.execute(&changes).await;
    wait_equal(&world, &shared).await;

    let (code, told) = run(&world, &["verify"]).await;
    assert!(code == 0 && told.contains("6 of 6 copies equal their query"), "{told}");
    let damage = format!(
        "delete from users where tenant_id = '{one}'; \
         update users set display_name = 'damaged' where tenant_id = '{other}'"
    );
    shared.execute(&damage).await;
    acme.execute("delete from users where id = md5('x')::uuid").await;
    let (code, told) = run(&world, &["verify"]).await;
    assert!(code == 3 && told.contains("3 of 6 copies equal their query"), "{told}");
    // A re-copy of one tenant leaves the other tenant's rows as they are.
    world.succeed(&["resync", "--tenant", one, "--wait", "30s"]).await;
    let of = "select count(*) from users where display_name = 'damaged'";
    assert_ne!(shared.query_text(of).await, "0");
    let (code, told) = run(&world, &["verify", "--repair", "--yes"]).await;
    assert!(code == 0 && told.contains("6 of 6 copies equal their query"), "{told}");
    wait_equal(&world, &shared).await;

    let preview = ["preview", "--mapping", "users", "--tenant"];
    let shown = async |tenant| {
        let arguments: Vec<&str> = preview.into_iter().chain([world.id(tenant)]).collect();
        world.succeed(&arguments).await
    };
    assert!(shown("globex").await.starts_with("tenant_id"), "the row as it would arrive");
    assert!(shown("acme").await.starts_with("id"), "the row as it would arrive");
    let (code, told) = run(&world, &["check", "--diff"]).await;
    assert!(code == 0 && told.contains("0 of 6 copies would change"), "{told}");
    daemon.stop().await;
}

/// A row that the shared table refuses is set aside for its tenant alone.
#[tokio::test]
async fn a_refused_row_of_a_shared_table_is_quarantined_for_its_tenant() {
    let (world, shared) = mixed(&[("users", USERS)]).await;
    world.fill(5).await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    wait_equal(&world, &shared).await;
    shared
        .execute("alter table users add constraint short check (length(display_name) < 30)")
        .await;
    let long = format!(
        "insert into project_user (tenancy_id, project_user_id, display_name) \
         select id, md5('x')::uuid, case id when '{}' then repeat('x', 40) else 'short' end from tenancy",
        world.id("globex")
    );
    world.source.execute(&long).await;
    world.wait_told(&daemon, "globex", "degraded", &[]).await;
    let listed = world.succeed(&["quarantine", "list"]).await;
    assert!(
        listed.contains(world.id("globex")) && !listed.contains(world.id("initech")),
        "{listed}"
    );
    shared.execute("alter table users drop constraint short").await;
    world.succeed(&["quarantine", "retry"]).await;
    wait_equal(&world, &shared).await;
    daemon.stop().await;
}

/// The destination is blocked with a command that mends it, and no row is lost or mixed up.
#[tokio::test]
async fn a_destination_that_becomes_shared_or_its_own_tells_the_command_that_rebuilds_it() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    world.fill(20).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    for (shared, says, expect) in [
        (true, "was made for one tenant alone", "tenant_id id display_name | tenant_id id"),
        (false, "because tenants shared it", "id display_name | id"),
    ] {
        world.configure(|c| c["destinations"]["static"][0]["shared"] = shared.into());
        let daemon = world.daemon().await;
        let told = world.wait_told(&daemon, "acme", "blocked", &[says, "`drop table "]).await;
        let destination = &world.tenant("acme").destination;
        assert_eq!(destination.query_text("select count(*) from users").await, "20");
        let reason = told["reason"].as_str().expect("a reason");
        let command =
            reason.split_once("`drop").expect("a command").1.split_once('`').expect("its end").0;
        destination.execute(&format!("drop{command}")).await;
        world.succeed(&["sync", "--tenant", world.id("acme")]).await;
        until("the copy is there", PATIENCE, async || {
            let count = destination.try_query_text("select count(*) from users").await?;
            if count == "20" { Ok(()) } else { Err(count) }
        })
        .await;
        assert_eq!(columns(destination, "users").await, expect);
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        let (code, told) = run(&world, &["verify"]).await;
        assert!(code == 0 && told.contains("1 of 1 copies equal"), "{told}");
        daemon.stop().await;
    }
}

/// What `check` says mends it: the statement then serves every destination.
#[tokio::test]
async fn a_schema_sql_without_the_tenant_is_refused_for_shared_destinations() {
    let own = USERS.replace(
        "{ table: users }",
        "\n  table: users\n  schema_sql: create table users (id uuid primary key, display_name text)",
    );
    let (world, shared) = mixed(&[("users", &own)]).await;
    world.fill(5).await;
    let (code, told) = run(&world, &["check", "--connect"]).await;
    assert!(code == 78, "{told}");
    for part in [
        "mappings/users.yaml:5:",
        "schema_sql makes no column tenant_id",
        "add `tenant_id uuid not null` and `primary key (tenant_id, id)` to it, and `keep_tenant: true`",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let mended = own.replace(
        "(id uuid primary key, display_name text)",
        "(tenant_id uuid not null, id uuid, display_name text, primary key (tenant_id, id))\n  keep_tenant: true",
    );
    world.write_mapping("users", &mended);
    world.succeed(&["check", "--connect"]).await;
    let daemon = world.daemon().await;
    wait_equal(&world, &shared).await;
    let acme = &world.tenant("acme").destination;
    assert_eq!(columns(acme, "users").await, "tenant_id id display_name | tenant_id id");
    daemon.stop().await;
}

/// Two mappings may fill tables of one name, each for destinations of its own. A destination that
/// would receive both is refused: by `check` where the file tells, otherwise alone.
#[tokio::test]
async fn two_mappings_may_write_to_one_table_where_no_destination_receives_both() {
    let brief = USERS.replace(", display_name from", " from");
    let (mut world, shared) = mixed(&[("users", USERS), ("brief", &brief)]).await;
    world.fill(10).await;
    let (code, told) = run(&world, &["check"]).await;
    let expect = "also writes to the table `users`, and destination ";
    assert!(code == 78 && told.contains(expect) && told.contains(" receives both"), "{told}");
    let acme = world.id("acme").to_owned();
    world.configure(|c| {
        for destination in c["destinations"]["static"].as_array_mut().expect("a list") {
            let own = destination["tenant"] == *acme;
            destination["mappings"] = json!([if own { "users" } else { "brief" }]);
        }
    });
    world.succeed(&["check"]).await;
    // One of the two that share a schema gets the other mapping.
    let globex = world.id("globex").to_owned();
    let receive = |c: &mut serde_json::Value, mapping: &str| {
        for destination in c["destinations"]["static"].as_array_mut().expect("a list") {
            if destination["tenant"] == *globex {
                destination["mappings"] = json!([mapping]);
            }
        }
    };
    world.configure(|c| receive(c, "users"));
    let (code, told) = run(&world, &["check"]).await;
    assert!(code == 78 && told.contains("receive one each in the same schema"), "{told}");
    world.configure(|c| receive(c, "brief"));

    world.source.execute("create table customer (tenant_id text, url text, mappings text[])").await;
    let both = Source::destination().await;
    let query = "select 'initech' as tenant_id, url from customer";
    world.configure(|c| c["destinations"]["query"] = query.into());
    let (code, told) = run(&world, &["check"]).await;
    assert!(code == 78 && told.contains("every destination of destinations.query"), "{told}");
    world.configure(|c| {
        c["destinations"]["query"] =
            "select tenant_id, 'second' as name, url, mappings from customer".into();
    });
    let insert = format!("insert into customer values ('{globex}', '{}', null)", both.url());
    world.source.execute(&insert).await;
    let (code, told) = run(&world, &["check", "--connect"]).await;
    let expect = "it receives the mappings brief and users, and both write to the table users";
    assert!(code == 4 && told.contains(expect), "{code} {told}");
    world.allow("destination_refused");
    let daemon = world.daemon().await;
    until("one destination is refused, and alone", PATIENCE, async || {
        let states = "select string_agg(name || ' ' || (refused is not null), ', ' order by name, tenant_id) from offtake.destination";
        let states = world.source.try_query_text(states).await?;
        let expect = "main false, main false, main false, second true";
        if states == expect { Ok(()) } else { Err(states) }
    })
    .await;
    until("the tables are there", PATIENCE, async || {
        let count = shared.try_query_text("select count(*) from users").await?;
        let own =
            world.tenant("acme").destination.try_query_text("select count(*) from users").await?;
        if (count.as_str(), own.as_str()) == ("20", "10") { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(columns(&shared, "users").await, "tenant_id id | tenant_id id");
    daemon.stop().await;
}
