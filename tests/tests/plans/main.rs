//! Invariant 9 and H34: the cost of a frequent statement depends on the work to do and not on the
//! size of the tables, also before ANALYZE has run. After a bulk load the log is always in that
//! state.

#![allow(clippy::unwrap_used)]

mod filled;
mod hot;
mod many_tenants;
mod statistics;

use std::path::Path;

use offtake_mapping::compose::{self, Changed};
use offtake_tests::Source;
use serde_json::Value;
use tokio_postgres::Client;

use self::filled::FILL;
use self::hot::{HOT, OF_THESE};

/// Tables that no frequent statement may scan from the beginning.
const LARGE: [&str; 4] = ["change_log", "captured_change", "outgoing_request", "job"];

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
        for (file, parameters, pages_max) in HOT.iter().copied() {
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
        let changed = Changed {
            tenant_id,
            after: 199_000,
            up_to: 200_000,
            lists: true,
            retry_quarantined_of: Some(7),
        };
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
             update offtake.destination set kind = 'd1', last_success_at = now() - interval '30 min', visit_at = now() + interval '30 min'",
        )
        .await;
    source.execute("vacuum analyze offtake.destination").await;
    let client = source.connect().await;
    for file in ["sweep_due", "postpone_visits"] {
        let statement = &statements(&format!("requests/sql/{file}.sql"))[0];
        let plan = explain(&client, statement, "600000").await;
        let pages = pages_of("destination_visited", &plan);
        assert!(
            (1..=30).contains(&pages),
            "{file}: {pages} pages by destination_visited: {plan:#}"
        );
    }
}

/// While no epoch begins, no destination is looked at, in whatever order the server would owe them:
/// with a million of them it read all by their key, for 0.6 s, in each look at the source's history.
#[tokio::test]
async fn a_look_at_the_history_reads_no_destination() {
    let source = Source::prepared().await;
    source.execute(FILL).await;
    let client = source.connect().await;
    client
        .batch_execute(
            "analyze offtake.destination; set enable_sort = off; set enable_seqscan = off",
        )
        .await
        .unwrap();
    let statement = &statements("requests/sql/begin_epoch.sql")[0];
    let plan = explain(&client, statement, "").await;
    assert_eq!(pages_of("destination_pkey", &plan), 0, "{plan:#}");
}

/// Where nearly all changes of the log are one tenant's, the server expects that any change is of the
/// tenant that it looks for. The test fails where a statement asks for a tenant's changes, or for the
/// first ones in their order: it read the whole log for each quiet tenant, and in a sweep the poller
/// stood still for a second.
#[tokio::test]
async fn a_tenant_that_has_most_of_the_log_is_not_read_for_the_others() {
    let source = Source::prepared().await;
    source.execute(FILL).await;
    let one = "update offtake.change_log set tenant_id = 't1', source_table = 'public.team';
               update offtake.destination set sequence_id = case tenant_id when 't1' then 200000 else 1000 end;
               update offtake.webhook set sequence_id = case tenant_id when 't1' then 200000 else 1000 end;
               update offtake.webhook_mapping set sequence_id = 200000;
               update offtake.poller_position set sequence_id = 200000;
               delete from offtake.outgoing_request; delete from offtake.fan_out;
               delete from offtake.captured_change";
    source.execute(one).await;
    // As autovacuum and the sequencer leave it.
    source.execute("vacuum offtake.change_log_0").await;
    source.execute("vacuum offtake.captured_change").await;
    source.execute("analyze offtake.change_log_0, offtake.destination, offtake.webhook").await;
    let client = source.connect().await;
    let mut bad = Vec::new();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        client.batch_execute(&format!("set plan_cache_mode = {mode}")).await.unwrap();
        for file in ["sweep_slice", "sweep_webhooks"] {
            let statement = &statements(&format!("requests/sql/{file}.sql"))[0];
            let plan = explain(&client, statement, "0, 100").await;
            bad.extend(judge(&format!("{file}, {mode}"), &plan, 100 * 30 + 500).err());
        }
        for (file, parameters) in [
            (
                "reading/sql/read_bounds.sql",
                "'t7', '{public.project_user,public.team}', '{1000,1000}', 5000, 10000000, 50",
            ),
            (
                "reading/sql/read_group_bounds.sql",
                "'{t2,t3,t4,t5,t6,t7,t8,t9}', array_fill('public.team'::text, '{8}'), array_fill(1000::bigint, '{8}'), 50, 10000000",
            ),
            (
                "reading/sql/read_event_bounds.sql",
                "'t7', '{public.project_user,public.team}', '{1000,1000}', '{null,null}', 1000, 10000000, '{users,teams}', 7",
            ),
            (
                "reading/sql/read_event_group_bounds.sql",
                "'{t2,t3,t4,t5,t6,t7,t8,t9}', array_fill('public.team'::text, '{8}'), array_fill(1000::bigint, '{8}'), 50, 10000000",
            ),
            ("admin/sql/list_destinations.sql", "'t7', null, null, null, null"),
            ("admin/sql/list_webhooks.sql", "'t7', null, null, null, null, null"),
        ] {
            let statement = &statements(file)[0];
            let plan = explain(&client, statement, parameters).await;
            let pages = |of: &str| plan[of].as_i64().unwrap_or_default();
            let pages = pages("Shared Hit Blocks") + pages("Shared Read Blocks");
            println!("{file}, {mode}: {pages} pages");
            if pages > 1_000 {
                bad.push(format!("{file}, {mode}: {pages} pages"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// However many copies are to be audited, a hundred of them are looked at, and a thousand where none
/// of them may be compared. The test fails where what may not be compared is joined instead of asked
/// for each copy: among a million copies that were never audited, a look took seven seconds.
#[tokio::test]
async fn the_next_copies_to_be_audited_are_found_without_a_look_at_all() {
    let source = Source::prepared().await;
    source.execute(FILL).await;
    let client = source.connect().await;
    let [list, pass_by] = ["list_auditable", "pass_by_auditable"]
        .map(|name| statements(&format!("sync/sql/{name}.sql"))[0].clone());
    let mut bad = Vec::new();
    let left = "update offtake.destination set active = false where destination_id <= 1000";
    let analyze = "analyze offtake.destination, offtake.destination_mapping";
    for (step, found) in [("", 100), (analyze, 100), (left, 0), (analyze, 0)] {
        client.batch_execute(step).await.unwrap();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            client.batch_execute(&format!("set plan_cache_mode = {mode}")).await.unwrap();
            let front = "86400000, '-infinity', 0";
            let plan = explain(&client, &list, front).await;
            assert_eq!(plan["Actual Rows"], found, "{plan:#}");
            let pages_max = if found > 0 { 4_000 } else { 12_000 };
            bad.extend(judge(&format!("{mode}, {step:?}"), &plan, pages_max).err());
            let plan = explain(&client, &pass_by, front).await;
            assert_eq!(plan["Actual Rows"], 1, "{plan:#}");
            bad.extend(judge(&format!("passed by: {mode}, {step:?}"), &plan, 2_000).err());
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
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
