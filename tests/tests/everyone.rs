//! Tables that every tenant receives: `tenant: everyone`.

use offtake_tests::{Plan, Source, World, oracle};

const TABLES: &str = "
    create table plan (id int primary key, name text, price numeric(8, 2));
    create table plan_note (plan_id int primary key, note text);
    create table subscription (id int primary key, org text, plan_id int, seats int);
    create index on subscription (plan_id);
    insert into plan values (1, 'Free', 0), (2, 'Team', 9.5)";

const PLANS: &str = "
source: { table: public.plan, tenant: everyone }
depends_on: [{ table: public.plan_note, match: { id: plan_id } }]
query: |
  select p.id, p.name, p.price, n.note from public.plan p left join public.plan_note n on n.plan_id = p.id
target: { table: plans }
";

/// Another mapping, which joins the table.
const SUBSCRIPTIONS: &str = "
source: { table: public.subscription, tenant: org }
depends_on: [{ table: public.plan, match: { plan_id: id } }]
query: |
  select s.org as tenant_id, s.id, p.name as plan, s.seats
    from public.subscription s join public.plan p on p.id = s.plan_id
target: { table: subscriptions }
";

fn plan(tenants: &[&str]) -> Plan {
    World::with_tenants(tenants.iter().copied())
        .without_init()
        .mappings(&[("plans", PLANS), ("subscriptions", SUBSCRIPTIONS)])
}

async fn prepare(plan: Plan) -> World {
    let world = plan.await;
    world.source.execute(TABLES).await;
    for (number, tenant) in world.tenants().iter().enumerate() {
        let id = &tenant.id;
        let insert = format!("insert into subscription values ({number}, '{id}', 2, 3)");
        world.source.execute(&insert).await;
    }
    world.succeed(&["init"]).await;
    world
}

async fn check(world: &World) {
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}

/// What the tenant has, as `id name note`, in the order of ids.
async fn plans(world: &World, tenant: &str) -> String {
    let plans = "select coalesce(string_agg(concat_ws(' ', id, name, note), ', ' order by id), '') from plans";
    world.tenant(tenant).destination.query_text(plans).await
}

#[tokio::test]
async fn every_tenant_receives_a_table_and_every_change_of_it() {
    let world = prepare(plan(&["acme", "globex", "initech"])).await;
    let daemons = [world.daemon().await, world.daemon().await];
    let steps = [
        ("", "1 Free, 2 Team"),
        ("insert into plan values (3, 'Firm', 30)", "1 Free, 2 Team, 3 Firm"),
        ("update plan set name = 'Teams' where id = 2", "1 Free, 2 Teams, 3 Firm"),
        ("update plan set id = 4 where id = 3", "1 Free, 2 Teams, 4 Firm"),
        ("insert into plan_note values (4, 'new')", "1 Free, 2 Teams, 4 Firm new"),
        ("delete from plan where id = 1", "2 Teams, 4 Firm new"),
        ("update plan_note set plan_id = 2", "2 Teams new, 4 Firm"),
        ("truncate plan", ""),
        ("insert into plan values (2, 'Again', 1)", "2 Again new"),
    ];
    for (sql, expect) in steps {
        world.source.execute(sql).await;
        check(&world).await;
        for tenant in ["acme", "globex", "initech"] {
            assert_eq!(plans(&world, tenant).await, expect, "{tenant} after {sql}");
        }
    }
    for daemon in daemons {
        daemon.stop().await;
    }
    let verified = world.succeed(&["verify"]).await;
    assert!(!verified.contains("differ") && !verified.contains("another tenant"), "{verified}");
    let acme = world.id("acme");
    let preview = world.succeed(&["preview", "--tenant", acme, "--mapping", "plans"]).await;
    assert!(preview.contains("Again"), "{preview}");
}

#[tokio::test]
async fn what_a_tenant_changed_in_such_a_table_is_found_and_repaired() {
    let world = prepare(plan(&["acme", "globex"])).await;
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    check(&world).await;
    let acme = &world.tenant("acme").destination;
    acme.execute("update plans set name = 'mine' where id = 1; delete from plans where id = 2; insert into plans values (9, 'extra')").await;
    let found = world.offtake(&["verify", "--json"]).await;
    assert_eq!(found.status.code(), Some(3), "{}", String::from_utf8_lossy(&found.stdout));
    world.succeed(&["verify", "--repair", "--yes"]).await;
    check(&world).await;
    acme.execute("truncate plans").await;
    world.succeed(&["resync", "--tenant", world.id("acme"), "--mapping", "plans"]).await;
    check(&world).await;
    daemon.stop().await;
}

/// A row that one tenant's table refuses keeps no other tenant from it.
#[tokio::test]
async fn a_row_that_one_tenant_refuses_reaches_the_others() {
    let world = prepare(plan(&["acme", "globex"])).await;
    world.allow("*");
    let daemon = world.daemon().await;
    check(&world).await;
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table plans add check (price < 100)").await;
    world.source.execute("insert into plan values (5, 'Gold', 500), (6, 'Iron', 5)").await;
    let globex = &world.tenant("globex").destination;
    globex
        .wait_text("select string_agg(name, ' ' order by id) from plans where id > 4", "Gold Iron")
        .await;
    acme.wait_text("select string_agg(name, ' ' order by id) from plans where id > 4", "Iron")
        .await;
    let quarantined = "select count(*) from offtake.quarantined_row where mapping = 'plans' and row_key = '{\"id\": \"5\"}'";
    world.source.wait_text(quarantined, "1").await;
    world.source.execute("update plan set price = 50 where id = 5").await;
    acme.wait_text("select string_agg(name, ' ' order by id) from plans where id > 4", "Gold Iron")
        .await;
    check(&world).await;
    daemon.stop().await;
}

/// Each tenant of a shared table has rows of its own, so that each is in step by itself.
#[tokio::test]
async fn tenants_of_a_shared_table_have_rows_of_their_own() {
    let keep = |mapping: &str| mapping.replace("target: { ", "target: { keep_tenant: true, ");
    let mut world = prepare(
        World::with_tenants(["acme", "globex"])
            .without_init()
            .mappings(&[("plans", &keep(PLANS)), ("subscriptions", &keep(SUBSCRIPTIONS))]),
    )
    .await;
    let shared = Source::destination().await;
    world.configure(|c| {
        for destination in c["destinations"]["static"].as_array_mut().expect("a list") {
            destination["url"] = shared.url().into();
            destination["shared"] = true.into();
        }
    });
    let daemon = world.daemon().await;
    let mut of_each = [world.id("acme").to_owned(), world.id("globex").to_owned()];
    of_each.sort();
    let rows =
        "select string_agg(tenant_id || ' ' || name, ', ' order by id, tenant_id) from plans";
    let expect = |names: &[&str]| {
        let rows =
            names.iter().flat_map(|name| of_each.iter().map(move |id| format!("{id} {name}")));
        rows.collect::<Vec<_>>().join(", ")
    };
    shared.wait_text(rows, &expect(&["Free", "Team"])).await;
    world
        .source
        .execute("update plan set name = 'Crew' where id = 2; delete from plan where id = 1")
        .await;
    shared.wait_text(rows, &expect(&["Crew"])).await;
    world.source.execute("truncate plan; insert into plan values (7, 'Late', 1)").await;
    shared.wait_text(rows, &expect(&["Late"])).await;
    // It waits for what is on its way.
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_new_tenant_receives_it_with_its_first_copy() {
    let mut world = prepare(plan(&["acme", "globex"])).await;
    let mut removed = None;
    world
        .configure(|c| removed = c["destinations"]["static"].as_array_mut().expect("a list").pop());
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme"], offtake_tests::PATIENCE).await;
    world.source.execute("insert into plan values (8, 'Early', 1)").await;
    world.wait_tenants_in_step(&["acme"], offtake_tests::PATIENCE).await;
    daemon.stop().await;
    world.configure(|c| {
        let all = c["destinations"]["static"].as_array_mut().expect("a list");
        all.push(removed.take().expect("it was removed"));
    });
    let daemon = world.daemon().await;
    check(&world).await;
    assert_eq!(plans(&world, "globex").await, "1 Free, 2 Team, 8 Early");
    daemon.stop().await;
}

/// One table of which every tenant receives one mapping, and each tenant its own rows by another.
#[tokio::test]
async fn a_table_may_be_everyones_and_looked_up_at_once() {
    let open = "
source: { table: public.subscription, tenant: everyone }
query: select s.id, s.seats from public.subscription s
target: { table: all_seats }
";
    let own = "
source: { table: public.subscription, tenant: { table: public.owner, column: org, match: { id: id } } }
query: select o.org as tenant_id, s.id, s.seats from public.subscription s join public.owner o on o.id = s.id
target: { table: own_seats }
";
    let world = World::with_tenants(["acme", "globex"])
        .without_init()
        .mappings(&[("all_seats", open), ("own_seats", own), ("subscriptions", SUBSCRIPTIONS)])
        .await;
    world.source.execute(TABLES).await;
    world.source.execute("create table owner (id int primary key, org text)").await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let (acme, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    let steps = [
        format!(
            "insert into owner values (1, '{acme}'), (2, '{globex}'); insert into subscription values (1, '{acme}', 1, 1), (2, '{globex}', 2, 2)"
        ),
        "update subscription set seats = seats + 1".to_owned(),
        format!(
            "update owner set org = '{globex}' where id = 1; update subscription set org = '{globex}' where id = 1"
        ),
        "delete from subscription where id = 2".to_owned(),
        "delete from owner; delete from subscription".to_owned(),
    ];
    for sql in steps {
        world.source.execute(&sql).await;
        check(&world).await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn what_contradicts_everyone_is_refused_and_the_cost_is_told() {
    let world = prepare(plan(&["acme", "globex"])).await;
    let told = async |mapping: &str| {
        world.write_mapping("plans", mapping);
        let output = world.offtake(&["check", "--connect"]).await;
        let all = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&all).into_owned())
    };
    let (code, all) = told(&PLANS.replace("select p.id,", "select 'x' as tenant_id, p.id,")).await;
    let expect = "the query has a column `tenant_id`, and every tenant receives every row";
    assert!(code == 78 && all.contains(expect), "{all}");
    // In double quotes it is a column.
    let (code, all) = told(&PLANS.replace("everyone", "'\"everyone\"'")).await;
    assert!(code == 78 && all.contains("table public.plan has no column `everyone`"), "{all}");
    let (code, all) = told(PLANS).await;
    let expect = "every tenant receives it, so one change wakes every destination; ";
    assert!(code == 0 && all.contains(expect), "{all}");
    assert!(!all.contains("warning"), "{all}");
}

/// A change names its row by the key in the source table. A row that the query gives another key
/// would miss every change, in a copy that looks complete.
#[tokio::test]
async fn a_key_that_is_not_the_source_table_s_is_refused() {
    let world = prepare(plan(&["acme"])).await;
    let told = async |arguments: &[&str]| {
        let output = world.offtake(arguments).await;
        let all = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&all).into_owned())
    };
    for (name, mapping) in [("plans", PLANS), ("subscriptions", SUBSCRIPTIONS)] {
        let table = format!("public.{}", &name[..name.len() - 1]);
        for id in [".id + 100", ".id - 100", ".id # 64"] {
            let computed = mapping.replacen(".id,", &format!("{id} as id,"), 1);
            assert_ne!(computed, mapping);
            world.write_mapping(name, &computed);
            for arguments in [&["check", "--connect"][..], &["init"]] {
                let (code, all) = told(arguments).await;
                let expect = format!("the query's key is not that of {table} on ");
                assert!(code == 78 && all.contains(&expect), "{all}");
                assert!(all.contains(&format!("expose id as id as it is in {table}")), "{all}");
            }
        }
        world.write_mapping(name, mapping);
    }
    let (code, all) = told(&["check", "--connect"]).await;
    assert!(code == 0, "{all}");
}

/// A poll that dies has told nothing, and the next one tells the same destinations.
#[tokio::test]
async fn a_poll_that_is_undone_is_made_again() {
    let world = prepare(plan(&["acme", "globex"]).setting("/poller/lease", "1s")).await;
    world.allow("*");
    let daemon = world.daemon().await;
    check(&world).await;
    daemon.stop().await;
    world.source.execute("update plan set name = name || '!'").await;
    let mut killed = world.spawn_daemon_with_failpoints(&[("poller.before_commit", "abort")]);
    killed.wait_exit(offtake_tests::PATIENCE).await;
    let daemon = world.daemon().await;
    check(&world).await;
    assert_eq!(plans(&world, "acme").await, "1 Free!, 2 Team!");
    daemon.stop().await;
}
