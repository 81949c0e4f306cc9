//! A place that several tenants share: whose rows a statement may touch, and how its workers wait
//! for each other.

use offtake_tests::{PATIENCE, World, until};

const CLIENTS: &str = "
source: { table: public.client, tenant: org, key: { id: id } }
query: select org as tenant_id, id, name from public.client
target:
  table: clients
  keep_tenant: true
  schema_sql: create table if not exists clients (tenant_id text, id int, name text, primary key (tenant_id, id))
";
const BILLS: &str = "
source: { table: public.bill, tenant: org, key: { id: id } }
query: select org as tenant_id, id, client from public.bill
target:
  table: bills
  keep_tenant: true
  schema_sql: |
    create table if not exists bills (tenant_id text, id int, client int, primary key (tenant_id, id),
      foreign key (tenant_id, client) references clients)
";

async fn wait_there(world: &World, sql: &str, expect: &str) {
    until(sql, PATIENCE, async || {
        let found = world.tenant("acme").destination.try_query_text(sql).await?;
        if found == expect { Ok(()) } else { Err(format!("{found}, not {expect}")) }
    })
    .await;
}

/// The tables hold the tenant as the source prints it, whatever the configuration says. A batch
/// whose tables refer to each other must find its rows under that text too: under the configured
/// one it deletes nothing, and takes its own writes for another's interference.
#[tokio::test]
async fn linked_rows_are_those_of_the_tenant_as_the_source_prints_it() {
    let tenant = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let mappings = [("clients", CLIENTS), ("bills", BILLS)];
    let mut world = World::with_tenants(["acme"]).mappings(&mappings).without_init().await;
    world.configure(|configuration| {
        let destination = &mut configuration["destinations"]["static"][0];
        destination["tenant"] = tenant.to_uppercase().into();
        destination["shared"] = true.into();
    });
    world
        .source
        .execute(
            "create table client (org uuid, id int, name text, primary key (org, id));
             create table bill (org uuid, id int, client int, primary key (org, id))",
        )
        .await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    // The child's table can only be made after the parent's.
    daemon.allow("mapping_blocked");
    wait_there(&world, "select count(*) from _offtake_state where backfilled", "2").await;
    let add = format!(
        "insert into client values ('{tenant}', 1, 'c'), ('{tenant}', 2, 'c'); \
         insert into bill values ('{tenant}', 1, 1), ('{tenant}', 2, 2)"
    );
    world.source.execute(&add).await;
    let there = "select (select count(*) from clients), (select count(*) from bills)";
    wait_there(&world, there, "2|2").await;
    let remove = "delete from bill where id = 1; delete from client where id = 1";
    world.source.execute(remove).await;
    wait_there(&world, there, "1|1").await;
    daemon.stop().await;
}

const NOTES: &str = "
source: { table: public.note, tenant: tenant }
query: select tenant as tenant_id, id, body from public.note
target: { table: notes, keep_tenant: true }
";

/// Another worker makes tables there for longer than this one waits. That is no failure of the
/// destination: nothing is logged, and the turn after it begins with a usable session.
#[tokio::test]
async fn a_worker_that_waits_for_tables_in_vain_tries_again_and_tells_no_failure() {
    let plan = World::with_tenants(["acme"]).mappings(&[("notes", NOTES)]).without_init();
    let mut world = plan.await;
    world.configure(|c| c["destinations"]["static"][0]["shared"] = true.into());
    let tenant = world.id("acme").to_owned();
    world
        .source
        .execute(&format!(
            "create table note (tenant text, id integer, body text, primary key (tenant, id));
             insert into note values ('{tenant}', 1, 'first')"
        ))
        .await;
    world.succeed(&["init"]).await;
    let maker = world.tenant("acme").destination.connect().await;
    let lock = "begin; select pg_advisory_xact_lock(hashtext('offtake:public'))";
    maker.batch_execute(lock).await.expect("the lock is free");
    let daemon = world.daemon().await;
    let waits = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
        where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
    // It waits, gives the wait up, and waits once more.
    for waiting in ["1", "0", "1"] {
        until("the worker waits", PATIENCE, async || {
            let found = world.tenant("acme").destination.try_query_text(waits).await?;
            if found == waiting { Ok(()) } else { Err(found) }
        })
        .await;
    }
    let failures = "select max(failures) from offtake.outgoing_request";
    assert_eq!(world.source.query_text(failures).await, "0");
    maker.batch_execute("commit").await.expect("the lock is released");
    wait_there(&world, "select body from notes", "first").await;
    daemon.stop().await;
}
