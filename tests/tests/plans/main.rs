//! Invariant 9 and H34: the cost of a frequent statement depends on the work to do and not on the
//! size of the tables, also before ANALYZE has run. After a bulk load the log is always in that
//! state.

#![allow(clippy::unwrap_used)]

mod many_tenants;
mod statistics;

use std::path::Path;

use offtake_mapping::compose::{self, Changed};
use offtake_tests::Source;
use serde_json::Value;
use tokio_postgres::Client;

/// Tables that no frequent statement may scan from the beginning.
const LARGE: [&str; 4] = ["change_log", "captured_change", "outgoing_request", "job"];

/// 200 000 rows in each table, of 1 000 tenants and eight source tables, without ANALYZE. All but
/// the last 20 captured changes are numbered, the poller has seen all but the last 100 changes, and
/// 20 of 5 000 requests are due.
const FILL: &str = "
alter table offtake.change_log_0 set (autovacuum_enabled = false);
alter table offtake.captured_change set (autovacuum_enabled = false);
alter table offtake.outgoing_request set (autovacuum_enabled = false);
alter table offtake.destination set (autovacuum_enabled = false);
insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
select n, 'public.' || (array['project_user','team','contact_channel','tenancy','team_member','project_permission','invitation','other'])[1 + n % 8],
       't' || n % 1000, jsonb_build_object('id', n), n % 10 = 0, now()
  from generate_series(1, 200000) n;
select setval('offtake.global_sequence', 200000);
update offtake.poller_position set sequence_id = 199900;
insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
select 'public.team', 'c', 't' || n % 1000, jsonb_build_object('id', n) from generate_series(1, 200000) n;
insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, sequence_id, last_success_at)
select 't' || n % 1000, 'd' || n / 1000, 'public', 'h', 5432, 'd', 'u', '{users,teams}', '{public.project_user,public.team}', 199900, now()
  from generate_series(1, 5000) n;
insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
select destination_id, unnest(mappings), 199900, true from offtake.destination;
insert into offtake.fan_out (source_table, sequence_id, destination_id) values ('public.team', 200000, 2000);
insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id, fanned_out, not_before)
select 'sync', destination_id, 1, true, now() + case when destination_id % 250 = 0 then interval '-1 s' else interval '1 h' end
  from offtake.destination;
alter table offtake.webhook set (autovacuum_enabled = false);
alter table offtake.webhook_mapping set (autovacuum_enabled = false);
alter table offtake.quarantined_event set (autovacuum_enabled = false);
insert into offtake.webhook (tenant_id, name, host, port, mappings, source_tables, fingerprint, sequence_id)
select 't' || n % 1000, 'w' || n / 1000, 'h', 443, '{users,teams}', '{public.project_user,public.team}', 'f', 199900
  from generate_series(1, 5000) n;
insert into offtake.webhook_mapping (webhook_id, mapping, sequence_id)
select webhook_id, unnest(mappings), 199900 from offtake.webhook;
insert into offtake.quarantined_event (webhook_id, mapping, row_key, sequence_id, captured_at, next_attempt_at, error)
select webhook_id, 'users', jsonb_build_object('id', webhook_id), 7, now(), now() + interval '1 h', 'e' from offtake.webhook;
insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id, fanned_out, not_before)
select 'webhook', webhook_id, 1, true, now() + case when webhook_id % 250 = 0 then interval '-1 s' else interval '1 h' end
  from offtake.webhook;
alter table offtake.snapshot_schedule set (autovacuum_enabled = false);
alter table offtake.job set (autovacuum_enabled = false);
insert into offtake.snapshot_schedule (tenant_at_source, tenant_id, next_at)
select 't' || n, 't' || n, now() + case when n % 2000 = 0 then interval '-1 s' else interval '1 h' end from generate_series(1, 10000) n;
insert into offtake.job (public_id, kind, tenant_id, store, state)
select 'made_' || n, 'snapshot', 't' || n % 1000, 'disk', 'completed' from generate_series(1, 20000) n;
insert into offtake.job (public_id, kind, tenant_id, store) values ('snap_due', 'snapshot', 't7', 'disk');";

/// One cursor of webhook 7, as a turn saves it; its request is the 5007th.
const SAVED: &str = "5007, 0, '[{\"mapping\": \"users\", \"sequence_id\": \"200000\", \"backfilled\": true, \"rows\": 0, \"begun\": false}]', '[]', \
                     '{users}', array['{\"id\": 7}'::jsonb], '{}', '{}', 1, 0, 200, 'in_sync', null, 0";

/// Three webhooks that were told everything.
const SAVED_TOGETHER: &str = "'{5005,5006,5007}', '{0,0,0}', array_fill('[\"users\", \"teams\"]'::jsonb, '{3}'), '{200000,200000,200000}', \
                              '{1,1,1}', '{200,200,null}'";

/// A statement file, its parameters, and how many pages it may touch. A scan of a table touches
/// thousands.
const HOT: [(&str, &str, i64); 51] = [
    // Some 430 pages of catalogs where the server has to compile the function first.
    ("sequencer/sql/await_changes.sql", "0, 0, 0.001, 0, 0.05, 20, 0", 600),
    ("sequencer/sql/await_changes.sql", "200000, 0, 0.001, 0, 0.05, 20, 1", 600),
    // Deletes a hundred and appends a hundred, with their index entries.
    ("sequencer/sql/sequence_changes.sql", "100, '{}', 0", 3000),
    ("sequencer/sql/roll_partition.sql", "3600000", 20),
    ("requests/sql/judge_partition.sql", "10000000, 3600000", 300),
    ("poller/sql/probe_log.sql", "", 20),
    // 25 of the hundred changes concern ten destinations and ten webhooks each.
    ("requests/sql/owe_page.sql", "100", 8000),
    // The next 236 destinations and webhooks; 20 requests of this kind wait for each.
    ("requests/sql/owe_fanned_out.sql", "256", 12000),
    // Every destination is probed, twice for each of its tables.
    ("requests/sql/sweep_slice.sql", "0, 100000", 5000 * 30),
    // A slice of ten costs what ten cost.
    ("requests/sql/sweep_slice.sql", "100, 10", 10 * 30 + 100),
    ("requests/sql/sweep_due.sql", "600000", 2000),
    // Looks at a thousand destinations, and owes each a visit.
    ("requests/sql/owe_place.sql", "'h', 5432, 'd', 'public', 0, 1000", 1000 * 30),
    ("requests/sql/claim_requests.sql", "16, 60000, 'me', '{1,2}'", 1500),
    ("requests/sql/complete_request.sql", "77, 0, 1", 30),
    ("requests/sql/extend_leases.sql", "'{5,6,7}', '{0,0,0}', 60000", 60),
    (
        "reading/sql/read_bounds.sql",
        "'t7', '{public.project_user,public.team}', '{199000,199000}', 5000, 10000000, 50",
        60,
    ),
    ("reading/sql/read_head.sql", "10000000", 100),
    // Five of ten thousand tenants are due. Without statistics, all of them are read, which the probe
    // prevents as long as none is due.
    (
        "jobs/sql/record_due_snapshots.sql",
        "86400000000, 'disk', '{snap_1,snap_2,snap_3,snap_4,snap_5,snap_6}', 100",
        300,
    ),
    ("jobs/sql/probe_due_snapshots.sql", "", 20),
    ("jobs/sql/claim_job.sql", "'snapshot', 60000, 'me', '{disk}', null", 60),
    // The same for eight tenants at once, of a thousand.
    (
        "reading/sql/read_group_bounds.sql",
        "'{t1,t2,t3,t4,t5,t6,t7,t8}', array_fill('public.team'::text, '{8}'), array_fill(199000::bigint, '{8}'), 50, 10000000",
        8 * 30,
    ),
    ("requests/sql/complete_requests.sql", "'{5,6,7}', '{0,0,0}', '{1,1,1}'", 100),
    (
        "sync/sql/mirror_group.sql",
        "'{5,6,7}', '{0,0,0}', '{1,1,1}', '{users,teams}', '{a,b}', null, '{1,2}'",
        300,
    ),
    (
        "sync/sql/begin_copies_of_group.sql",
        "'{5,6,7}', '{0,0,0}', '{users,teams}', '{a,b}', '{1,1,1,1,1,1}'",
        300,
    ),
    ("sync/sql/read_identities.sql", "'{5,6,7}', '{5,6,7}', '{1,1,1}', '{5,6,7}', '{0,0,0}'", 100),
    ("sync/sql/read_mirrored_of_group.sql", "'{5,6,7}'", 60),
    ("sync/sql/begin_visits.sql", "'{5,6,7}', '{0,0,0}'", 200),
    // The tables are as large as these say, without statistics.
    ("loops/sql/read_blown_fuses.sql", "", 1000),
    ("requests/sql/claim_webhooks.sql", "16, 60000, 'me', '{1,2}'", 1500),
    ("requests/sql/fail_webhook.sql", "5007, 0, 1000, 'e', 'r', 500, 1000, true, false", 60),
    ("requests/sql/sweep_webhooks.sql", "100, 10", 10 * 30 + 500),
    ("requests/sql/disable_webhook.sql", "7, 'r'", 60),
    ("webhooks/sql/save_progress.sql", SAVED, 100),
    ("webhooks/sql/save_group.sql", SAVED_TOGETHER, 200),
    ("webhooks/sql/add_attempts.sql", "5007, 0, '[{\"ago_ms\": 1}]'", 60),
    ("webhooks/sql/fail_webhook_mapping.sql", "5007, 0, 'users', null, 'e', 1, 1", 60),
    (
        "reading/sql/read_event_bounds.sql",
        "'t7', '{public.project_user,public.team}', '{199000,199000}', '{null,null}', 1000, 10000000, '{users,teams}', 7",
        80,
    ),
    // The same for eight webhooks at once.
    (
        "reading/sql/read_event_group_bounds.sql",
        "'{t1,t2,t3,t4,t5,t6,t7,t8}', array_fill('public.team'::text, '{8}'), array_fill(199000::bigint, '{8}'), 50, 10000000",
        8 * 30,
    ),
    ("webhooks/sql/settle_webhooks.sql", "'{5,6,7}'", 100),
    // The status counts captured changes, up to a bound.
    ("admin/sql/list_destinations.sql", "'t7', null, null, null, null", 3000),
    // A page of ten among all destinations.
    ("admin/sql/list_destinations.sql", "null, null, 't3', 'main', 10", 4000),
    // What `offtake why` asks of one destination, and of one key.
    ("admin/sql/knows_fuse.sql", "'destination:t7/d3'", 60),
    ("admin/sql/read_way.sql", "7, null", 60),
    ("admin/sql/find_key_changes.sql", "'t7', 'public.team', '{\"id\": 7}'", 400),
    // As the status, it looks at captured changes up to a bound.
    ("admin/sql/find_pending_changes.sql", "'t7', 'public.team', '{\"id\": 7}'", 4000),
    ("admin/sql/find_quarantined.sql", "7, null, 'users', '{\"id\": 7}'", 20),
    ("admin/sql/read_key_columns.sql", "'t7', 'users'", 400),
    ("offtake/sql/list_overdue_partitions.sql", "3600000", 100),
    // The 5 000 with a request are looked at, and so are those with one of the captured changes.
    ("admin/sql/list_unsettled.sql", "", 5000 * 40),
    ("admin/sql/choose_unsettled_webhooks.sql", "", 5000 * 40),
    // A page of ten among all webhooks.
    ("admin/sql/list_webhooks.sql", "null, null, 't3', 'w1', 10, null", 4000),
];

/// What `claim_requests.sql` is completed with.
const OF_THESE: [&str; 2] = [
    "r.failures > 0 and r.destination_id <> all($4::bigint[])",
    "(r.failures > 0 and r.destination_id <> all($4::bigint[])) is not true",
];

/// The statement of a file, in each form in which it runs.
fn statements(file: &str) -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let read = |file: &str| std::fs::read_to_string(crates.join(file)).unwrap();
    let text = match file {
        "admin/sql/list_destinations.sql" => {
            read(file).replace("{chosen}", &read("admin/sql/choose_named.sql"))
        }
        "admin/sql/list_unsettled.sql" => {
            let chosen = read("admin/sql/choose_unsettled.sql");
            let listed = read("admin/sql/list_destinations.sql").replace("{chosen}", &chosen);
            read(file).replace("{listed}", &listed)
        }
        "admin/sql/list_webhooks.sql" => read(file)
            .replace("{webhooks}", &read("admin/sql/choose_named_webhooks.sql"))
            .replace("{with_mappings}", "true"),
        "admin/sql/choose_unsettled_webhooks.sql" => read("admin/sql/list_webhooks.sql")
            .replace("{webhooks}", &read(file))
            .replace("{with_mappings}", "false"),
        _ => read(file),
    };
    let text =
        text.replace("{current}", "0").replace("{partition}", "0").replace("{next}", "10000000");
    match text.contains("{of_these}") {
        true => OF_THESE
            .map(|these| match file.ends_with("claim_webhooks.sql") {
                true => text.replace("{of_these}", &these.replace("destination_id", "webhook_id")),
                false => text.replace("{of_these}", these),
            })
            .to_vec(),
        false => vec![text],
    }
}

/// Runs the statement, rolls it back, and returns what the plan did.
async fn explain(client: &Client, statement: &str, parameters: &str) -> Value {
    let execute = if parameters.is_empty() {
        "execute hot".to_owned()
    } else {
        format!("execute hot({parameters})")
    };
    client
        .batch_execute(&format!(
            "deallocate all; set offtake.lock = 'held'; begin; prepare hot as {statement}"
        ))
        .await
        .unwrap();
    let row = client
        .query_one(&format!("explain (analyze, buffers, timing off, format json) {execute}"), &[])
        .await
        .unwrap();
    client.batch_execute("rollback").await.unwrap();
    row.get::<_, Value>(0)[0]["Plan"].clone()
}

/// The large tables that some part of the plan reads from the beginning.
fn scanned(plan: &Value, found: &mut Vec<String>) {
    let relation = plan["Relation Name"].as_str().unwrap_or_default();
    // A scan under a LIMIT reads no further than the limit.
    if plan["Node Type"] == "Limit" && plan["Actual Rows"].as_i64() > Some(100_000) {
        return;
    }
    if plan["Node Type"] == "Seq Scan"
        && plan["Actual Loops"] != 0
        && LARGE.iter().any(|large| relation.starts_with(large))
    {
        found.push(relation.to_owned());
    }
    for part in plan["Plans"].as_array().into_iter().flatten() {
        scanned(part, found);
    }
}

fn judge(name: &str, plan: &Value, pages_max: i64) -> Result<(), String> {
    let pages =
        plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap();
    let mut found = Vec::new();
    scanned(plan, &mut found);
    println!("{name}: {pages} pages");
    if found.is_empty() && pages <= pages_max {
        Ok(())
    } else {
        Err(format!("{name}: {pages} pages, at most {pages_max}; scans {found:?}"))
    }
}

/// The test fails with the poller's earlier probe, which searched for a row beyond its position.
#[tokio::test]
async fn hot_statements_read_what_there_is_to_do_and_no_table() {
    let source = Source::prepared().await;
    source.execute(FILL).await;
    let client = source.connect().await;
    let mut bad = Vec::new();
    // A prepared statement may be planned with its parameters' values or without them.
    for mode in ["force_custom_plan", "force_generic_plan"] {
        client.batch_execute(&format!("set plan_cache_mode = {mode}")).await.unwrap();
        for (file, parameters, pages_max) in HOT {
            for statement in statements(file) {
                let plan = explain(&client, &statement, parameters).await;
                let name = format!("{file} ({parameters}), {mode}");
                bad.extend(judge(&name, &plan, pages_max).err());
            }
        }
    }
    // Statements that are composed for a mapping: they read the log by tenant and table, and rows
    // by key.
    let set = Source::default_mapping_set(&source).await;
    let tenant_id = "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6";
    source.execute(&format!("update offtake.change_log set tenant_id = '{tenant_id}', row_key = null where tenant_id = 't7'")).await;
    for mapping in set.mappings() {
        let changed =
            Changed { tenant_id, after: 199_000, up_to: 200_000, retry_quarantined_of: Some(7) };
        let copy = compose::copy_changed(mapping, changed);
        let query = copy
            .trim_start_matches("copy (")
            .trim_end()
            .trim_end_matches("to stdout")
            .trim_end()
            .trim_end_matches(')');
        let plan = explain(&client, query, "").await;
        bad.extend(judge(mapping.name(), &plan, 100).err());
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Idle D1 databases are visited once an hour, and the others every ten minutes. Those whose time has
/// not come are not read. The test fails with one index for both.
#[tokio::test]
async fn idle_databases_whose_time_has_not_come_are_not_read() {
    let source = Source::prepared().await;
    source.execute(FILL).await;
    source
        .execute(
            "delete from offtake.outgoing_request; \
             update offtake.destination set kind = 'd1', last_success_at = now() - interval '30 min'",
        )
        .await;
    source.execute("vacuum analyze offtake.destination").await;
    let client = source.connect().await;
    let sweep = &statements("requests/sql/sweep_due.sql")[0];
    let plan = explain(&client, sweep, "600000").await;
    let pages = pages_of("destination_visited", &plan);
    assert!((1..=30).contains(&pages), "{pages} pages by destination_visited: {plan:#}");
}

/// The pages that the parts of a plan touch which look into this index.
fn pages_of(index: &str, plan: &Value) -> i64 {
    if plan["Index Name"] == index {
        let pages = |of: &str| plan[of].as_i64().unwrap_or_default();
        return pages("Shared Hit Blocks") + pages("Shared Read Blocks");
    }
    plan["Plans"].as_array().into_iter().flatten().map(|part| pages_of(index, part)).sum()
}

/// However many requests are due, a claim reads those that it takes, in whatever way the server
/// plans it. The test fails without the settings, or ordered by the request too: all 5 000 were read.
#[tokio::test]
async fn a_claim_reads_no_more_requests_than_it_takes() {
    let source = Source::prepared().await;
    source.execute(FILL).await;
    source.execute("update offtake.outgoing_request set not_before = now() - interval '1 s'").await;
    let client = source.connect().await;
    let begin = include_str!("../../../crates/requests/sql/begin_claim.sql");
    client.batch_execute(&begin.replace("begin;", "").replace("local ", "")).await.unwrap();
    let mut bad = Vec::new();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        client.batch_execute(&format!("set plan_cache_mode = {mode}")).await.unwrap();
        for file in ["requests/sql/claim_requests.sql", "requests/sql/claim_webhooks.sql"] {
            for statement in statements(file) {
                let plan = explain(&client, &statement, "16, 60000, 'me', '{1,2}'").await;
                bad.extend(judge(&format!("a claim of 16 by {file}, {mode}"), &plan, 900).err());
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// A session keeps the plan of its first claim, and that was made while nothing was owed. The test
/// fails where the claim changes its requests by their key: each of the 1 000 was compared with all
/// that there were, which took 1.5 s of a claim among 10 000.
#[tokio::test]
async fn a_claim_planned_while_nothing_was_owed_compares_nothing_in_vain() {
    let source = Source::prepared().await;
    source.execute("vacuum analyze offtake.outgoing_request").await;
    let begin = include_str!("../../../crates/requests/sql/begin_claim.sql");
    let mut sessions = Vec::new();
    for file in ["requests/sql/claim_requests.sql", "requests/sql/claim_webhooks.sql"] {
        for statement in statements(file) {
            let client = source.connect().await;
            client.batch_execute("set plan_cache_mode = force_generic_plan").await.unwrap();
            client
                .batch_execute(&format!(
                    "prepare claim as {statement}; {begin}; execute claim(1000, 60000, 'me', '{{1,2}}'); commit"
                ))
                .await
                .unwrap();
            sessions.push((file, client));
        }
    }
    // What alters a table, or tells the server of its size, would have it plan again.
    let fill: Vec<&str> = FILL.lines().filter(|line| !line.starts_with("alter table")).collect();
    source.execute(&fill.join("\n")).await;
    source.execute("update offtake.outgoing_request set not_before = now() - interval '1 s'").await;
    for (file, client) in sessions {
        client.batch_execute(begin).await.unwrap();
        let claim =
            "explain (analyze, timing off, format json) execute claim(1000, 60000, 'me', '{1,2}')";
        let row = client.query_one(claim, &[]).await.unwrap();
        client.batch_execute("rollback").await.unwrap();
        let plan = &row.get::<_, Value>(0)[0]["Plan"];
        let compared = removed_by_joins(plan);
        assert!(compared < 10_000.0, "{file}: {compared} rows compared in vain: {plan:#}");
    }
}

/// What groups do with their requests, by statistics of a moment when nothing was owed. The test fails
/// where the requests are found by a join: each of 250 was compared with all that there were.
#[tokio::test]
async fn requests_of_many_are_found_by_key_whatever_the_statistics_say() {
    const OF_MANY: [(&str, &str); 9] = [
        ("requests/sql/complete_requests.sql", "$R, $A, array_fill(1::bigint, array[250])"),
        ("requests/sql/extend_leases.sql", "$R, $A, 60000"),
        ("requests/sql/fail_requests.sql", "$R, $A, 1000, null, 'e', 'r'"),
        (
            "sync/sql/mirror_group.sql",
            "$R, $A, array_fill(1::bigint, array[250]), '{users}', array_fill(null::text, array[250]), null, '{v}'",
        ),
        (
            "sync/sql/begin_copies_of_group.sql",
            "$R, $A, '{users}', '{n}', array_fill(1::bigint, array[250])",
        ),
        (
            "webhooks/sql/save_group.sql",
            "$W, $A, array_fill('[\"users\"]'::jsonb, '{250}'), array_fill(1::bigint, '{250}'), \
             array_fill(1::bigint, '{250}'), array_fill(200, '{250}')",
        ),
        ("requests/sql/deactivate_destinations.sql", "$D, '{}', '{}'"),
        ("requests/sql/begin_forgetting.sql", "$D"),
        ("requests/sql/resume_place.sql", "'2026-01-01'"),
    ];
    let source = Source::prepared().await;
    source.execute(FILL).await;
    let empty = "vacuum analyze offtake.outgoing_request;
        update offtake.outgoing_request set leased_until = now() + interval '1 hour';
        update offtake.outgoing_request set leased_until = null, failures = 1, not_before = '2026-01-01'
         where destination_id > 4750";
    for statement in empty.split(';') {
        source.execute(statement).await;
    }
    source
        .execute(
            "update pg_class set reltuples = 0 where oid = 'offtake.outgoing_request'::regclass",
        )
        .await;
    let of = async |what: &str, kind: &str| {
        let some = format!(
            "select * from offtake.outgoing_request where kind = '{kind}' order by request_id limit 250"
        );
        let list = format!("select array_agg({what} order by request_id)::text from ({some}) r");
        format!("'{}'::bigint[]", source.query_text(&list).await)
    };
    let (requests, attempts) = (of("request_id", "sync").await, of("attempt", "sync").await);
    let (destinations, of_webhooks) =
        (of("destination_id", "sync").await, of("request_id", "webhook").await);
    let client = source.connect().await;
    let mut bad = Vec::new();
    for (file, given) in OF_MANY {
        let given = given.replace("$R", &requests).replace("$A", &attempts);
        let given = given.replace("$D", &destinations).replace("$W", &of_webhooks);
        for statement in statements(file) {
            let begin = format!(
                "begin; set local plan_cache_mode = force_custom_plan; prepare many as {statement}"
            );
            client.batch_execute(&begin).await.unwrap();
            let explain =
                format!("explain (analyze, timing off, format json) execute many({given})");
            let row = client.query_one(&explain, &[]).await.unwrap();
            client.batch_execute("rollback; deallocate many").await.unwrap();
            let plan = &row.get::<_, Value>(0)[0]["Plan"];
            let compared = removed_by_joins(plan);
            if compared > 100_000.0 {
                bad.push(format!("{file}: {compared} rows compared in vain: {plan:#}"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Rows that joins compared in vain.
fn removed_by_joins(plan: &Value) -> f64 {
    let of = |name: &str| plan[name].as_f64().unwrap_or_default();
    let below = plan["Plans"].as_array().into_iter().flatten().map(removed_by_joins);
    of("Rows Removed by Join Filter") * of("Actual Loops") + below.sum::<f64>()
}

/// 300 destinations with two mappings each, whose cursors are all at other places among 8 000
/// changes that concern every tenant.
const EVERYONES: &str = "
insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
select n, (array['public.team', 'public.project_user'])[1 + n % 2], case when n % 10 = 0 then 't' || n % 300 end,
       jsonb_build_object('id', n), false, now() - n * interval '1 s'
  from generate_series(1, 8800) n;
insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, sequence_id, last_success_at)
select 't' || n, 'main', 'public', 'h', 5432, 'd', 'u', '{users,teams}', '{public.project_user,public.team}', n * 29, now()
  from generate_series(0, 299) n;
insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
select destination_id, unnest(mappings), sequence_id, true from offtake.destination;
analyze";

/// The backlog of each mapping, counted one by one.
const COUNTED: &str = "
select string_agg(format('%s %s %s %s', d.tenant_id, m.name, l.rows, l.oldest), '; ' order by d.tenant_id, m.name)
  from offtake.destination d
 cross join lateral unnest(d.mappings, d.source_tables) m (name, source_table)
 cross join lateral (select count(*) as rows, min(captured_at) as oldest from offtake.change_log
                      where source_table = m.source_table and sequence_id > d.sequence_id
                        and (tenant_id is null or tenant_id = d.tenant_id)) l";

/// The test fails with a status that reads the log for each mapping: it touched 150 000 pages.
#[tokio::test]
async fn what_concerns_every_tenant_is_read_once_for_all_destinations() {
    let source = Source::prepared().await;
    source.execute(EVERYONES).await;
    let client = source.connect().await;
    let list = "null, null, null, null, null";
    let [statement] = &statements("admin/sql/list_destinations.sql")[..] else { panic!() };
    let plan = explain(&client, statement, list).await;
    let pages =
        plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap();
    assert!(pages < 600 * 12, "{pages} pages");
    let told = format!(
        "select string_agg(format('%s %s %s %s', q.tenant_id, m->>'name', m->>'backlog', (m->>'oldest_at')::timestamptz), '; ' order by q.tenant_id, m->>'name')
           from ({}) q cross join lateral json_array_elements(q.mappings) m",
        (1..=4).fold(statement.clone(), |text, n| text.replace(&format!("${n}"), "null")).replace("$5", "null")
    );
    assert_eq!(source.query_text(&told).await, source.query_text(COUNTED).await);
}
