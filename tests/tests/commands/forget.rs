//! `offtake forget`: a tenant that left is known no longer, and with `--purge` its rows are gone,
//! whatever a daemon was doing for it at that moment.

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Daemon, Database, PATIENCE, Source, World, oracle, until};
use serde_json::json;

use crate::offtake;

/// Each destination is a row of the application's table `customer`. Acme has a database of its
/// own; the others share the one that is returned.
pub(super) async fn world() -> (World, Database) {
    let mut world = World::with_tenants(["acme", "globex", "initech"])
        .mappings(&[("users", USERS), ("teams", TEAMS)])
        .await;
    let shared = Source::destination().await;
    world
        .source
        .execute("create table customer (tenant_id text primary key, url text, shared boolean)")
        .await;
    for tenant in ["acme", "globex", "initech"] {
        let own = tenant == "acme";
        let url = if own { world.tenant(tenant).destination.url() } else { shared.url() };
        add(&world, tenant, &url, !own).await;
        world.set_variable(&format!("{}_URL", tenant.to_uppercase()), &url);
    }
    world.configure(|c| {
        c["destinations"] = json!({ "query": "select * from customer", "refresh": "100ms" });
    });
    world.fill(20).await;
    (world, shared)
}

pub(super) async fn add(world: &World, tenant: &str, url: &str, shared: bool) {
    let id = world.id(tenant);
    let insert = format!("insert into customer values ('{id}', '{url}', {shared})");
    world.source.execute(&insert).await;
}

/// The destinations query returns the tenant's destination no longer.
pub(super) async fn leave(world: &World, tenant: &str) {
    let delete = format!("delete from customer where tenant_id = '{}'", world.id(tenant));
    world.source.execute(&delete).await;
}

pub(super) async fn wait_in_sync(world: &World, daemon: &Daemon, tenants: &[&str]) {
    for tenant in tenants {
        world.wait_told(daemon, tenant, "in_sync", &[]).await;
    }
}

/// The tenant's rows and cursors in the shared database.
pub(super) async fn shared_rows(world: &World, shared: &Database, tenant: &str) -> String {
    let count = "select (select count(*) from users where tenant_id = '{t}') || ' ' || \
                        (select count(*) from teams where tenant_id = '{t}') || ' ' || \
                        (select count(*) from _offtake_state where tenant_id = '{t}')";
    shared.query_text(&count.replace("{t}", world.id(tenant))).await
}

/// Every table of the schema `offtake` that has a `destination_id`, with the rows of the tenants
/// that the registry does not have, and the tenant's own rows of the registry and the fuses.
pub(super) async fn kept(world: &World, tenant: &str) -> Vec<String> {
    let tables = "select string_agg(c.relname, ' ' order by c.relname) from pg_class c \
                   join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'offtake' \
                   join pg_attribute a on a.attrelid = c.oid and a.attname = 'destination_id' and not a.attisdropped \
                  where c.relkind = 'r'";
    let tables = world.source.query_text(tables).await;
    assert!(tables.split(' ').count() >= 7, "{tables}");
    let mut kept = Vec::new();
    for table in tables.split(' ') {
        let orphans = format!(
            "select count(*) from offtake.{table} t where not exists \
               (select from offtake.destination d where d.destination_id = t.destination_id)"
        );
        assert_eq!(world.source.query_text(&orphans).await, "0", "{table}");
    }
    let id = world.id(tenant);
    for query in [
        format!("select count(*) from offtake.destination where tenant_id = '{id}'"),
        format!("select count(*) from offtake.fuse where name like '%:{id}%'"),
    ] {
        kept.push(world.source.query_text(&query).await);
    }
    kept
}

#[tokio::test]
async fn a_tenant_that_left_is_forgotten_and_its_rows_stay() {
    let (world, _shared) = world().await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme", "globex", "initech"]).await;
    let acme = world.id("acme").to_owned();
    let own = &world.tenant("acme").destination;
    own.execute("alter table users add constraint short check (length(display_name) < 30)").await;
    let long = format!(
        "insert into project_user (tenancy_id, project_user_id, display_name) \
         values ('{acme}', md5('x')::uuid, repeat('x', 40))"
    );
    world.source.execute(&long).await;
    world.wait_told(&daemon, "acme", "degraded", &[]).await;
    world.succeed(&["fuse", "off", &format!("tenant:{acme}"), "--reason", "it left"]).await;
    let fuse = format!("destination:{acme}/main");
    world.succeed(&["fuse", "off", &fuse, "--reason", "it left"]).await;
    world.succeed(&["pause", "--tenant", &acme, "--reason", "it left"]).await;
    world.succeed(&["resync", "--tenant", &acme]).await;

    // What would come back is refused, with what mends it.
    let forget = ["forget", "--tenant", &acme, "--yes"];
    let (code, _, told) = offtake(&world, &forget).await;
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("still returns") && told.contains("take its row out of what `query`"),
        "{told}"
    );
    assert_eq!(kept(&world, "acme").await, ["1", "2"]);
    leave(&world, "acme").await;
    let (code, _, told) = offtake(&world, &forget[..3]).await;
    assert!(code == 2 && told.contains("add --yes"), "{told}");
    assert_eq!(kept(&world, "acme").await[0], "1");
    let (code, said, told) = offtake(&world, &forget).await;
    assert_eq!(code, 0, "{said}{told}");
    assert!(said.contains("its rows stay in schema public of "), "{said}");
    assert_eq!(kept(&world, "acme").await, ["0", "0"]);
    assert_eq!(own.query_text("select count(*) from users").await, "20");
    let (code, _, told) = offtake(&world, &forget).await;
    assert!(code == 2 && told.contains("has no destination"), "{told}");

    // The others go on, and the tenant may come back.
    world.source.execute("update project_user set display_name = 'changed'").await;
    wait_in_sync(&world, &daemon, &["globex", "initech"]).await;
    own.execute("alter table users drop constraint short").await;
    add(&world, "acme", &own.url(), false).await;
    wait_in_sync(&world, &daemon, &["acme"]).await;
    oracle::assert_tenants_equal(&world, &["acme"]).await;
    daemon.stop().await;
}

/// Invariant 2: nothing of the neighbours goes, and nothing of the tenant stays.
#[tokio::test]
async fn a_purge_deletes_the_tenant_s_rows_of_a_shared_database_and_no_others() {
    let (world, shared) = world().await;
    // More rows than one transaction deletes.
    let globex = world.id("globex").to_owned();
    let many = format!(
        "insert into project_user (tenancy_id, project_user_id, display_name) \
         select '{globex}', md5(n::text)::uuid, n::text from generate_series(1, 12000) n"
    );
    world.source.execute(&many).await;
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme", "globex", "initech"]).await;
    let before = shared_rows(&world, &shared, "initech").await;
    leave(&world, "globex").await;
    let purge = ["forget", "--tenant", &globex, "--purge"];
    let with = |more: &[&'static str]| -> Vec<&str> {
        purge.iter().copied().chain(more.iter().copied()).collect()
    };

    let (code, _, told) = offtake(&world, &with(&["--yes"])).await;
    assert!(
        code == 2 && told.contains("needs the URL") && told.contains("--url '${VARIABLE}'"),
        "{told}"
    );
    let bare = shared.url();
    let literal = bare.replacen(
        "@",
        ":Canary@",
        usize::from(!bare.split_once("://").unwrap().1.split('@').next().unwrap().contains(':')),
    );
    let (code, _, told) =
        offtake(&world, &["forget", "--tenant", &globex, "--purge", "--yes", "--url", &literal])
            .await;
    assert!(code == 2 && told.contains("--url has a password in it"), "{told}");
    assert!(!told.contains("Canary"), "{told}");
    let (code, _, told) = offtake(&world, &with(&["--url", "${ACME_URL}", "--yes"])).await;
    assert!(code == 2 && told.contains("and the URL leads to"), "{told}");
    let (code, _, told) = offtake(&world, &with(&["--url", "${GLOBEX_URL}"])).await;
    assert!(code == 2 && told.contains("add --yes"), "{told}");
    assert_eq!(shared_rows(&world, &shared, "globex").await, "12020 2 2");

    let file = world.folder().join("url");
    std::fs::write(&file, format!("{}\n", shared.url())).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let (code, said, told) =
        offtake(&world, &["forget", "--tenant", &globex, "--purge", "--yes", "--url-file", &file])
            .await;
    assert_eq!(code, 0, "{said}{told}");
    assert!(
        said.contains("deleted 12022 row(s)")
            && said.contains("the tables stay, empty of it: public.teams, public.users"),
        "{said}"
    );
    assert_eq!(shared_rows(&world, &shared, "globex").await, "0 0 0");
    assert_eq!(shared_rows(&world, &shared, "initech").await, before);
    assert_eq!(kept(&world, "globex").await, ["0", "0"]);
    world.source.execute("update project_user set display_name = 'changed'").await;
    wait_in_sync(&world, &daemon, &["acme", "initech"]).await;
    let (code, said, told) = offtake(&world, &["verify"]).await;
    assert!(code == 0 && said.contains("4 of 4 copies equal"), "{said}{told}");
    assert_eq!(shared_rows(&world, &shared, "globex").await, "0 0 0");
    daemon.stop().await;
}

/// What ended half way goes on, and nothing is copied meanwhile, also where the tenant is named
/// again.
#[tokio::test]
async fn a_purge_that_ended_half_way_goes_on() {
    let (world, _shared) = world().await;
    world.allow("destination_refused");
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme"]).await;
    let acme = world.id("acme").to_owned();
    let own = &world.tenant("acme").destination;
    leave(&world, "acme").await;
    own.execute(STOP).await;
    let purge = ["forget", "--tenant", &acme, "--purge", "--url", "${ACME_URL}", "--yes"];
    let (code, _, told) = offtake(&world, &purge).await;
    assert!(
        code == 4 && told.contains("not now") && told.contains("goes on where it ended"),
        "{told}"
    );
    let left = "select (select count(*) from users) || ' ' || (select count(*) from teams) || ' ' || \
                       (select count(*) from _offtake_state)";
    assert_eq!(own.query_text(left).await, "20 0 0");
    assert_eq!(kept(&world, "acme").await, ["1", "0"]);

    add(&world, "acme", &own.url(), false).await;
    world.wait_told(&daemon, "acme", "blocked", &["it is being forgotten"]).await;
    world.source.execute("update project_user set display_name = 'changed'").await;
    wait_in_sync(&world, &daemon, &["globex", "initech"]).await;
    assert_eq!(own.query_text(left).await, "20 0 0");
    own.execute("drop trigger stop on users").await;
    let (code, said, told) = offtake(&world, &purge).await;
    assert_eq!(code, 0, "{said}{told}");
    assert_eq!(kept(&world, "acme").await, ["0", "0"]);
    daemon.stop().await;
    // It is named, so it is registered as a new one.
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme"]).await;
    oracle::assert_tenants_equal(&world, &["acme"]).await;
    daemon.stop().await;
}

/// When a worker that was stopped in its turn goes on.
enum GoesOn {
    /// It holds the locks that the purge waits for.
    During,
    /// The cursors are gone, some rows and the registry's own row are still there.
    HalfWay,
    After,
}

/// A worker has claimed, has read, or is writing, when the tenant is forgotten. The test fails
/// without the fence, where the worker writes what it has read; and without the look at the claim
/// in `judge` (crates/sync/src/turn/take_up.rs), where it finds no cursors and sets new ones.
#[tokio::test]
async fn a_worker_that_goes_on_late_writes_nothing_after_a_purge() {
    for (point, goes_on) in [
        ("sync.after_claim", GoesOn::HalfWay),
        ("sync.after_read", GoesOn::HalfWay),
        ("sync.after_read", GoesOn::After),
        ("sync.before_commit", GoesOn::During),
        ("sync.after_commit", GoesOn::HalfWay),
    ] {
        let (world, _shared) = world().await;
        let daemon = world.daemon().await;
        wait_in_sync(&world, &daemon, &["acme", "globex", "initech"]).await;
        let acme = world.id("acme").to_owned();
        let own = &world.tenant("acme").destination;
        daemon.set_failpoint(point, "pause").await;
        let change =
            format!("update project_user set display_name = 'late' where tenancy_id = '{acme}'");
        world.source.execute(&change).await;
        daemon.wait_at_failpoint(point, 1).await;
        leave(&world, "acme").await;
        let purge = ["forget", "--tenant", &acme, "--purge", "--url", "${ACME_URL}", "--yes"];
        let left = "select (select count(*) from users) || ' ' || (select count(*) from teams) || ' ' || \
                           (select count(*) from _offtake_state)";
        match goes_on {
            GoesOn::During => {
                let waits = async {
                    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                                   and application_name = 'offtake forget' and wait_event_type = 'Lock'";
                    own.wait_text(waiting, "1").await;
                    daemon.clear_failpoint(point).await;
                };
                let ((code, said, told), ()) = tokio::join!(offtake(&world, &purge), waits);
                assert_eq!(code, 0, "{point}: {said}{told}");
                turn_over(own).await;
            }
            GoesOn::HalfWay => {
                own.execute(STOP).await;
                let (code, said, told) = offtake(&world, &purge).await;
                assert_eq!(code, 4, "{point}: {said}{told}");
                daemon.clear_failpoint(point).await;
                turn_over(own).await;
                assert_eq!(own.query_text(left).await, "20 0 0", "{point}");
                own.execute("drop trigger stop on users").await;
                let (code, said, told) = offtake(&world, &purge).await;
                assert_eq!(code, 0, "{point}: {said}{told}");
            }
            GoesOn::After => {
                let (code, said, told) = offtake(&world, &purge).await;
                assert_eq!(code, 0, "{point}: {said}{told}");
                daemon.clear_failpoint(point).await;
                turn_over(own).await;
            }
        }
        assert_eq!(own.query_text(left).await, "0 0 0", "{point}");
        assert_eq!(kept(&world, "acme").await, ["0", "0"]);
        world.source.execute("update project_user set display_name = 'later'").await;
        wait_in_sync(&world, &daemon, &["globex", "initech"]).await;
        daemon.stop().await;
    }
}

/// Has every deletion of a user fail.
const STOP: &str = "
    create function stop() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
    create trigger stop before delete on users for each row execute function stop()";

/// Waits until no daemon is connected: its worker has ended its turn, and the destination is named
/// no longer.
async fn turn_over(destination: &Database) {
    until("the worker has ended its turn", PATIENCE, async || {
        let open = "select count(*) from pg_stat_activity \
                     where datname = current_database() and application_name = 'offtake'";
        match destination.query_text(open).await.as_str() {
            "0" => Ok(()),
            open => Err(open.to_owned()),
        }
    })
    .await;
}

/// A destination that does not answer leaves everything as it was.
#[tokio::test]
async fn a_purge_of_what_cannot_be_reached_changes_nothing() {
    let (world, _shared) = world().await;
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme"]).await;
    let acme = world.id("acme").to_owned();
    leave(&world, "acme").await;
    world.source.wait_text("select count(*) from offtake.destination where active", "2").await;
    let own = &world.tenant("acme").destination;
    let name = own.name().to_owned();
    let admin = Database::create(&own.url().replace(&name, "postgres"), "admin", None).await;
    let rename = format!("alter database \"{name}\" rename to \"{name}_away\"");
    let back = format!("alter database \"{name}_away\" rename to \"{name}\"");
    let end = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{name}'"
    );
    admin.query_text(&end).await;
    admin.execute(&rename).await;
    let before = remembered(&world).await;
    let purge = ["forget", "--tenant", &acme, "--purge", "--url", "${ACME_URL}", "--yes"];
    let (code, _, told) = offtake(&world, &purge).await;
    assert!(code == 4 && told.contains("no such database"), "{code} {told}");
    assert_eq!(remembered(&world).await, before);
    admin.execute(&back).await;
    let (code, said, told) = offtake(&world, &purge).await;
    assert_eq!(code, 0, "{said}{told}");
    daemon.stop().await;
}

/// What the registry keeps of acme.
async fn remembered(world: &World) -> String {
    let query = "select d.active || ' ' || (d.forget_requested_at is null) || ' ' || \
                        (select count(*) from offtake.destination_mapping m where m.destination_id = d.destination_id) \
                   from offtake.destination d where d.tenant_id = '{}'";
    world.source.query_text(&query.replace("{}", world.id("acme"))).await
}

/// Rows that are not the tenant's, or not this source's, are refused; and rows that refer to each
/// other go.
#[tokio::test]
async fn a_purge_takes_only_rows_that_are_the_tenant_s_and_all_of_them() {
    let (world, _shared) = world().await;
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme"]).await;
    daemon.stop().await;
    let acme = world.id("acme").to_owned();
    let own = &world.tenant("acme").destination;
    leave(&world, "acme").await;
    let purge = ["forget", "--tenant", &acme, "--purge", "--url", "${ACME_URL}", "--yes"];
    own.execute(
        "insert into _offtake_state select 'other', mapping, sequence_id, backfilled, backfill_key, epoch, version, updated_at from _offtake_state",
    )
    .await;
    let (code, _, told) = offtake(&world, &purge).await;
    assert!(code == 4 && told.contains("the tenant other has cursors there too"), "{told}");
    let command = told.split_once("run there: ").unwrap().1.lines().next().unwrap();
    own.execute(command).await;
    own.execute("update _offtake_state set source_identity = jsonb_set(source_identity, '{server}', '\"1\"')").await;
    let (code, _, told) = offtake(&world, &purge).await;
    assert!(code == 4 && told.contains("is served by another source"), "{told}");
    assert_eq!(own.query_text("select count(*) from users").await, "20");
    let server = world.source.query_text("select system_identifier from pg_control_system()").await;
    own.execute(&format!("update _offtake_state set source_identity = jsonb_set(source_identity, '{{server}}', '\"{server}\"')")).await;

    own.execute(
        "alter table users add column team uuid references teams (id) deferrable;
         alter table teams add column lead uuid references users (id) deferrable;
         alter table teams add column above uuid references teams (id);
         update users set team = (select id from teams limit 1);
         update teams set lead = (select id from users limit 1), above = (select id from teams limit 1)",
    )
    .await;
    let (code, said, told) = offtake(&world, &purge).await;
    assert_eq!(code, 0, "{said}{told}");
    let left = "select (select count(*) from users) || ' ' || (select count(*) from teams) || ' ' || \
                       (select count(*) from _offtake_state)";
    assert_eq!(own.query_text(left).await, "0 0 0");
}

/// The server may have the sessions of a daemon that ended for a moment longer; none is left that
/// could let go of the destination.
#[tokio::test]
async fn the_command_goes_on_once_the_last_session_of_a_daemon_has_ended() {
    let (world, _shared) = world().await;
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme"]).await;
    daemon.stop().await;
    let late = world.source.connect().await;
    late.batch_execute("set application_name = 'offtake'").await.unwrap();
    leave(&world, "acme").await;
    let ends = async {
        let asked = "select count(*) from pg_stat_activity where datname = current_database() \
                     and application_name = 'offtake forget' and query like '%pg_stat_activity%'";
        world.source.wait_text(asked, "1").await;
        drop(late);
    };
    let command = ["forget", "--tenant", world.id("acme"), "--yes"];
    let ((code, said, told), ()) = tokio::join!(offtake(&world, &command), ends);
    assert_eq!(code, 0, "{said}{told}");
}

/// The configuration, the source and the rows may spell a tenant's id in different ways.
#[tokio::test]
async fn a_tenant_is_forgotten_by_either_spelling() {
    let (world, shared) = world().await;
    let lower = world.id("globex").to_owned();
    let upper = lower.to_uppercase();
    assert_ne!(lower, upper);
    world
        .source
        .execute(&format!(
            "update customer set tenant_id = upper(tenant_id) where tenant_id = '{lower}'"
        ))
        .await;
    let daemon = world.daemon().await;
    let rows = format!("select count(*) from users where tenant_id = '{lower}'");
    shared.wait_text(&rows, "20").await;
    let state =
        format!("select count(*) from _offtake_state where tenant_id = '{upper}' and backfilled");
    shared.wait_text(&state, "2").await;
    world.source.execute(&format!("delete from customer where tenant_id = '{upper}'")).await;
    let third = format!("{{{lower}}}");
    let (code, _, told) = offtake(&world, &["forget", "--tenant", &third]).await;
    assert!(code == 2 && told.contains("add --yes") && told.contains(&upper), "{told}");
    let purge = ["forget", "--tenant", &lower, "--purge", "--url", "${GLOBEX_URL}", "--yes"];
    let (code, said, told) = offtake(&world, &purge).await;
    assert_eq!(code, 0, "{said}{told}");
    assert_eq!(shared.query_text(&rows).await, "0");
    assert_eq!(shared.query_text(&state).await, "0");
    daemon.stop().await;
}

#[tokio::test]
async fn a_destination_is_adopted_and_forgotten_over_http() {
    let (world, _shared) = world().await;
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme"]).await;
    let path = format!("/api/v1/destinations/{}/main", world.id("acme"));
    let post = async |verb: &str| daemon.request("POST", &format!("{path}/{verb}"), &[], "").await;
    let (code, told) = post("adopt").await;
    assert_eq!((code, told.as_str()), (202, r#"{"adopted":true}"#));
    let (code, told) = post("forget").await;
    assert!(code == 409 && told.contains("is still named by"), "{code} {told}");
    leave(&world, "acme").await;
    world.source.wait_text("select count(*) from offtake.destination where active", "2").await;
    let (code, told) = post("forget").await;
    assert_eq!((code, told.as_str()), (200, r#"{"forgotten":true}"#));
    assert_eq!(kept(&world, "acme").await, ["0", "0"]);
    assert_eq!(post("forget").await.0, 404);
    assert_eq!(post("adopt").await.0, 404);
    daemon.stop().await;
}
