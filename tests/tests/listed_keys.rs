//! The keys of a statement over many rows stand in the log in lists. Each has a sequence id of its
//! own all the same. A batch may end within a list, a daemon that is killed there goes on there, and
//! every command that reads the log sees each key.

#![allow(clippy::unwrap_used)]

use offtake_tests::items::{ITEMS, with_items};
use offtake_tests::{PATIENCE, Plan, Source, World, oracle, until};
use serde_json::Value;
use tokio_postgres::types::ToSql;

/// Rows of each tenant: more than one list has.
const ROWS: usize = 2300;

/// Every key of the log with its sequence id, as readers see it.
const KEYS: &str = "
select l.tenant_id, coalesce(k.sequence_id, l.sequence_id) as sequence_id, coalesce(k.row_key, l.row_key) as row_key, l.deleted
  from offtake.change_log l
  left join lateral offtake.keys_of(l.sequence_id, l.key_count, l.keys, l.key_column) k on l.key_count is not null";

async fn filled(plan: Plan) -> World {
    let world = plan.await;
    let fill = format!(
        "insert into item select '{{tenant}}', n, 'c' || n, 'name ' || n from generate_series(1, {ROWS}) n"
    );
    world.with_items("code text, name text", &fill).await;
    world
}

/// The figures of a query of one row, as text with commas.
async fn figures(world: &World, query: &str) -> String {
    let row = world.source.query_text(&format!("select f::text from ({query}) f")).await;
    row.trim_matches(['(', ')']).to_owned()
}

/// Statements over many rows, over few, and over one, among each other; `{acme}` and `{globex}` are
/// the tenants' ids.
async fn write_all(world: &World) {
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    for statement in [
        "update item set name = name || ' all'",
        "update item set name = 'one' where tenant = '{acme}' and id = 7",
        "delete from item where tenant = '{acme}' and id % 3 = 0",
        "update item set name = 'few' where tenant = '{globex}' and id <= 20",
        "insert into item select '{acme}', n, 'c', 'again' from generate_series(3, 1500, 3) n",
        "update item set tenant = '{acme}', id = id + 10000 where tenant = '{globex}' and id > 1700",
        "update item set id = -id where tenant = '{globex}' and id > 1000",
    ] {
        let statement = statement.replace("{acme}", acme).replace("{globex}", globex);
        world.source.execute(&statement).await;
    }
}

/// The daemon is killed again and again while its batches of 170 rows end within lists of a
/// thousand.
#[tokio::test]
async fn batches_end_within_lists_and_go_on_there_after_a_kill() {
    let plan = with_items(World::with_tenants(["acme", "globex"]))
        .rows_at_once(170)
        .setting("/poller/lease", "1s");
    let world = filled(plan).await;
    for event in ["source_failed", "destination_failed"] {
        world.allow(event);
    }
    world.succeed(&["run", "--once"]).await;
    write_all(&world).await;
    let last = "select max(sequence_id) from offtake.change_log";
    for _ in 0..6 {
        let mut killed =
            world.spawn_daemon_with_failpoints(&[("sync.after_commit", "2*off->abort")]);
        killed.wait_exit(PATIENCE).await;
    }
    let within = "select count(*) from offtake.destination_mapping m join offtake.change_log l on l.key_count is not null
                   and m.sequence_id < l.sequence_id and m.sequence_id > l.sequence_id - l.key_count";
    assert_ne!(figures(&world, within).await, "0", "a cursor stands within a list");
    let _daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // The numbers are those that as many single keys would have.
    let numbered = format!(
        "select count(*) = count(distinct sequence_id), max(sequence_id) - min(sequence_id) + 1 = count(*), count(*) > 3 * ({})
           from ({KEYS}) k",
        "select count(*) from offtake.change_log"
    );
    assert_eq!(figures(&world, &numbered).await, "t,t,t");
    assert_eq!(
        figures(&world, last).await,
        figures(&world, "select last_value from offtake.global_sequence").await
    );
}

/// What the status, `why`, and the view of deleted rows say of keys in lists.
#[tokio::test]
async fn whoever_reads_the_log_sees_each_key_of_a_list() {
    let world = filled(with_items(World::with_tenants(["acme", "globex"]))).await;
    world.succeed(&["run", "--once"]).await;
    let acme = world.id("acme");
    let set = |state: &str| ["fuse", state, "sync", "--reason", "a test"].map(str::to_owned);
    world.succeed(&set("off").each_ref().map(String::as_str)).await;
    world.source.execute(&format!("update item set name = 'new' where tenant = '{acme}'")).await;
    world.source.execute(&format!("delete from item where tenant = '{acme}' and id <= 1200")).await;
    let mut daemon = world.daemon().await;
    let backlog = async || -> Value {
        let status = world.succeed(&["status", "--json", "--tenant", acme]).await;
        let status: Value = serde_json::from_str(&status).unwrap();
        status["destinations"][0]["mappings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|mapping| mapping["name"] == "items")
            .unwrap()["backlog"]
            .clone()
    };
    let wanted = (ROWS + 1200).to_string();
    until("all keys are behind", PATIENCE, async || match backlog().await {
        found if found == wanted.as_str() => Ok(()),
        found => Err(format!("{found} instead of {wanted}")),
    })
    .await;
    let lists =
        "select count(*) filter (where key_count > 50) = 3, count(*) < 600 from offtake.change_log";
    assert_eq!(figures(&world, lists).await, "t,t");
    // A cursor within a list: what is before it does not count.
    let within = "update offtake.destination_mapping m set sequence_id = l.sequence_id - 100
                    from (select max(sequence_id) as sequence_id from offtake.change_log where key_count > 200) l where m.mapping = 'items'";
    world.source.execute(within).await;
    let behind = "select count(*) from offtake.destination_mapping m join (KEYS) k on k.sequence_id > m.sequence_id
                   join offtake.destination d using (destination_id)
                   where m.mapping = 'items' and k.tenant_id = d.tenant_id and d.tenant_id = 'ACME'"
        .replace("KEYS", KEYS)
        .replace("ACME", acme);
    let wanted = figures(&world, &behind).await;
    assert_eq!(backlog().await, wanted.as_str());
    let tombstones = "select count(*), count(distinct sequence_id), count(distinct row_key) from offtake.deleted_row";
    assert_eq!(figures(&world, tombstones).await, "1200,1200,1200");
    let newest = format!(
        "select max(sequence_id) from ({KEYS}) k where tenant_id = '{acme}' and row_key = '{{\"id\": \"2000\"}}'"
    );
    let newest = figures(&world, &newest).await;
    // It exits with 1, because the key is not there yet.
    let told = world
        .offtake(&["why", "--tenant", acme, "--mapping", "items", "--key", "2000", "--json"])
        .await;
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(&format!("\"{newest}\"")), "{newest} is not in {told}");
    daemon.kill();
    world.succeed(&set("on").each_ref().map(String::as_str)).await;
    world.succeed(&["run", "--once"]).await;
    oracle::assert_equal(&world).await;
}

/// The turn goes on for seconds where nothing waits for it. The source's answer, when it is told of a
/// batch, ends it. Fails without that answer: all rows arrive before the next look at the fuses.
#[tokio::test]
async fn a_pause_ends_a_turn_that_would_go_on() {
    let plan = with_items(World::with_tenants(["acme"])).rows_at_once(20);
    let world = filled(plan).await;
    let daemon = world.spawn_daemon_with_failpoints(&[("sync.before_commit", "pause")]);
    daemon.wait_at_failpoint("sync.before_commit", 1).await;
    let acme = world.id("acme");
    let pause = "update offtake.destination set paused_at = now(), pause_reason = 'a test'";
    world.source.execute(pause).await;
    daemon.clear_failpoint("sync.before_commit").await;
    let leased = "select count(*) from offtake.outgoing_request where leased_until > now()";
    world.source.wait_text(leased, "0").await;
    let copied = world.tenant("acme").destination.query_text("select count(*) from items").await;
    assert!(copied.parse::<usize>().unwrap() < ROWS / 4, "{copied} rows of {acme} arrived");
    daemon.stop().await;
    world.source.execute("update offtake.destination set paused_at = null").await;
    world.succeed(&["run", "--once"]).await;
    oracle::assert_equal(&world).await;
}

/// A page has as many keys as it may, whatever of them are in lists, and ends where they end. Another
/// tenant's changes lie between and behind them.
#[tokio::test]
async fn a_page_is_full_where_there_is_more() {
    const READ_BOUNDS: &str = include_str!("../../crates/reading/sql/read_bounds.sql");
    let source = Source::prepared().await;
    let fill = "insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at, keys, key_count, key_column)
        select n, 'public.item', case n % 2 when 0 then 'other' else 'acme' end, jsonb_build_object('id', n), false, now(), null, null, null
          from generate_series(1, 400) n
        union all
        select 400 + n * 500, 'public.item', 'acme', null, false, now(), array(select k::text from generate_series(1, 500) k), 500, 'id'
          from generate_series(1, 6) n
        union all
        select n, 'public.item', 'acme', jsonb_build_object('id', n), false, now(), null, null, null from generate_series(3401, 3500) n";
    source.execute(fill).await;
    let client = source.connect().await;
    let page = async |after: i64, most: i64| -> (i64, i64, bool) {
        let asked: [&(dyn ToSql + Sync); 6] =
            [&"acme", &vec!["public.item"], &vec![after], &most, &10_000_000_i64, &0_i64];
        let row = client.query_one(READ_BOUNDS, &asked).await.unwrap();
        (row.get("changes"), row.get("up_to"), row.get("lists"))
    };
    for (after, most, changes, up_to, lists) in [
        (0, 50, 50, 99, false),
        (0, 199, 199, 397, false),
        (0, 200, 200, 399, false),
        (0, 201, 201, 401, true),
        (101, 1000, 1000, 1251, true),
        (650, 1, 1, 651, true),
        (650, 1000, 1000, 1650, true),
        (3399, 50, 50, 3449, true),
        (3399, 5000, 101, 3500, true),
        (0, 5000, 3300, 3500, true),
    ] {
        assert_eq!(page(after, most).await, (changes, up_to, lists), "{most} after {after}");
    }
}

/// A daemon of the version before takes a list for a change of the whole table.
#[tokio::test]
async fn a_list_is_a_whole_table_to_an_earlier_version() {
    let world = filled(with_items(World::with_tenants(["acme", "globex"]))).await;
    world.succeed(&["run", "--once"]).await;
    world.source.execute("update item set name = 'new'").await;
    world.succeed(&["run", "--once"]).await;
    let whole =
        "select bool_and(row_key is null) from offtake.change_log where key_count is not null";
    assert_eq!(figures(&world, whole).await, "t");
    oracle::assert_equal(&world).await;
    assert!(ITEMS.contains("key"), "the key has one column");
}
