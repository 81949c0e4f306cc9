//! Invariant 8 of a list of webhooks that looks only at those that may not be in sync, and counts
//! the others: it says the same as one that looks at each. After each of many steps, which are those
//! of the daemons, of operators and of the application.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use offtake_admin::operations::{fuse_names, knows_fuse};
use offtake_admin::webhooks::{
    Sought, Webhook, WebhookState, count_states, webhooks, webhooks_in_state, worst_webhooks,
};
use offtake_tests::Source;
use tokio_postgres::Client;

/// Forty webhooks of eight tenants that are in sync, and changes up to number 100 that they know.
const FILL: &str = "
insert into offtake.webhook (tenant_id, name, host, port, mappings, source_tables, fingerprint, sequence_id, state, source_tenant_id)
select (array['t1','t2','t3','t4','t5','t6','t/7','t8'])[1 + n % 8], 'w/' || n / 8, 'h', 443, '{users,teams}',
       '{public.project_user,public.team}', 'f', 100, 'in_sync', case when n % 8 = 7 then 'T8' end
  from generate_series(0, 39) n;
insert into offtake.webhook_mapping (webhook_id, mapping, sequence_id) select webhook_id, unnest(mappings), 100 from offtake.webhook;
insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
select n, 'public.team', 't' || n % 8, jsonb_build_object('id', n), false, now() from generate_series(1, 100) n;
update offtake.poller_position set sequence_id = 100";

/// Each one is a step, and so is the statement that takes it back.
const STEPS: [(&str, &str); 22] = [
    (
        "update offtake.webhook set state = 'blocked', reason = 'why' where webhook_id = 3",
        "update offtake.webhook set state = 'in_sync', reason = null where webhook_id = 3",
    ),
    (
        "update offtake.webhook set state = 'lagging' where webhook_id in (4, 5)",
        "update offtake.webhook set state = 'in_sync' where webhook_id = 4",
    ),
    ("update offtake.webhook set refused = 'why' where webhook_id = 6", ""),
    (
        "update offtake.webhook set incomplete = 'why' where webhook_id in (7, 8)",
        "update offtake.webhook set incomplete = null where webhook_id = 8",
    ),
    (
        "update offtake.webhook set disabled_at = now() where webhook_id in (9, 10)",
        "update offtake.webhook set disabled_at = null where webhook_id = 10",
    ),
    (
        "update offtake.webhook set paused_at = now() where webhook_id in (11, 12)",
        "update offtake.webhook set paused_until = now() - interval '1 s' where webhook_id = 12",
    ),
    (
        "update offtake.webhook set consecutive_failures = 2 where webhook_id = 13",
        "update offtake.webhook set consecutive_failures = 0 where webhook_id = 13",
    ),
    (
        "insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id) values ('webhook', 14, 200), ('webhook', 15, 100)",
        "delete from offtake.outgoing_request where webhook_id = 14",
    ),
    (
        "insert into offtake.quarantined_event (webhook_id, mapping, row_key, sequence_id, captured_at, error)
         values (16, 'users', '{}', 1, now(), 'no'), (17, 'gone', '{}', 1, now(), 'no')",
        "delete from offtake.quarantined_event where webhook_id = 16",
    ),
    (
        "update offtake.webhook_mapping set resync_reason = 'asked' where webhook_id = 18",
        "update offtake.webhook_mapping set resync_reason = null where webhook_id = 18",
    ),
    (
        "update offtake.webhook_mapping set backfilled = false where webhook_id = 19 and mapping = 'users'",
        "update offtake.webhook_mapping set backfilled = true",
    ),
    (
        "update offtake.webhook_mapping set error = 'no', failures = 1, retry_at = now() where webhook_id = 20",
        "update offtake.webhook_mapping set error = null, failures = 0, retry_at = null",
    ),
    (
        "insert into offtake.fuse (name, enabled) values ('tenant:t1', false), ('webhook:t/7/w/1', false), ('destination:t2/w/1', false)",
        "update offtake.fuse set until = now() - interval '1 s' where name = 'tenant:t1'",
    ),
    (
        "insert into offtake.fuse (name, enabled) values ('mapping:teams', false)",
        "delete from offtake.fuse where name = 'mapping:teams'",
    ),
    (
        "insert into offtake.fuse (name, enabled) values ('webhooks', false)",
        "update offtake.fuse set enabled = true where name = 'webhooks'",
    ),
    (
        "insert into offtake.captured_change (source_table, operation, tenant_id, row_key) values ('public.team', 'c', 't2', '{}'), ('public.team', 'c', 'T8', '{}')",
        "delete from offtake.captured_change",
    ),
    (
        "insert into offtake.captured_change (source_table, operation) values ('public.other', 't')",
        "delete from offtake.captured_change",
    ),
    (
        "insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
         values (101, 'public.project_user', 't3', '{}', false, now()), (102, 'public.project_user', 'T8', '{}', false, now())",
        "insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id)
         select 'webhook', webhook_id, 102 from offtake.webhook where tenant_id in ('t3', 't8') on conflict do nothing;
         update offtake.poller_position set sequence_id = 102",
    ),
    (
        "update offtake.webhook_mapping set sequence_id = 102",
        "delete from offtake.outgoing_request",
    ),
    (
        "insert into offtake.change_log (sequence_id, source_table, deleted, captured_at) values (103, 'public.team', false, now());
         insert into offtake.fan_out (source_table, sequence_id) values ('public.team', 103);
         update offtake.poller_position set sequence_id = 103",
        "update offtake.webhook_mapping set sequence_id = 103; delete from offtake.fan_out",
    ),
    (
        "update offtake.webhook set active = false where webhook_id in (3, 21, 22)",
        "update offtake.webhook set active = true where webhook_id = 22",
    ),
    (
        "delete from offtake.webhook where webhook_id in (22, 23)",
        "insert into offtake.webhook (tenant_id, name, host, port, mappings, source_tables, fingerprint, active)
         values ('t1', 'new', 'h', 443, '{}', '{}', 'f', true), ('t1', 'old', 'h', 443, '{}', '{}', 'f', false)",
    ),
];

type Place = (WebhookState, String, String);

fn place(one: &Webhook) -> Place {
    (one.state, one.tenant.clone(), one.name.clone())
}

/// Page after page, as the dashboard and its reader ask for them.
async fn paged(client: &Client, state: Option<WebhookState>, limit: usize) -> Vec<Place> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page =
            worst_webhooks(client, Sought { state, ..Sought::default() }, after.as_ref(), limit)
                .await
                .unwrap();
        assert!(page.iter().all(|one| one.tenant == "t1" || one.mappings.len() == 2));
        all.extend(page.iter().map(place));
        after = all.last().cloned();
        if page.len() < limit {
            return all;
        }
    }
}

async fn check(client: &Client, after: &str) {
    let all = webhooks(client, None, None).await.unwrap();
    let mut counts: BTreeMap<&str, usize> =
        WebhookState::ALL.iter().map(|state| (state.as_str(), 0)).collect();
    all.iter().for_each(|one| *counts.entry(one.state.as_str()).or_default() += 1);
    assert_eq!(count_states(client, None).await.unwrap(), counts, "after {after}");
    let (in_sync, mut places): (Vec<Place>, Vec<Place>) =
        all.iter().map(place).partition(|(state, ..)| *state == WebhookState::InSync);
    places.sort();
    // These are in the order of the source's collation.
    places.extend(in_sync);
    assert_eq!(paged(client, None, 17).await, places, "after {after}");
    places.retain(|(of, ..)| *of == WebhookState::Blocked);
    assert_eq!(paged(client, Some(WebhookState::Blocked), 3).await, places, "after {after}");
    let blocked = (None, WebhookState::Blocked);
    let listed = webhooks_in_state(client, blocked, None, 1000).await.unwrap();
    assert_eq!(listed.iter().map(place).collect::<Vec<_>>(), places, "after {after}");
    if let Some((_, tenant, name)) = places.first() {
        let behind = Some((tenant.as_str(), name.as_str()));
        let listed = webhooks_in_state(client, blocked, behind, 1000).await.unwrap();
        assert_eq!(listed.iter().map(place).collect::<Vec<_>>(), places[1..], "after {after}");
    }
    let row = client
        .query_one(
            "select (select sum(webhooks)::bigint from offtake.webhook_count), (select count(*) from offtake.webhook where active)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "after {after}");
}

#[tokio::test]
async fn a_list_that_counts_the_webhooks_in_sync_says_what_one_of_all_says() {
    let source = Source::prepared().await;
    source.execute(FILL).await;
    let client = source.connect().await;
    client.batch_execute("set jit = off").await.unwrap();
    check(&client, "nothing").await;
    for (step, back) in STEPS {
        for sql in [step, back] {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}\n  {error:?}"));
            check(&client, sql).await;
        }
    }
    // A fuse is known without a list of all.
    let names = fuse_names(&client).await.unwrap();
    assert!(names.len() > 40 && names.iter().any(|name| name == "webhook:t/7/w/1"), "{names:?}");
    for name in &names {
        assert!(knows_fuse(&client, name).await.unwrap(), "{name}");
    }
    for name in
        ["tenant:t", "webhook:t1/w", "webhook:t/7", "destination:t1/w/1", "mapping:user", "x"]
    {
        assert!(!knows_fuse(&client, name).await.unwrap(), "{name}");
    }
    // The poller's sweep adds the counts up, once there are many.
    let flip = "update offtake.webhook set active = not active where webhook_id = 30";
    for _ in 0..101 {
        client.batch_execute(flip).await.unwrap();
    }
    client.batch_execute(include_str!("../../crates/poller/sql/add_up_counts.sql")).await.unwrap();
    let rows = client.query_one("select count(*) from offtake.webhook_count", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 1);
    check(&client, "the counts were added up").await;
}
