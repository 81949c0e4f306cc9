//! Keys of every type, and copies in pages of these keys.

use offtake_tests::{Plan, World, oracle};

use crate::cases::{KEYS, TYPES};
use crate::{look, prepare, verify};

fn mapping(at: usize) -> String {
    format!(
        "source: {{ table: public.k{at}, tenant: tenant, key: {{ k: k }} }}\nquery: select tenant as tenant_id, k, body from k{at}\ntarget: {{ table: k{at} }}"
    )
}

/// Waits until the copies are in step, and checks that they equal the source's tables.
async fn assert_same(world: &World, what: &str) {
    world.wait_in_step().await;
    oracle::assert_equal_after(world, what).await;
    if world.tenant("acme").file.is_some() {
        return;
    }
    for (at, (sql_type, _)) in KEYS.iter().enumerate() {
        if ["mood", "place", "priced"].contains(sql_type) {
            continue;
        }
        let query = format!("select k::text, body from k{at} order by k::text collate \"C\"");
        let (wanted, found) = (
            look(&world.source, &query).await,
            look(&world.tenant("acme").destination, &query).await,
        );
        assert_eq!(wanted, found, "{what}: {sql_type}");
    }
}

/// Replaces one spelling of a key by another one that the type considers equal. In the copy,
/// `priced` is text.
async fn respell(world: &World) {
    let tenant = world.id("acme");
    let at = |name: &str| KEYS.iter().position(|(sql_type, _)| *sql_type == name).unwrap();
    let respell = format!(
        "update k{} set k = 1.1 where k = 1.10; update k{} set k = '30 days' where k = interval '1 mon';
         update k{} set k = row(1.1000) where k = row(1.1)::priced; delete from k{} where k = row(-2)::priced; insert into k{} values ('{tenant}', row(-2.0))",
        at("numeric"),
        at("interval"),
        at("priced"),
        at("priced"),
        at("priced"),
    );
    crate::write(world, true, &respell).await;
}

/// In the initial copy, with two keys per page, keys are literals of a range; afterwards they come
/// from the change log's JSON. Each kind of change finds exactly its row.
#[tokio::test]
async fn keys_of_every_type_are_found_again() {
    are_found_again(plan()).await;
}

/// In a SQLite file most keys are held, ordered and compared as their texts.
#[tokio::test]
async fn keys_of_every_type_are_found_again_in_a_file() {
    are_found_again(plan().in_files()).await;
}

#[tokio::test]
async fn keys_of_every_type_are_found_again_in_a_d1_database() {
    if offtake_tests::d1::installed() {
        are_found_again(plan().in_d1()).await;
    }
}

fn plan() -> Plan {
    let mappings = (0..KEYS.len()).map(|at| (format!("k{at}"), mapping(at)));
    let plan = World::with_tenants(["acme"]).computed_mappings(mappings);
    plan.without_init().rows_at_once(2)
}

async fn are_found_again(plan: Plan) {
    let world = plan.await;
    let tables = KEYS.iter().enumerate().map(|(at, (sql_type, _))| {
        format!(
            "create table k{at} (tenant text, k {sql_type}, body text, primary key (tenant, k));"
        )
    });
    prepare(&world, &format!("{TYPES}{}", tables.collect::<String>())).await;
    let tenant = world.id("acme");
    let write_all = async |sql: &dyn Fn(usize, &str) -> String, keys: &dyn Fn(usize) -> bool| {
        let mut all = String::new();
        for (at, (sql_type, values)) in KEYS.iter().enumerate() {
            for (_, value) in values.iter().enumerate().filter(|(number, _)| keys(*number)) {
                all.push_str(&sql(at, &format!("({value})::{sql_type}")));
                all.push(';');
            }
        }
        crate::write(&world, true, &all.replace("{t}", tenant)).await;
    };
    let insert = |at: usize, key: &str| {
        format!("insert into k{at} values ('{{t}}', {key}, 'inserted') on conflict do nothing")
    };
    write_all(&insert, &|number| number % 3 != 2).await;
    let daemon = world.daemon().await;
    assert_same(&world, "copied").await;
    write_all(&insert, &|number| number % 3 == 2).await;
    assert_same(&world, "inserted").await;
    write_all(&|at, key| format!("update k{at} set body = 'updated' where k = {key}"), &|_| true)
        .await;
    assert_same(&world, "updated").await;
    // In sessions with the database's unusual settings, under which the trigger must print the
    // keys.
    for at in 0..KEYS.len() {
        let delete = format!("delete from k{at} where ctid in (select ctid from k{at} limit 1)");
        crate::write(&world, false, &delete).await;
        crate::write(&world, false, &format!("update k{at} set body = 'once more'")).await;
    }
    assert_same(&world, "deleted").await;
    write_all(&insert, &|_| true).await;
    assert_same(&world, "there again").await;
    respell(&world).await;
    assert_same(&world, "respelt").await;
    verify(&world, daemon).await;
}
