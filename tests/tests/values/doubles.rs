//! Doubles to the last bit, in SQLite files and in D1.

use bytes::Bytes;
use futures_util::SinkExt as _;
use offtake_tests::{Plan, World, d1};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const NUMBERS: &str = "
source: { table: public.number, tenant: tenant, key: { id: id } }
query: select n.tenant as tenant_id, n.id, n.wide, n.narrow from public.number n
target: { table: numbers }
";

const COUNT: u64 = 100_000;

/// Random bit patterns, and every power of ten and of two with its neighbours.
fn doubles() -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(7);
    let random = (0..COUNT).map(|_| f64::from_bits(random.random()));
    let powers = (-324..309).map(|power| format!("1e{power}").parse().unwrap());
    let powers = powers.chain((-1074..1024).map(|power| 2f64.powi(power)));
    let around = powers.flat_map(|power: f64| [power.next_down(), power, power.next_up(), -power]);
    random.chain(around).filter(|number| number.is_finite()).collect()
}

/// The file has each double of the source by its bits, `verify` prints each as the server does, and
/// -0 is the one value that becomes another one.
#[tokio::test]
async fn a_hundred_thousand_doubles_arrive_by_their_bits_and_print_as_the_server_prints_them() {
    arrive_by_their_bits(World::with_tenants(["acme"]).in_files()).await;
}

/// D1's SQLite reads some decimal texts as another double than is meant.
#[tokio::test]
async fn a_hundred_thousand_doubles_arrive_by_their_bits_in_a_d1_database() {
    if d1::installed() {
        arrive_by_their_bits(World::with_tenants(["acme"]).in_d1()).await;
    }
}

async fn arrive_by_their_bits(plan: Plan) {
    let world = plan.without_init().mappings(&[("numbers", NUMBERS)]).await;
    world
        .source
        .execute(
            "create table number (tenant text, id bigint, wide float8, narrow float4, primary key (tenant, id))",
        )
        .await;
    let doubles = doubles();
    let session = world.source.connect().await;
    let sink = session.copy_in("copy number from stdin").await.unwrap();
    let mut sink = std::pin::pin!(sink);
    for (id, number) in doubles.iter().enumerate() {
        let narrow = f32::from_bits(number.to_bits() as u32);
        let narrow = if narrow.is_nan() { "\\N".to_owned() } else { format!("{narrow:e}") };
        let narrow = narrow.replace("inf", "Infinity");
        let line = format!("{}\t{id}\t{number:e}\t{narrow}\n", world.id("acme"));
        sink.send(Bytes::from(line)).await.unwrap();
    }
    sink.finish().await.unwrap();
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;

    let connection = world.tenant("acme").file().connect();
    let mut statement = connection.prepare("select wide from numbers order by id").unwrap();
    let found = statement.query_map([], |row| row.get::<_, f64>(0)).unwrap();
    let found: Vec<f64> = found.map(Result::unwrap).collect();
    assert_eq!(found.len(), doubles.len());
    for (wanted, found) in doubles.iter().zip(&found) {
        let wanted = if *wanted == 0.0 { 0.0 } else { *wanted };
        assert_eq!(found.to_bits(), wanted.to_bits(), "{wanted:e} became {found:e}");
    }
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}
