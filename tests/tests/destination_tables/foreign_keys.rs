//! Foreign keys between the copies (H18, H30).

use offtake_tests::{PATIENCE, oracle, until};

use super::{wait_quarantined, wait_there, world, write};

/// The names sort the child before its parent.
const BILLS: &str = "
source: { table: public.bill, tenant: org, key: { id: id } }
query: select org as tenant_id, id, client from bill
target: { table: bills, schema_sql: \"create table if not exists bills (id int primary key, client int references clients, written text default pg_current_xact_id()::text)\" }
";
const CLIENTS: &str = "
source: { table: public.client, tenant: org, key: { id: id } }
query: select org as tenant_id, id, name from client
target: { table: clients, schema_sql: \"create table if not exists clients (id int primary key, name text, written text default pg_current_xact_id()::text)\" }
";
const SETUP: &str = "
create table client (org text, id int, name text, primary key (org, id));
create table bill (org text, id int, client int, primary key (org, id));
insert into client select '{acme}', k, 'c' from generate_series(1, 400) k;
insert into bill select '{acme}', k, k from generate_series(1, 400) k";

/// Neither name nor number matters: parents are written first, children deleted first, all in one
/// transaction. No row is ever refused; the daemon would log that.
#[tokio::test]
async fn a_parent_and_its_child_arrive_and_leave_together() {
    let world = world(&[("bills", BILLS), ("clients", CLIENTS)], SETUP).await;
    let daemon = world.daemon().await;
    // Making the child's table may have had to wait for the parent's.
    daemon.allow("mapping_blocked");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let there = &world.tenant("acme").destination;
    for n in 1000..1010 {
        write(
            &world,
            &format!(
                "begin; insert into client values ('{{acme}}', {n}, 'c'); insert into bill values ('{{acme}}', {n}, {n}); commit"
            ),
        )
        .await;
        wait_there(&world, &format!("select count(*) from bills where id = {n}"), "1").await;
    }
    let together = "select count(*) from bills b join clients c on c.id = b.client where b.id >= 1000 and b.written = c.written";
    assert_eq!(there.query_text(together).await, "10");
    write(&world, "insert into client select '{acme}', k, 'many' from generate_series(2000, 2400) k; insert into bill select '{acme}', k, k from generate_series(2000, 2400) k").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // They leave, in whatever order; others change meanwhile, and some change their parent.
    write(
        &world,
        "delete from client where id <= 200 or id > 2100; delete from bill where id <= 200 or id > 2100;
         insert into client values ('{acme}', 5000, 'new'); update bill set client = 5000 where id between 201 and 300; delete from client where id between 201 and 300",
    )
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    wait_quarantined(&world, "").await;
    // Copied again in place, over rows that are there.
    world.succeed(&["resync", "--tenant", world.id("acme")]).await;
    world.source.wait_text("select count(*) from offtake.resync_request", "0").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

const TREE: &str = "
source: { table: public.node, tenant: org, key: { id: id } }
query: select org as tenant_id, id, parent, owner from node
target: { table: nodes, schema_sql: \"create table if not exists nodes (id int primary key, parent int references nodes, owner int)\" }
";
const OWNERS: &str = "
source: { table: public.owner, tenant: org, key: { id: id } }
query: select org as tenant_id, id, home from owner
target:
  table: owners
  schema_sql: |
    create table if not exists owners (id int primary key, home int references nodes deferrable);
    alter table nodes add foreign key (owner) references owners deferrable
";

/// A tree in one table, and two tables that refer to each other.
#[tokio::test]
async fn cycles_and_trees_arrive_whole() {
    let setup = "
        create table node (org text, id int, parent int, owner int, primary key (org, id));
        create table owner (org text, id int, home int, primary key (org, id));
        insert into node select '{acme}', k, nullif(k + 1, 301), k from generate_series(1, 300) k;
        insert into owner select '{acme}', k, null from generate_series(1, 300) k";
    let world = world(&[("nodes", TREE), ("owners", OWNERS)], setup).await;
    world.allow("mapping_blocked");
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    wait_there(&world, "select to_regclass('owners') is not null", "t").await;
    // Rows may be set aside until both copies are complete.
    until("acme is in sync", PATIENCE, async || {
        world.source.execute("update offtake.quarantined_row set retry_at = now()").await;
        let told = world.told(&daemon, "acme").await;
        if told["state"] == "in_sync" { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    oracle::assert_equal(&world).await;
    write(&world, "update owner set home = id").await;
    for n in 1000..1005 {
        write(
            &world,
            &format!(
                "insert into node values ('{{acme}}', {n}, {n} + 1000, {n}), ('{{acme}}', {n} + 1000, null, {n}); insert into owner values ('{{acme}}', {n}, {n})"
            ),
        )
        .await;
        wait_there(&world, &format!("select count(*) from nodes n join owners o on o.id = n.owner and o.home = n.id where n.id = {n}"), "1").await;
    }
    write(&world, "delete from node where id > 500; delete from owner where id > 500").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    wait_quarantined(&world, "").await;
    daemon.stop().await;
}

/// A child whose parent the destination really lacks is set aside alone.
#[tokio::test]
async fn only_the_child_without_a_parent_is_set_aside() {
    let world = world(&[("bills", BILLS), ("clients", CLIENTS)], SETUP).await;
    world.allow("mapping_blocked");
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    write(
        &world,
        "insert into client values ('{acme}', 1001, 'c'); insert into bill values ('{acme}', 1000, 9999), ('{acme}', 1001, 1001)",
    )
    .await;
    wait_quarantined(&world, "1000 23503").await;
    wait_there(&world, "select count(*) from bills where id = 1001", "1").await;
    write(&world, "update bill set client = 1 where id = 1000").await;
    wait_quarantined(&world, "").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

const ACTING: &str = "
source: { table: public.bill, tenant: org, key: { id: id } }
query: select org as tenant_id, id, client, replaces from bill
target:
  table: bills
  schema_sql: |
    create table if not exists bills (
      id int primary key, client int references clients on delete cascade,
      replaces int references bills on delete set null
    )
";
/// The names sort the tables in the reverse order of their foreign keys, which is three long.
const GROUPS: &str = "
source: { table: public.sector, tenant: org, key: { id: id } }
query: select org as tenant_id, id from sector
target: { table: sectors, schema_sql: create table if not exists sectors (id int primary key) }
";
const SHOWN: &str = "
source: { table: public.client, tenant: org, key: { id: id } }
query: select org as tenant_id, id, sector from client where not hidden
target:
  table: clients
  schema_sql: create table if not exists clients (id int primary key, sector int references sectors)
";

/// A key that deletes or changes rows by itself would do so although the source still has them. A
/// deletion that would make it do so is refused instead, as under a key without an action.
#[tokio::test]
async fn a_key_that_acts_takes_no_row_that_the_source_still_has() {
    let setup = "
        create table sector (org text, id int, primary key (org, id));
        create table client (org text, id int, sector int, hidden boolean, primary key (org, id));
        create table bill (org text, id int, client int, replaces int, primary key (org, id),
                           foreign key (org, client) references client on delete cascade);
        insert into sector values ('{acme}', 1);
        insert into client select '{acme}', k, 1, false from generate_series(1, 9) k;
        insert into bill select '{acme}', k, k, case when k in (2, 3) then k - 1 end from generate_series(1, 9) k";
    let mappings = [("bills", ACTING), ("clients", SHOWN), ("sectors", GROUPS)];
    let world = world(&mappings, setup).await;
    // Each table is tried beside those that it refers to.
    let told = world.succeed(&["check", "--connect"]).await;
    assert!(told.contains("1 of 1 destination(s) answer"), "{told}");
    world.allow("rows_quarantined");
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let bills = "select string_agg(concat(id, ' ', client, ' ', replaces), ', ' order by id) from bills where id < 5";
    // What the source deletes by its own key is deleted.
    write(&world, "delete from client where id in (4, 9)").await;
    world.wait_in_step().await;
    wait_there(&world, bills, "1 1 , 2 2 1, 3 3 2").await;
    // A client leaves by the filter, and its bill stays; a bill goes that another one names.
    write(&world, "update client set hidden = true where id = 1; delete from bill where id = 2")
        .await;
    wait_quarantined(&world, "1 23503, 2 23503").await;
    world.wait_told(&daemon, "acme", "degraded", &[]).await;
    wait_there(&world, bills, "1 1 , 2 2 1, 3 3 2").await;
    write(&world, "delete from bill where id = 1; update bill set replaces = null where id = 3")
        .await;
    let retry = "update offtake.quarantined_row set retry_at = now()";
    until("the deletions are made", PATIENCE, async || {
        world.source.execute(retry).await;
        match world.source.query_text("select count(*) from offtake.quarantined_row").await.as_str()
        {
            "0" => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    // The same in a copy that begins again.
    let there = &world.tenant("acme").destination;
    there
        .execute("insert into clients values (99, 1); update bills set client = 99 where id = 5")
        .await;
    world.succeed(&["resync", "--tenant", world.id("acme"), "--mapping", "clients"]).await;
    let says = ["clients: the destination refuses it", "bills_client_fkey"];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    wait_there(&world, "select count(*) from bills where id = 5", "1").await;
    there.execute("update bills set client = 5 where id = 5").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Copies that refer to each other by a column that is not the key.
const CODED_BILLS: &str = "
source: { table: public.bill, tenant: org, key: { id: id } }
query: select org as tenant_id, id, code from bill
target:
  table: bills
  schema_sql: |
    create table if not exists bills (
      id int primary key, code text references clients (code) on update cascade
    )
";
const CODED_CLIENTS: &str = "
source: { table: public.client, tenant: org, key: { id: id } }
query: select org as tenant_id, id, code from client
target:
  table: clients
  schema_sql: create table if not exists clients (id int primary key, code text unique)
";

/// A key that changes rows by itself may do so to rows that the same batch writes after it, as
/// where the source has such a key too. Where the source's row stays as it is, the change is
/// refused instead. Fails without `guard_present`: the copy's row changed, and nothing was told.
#[tokio::test]
async fn a_key_that_acts_on_changes_changes_no_row_that_the_source_left_alone() {
    let setup = "
        create table client (org text, id int, code text, primary key (org, id), unique (org, code));
        create table bill (org text, id int, code text, primary key (org, id), constraint by_code
                           foreign key (org, code) references client (org, code) on update cascade);
        insert into client select '{acme}', k, 'c' || k from generate_series(1, 200) k;
        insert into bill select '{acme}', k, 'c' || k from generate_series(1, 200) k";
    let world = world(&[("bills", CODED_BILLS), ("clients", CODED_CLIENTS)], setup).await;
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    // One row, and more than are compared one by one.
    write(&world, "update client set code = 'one' where id = 1").await;
    write(&world, "update client set code = 'many ' || id where id > 20").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    wait_quarantined(&world, "").await;

    world.allow("rows_quarantined");
    write(&world, "alter table bill drop constraint by_code").await;
    write(&world, "update client set code = 'alone' where id = 3").await;
    wait_quarantined(&world, "3 23503").await;
    world.wait_told(&daemon, "acme", "degraded", &["1 quarantined rows"]).await;
    wait_there(&world, "select code from bills where id = 3", "c3").await;
    // A client whose bill does not refer to it is no matter of the key.
    write(&world, "update bill set code = null where id = 4").await;
    write(&world, "update client set code = 'free' where id = 4").await;
    wait_there(&world, "select code from clients where id = 4", "free").await;

    write(&world, "update bill set code = 'alone' where id = 3").await;
    let retry = "update offtake.quarantined_row set retry_at = now()";
    until("both rows arrive together", PATIENCE, async || {
        world.source.execute(retry).await;
        match world.source.query_text("select count(*) from offtake.quarantined_row").await.as_str()
        {
            "0" => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
