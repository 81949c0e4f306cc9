//! Rows of others in the tables that a group writes to: of tenants that are not served, and of
//! neighbours with the same keys.

use super::{sum, versions, wait_equal, world, write_together};

/// Rows in the same tables of tenants that are not served, with the keys of rows that are written and
/// deleted, and rows of tenants that are served but of whom nothing changed.
#[tokio::test]
async fn rows_of_others_in_the_same_tables_are_never_touched() {
    let (world, daemon) = world(60).await;
    let there = &world.tenant("first").destination;
    there
        .execute(
            "insert into notes select 'stranger ' || n, 1, 'theirs' from generate_series(1, 500) n;
             insert into marks select 'stranger ' || n, 1, 5 from generate_series(1, 500) n;
             create table seen as select * from notes where tenant_id like 'stranger%';
             analyze notes",
        )
        .await;
    let quiet = "create table quiet as select xmin::text as written, n.* from notes n where tenant_id in ('t58', 't59')";
    there.execute(quiet).await;
    for statement in [
        "update note set body = 'second' where tenant not in ('t58', 't59')",
        "insert into note select tenant, 2, 'new' from note where tenant not in ('t58', 't59')",
        "delete from note where tenant not in ('t58', 't59')",
        "delete from mark where tenant not in ('t58', 't59')",
    ] {
        world.source.execute(statement).await;
        wait_equal(&world).await;
    }
    let gone = "select count(*) from (select * from seen except select * from notes) gone";
    assert_eq!(there.query_text(gone).await, "0");
    assert_eq!(there.query_text("select count(*) from marks where value = 5").await, "500");
    let rewritten = "select count(*) from quiet q where not exists (select from notes n where n.tenant_id = q.tenant_id and n.id = q.id and n.xmin::text = q.written)";
    assert_eq!(there.query_text(rewritten).await, "0");
    daemon.stop().await;
}

/// What is deleted and written for some members has the keys of rows of others, both of members of
/// the same group and of such as are quiet. The test fails where `Apply::same_tenant`
/// (crates/mapping/src/compose/postgres/apply.rs) does not compare the tenants of both rows: a
/// deletion took the neighbours' rows along.
#[tokio::test]
async fn a_key_is_one_tenant_s_also_where_its_neighbours_have_it() {
    let (world, daemon) = world(12).await;
    let more = "insert into note select tenant, n, 'first' from mark, generate_series(2, 3) n";
    write_together(&world, &daemon, more, 12).await;
    let of_others = "tenant_id not in ('t1', 't2') and (id = 1 or tenant_id not in ('t3', 't4'))";
    let before = versions(&world, "notes", of_others).await;
    let change = "delete from note where tenant = 't1' and id < 3; update note set id = 1 - id where tenant = 't2';
        update note set body = 'second' where tenant in ('t3', 't4') and id > 1";
    write_together(&world, &daemon, change, 4).await;
    assert_eq!(versions(&world, "notes", of_others).await, before);
    daemon.stop().await;
}

/// Rows go from member to member, from one copy into another within a group. Some go to a tenant that
/// is not served, and back to another member.
#[tokio::test]
async fn rows_that_go_from_member_to_member_are_in_one_copy() {
    let (world, daemon) = world(12).await;
    let there = &world.tenant("first").destination;
    // From here on, each id is one row's.
    let apart = "update mark set id = 100 + substr(tenant, 2)::int";
    write_together(&world, &daemon, apart, 12).await;
    for steps in [5, 1, 11] {
        let go = format!(
            "update mark set tenant = 't' || (substr(tenant, 2)::int + {steps}) % 12; update note set body = 'with {steps}'"
        );
        write_together(&world, &daemon, &go, 12).await;
    }
    there.execute("insert into marks values ('elsewhere', 100, 5), ('elsewhere', 101, 5)").await;
    let go = "update mark set tenant = 'elsewhere' where id < 104; update mark set value = 3 where id > 103";
    write_together(&world, &daemon, go, 8).await;
    let come = "update mark set tenant = 't' || (id + 1 - 100) where tenant = 'elsewhere'; update mark set value = 4";
    write_together(&world, &daemon, come, 8).await;
    let strangers = "select string_agg(id || ' ' || value, ', ' order by id) from marks where tenant_id = 'elsewhere'";
    assert_eq!(there.query_text(strangers).await, "100 5, 101 5");
    assert_eq!(sum(&daemon, "written_together", "left_out"), 0);
    daemon.stop().await;
}
