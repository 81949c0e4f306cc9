//! One notion of equality: a tenant's id and a key are the same for the initial copy, which finds
//! rows by value, and for live changes, which are found by text (docs/equality.md).

use offtake_tests::{PATIENCE, World, oracle, until};
use serde_json::json;

/// A type of tenants, the id that the configuration has, and what the column prints.
const SPELT: [(&str, &str, &str); 13] = [
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("int", "007", "7"),
    ("bigint", " +12", "12"),
    ("boolean", "t", "true"),
    ("inet", "10.1.0.0", "10.1.0.0/32"),
    ("char(6)", "acme  ", "acme"),
    ("varchar(20)", "Acme", "Acme"),
    ("numeric(8,2)", "7", "7.00"),
    ("date", "2026-1-5", "2026-01-05"),
    ("timestamptz", "2026-01-05 10:00+02", "2026-01-05 08:00:00+00"),
    ("bytea", "\\xAB", "\\xab"),
    ("account", "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("plan", "free", "free"),
];

fn mapping(table: &str) -> String {
    format!(
        "source: {{ table: public.{table}, tenant: org }}\n\
         query: select org as tenant_id, id, note from {table}\ntarget: {{ table: {table} }}\n"
    )
}

/// A world with one destination per (mapping, tenant), in this order.
async fn world(mappings: &[(String, String)], destinations: &[(String, String)]) -> World {
    let texts: Vec<(&str, &str)> =
        mappings.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let names = (0..destinations.len()).map(|at| format!("d{at}"));
    let mut world = World::with_tenants(names).mappings(&texts).without_init().await;
    world.configure(|configuration| {
        for (at, (mapping, tenant)) in destinations.iter().enumerate() {
            let destination = &mut configuration["destinations"]["static"][at];
            destination["tenant"] = tenant.as_str().into();
            destination["name"] = format!("d{at}").into();
            destination["mappings"] = json!([mapping]);
        }
    });
    world
}

/// Waits until the copy in the destination's database equals the query for the tenant as the
/// source prints it.
async fn equal(world: &World, at: usize, table: &str, tenant: &str, what: &str) {
    let mappings = world.mappings();
    let mapping = mappings.iter().find(|m| m.name == table).expect("a mapping of that name");
    let destination = &world.tenant(&format!("d{at}")).destination;
    until(&format!("{table} equals its query: {what}"), PATIENCE, async || {
        destination.try_query_text(&format!("select count(*) from {table}")).await?;
        let found = oracle::compare(&world.source, tenant, mapping, destination, "public").await;
        match found.missing.is_empty() && found.surplus.is_empty() {
            true => Ok(()),
            false => Err(found.to_string()),
        }
    })
    .await;
}

/// The case `tenant-spelled-otherwise`: whatever spelling of a tenant's id the type reads, the
/// destination gets that tenant's rows and their changes.
#[tokio::test]
async fn a_tenant_may_be_spelled_in_any_way_that_its_type_reads() {
    let tables: Vec<String> = (0..SPELT.len()).map(|at| format!("t{at}")).collect();
    let mappings: Vec<_> = tables.iter().map(|table| (table.clone(), mapping(table))).collect();
    let destinations: Vec<_> = tables
        .iter()
        .zip(SPELT)
        .map(|(table, (_, configured, _))| (table.clone(), configured.to_owned()))
        .collect();
    let world = world(&mappings, &destinations).await;
    let mut setup = String::from(
        "create domain account as uuid; create type plan as enum ('free', 'paid');",
    );
    for (table, (sql_type, _, printed)) in tables.iter().zip(SPELT) {
        setup.push_str(&format!(
            "create table {table} (id int primary key, org {sql_type}, note text); create index on {table} (org);
             insert into {table} values (1, '{printed}', 'one'), (2, null, 'no one''s');"
        ));
    }
    world.source.execute(&setup).await;
    world.succeed(&["check", "--connect"]).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let all_equal = async |what: &str| {
        for (at, (table, (.., printed))) in tables.iter().zip(SPELT).enumerate() {
            equal(&world, at, table, printed, what).await;
        }
    };
    all_equal("copied").await;
    for change in [
        "insert into {t} values (3, '{p}', 'three')",
        "update {t} set note = 'changed' where id = 1",
        "update {t} set org = '{p}' where id = 2",
        "update {t} set org = null where id = 3",
        "delete from {t} where id = 1",
    ] {
        for (table, (.., printed)) in tables.iter().zip(SPELT) {
            world.source.execute(&change.replace("{t}", table).replace("{p}", printed)).await;
        }
        all_equal(change).await;
    }
    let status = world.succeed(&["status", "--tenant", SPELT[0].1, "--json"]).await;
    assert!(status.contains(SPELT[0].1), "{status}");
    world.succeed(&["verify"]).await;
    world.succeed(&["verify", "--tenant", "007"]).await;
    daemon.stop().await;
}
