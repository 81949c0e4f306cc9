//! `verify` finds what differs; `verify --repair` repairs exactly that, through the worker.

use offtake_tests::{World, oracle};
use serde_json::Value;

use super::{done, offtake};

#[tokio::test]
async fn a_repair_mends_what_differs_and_touches_nothing_else() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(200).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    destination
        .execute(
            "delete from users where id = (select min(id::text)::uuid from users);
             update users set display_name = 'wrong' where id = (select max(id::text)::uuid from users);
             create temporary table extra as select * from users limit 1;
             update extra set id = gen_random_uuid();
             insert into users select * from extra;
             update team_members set (team_id, user_id) = (gen_random_uuid(), user_id)
              where ctid = (select ctid from team_members limit 1)",
        )
        .await;
    let untouched = "select count(distinct xmin::text) from users";
    let before = destination.query_text(untouched).await;
    let (code, told, _) = offtake(&world, &["verify", "--tenant", world.id("acme")]).await;
    assert!(code == 3 && told.contains("1 missing, 1 extra, 1 different"), "{code}: {told}");
    let (code, _, complained) = offtake(&world, &["verify", "--repair"]).await;
    assert!(code == 2 && complained.contains("--yes"), "{code}: {complained}");
    let told = done(&world, &["verify", "--tenant", world.id("acme"), "--repair", "--yes"]).await;
    assert!(told.contains("5 row(s)"), "{told}");
    oracle::assert_equal(&world).await;
    let after = destination.query_text(untouched).await;
    assert!(
        after.parse::<i32>().unwrap() <= before.parse::<i32>().unwrap() + 1,
        "{before} then {after} transactions wrote rows"
    );

    destination
        .execute("delete from teams where id = (select min(id::text)::uuid from teams)")
        .await;
    let told = done(&world, &["verify", "--repair", "--yes", "--json"]).await;
    let reports: Vec<Value> = serde_json::from_str(&told).unwrap();
    assert_eq!(reports.iter().map(|r| r["repaired"].as_i64().unwrap()).sum::<i64>(), 1, "{told}");
    oracle::assert_equal(&world).await;

    // More differences than are listed, in a table whose key has two columns.
    let rows: i64 =
        destination.query_text("select count(*) from team_members").await.parse().unwrap();
    destination.execute("update team_members set team_name = 'wrong'").await;
    let reports: Vec<Value> =
        serde_json::from_str(&done(&world, &["verify", "--repair", "--yes", "--json"]).await)
            .unwrap();
    assert_eq!(reports.iter().map(|r| r["repaired"].as_i64().unwrap()).sum::<i64>(), rows);
    assert!(rows > 100, "{rows}");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
