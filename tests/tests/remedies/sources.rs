//! What the source or the files have in a form that cannot be copied.

use offtake_tests::printed::{between, remedy};
use offtake_tests::samples::TEAMS;
use offtake_tests::{Source, World};

/// Exit code, and standard error.
async fn check(world: &World) -> (i32, String) {
    super::told(&world.offtake(&["check", "--connect"]).await)
}

/// A destination in the source itself, whose copy is the table that it is made from.
#[tokio::test]
async fn a_copy_that_wakes_itself_is_written_elsewhere() {
    let onto_itself = TEAMS.replace("table: teams", "table: team");
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", &onto_itself)]).await;
    let source = world.source.url();
    world.reach_by("acme", |_| source.clone());
    let (code, told) = check(&world).await;
    assert!(code == 78 && told.contains("its copies wake each other for ever"), "{told}");
    assert_eq!(remedy(&told), "write one of them to another database, or to another table");
    world.write_mapping("teams", TEAMS);
    let (code, told) = check(&world).await;
    assert_eq!(code, 0, "{told}");
    world.write_mapping("teams", &onto_itself);
    let other = Source::destination().await;
    world.reach_by("acme", |_| other.url());
    let (code, told) = check(&world).await;
    assert_eq!(code, 0, "{told}");
}

/// The part is detached, or the table is left out of the mappings.
#[tokio::test]
async fn a_table_with_a_foreign_part_is_captured_without_it() {
    let of = |table: &str| {
        format!(
            "source: {{ table: public.{table}, tenant: org, key: {{ id: id }} }}\n\
             query: select org as tenant_id, id from only {table}\ntarget: {{ table: {table} }}\n"
        )
    };
    let tables = ["parted", "parent", "plain"];
    let mappings = tables.map(|table| (table.to_owned(), of(table)));
    let world = World::with_tenants(["acme"]).computed_mappings(mappings).without_init().await;
    let setup = "
        create foreign data wrapper far; create server far foreign data wrapper far;
        create table plain (id int, org text, primary key (org, id));
        create table parted (id int, org text, primary key (org, id)) partition by list (org);
        create table parted_near partition of parted for values in ('near');
        create table parent (id int, org text, primary key (org, id));
        create foreign table child_far () inherits (parent) server far;
        create foreign table parted_far (id int not null, org text not null) server far;
        alter table parted drop constraint parted_pkey;
        alter table parted attach partition parted_far for values in ('far');
        create index on parted_near (org, id)";
    world.source.execute(setup).await;
    let (code, told) = check(&world).await;
    assert_eq!(code, 78, "{told}");
    let remedies: Vec<&str> = told.split("remedy: ").skip(1).collect();
    assert_eq!(remedies.len(), 2, "{told}");
    for remedy in &remedies {
        let part = between(remedy, "detach ", ",");
        let table = between(remedy, "or leave ", " out of the mappings");
        let detach = match part {
            "public.child_far" => format!("alter foreign table {part} no inherit {table}"),
            part => format!("alter table {table} detach partition {part}"),
        };
        world.source.execute(&detach).await;
    }
    let (code, told) = check(&world).await;
    assert_eq!(code, 0, "{told}");
    world.source.execute("alter foreign table child_far inherit parent").await;
    let (code, told) = check(&world).await;
    assert!(code == 78 && remedy(&told).contains("leave public.parent out"), "{told}");
    std::fs::remove_file(world.mappings_folder().join("parent.yaml")).unwrap();
    let (code, told) = check(&world).await;
    assert_eq!(code, 0, "{told}");
}
