//! `verify` where the destination's columns have other types than the query's.

use serde_json::Value;

use super::{verify, wait_quarantined, world, write};

const HELD: &str = r#"
source: { table: public.item, tenant: org, key: { id: id } }
query: select org as tenant_id, id, price, at, day, document, code, word, ratio, flag, amount, letter, number from public.item
target:
  table: held
  schema_sql: |
    create domain cents as numeric(6,2);
    create table held (id bigint primary key, price cents, at timestamp(0), day date, document jsonb, code char(6),
      word text, ratio real, flag numeric(4,1), amount money, letter "char", number oid)
"#;

const SETUP: &str = r#"
create table item (org text, id int, price numeric, at timestamp, day timestamp, document json, code text, word char(4),
  ratio double precision, flag int, amount numeric default 1.25, letter text default 'a', number int default 7,
  primary key (org, id));
insert into item select '{acme}', k, k, '2026-01-01', '2026-01-01', '{"a": 1}', 'c' || k, 'w', 0.5, 1
  from generate_series(1, 30) k"#;

/// A copy whose type rounds, pads or normalises is equal as long as nothing is lost, and different
/// as soon as it is. Before, the source's value was cast to the destination's type first, so that
/// it was rounded too.
#[tokio::test]
async fn a_rounded_value_is_a_difference_and_another_print_of_the_same_is_none() {
    let world = world(&[("held", HELD)], SETUP).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let (code, reports) = verify(&world).await;
    assert_eq!((code, &reports[0]["report"]["rows"]), (Some(0), &30.into()), "{reports:?}");
    let lossy = [
        (1, "price = 1.234", "price"),
        (2, "at = '2026-01-01 00:00:00.6'", "at"),
        (3, "day = '2026-01-01 10:00'", "day"),
        (4, "code = 'c  '", "code"),
        (5, "ratio = 0.12345678901234", "ratio"),
        (10, "amount = 5.555", "amount"),
        (11, "letter = 'abc'", "letter"),
        (12, "number = -5", "number"),
    ];
    for (id, set, _) in lossy {
        write(&world, &format!("update item set {set} where id = {id}")).await;
    }
    // These lose nothing.
    write(
        &world,
        "update item set price = 1.50, at = '2026-01-01 10:00:01.000', document = '{\"b\":2}', flag = 2, amount = 7.100 where id between 6 and 9",
    )
    .await;
    world.wait_in_step().await;
    let (code, reports) = verify(&world).await;
    let mut found: Vec<(i64, Vec<&str>)> = reports[0]["report"]["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| {
            let id = difference["key"]["id"].as_str().unwrap().parse().unwrap();
            let columns = difference["columns"].as_array().unwrap();
            (id, columns.iter().filter_map(Value::as_str).collect())
        })
        .collect();
    found.sort_unstable();
    let wanted: Vec<_> = lossy.map(|(id, _, column)| (id, vec![column])).into();
    assert_eq!((code, found), (Some(3), wanted), "{reports:?}");
    daemon.stop().await;
}

const READ: &str = r#"
source: { table: public.item, tenant: org, key: { id: id } }
query: select org as tenant_id, id, flag, amount, at, sure, document from public.item
target:
  table: read
  schema_sql: |
    create table read (id bigint primary key, flag int, amount numeric, at timestamptz, sure boolean, document jsonb)
"#;

/// A column that reads texts of another type has rows that it refuses, which are missing, and texts
/// that it rounds, which differ. Before PostgreSQL 16 a text that the type does not read made the
/// whole comparison fail, and a rounded time was called equal.
#[tokio::test]
async fn a_text_that_the_column_does_not_read_is_a_missing_row_and_ends_no_comparison() {
    let setup = r#"
        create table item (org text, id int, flag bool, amount money, at text, sure text, document text,
                           primary key (org, id));
        insert into item select '{acme}', k, null, null, '2026-01-01 00:00:0' || k || '.123456+00', 'on',
                                '{"b": 1,  "a": 2}' from generate_series(1, 5) k;
        update item set at = 'January 8, 1999 04:05 UTC', sure = 'yes' where id = 5"#;
    let world = world(&[("read", READ)], setup).await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let (code, reports) = verify(&world).await;
    assert_eq!((code, &reports[0]["report"]["rows"]), (Some(0), &5.into()), "{reports:?}");
    write(&world, "update item set at = '2026-01-01 00:00:00.1234567+00' where id = 1").await;
    write(&world, "update item set at = '2026-01-01 00:00:00.1234560+00' where id = 2").await;
    world.wait_in_step().await;
    write(&world, "insert into item (org, id, flag, amount) values ('{acme}', 6, true, null), ('{acme}', 7, null, 1)").await;
    wait_quarantined(&world, "6 22P02, 7 22P02").await;
    let (code, reports) = verify(&world).await;
    let report = &reports[0]["report"];
    let counts = [&report["missing"], &report["different"], &report["extra"]].map(Value::as_u64);
    assert_eq!((code, counts), (Some(3), [Some(2), Some(1), Some(0)]), "{reports:?}");
    let different = report["differences"].as_array().unwrap().iter();
    let columns: Vec<_> =
        different.filter(|d| d["key"]["id"] == "1").map(|d| &d["columns"]).collect();
    assert_eq!(columns, [&serde_json::json!(["at"])], "{reports:?}");
    daemon.stop().await;
}
