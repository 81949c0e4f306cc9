//! Invariant 8 of a status that looks only at what is unsettled, and counts the other destinations:
//! it says the same as one that looks at each destination. In a random world, after each of many
//! steps, which are those of the daemons, of operators and of the application.

use std::collections::BTreeMap;
use std::time::Duration;

use offtake_admin::status::destinations_in_state;
use offtake_admin::{Destination, State, collect, destinations};
use offtake_postgres::{ConnectionString, PooledConnection, SourcePool};
use offtake_tests::{Database, Source};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio_postgres::Client;
use tokio_postgres::types::{Json, ToSql};

const STEPS: usize = 200;

/// The mappings of a destination, and their source tables.
const KINDS: [(&[&str], &[&str]); 4] = [
    (&["a", "b"], &["public.a", "public.b"]),
    (&["a"], &["public.a"]),
    (&["c"], &["public.c"]),
    (&[], &[]),
];
const TENANTS: [&str; 8] = ["t1", "t2", "t3", "t4", "t5", "t6", "t/7", "T8"];
const FUSES: [&str; 8] = [
    "mapping:a",
    "mapping:c",
    "tenant:t1",
    "destination:t2/main",
    "destination:t/7/main",
    "destination:t/7/second/one",
    "poller",
    "sync",
];

/// Statements of operators, of the audit and of the application, each about one destination ($1) or
/// about none.
const OF_ONE: [&str; 12] = [
    "update offtake.destination set paused_at = now(), pause_reason = 'a test' where destination_id = $1",
    "update offtake.destination set paused_at = now(), paused_until = now() - interval '1 s' where destination_id = $1",
    "update offtake.destination set paused_at = null, paused_until = null where destination_id = $1",
    "insert into offtake.quarantined_row (destination_id, mapping, row_key, sqlstate, error, retry_at)
     select destination_id, mapping, '{}', '23514', 'no', now() from offtake.destination_mapping where destination_id = $1
     on conflict do nothing",
    "delete from offtake.quarantined_row where destination_id = $1",
    "insert into offtake.resync_request (destination_id, mapping)
     select destination_id, unnest(mappings) from offtake.destination where destination_id = $1",
    "delete from offtake.resync_request where destination_id = $1",
    "insert into offtake.waiting_mapping (destination_id, mapping, reason) values ($1, 'w', 'no trigger') on conflict do nothing",
    "delete from offtake.waiting_mapping where destination_id = $1",
    "update offtake.destination_mapping set differences = 2 where destination_id = $1",
    "update offtake.destination_mapping set differences = 0 where destination_id = $1",
    "update offtake.destination_mapping set retry_at = now() where destination_id = $1",
];
const OF_NONE: [&str; 5] = [
    "delete from offtake.captured_change",
    "insert into offtake.overlooked_mapping (mapping) values ('a') on conflict do nothing",
    "delete from offtake.overlooked_mapping",
    "delete from offtake.waiting_mapping",
    "delete from offtake.fuse",
];

struct Random {
    client: Client,
    session: PooledConnection,
    rng: StdRng,
    /// What was named last, as the registry's statement takes it, without why it is refused.
    named: BTreeMap<(String, String), serde_json::Value>,
}

impl Random {
    async fn new(source: &Database, seed: u64) -> Self {
        let url = ConnectionString::source(&source.url()).expect("the URL of a test");
        let pool = SourcePool::new(url, Duration::from_secs(30), 1);
        let session = pool.get().await.expect("the source answers");
        let client = source.connect().await;
        // As the sessions of daemons and commands have it: compiling costs more than the statement.
        client.batch_execute("set jit = off").await.expect("the source answers");
        Self { client, session, rng: StdRng::seed_from_u64(seed), named: BTreeMap::new() }
    }

    async fn execute(&self, sql: &str, parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)]) {
        let done = self.client.query(sql, parameters).await;
        done.unwrap_or_else(|error| panic!("{sql}\n  {:?}", error.as_db_error()));
    }

    /// One of the destinations.
    async fn any(&mut self, of: &str) -> Option<i64> {
        let all = format!("select destination_id from {of} order by destination_id");
        let rows = self.client.query(&all, &[]).await.expect("the source answers");
        Some(rows.choose(&mut self.rng)?.get(0))
    }

    fn tenant(&mut self) -> Option<&'static str> {
        let everyones = self.rng.random_ratio(1, 8);
        TENANTS.choose(&mut self.rng).copied().filter(|_| !everyones)
    }

    fn table(&mut self) -> String {
        format!("public.{}", ["a", "b", "c"].choose(&mut self.rng).expect("not empty"))
    }

    /// Names some destinations, some of them in another way than before; all others are gone now
    /// and then.
    async fn register(&mut self) {
        let mut given = Vec::new();
        for tenant in TENANTS {
            for name in ["main", "second/one"] {
                if self.rng.random_ratio(1, 5) {
                    let (mappings, tables) = KINDS.choose(&mut self.rng).expect("not empty");
                    given.push(serde_json::json!({
                        "tenant_id": tenant.to_lowercase(), "name": name, "kind": "postgres", "schema_name": "public", "host": "h",
                        "port": 5432, "database_name": if self.rng.random_ratio(1, 8) { "moved" } else { "d" },
                        "user_name": "u", "shared": false, "mappings": mappings, "source_tables": tables,
                        "refused": self.rng.random_ratio(1, 10).then_some("two tenants"),
                        "source_tenant_id": (tenant != tenant.to_lowercase()).then_some(tenant),
                    }));
                }
            }
        }
        let register = include_str!("../../crates/sync/sql/register_destinations.sql");
        let differing = differing(&self.client, &Json(&given)).await;
        let rows = self.client.query(register, &[&Json(&given), &differing]).await;
        let rows = rows.expect("registered");
        // One that is accepted now, and else as it was, is not owed a sync.
        let mut owed = Vec::new();
        for mut given in given {
            given["refused"] = serde_json::Value::Null;
            let text = |column: &str| given[column].as_str().unwrap_or_default().to_owned();
            let key = (text("tenant_id"), text("name"));
            let is_it = |row: &&tokio_postgres::Row| {
                (row.get("tenant_id"), row.get("name")) == (key.0.clone(), key.1.clone())
            };
            let id = rows.iter().find(is_it).map(|row| row.get::<_, i64>("destination_id"));
            if self.named.insert(key, given.clone()) != Some(given) {
                owed.extend(id);
            }
        }
        self.execute(include_str!("../../crates/requests/sql/owe_registered.sql"), &[&owed]).await;
        if self.rng.random_ratio(1, 10) {
            let unnamed = include_str!("../../crates/sync/sql/find_unnamed.sql");
            let (tenants, names): (Vec<String>, Vec<String>) =
                rows.iter().map(|row| (row.get("tenant_id"), row.get("name"))).unzip();
            let gone = self.client.query(unnamed, &[&tenants, &names]).await.expect("those left");
            let gone: Vec<i64> = gone.iter().map(|row| row.get(0)).collect();
            let withdraw = include_str!("../../crates/requests/sql/deactivate_destinations.sql");
            let none = Vec::<String>::new();
            self.execute(withdraw, &[&gone, &none, &none]).await;
        }
    }

    /// A worker's turn with one request, which may end in any way.
    async fn work(&mut self) {
        let Some(id) = self.any("offtake.outgoing_request").await else { return };
        let read = "select r.request_id, r.attempt, greatest(r.wanted_sequence_id, (select sequence_id from offtake.log_head)) as head,
                           d.mappings from offtake.outgoing_request r join offtake.destination d using (destination_id)
                     where d.destination_id = $1 and d.active and d.refused is null";
        let found = self.client.query_opt(read, &[&id]).await.expect("the source answers");
        let Some(row) = found else { return };
        let (request, attempt): (i64, i64) = (row.get(0), row.get(1));
        let mappings: Vec<String> = row.get("mappings");
        let failed = include_str!("../../crates/requests/sql/fail_request.sql");
        let mapping_failed = include_str!("../../crates/sync/sql/fail_mapping.sql");
        match (self.rng.random_range(0..8), mappings.first()) {
            (0, _) => {
                self.execute(
                    failed,
                    &[&request, &attempt, &1000_i64, &"down", &"blocked", &"down"],
                )
                .await;
                return;
            }
            (1, Some(mapping)) => {
                self.execute(
                    mapping_failed,
                    &[&request, &attempt, mapping, &"42P01", &"no", &1_i64, &1_i64],
                )
                .await;
                return;
            }
            _ => {}
        }
        let complete = self.rng.random_ratio(4, 5);
        let count = mappings.len();
        let (heads, copied) = (vec![row.get::<_, i64>("head"); count], vec![complete; count]);
        let (rows, none) = (vec![1_i64; count], vec![None::<i64>; count]);
        let (begun, identities) = (Vec::<String>::new(), vec![Some("1:1"); count]);
        let state = if complete { "in_sync" } else { "backfilling" };
        let mirror = include_str!("../../crates/sync/sql/mirror_destination.sql");
        if count > 0 {
            self.execute(
                mirror,
                &[
                    &request,
                    &attempt,
                    &mappings,
                    &heads,
                    &copied,
                    &rows,
                    &none,
                    &state,
                    &None::<&str>,
                    &begun,
                    &identities,
                    &vec![Some("1"); count],
                ],
            )
            .await;
        }
        if complete {
            let done = include_str!("../../crates/requests/sql/complete_request.sql");
            self.execute(done, &[&request, &attempt, &row.get::<_, i64>("head")]).await;
        }
    }

    async fn step(&mut self) -> String {
        let step = self.rng.random_range(0..26);
        match step {
            0..5 => {
                let (tenant, table) = (self.tenant(), self.table());
                let change = "insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
                              values (nextval('offtake.global_sequence'), $1, $2, '{}', false, now())";
                self.execute(change, &[&table, &tenant]).await;
                return format!("a change of {table} for {tenant:?}");
            }
            5..9 => {
                let blown = "select from offtake.fuse where name = 'poller' and not enabled";
                let blown = self.client.query(blown, &[]).await.expect("the source answers");
                if blown.is_empty() {
                    self.poll().await;
                    return "a poll".to_owned();
                }
            }
            9..16 => {
                self.work().await;
                return "a turn".to_owned();
            }
            16 | 24 => {
                self.register().await;
                return "destinations are named".to_owned();
            }
            17 => {
                let (tenant, table) = (self.tenant(), self.table());
                let change = "insert into offtake.captured_change (source_table, operation, tenant_id) values ($1, 'c', $2)";
                self.execute(change, &[&table, &tenant]).await;
                return format!("a captured change of {table} for {tenant:?}");
            }
            18 | 25 => {
                let fuse = FUSES.choose(&mut self.rng).expect("not empty");
                let enabled = self.rng.random_ratio(1, 2);
                let switch = "insert into offtake.fuse (name, enabled) values ($1, $2) on conflict (name) do update set enabled = $2";
                self.execute(switch, &[fuse, &enabled]).await;
                return format!("fuse {fuse}, enabled: {enabled}");
            }
            19 => {
                let statement = OF_NONE.choose(&mut self.rng).expect("not empty");
                self.execute(statement, &[]).await;
                return (*statement).to_owned();
            }
            20 => return self.rare().await,
            _ => {
                let statement = OF_ONE.choose(&mut self.rng).expect("not empty");
                if let Some(id) = self.any("offtake.destination").await {
                    self.execute(statement, &[&id]).await;
                    return format!("{statement} of {id}");
                }
            }
        }
        "nothing".to_owned()
    }

    /// As the poller's, but a change for every tenant is told to two destinations at a time.
    async fn poll(&self) {
        self.execute("select set_config('offtake.lock', 'held', false)", &[]).await;
        let page = include_str!("../../crates/requests/sql/owe_page.sql");
        self.execute(page, &[&50_000_i64]).await;
        let told = include_str!("../../crates/requests/sql/owe_fanned_out.sql");
        self.execute(told, &[&2_i64]).await;
    }

    async fn rare(&mut self) -> String {
        let Some(id) = self.any("offtake.destination").await else { return String::new() };
        let rare = self.rng.random_range(0..4);
        match rare {
            0 => {
                let begin = include_str!("../../crates/requests/sql/begin_forgetting.sql");
                self.execute(begin, &[&vec![id]]).await;
                let end = include_str!("../../crates/requests/sql/forget_destinations.sql");
                self.execute(end, &[&vec![id]]).await;
            }
            1 => {
                let refuse = include_str!("../../crates/requests/sql/refuse_destination.sql");
                let tenant = self.tenant().unwrap_or("t9");
                self.execute(refuse, &[&tenant, &"main", &"no url"]).await;
            }
            2 => {
                let go = include_str!("../../crates/offtake/sql/let_mappings_go.sql");
                self.execute(go, &[&vec!["a", "c"]]).await;
            }
            _ => {
                offtake_poller::Sweep::default().run(&mut self.session).await.expect("a sweep");
            }
        }
        format!("rare {rare} of {id}")
    }
}

/// What each looks like where every destination is looked at: how many are in each state, and of
/// each mapping how many destinations have it, and are behind.
fn looked_at(all: &[Destination]) -> (BTreeMap<String, usize>, BTreeMap<String, (usize, usize)>) {
    let (mut states, mut mappings) = (BTreeMap::new(), BTreeMap::new());
    for destination in all {
        *states.entry(destination.state.to_string()).or_default() += 1;
        for mapping in &destination.mappings {
            let (there, behind): &mut (usize, usize) =
                mappings.entry(mapping.name.clone()).or_default();
            *there += 1;
            *behind += usize::from(mapping.behind());
        }
    }
    (states, mappings)
}

async fn compare(client: &Client, after: &str) {
    let all = destinations(client, None, None).await.expect("the destinations are told");
    let status = collect(client, None).await.expect("the status is told");
    let (states, mappings) = looked_at(&all);
    let told = status.sync.destinations.iter().filter(|(_, count)| **count > 0);
    let told: BTreeMap<_, _> = told.map(|(state, count)| ((*state).to_owned(), *count)).collect();
    let worse = || all.iter().map(|d| format!("{}/{} {}", d.tenant, d.name, d.state));
    assert_eq!(told, states, "after {after}: {:?}", worse().collect::<Vec<_>>());
    let counted = status.mappings.iter();
    let counted: BTreeMap<_, _> =
        counted.map(|m| (m.name.clone(), (m.destinations, m.destinations_behind))).collect();
    assert_eq!(counted, mappings, "after {after}");
    for state in State::ALL {
        let listed = destinations_in_state(client, state, None, 1000).await;
        let listed = listed.expect("the destinations are told");
        let expected = all.iter().filter(|d| d.state == state);
        assert_eq!(
            listed.iter().map(|d| (&d.tenant, &d.name)).collect::<Vec<_>>(),
            expected.map(|d| (&d.tenant, &d.name)).collect::<Vec<_>>(),
            "after {after}: {state}"
        );
    }
    // All of them fit into the list.
    let mut listed: Vec<_> = status.destinations.iter().map(|d| (&d.tenant, &d.name)).collect();
    listed.sort_unstable();
    assert_eq!(listed, all.iter().map(|d| (&d.tenant, &d.name)).collect::<Vec<_>>());
    assert_eq!(status.destinations_not_listed, 0);
}

async fn counts_like_a_look_at_each(seed: u64) {
    let seed = std::env::var("OFFTAKE_SEED").map_or(seed, |seed| seed.parse().expect("a number"));
    eprintln!("OFFTAKE_SEED={seed}");
    let source = Source::prepared().await;
    let mut world = Random::new(&source, seed).await;
    for _ in 0..6 {
        world.register().await;
    }
    compare(&world.client, "the beginning").await;
    for _ in 0..STEPS {
        let step = world.step().await;
        compare(&world.client, &step).await;
    }
}

#[tokio::test]
async fn a_status_that_counts_says_what_a_look_at_each_destination_says_seed_1() {
    counts_like_a_look_at_each(1).await;
}

/// Those of which the registration says something else.
async fn differing(client: &Client, given: &(dyn ToSql + Sync)) -> Vec<i64> {
    let find = include_str!("../../crates/sync/sql/find_registered.sql");
    let found = client.query(find, &[given]).await.expect("those that are registered");
    found.iter().filter(|row| row.get("changes")).map(|row| row.get("destination_id")).collect()
}

#[tokio::test]
async fn a_status_that_counts_says_what_a_look_at_each_destination_says_seed_2() {
    counts_like_a_look_at_each(2).await;
}

/// A destination gets one more mapping while nothing may be owed, so that no request tells of it.
#[tokio::test]
async fn a_destination_that_becomes_another_one_is_not_counted_as_in_sync() {
    let source = Source::prepared().await;
    let world = Random::new(&source, 1).await;
    let register = async |mappings: &[&str]| {
        let given = serde_json::json!([{
            "tenant_id": "t1", "name": "main", "kind": "postgres", "schema_name": "public", "host": "h", "port": 5432, "database_name": "d",
            "user_name": "u", "shared": false, "mappings": mappings,
            "source_tables": mappings.iter().map(|m| format!("public.{m}")).collect::<Vec<_>>(),
        }]);
        let register = include_str!("../../crates/sync/sql/register_destinations.sql");
        let differing = differing(&world.client, &Json(&given)).await;
        world.execute(register, &[&Json(&given), &differing]).await;
    };
    register(&["a"]).await;
    let in_sync =
        "insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
                   select destination_id, 'a', 0, true from offtake.destination";
    world.execute(in_sync, &[]).await;
    world.execute("update offtake.destination set state = 'in_sync'", &[]).await;
    let counted = async |state: &str| {
        let status = collect(&world.client, None).await.expect("the status is told");
        status.sync.destinations[state]
    };
    assert_eq!(counted("in_sync").await, 1);
    register(&["a", "b"]).await;
    assert_eq!(counted("in_sync").await, 0, "the copy of b does not exist");
    assert_eq!(counted("backfilling").await, 1);
}
