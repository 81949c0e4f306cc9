//! A destination that stores text in another encoding (H14, H18).

use offtake_tests::{Database, World, oracle};
use serde_json::{Value, json};

use super::{planned, verify, wait_quarantined, wait_there, write};

const ITEMS: &str = "
source: { table: public.item, tenant: org, key: { id: id } }
query: select org as tenant_id, id, label from item
target: { table: items }
";
const OTHERS: &str = "
source: { table: public.other, tenant: org, key: { id: id } }
query: select org as tenant_id, id, label from other
target: { table: others }
";
/// The second table's keys are text, beyond ASCII too.
const SETUP: &str = "
create table item (org text, id int, label text, primary key (org, id));
create table other (org text, id text, label text, primary key (org, id));
insert into item select '{acme}', n, 'n' || n from generate_series(1, 50) n;
insert into other select '{acme}', 'é' || n, 'n' || n from generate_series(1, 2000) n";

fn differing(reports: &[Value]) -> Vec<u64> {
    let count = |report: &Value, kind: &str| report["report"][kind].as_u64().unwrap();
    reports
        .iter()
        .map(|report| {
            count(report, "missing") + count(report, "different") + count(report, "extra")
        })
        .collect()
}

async fn lacking(encoding: &str, held: &str, lacked: &str) {
    let plan = World::with_tenants(["acme"]).encoding(encoding).rows_at_once(300);
    let setup = SETUP.replace('é', held);
    let world = planned(plan, &[("items", ITEMS), ("others", OTHERS)], &setup).await;
    world.allow("rows_quarantined");
    // In the initial copy: a value, and keys at both ends of what is copied.
    write(
        &world,
        &format!(
            "update item set label = '{lacked}' where id = 20;
             insert into other values ('{{acme}}', '{lacked}', 'x'), ('{{acme}}', '0{lacked}', 'x')"
        ),
    )
    .await;
    let daemon = world.daemon().await;
    wait_there(
        &world,
        "select (select count(*) from items), (select count(*) from others)",
        "49|2000",
    )
    .await;
    wait_quarantined(&world, &format!("0{lacked} 22P05, 20 22P05, {lacked} 22P05")).await;
    world.wait_told(&daemon, "acme", "degraded", &[]).await;
    // Characters are compared, and not the bytes of two encodings.
    write(&world, &format!("update item set label = 'caf{held}' where id < 5")).await;
    wait_there(&world, &format!("select count(*) from items where label = 'caf{held}'"), "4").await;
    world.wait_in_step().await;
    let (code, reports) = verify(&world).await;
    assert_eq!((code, differing(&reports)), (Some(3), vec![1, 2]), "{reports:?}");
    // Among live changes, in both mappings; the others arrive.
    write(
        &world,
        &format!(
            "update item set label = '{lacked}' where id = 9; update item set label = 'plain' where id = 10;
             insert into other values ('{{acme}}', '{lacked}{lacked}', 'x'); update other set label = 'y' where id = '{held}1'"
        ),
    )
    .await;
    wait_there(&world, "select (select label from items where id = 10), (select count(*) from others where label = 'y')", "plain|1").await;
    wait_there(&world, "select label from items where id = 9", "n9").await;
    // What is deleted or changed at the source leaves quarantine.
    write(&world, &format!("delete from other where id like '%{lacked}'; update item set label = 'z' where id in (9, 20)")).await;
    wait_quarantined(&world, "").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    assert_eq!(verify(&world).await.0, Some(0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_character_that_latin1_lacks_sets_its_row_aside_and_no_other() {
    lacking("LATIN1", "é", "€").await;
}

/// The order of the bytes is another one than that of UTF-8, too.
#[tokio::test]
async fn a_character_that_euc_jp_lacks_sets_its_row_aside_and_no_other() {
    lacking("EUC_JP", "日", "😀").await;
}

/// What `init` and the daemon send, and the messages that they store, have only characters that the
/// source has.
#[tokio::test]
async fn a_source_in_latin1_is_like_any_other() {
    let plan = World::with_tenants(["acme"]).mappings(&[("items", ITEMS)]).without_init();
    let mut world = plan.setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" })).await;
    let latin1 = "template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'";
    world.source = Database::create(&world.source.url(), "source", Some(latin1)).await;
    let url = world.source.url();
    world.configure(|configuration| configuration["source"]["url"] = url.into());
    let table = "create table item (org text, id int, label text, primary key (org, id))";
    write(&world, &format!("{table}; insert into item values ('{{acme}}', 1, 'café')")).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    daemon.allow("rows_quarantined");
    daemon.allow("mappings_refused");
    wait_there(&world, "select label from items", "café").await;
    // A destination may say anything.
    let refuse = "
        create function refuse() returns trigger language plpgsql as
          $$begin raise check_violation using message = 'zu groß: 5 €'; end$$;
        create trigger refuse before insert on items for each row when (new.id = 2) execute function refuse()";
    world.tenant("acme").destination.execute(refuse).await;
    write(&world, "insert into item values ('{acme}', 2, 'x'), ('{acme}', 3, 'ö')").await;
    wait_quarantined(&world, "2 23514").await;
    wait_there(&world, "select label from items where id = 3", "ö").await;
    // And so may a file. The remedy has three dots in one character.
    let bad = ITEMS.replace("tenant: org", "tenant: \"(select '€')\"").replace("items", "bad");
    world.write_mapping("bad", &bad);
    world.wait_told(&daemon, "acme", "blocked", &["mapping bad waits"]).await;
    std::fs::remove_file(world.mappings_folder().join("bad.yaml")).unwrap();
    write(&world, "delete from item where id = 2").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A source in SQL_ASCII checks no bytes. A row with bytes that are no UTF-8 is set aside by its
/// key, and the others arrive.
#[tokio::test]
async fn a_row_of_a_source_in_sql_ascii_that_is_no_utf_8_is_set_aside() {
    let plan = World::with_tenants(["acme"]).mappings(&[("items", ITEMS)]).without_init();
    let mut world = plan.setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" })).await;
    let ascii = "template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'";
    world.source = Database::create(&world.source.url(), "source", Some(ascii)).await;
    let url = world.source.url();
    world.configure(|configuration| configuration["source"]["url"] = url.into());
    let wrong = "convert_from('\\x61ff62', 'SQL_ASCII')";
    let table = "create table item (org text, id int, label text, primary key (org, id))";
    let rows = "insert into item select '{acme}', n, 'café' from generate_series(1, 20) n";
    write(&world, &format!("{table}; {rows}; update item set label = {wrong} where id = 7")).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    daemon.allow("rows_quarantined");
    wait_quarantined(&world, "7 22021").await;
    wait_there(&world, "select count(*) from items where label = 'café'", "19").await;
    write(&world, &format!("update item set label = {wrong} where id in (8, 9)")).await;
    write(&world, "insert into item values ('{acme}', 21, 'late')").await;
    wait_there(&world, "select label from items where id = 21", "late").await;
    wait_quarantined(&world, "7 22021, 8 22021, 9 22021").await;
    write(&world, "update item set label = 'mended' where id in (7, 8, 9)").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    wait_there(&world, "select count(*) from items where label = 'mended'", "3").await;
    daemon.stop().await;
}
