//! What Cloudflare allows: time, room, and requests, which are counted for each token.

use offtake_tests::d1::{Fault, OTHER_TOKEN, TOKEN};
use offtake_tests::{PATIENCE, oracle, until};
use serde_json::json;

use crate::{filled, plan, world, write};

/// What a batch of items has, and nothing else.
const ITEMS: &str = "insert into \\\"items\\\"";

/// A batch for which the database took twelve of the thirty seconds has arrived. The next one that is
/// read has half as many rows.
#[tokio::test]
async fn a_batch_that_comes_near_the_limit_of_time_is_halved() {
    let Some(world) = filled(plan().rows_at_once(80)).await else { return };
    world.d1().next(ITEMS, Fault::Meta("duration", 12_000.0));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(world.d1().pending(), 0, "no batch was slow");
    let seen = world.d1().seen();
    let rows = |body: &str| body.matches(r#"\"name "#).count();
    let of = |text: &str| -> Vec<usize> {
        let batches = seen.iter().filter(|seen| seen.body.contains(ITEMS));
        batches.filter(|seen| seen.head.contains(text)).map(|seen| rows(&seen.body)).collect()
    };
    let sizes = [world.d1().id(0), world.d1().id(1)].map(of);
    let slow = sizes.iter().filter(|sizes| sizes.iter().any(|rows| (30..50).contains(rows)));
    assert_eq!(slow.count(), 1, "{sizes:?}");
    // That of the other tenant had the size that was asked for.
    assert!(sizes.iter().any(|sizes| sizes.starts_with(&[80, 80, 80])), "{sizes:?}");
    daemon.stop().await;
}

/// A database that will soon be full makes its destination degraded, while everything arrives.
#[tokio::test]
async fn a_database_that_will_soon_be_full_is_told_in_time() {
    let plan = plan().setting("/sync/d1_database_bytes", "400MB");
    let Some(world) = filled(plan).await else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.d1().always(world.d1().id(0), Fault::Meta("size_after", 450e6));
    write(&world, "update item set name = 'more' where {acme} and id = 1").await;
    world.wait_told(&daemon, "acme", "degraded", &["the D1 database has 450 MB"]).await;
    world.wait_told(&daemon, "globex", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let metrics = daemon.get("/metrics").await.1;
    assert!(metrics.contains("offtake_d1_largest_bytes 450000000"), "{metrics}");
    world.d1().mend();
    write(&world, "update item set name = 'less' where {acme} and id = 1").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    daemon.stop().await;
}

/// While Cloudflare refuses one token, the destinations of another one go on.
#[tokio::test]
async fn another_token_is_unmoved_while_one_is_refused() {
    let Some(mut world) = world().await else { return };
    world.allow("destination_failed");
    world.configure(|configuration| {
        let all = configuration["destinations"]["static"].as_array_mut().expect("a list");
        all[1]["token"] = OTHER_TOKEN.into();
    });
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let limited = json!({ "success": false, "errors": [{ "code": 971, "message": "limited" }] });
    let fault = Fault::Answer(429, "Retry-After: 12\r\n".to_owned(), limited.to_string());
    let first = format!("Bearer {TOKEN}");
    world.d1().always(&first, fault);
    let before = world.d1().seen().len();
    write(&world, "update item set name = 'limited' where id = 1").await;
    until("the first one is refused", PATIENCE, async || {
        let told = world.told(&daemon, "acme").await.to_string();
        if told.contains("limit of requests") { Ok(()) } else { Err(told) }
    })
    .await;
    for round in 0..3 {
        write(&world, &format!("update item set name = 'round {round}' where id = 2")).await;
        world.wait_tenants_in_step(&["globex"], PATIENCE).await;
        oracle::assert_tenants_equal(&world, &["globex"]).await;
    }
    world.wait_told(&daemon, "globex", "in_sync", &[]).await;
    let seen = world.d1().seen().split_off(before);
    let asked = |text: &str| seen.iter().filter(|seen| seen.head.contains(text)).count();
    assert!(asked(&first) <= 3, "{} requests while the token was refused", asked(&first));
    assert!(asked(OTHER_TOKEN) >= 4, "the other one was asked {} times", asked(OTHER_TOKEN));
    assert_eq!(
        world.tenant("acme").file().query_text("select name from items where id = 1"),
        "name 1"
    );
    world.d1().mend();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Each visit of a destination without changes costs requests: a D1 database gets one an hour, where
/// others get one in ten minutes.
#[tokio::test]
async fn an_idle_database_is_visited_once_an_hour() {
    let Some(world) = world().await else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let sweep = include_str!("../../../crates/requests/sql/sweep_due.sql");
    let owed = async |kind: &str, minutes: u32| {
        world
            .source
            .execute(&format!(
                "delete from offtake.outgoing_request; \
                 update offtake.destination set kind = '{kind}', last_success_at = now() - interval '{minutes} minutes', visit_at = now()"
            ))
            .await;
        let source = world.source.connect().await;
        source.execute(sweep, &[&(10 * 60 * 1000_i64)]).await.unwrap();
        world.source.query_text("select count(*) from offtake.outgoing_request").await
    };
    for (kind, minutes, visits) in
        [("postgres", 9, "0"), ("postgres", 11, "2"), ("d1", 59, "0"), ("d1", 61, "2")]
    {
        assert_eq!(owed(kind, minutes).await, visits, "{kind}, idle for {minutes} minutes");
    }
}

/// The first requests to a database have 1 MiB of rows at most, and those after them up to 4 MiB.
#[tokio::test]
async fn requests_begin_small_and_grow_while_they_are_done_in_time() {
    let plan = plan().rows_at_once(100_000);
    let Some(world) = filled(plan).await else { return };
    // 12 MiB, in rows of two kilobytes.
    let fill = "insert into item select {acme}, n, 'c' || n, repeat(md5(n::text), 64) from generate_series(1000, 7000) n";
    let acme = format!("'{}'", world.id("acme"));
    world.source.execute(&fill.replace("{acme}", &acme)).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let seen = world.d1().seen();
    let to_acme = |seen: &&offtake_tests::d1::Seen| seen.head.contains(world.d1().id(0));
    let items = seen.iter().filter(|seen| seen.body.contains(ITEMS));
    let sizes: Vec<usize> = items.filter(to_acme).map(|seen| seen.body.len() >> 10).collect();
    let large: Vec<usize> = sizes.iter().copied().filter(|kib| *kib > 200).collect();
    assert!(large[0] < 1200, "{sizes:?}");
    assert!(large.iter().any(|kib| *kib > 2500), "{sizes:?}");
    assert!(large.iter().all(|kib| *kib < 4800), "{sizes:?}");
    daemon.stop().await;
}
