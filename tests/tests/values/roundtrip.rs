//! Values of every type arrive by the initial copy, by an insert and by an update.

use offtake_tests::{Plan, World, oracle};
use serde_json::Value;

use crate::cases::{CASES, TYPES};
use crate::{look, prepare, verify, write};

const MAPPING: &str = "
source: { table: public.wide, tenant: tenant }
query: select w.*, w.tenant as tenant_id from wide w
target: { table: wide }
";

/// A table with one column per type, and two columns that the source computes.
fn table() -> String {
    let columns: Vec<_> =
        CASES.iter().enumerate().map(|(at, (sql_type, ..))| format!("c{at} {sql_type}")).collect();
    format!(
        "{TYPES} create table wide (id int, tenant text, {}, twice int generated always as (id * 2) stored,
           stamp text generated always as ('v' || id) stored, primary key (tenant, id))",
        columns.join(", ")
    )
}

/// The rows of the cases, with ids from `first`. A type with fewer values has null in the other
/// rows.
fn inserts(tenant: &str, first: usize) -> Vec<String> {
    let rows = CASES.iter().map(|(.., values)| values.len()).max().unwrap();
    let columns: Vec<_> = (0..CASES.len()).map(|at| format!("c{at}")).collect();
    let row = |row: usize| {
        let values = CASES.iter().map(|(.., values)| values.get(row).copied().unwrap_or("null"));
        format!(
            "insert into wide (id, tenant, {}) values ({}, '{tenant}', {});",
            columns.join(", "),
            first + row,
            values.collect::<Vec<_>>().join(", ")
        )
    };
    (0..rows).map(row).collect()
}

async fn assert_same(world: &World, what: &str) {
    if world.tenant("acme").file.is_some() {
        return oracle::assert_equal_after(world, what).await;
    }
    let columns: Vec<_> = (0..CASES.len())
        .map(|at| format!("c{at}::text"))
        .chain(["twice::text".to_owned(), "stamp".to_owned()])
        .collect();
    let query = format!("select id::text, {} from wide order by id", columns.join(", "));
    let (wanted, found) =
        (look(&world.source, &query).await, look(&world.tenant("acme").destination, &query).await);
    assert_eq!(wanted.len(), found.len(), "{what}");
    let mut wrong = Vec::new();
    for (wanted, found) in wanted.iter().zip(&found) {
        for (at, (one, other)) in wanted.iter().zip(found).enumerate() {
            if one != other {
                let name = at
                    .checked_sub(1)
                    .and_then(|at| CASES.get(at))
                    .map_or("id or generated", |(name, ..)| name);
                let short = |value: &Option<String>| {
                    value.as_ref().map(|v| v.chars().take(200).collect::<String>())
                };
                wrong.push(format!(
                    "{name}, row {:?}: {:?} became {:?}",
                    wanted[0],
                    short(one),
                    short(other)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{what}\n{}", wrong.join("\n"));
}

/// What the previous system's driver made of a number, by sending it as a JSON number. Offtake must
/// not do the same.
fn through_a_double(number: &str) -> String {
    let value: Value = serde_json::from_str(number).unwrap();
    format!("{}", value.as_f64().unwrap())
}

fn plan() -> Plan {
    World::with_tenants(["acme"]).mappings(&[("wide", MAPPING)]).without_init()
}

#[tokio::test]
async fn values_of_every_type_arrive_exactly() {
    arrive_exactly(plan()).await;
}

/// The same values in a SQLite file, each held as the type table of docs/destinations.md says.
#[tokio::test]
async fn values_of_every_type_arrive_exactly_in_a_file() {
    arrive_exactly(plan().in_files()).await;
}

/// And in a D1 database, whose engine keeps it in such a file.
#[tokio::test]
async fn values_of_every_type_arrive_exactly_in_a_d1_database() {
    if offtake_tests::d1::installed() {
        arrive_exactly(plan().in_d1()).await;
    }
}

/// What SQLite has of the type of each case.
fn assert_held(world: &World) {
    for (at, (sql_type, target, _)) in CASES.iter().enumerate() {
        let declared = match *target {
            "smallint" | "integer" | "bigint" | "oid" | "boolean" => "INTEGER",
            "real" | "double precision" => "REAL",
            "bytea" => "BLOB",
            _ => "TEXT",
        };
        let file = world.tenant("acme").file();
        let asked = format!("select type from pragma_table_info('wide') where name = 'c{at}'");
        assert_eq!(file.query_text(&asked), declared, "{sql_type}");
        let held = format!(
            "select distinct typeof(c{at}) from wide where c{at} is not null and c{at} not in ('NaN', 'Infinity', '-Infinity')"
        );
        assert_eq!(file.query_text(&held).to_uppercase(), declared, "{sql_type}");
    }
    let moment = CASES.iter().position(|(name, ..)| *name == "timestamptz").unwrap();
    let read = format!("select datetime(c{moment}) from wide where id = 1");
    assert_eq!(world.tenant("acme").file().query_text(&read), "2026-03-29 00:59:59");
}

/// The types of the table in Postgres.
async fn assert_types(world: &World) {
    let types = "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'public.wide'::regclass and attname ~ '^c[0-9]+$' order by attnum";
    let types = look(&world.tenant("acme").destination, types).await;
    for ((sql_type, target, _), found) in CASES.iter().zip(types) {
        assert_eq!(found, [Some((*target).to_owned())], "the copy's type of {sql_type}");
    }
}

async fn arrive_exactly(plan: Plan) {
    let world = plan.await;
    prepare(&world, &table()).await;
    let tenant = world.id("acme");
    write(&world, true, &inserts(tenant, 1).concat()).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    assert_same(&world, "by the initial copy").await;

    let in_file = world.tenant("acme").file.is_some();
    if in_file {
        assert_held(&world);
    } else {
        assert_types(&world).await;
    }

    write(&world, true, &inserts(tenant, 1001).concat()).await;
    world.wait_in_step().await;
    assert_same(&world, "inserted").await;
    // Every row gets the values of another row.
    let set: Vec<_> = (0..CASES.len()).map(|at| format!("c{at} = n.c{at}")).collect();
    let shift = format!(
        "update wide w set {} from wide n where n.id = case w.id when 1001 then 1017 else w.id - 1 end and w.id > 1000",
        set.join(", ")
    );
    write(&world, true, &shift).await;
    world.wait_in_step().await;
    assert_same(&world, "updated").await;
    // A small batch is part of the statement that writes it. A large one (some values have a
    // megabyte) is sent by COPY.
    for one in inserts(tenant, 2001) {
        write(&world, true, &one).await;
        world.wait_in_step().await;
    }
    assert_same(&world, "inserted one by one").await;
    // Values that are equal for the type but print differently.
    let at = |sql_type: &str| CASES.iter().position(|(name, ..)| *name == sql_type).unwrap();
    let respell = format!(
        "update wide set c{} = 1.00, c{} = '30 days', c{} = '-0', c{} = '[1.000,2)' where id = 1",
        at("numeric"),
        at("interval"),
        at("double precision"),
        at("numrange")
    );
    write(&world, true, &respell).await;
    world.wait_in_step().await;
    let respell = respell
        .replace("1.00,", "1.0,")
        .replace("30 days", "1 mon")
        .replace("'-0'", "'0'")
        .replace("1.000,2", "1.0,2.0");
    write(&world, true, &respell).await;
    world.wait_in_step().await;
    assert_same(&world, "respelt").await;

    let number = format!("select c{}::text from wide where id = 5", at("jsonb"));
    let arrived = match &world.tenant("acme").file {
        Some(file) => file.query_text(&number.replace("::text", "")),
        None => world.tenant("acme").destination.query_text(&number).await,
    };
    assert_eq!(arrived, "9007199254740993");
    assert_ne!(through_a_double("9007199254740993"), "9007199254740993");
    let untouched = world.source.query_text("select count(*) from offtake.quarantined_row").await;
    assert_eq!(untouched, "0");
    verify(&world, daemon).await;
}
