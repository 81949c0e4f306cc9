//! What happens to the tables that tenants share, at the destination and at the source.

use offtake_tests::{Daemon, PATIENCE, World, until};

use super::{
    assert_told, made, plan, sum, together, versions, wait_equal, wait_together, world,
    write_together,
};

/// The table is emptied, or dropped, behind the cursors of all. Each member of whom something changes
/// is copied again, and what the others have in the other table is not touched. The test fails
/// without the comparison of identities in `Session::hold`
/// (crates/sync/src/destinations/postgres/group.rs), and at its end without `replaced` in `stands`
/// (crates/sync/src/turn/group_take_up.rs): only the changed rows came back. And where a group tells
/// the source of its first member's table for all of them, the source was told of a table that is
/// gone.
#[tokio::test]
async fn a_table_that_is_emptied_there_is_copied_again_for_each_member() {
    let (world, daemon) = world(12).await;
    daemon.allow("table_replaced");
    let there = &world.tenant("first").destination;
    let more = "insert into note select tenant, n, 'more' from mark, generate_series(2, 4) n";
    write_together(&world, &daemon, more, 12).await;
    let marks = versions(&world, "marks", "true").await;
    for (round, empties) in ["truncate notes", "drop table notes"].into_iter().enumerate() {
        there.execute(empties).await;
        let some = format!(
            "update note set body = 'some {round}' where id = 2 and tenant in ('t3', 't4', 't5')"
        );
        let left_out = sum(&daemon, "written_together", "left_out");
        world.source.execute(&some).await;
        there.wait_text("select count(*), count(distinct tenant_id) from notes", "12|3").await;
        world.source.wait_text("select count(*) from offtake.outgoing_request", "0").await;
        // What is known of the others is from before, and they come first.
        let all = format!("update note set body = 'all {round}' where id = 3");
        let before = together(&daemon);
        world.source.execute(&all).await;
        wait_equal(&world).await;
        wait_together(&daemon, before, 3).await;
        assert!(sum(&daemon, "written_together", "left_out") >= left_out + 9, "{empties}");
        assert_told(&world, empties).await;
        assert_eq!(versions(&world, "marks", "true").await, marks, "{empties}");
        write_together(&world, &daemon, "update note set body = 'again' where id = 4", 12).await;
    }
    daemon.stop().await;
    there.execute("truncate notes").await;
    let daemon = world.daemon().await;
    daemon.allow("table_replaced");
    world.source.execute("update mark set value = 5").await;
    wait_equal(&world).await;
    assert_told(&world, "emptied while no daemon ran").await;
    daemon.stop().await;
}

/// All tables there are as they were a while ago: rows and cursors of every member. A daemon that
/// begins notices it of all of them. The test fails without `went_back` in `stands`
/// (crates/sync/src/turn/group_take_up.rs): a row that a copy by command had taken out was back, and
/// no change of the log tells of it.
#[tokio::test]
async fn members_restored_from_a_backup_are_copied_again() {
    let (world, daemon) = world(12).await;
    world.allow("*");
    let there = &world.tenant("first").destination;
    there
        .execute("insert into notes select 't' || n, 99, 'surplus' from generate_series(5, 7) n")
        .await;
    let backup = "create table saved_notes as table notes; create table saved_marks as table marks; create table saved_state as table _offtake_state";
    there.execute(backup).await;
    for tenant in ["t5", "t6", "t7"] {
        world.succeed(&["resync", "--tenant", tenant, "--wait", "30s"]).await;
    }
    for body in ["second", "third"] {
        let change =
            format!("update note set body = '{body}'; delete from mark where tenant = 't3'");
        write_together(&world, &daemon, &change, 12).await;
    }
    daemon.stop().await;
    let restore = "delete from notes; insert into notes table saved_notes; delete from marks; insert into marks table saved_marks;
        delete from _offtake_state; insert into _offtake_state table saved_state; drop table saved_notes, saved_marks, saved_state";
    there.execute(restore).await;
    let daemon = world.daemon().await;
    world.source.execute("insert into mark select tenant, 9, 9 from note").await;
    wait_equal(&world).await;
    write_together(&world, &daemon, "update note set body = 'fourth'", 12).await;
    assert_told(&world, "after a restore").await;
    daemon.stop().await;
}

/// The table changes under all of them: it loses a column there, the source's table is emptied, the
/// mapping gets a column. The test fails without `whole_table` in `found` (crates/reading/src/group.rs):
/// the rows that were there before the TRUNCATE stayed.
#[tokio::test]
async fn what_happens_to_a_shared_table_happens_to_each_member() {
    let (world, daemon) = world(12).await;
    world.allow("mapping_blocked");
    let there = &world.tenant("first").destination;
    there.execute("insert into notes values ('stranger', 1, 'theirs')").await;
    there.execute("alter table notes rename column body to was").await;
    world.source.execute("update note set body = 'second'; update mark set value = 2").await;
    // The other mapping goes on.
    there.wait_text("select count(*) from marks where value = 2", "12").await;
    // The next look adds the column for all of them, and each is copied again.
    there.wait_text("select count(*) from notes where body = 'second'", "12").await;
    let mend = "update notes set body = was where tenant_id = 'stranger'; alter table notes drop column was";
    there.execute(mend).await;
    world.source.execute("update note set body = 'third'").await;
    wait_equal(&world).await;
    write_together(&world, &daemon, "update note set body = 'fourth'", 12).await;

    // No key of what was there is in the log.
    let whole =
        "truncate note; insert into note select tenant, 7, 'anew' from mark where tenant <> 't5'";
    world.source.execute(whole).await;
    wait_equal(&world).await;
    there.wait_text("select count(*) from notes", "12").await;
    write_together(
        &world,
        &daemon,
        "update note set body = 'fifth'; update mark set value = 5",
        12,
    )
    .await;

    let loud = super::NOTES.replace("id, body from", "id, body, upper(body) as loud from");
    world.write_mapping("notes", &loud);
    daemon.request("POST", "/api/v1/reload", &[], "").await;
    until("each copy has the new column", PATIENCE, async || {
        let loud = "select count(*) from notes where loud = 'FIFTH'";
        let found = there.try_query_text(loud).await?;
        if found == "11" { Ok(()) } else { Err(found) }
    })
    .await;
    world.source.wait_text("select count(*) from offtake.outgoing_request", "0").await;
    let before = together(&daemon);
    world.source.execute("update note set body = 'sixth'").await;
    there.wait_text("select count(*) from notes where loud = 'SIXTH'", "11").await;
    wait_together(&daemon, before, 11).await;
    there.wait_text("select body from notes where tenant_id = 'stranger'", "theirs").await;
    daemon.stop().await;
}

/// Writes for each tenant, and waits until the copies are equal. None was written for together with
/// others.
async fn write_apart(world: &World, daemon: &Daemon, statement: &str) {
    let before = together(daemon);
    world.source.execute(statement).await;
    wait_equal(world).await;
    assert_eq!(together(daemon), before, "{statement}");
}

/// A table with a trigger is written to for each tenant alone, so that what the trigger changes is
/// found: the row of the tenant whose row it is, and no other. So are tables that refer to each
/// other. When that is over, a new daemon writes for all of them together.
#[tokio::test]
async fn tables_with_triggers_or_foreign_keys_are_written_to_for_each_tenant() {
    let (world, mut daemon) = made(plan().setting("/poller/lease", "5s"), 10).await;
    world.allow("mapping_blocked");
    let there = &world.tenant("first").destination;
    write_together(&world, &daemon, "update note set body = 'without'", 10).await;
    let counts = "create table counted (tenant text);
        create function note_it() returns trigger language plpgsql as $$ begin insert into counted values (new.tenant_id); return null; end $$;
        create trigger note_it after insert or update on notes for each row execute function note_it()";
    there.execute(counts).await;
    write_apart(&world, &daemon, "update note set body = 'counted'").await;
    let each = "select count(*), count(distinct tenant) from counted";
    assert_eq!(there.query_text(each).await, "10|10");
    // One that meddles with a tenant's rows.
    let meddles = "create function meddle() returns trigger language plpgsql as $$ begin new.body := 'meddled'; return new; end $$;
        create trigger meddle before insert or update on notes for each row when (new.tenant_id = 't4') execute function meddle()";
    there.execute(meddles).await;
    let before = together(&daemon);
    world.source.execute("update note set body = 'true'").await;
    there.wait_text("select count(*) from notes where body = 'true'", "9").await;
    let told = "select string_agg(d.tenant_id || ' ' || m.mapping, ',') from offtake.destination_mapping m join offtake.destination d using (destination_id) where m.error like '%as they were written%'";
    world.source.wait_text(told, "t4 notes").await;
    assert_eq!(there.query_text("select count(*) from notes where body = 'meddled'").await, "0");
    there.execute("drop function meddle cascade; drop function note_it cascade").await;
    wait_equal(&world).await;
    assert_eq!(together(&daemon), before);

    // A daemon that begins looks at what refers to what.
    daemon.stop().await;
    let refers =
        "alter table marks add constraint refers foreign key (tenant_id, id) references notes";
    there.execute(refers).await;
    daemon = world.daemon().await;
    let both = "insert into mark select tenant, 2, 2 from note; insert into note select tenant, 2, 'with its mark' from note";
    write_apart(&world, &daemon, both).await;
    let gone = "delete from note where id = 2; delete from mark where id = 2";
    write_apart(&world, &daemon, gone).await;
    daemon.stop().await;
    there.execute("alter table marks drop constraint refers").await;
    daemon = world.daemon().await;
    write_together(&world, &daemon, both, 10).await;
    daemon.stop().await;
}
