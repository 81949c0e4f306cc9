//! Commands that Offtake prints, run as they are printed: by a shell, for a tenant whose id a shell
//! would take apart.

use std::path::Path;
use std::process::Command;

use offtake_tests::printed::{between, remedy};
use offtake_tests::{Daemon, PATIENCE, World, binary, oracle, until};
use serde_json::json;

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.item
target: { table: items }
";

/// A blank, a quote of either kind, and what a shell replaces.
const TENANT: &str = "Smith & Sons' \"$HOME\" *";

/// The tenant's destination is served and in sync; the audit looks all the time.
async fn world() -> (World, Daemon) {
    let plan = World::with_tenants(["acme"]).mappings(&[("items", ITEMS)]).without_init();
    let mut world = plan.setting("/audit", json!({ "period": "1s", "budget": "100%" })).await;
    world.configure(|c| c["destinations"]["static"][0]["tenant"] = TENANT.into());
    world
        .source
        .execute(&format!(
            "create table item (tenant text, id int, body text, primary key (tenant, id));
             insert into item select '{}', n, 'body' from generate_series(1, 10) n",
            TENANT.replace('\'', "''")
        ))
        .await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    wait(&daemon, "in_sync").await;
    (world, daemon)
}

/// The reason of the only destination, once it is in that state.
async fn wait(daemon: &Daemon, state: &str) -> String {
    until(&format!("the destination is {state}"), PATIENCE, async || {
        let told = daemon.status().await["destinations"][0].clone();
        match told["state"] == state {
            true => Ok(told["reason"].as_str().unwrap_or_default().to_owned()),
            false => Err(told.to_string()),
        }
    })
    .await
}

/// Runs a printed command line in a shell that has `offtake` on its path. Returns the command's
/// standard output.
fn shell(world: &World, line: &str) -> String {
    let program = binary("offtake");
    let folder = program.parent().map(Path::display).unwrap();
    let mut command = Command::new("sh");
    command.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
    command.env("OFFTAKE_CONFIG", world.folder().join("offtake-1.yaml"));
    let output = command.args(["-c", line]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{line}: {stdout}{stderr}");
    stdout
}

/// Exit code, and both outputs.
async fn offtake(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.offtake(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test]
async fn a_printed_command_runs_in_a_shell_whatever_the_tenant_is_called() {
    let (world, daemon) = world().await;
    let fuse = format!("tenant:{TENANT}");
    let said = world.succeed(&["fuse", "off", &fuse, "--reason", "a test"]).await;
    wait(&daemon, "paused").await;
    shell(&world, between(&said, "until `", "`"));
    wait(&daemon, "in_sync").await;

    let said = world.succeed(&["pause", "--tenant", TENANT, "--reason", "a test"]).await;
    wait(&daemon, "paused").await;
    let (code, told) = offtake(&world, &["sync", "--tenant", TENANT, "--wait", "1ms"]).await;
    assert_eq!(code, 0, "nothing is behind: {told}");
    world.source.execute("update item set body = 'changed'").await;
    for command in ["sync", "resync"] {
        let (code, told) = offtake(&world, &[command, "--tenant", TENANT, "--wait", "1s"]).await;
        assert_eq!(code, 4, "{told}");
        let shown = shell(&world, between(&told, "see `", "`"));
        assert!(shown.contains("paused") && shown.contains("Smith"), "{shown}");
    }
    shell(&world, between(&said, "until `", "`"));
    wait(&daemon, "in_sync").await;

    let said = world.succeed(&["resync", "--tenant", TENANT]).await;
    shell(&world, between(&said, "; `", "`"));
    let said = world.succeed(&["adopt", "--tenant", TENANT, "--yes"]).await;
    shell(&world, between(&said, "; `", "`"));
    wait(&daemon, "in_sync").await;

    world.allow("audit_differs");
    let there = &world.tenant("acme").destination;
    there.execute("update items set body = 'by hand' where id = 1").await;
    let reason = wait(&daemon, "degraded").await;
    shell(&world, &format!("{} --yes", between(&reason, "run: ", "\n")));
    wait(&daemon, "in_sync").await;
    assert_eq!(there.query_text("select count(*) from items where body = 'changed'").await, "10");
    daemon.stop().await;
}

/// More rows differ than `verify --repair` mends one by one: over 100 000. `make soak` runs it.
#[tokio::test]
async fn a_copy_with_too_many_differences_is_mended_by_the_printed_resync() {
    if std::env::var_os("OFFTAKE_SOAK").is_none() {
        eprintln!("skipped: so many rows take half a minute; `make soak` runs it");
        return;
    }
    let plan = World::with_tenants(["acme"]).mappings(&[("items", ITEMS)]).without_init();
    let world = plan.await;
    let fill = "insert into item select '{tenant}', n, 'body' from generate_series(1, 100100) n";
    world.with_items("body text", fill).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.tenant("acme").destination.execute("update items set body = 'by hand'").await;
    let (_, told) = offtake(&world, &["verify", "--repair", "--yes"]).await;
    assert!(told.contains("more than"), "{told}");
    shell(&world, &format!("{} --wait 60s", remedy(&told)));
    let (code, told) = offtake(&world, &["verify"]).await;
    assert_eq!(code, 0, "{told}");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Every command that deletes, without a terminal: with what its message says to add, it runs.
#[tokio::test]
async fn a_command_that_deletes_runs_with_the_flag_that_is_printed() {
    let (mut world, daemon) = world().await;
    for command in [
        &["verify", "--repair"][..],
        &["quarantine", "discard"],
        &["adopt", "--tenant", TENANT],
        &["resync", "--drop", "--tenant", TENANT],
        &["forget", "--tenant", TENANT],
        &["uninstall"],
    ] {
        if command[0] == "verify" {
            world.tenant("acme").destination.execute("delete from items where id = 2").await;
            world.allow("audit_differs");
        }
        if command.contains(&"--drop") {
            // A table of a mapping that is gone.
            let table = "create table gone (id int); comment on table gone is 'offtake:gone'";
            world.tenant("acme").destination.execute(table).await;
        }
        if command[0] == "forget" {
            daemon.terminate();
            world.configure(|c| c["destinations"]["static"] = json!([]));
            world.source.wait_left().await;
        }
        let (code, told) = offtake(&world, command).await;
        assert!(
            code == 2 && told.contains("there is no terminal to ask on"),
            "{command:?}: {told}"
        );
        let more = between(remedy(&told), "add ", "\n");
        let (code, told) = offtake(&world, &[command, &[more]].concat()).await;
        assert_eq!(code, 0, "{command:?} {more}: {told}");
    }
    assert_eq!(world.source.query_text("select to_regnamespace('offtake') is null").await, "t");
}

/// The functions' role stays where the operator's role may not drop it.
#[tokio::test]
async fn a_role_that_uninstall_leaves_is_dropped_as_printed() {
    let plan = World::with_tenants(["acme"]).private_source().without_init();
    let mut world = plan.mappings(&[("items", ITEMS)]).await;
    let database = world.source.name().to_owned();
    let setup = format!(
        "create role plain login createrole password 'plain';
         create table item (tenant text, id int, body text, primary key (tenant, id));
         alter table item owner to plain; grant create on database {database} to plain"
    );
    world.source.execute(&setup).await;
    let own = world.source.url();
    let url = world.source_server().await.url_as("plain", Some("plain"), &database);
    world.configure(|c| c["source"]["url"] = url.into());
    world.succeed(&["init"]).await;
    world.source.execute("alter role plain nocreaterole").await;
    let said = world.succeed(&["uninstall", "--yes"]).await;
    let left = "select count(*) from pg_roles where rolname like 'offtake\\_capture%'";
    assert_eq!(world.source.query_text(left).await, "1", "{said}");
    world.source.execute(between(&said, "run as a superuser: ", "\n")).await;
    assert_eq!(world.source.query_text(left).await, "0", "{said}");
    // Nothing is left to tell.
    world.configure(|c| c["source"]["url"] = own.into());
    let said = world.succeed(&["uninstall", "--yes"]).await;
    assert!(!said.contains("stays") && said.contains("there was no schema offtake"), "{said}");
}
