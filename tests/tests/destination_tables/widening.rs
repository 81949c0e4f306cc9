//! A column's type changes at the source (H18, H19).

use offtake_tests::oracle;

use super::{reload, verify, wait_there, world, write};

const ITEMS: &str = "
source: { table: public.item, tenant: org, key: { id: id } }
query: select org as tenant_id, id, label, n, small, price, at, tags from public.item
target: { table: items }
";

const SETUP: &str = "
create table item (org text, id int, label varchar(10), n int, small smallint, price numeric(6,2), at timestamp(3),
  tags varchar(5)[], primary key (org, id));
insert into item select '{acme}', k, 'n' || k, k, k, k / 100.0, '2026-01-01'::timestamp + k * interval '1 ms', array['t' || k]
  from generate_series(1, 500) k";

const TYPES: &str =
    "select string_agg(format_type(atttypid, atttypmod), ', ' order by attnum) from pg_attribute
  where attrelid = 'items'::regclass and attnum > 0 and not attisdropped";

/// The migration that every application makes sooner or later. Without `columns::widen`
/// (crates/sync/src/destinations/postgres/columns.rs) each of these changes blocked the mapping,
/// with a command that nulled the column.
#[tokio::test]
async fn a_column_that_is_widened_at_the_source_is_widened_in_the_copy() {
    let world = world(&[("items", ITEMS)], SETUP).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    // A constraint, an index and a default of the tenant's are no obstacle.
    there
        .execute(
            "create index on items (label); alter table items add constraint small_n check (n > 0);
             create table own (item int references items (id));",
        )
        .await;
    write(
        &world,
        "alter table item alter label type varchar(200), alter n type bigint, alter small type int,
           alter price type numeric(10,4), alter at type timestamp, alter tags type text[]",
    )
    .await;
    reload(&world, &daemon).await;
    let wide = "integer, character varying(200), bigint, integer, numeric(10,4), timestamp without time zone, text[]";
    wait_there(&world, TYPES, wide).await;
    write(
        &world,
        "update item set label = repeat('y', 60), n = 5000000000, small = 70000, price = 123456.7891,
           at = '2026-01-01 00:00:00.123456', tags = array['a longer one'] where id = 1",
    )
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    write(&world, "alter table item alter label type text, alter id type bigint").await;
    reload(&world, &daemon).await;
    wait_there(
        &world,
        TYPES,
        &wide.replace("character varying(200)", "text").replacen("integer", "bigint", 1),
    )
    .await;
    write(&world, "insert into item (org, id, label) values ('{acme}', 5000000000, 'wide')").await;
    wait_there(&world, "select label from items where id = 5000000000", "wide").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(verify(&world).await.0, Some(0));
    daemon.stop().await;
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_widening_is_named_and_stays() {
    let world = world(&[("items", ITEMS)], SETUP).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    there
        .execute(
            "create view labels as select id, label from items;
             create materialized view sums as select sum(n) from items;
             alter table items add column upper_label text generated always as (upper(label)) stored",
        )
        .await;
    write(&world, "alter table item alter label type varchar(200), alter n type bigint").await;
    reload(&world, &daemon).await;
    let told = world
        .wait_told(
            &daemon,
            "acme",
            "blocked",
            &[
                "view public.labels",
                "materialized view public.sums",
                "generated column upper_label",
            ],
        )
        .await;
    let reason = told["reason"].as_str().unwrap();
    assert!(!reason.contains("drop") && !reason.contains("null"), "{reason}");
    // `verify` works meanwhile, also for a value that the column cannot hold.
    write(&world, "update item set n = 5000000000 where id = 2").await;
    let (code, reports) = verify(&world).await;
    assert_eq!(
        (code, &reports[0]["report"]["unsettled"]),
        (Some(3), &1.into()),
        "the copy is behind: {reports:?}"
    );
    assert_eq!(there.query_text("select count(label) from labels").await, "500");
    // The owner does what the reason says.
    there.execute("drop view labels; drop materialized view sums; alter table items drop column upper_label").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    there.execute("create view labels as select id, label from items").await;
    wait_there(&world, "select n from items where id = 2", "5000000000").await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A statement of the tenant's holds the table for long. The command that the reason prints does
/// what Offtake could not do.
#[tokio::test]
async fn a_widening_that_cannot_be_made_prints_the_command_that_makes_it() {
    let world = world(&[("items", ITEMS)], SETUP).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    let reader = there.connect().await;
    reader.batch_execute("begin; select count(*) from items").await.unwrap();
    write(&world, "alter table item alter label type varchar(200)").await;
    reload(&world, &daemon).await;
    let says = ["a column is to be widened", "waits for other statements on the table"];
    let told = world.wait_told(&daemon, "acme", "blocked", &says).await;
    // No other try of Offtake's own comes between.
    world.succeed(&["pause", "--tenant", world.id("acme"), "--reason", "by hand"]).await;
    reader.batch_execute("commit").await.unwrap();
    there.execute(&command(told["reason"].as_str().unwrap())).await;
    world.succeed(&["resume", "--tenant", world.id("acme")]).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    write(&world, "update item set label = repeat('x', 150) where id = 1").await;
    wait_there(&world, "select length(label) from items where id = 1", "150").await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The command between the backquotes.
fn command(reason: &str) -> String {
    reason.split('`').nth(1).unwrap_or_else(|| panic!("no command: {reason}")).to_owned()
}

/// Narrowed or retyped: the command keeps what is there, also for a key. A reader never sees NULL.
#[tokio::test]
async fn the_command_for_another_type_keeps_the_values_or_says_that_it_cannot() {
    const KEYED: &str = "
source: { table: public.item, tenant: org, key: { id: id } }
query: select org as tenant_id, id, label, n from public.item
target: { table: items }
";
    let setup =
        "create table item (org text, id text, label text, n bigint, primary key (org, id));
      insert into item select '{acme}', k, k, k from generate_series(1, 50) k";
    let world = world(&[("items", KEYED)], setup).await;
    // Between the change and the look at it, a value may arrive that the old type does not read.
    world.allow("rows_quarantined");
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    for (alter, column, counted) in [
        ("alter table item alter n type int", "column n ", "count(n)"),
        ("alter table item alter label type varchar(5)", "column label ", "count(label)"),
        ("alter table item alter id type int using id::int", "column id ", "count(id)"),
        ("alter table item alter n type boolean using n > 7", "column n ", "count(n)"),
    ] {
        write(&world, alter).await;
        reload(&world, &daemon).await;
        let told = world.wait_told(&daemon, "acme", "blocked", &[column, "keeps the values"]).await;
        let command = command(told["reason"].as_str().unwrap());
        let client = there.connect().await;
        client.batch_execute(&format!("begin; {command}")).await.unwrap();
        let kept = client.query_one(&format!("select {counted} from items"), &[]).await.unwrap();
        assert_eq!(kept.get::<_, i64>(0), 50, "{command}");
        client.batch_execute("commit").await.unwrap();
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        oracle::assert_equal(&world).await;
    }
    // Values that are none of the new type. The daemon would read some again before it knows it.
    write(&world, "update item set label = 'x' || label").await;
    world.wait_in_step().await;
    let mut daemon = daemon;
    for (alter, column, left) in [
        (
            "alter table item alter label type int using substr(label, 2)::int",
            "column label ",
            "drop column",
        ),
        (
            "alter table item alter id type uuid using md5(id::text)::uuid",
            "column id ",
            "rename to",
        ),
    ] {
        daemon.stop().await;
        write(&world, alter).await;
        daemon = world.daemon().await;
        let says = [column, "no command keeps its values", left];
        let told = world.wait_told(&daemon, "acme", "blocked", &says).await;
        there.execute(&command(told["reason"].as_str().unwrap())).await;
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        oracle::assert_equal(&world).await;
    }
    assert_eq!(there.query_text("select count(*) from items_before").await, "50");
    daemon.stop().await;
}
