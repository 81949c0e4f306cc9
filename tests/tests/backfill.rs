//! The initial copy while the application writes: no deleted row comes back, no copied page is
//! copied again, and no page loses or repeats a row at its edges (invariants 1, 3 and 5, hazard
//! H8).
//!
//! How it is kept: a chunk is read in the snapshot of the live batch that goes with it, and both
//! are applied with the cursor in one destination transaction (`read::batch`, `Turn::apply`). Its
//! checkpoint is the last key that it read (`_offtake_state`).

use std::time::Duration;

use futures_util::future::join_all;
use offtake_tests::{Database, PATIENCE, World, history, oracle, until};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

const WRITERS: u64 = 20;

/// (table, its key's columns, the n-th key of the range that the writers use; `{n}` counts from 1).
/// Both databases sort text in another order than the pages do.
const KEYS: [(&str, &str, &str); 5] = [
    ("by_integer", "id int", "{n}"),
    ("by_uuid", "id uuid", "md5('{n}')::uuid"),
    (
        "by_text",
        "id text collate \"en-x-icu\"",
        "substr(md5('{n}'), 1, 3) || case {n} % 3 when 0 then '-Ä' when 1 then ' b''\\' else '_B' end || '{n}'",
    ),
    (
        "by_pair",
        "region text, no smallint",
        "(array['eu', 'EU', 'us-1', 'ü'])[1 + {n} % 4], {n} - 100",
    ),
    ("by_sparse", "id bigint", "(('x' || md5('{n}'))::bit(64)::bigint)"),
];

/// Keys per table; a third of them exist at first.
const RANGE: usize = 240;

fn names(columns: &str) -> Vec<&str> {
    columns.split(", ").map(|column| column.split(' ').next().unwrap_or_default()).collect()
}

fn mapping(table: &str, columns: &str) -> String {
    let schema_sql = match table {
        "by_text" => {
            "\n  schema_sql: create table by_text (id text collate \"de-x-icu\" primary key, body text, version bigint)"
        }
        _ => "",
    };
    format!(
        "source: {{ table: public.{table}, tenant: tenant }}\nquery: select tenant as tenant_id, {}, body, version from {table}\n\
         target:\n  table: {table}{schema_sql}\n",
        names(columns).join(", ")
    )
}

/// One write of one key, in a transaction of its own. The lock makes versions rise in the order of
/// the commits.
fn write(random: &mut StdRng, tenant: &str, at: String) -> String {
    let (table, columns, key) = KEYS.choose(random).expect("not empty");
    let n = random.random_range(1..=RANGE);
    let (key, columns) = (key.replace("{n}", &n.to_string()), names(columns).join(", "));
    let lock = format!("select pg_advisory_xact_lock(hashtext('{table}'), {n});");
    let delete = format!("delete from {table} where (tenant, {columns}) = ('{tenant}', {key});");
    let insert = format!(
        "insert into {table} (tenant, {columns}, body, version) values ('{tenant}', {key}, '{at}', nextval('version'))
         on conflict (tenant, {columns}) do update set body = excluded.body, version = excluded.version;"
    );
    match random.random_range(0..6) {
        0..2 => format!("{lock} {delete}"),
        2 => format!("{lock} {delete} {insert}"),
        3 => format!("{lock} {insert} {delete}"),
        _ => format!("{lock} {insert}"),
    }
}

async fn init(world: &World, tables: &str) {
    world.source.execute(tables).await;
    world.succeed(&["init"]).await;
}

/// A world with a table for each of [`KEYS`], which holds every third key of the range.
async fn world_of_all_keys() -> World {
    let mappings = KEYS.map(|(table, columns, _)| (table.to_owned(), mapping(table, columns)));
    let plan = World::with_tenants(["acme"]).computed_mappings(mappings).without_init();
    let world = plan.rows_at_once(7).setting("/poller/lease", "1s").await;
    world.allow("*");
    let tenant = world.id("acme");
    let mut tables = "create sequence version;".to_owned();
    for (table, columns, key) in KEYS {
        let (names, key) =
            (names(columns).join(", "), key.replace("'{n}'", "n::text").replace("{n}", "n"));
        let key =
            if names.contains(',') { key.replace("n - 100", "(n - 100)::smallint") } else { key };
        tables.push_str(&format!(
            "create table {table} (tenant text, {columns}, body text, version bigint, primary key (tenant, {names}));
             insert into {table} (tenant, {names}, body, version) select '{tenant}', {key}, 'first', nextval('version') from generate_series(1, {RANGE}, 3) n;"
        ));
    }
    init(&world, &tables).await;
    world
}

/// 20 writers write to the whole range of five kinds of key. Meanwhile a daemon that dies right
/// after a chunk, again and again, copies the tables in pages of seven rows.
#[tokio::test]
async fn nothing_deleted_comes_back_and_the_copy_goes_on_where_it_was() {
    const SEED: u64 = 63;
    println!("seed {SEED}");
    let world = world_of_all_keys().await;
    let tenant = world.id("acme");
    let destination = &world.tenant("acme").destination;
    history::install_in(destination).await;

    let stop = tokio_util::sync::CancellationToken::new();
    let writers = (0..WRITERS).map(async |number| {
        let session = world.source.connect().await;
        let mut random = StdRng::seed_from_u64(SEED * 1000 + number);
        for step in 0.. {
            if stop.is_cancelled() {
                return step;
            }
            session
                .batch_execute(&write(&mut random, tenant, format!("{number}/{step}")))
                .await
                .expect("a write never fails");
            // So slow that a daemon with batches of seven rows can keep up.
            tokio::time::sleep(Duration::from_millis(random.random_range(10..50))).await;
        }
        0
    });
    let copying = async {
        let mut checkpoints = 0;
        for _ in 0..6 {
            let mut daemon =
                world.spawn_daemon_with_failpoints(&[("backfill.after_chunk", "4*off->abort")]);
            let status = daemon.wait_exit(PATIENCE).await;
            assert!(!status.success());
            let now = chunks(destination).await;
            assert!(now > checkpoints, "{now} chunks after {checkpoints}");
            checkpoints = now;
            // The request as the next daemon would find it much later: a request that killed five
            // daemons is postponed for half a minute.
            world.source.execute("update offtake.outgoing_request set leased_until = null, failures = 0, not_before = now()").await;
        }
        let daemon = world.daemon().await;
        until("the copy is complete", PATIENCE, async || {
            let left = destination
                .query_text("select mapping, backfill_key from _offtake_state where not backfilled")
                .await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        stop.cancel();
        daemon
    };
    let (written, daemon) = tokio::join!(join_all(writers), copying);
    println!("{} writes", written.iter().sum::<i32>());
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_resumed(destination).await;
    assert_nothing_came_back(destination).await;
    daemon.stop().await;
}

/// The number of checkpoints that were ever committed.
async fn chunks(destination: &Database) -> i64 {
    let sql = "select count(*) from history.change where table_name = '_offtake_state' and old ->> 'backfilled' = 'false'
                and (old -> 'backfill_key', old -> 'backfilled') is distinct from (new -> 'backfill_key', new -> 'backfilled')";
    destination.query_text(sql).await.parse().expect("a count")
}

/// No mapping ever lost a checkpoint: each copy began once and ended once, and no checkpoint
/// appears twice.
async fn assert_resumed(destination: &Database) {
    let sql = "
        with seen as (
          select id, new ->> 'mapping' as mapping, new -> 'backfill_key' as key, (new ->> 'backfilled')::boolean as done,
                 lag(new -> 'backfill_key') over w as before, lag((new ->> 'backfilled')::boolean) over w as done_before
            from history.change where table_name = '_offtake_state' window w as (partition by new ->> 'mapping' order by id)
        )
        select mapping, 'went back' from seen where done_before and not done or (not done and key = 'null' and before <> 'null')
        union all
        select mapping, 'twice ' || key::text from (select * from seen where key <> 'null' and key is distinct from before) moved group by mapping, key having count(*) > 1
        union all
        select mapping, 'never in pages' from seen group by mapping having count(distinct key) < 6";
    assert_eq!(destination.query_text(sql).await, "");
}

/// A key never shows an older version than it showed before, and never shows a deleted version
/// again. Only the state at the end of a transaction counts.
async fn assert_nothing_came_back(destination: &Database) {
    let sql = "
        with state as (
          select id, transaction, table_name, coalesce(new, old) - '{body,version}'::text[] as key, new is not null as present,
                 (coalesce(new, old) ->> 'version')::bigint as version,
                 row_number() over (partition by transaction, table_name, coalesce(new, old) - '{body,version}'::text[] order by id desc) = 1 as last
            from history.change where table_name <> '_offtake_state'
        ), step as (
          select *, max(version) over (w rows between unbounded preceding and 1 preceding) as highest, lag(present) over w as was_present
            from state where last window w as (partition by table_name, key order by id)
        )
        select table_name, key, version, highest from step where present and (version < highest or version = highest and not was_present)";
    assert_eq!(destination.query_text(sql).await, "");
    let deletions =
        destination.query_text("select count(*) from history.change where new is null").await;
    assert_ne!(deletions, "0", "nothing was deleted during the copy");
}

/// Why chunks need the fence: a chunk that is read before a deletion and written after it brings
/// the row back.
#[tokio::test]
async fn a_chunk_apart_from_the_live_batches_would_resurrect_rows() {
    let database = offtake_tests::Source::destination().await;
    database
        .execute(
            "create table source (id int primary key); create table copy (id int primary key); insert into source values (1), (2);
             create temp table chunk as select id from source; delete from source where id = 2; delete from copy where id = 2;
             insert into copy select id from chunk",
        )
        .await;
    assert_eq!(database.query_text("select id from copy except select id from source").await, "2");
}

/// Tables of 0 to 9 rows, copied in pages of 1, 3 and 4. So a table has no row, less than a page,
/// exactly one page, one row more, or exactly two pages.
fn small_tables() -> Vec<(String, usize)> {
    (0..10).map(|rows| (format!("t{rows}"), rows)).collect()
}

#[tokio::test]
async fn pages_end_where_they_should_whatever_happens_at_their_edges() {
    for page in [1, 3, 4_usize] {
        let tables = small_tables();
        let mapping = |table: &str| {
            format!(
                "source: {{ table: public.{table}, tenant: tenant }}\nquery: select tenant as tenant_id, id, body from {table}\ntarget: {{ table: {table} }}"
            )
        };
        let mappings = tables.iter().map(|(table, _)| (table.clone(), mapping(table)));
        let world = World::with_tenants(["acme"])
            .computed_mappings(mappings)
            .without_init()
            .rows_at_once(page)
            .await;
        let tenant = world.id("acme");
        let create: String = tables
            .iter()
            .map(|(table, rows)| {
                format!(
                    "create table {table} (tenant text, id int, body text, primary key (tenant, id));
                     insert into {table} select '{tenant}', n * 10, 'first' from generate_series(1, {rows}) n;"
                )
            })
            .collect();
        init(&world, &create).await;
        let destination = &world.tenant("acme").destination;
        history::install_in(destination).await;
        // The daemon copies all tables before the last one, and then pauses after the last table's
        // first chunk.
        let before: usize =
            tables.iter().map(|(_, rows)| rows / page + 1).take(tables.len() - 1).sum();
        let daemon = world.spawn_daemon_with_failpoints(&[(
            "backfill.after_chunk",
            &format!("{before}*off->pause"),
        )]);
        daemon.wait_at_failpoint("backfill.after_chunk", 1).await;
        let edge = page * 10;
        let edit = format!(
            "delete from t9 where id in (10, {edge}, {edge} + 10, 90); insert into t9 values ('{tenant}', 5, 'new'), ('{tenant}', {edge} - 5, 'new')
               on conflict do nothing; insert into t9 values ('{tenant}', {edge} + 5, 'new'), ('{tenant}', 95, 'new'), ('{tenant}', 10, 'again')"
        );
        world.source.execute(&edit).await;
        daemon.clear_failpoints().await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        for (table, rows) in &tables[..tables.len() - 1] {
            // A copy ends with a page that is not full, so a table of whole pages ends with an
            // empty page.
            let expected: Vec<_> = (1..=rows / page).map(|n| (n * page * 10).to_string()).collect();
            let found = "select distinct on (key) key from (select (new -> 'backfill_key' ->> 0)::int as key from history.change
                          where table_name = '_offtake_state' and new ->> 'mapping' = '{table}') k where key is not null order by key";
            assert_eq!(
                destination.query_text(&found.replace("{table}", table)).await,
                expected.join("\n"),
                "{table} in pages of {page}"
            );
        }

        recopy_over_wrong_rows(&world, &tables).await;
        daemon.stop().await;
    }
}

/// Makes rows of every table wrong, and re-copies the tables in place. The re-copy removes surplus
/// rows before the first page, between the pages and after the last page.
async fn recopy_over_wrong_rows(world: &World, tables: &[(String, usize)]) {
    let destination = &world.tenant("acme").destination;
    for (table, rows) in tables {
        let last = rows * 10 + 50;
        destination.execute(&format!("insert into {table} select n, 'surplus' from generate_series(-5, {last}, 5) n on conflict do nothing; update {table} set body = 'wrong' where id % 20 = 0")).await;
        world
            .source
            .execute(&format!("insert into offtake.captured_change (source_table, operation) values ('public.{table}', 't')"))
            .await;
    }
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}
