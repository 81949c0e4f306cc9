//! The last committed state of a key wins, no matter what came before it and where batches end
//! (invariants 1 and 5).
//!
//! How it is kept: changes and deletions are in one log, in commit order, and the engine reads a
//! key's current state instead of replaying changes (`compose::copy_changed`: a left join whose
//! missing row is a deletion). If key or tenant changed, the old state is captured together with
//! the new one (`Rule::left` in the capture function).

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use offtake_tests::{Daemon, Database, Plan, World, oracle, until};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const TABLES: &str = "
    create table item (id int primary key deferrable, tenant text not null, body text not null);
    create table parent (id int primary key, tenant text not null, body text not null, unique (tenant, id));
    create table child (tenant text not null, parent int not null, no int not null, body text not null, primary key (tenant, parent, no),
                        foreign key (tenant, parent) references parent (tenant, id) on update cascade on delete cascade);
    create table leaf (id int primary key, parent int not null, body text not null);
    create index on leaf (parent, id)";

/// A child has its tenant in its own row; a leaf's tenant is looked up in its parent.
const MAPPINGS: [(&str, &str); 4] = [
    (
        "items",
        "source: { table: public.item, tenant: tenant }\nquery: select tenant as tenant_id, id, body from item\ntarget: { table: items }",
    ),
    (
        "parents",
        "source: { table: public.parent, tenant: tenant }\nquery: select tenant as tenant_id, id, body from parent\ntarget: { table: parents }",
    ),
    (
        "children",
        "
source: { table: public.child, tenant: tenant }
depends_on: [{ table: public.parent, match: { tenant: tenant, parent: id } }]
query: select c.tenant as tenant_id, c.parent, c.no, c.body, p.body as parent_body from child c join parent p on p.id = c.parent
target: { table: children }",
    ),
    (
        "leaves",
        "
source: { table: public.leaf, tenant: { table: public.parent, column: tenant, match: { id: parent } } }
query: select p.tenant as tenant_id, l.id, l.body, p.body as parent_body from leaf l join parent p on p.id = l.parent
target: { table: leaves }",
    ),
];

fn plan() -> Plan {
    World::with_tenants(["acme", "globex"]).mappings(&MAPPINGS).without_init()
}

async fn start(plan: Plan) -> (World, Daemon) {
    let world = plan.await;
    world.source.execute(TABLES).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    (world, daemon)
}

/// How far apart in time the writes of one key are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Apart {
    Nothing,
    Transactions,
    Ticks,
    Syncs,
}

/// The writes of a key: `i`nsert, `u`pdate, `d`elete. Upper case: the key exists before.
const FATES: [&str; 9] =
    ["DI", "DID", "id", "idi", "idid", "DIDIDIDIDI", "DIDIDIDIDID", "UDIU", "iudiud"];

fn existed(fate: &str) -> bool {
    fate.starts_with(char::is_uppercase)
}

fn statement(step: char, at: usize, key: usize, tenant: &str) -> String {
    match step.to_ascii_lowercase() {
        'i' => format!("insert into item values ({key}, '{tenant}', 'inserted {at}');"),
        'u' => format!("update item set body = 'updated {at}' where id = {key};"),
        _ => format!("delete from item where id = {key};"),
    }
}

async fn wait_sequenced(source: &Database) {
    until("everything captured is sequenced", offtake_tests::PATIENCE, async || {
        let left = source.query_text("select count(*) from offtake.captured_change").await;
        if left == "0" { Ok(()) } else { Err(format!("{left} are not")) }
    })
    .await;
}

/// Every sequence of writes of a key, at every distance. Each transaction that deletes makes 3 000
/// other deletions first. With batches of the usual size, and with batches of one row, so that a
/// batch ends between any two writes of one key.
#[tokio::test]
async fn a_key_that_comes_and_goes_ends_as_it_was_last_committed() {
    for (batch, others) in [(10_000, 3000), (1, 3)] {
        let (world, daemon) =
            start(plan().setting("/sequencer/batch_rows", batch).rows_at_once(batch.min(5000)))
                .await;
        let (tenant, source) = (world.id("acme"), &world.source);
        let distances = [Apart::Nothing, Apart::Transactions, Apart::Ticks, Apart::Syncs];
        let key = |distance: usize, fate: usize| distance * 100 + fate;
        for distance in 0..distances.len() {
            for (fate, _) in FATES.iter().enumerate().filter(|(_, fate)| existed(fate)) {
                source
                    .execute(&format!(
                        "insert into item values ({}, '{tenant}', 'first')",
                        key(distance, fate)
                    ))
                    .await;
            }
        }
        source
            .execute(&format!("insert into item select n, '{tenant}', 'other' from generate_series(10001, 10000 + {others} * 4) n"))
            .await;
        world.wait_in_step().await;
        for (at_distance, distance) in distances.into_iter().enumerate() {
            let first = 10_001 + at_distance * others;
            source
                .execute(&format!(
                    "delete from item where id between {first} and {}",
                    first + others - 1
                ))
                .await;
            let steps = FATES.iter().map(|fate| fate.len()).max().unwrap();
            let mut together = String::new();
            for at in 0..steps {
                for (fate, steps) in FATES.iter().enumerate() {
                    let Some(step) = steps.chars().nth(at) else { continue };
                    let sql = statement(step, at, key(at_distance, fate), tenant);
                    match distance {
                        Apart::Nothing => together.push_str(&sql),
                        _ => source.execute(&sql).await,
                    }
                }
                match distance {
                    Apart::Ticks => wait_sequenced(source).await,
                    Apart::Syncs => world.wait_in_step().await,
                    Apart::Nothing | Apart::Transactions => {}
                }
            }
            source.execute(&together).await;
        }
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        let alive = |fate: &&str| !fate.ends_with(['d', 'D']);
        let expected = FATES.iter().filter(|fate| alive(fate)).count() * distances.len();
        assert_eq!(
            world.tenant("acme").destination.query_text("select count(*) from items").await,
            expected.to_string()
        );
        // The previous system's method on the same log: copy rows as they are, then apply the
        // recorded deletions. It loses live rows.
        let lost = "select count(distinct i.id) from item i join offtake.deleted_row d on d.row_key ->> 'id' = i.id::text";
        assert_eq!(source.query_text(lost).await, expected.to_string());
        daemon.stop().await;
    }
}

/// First one writer waits for the other's lock, so that the transaction that began earlier commits
/// later. Then both write at random to a few keys.
#[tokio::test]
async fn of_two_writers_of_one_key_the_later_commit_counts() {
    const SEED: u64 = 26;
    println!("seed {SEED}");
    let (world, daemon) = start(plan().setting("/sequencer/interval", "1ms")).await;
    let tenant = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into item select n, '{tenant}', 'first' from generate_series(1, 4) n"
        ))
        .await;
    let (one, two) = (world.source.connect().await, world.source.connect().await);
    // Key 1 is deleted while its re-insert waits; 2 is updated while its deletion waits; 3 the
    // other way round.
    one.batch_execute("begin; delete from item where id = 1; update item set body = 'one' where id = 2; delete from item where id = 3")
        .await
        .unwrap();
    let waiting = format!(
        "insert into item values (1, '{tenant}', 'two'); delete from item where id = 2; update item set body = 'two' where id = 3;
         insert into item values (3, '{tenant}', 'again')"
    );
    let waited = tokio::spawn(async move { two.batch_execute(&waiting).await.map(|()| two) });
    until("the second writer waits", offtake_tests::PATIENCE, async || {
        let waits = world
            .source
            .query_text("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
            .await;
        if waits == "0" { Err("it does not".to_owned()) } else { Ok(()) }
    })
    .await;
    one.batch_execute("commit").await.unwrap();
    let two = waited.await.unwrap().unwrap();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(
        world.tenant("acme").destination.query_text("select id, body from items order by 1").await,
        "1|two\n3|again\n4|first"
    );
    let write = async |session: tokio_postgres::Client, seed: u64| {
        let mut random = StdRng::seed_from_u64(seed);
        for at in 0..400 {
            let key = random.random_range(1..=3);
            let sql = match random.random_range(0..5) {
                0 => format!("delete from item where id = {key}"),
                1 => {
                    format!(
                        "begin; delete from item where id = {key}; insert into item values ({key}, '{tenant}', '{seed}/{at}'); commit"
                    )
                }
                2 => format!("update item set body = '{seed}/{at}' where id = {key}"),
                3 => format!("begin; delete from item where id = {key}; rollback"),
                _ => format!("insert into item values ({key}, '{tenant}', '{seed}/{at}')"),
            };
            // If the key exists already, the other writer has inserted it.
            if session.batch_execute(&sql).await.is_err() {
                session.batch_execute("rollback").await.unwrap();
            }
        }
    };
    tokio::join!(write(one, SEED), write(two, SEED + 1));
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Keys that are swapped, and rows that move to another tenant and come back. Without `Rule::left`
/// the old key stays in the copy.
#[tokio::test]
async fn keys_swap_and_rows_go_to_another_tenant_and_back() {
    let (world, daemon) = start(plan()).await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    let fill = format!(
        "insert into item select n, '{acme}', 'row ' || n from generate_series(1, 20) n;
         insert into item select n, '{globex}', 'row ' || n from generate_series(21, 30) n"
    );
    world.source.execute(&fill).await;
    world.wait_in_step().await;
    let to =
        |tenant: &str, key: i32| format!("update item set tenant = '{tenant}' where id = {key};");
    let swap = "set constraints all deferred; update item set id = 0 where id = 1; update item set id = 1 where id = 2; update item set id = 2 where id = 0;";
    let ring = "set constraints all deferred; update item set id = 4 where id = 3; update item set id = 5 where body = 'row 4'; update item set id = 3 where body = 'row 5';";
    let cases = [
        // Swaps within one tenant, in one statement, between two tenants, of three keys in a ring,
        // and there and back.
        vec![format!("begin; {swap} commit")],
        vec!["update item set id = 13 - id where id in (6, 7)".to_owned()],
        vec!["update item set id = 41 - id where id between 20 and 21".to_owned()],
        vec![format!("begin; {ring} commit")],
        vec![
            format!("begin; {swap} commit"),
            format!("begin; {swap} commit"),
            format!("begin; {swap} commit"),
        ],
        vec![format!("begin; {} {} commit", to(globex, 10), to(acme, 10))],
        vec![to(globex, 11), to(acme, 11)],
        vec![to(globex, 12), to(acme, 12), to(globex, 12)],
        vec![to("nobody", 13), to(acme, 13)],
        vec![to("nobody", 14), to(globex, 14)],
        // A row moves to another tenant, and in the same transaction another row takes its key.
        vec![format!(
            "begin; update item set tenant = '{globex}', id = 115 where id = 15; insert into item values (15, '{acme}', 'new'); commit"
        )],
        vec![format!(
            "begin; delete from item where id = 16; insert into item values (16, '{globex}', 'other'); commit"
        )],
    ];
    for case in &cases {
        for between in [Apart::Transactions, Apart::Ticks, Apart::Syncs] {
            for sql in case {
                world.source.execute(sql).await;
                match between {
                    Apart::Ticks => wait_sequenced(&world.source).await,
                    Apart::Syncs => world.wait_in_step().await,
                    Apart::Nothing | Apart::Transactions => {}
                }
            }
            if case.len() == 1 {
                break;
            }
        }
        world.wait_in_step().await;
        oracle::assert_equal_after(&world, &format!("{case:#?}")).await;
    }
    daemon.stop().await;
}

/// The move of a parent to another tenant reaches two kinds of rows: those with the tenant in their
/// own row (by the cascade), and those whose tenant is looked up in the parent. Of the latter there
/// are more than fit in one page of an expansion. They leave one destination and arrive in the
/// other.
#[tokio::test]
async fn a_parent_that_moves_carries_its_children_along() {
    let (world, daemon) = start(plan()).await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    let leaves = offtake_sequencer::EXPANSION_ROWS_MAX + 500;
    world
        .source
        .execute(&format!(
            "insert into parent select n, '{acme}', 'parent ' || n from generate_series(1, 3) n;
             insert into child select '{acme}', p, n, 'child' from generate_series(1, 3) p, generate_series(1, 20) n;
             insert into leaf select n, 1, 'leaf' from generate_series(1, {leaves}) n; insert into leaf values (100001, 2, 'leaf')"
        ))
        .await;
    world.wait_in_step().await;
    let count = async |tenant: &str| {
        let counts = "select (select count(*) from parents), (select count(*) from children), (select count(*) from leaves)";
        world.tenant(tenant).destination.query_text(counts).await
    };
    let moved =
        |id: i32, tenant: &str| format!("update parent set tenant = '{tenant}' where id = {id};");
    let back_and_forth =
        format!("begin; {} {} {} commit", moved(1, globex), moved(1, acme), moved(1, globex));
    let steps = [
        (moved(1, globex), "2|40|1", format!("1|20|{leaves}")),
        (format!("{}{}", moved(1, acme), moved(1, globex)), "2|40|1", format!("1|20|{leaves}")),
        (
            format!("{} update child set body = 'mine' where parent = 1", moved(1, acme)),
            "3|60|all",
            "0|0|0".to_owned(),
        ),
        (back_and_forth, "2|40|1", format!("1|20|{leaves}")),
        // The parent moves and its children get another parent; and a parent whose id changes while
        // it moves.
        (
            format!("{} update leaf set parent = 3 where id <= 10", moved(1, "nobody")),
            "2|40|11",
            "0|0|0".to_owned(),
        ),
        (
            format!(
                "update parent set id = 20, tenant = '{globex}' where id = 2; update leaf set parent = 20 where parent = 2"
            ),
            "1|20|10",
            "1|20|1".to_owned(),
        ),
    ];
    for (sql, of_acme, of_globex) in steps {
        world.source.execute(&sql).await;
        world.wait_in_step_within(Duration::from_secs(30)).await;
        let of_acme = of_acme.replace("all", &(leaves + 1).to_string());
        assert_eq!((count("acme").await, count("globex").await), (of_acme, of_globex), "{sql}");
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}
