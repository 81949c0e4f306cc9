//! `verify --repair` in a large table, while changes are made: it finds different rows by narrowing
//! down ranges, and repairs exactly these.
//!
//! OFFTAKE_SOAK=1 (`make soak`) makes it a million rows.

use std::time::{Duration, Instant};

use offtake_tests::{Daemon, Database, World, oracle};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const ITEMS: &str = "
source: { table: public.item, tenant: tenancy_id, key: { id: id } }
query: select tenancy_id as tenant_id, id, name, amount, data from public.item
target: { table: items }
";

const COPIED_WITHIN: Duration = Duration::from_secs(170);

/// Bytes that may be read: a few checksums per ten thousand rows, and about 50 kB for each of four
/// ranges that differ. Reading all keys of those ranges would take 16 MB.
const READ_MAX: u64 = 600_000;

/// The writers use the first 50 000 rows; the rows that the test makes wrong are others.
const WRITTEN: u64 = 50_000;

fn rows() -> u64 {
    if std::env::var_os("OFFTAKE_SOAK").is_some() { 1_000_000 } else { 60_000 }
}

async fn a_world_of(rows: u64) -> World {
    let world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("items", ITEMS)])
        .proxied("acme")
        .proxied_source()
        .await;
    let acme = world.id("acme");
    world
        .source
        .execute(&format!(
            "create table public.item (tenancy_id uuid, id uuid, name text not null, amount numeric, data jsonb, primary key (tenancy_id, id));
             insert into public.item
             select '{acme}', md5(n::text)::uuid, 'item ' || n, n / 7.0, jsonb_build_object('n', n, 'tags', array['a', 'b']) from generate_series(1, {rows}) n"
        ))
        .await;
    world.source.execute("vacuum analyze public.item").await;
    world.succeed(&["init"]).await;
    world
}

/// Starts a daemon that does not use the proxies, so that they count only what the command reads.
async fn past_the_proxies(world: &mut World) -> Daemon {
    let (source, proxied_source) =
        (world.source.url(), world.source_proxy().url(&world.source.url()));
    let acme = world.tenant("acme");
    let (there, proxied_there) =
        (acme.destination.url(), acme.proxy().url(&acme.destination.url()));
    world.configure(|c| c["source"]["url"] = source.into());
    world.reach_by("acme", |_| there.clone());
    let daemon = world.daemon().await;
    world.configure(|c| c["source"]["url"] = proxied_source.into());
    world.reach_by("acme", |_| proxied_there.clone());
    daemon
}

async fn verify(world: &World, arguments: &[&str]) -> (Option<i32>, Value) {
    let arguments: Vec<&str> = ["verify", "--json"].iter().chain(arguments).copied().collect();
    let output = world.offtake(&arguments).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let reports: Value = serde_json::from_str(&told)
        .unwrap_or_else(|_| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), reports[0].clone())
}

fn counts(found: &Value) -> [i64; 4] {
    ["missing", "extra", "different", "unsettled"]
        .map(|name| found["report"][name].as_i64().unwrap_or(-1))
}

/// Bytes that the source and the destination have sent.
fn received(world: &World) -> u64 {
    world.source_proxy().bytes().1 + world.tenant("acme").proxy().bytes().1
}

/// Writes to rows in all ranges of the key, some thousand per second, and inserts and deletes
/// others, until told to stop.
async fn write_everywhere(source: &Database, tenant: &str, stop: &CancellationToken) -> u64 {
    let client = source.connect().await;
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let mut written = 0_u64;
    while !stop.is_cancelled() {
        pace.tick().await;
        client
            .batch_execute(&format!(
                "update public.item set amount = amount + 1, name = name || '.'
                  where tenancy_id = '{tenant}' and id in (select md5(({written} * 7919::bigint + n * 104729) % {WRITTEN} + 1 || '')::uuid from generate_series(1, 20) n);
                 insert into public.item values ('{tenant}', md5('new {written}')::uuid, 'new', {written}, null);
                 delete from public.item where tenancy_id = '{tenant}' and id = md5('new ' || {written} - 110)::uuid"
            ))
            .await
            .expect("the application writes");
        written += 22;
    }
    written
}

#[tokio::test]
async fn four_wrong_rows_among_many_are_found_and_mended_while_changes_flow() {
    let mut world = a_world_of(rows()).await;
    let acme = world.id("acme").to_owned();
    let daemon = past_the_proxies(&mut world).await;
    let destination = &world.tenant("acme").destination;
    let began = Instant::now();
    world.wait_in_step_within(COPIED_WITHIN).await;
    eprintln!("{} rows copied within {:.1?}", rows(), began.elapsed());

    // Four wrong rows: one with a wrong value, one that is missing, one too many, and one as it was
    // before its last change.
    let key = |n: u64| md5_of(&world.source, n);
    let (value, missing, stale) = (key(rows() - 2).await, key(rows() - 1).await, key(rows()).await);
    world
        .source
        .execute(&format!("update public.item set name = 'newer' where id = '{stale}'"))
        .await;
    world.wait_in_step().await;
    destination
        .execute(&format!(
            "update items set data = '{{}}' where id = '{value}'; delete from items where id = '{missing}';
             update items set name = 'item {}' where id = '{stale}';
             insert into items (id, name) values ('eeeeeeee-0000-0000-0000-000000000000', 'foreign')",
            rows()
        ))
        .await;

    let (began, before) = (Instant::now(), received(&world));
    let (code, found) = verify(&world, &[]).await;
    let bytes = received(&world) - before;
    eprintln!("verified within {:.1?}, {bytes} bytes read", began.elapsed());
    assert_eq!((code, counts(&found)), (Some(3), [1, 1, 2, 0]), "{found:#}");
    assert_eq!(found["report"]["rows"].as_u64(), Some(rows()));
    let told = |id: &str| {
        let differences = found["report"]["differences"].as_array().expect("a list");
        let found = differences.iter().find(|d| {
            d["key"]["id"].as_str().is_some_and(|key| key.replace('-', "") == id.replace('-', ""))
        });
        found.map(|d| (d["kind"].as_str().unwrap_or_default().to_owned(), d["columns"].to_string()))
    };
    assert_eq!(told(&value), Some(("different".to_owned(), r#"["data"]"#.to_owned())));
    assert_eq!(told(&missing), Some(("missing".to_owned(), "[]".to_owned())));
    assert_eq!(told(&stale), Some(("different".to_owned(), r#"["name"]"#.to_owned())));
    assert_eq!(
        told("eeeeeeee-0000-0000-0000-000000000000"),
        Some(("extra".to_owned(), "[]".to_owned()))
    );
    assert!(bytes < READ_MAX, "{bytes} bytes were read");

    let (stop, began) = (CancellationToken::new(), Instant::now());
    let repair = async {
        let found = verify(&world, &["--repair", "--yes"]).await;
        stop.cancel();
        found
    };
    let (written, (code, found)) =
        tokio::join!(write_everywhere(&world.source, &acme, &stop), repair);
    eprintln!("repaired within {:.1?} while {written} rows were written: {found}", began.elapsed());
    assert_eq!(
        (code, counts(&found), found["repaired"].as_u64()),
        (Some(0), [0; 4], Some(4)),
        "{found:#}"
    );
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// `verify` gives no false alarm: it reports an equal copy as equal, or its rows as unsettled, no
/// matter what is written meanwhile.
#[tokio::test]
async fn a_right_copy_is_never_called_different_under_load() {
    let world = a_world_of(rows() / 10).await;
    let acme = world.id("acme").to_owned();
    let daemon = world.daemon().await;
    world.wait_in_step_within(COPIED_WITHIN).await;
    let stop = CancellationToken::new();
    let compare = async {
        let (mut rechecked, mut runs) = (0, 0);
        while runs < 3 || (rechecked == 0 && runs < 30) {
            runs += 1;
            let (code, found) = verify(&world, &[]).await;
            let [differing @ .., unsettled] = counts(&found);
            assert_eq!(differing, [0; 3], "{found:#}");
            assert_eq!(code, Some(if unsettled > 0 { 3 } else { 0 }), "{found:#}");
            rechecked += found["report"]["rechecked"].as_u64().unwrap_or(0);
        }
        stop.cancel();
        rechecked
    };
    let (_, rechecked) = tokio::join!(write_everywhere(&world.source, &acme, &stop), compare);
    assert!(rechecked > 0, "some rows were checked again, because changes were not applied yet");
    daemon.stop().await;
}

async fn md5_of(source: &Database, n: u64) -> String {
    source.query_text(&format!("select md5('{n}')")).await
}
